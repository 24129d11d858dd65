//! What became of a backup job, in words and as JSON.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::jobs::scheduled::{Order, Report};
use crate::model::backup::{Manifest, RunId};
use crate::model::dump::Content;
use crate::model::run::{ANY_DATABASE, Run, RunStatus};
use crate::ops::prune::Pruned;
use crate::ops::{World, targets};
use crate::retention::Divided;
use crate::storage::names;
use crate::units::{show_duration, show_size};

use super::exit::Exit;
use super::out;

/// The exit code of one job.
pub(super) fn exit(report: &Report) -> Exit {
    if report.held_by.is_some() {
        return Exit::Locked;
    }
    let mut exits: Vec<Exit> = report
        .runs
        .iter()
        .map(|(run, manifest)| if report.is_doubtful(run) { Exit::Failed } else { of_run(run, manifest.as_ref()) })
        .collect();
    match &report.pruned {
        Some(Err(_)) => exits.push(Exit::Partly),
        Some(Ok(pruned)) if !pruned.failures.is_empty() => exits.push(Exit::Partly),
        _ => {}
    }
    together(&exits)
}

fn of_run(run: &Run, manifest: Option<&Manifest>) -> Exit {
    match &run.failure {
        _ if manifest.is_some() => Exit::Done,
        Some(failure) => Exit::of(failure.cause),
        None => Exit::Failed,
    }
}

/// Several exit codes as one: partly where some were good.
pub(super) fn together(exits: &[Exit]) -> Exit {
    match exits.iter().find(|exit| **exit != Exit::Done) {
        None => Exit::Done,
        Some(_) if exits.contains(&Exit::Done) => Exit::Partly,
        Some(first) => *first,
    }
}

/// Says which backups stay for now because they are being restored.
pub(super) fn in_use(pruned: &Pruned) {
    for id in &pruned.in_use {
        out::note(format!("the backup {id} is being restored just now, and stays until the next prune"));
    }
}

/// Prints what became of an order, but for the runs that were told when they ended.
pub(super) fn print(world: &World, order: &Order, report: &Report, told: &[RunId]) {
    if let Some(failure) = &report.held_by {
        out::tell(failure);
        return;
    }
    for (run, manifest) in &report.runs {
        if !told.contains(&run.id) {
            print_run(world, run, manifest.as_ref());
        }
        for looked in report.looked.iter().filter(|looked| looked.backup.id == run.id) {
            super::verify::print(looked);
        }
    }
    for name in &report.closed {
        let (words, hint) = targets::closed(name);
        out::note(format!("{}: {words}", order.project.name));
        out::note(format!("  {hint}"));
    }
    match &report.pruned {
        Some(Ok(pruned)) => {
            if !pruned.removed.is_empty() {
                out::say(format!(
                    "{}: pruned {}, {} freed",
                    order.project.name,
                    out::count(pruned.removed.len() as u64, "older backup"),
                    show_size(pruned.freed)
                ));
            }
            in_use(pruned);
            pruned.failures.iter().for_each(out::tell);
        }
        Some(Err(failure)) => out::tell(&failure.clone().context(format!("pruning {}", order.project.name))),
        None => {}
    }
    if let Some(why) = report.held.as_ref().and_then(|plan| plan.held.as_ref()) {
        out::note(format!("pruning is held: {why}"));
        let name = out::shell(&order.project.name);
        out::note(format!("  look at `pgdumpd prune {name} --dry-run`, then agree with `pgdumpd prune {name} --confirm`"));
    }
    divided(&order.project.name, report.divided.as_deref().unwrap_or_default(), 0);
    for suspension in &report.suspended {
        out::note(format!("pruning of {} is suspended: the newest backup of {} is suspicious", order.project.name, suspension.database));
        out::note(format!("  if it is meant to be so: pgdumpd accept {}", suspension.backup));
    }
    if report.cut_short {
        out::note(format!("{}: ended before every database had its turn", order.project.name));
    }
}

/// Says of which databases nothing is pruned because their backups come from several servers, and what to type.
pub(super) fn divided(project: &str, divided: &[Divided], held_back: usize) {
    for Divided { database, selection, servers } in divided {
        let selection = if selection.is_full() { String::new() } else { format!(" ({selection})") };
        out::note(format!("pruning of {project}/{database}{selection} is held: it has backups of {} servers", servers.len()));
        for origin in servers {
            let place = origin.server.as_deref().unwrap_or("place unknown");
            let backups = out::count(origin.backups as u64, "backup");
            out::note(format!("  {place}, system identifier {}: {backups}, the newest {}", origin.system_identifier, origin.newest));
        }
    }
    if !divided.is_empty() {
        let goes = if held_back == 0 { String::new() } else { format!("; {} would go then", out::count(held_back as u64, "backup")) };
        out::note(format!("  if the newer server took the other's place: pgdumpd prune {} --confirm{goes}", out::shell(project)));
        out::note("  if they are different databases: give one of them another project name, or another storage");
    }
}

/// Prints what became of one run.
pub(super) fn print_run(world: &World, run: &Run, manifest: Option<&Manifest>) {
    let name = if run.database == ANY_DATABASE { run.project.clone() } else { format!("{}/{}", run.project, run.database) };
    if let Some(failure) = &run.failure {
        out::tell(&failure.clone().context(name));
        if run.status == RunStatus::Failed {
            out::note(format!("  more: pgdumpd show {}", run.id));
        }
        return;
    }
    let Some(manifest) = manifest else { return };
    let took = show_duration(Duration::from_millis(manifest.duration_ms));
    let holds = match (run.content, manifest.total_rows) {
        (Content::Globals, _) => String::from("roles and tablespaces"),
        (Content::Schema, _) => format!("{}, schema only", out::count(manifest.tables.len() as u64, "table")),
        (_, Some(rows)) => format!("{}, {}", out::count(manifest.tables.len() as u64, "table"), out::count(rows, "row")),
        (_, None) => out::count(manifest.tables.len() as u64, "table"),
    };
    out::say(format!("{name}: {}, {holds}, in {took}", show_size(manifest.backup_size_bytes)));
    out::say(format!("  {} {}", run.id, place(world, manifest)));
    if let Some(why) = &manifest.suspicious {
        out::note(format!("  SUSPICIOUS: {why}"));
    }
    manifest.warnings.iter().for_each(|warning| out::note(format!("  warning: {warning}")));
}

/// Where its file lies.
fn place(world: &World, manifest: &Manifest) -> String {
    let row = world.catalog.read(|reader| reader.backups_by_file(&manifest.backup_file)).unwrap_or_default();
    let storage = row.iter().find(|row| row.id == manifest.backup_id).and_then(|row| world.storages.get(&row.storage));
    file(storage.map(|storage| storage.place()).as_deref(), &manifest.project, &manifest.backup_file)
}

/// A backup's path below its storage's root.
pub(super) fn file(root: Option<&str>, project: &str, file: &str) -> String {
    let folder = names::project_folder(project).unwrap_or_else(|_| project.to_owned());
    Path::new(root.unwrap_or_default()).join(folder).join(file).display().to_string()
}

/// The report as JSON, under the names that older clients read beside our own.
pub(super) fn as_json(world: &World, order: &Order, report: &Report) -> Value {
    let runs: Vec<Value> = report.runs.iter().map(|(run, manifest)| run_as_json(world, run, manifest.as_ref())).collect();
    let pruned = report.pruned.as_ref().map(|pruned| match pruned {
        Ok(pruned) => json!(pruned),
        Err(failure) => json!({ "removed": [], "freed": 0, "failures": [failure] }),
    });
    json!({
        "success": exit(report) == Exit::Done,
        "project": order.project.name,
        "error": report.held_by,
        "runs": runs,
        "pruned": pruned,
        "left_out": report.closed,
        "suspended": report.suspended,
        "looked": report.looked,
        "divided": report.divided.as_deref().unwrap_or_default(),
        "held": report.held.as_ref().and_then(|plan| plan.held.as_ref()),
    })
}

fn run_as_json(world: &World, run: &Run, manifest: Option<&Manifest>) -> Value {
    json!({
        "success": manifest.is_some(),
        "outputPath": manifest.map(|made| place(world, made)),
        "size": manifest.map(|made| made.backup_size_bytes),
        "duration": manifest.map(|made| made.duration_ms),
        "error": run.failure.as_ref().map(|failure| &failure.message),
        "suspicious": manifest.and_then(|made| made.suspicious.as_ref()),
        "warnings": manifest.map(|made| &made.warnings),
        "run": run,
    })
}
