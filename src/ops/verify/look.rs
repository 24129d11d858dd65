//! One look: the stored bytes against their manifest, and what is inside them against what was seen when they were written.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, Manifest, ProofLevel};
use crate::model::dump::{Content, Format};
use crate::postgres::archive::{Observed, Tap};
use crate::postgres::restore::lacks_library;
use crate::postgres::version;
use crate::process::{self, Cancel, CancelReason, Child, Exit, Input, Signal, Spec};
use crate::storage::Key;
use crate::stream::{self, Inside, ReadBack};

use super::{Means, unpacked};

/// How often a look that has to wait asks whether it may go on, and the watcher whether it was cancelled.
const ASK: Duration = Duration::from_millis(200);

/// How long `pg_restore` may take nothing, and how long it may take to end after its input has ended.
pub(super) const SILENCE: Duration = Duration::from_secs(1800);

/// What one look saw.
pub(super) enum Seen {
    Good,
    /// Its bytes are what was written, and it could not be read any deeper for this reason, which says nothing about it.
    OnlyBytes(String),
    /// By which check, and why.
    Damaged {
        check: ProofLevel,
        why: String,
    },
    Unread(Failure),
    NoManifest,
}

pub(super) fn damaged(check: ProofLevel, why: impl Into<String>) -> Seen {
    Seen::Damaged { check, why: why.into() }
}

/// Looks once. Fails only where it was cancelled.
pub(super) fn once(means: Means<'_>, row: &BackupRow, level: ProofLevel) -> Result<Seen> {
    match seen(means, row, level) {
        Ok(seen) => Ok(seen),
        Err(failure) if failure.cause == Cause::Interrupted => Err(failure),
        Err(failure) => Ok(Seen::Unread(failure)),
    }
}

fn seen(means: Means<'_>, row: &BackupRow, level: ProofLevel) -> Result<Seen> {
    let storage = means.storage.as_ref();
    let manifest_key = manifest::key(&row.project, &row.file);
    if storage.size(&manifest_key)?.is_none() {
        return Ok(Seen::NoManifest);
    }
    let manifest = match manifest::read(storage, &manifest_key) {
        Ok(manifest) => manifest,
        Err(failure) if failure.cause == Cause::BadManifest => {
            // Written well, by one who knows more: no damage, and no proof either.
            if let Some(later) = manifest::is_later(storage, &manifest_key)? {
                return Err(later);
            }
            return Ok(damaged(ProofLevel::Checksum, failure.message));
        }
        Err(failure) => return Err(failure),
    };
    let key = Key { project: row.project.clone(), file: row.file.clone() };
    match storage.size(&key)? {
        None => return Ok(damaged(ProofLevel::Checksum, format!("the artifact {} is missing", row.file))),
        Some(stored) if stored != manifest.backup_size_bytes => {
            let words = format!("the artifact {} has {stored} bytes instead of {}", row.file, manifest.backup_size_bytes);
            return Ok(damaged(ProofLevel::Checksum, words));
        }
        Some(_) => {}
    }
    let source = storage.get(&key)?;
    if level < ProofLevel::Read {
        let held = AtomicBool::new(false);
        let read = stream::read_back(source, None, means.gauge, &|| may_go_on(means, &held))?;
        stopped(means.cancel, &read)?;
        return Ok(wrong_bytes(row, &manifest, &read).unwrap_or(Seen::Good));
    }
    read_inside(means, row, &manifest, source)
}

fn may_go_on(means: Means<'_>, held: &AtomicBool) -> bool {
    while (means.held)() {
        held.store(true, Ordering::Relaxed);
        if means.cancel.wait_timeout(ASK).is_some() {
            return false;
        }
    }
    held.store(false, Ordering::Relaxed);
    means.cancel.reason().is_none()
}

fn stopped(cancel: &Cancel, read: &ReadBack) -> Result<()> {
    match cancel.reason() {
        Some(reason) if read.stopped => Err(ended(&reason)),
        _ => Ok(()),
    }
}

fn ended(reason: &CancelReason) -> Failure {
    Failure::new(Cause::Interrupted, format!("the verification was ended: {reason}"))
}

fn wrong_bytes(row: &BackupRow, manifest: &Manifest, read: &ReadBack) -> Option<Seen> {
    if read.stored == manifest.backup_size_bytes && read.sha256 == manifest.checksum_sha256 {
        return None;
    }
    if read.sha256 == row.sha256 {
        let words = "its manifest was altered: the stored bytes are those that were written, and the manifest names other ones";
        return Some(damaged(ProofLevel::Checksum, words));
    }
    let words = format!("its stored bytes have the SHA-256 {} instead of {}", read.sha256, manifest.checksum_sha256);
    Some(damaged(ProofLevel::Checksum, words))
}

fn read_inside(means: Means<'_>, row: &BackupRow, manifest: &Manifest, source: Box<dyn Read + Send>) -> Result<Seen> {
    if manifest.dump_format == Format::Directory {
        return unpacked::read(means, row, manifest, source);
    }
    let mut child = reader(means, manifest)?;
    let sink = child.as_mut().and_then(Child::take_stdin).map(|stdin| {
        stream::enlarge_pipe(&stdin);
        Box::new(stdin) as Box<dyn Write + Send>
    });
    let (held, over) = (AtomicBool::new(false), Cancel::new());
    let wrong = std::thread::scope(|scope| {
        if let Some(target) = child.as_ref().map(Child::identity) {
            let (held, over) = (&held, &over);
            scope.spawn(move || watch(means, &target, held, over));
        }
        let wrong = inside(means, row, manifest, source, sink, &held);
        over.cancel(CancelReason::Cancelled);
        wrong
    })?;
    match (wrong, child) {
        (Some(seen), _) => Ok(seen),
        (None, Some(child)) => verdict_of(means.cancel, child, SILENCE),
        (None, None) => Ok(Seen::Good),
    }
}

/// Reads everything, and shows what is inside to the tap and to `sink`; what is wrong with it, as far as that can be told without `pg_restore`.
pub(super) fn inside(
    means: Means<'_>,
    row: &BackupRow,
    manifest: &Manifest,
    source: Box<dyn Read + Send>,
    sink: Option<Box<dyn Write + Send + '_>>,
    held: &AtomicBool,
) -> Result<Option<Seen>> {
    let mut tap = tap_for(manifest);
    let inside = Inside { compression: manifest.compression, watch: &mut tap, sink };
    let read = stream::read_back(source, Some(inside), means.gauge, &|| may_go_on(means, held))?;
    stopped(means.cancel, &read)?;
    if let Some(seen) = wrong_bytes(row, manifest, &read) {
        return Ok(Some(seen));
    }
    if let Some(failure) = read.broken {
        return Ok(Some(damaged(ProofLevel::Read, failure.message)));
    }
    let observed = match tap.finish() {
        Ok(observed) => observed,
        Err(failure) => return Ok(Some(damaged(ProofLevel::Read, failure.message))),
    };
    Ok(differs(manifest, &observed, read.archive).map(|why| damaged(ProofLevel::Read, why)))
}

/// `pg_restore`, which reads the archive into nothing; plain SQL has its trailer instead.
fn reader(means: Means<'_>, manifest: &Manifest) -> Result<Option<Child>> {
    if manifest.content == Content::Globals || !matches!(manifest.dump_format, Format::Custom | Format::Tar) {
        return Ok(None);
    }
    let mut spec = into_nothing(means, manifest)?;
    (spec.stdin, spec.bulk) = (Input::Piped, true);
    process::spawn(&spec).map(Some)
}

/// The command that reads an archive and writes its script to nobody.
pub(super) fn into_nothing(means: Means<'_>, manifest: &Manifest) -> Result<Spec> {
    let clients = means.clients.as_ref().map_err(Clone::clone)?;
    let wrote = version::number(&manifest.pg_dump_version).unwrap_or(manifest.postgresql_version_num);
    let client = clients.for_restore(wrote, wrote.max(manifest.postgresql_version_num))?;
    let mut spec = Spec::new(client.pg_restore());
    spec.args = vec!["-f".into(), "/dev/null".into()];
    spec.env = ["PATH", "LD_LIBRARY_PATH"].iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))).collect();
    spec.env.push(("LC_ALL".into(), "C".into()));
    Ok(spec)
}

/// Ends a `pg_restore` that takes nothing any more, or that nobody waits for any more; the write into it then fails.
fn watch(means: Means<'_>, target: &process::Identity, held: &AtomicBool, over: &Cancel) {
    let (mut moved, mut at) = (0, Instant::now());
    while over.wait_timeout(ASK).is_none() {
        let now = means.gauge.snapshot().archive_bytes;
        if now != moved || held.load(Ordering::Relaxed) {
            (moved, at) = (now, Instant::now());
        }
        let cancelled = means.cancel.reason().is_some();
        if (cancelled || at.elapsed() >= SILENCE)
            && let Err(error) = target.kill_group(Signal::KILL)
        {
            tracing::warn!(pid = target.pid, "pg_restore could not be ended: {error}");
        }
    }
}

/// What `pg_restore` says, for which it has so much time.
pub(super) fn verdict_of(cancel: &Cancel, mut child: Child, longest: Duration) -> Result<Seen> {
    let until = Instant::now() + longest;
    let exit = loop {
        match child.wait_timeout(ASK) {
            Some(exit) => break exit,
            None if cancel.reason().is_some() || Instant::now() >= until => break child.kill(),
            None => {}
        }
    };
    if let Some(reason) = cancel.reason() {
        return Err(ended(&reason));
    }
    let tail = child.stderr_tail();
    match exit {
        Exit::Code(0) => Ok(Seen::Good),
        Exit::Code(_) => {
            let last = tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it gave no reason").trim();
            // The bytes are known to be those that were written.
            if let Some(lacking) = lacks_library(&tail) {
                return Ok(Seen::OnlyBytes(format!("pg_restore here is built without its compression ({lacking})")));
            }
            Ok(damaged(ProofLevel::Read, format!("pg_restore can't read it to its end: {last}")))
        }
        Exit::Signal(_) => Err(Failure::new(Cause::System, format!("pg_restore was ended by {exit}, so the backup could not be read"))
            .hint("something on this machine ended it: look for the out-of-memory killer in the kernel's log (`journalctl -k`)")
            .detail(tail)),
    }
}

fn tap_for(manifest: &Manifest) -> Tap {
    match (manifest.content, manifest.dump_format) {
        (Content::Globals, _) => Tap::globals(),
        (_, Format::Custom) => Tap::custom(),
        (_, Format::Plain) => Tap::plain(),
        (_, Format::Tar | Format::Directory) => Tap::tar(),
    }
}

/// What of the manifest the archive contradicts, where it does.
fn differs(manifest: &Manifest, observed: &Observed, archive: u64) -> Option<String> {
    if archive != manifest.uncompressed_size_bytes {
        return Some(format!("the archive inside has {archive} bytes, and its manifest says {}", manifest.uncompressed_size_bytes));
    }
    if observed.unchecked.is_some() {
        return None;
    }
    if observed.large_objects != manifest.large_objects {
        let (seen, said) = (observed.large_objects, manifest.large_objects);
        return Some(format!("the archive holds {seen} large objects, and its manifest says {said}"));
    }
    if observed.tables.len() != manifest.tables.len() {
        let (seen, said) = (observed.tables.len(), manifest.tables.len());
        return Some(format!("the archive holds data of {seen} tables, and its manifest says {said}"));
    }
    let pairs = observed.tables.iter().zip(&manifest.tables);
    let other = pairs.into_iter().find(|(seen, said)| {
        let rows = seen.rows.zip(said.rows).is_some_and(|(seen, said)| seen != said);
        (&seen.schema, &seen.name) != (&said.schema, &said.name) || seen.bytes != said.bytes || rows
    });
    other.map(|(seen, said)| {
        let rows = |rows: Option<u64>| rows.map_or_else(|| String::from("uncounted rows"), |rows| format!("{rows} rows"));
        format!(
            "the archive holds {}.{} with {} in {} bytes, and its manifest says {}.{} with {} in {} bytes",
            seen.schema,
            seen.name,
            rows(seen.rows),
            seen.bytes,
            said.schema,
            said.name,
            rows(said.rows),
            said.bytes
        )
    })
}
