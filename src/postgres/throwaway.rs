//! A PostgreSQL cluster of one's own, made from the installed server programs and gone without a trace when it is no longer wanted.
//!
//! It listens on a socket in a folder that only its user can enter, and nowhere else. A small shell watches over it: when pgdumpd ends,
//! however it ends, the pipe between them closes, and the shell stops the server and removes the folder. Drills call it.

use std::fs::DirBuilder;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Cause, Failure, Result};
use crate::model::project::Target;
use crate::process::{self, Cancel, Child, Identity, InUse, Input, Output, Signal, Spec, Use};
use crate::units::show_size;

use super::connection::Access;
use super::version::{Clients, major};

/// The watcher. It gets the folder and the server's programs, says `ready` once the server takes connections, and then waits for the end
/// of its input. What went wrong goes to stderr before the folder goes. When pgdumpd is gone, there is nobody to read either.
const WATCHER: &str = r#"
dir=$1 bin=$2 server=
clean() {
  if [ -n "$server" ]; then kill -QUIT "$server" 2>/dev/null; wait "$server" 2>/dev/null; fi
  cd / && { rm -rf "$dir" 2>/dev/null || { sleep 1; rm -rf "$dir"; }; }
}
fail() { tail -n 20 "$dir/log" >&2; clean; exit 1; }
trap 'clean; exit 1' HUP INT TERM
trap '' PIPE
cd "$dir" || exit 1
"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >log 2>&1 </dev/null || fail
"$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c unix_socket_permissions=0700 -c port=5432 \
  -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c wal_level=minimal -c max_wal_senders=0 -c archive_mode=off \
  -c shared_buffers=64MB -c maintenance_work_mem=128MB -c max_wal_size=2GB -c max_locks_per_transaction=1024 -c max_connections=20 \
  >log 2>&1 </dev/null &
server=$!
until grep -q '^ready' "$dir/data/postmaster.pid" 2>/dev/null; do
  kill -0 "$server" 2>/dev/null || fail
  sleep 0.1
done
echo ready
while read -r line; do :; done
clean
"#;

/// What the folders' names begin with; then come the number and the start of the process that made them.
const PREFIX: &str = "pgdumpd-drill-";

/// How long a cluster may take to be made.
const START: Duration = Duration::from_secs(180);

/// How long it may take to go.
const STOP: Duration = Duration::from_secs(30);

/// The longest name of a socket that the system takes, bytes; `/.s.PGSQL.5432.lock` comes after the folder.
const LONGEST_SOCKET: usize = 107 - 15;

/// What a cluster takes with nothing in it, bytes.
const EMPTY: u64 = 64 << 20;

/// What to do where there is no room for one.
pub const NO_ROOM: &str = "free some space there, name a folder with more room in TMPDIR, or drill on a server: drill = { cron = \"@weekly\", on = \"postgresql://…\" }, or --on URL";

/// A running cluster; dropping it stops it and removes its folder.
#[derive(Debug)]
pub struct Throwaway {
    watcher: Child,
    folder: PathBuf,
    /// Tells whoever can't see this process that its folder is in use.
    _mark: Option<InUse>,
    /// The major version of its server.
    pub major: u32,
}

/// Folders that throwaway clusters may stand in, the best first: below the state directory, unless the server has to run as another user.
#[must_use]
pub fn places(state_dir: &Path) -> Vec<PathBuf> {
    let state = state_dir.join("scratch");
    let short = state.as_os_str().len() + PREFIX.len() + 30 < LONGEST_SOCKET;
    let temporary = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let own = (!is_root() && short).then_some(state);
    own.into_iter().chain([temporary]).collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a cluster could be made for a dump of a server of this version: what [`Throwaway::start`] needs is there.
pub fn possible(clients: &Clients, server: u32) -> Result<()> {
    programs(clients, server)?;
    user().map(drop)
}

/// The places with room for a cluster that is to hold so many bytes, or that can't say how much they have; never none.
///
/// # Errors
/// Where none of them has it.
pub fn with_room(places: &[PathBuf], holds: u64) -> Result<Vec<&Path>> {
    let needed = holds.saturating_add(EMPTY);
    let mut small = Vec::new();
    let mut has_room = |place: &&Path| match free(place) {
        Some(free) if free < needed => {
            small.push(format!("{} has {} free", place.display(), show_size(free)));
            false
        }
        _ => true,
    };
    let roomy: Vec<&Path> = places.iter().map(PathBuf::as_path).filter(|place| has_room(place)).collect();
    if roomy.is_empty() && !small.is_empty() {
        let words =
            format!("a throwaway PostgreSQL with what the backup holds takes about {}, and {}", show_size(needed), small.join(", "));
        return Err(Failure::new(Cause::Space, words).hint(NO_ROOM));
    }
    Ok(roomy)
}

/// Bytes that are free where a folder is or will be made.
fn free(place: &Path) -> Option<u64> {
    let found = place.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok())?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

impl Throwaway {
    /// Makes a cluster for a dump of a server of this version that holds so many bytes, in the first of the `places` that has room; removes
    /// what earlier ones left there.
    ///
    /// # Errors
    /// Without server programs of that major version or a newer one; as root without the user `postgres`; without room; where it can't be
    /// started.
    pub fn start(clients: &Clients, (server, holds): (u32, u64), places: &[PathBuf], cancel: &Cancel) -> Result<Self> {
        let (bin, major) = programs(clients, server)?;
        let user = user()?;
        places.iter().for_each(|place| sweep(place));
        let folder = folder(&with_room(places, holds)?, user)?;
        let mark = InUse::of_folder(&folder, Use::Reading);
        let mut spec = Spec::new("/bin/sh");
        spec.args = vec!["-c".into(), WATCHER.into(), "pgdumpd-drill".into(), folder.clone().into(), bin.into()];
        spec.env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()), ("LC_ALL".into(), "C".into())];
        spec.env.extend(std::env::var_os("LD_LIBRARY_PATH").map(|path| ("LD_LIBRARY_PATH".into(), path)));
        (spec.stdin, spec.stdout, spec.cwd, spec.user) = (Input::Piped, Output::Piped, Some(PathBuf::from("/")), user);
        let watcher = process::spawn(&spec).inspect_err(|_| drop(std::fs::remove_dir(&folder)))?;
        let mut cluster = Self { watcher, folder, _mark: mark, major };
        cluster.wait_until_ready(cancel)?;
        Ok(cluster)
    }

    fn wait_until_ready(&mut self, cancel: &Cancel) -> Result<()> {
        let (said, heard) = crossbeam_channel::bounded(1);
        if let Some(stdout) = self.watcher.take_stdout() {
            let listen = move || {
                let mut line = String::new();
                // Nothing but the end comes where it fails.
                drop(BufReader::new(stdout).read_line(&mut line));
                drop(said.send(line));
            };
            std::thread::Builder::new()
                .name(String::from("drill"))
                .spawn(listen)
                .map_err(|error| Failure::new(Cause::System, format!("no thread could be started: {error}")))?;
        }
        let until = Instant::now() + START;
        loop {
            match heard.recv_timeout(Duration::from_millis(200)) {
                Ok(line) if line.trim() == "ready" => return Ok(()),
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                _ => {
                    self.watcher.wait_timeout(STOP);
                    return Err(Failure::new(Cause::System, "a throwaway PostgreSQL could not be started")
                        .hint("look at what it said; or name a server to drill on: drill = { cron = \"@weekly\", on = \"postgresql://…\" }, or --on URL")
                        .detail(self.watcher.stderr_tail()));
                }
            }
            if let Some(reason) = cancel.reason() {
                return Err(Failure::new(Cause::Interrupted, format!("the drill was ended: {reason}")));
            }
            if Instant::now() >= until {
                let words = format!("a throwaway PostgreSQL was not ready within {} s", START.as_secs());
                return Err(Failure::new(Cause::TimeLimit, words).detail(self.watcher.stderr_tail()));
            }
        }
    }

    /// How it is reached, as its superuser.
    pub fn access(&self) -> Result<Access> {
        let words = [("host", self.folder.display().to_string()), ("port", String::from("5432")), ("user", String::from("postgres"))];
        let target = Target::Keywords(words.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
        Access::new(&target, None, Duration::from_secs(10), &|name| std::env::var_os(name).filter(|_| !name.starts_with("PG")))
    }

    /// Its folder, which is also its socket's.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        // The end of its input is the watcher's sign.
        drop(self.watcher.take_stdin());
        if self.watcher.wait_timeout(STOP).is_none() {
            self.watcher.kill();
        }
        if self.folder.exists() {
            remove(&self.folder);
        }
    }
}

/// The server programs of the lowest major version that takes such a dump.
fn programs(clients: &Clients, server: u32) -> Result<(PathBuf, u32)> {
    let mut found: Vec<(u32, PathBuf)> = clients.all().iter().map(|client| (client.major(), client.dir().to_path_buf())).collect();
    if let Ok(others) = Clients::find(None, &|name| std::env::var(name).ok().filter(|_| name == "PATH")) {
        found.extend(others.all().iter().map(|client| (client.major(), client.dir().to_path_buf())));
    }
    found.retain(|(number, dir)| *number >= major(server) && dir.join("initdb").is_file() && dir.join("postgres").is_file());
    found.sort();
    let wanted = major(server);
    found.into_iter().next().map(|(number, dir)| (dir, number)).ok_or_else(|| {
        Failure::new(
            Cause::ClientMissing,
            format!("no PostgreSQL server programs (initdb, postgres) of release {wanted} or newer are installed"),
        )
        .hint(format!(
            "install the package postgresql-{wanted} (Debian, Ubuntu) or postgresql{wanted}-server (Red Hat), none of its clusters needs \
                 to run; or name a server to drill on: drill = {{ on = \"postgresql://…\" }}, or --on URL"
        ))
    })
}

/// The user that the server runs as: this one, except that PostgreSQL refuses to run as root.
fn user() -> Result<Option<(u32, u32)>> {
    if !is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == "postgres").then(|| Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?)))?
    });
    found.map(Some).ok_or_else(|| {
        Failure::new(Cause::System, "PostgreSQL doesn't run as root, and there is no user postgres to run it as")
            .hint("run pgdumpd as its own user, or name a server to drill on: drill = { cron = \"@weekly\", on = \"postgresql://…\" }, or --on URL")
    })
}

/// A new folder for its user alone.
fn folder(places: &[&Path], user: Option<(u32, u32)>) -> Result<PathBuf> {
    let own = process::own_identity().unwrap_or(Identity { pid: std::process::id(), start_ticks: 0 });
    let name = format!("{PREFIX}{}-{}-{:08x}", own.pid, own.start_ticks, rand::random::<u32>());
    let mut last = None;
    for place in places {
        drop(DirBuilder::new().recursive(true).mode(0o700).create(place));
        let folder = place.join(&name);
        let made = DirBuilder::new().mode(0o700).create(&folder);
        let given = made.and_then(|()| user.map_or(Ok(()), |(user, group)| chown(&folder, Some(user), Some(group))));
        match given {
            Ok(()) => return Ok(folder),
            Err(error) => last = Some(Failure::new(Cause::System, format!("making the folder {}: {error}", folder.display()))),
        }
    }
    Err(last.unwrap_or_else(|| Failure::new(Cause::System, "there is no place for a throwaway PostgreSQL")))
}

/// Removes the folders in `place` whose makers are gone, and ends servers that still run in them. In a container beside this one a maker is
/// not to be seen, and holds its folder all the same.
pub fn sweep(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let mut parts = rest.splitn(3, '-').map(str::parse::<u64>);
        let (Some(Ok(pid)), Some(Ok(start_ticks))) = (parts.next(), parts.next()) else { continue };
        let Ok(pid) = u32::try_from(pid) else { continue };
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_left = || InUse::of_folder(&entry.path(), Use::Removing).is_some();
        if is_folder && !(Identity { pid, start_ticks }).is_alive() && is_left() {
            tracing::info!(folder = %entry.path().display(), "removing what a cut-off drill left behind");
            remove(&entry.path());
        }
    }
}

/// Ends the server that runs in a folder, if one does, and removes the folder.
fn remove(folder: &Path) {
    let data = folder.join("data");
    let first = std::fs::read_to_string(data.join("postmaster.pid")).ok();
    let server = first.and_then(|text| process::identity(text.lines().next()?.trim().parse().ok()?));
    // The number may be another process's by now: a server works in its data folder.
    let runs_here = |server: &Identity| std::fs::read_link(format!("/proc/{}/cwd", server.pid)).is_ok_and(|cwd| cwd == data);
    if let Some(server) = server.filter(runs_here) {
        drop(server.kill(Signal::QUIT));
        let until = Instant::now() + Duration::from_secs(10);
        while server.is_alive() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    for _ in 0..20 {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => std::thread::sleep(Duration::from_millis(100)),
            _ => return,
        }
    }
    tracing::warn!(folder = %folder.display(), "what a drill left behind can't be removed");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_whose_makers_are_gone_are_swept() {
        let place = tempfile::tempdir().unwrap();
        let own = process::own_identity().unwrap();
        let alive = format!("{PREFIX}{}-{}-0badcafe", own.pid, own.start_ticks);
        let gone = format!("{PREFIX}{}-{}-0badcafe", own.pid, own.start_ticks + 1);
        // Made by a process that can't be seen from here, in another container.
        let unseen = format!("{PREFIX}{}-{}-0badcafe", own.pid, own.start_ticks + 2);
        for name in [alive.as_str(), gone.as_str(), unseen.as_str(), "pgdumpd-drill-x", "other"] {
            std::fs::create_dir_all(place.path().join(name).join("data")).unwrap();
        }
        let holding = InUse::of_folder(&place.path().join(&unseen), Use::Reading).unwrap();
        sweep(place.path());
        let left = |name: &str| place.path().join(name).exists();
        assert_eq!([left(&alive), left(&gone), left(&unseen), left("pgdumpd-drill-x"), left("other")], [true, false, true, true, true]);
        drop(holding);
        sweep(place.path());
        assert!(!left(&unseen));
    }
}
