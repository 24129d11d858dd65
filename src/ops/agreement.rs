//! Whether a person has agreed to a project's retention since it changed: what pruning waits for, and what status and mail tell.

use crate::catalog::Reader;
use crate::error::Result;
use crate::model::project::Project;
use crate::retention;

/// Whether the policy in force has been told as held and nobody has agreed to it yet.
pub fn is_held(reader: &Reader, project: &Project) -> Result<bool> {
    let Some(told) = reader.meta(&held_key(&project.name))? else { return Ok(false) };
    let in_force = told == retention::policy_fingerprint(&project.retention, project.time_zone);
    Ok(in_force && reader.meta(&agreed_key(&project.name))?.as_deref() != Some(told.as_str()))
}

/// The note under which a held policy is kept from the moment it is told, as the policy's word.
#[must_use]
pub fn held_key(project: &str) -> String {
    format!("held-told:{project}")
}

/// The note under which the policy is kept that was agreed to.
#[must_use]
pub fn agreed_key(project: &str) -> String {
    format!("retention-agreed:{project}")
}
