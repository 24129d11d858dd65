//! A small process beside a child that would go on when this one is gone: it holds the reading end of a pipe, and when the kernel closes the
//! other end, however this process ended, it ends the child's group.
//!
//! `PR_SET_PDEATHSIG` is no way: it isn't inherited by what the child forks, and fires with the thread that started it.

use std::process::Stdio;

/// TERM first: it lets `pg_dump` and `pg_restore` cancel what their sessions are doing, which the server would else finish. The guard is a
/// member of the group, so its number can't have been given to strangers meanwhile.
const SCRIPT: &str = "trap '' HUP INT QUIT TERM; read -r end; kill -s TERM 0; kill -s CONT 0; sleep 2; kill -s KILL 0";

/// A guard at work. It ends with the group that it guards.
pub(super) struct Guard(std::process::Child);

impl Guard {
    /// Sets a guard over a group whose leader has not been waited for.
    pub(super) fn over(group: i32) -> std::io::Result<Self> {
        use std::os::unix::process::CommandExt;
        #[expect(clippy::disallowed_methods, reason = "this is the one place that starts children")]
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "pgdumpd-guard"]).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
        command.process_group(group).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self)
    }

    /// Takes its exit status, after its group has been ended.
    pub(super) fn reap(mut self) {
        let _ended_is_enough = self.0.wait();
    }
}
