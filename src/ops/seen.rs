//! Which versions a project's last conversation with its server showed: letters and failed runs name them when the server no longer can.

use serde::{Deserialize, Serialize};

use crate::catalog::Reader;
use crate::error::Result;

use super::World;

/// The versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The server's.
    pub server: Option<String>,
    /// That of the `pg_dump` chosen for it.
    pub client: Option<String>,
}

/// Keeps what was seen; a catalog that can't be written costs only this.
pub fn remember(world: &World, project: &str, seen: &Seen) {
    let kept = world.catalog.read(|reader| recall(reader, project)).and_then(|known| {
        let text = serde_json::to_string(seen).unwrap_or_default();
        if known == *seen { Ok(()) } else { world.catalog.write(|writer| writer.put_meta(&key(project), &text)) }
    });
    if let Err(failure) = kept {
        tracing::warn!(project, "the versions can't be noted: {failure}");
    }
}

/// What was seen last; nothing where the project never reached its server.
pub fn recall(reader: &Reader, project: &str) -> Result<Seen> {
    Ok(reader.meta(&key(project))?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

fn key(project: &str) -> String {
    format!("versions-seen:{project}")
}
