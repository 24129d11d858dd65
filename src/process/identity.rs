//! Which process is meant, beyond its number: numbers are used again, start times aren't.
//!
//! Repair ends an orphan through this, so that it can never end a stranger that got the orphan's number.

pub use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, kill_process_group, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process by number and start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Process number.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
}

/// The identity of the process that has this number now; `None` where there is none, or only its remains.
#[must_use]
pub fn identity(pid: u32) -> Option<Identity> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let (state, start_ticks) = parse_stat(&stat)?;
    // A zombie has ended; it only waits for its parent to take notice. X is the moment after that.
    if matches!(state, b'Z' | b'X' | b'x') { None } else { Some(Identity { pid, start_ticks }) }
}

/// This process.
#[must_use]
pub fn own_identity() -> Option<Identity> {
    identity(std::process::id())
}

impl Identity {
    /// Whether this very process is still there.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        identity(self.pid) == Some(*self)
    }

    /// Sends it a signal; `false` where it is gone or another process has its number.
    pub fn kill(&self, signal: Signal) -> std::io::Result<bool> {
        let Some(pid) = self.raw() else { return Ok(false) };
        // The descriptor pins the process first; what is asked of /proc afterwards is about that very one.
        let pinned = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pinned) => pinned,
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if !self.is_alive() {
            return Ok(false);
        }
        match pidfd_send_signal(&pinned, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a signal to the process group it leads; `false` where it is gone or another process has its number.
    pub fn kill_group(&self, signal: Signal) -> std::io::Result<bool> {
        let Some(pid) = self.raw() else { return Ok(false) };
        if !self.is_alive() {
            return Ok(false);
        }
        match kill_process_group(pid, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn raw(&self) -> Option<Pid> {
        // 0 and below mean groups to kill(2); 1 is never a child of ours.
        i32::try_from(self.pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
    }
}

/// State and start time. The second field is the program's name in brackets, which may itself hold brackets and spaces.
fn parse_stat(stat: &[u8]) -> Option<(u8, u64)> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    // Field 3 has just been taken; 22 is the 19th after it.
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some((state, start_ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = b"4242 (a) b (c)) S 1 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 10 20";
        assert_eq!(parse_stat(stat), Some((b'S', 987_654)));
        assert_eq!(parse_stat(b"4242 (x"), None);
        assert_eq!(parse_stat(b"4242 (x) S 1 2"), None);
    }

    #[test]
    fn own_process_is_alive_and_another_start_time_is_not() {
        let own = own_identity().unwrap();
        assert!(own.is_alive());
        let stranger = Identity { start_ticks: own.start_ticks + 1, ..own };
        assert!(!stranger.is_alive());
        assert!(!stranger.kill(Signal::KILL).unwrap(), "a stranger with the same number was killed");
        assert!(!stranger.kill_group(Signal::KILL).unwrap());
    }
}
