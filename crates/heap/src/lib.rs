//! Gives freed memory back to the system.
//!
//! By itself, glibc returns memory only from the end of each heap. So one small block in use at the end of a heap keeps
//! all free memory before that block in the process. After 900 slow readers had left, 0.2 MiB were in use and 62 MiB
//! stayed with the process; one call of `malloc_trim` left 2.4 MiB (`cargo xtask bench slow-readers`). Another
//! allocator costs more: jemalloc needs `make` to be built, and mimalloc gave back less and held 8 MiB when idle.
//!
//! [`give_back`] holds the locks of the heaps for up to 15 ms if it gives much memory back. So call it after many
//! callers have left, and not in a loop.

/// Returns the allocator's unused memory to the system. Does nothing if the allocator is not glibc's.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[allow(unsafe_code, reason = "one call into the C library that has no conditions")]
        // SAFETY: `malloc_trim` may be called at any time from any thread (it takes the allocator's own locks), reads no
        // memory of ours, and changes no block that is in use.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_in_use_stays_as_it_is() {
        let kept: Vec<Vec<u8>> = (0..1000_usize).map(|n| vec![n as u8; 1000 + n]).collect();
        drop((0..10_000_usize).map(|n| vec![0_u8; 100 + n]).collect::<Vec<_>>());
        super::give_back();
        assert!(kept.iter().enumerate().all(|(n, block)| block.iter().all(|byte| *byte == n as u8)));
    }
}
