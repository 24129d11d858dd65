//! Whether a changed retention waits for a person: the two notes in the catalog that say what was told and what was agreed to.

use crate::catalog::Reader;
use crate::error::Result;
use crate::model::project::Project;
use crate::retention;

/// The note under which a held policy is kept from the moment it is told, as the policy's word.
#[must_use]
pub fn told_key(project: &str) -> String {
    format!("held-told:{project}")
}

/// The note under which the policy that was last agreed to, or carried out, is kept.
#[must_use]
pub fn agreed_key(project: &str) -> String {
    format!("retention-agreed:{project}")
}

/// Whether the policy in force has been told as held and nobody has agreed to it yet.
pub fn is_held(reader: &Reader, project: &Project) -> Result<bool> {
    let Some(told) = reader.meta(&told_key(&project.name))? else { return Ok(false) };
    let in_force = told == retention::policy_fingerprint(&project.retention, project.time_zone);
    Ok(in_force && reader.meta(&agreed_key(&project.name))?.as_deref() != Some(told.as_str()))
}
