//! One running child: waiting for it, ending it, never leaving it behind.
//!
//! A thread of its own waits for the child, ends what is left of its group and takes its exit status, so that waiting can have a
//! deadline and no zombie stays whatever becomes of the [`Child`].

use std::process::{ChildStdin, ChildStdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::Spec;
use super::exit::Exit;
use super::guard::Guard;
use super::identity::{Identity, identity};
use super::stderr::{LineHook, Tail};
use crate::error::{Cause, Failure, Result};

/// How long a child that was sent KILL is waited for: one that hangs in the kernel (a dead network disk) ends when the kernel lets go.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// A running program. Dropping it kills its process group.
#[derive(Debug)]
pub struct Child {
    name: String,
    identity: Identity,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    tail: Tail,
    life: Arc<Life>,
}

#[derive(Debug)]
struct Life {
    group: Pid,
    exit: Mutex<Option<Exit>>,
    ended: Condvar,
}

impl Life {
    /// Signals the whole group. The number can't have been given to strangers: it is taken back only with the exit status, under this lock.
    fn signal(&self, signal: Signal) {
        let exit = self.exit.lock();
        if exit.is_none() {
            // Fails only where the group is gone already or is another user's, and then there is nothing more to do.
            let _gone_is_fine = kill_process_group(self.group, signal);
        }
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Option<Exit> {
        let mut exit = self.exit.lock();
        while exit.is_none() {
            match deadline {
                Some(deadline) if self.ended.wait_until(&mut exit, deadline).timed_out() => break,
                Some(_) => {}
                None => self.ended.wait(&mut exit),
            }
        }
        *exit
    }

    fn watch(&self, mut child: std::process::Child, guard: Option<Guard>) {
        // Without taking the status: the number stays the child's own until what is left of its group has been ended.
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(self.group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
        let mut exit = self.exit.lock();
        let _gone_is_fine = kill_process_group(self.group, Signal::KILL);
        *exit = Some(child.wait().map_or(Exit::Code(-1), Exit::from));
        self.ended.notify_all();
        drop(exit);
        if let Some(guard) = guard {
            guard.reap();
        }
    }
}

impl Child {
    pub(super) fn adopt(mut child: std::process::Child, spec: &Spec, hook: Option<LineHook>) -> Result<Self> {
        let (pid, name) = (child.id(), spec.name());
        let group = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(group) = group else {
            return Err(Failure::new(Cause::System, format!("{name} got the process number {pid}, which can't be")));
        };
        // A child that has ended already keeps its place in /proc, but not as a living one: no ticks, and nobody to take it for.
        let identity = identity(pid).unwrap_or(Identity { pid, start_ticks: 0 });
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let guard = spec.guarded.then(|| set_guard(&name, group)).flatten();
        let life = Arc::new(Life { group, exit: Mutex::new(None), ended: Condvar::new() });
        let its_life = Arc::clone(&life);
        let watcher = std::thread::Builder::new().name(format!("wait {pid}")).stack_size(64 * 1024);
        if let Err(error) = watcher.spawn(move || its_life.watch(child, guard)) {
            let _gone_is_fine = kill_process_group(group, Signal::KILL);
            return Err(no_thread(&name, &error));
        }
        let mut adopted = Self { name, identity, stdin, stdout, tail: Tail::default(), life };
        if let Some(stderr) = stderr {
            adopted.tail = Tail::follow(stderr, hook).map_err(|error| no_thread(&adopted.name, &error))?;
        }
        Ok(adopted)
    }

    /// Its process number, which is also that of its group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.identity.pid
    }

    /// When it started, in clock ticks since the machine did.
    #[must_use]
    pub fn start_ticks(&self) -> u64 {
        self.identity.start_ticks
    }

    /// Number and start time together.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The program's file name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its output, once, if it is piped.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// Its input, once, if it is piped; dropping it ends the input.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// Waits until it has ended. An input that wasn't taken is closed first.
    pub fn wait(&mut self) -> Exit {
        self.stdin = None;
        self.life.wait_until(None).unwrap_or(Exit::Code(-1))
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn try_wait(&self) -> Option<Exit> {
        *self.life.exit.lock()
    }

    /// Waits at most `span`; `None` if it still runs then.
    pub fn wait_timeout(&mut self, span: Duration) -> Option<Exit> {
        self.life.wait_until(Some(Instant::now() + span))
    }

    /// Ends its process group: TERM, `grace`, then KILL. Stopped members are woken so that they can end.
    pub fn terminate(&mut self, grace: Duration) -> Exit {
        self.life.signal(Signal::TERM);
        // A stopped process keeps TERM waiting until it goes on.
        self.life.signal(Signal::CONT);
        match self.wait_timeout(grace) {
            Some(exit) => exit,
            None => self.kill(),
        }
    }

    /// Sends its process group INT, as Ctrl-C does, and waits for nothing.
    pub fn interrupt(&self) {
        self.life.signal(Signal::INT);
    }

    /// Ends its process group with KILL at once.
    pub fn kill(&mut self) -> Exit {
        self.life.signal(Signal::KILL);
        self.wait_timeout(AFTER_KILL).unwrap_or(Exit::Signal(Signal::KILL.as_raw()))
    }

    /// The last 8 KiB of its stderr, whole lines. Of a child that has ended, all of its last words.
    #[must_use]
    pub fn stderr_tail(&self) -> String {
        self.tail.text(self.try_wait().is_some())
    }

    /// The same a moment later: what was written just before an answer on the other stream has arrived by then.
    #[must_use]
    pub fn stderr_soon(&self) -> String {
        std::thread::sleep(Duration::from_millis(100));
        self.stderr_tail()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.try_wait().is_none() {
            self.kill();
        }
    }
}

/// Sets a guard. Without one the child does its work all the same; only a kill of this process would not end it.
fn set_guard(name: &str, group: Pid) -> Option<Guard> {
    let set = Guard::over(group.as_raw_nonzero().get());
    set.inspect_err(|error| tracing::warn!("{name} goes on if pgdumpd is killed, because its guard (/bin/sh) can't be started: {error}"))
        .ok()
}

fn no_thread(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(Cause::System, format!("{name} can't be watched: no thread could be started: {error}"))
        .hint("look at the limits on processes and memory (ulimit -a, systemctl show)")
}
