//! Reads from the kernel the CPU time and memory that a proxy used.
//!
//! The CPU time is read from `schedstat`, which counts the nanoseconds that a thread spent on the CPU. It includes the
//! time of the network stack, because the kernel handles loopback traffic in the sender's context. The obvious source
//! would be utime and stime in `/proc/PID/stat`. But these count in ticks of 10 ms, and charge a whole tick to the
//! thread that runs when the tick ends.

use std::fs;

use crate::process::members;

/// Returns the CPU time that the live threads of a process group have used so far, in nanoseconds.
pub(crate) fn cpu_ns(group: u32) -> u64 {
    members(group).into_iter().map(process_cpu_ns).sum()
}

/// Returns the CPU time of a process, of its live children, and of its children that have ended, in nanoseconds. A
/// database server cannot be measured by its process group, since each of its sessions leads a group of its own.
pub(crate) fn family_cpu_ns(parent: u32) -> u64 {
    let of_parent = |pid: &u32| stat_field(*pid, 1) == Some(u64::from(parent));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let live: u64 = pids.filter(of_parent).map(process_cpu_ns).sum();
    // The time of children that have ended is found only in two fields of the parent's `/proc/PID/stat`: `cutime` and
    // `cstime`. They count in ticks of 10 ms.
    let ended = [13, 14].into_iter().filter_map(|field| stat_field(parent, field)).sum::<u64>() * 10_000_000;
    process_cpu_ns(parent) + live + ended
}

/// Returns a number from `/proc/PID/stat`. Field 0 is the first field after the process name. If the process is gone,
/// or if the field is not a number, this is `None`.
fn stat_field(pid: u32, field: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 1..].split_whitespace().nth(field)?.parse().ok()
}

fn process_cpu_ns(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let threads = tasks.flatten().map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        first_number(&text)
    });
    threads.sum()
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// The memory of a process group, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    /// The resident set size (RSS) in KiB. A page that several processes share counts once for each of them.
    pub(crate) rss_kib: u64,
    /// The proportional set size (PSS) in KiB. A page that n processes share counts 1/n for each of them.
    pub(crate) pss_kib: u64,
    /// The part of the resident set that is not backed by a file, in KiB: heap and stacks.
    pub(crate) anonymous_kib: u64,
}

impl Memory {
    /// Reads how much memory the processes of the group use now.
    pub(crate) fn of(group: u32) -> Memory {
        members(group).into_iter().fold(Memory::default(), |sum, pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let one = Memory::parse(&text);
            Memory {
                rss_kib: sum.rss_kib + one.rss_kib,
                pss_kib: sum.pss_kib + one.pss_kib,
                anonymous_kib: sum.anonymous_kib + one.anonymous_kib,
            }
        })
    }

    fn parse(text: &str) -> Memory {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, first_number)
        };
        Memory { rss_kib: field("Rss:"), pss_kib: field("Pss:"), anonymous_kib: field("Anonymous:") }
    }

    /// Returns the larger value of `self` and `other` for each of the three figures.
    pub(crate) fn max(self, other: Memory) -> Memory {
        Memory {
            rss_kib: self.rss_kib.max(other.rss_kib),
            pss_kib: self.pss_kib.max(other.pss_kib),
            anonymous_kib: self.anonymous_kib.max(other.anonymous_kib),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollup_is_read_by_exact_field_name() {
        let text = "Rss:      2740 kB\nPss:       810 kB\nPss_Dirty:  96 kB\nAnonymous:  1400 kB\n";
        let expected = Memory { rss_kib: 2740, pss_kib: 810, anonymous_kib: 1400 };
        assert_eq!(Memory::parse(text), expected);
    }

    #[test]
    fn thread_time_is_the_first_field_of_schedstat() {
        assert_eq!(first_number("66724 12 1\n"), 66724);
        assert_eq!(first_number(""), 0);
    }
}
