//! Children: started in their own process group with a clean environment, an owner, a deadline and a way to die.
//!
//! The only place that starts programs. It knows nothing of what they do; whoever starts one decides how long it may take.

mod buffers;
mod cancel;
mod child;
mod exit;
mod guard;
mod identity;
mod in_use;
pub mod memory;
mod priority;
mod run;
mod stderr;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use command_fds::{CommandFdExt, FdMapping};

pub use cancel::{Cancel, CancelReason, Stalled};
pub use child::Child;
pub use exit::Exit;
pub use identity::{Identity, Signal, identity, own_identity};
pub use in_use::{InUse, Use};
pub use priority::give_way;
pub use run::{Finished, run, run_fed, run_unless};
pub use stderr::LineHook;

use crate::error::{Cause, Failure, Result};

/// What the child reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Input {
    /// Nothing: the end of file at once.
    #[default]
    Null,
    /// What is written to [`Child::take_stdin`].
    Piped,
}

/// Where the child's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Output {
    /// Nowhere.
    #[default]
    Null,
    /// To [`Child::take_stdout`].
    Piped,
}

/// A program to start, in full: nothing is taken over from this process but what stands here.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// Absolute path, or a name to be found through the `PATH` in `env`.
    pub program: PathBuf,
    /// Arguments without the program's name. Never a secret: every user can read them.
    pub args: Vec<OsString>,
    /// The child's whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// What it reads.
    pub stdin: Input,
    /// Where its output goes; stderr is always captured.
    pub stdout: Output,
    /// Descriptors it gets, each with the number it has there. In this process they stay closed to every other child.
    pub inherit: Vec<(Arc<OwnedFd>, i32)>,
    /// Its working directory; `None` is this process's own.
    pub cwd: Option<PathBuf>,
    /// The user and group it becomes, without further groups; `None` is this process's own. Only root can.
    pub user: Option<(u32, u32)>,
    /// Whether its group is ended when this process is gone, however that came about: for a program that would not notice by its input or
    /// output. Its own children are ended with it.
    pub guarded: bool,
    /// Whether much goes through its pipes, so that larger buffers are worth their memory.
    pub bulk: bool,
}

impl Spec {
    /// A program without arguments, with an empty environment, reading and writing nothing.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), ..Self::default() }
    }

    /// The program's file name, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

/// Starts a program.
pub fn spawn(spec: &Spec) -> Result<Child> {
    spawn_watched(spec, None)
}

/// Starts a program; `hook` is called for each line it writes to stderr, from a thread of its own.
pub fn spawn_watched(spec: &Spec, hook: Option<LineHook>) -> Result<Child> {
    let mut command = command(spec)?;
    let child = command.spawn().map_err(|error| not_started(spec, &error))?;
    Child::adopt(child, spec, hook)
}

/// Starts this very program again with the same environment, input and output, in its own process group: the daemon below a reaper.
pub fn spawn_self(arguments: impl IntoIterator<Item = OsString>) -> Result<u32> {
    let program = std::env::current_exe().map_err(|error| Failure::new(Cause::System, format!("finding this program's file: {error}")))?;
    let spec = Spec::new(program);
    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts children")]
    let mut command = Command::new(&spec.program);
    let child = command.args(arguments).process_group(0).spawn().map_err(|error| not_started(&spec, &error))?;
    Ok(child.id())
}

fn command(spec: &Spec) -> Result<Command> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts children")]
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear().envs(spec.env.iter().map(|(key, value)| (key, value)));
    if spec.bulk {
        command.envs(buffers::variables(spec));
    }
    command.process_group(0).stderr(Stdio::piped());
    command.stdin(match spec.stdin {
        Input::Null => Stdio::null(),
        Input::Piped => Stdio::piped(),
    });
    command.stdout(match spec.stdout {
        Output::Null => Stdio::null(),
        Output::Piped => Stdio::piped(),
    });
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    if let Some((user, group)) = spec.user {
        command.uid(user).gid(group);
    }
    if !spec.inherit.is_empty() {
        command.fd_mappings(mappings(spec)?).map_err(|_| {
            Failure::new(Cause::System, format!("starting {}: two descriptors were given the same number in the child", spec.name()))
        })?;
    }
    Ok(command)
}

fn mappings(spec: &Spec) -> Result<Vec<FdMapping>> {
    spec.inherit
        .iter()
        .map(|(fd, number)| {
            // The copy shares the open file, and so its lock; it is closed again as soon as the child has started.
            let parent_fd = fd.try_clone().map_err(|error| not_started(spec, &error))?;
            Ok(FdMapping { parent_fd, child_fd: *number })
        })
        .collect()
}

fn not_started(spec: &Spec, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let program = spec.program.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory => {
            Failure::new(Cause::ClientMissing, format!("{program} can't be started: {error}"))
                .hint(format!("install {}, or correct the path and its permissions", spec.name()))
        }
        _ => Failure::new(Cause::System, format!("{program} can't be started: {error}"))
            .hint("look at the limits on processes, open files and memory (ulimit -a, systemctl show)"),
    }
}

#[cfg(test)]
mod tests;
