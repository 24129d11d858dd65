//! This process's own memory. Reading ten thousand projects, or claiming all their slots at once, takes several times what stays; glibc
//! keeps what was freed below the last piece in use, which would be most of it. Called by the daemon when such a peak is over.

/// Gives freed memory back to the system. Takes milliseconds; does nothing where the C library isn't glibc.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "malloc_trim has no safe wrapper; it takes no pointer and may be called at any time, by any thread")]
    // SAFETY: malloc_trim(3) is MT-safe and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::give_back;

    /// Resident bytes of this process.
    fn resident() -> u64 {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }

    #[test]
    fn what_was_freed_below_a_piece_in_use_goes_back() {
        let mut pieces: Vec<Box<[u8; 1024]>> = (0..100_000).map(|_| Box::new([1; 1024])).collect();
        let last = pieces.pop();
        drop(pieces);
        let before = resident();
        give_back();
        let after = resident();
        assert!(after + (50 << 20) < before, "{before} bytes before, {after} after");
        drop(last);
    }
}
