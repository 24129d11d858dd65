//! How the kernel shares out the processors between this process and the database beside it.

/// Lets this process and all that it starts from now on give way to others: the kernel takes them for work that computes and doesn't converse,
/// so that none of their threads, when it wakes, takes the processor from the server that feeds them (sched(7), `SCHED_BATCH`; docs/facts.md). Their
/// share of the processors stays the same. Where somebody chose a policy for this process, it stays; where the kernel allows none, nothing changes.
pub fn give_way() {
    let none = libc::sched_param { sched_priority: 0 };
    #[expect(unsafe_code, reason = "neither call has a safe wrapper among the packages that are used here")]
    // SAFETY: both calls are about the calling thread (0), and the second only reads the structure, which lives until it has returned.
    unsafe {
        if libc::sched_getscheduler(0) == libc::SCHED_OTHER {
            libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const none);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::give_way;
    use crate::process::{Spec, run};

    /// The policy of a child of this thread: field 41 of `/proc/self/stat`, 3 for `SCHED_BATCH` and 5 for `SCHED_IDLE`.
    fn of_a_child() -> String {
        let spec = Spec { args: vec!["/proc/self/stat".into()], ..Spec::new("/bin/cat") };
        let stat = String::from_utf8(run(&spec, &[], Duration::from_secs(10), 4096).unwrap().stdout).unwrap();
        stat.split_once(") ").unwrap().1.split(' ').nth(38).unwrap().to_owned()
    }

    #[test]
    fn children_give_way_too_and_what_somebody_chose_stays() {
        // On a thread of its own, as what it sets can't be taken back.
        let seen = std::thread::spawn(|| {
            give_way();
            of_a_child()
        });
        assert_eq!(seen.join().unwrap(), "3");
        let chosen = std::thread::spawn(|| {
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            let thread = thread.file_name().unwrap().to_owned();
            let spec = Spec { args: vec!["-i".into(), "-p".into(), "0".into(), thread], ..Spec::new("/usr/bin/chrt") };
            let chosen = run(&spec, &[], Duration::from_secs(10), 4096).unwrap();
            assert!(chosen.exit.is_success(), "{chosen:?}");
            give_way();
            of_a_child()
        });
        assert_eq!(chosen.join().unwrap(), "5");
    }
}
