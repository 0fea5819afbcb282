//! Finds out on Linux which process holds a lock of the file: the kernel lists all locks in `/proc/locks`.

use std::ops::RangeInclusive;
use std::os::linux::fs::MetadataExt as _;
use std::path::Path;

/// Returns the id of the process that holds the lock for writing this SQLite file. Returns `None` if no process holds
/// it any more, or if the process cannot be found out, for example because it runs in another container.
pub(super) fn holder(file: &Path) -> Option<u32> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // SQLite's locks are locks of single bytes. With the write-ahead log, these are the bytes 120 to 122 of the file
    // `-shm`: for writing, for checkpoints and for recovery (https://sqlite.org/walformat.html#wal_locks). Without it,
    // they are bytes of the database file, from the PENDING byte on (https://sqlite.org/fileformat.html).
    let mut memory = file.as_os_str().to_owned();
    memory.push("-shm");
    let places = [(memory.as_os_str(), 120..=122), (file.as_os_str(), 0x4000_0000..=0x4000_01ff)];
    places.into_iter().find_map(|(file, bytes)| {
        let about = std::fs::metadata(file).ok()?;
        let (device, inode) = (about.st_dev(), about.st_ino());
        let file = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
        locks.lines().find_map(|line| writer(line, &file, &bytes))
    })
}

/// Returns the process id from a line of `/proc/locks`, if the line is an exclusive lock on one of these bytes of the
/// file. `file` is the device and the inode, in the form of that line. Returns `None` for all other lines.
fn writer(line: &str, file: &str, bytes: &RangeInclusive<u64>) -> Option<u32> {
    let mut words = line.split_ascii_whitespace().skip(1);
    // In the line of a process that only waits for a lock, the next word is an arrow.
    let (_kind, _mode) = (words.next().filter(|kind| *kind == "POSIX")?, words.next()?);
    let (access, pid, of) = (words.next()?, words.next()?, words.next()?);
    let (first, last) = (words.next()?.parse::<u64>().ok()?, words.next()?);
    let last = last.parse().unwrap_or(u64::MAX);
    let overlaps = first <= *bytes.end() && last >= *bytes.start();
    // The number is 0 if the process is in another container.
    if access == "WRITE" && of == file && overlaps { pid.parse().ok().filter(|pid| *pid != 0) } else { None }
}

/// Returns the major number of a device, as Linux packs it into one number.
fn major(device: u64) -> u64 {
    ((device >> 32) & 0xffff_f000) | ((device >> 8) & 0xfff)
}

fn minor(device: u64) -> u64 {
    ((device >> 12) & 0xffff_ff00) | (device & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_exclusive_lock_on_the_writers_bytes_names_its_process() {
        let holds = |line| writer(line, "08:01:77", &(120..=122));
        assert_eq!(holds("1: POSIX  ADVISORY  WRITE 4711 08:01:77 120 120"), Some(4711));
        assert_eq!(holds("1: POSIX  ADVISORY  WRITE 4711 08:01:77 0 EOF"), Some(4711));
        for other in [
            "1: POSIX  ADVISORY  READ 4711 08:01:77 120 120",
            "1: POSIX  ADVISORY  WRITE 4711 08:01:77 128 128",
            "1: POSIX  ADVISORY  WRITE 4711 08:01:78 120 120",
            "1: POSIX  ADVISORY  WRITE 4711 08:02:77 120 120",
            "1: POSIX  ADVISORY  WRITE 0 08:01:77 120 120",
            "1: -> POSIX  ADVISORY  WRITE 4711 08:01:77 120 120",
            "1: OFDLCK ADVISORY  WRITE -1 08:01:77 120 120",
            "1: FLOCK  ADVISORY  WRITE 4711 08:01:77 0 EOF",
            "",
        ] {
            assert_eq!(holds(other), None, "{other}");
        }
    }

    #[test]
    fn a_device_is_written_as_the_kernel_writes_it() {
        assert_eq!((major(0x1_0305), minor(0x1_0305)), (0x103, 5));
        assert_eq!(minor(0x1000_0005), 0x1_0005);
    }
}
