//! A database as a whole: what `pg_dump` without `--create` leaves out. Plain data, in manifests as well as of one that stands on a server.

use serde::{Deserialize, Serialize};

/// A database's properties that `pg_dump` without `-C` leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseProperties {
    /// Owner role.
    pub owner: String,
    /// Encoding name.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// ICU locale, where the provider is ICU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_locale: Option<String>,
    /// ICU's collation rules of the database's own, beyond its locale; since release 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icu_rules: Option<String>,
    /// Locale provider letter (`c`, `i`, `b`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale_provider: Option<String>,
    /// Its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Most connections at once, where they are limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<u32>,
    /// Its privileges; unset where they are the built-in ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
    /// `ALTER DATABASE … SET`, for everybody and per role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Setting>,
}

/// One privilege on a database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Grant {
    /// `CONNECT`, `TEMPORARY`, `CREATE`.
    pub privilege: String,
    /// The role; unset is everybody.
    pub to: Option<String>,
    /// Whether it may be passed on.
    pub grantable: bool,
}

/// One setting of a database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Setting {
    /// The role it counts for; unset is everybody.
    pub role: Option<String>,
    /// `name=value` as the server keeps it.
    pub text: String,
}

impl Setting {
    /// The setting's name, and for whom it is where that isn't everybody. Its value may be a secret.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.text.split('=').next().unwrap_or_default();
        self.role.as_ref().map_or_else(|| name.to_owned(), |role| format!("{name} (for {role})"))
    }
}

impl DatabaseProperties {
    /// The roles besides its owner that privileges and settings name.
    #[must_use]
    pub fn roles(&self) -> Vec<&str> {
        let granted = self.grants.iter().flatten().filter_map(|grant| grant.to.as_deref());
        let mut names: Vec<&str> = granted.chain(self.settings.iter().filter_map(|setting| setting.role.as_deref())).collect();
        names.retain(|name| *name != self.owner);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What else than rows and definitions it has, by name; nothing where it is as one that was just made.
    #[must_use]
    pub fn extras(&self) -> Option<String> {
        let mut parts = Vec::new();
        if !self.settings.is_empty() {
            parts.push(format!("settings {}", self.settings.iter().map(Setting::name).collect::<Vec<_>>().join(", ")));
        }
        if self.grants.is_some() {
            let roles = self.roles();
            parts.push(if roles.is_empty() {
                String::from("privileges of its own")
            } else {
                format!("privileges or settings for {}", roles.join(", "))
            });
        }
        parts.extend(self.connection_limit.map(|limit| format!("{limit} connections at most")));
        parts.extend(self.comment.as_ref().map(|_| String::from("a comment")));
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}
