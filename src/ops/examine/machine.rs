//! This machine: the state directory, the storages, mail.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::Access;

use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;
use crate::model::settings::{Problem, Settings, Smtp, StorageSettings};
use crate::notify::probe;
use crate::storage::Storage;
use crate::units::show_size;

use super::super::elsewhere::{self, Elsewhere};
use super::super::standing::{self, DaemonStanding};
use super::super::{World, lost, mount, secret};
use super::{Finding, Home, is_told};

/// What is written for trial, bytes.
const TRIAL: usize = 256 * 1024;

/// Folders that the shipped unit lets the service write to.
const UNIT_PATHS: [&str; 2] = ["/var/lib/pgdumpd", "/var/backups/pgdumpd"];

pub(super) fn look(world: &World, settings: &Settings, home: Home) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        settings.warnings.iter().map(|warning| Finding::warning("configuration", warning.to_string(), String::new())).collect();
    if !settings.unread.is_empty() {
        let lacked = standing::daemon(world, settings).and_then(|daemon| standing::lacked_by_daemon(world, &daemon));
        findings.extend(settings.unread.iter().map(|problem| unread(&lacked, problem)));
    }
    let folder = &settings.daemon.state_dir;
    findings.push(if folder.exists() { state(folder) } else { to_be_made("state directory", folder) });
    findings.push(daemon(world, settings, home));
    for (name, chosen) in &settings.storages {
        if let Some(storage) = world.storages.get(name) {
            findings.extend(storage_findings(world, storage.as_ref(), chosen));
        }
    }
    findings.extend(left_behind(world, settings));
    // Without [smtp] the configuration has warned already.
    findings.extend(settings.smtp.as_ref().and_then(|smtp| mail(settings, smtp)));
    findings
}

/// A secret that can't be read here, which is a problem unless the daemon has it.
fn unread(lacked: &Result<Option<Vec<String>>>, problem: &Problem) -> Finding {
    let about = "configuration";
    match lacked.as_ref().map(|lacked| standing::known_to_daemon_only(lacked.as_deref(), problem)) {
        Ok(Some(words)) => {
            let hint =
                "what needs it could not be tried from here; doctor tries it where it is run with the daemon's variables and credentials";
            Finding::warning(about, words, hint)
        }
        Ok(None) => Finding::problem(about, &Failure::new(Cause::Secret, problem.to_string())),
        Err(failure) => Finding::problem(about, failure),
    }
}

/// Backups in storages that new ones of their projects don't go to.
fn left_behind(world: &World, settings: &Settings) -> Vec<Finding> {
    let about = |one: &Elsewhere| format!("storage {:?}", one.storage);
    match world.catalog.read(|reader| elsewhere::by_storage(reader, settings)) {
        Ok(all) => all.iter().map(|one| Finding::warning(&about(one), one.words(), one.hint("pgdumpd list"))).collect(),
        Err(failure) => vec![Finding::problem("catalog", &failure)],
    }
}

fn daemon(world: &World, settings: &Settings, home: Home) -> Finding {
    let about = "daemon";
    match standing::daemon(world, settings) {
        Ok(DaemonStanding::Serving { stopping: true, .. }) => {
            Finding::warning(about, "it is stopping, and starts nothing more", home.start_again())
        }
        Ok(DaemonStanding::Waiting { why, .. }) => {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            Finding::warning(about, format!("it waits for the database, and backs up nothing before{why}"), "")
        }
        Ok(DaemonStanding::Serving { .. }) => Finding::fine(about, "it is serving"),
        Ok(DaemonStanding::Starting) => Finding::fine(about, "it is starting"),
        Ok(DaemonStanding::Silent { heartbeat }) => Finding::problem(
            about,
            &Failure::new(Cause::System, format!("it has given no sign of life since {}", heartbeat.format("%Y-%m-%d %H:%M:%S UTC")))
                .hint(home.look()),
        ),
        Ok(DaemonStanding::Stopped) => Finding::warning(about, "it is not running, so nothing is backed up by itself", home.start()),
        Err(failure) => Finding::problem(about, &failure),
    }
}

pub(super) fn state(folder: &Path) -> Finding {
    let about = "state directory";
    if let Err(error) = try_out(folder) {
        let failure = Failure::new(Cause::Space, format!("{} can't be written: {error}", folder.display()));
        return Finding::problem(
            about,
            &failure.hint("make room there, and see that the user that runs pgdumpd owns it: without it no backup is made"),
        );
    }
    match rustix::fs::statvfs(folder) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            if free < 64 * 1024 * 1024 {
                let words = format!("{} has only {} free", folder.display(), show_size(free));
                return Finding::warning(about, words, "the catalog and the outbox live there; free some space");
            }
            Finding::fine(about, format!("{}, {} free", folder.display(), show_size(free)))
        }
        Err(error) => Finding::problem(
            about,
            &Failure::new(Cause::System, format!("{} can't be looked at: {error}", folder.display()))
                .hint("make it, and give it to the user that runs pgdumpd"),
        ),
    }
}

/// Writes as much as the catalog needs for a run, and removes it again: free space says nothing of quotas, inodes and rights.
fn try_out(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".pgdumpd-doctor-{}", RunId::random()));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    let tried = file.write_all(&vec![0; TRIAL]).and_then(|()| file.sync_all());
    std::fs::remove_file(&path)?;
    tried
}

/// A folder that isn't there yet, where the question makes none: whether the first run can.
fn to_be_made(about: &str, folder: &Path) -> Finding {
    let above = folder.ancestors().skip(1).find(|above| above.exists()).unwrap_or(Path::new("/"));
    if rustix::fs::access(above, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        return Finding::fine(about, format!("{} isn't there yet; the first run makes it", folder.display()));
    }
    let words = format!("{} isn't there and can't be made: this user may not write to {}", folder.display(), above.display());
    Finding::problem(about, &Failure::new(Cause::System, words).hint("make it, and give it to the user that runs pgdumpd"))
}

fn storage_findings(world: &World, storage: &dyn Storage, chosen: &StorageSettings) -> Vec<Finding> {
    let about = format!("storage {:?}", storage.name());
    let StorageSettings::Local { path, .. } = chosen;
    let mut findings = Vec::new();
    match mount::is_new(world, storage) {
        Ok(true) => return vec![to_be_made(&about, path)],
        Ok(false) => {}
        Err(failure) => return vec![Finding::problem(&about, &failure)],
    }
    if let Err(failure) = mount::ensure(world, storage) {
        return vec![Finding::problem(&about, &failure)];
    }
    if let Err(failure) = storage.writable() {
        findings.push(Finding::problem(&about, &failure));
    }
    match storage.free_space() {
        Ok(Some(0)) => findings.push(Finding::problem(
            &about,
            &Failure::new(Cause::Space, format!("{} has nothing free beyond its reserve", storage.place())).hint("free some space"),
        )),
        Ok(Some(free)) => findings.push(Finding::fine(&about, format!("{}, {} free beyond its reserve", storage.place(), show_size(free)))),
        Ok(None) => findings.push(Finding::fine(&about, storage.place())),
        Err(failure) => findings.push(Finding::problem(&about, &failure)),
    }
    findings.extend(contents(world, storage, &about));
    if Path::new("/run/systemd/system").is_dir() && !UNIT_PATHS.iter().any(|known| path.starts_with(known)) {
        let line = format!("ReadWritePaths={}", path.display());
        findings.push(Finding::warning(
            &about,
            format!("{} is outside the folders that the shipped unit may write to", path.display()),
            format!("run `systemctl edit pgdumpd` and add: [Service] {line}"),
        ));
    }
    findings
}

/// As many files as are named.
const NAMED: usize = 3;

/// Whether the backups of the index are there, and what lies beside them that belongs to none.
fn contents(world: &World, storage: &dyn Storage, about: &str) -> Vec<Finding> {
    let compared = storage.projects().and_then(|mut projects| {
        // A project whose folder is gone has backups in the index alone.
        projects.extend(world.catalog.read(|reader| reader.totals())?.into_iter().map(|totals| totals.project));
        projects.sort();
        projects.dedup();
        let (mut gone, mut loose) = (Vec::new(), Vec::new());
        for project in projects {
            let difference = lost::compare(world, storage, &project)?;
            gone.extend(difference.gone.iter().map(|row| format!("{project}/{}", row.file)));
            loose.extend(difference.loose.iter().map(|file| format!("{project}/{file}")));
        }
        Ok((gone, loose))
    });
    let named = |files: &[String]| {
        let more = if files.len() > NAMED { format!(" and {} more", files.len() - NAMED) } else { String::new() };
        format!("{}{more}", files.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    let (gone, loose) = match compared {
        Ok(found) => found,
        Err(failure) => return vec![Finding::problem(about, &failure)],
    };
    let mut findings = Vec::new();
    if !gone.is_empty() {
        let words = format!(
            "files of {} are gone, and pgdumpd did not remove them: {}",
            if gone.len() == 1 { String::from("a backup") } else { format!("{} backups", gone.len()) },
            named(&gone)
        );
        let hint = "keep out what removes files there, put them back from a copy, or give them up one by one: pgdumpd delete BACKUP";
        findings.push(Finding::problem(about, &Failure::new(Cause::Damaged, words).hint(hint)));
    }
    if !loose.is_empty() {
        let words = format!(
            "{} to no backup: {}",
            if loose.len() == 1 { String::from("a file belongs") } else { format!("{} files belong", loose.len()) },
            named(&loose)
        );
        let hint = "pgdumpd touches none of them; a dump that lost its manifest is read by its path: pgdumpd show PATH";
        findings.push(Finding::warning(about, words, hint));
    }
    findings
}

fn mail(settings: &Settings, smtp: &Smtp) -> Option<Finding> {
    let about = "mail";
    let password = match secret(&smtp.password) {
        Ok(password) => password,
        Err(failure) => return (!is_told(settings, &failure)).then(|| Finding::problem(about, &failure)),
    };
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let steps = probe::knock(smtp, password.as_ref(), &hostname);
    Some(match steps.iter().find(|step| !step.ok) {
        None => Finding::fine(about, format!("{} greets us and lets us in; `pgdumpd notify test` sends a mail", smtp.host)),
        Some(step) => {
            Finding::problem(about, &Failure::new(Cause::Mail, step.detail.clone()).hint("mend [smtp], then run `pgdumpd notify test`"))
        }
    })
}
