//! The verdict of a verification, written into the metadata beside the dump file: a list must not call good what was found damaged.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::error::{Cause, Failure, Result};
use crate::ops::given::metadata_name;
use crate::storage::{Loose, Storage};
use crate::stream::hash;

use super::super::out;

/// What a verification has shown.
pub(super) enum Verdict {
    Good,
    /// Why it is damaged.
    Damaged(String),
}

/// Writes it down where the metadata is `--env`'s; a manifest that was copied out of a storage stays as it is. Where it can't be written,
/// and says something else than what stands there, that is told: the verdict itself was, already.
pub(super) fn write_down(file: &Path, verdict: Verdict, clock: &Clock) {
    let damage = if let Verdict::Damaged(why) = verdict { Some(why) } else { None };
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let place = file.with_file_name(metadata_name(&name));
    let Ok(text) = std::fs::read(&place) else { return };
    let Ok(mut value) = serde_json::from_slice::<Value>(&text) else { return };
    let before = (value["verified"].as_bool().unwrap_or(value["verified_at"].is_string()), value["damage"].as_str().is_some());
    let is_news = before != (damage.is_none(), damage.is_some());
    value["verified"] = json!(damage.is_none());
    value["verified_at"] = json!(clock.now());
    if let Some(fields) = value.as_object_mut() {
        match damage {
            Some(damage) => drop(fields.insert(String::from("damage"), Value::String(damage))),
            None => drop(fields.remove("damage")),
        }
    }
    if let Err(failure) = written(&place, &value)
        && is_news
    {
        out::note(format!("pgdumpd: warning: `backup --list` won't know of it: {failure}"));
    }
}

fn written(place: &Path, value: &Value) -> Result<()> {
    let unwritten = |error: std::io::Error| Failure::storage(format!("writing {}", place.display()), &error);
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = place.canonicalize().map_err(unwritten)?;
    let folder = folder.parent().unwrap_or(Path::new("/"));
    let facts = place.symlink_metadata().map_err(unwritten)?;
    if !facts.is_file() {
        return Err(Failure::new(Cause::UnsafePath, format!("{} is a link", place.display())));
    }
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| unwritten(error.into()))?;
    text.push(b'\n');
    let scope: String = hash::hex(&Sha256::digest(format!("verdict {name}").as_bytes())).chars().take(12).collect();
    let loose = Loose::file(folder, &name, &scope, true);
    loose.sweep("", None)?;
    loose.put_beside(&name, &text)?;
    // Whoever made it must be able to read it again, and whoever could read it before.
    std::fs::set_permissions(place, std::fs::Permissions::from_mode(facts.mode() & 0o777)).map_err(unwritten)?;
    let owner = std::fs::symlink_metadata(place).map_err(unwritten)?;
    if (owner.uid(), owner.gid()) != (facts.uid(), facts.gid()) {
        std::os::unix::fs::lchown(place, Some(facts.uid()), Some(facts.gid())).map_err(unwritten)?;
    }
    Ok(())
}
