//! From a whole artifact to a backup: hash recorded, artifact named, manifest committed, catalog told. In that order.

use std::collections::BTreeMap;
use std::io::Read;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::error::{Cause, Failure, Result};
use crate::manifest;
use crate::model::backup::{BackupRow, MANIFEST_FORMAT, Manifest, Marks, Structure};
use crate::model::dump::{Compression, Format, restore_command};
use crate::model::options;
use crate::model::project::Project;
use crate::process::{self, Exit, Spec};
use crate::storage::{Key, Pending, names};
use crate::stream;

use super::super::{World, origin};
use super::before::Asked;
use super::doubt;
use super::dump::Dumped;
use super::{Means, Request};

/// The name the artifact of this request gets.
pub(super) fn artifact_key(project: &Project, request: &Request, started_at: DateTime<Utc>) -> Key {
    let shape = &request.shape;
    let file = names::artifact_file(&request.database, started_at, shape.content, &request.run, shape.format, shape.compression);
    Key { project: project.name.clone(), file }
}

/// Makes the backup exist.
pub(super) fn commit(
    world: &World,
    means: Means<'_>,
    request: &Request,
    asked: Asked,
    dumped: Dumped,
    key: &Key,
    pending: Box<dyn Pending>,
) -> Result<Manifest> {
    let unchecked = dumped.observed.structure == Structure::Unchecked;
    let mut manifest = describe(world, means, request, asked, dumped, key);
    let doubt = doubt::look(world, means, &manifest);
    manifest.suspicious = doubt.suspicious;
    manifest.warnings.extend(doubt.note);
    manifest.warnings.extend(origin::warning(world, means.project, means.storage.name(), &manifest));
    world.catalog.write(|writer| writer.stage_manifest(&request.run, means.storage.name(), &manifest))?;
    // A directory dump was read before it was packed.
    let mut unread = unchecked && request.shape.format != Format::Directory;
    // Before it has its name where that can be: the name may be another dump's, which it replaces.
    if let Some(stored) = if unread { pending.written()? } else { None } {
        read_whole(means, &manifest, stored)?;
        unread = false;
    }
    pending.commit()?;
    let committed = if unread { means.storage.get(key).and_then(|stored| read_whole(means, &manifest, stored)) } else { Ok(()) };
    if let Err(failure) = committed.and_then(|()| manifest::commit(means.storage.as_ref(), &manifest)) {
        undo(means, key);
        return Err(failure);
    }
    let row = BackupRow::from_manifest(means.storage.name(), &manifest, None, Marks::default());
    if let Err(failure) = world.catalog.write(|writer| writer.put_backup(&row)) {
        tracing::error!(run = %request.run, "the backup exists, but the catalog could not be told: {failure}; it is indexed when the end of its run is recorded");
    }
    if let Some(why) = &manifest.suspicious {
        tracing::warn!(run = %request.run, project = manifest.project, database = manifest.database_name, "this backup is suspicious: {why}");
    }
    doubt::settle(world, means.storage.as_ref(), &request.run, doubt.settled);
    Ok(manifest)
}

/// Without its manifest the artifact is no backup and must not stay under a final name. A commit that failed may have left the manifest
/// there all the same (its name was given, and the folder's sync failed), so it goes first: never a manifest without its artifact. Where
/// it can't be removed, both stay, and are the whole backup that they say.
fn undo(means: Means<'_>, key: &Key) {
    if let Err(failure) = manifest::delete(means.storage.as_ref(), &key.project, &key.file) {
        tracing::error!(project = key.project, file = key.file, "what a failed commit left can't be removed: {failure}");
    }
}

/// An archive of a version the tap doesn't know counts only after `pg_restore` has read it to its end.
fn read_whole(means: Means<'_>, manifest: &Manifest, stored: Box<dyn Read + Send>) -> Result<()> {
    let client = means.clients.for_server(manifest.postgresql_version_num)?;
    let mut spec = Spec::new(client.pg_restore());
    spec.args = vec!["-f".into(), "/dev/null".into()];
    let mut archive = stream::decompress(manifest.compression, stored)?;
    let finished = process::run_fed(&spec, &mut archive, READ_LIMIT, means.cancel)?;
    if finished.exit == Exit::Code(0) {
        return Ok(());
    }
    Err(Failure::new(Cause::ArchiveIncomplete, format!("pg_restore could not read the archive to its end ({})", finished.exit))
        .hint("the archive's version is newer than this pgdumpd knows; upgrade pgdumpd, or look at what pg_restore says below")
        .detail(finished.stderr))
}

/// Longest time for that read.
const READ_LIMIT: Duration = Duration::from_secs(24 * 3600);

fn describe(world: &World, means: Means<'_>, request: &Request, asked: Asked, dumped: Dumped, key: &Key) -> Manifest {
    let Dumped { observed, pumped } = dumped;
    let mut warnings = asked.warnings;
    if observed.structure == Structure::Whole {
        warnings.extend(observed.unchecked.clone());
    }
    let finished_at = world.clock.now();
    let shape = &request.shape;
    let table_counts: BTreeMap<String, u64> =
        observed.tables.iter().filter_map(|table| Some((format!("{}.{}", table.schema, table.name), table.rows?))).collect();
    let total_rows = observed.tables.iter().map(|table| table.rows).sum::<Option<u64>>();
    Manifest {
        format: MANIFEST_FORMAT,
        backup_id: request.run.clone(),
        project: means.project.name.clone(),
        database_name: request.database.clone(),
        environment: None,
        content: shape.content,
        selection: request.selection.clone(),
        trigger: request.trigger,
        schedule: request.schedule.clone(),
        slot: request.slot,
        backup_timestamp: asked.started_at,
        finished_at,
        duration_ms: (finished_at - asked.started_at).num_milliseconds().max(0).unsigned_abs(),
        backup_file: key.file.clone(),
        backup_size_bytes: pumped.stored,
        uncompressed_size_bytes: pumped.archive,
        checksum_sha256: pumped.sha256,
        compressed: shape.compression != Compression::None,
        compression: shape.compression,
        dump_format: shape.format,
        structure: observed.structure,
        tables: observed.tables,
        table_counts,
        total_rows,
        large_objects: observed.large_objects,
        frames: pumped.frames,
        postgresql_version: asked.server.version.clone(),
        postgresql_version_num: asked.server.version_num,
        pg_dump_version: asked.client.version.clone(),
        server_host: asked.server.reached.host.clone(),
        server_port: asked.server.reached.port,
        system_identifier: asked.server.system_identifier.clone(),
        from_standby: asked.server.standby,
        database_size_bytes: asked.database_size,
        database_properties: asked.properties,
        schema_version: observed.schema_version,
        dependencies: Vec::new(),
        options: shape.options.clone(),
        restore_command: restore_command(
            &key.file,
            shape.content,
            options::makes_database(&shape.options, shape.format).then_some(request.database.as_str()),
        ),
        made_on: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pgdumpd_version: String::from(env!("CARGO_PKG_VERSION")),
        warnings,
        suspicious: None,
    }
}
