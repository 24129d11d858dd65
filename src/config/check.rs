//! Checks across the whole file: what no single key can know.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::daemon::StorageDraft;
use super::env::Lookup;
use super::keywords::SSL_MODES;
use super::project::Draft;
use super::report::{Place, Trouble, nearest};
use super::values::quoted;
use super::{Reading, secret, timing};
use crate::model::project::{PasswordSource, Project};
use crate::model::settings::{Daemon, StorageSettings};
use crate::units;

/// Duplicate names, overlapping folders, and what is most likely not meant.
pub(super) fn across(
    file: &Place,
    daemon: &Daemon,
    storages: &BTreeMap<String, StorageDraft>,
    drafts: &[Draft],
    projects: &[Option<Project>],
) {
    if drafts.is_empty() {
        file.warning(Trouble::new("there is no [[project]], so nothing is backed up"));
    }
    duplicates(drafts);
    let paths: Vec<(String, PathBuf)> = storages.iter().map(|(name, draft)| (name.clone(), path_of(draft))).collect();
    overlaps(storages, &paths, &daemon.state_dir);
    // Ten thousand projects have few different times.
    let mut known = BTreeMap::new();
    for (draft, project) in drafts.iter().zip(projects) {
        if let Some(project) = project {
            age(draft, project, &mut known);
        }
    }
}

/// A limit of age that even a daemon in the best of health can't keep.
fn age(draft: &Draft, project: &Project, known: &mut BTreeMap<String, Option<Duration>>) {
    let Some(limit) = project.max_backup_age else { return };
    if !project.enabled || project.schedules.is_empty() {
        return;
    }
    // Where the schedules are the defaults' as well, so is the mistake.
    let of_defaults = draft.default_age_at.clone().filter(|_| !draft.has_own_schedules());
    let place = &draft.age_at.clone().or(of_defaults).unwrap_or_else(|| draft.place.key("max_backup_age"));
    for selection in project.counted() {
        let makes = project.schedules.iter().filter(|schedule| schedule.enabled && schedule.selection() == selection);
        let timings: Vec<_> = makes.map(|schedule| (&schedule.timing, schedule.time_zone)).collect();
        if timings.is_empty() {
            let trouble = Trouble::new(format!("no schedule makes a {}, so the project will be told as stale", selection.backup()));
            place.warning(trouble.hint(project.makes_parts_alone().unwrap_or("let one do so, or set max_backup_age = \"none\"")));
            continue;
        }
        let longest = *known.entry(format!("{timings:?}")).or_insert_with(|| timing::longest_wait(&timings));
        if let Some(wait) = longest.filter(|wait| *wait > limit) {
            let (limit, wait) = (units::show_duration(limit), units::show_duration(wait));
            let kind = if selection.is_full() { String::from("full backups") } else { format!("backups ({selection})") };
            place.warning(
                Trouble::new(format!("{limit} is shorter than the longest wait between two {kind}, {wait}"))
                    .hint("the project would be told as stale again and again; allow more, also for the dump itself"),
            );
        }
    }
}

/// Two projects whose folders would be one, also where a file system ignores case.
fn duplicates(drafts: &[Draft]) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for draft in drafts {
        let Some(name) = &draft.name else { continue };
        match seen.get(&name.to_lowercase()) {
            Some(other) if *other == name => draft.place.problem(Trouble::new("a second project of this name").hint("names are unique")),
            Some(other) => draft.place.problem(
                Trouble::new(format!("the name differs from {} only in upper and lower case", quoted(other)))
                    .hint("their folders would be one where a file system ignores case"),
            ),
            None => {
                seen.insert(name.to_lowercase(), name);
            }
        }
    }
}

fn path_of(draft: &StorageDraft) -> PathBuf {
    let StorageSettings::Local { path, .. } = &draft.settings;
    path.clone()
}

/// Storages within one another, or mixed with the catalog.
fn overlaps(storages: &BTreeMap<String, StorageDraft>, paths: &[(String, PathBuf)], state_dir: &Path) {
    for (at, (name, path)) in paths.iter().enumerate() {
        let Some(draft) = storages.get(name) else { continue };
        for (other, theirs) in paths.iter().take(at) {
            if path.starts_with(theirs) || theirs.starts_with(path) {
                let how = if path == theirs { "is the folder" } else { "overlaps the folder" };
                draft
                    .place
                    .problem(Trouble::new(format!("{how} of storage {}", quoted(other))).hint("each storage needs a folder of its own"));
            }
        }
        if path.starts_with(state_dir) || state_dir.starts_with(path) {
            draft.place.problem(
                Trouble::new("overlaps daemon.state_dir").hint("keep backups and catalog apart, so that losing one spares the other"),
            );
        }
    }
}

/// The same for the folders that links lead to, where the written ones don't overlap.
pub(super) fn real_paths(reading: &Reading) {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let written: Vec<(String, PathBuf)> = reading.storages.iter().map(|(name, draft)| (name.clone(), path_of(draft))).collect();
    let paths: Vec<(String, PathBuf)> = written.iter().map(|(name, path)| (name.clone(), real(path))).collect();
    let state_dir = real(&reading.settings.daemon.state_dir);
    if paths != written || state_dir != reading.settings.daemon.state_dir {
        overlaps(&reading.storages, &paths, &state_dir);
    }
}

/// libpq's own variable for TLS, which would otherwise end every connection that doesn't say how itself.
pub(super) fn ssl_mode(reading: &Reading, variables: &BTreeMap<String, String>, tell: fn(&Place, Trouble)) {
    let Some(mode) = variables.get("PGSSLMODE").filter(|mode| !mode.is_empty() && !SSL_MODES.contains(&mode.as_str())) else { return };
    let trouble = Trouble::new("unknown sslmode").expected(SSL_MODES.join(", "));
    tell(&Place::variable(&reading.report, "PGSSLMODE"), trouble.suggest(nearest(mode, SSL_MODES.iter().copied())));
}

/// The file itself is private where it holds a secret.
pub(super) fn private(reading: &Reading, mode: u32, path: &Path) {
    let inline = reading.secrets.iter().find(|named| matches!(named.source, PasswordSource::Inline(_)));
    if let Some(named) = inline.filter(|_| mode & 0o077 != 0) {
        let mode = mode & 0o7777;
        named.place.problem(
            Trouble::new(format!("a password stands here, and others can read this file (mode {mode:04o})"))
                .hint(format!("chmod 600 {}", path.display())),
        );
    }
}

/// Every secret once: there, readable and private.
pub(super) fn secrets(reading: &Reading, env: Lookup<'_>) {
    for named in reading.secrets.iter().filter(|named| !matches!(named.source, PasswordSource::Inline(_))) {
        if let Err(failure) = secret::check(&named.source, env) {
            secret::tell(named, failure);
        }
    }
}
