//! What a backup without a configuration tells: before it, after it, and of its failure.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::error::{Failure, Result};
use crate::jobs::adhoc::Met;
use crate::model::backup::Manifest;
use crate::units::{show_duration, show_size};

use super::super::exit::Exit;
use super::super::{Common, out};
use super::Args;

fn place(path: Option<&Path>) -> String {
    path.map_or_else(|| String::from("standard output"), |path| path.display().to_string())
}

/// About how much will come, where the whole database is dumped.
fn estimate(met: &Met) -> Option<u64> {
    met.project().shape.selection().is_full().then_some(met.tables_size)
}

/// One line before the dump, beside the answer.
pub(super) fn begin(met: &Met, path: Option<&Path>) {
    let about = estimate(met).map(|size| format!(", about {} before compression", show_size(size))).unwrap_or_default();
    let (database, server) = (&met.server.database, &met.server.reached);
    out::note(format!("{database} on {server}: {} on the server{about}; to {}", show_size(met.database_size), place(path)));
}

/// `--dry-run`.
pub(super) fn intended(common: &Common, met: &Met, path: Option<&Path>, free: Option<u64>) -> Result<()> {
    let spec = met.command();
    let words = std::iter::once(spec.program.as_os_str()).chain(spec.args.iter().map(AsRef::as_ref));
    let command: Vec<String> = words.map(|word| out::shell(&word.to_string_lossy())).collect();
    let shape = &met.project().shape;
    if common.json {
        return out::json(&json!({
            "success": true,
            "dryRun": true,
            "outputPath": path,
            "database": met.server.database,
            "server": met.server.reached.to_string(),
            "databaseSize": met.database_size,
            "estimatedSize": estimate(met),
            "freeSpace": free,
            "format": shape.format.word(),
            "compression": shape.compression.word(),
            "command": command.join(" "),
        }));
    }
    begin(met, path);
    out::say(format!("would write {}", place(path)));
    out::say(format!("format      {}, compression {}", shape.format.word(), shape.compression.word()));
    out::say(format!("server      {}, PostgreSQL {}", met.server.reached, met.server.version));
    if let Some(free) = free {
        out::say(format!("free        {}", show_size(free)));
    }
    out::say(format!("command     {}", command.join(" ")));
    Ok(())
}

/// The summary. Where standard output carries the backup, it goes to standard error.
pub(super) fn done(common: &Common, path: Option<&Path>, manifest: &Manifest) {
    let presumes = manifest.presumes().map(String::from);
    let warnings: Vec<String> = manifest.warnings.iter().cloned().chain(manifest.own_way()).chain(presumes).collect();
    let say = |line: String| if path.is_some() { out::say(line) } else { out::note(line) };
    if common.json {
        let answer = json!({
            "success": true,
            "outputPath": path,
            "size": manifest.backup_size_bytes,
            "duration": manifest.duration_ms,
            "error": null,
            "database": manifest.database_name,
            "environment": manifest.environment,
            "format": manifest.dump_format.word(),
            "compression": manifest.compression.word(),
            "checksum": manifest.checksum_sha256,
            "tables": manifest.tables.len(),
            "recordCount": manifest.total_rows,
            "verified": manifest.environment.is_some(),
            "restoreCommand": path.map(|_| &manifest.restore_command),
            "warnings": warnings,
        });
        say(serde_json::to_string_pretty(&answer).unwrap_or_default());
        return;
    }
    let took = show_duration(Duration::from_millis(manifest.duration_ms));
    let rows = manifest.total_rows.map(|rows| format!(", {}", out::count(rows, "row"))).unwrap_or_default();
    let holds = format!("{}{rows}", out::count(manifest.tables.len() as u64, "table"));
    say(format!("{}: {}, {holds}, in {took}", manifest.database_name, show_size(manifest.backup_size_bytes)));
    if let Some(path) = path {
        say(format!("  file      {}", path.display()));
    }
    if let Some(environment) = &manifest.environment {
        say(format!("  for       {environment}"));
        say(String::from("  verified  checksum, structure and rows, read back from the file"));
    }
    say(format!("  sha256    {}", manifest.checksum_sha256));
    if path.is_some() {
        say(format!("  restore   {}", manifest.restore_command));
    }
    warnings.iter().for_each(|warning| out::note(format!("  warning: {warning}")));
}

/// The failure as the whole answer.
pub(super) fn failed(common: &Common, args: &Args, failure: &Failure, began: Instant) -> Result<Exit> {
    if common.json {
        let answer = json!({
            "success": false,
            "outputPath": null,
            "size": null,
            "duration": began.elapsed().as_millis() as u64,
            "error": failure.message,
            "cause": failure.cause,
            "hint": failure.hint,
            "detail": failure.detail,
        });
        if args.output.as_deref() == Some("-") {
            out::note(serde_json::to_string_pretty(&answer).unwrap_or_default());
        } else {
            out::json(&answer)?;
        }
    } else {
        out::tell(failure);
    }
    Ok(Exit::of(failure.cause))
}
