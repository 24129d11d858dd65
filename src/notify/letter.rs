//! What a mail says: facts in, subject and body out.
//!
//! Pure; times, zones and names are values. It never decides whether a mail is due, and it takes the secrets out of every word that
//! comes from outside. `jobs` fills in the facts; `group` puts many projects into one mail.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::redact::Redactor;
use super::{Message, single_line};
use crate::error::Failure;
use crate::model::backup::ProofLevel;

mod closed;
mod course;
mod damaged;
mod divided;
mod doubt;
mod drill;
mod failing;
mod lost;
mod many;
mod notes;
mod overrun;
mod page;
mod recovered;
mod summary;
mod unpruned;
mod unwritten;

pub use closed::{Closed, Ended, Kept, Undo};
pub use course::{Hands, Next, Occasion};
pub use damaged::{Damaged, Ill, Mended};
pub use divided::Divided;
pub use doubt::{DoubtEnded, NormalAgain, Suspicious};
pub use drill::{DrillFailed, DrillWorks};
pub use lost::{Lost, Missing};
pub use notes::{HeldPrune, Rebuilt};
pub use overrun::{Locked, OnTime, Overrun};
pub use recovered::{Open, Recovered};
pub use summary::{ProjectWeek, Weekly};
pub use unpruned::{Prunes, Unpruned};
pub use unwritten::{Unwritten, Written};

/// A mail's occasion with its facts.
#[derive(Debug, Clone)]
pub enum Letter {
    /// No backup was made.
    Failing(Failing),
    /// The newest good full backup is too old, whatever the runs said.
    Stale(Stale),
    /// Backups work again.
    Recovered(Recovered),
    /// Runs outlast their schedule's interval.
    Overrun(Overrun),
    /// They no longer do.
    OnTime(OnTime),
    /// A backup holds far less than the ones before it.
    Suspicious(Suspicious),
    /// The newest no longer does.
    NormalAgain(NormalAgain),
    /// What nobody backs up any more, and the alerts that end with that.
    Closed(Closed),
    /// Several of these at once; see [`super::group`].
    Grouped(Vec<Letter>),
    /// How the week went.
    Weekly(Weekly),
    /// A changed policy would remove a lot; nothing was removed.
    HeldPrune(HeldPrune),
    /// A project has backups of several servers; nothing of them is pruned.
    Divided(Divided),
    /// The catalog was rebuilt from the storages.
    Rebuilt(Rebuilt),
    /// A stored backup is damaged, or can't be read.
    Damaged(Damaged),
    /// It is good again.
    Mended(Mended),
    /// Stored backups are gone, and not by pgdumpd.
    Lost(Lost),
    /// A restore for trial failed.
    DrillFailed(DrillFailed),
    /// It works again.
    DrillWorks(DrillWorks),
    /// What was found of a backup can't be written down beside it.
    Unwritten(Unwritten),
    /// It can again.
    Written(Written),
    /// What retention lets go could not be removed.
    Unpruned(Unpruned),
    /// It was.
    Prunes(Prunes),
}

/// What every letter about a project says of it.
#[derive(Debug, Clone)]
pub struct About {
    /// Project name.
    pub project: String,
    /// The zone its times are told in, with UTC beside.
    pub zone: Tz,
    /// When the letter is written.
    pub now: DateTime<Utc>,
    /// `db.internal:5432`, never with a password.
    pub server: String,
    /// Name of the machine pgdumpd runs on.
    pub machine: String,
    /// Storage name and place: `main, /var/backups/pgdumpd`.
    pub storage: String,
    /// The storage's root, where it is a folder of this machine.
    pub root: Option<String>,
    /// `/etc/other.toml` where the configuration is not at its usual place, for the lines to type.
    pub config: Option<String>,
    /// Who runs what is due.
    pub hands: Hands,
}

/// Why a failure is told now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is new.
    First,
    /// It has another cause than the one told before, which was this sentence.
    CauseChanged(String),
    /// It goes on.
    Reminder,
}

/// One job in which at least one database got no backup.
#[derive(Debug, Clone)]
pub struct Failing {
    /// The project.
    pub about: About,
    /// Why it is told now.
    pub told: Told,
    /// Failures in a row, this one included; the highest of its databases.
    pub in_row: u32,
    /// When the first of them was.
    pub since: DateTime<Utc>,
    /// The databases without a backup; at least one.
    pub databases: Vec<FailedDatabase>,
    /// Databases of the same job that did get theirs.
    pub fine: Vec<String>,
    /// What it was run for.
    pub occasion: Occasion,
    /// What happens next by itself.
    pub next: Next,
    /// How often this mail repeats while the failure goes on.
    pub reminder: Duration,
    /// Version of `pg_dump` as it was last used for this project.
    pub client: Option<String>,
    /// Version of the server as it was last seen.
    pub server_version: Option<String>,
}

/// One database of a failed job.
#[derive(Debug, Clone)]
pub struct FailedDatabase {
    /// Database name.
    pub database: String,
    /// What was to be dumped: `full`, `schema`.
    pub selection: String,
    /// The run, for `pgdumpd show`.
    pub run: String,
    /// What failed; its detail is the tail of `pg_dump`'s stderr.
    pub failure: Failure,
    /// When its first attempt began.
    pub started_at: DateTime<Utc>,
    /// When it was given up.
    pub ended_at: DateTime<Utc>,
    /// Attempts made.
    pub attempts: u32,
    /// The newest good backup of the same selection; of each database where the failure struck before they were known.
    pub last_good: Vec<LastGood>,
}

/// The backup to fall back on.
#[derive(Debug, Clone)]
pub struct LastGood {
    /// Its id, where `pgdumpd restore` can bring it back: it holds a database, not roles.
    pub id: Option<String>,
    /// Database name.
    pub database: String,
    /// `shop/shop_20261121T011500Z_full_k3f9q2.dump.zst`, below the storage's root.
    pub file: String,
    /// The moment its data is of.
    pub taken_at: DateTime<Utc>,
    /// Stored length, bytes.
    pub size: u64,
    /// Host and port of the server that it was made from, where known: one storage may hold those of several.
    pub server: Option<String>,
    /// How far it is proven.
    pub proof: ProofLevel,
    /// When that was.
    pub proven_at: DateTime<Utc>,
    /// The line that restores it with standard tools, from its manifest.
    pub restore: String,
}

/// No good backup within the project's `max_backup_age`, of whole databases or of what else counts in it.
#[derive(Debug, Clone)]
pub struct Stale {
    /// The project.
    pub about: About,
    /// The database whose backup is too old.
    pub database: String,
    /// What of it counts, where that isn't all of it: `schema`.
    pub selection: Option<String>,
    /// The project's `max_backup_age`.
    pub allowed: Duration,
    /// The newest good backup of that.
    pub last_good: Option<LastGood>,
    /// What the diary knows of why: `the last run failed: …`, `the project is paused`.
    pub reason: Option<String>,
    /// What happens next by itself.
    pub next: Next,
    /// How often this mail repeats.
    pub reminder: Duration,
}

/// Where a mail stands among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Recipients.
    pub to: Vec<String>,
    /// This mail's own id, from [`message_id`].
    pub message_id: String,
    /// The first mails of the incidents it belongs to; empty where it begins one.
    pub threads: Vec<String>,
    /// When it is written.
    pub written_at: DateTime<Utc>,
}

/// `<pgdumpd.TOKEN@HOST>`; the token is random and unique, a host name that mail can't carry becomes `localhost`.
#[must_use]
pub fn message_id(token: &str, hostname: &str) -> String {
    let safe = |text: &str| text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).collect::<String>();
    let host = safe(hostname);
    format!("<pgdumpd.{}@{}>", safe(token), if host.is_empty() { "localhost" } else { &host })
}

impl Letter {
    /// The finished mail. `redactor` knows the secrets of the projects it is about.
    #[must_use]
    pub fn message(&self, redactor: &Redactor, envelope: Envelope) -> Message {
        Message {
            to: envelope.to,
            subject: self.subject(redactor),
            body: self.body(redactor),
            message_id: envelope.message_id,
            written_at: envelope.written_at,
            in_reply_to: envelope.threads.first().cloned(),
            references: envelope.threads,
            event: String::from(self.event()),
            projects: self.projects(),
            had: Vec::new(),
        }
    }

    /// `[pgdumpd] FAILED shop (3rd in a row): connection refused`, on one line.
    #[must_use]
    pub fn subject(&self, redactor: &Redactor) -> String {
        let text = match self {
            Self::Grouped(letters) => many::subject(letters),
            other => other.headline(redactor),
        };
        format!("[pgdumpd] {}", page::cut(&single_line(&text), 160))
    }

    /// The text, lines ended by `\n`.
    #[must_use]
    pub fn body(&self, redactor: &Redactor) -> String {
        match self {
            Self::Failing(facts) => facts.body(redactor),
            Self::Stale(facts) => facts.body(redactor),
            Self::Recovered(facts) => facts.body(redactor),
            Self::Overrun(facts) => facts.body(),
            Self::OnTime(facts) => facts.body(),
            Self::Suspicious(facts) => facts.body(redactor),
            Self::NormalAgain(facts) => facts.body(redactor),
            Self::Closed(facts) => facts.body(redactor),
            Self::Grouped(letters) => many::body(letters, redactor),
            Self::Weekly(facts) => facts.body(redactor),
            Self::HeldPrune(facts) => facts.body(),
            Self::Divided(facts) => facts.body(),
            Self::Rebuilt(facts) => facts.body(redactor),
            Self::Damaged(facts) => facts.body(redactor),
            Self::Mended(facts) => facts.body(redactor),
            Self::Lost(facts) => facts.body(),
            Self::DrillFailed(facts) => facts.body(redactor),
            Self::DrillWorks(facts) => facts.body(redactor),
            Self::Unwritten(facts) => facts.body(redactor),
            Self::Written(facts) => facts.body(redactor),
            Self::Unpruned(facts) => facts.body(redactor),
            Self::Prunes(facts) => facts.body(redactor),
        }
    }

    /// The word for mail filters (`X-Pgdumpd-Event`).
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Self::Failing(_) => "failing",
            Self::Stale(_) => "stale",
            Self::Recovered(_) => "recovered",
            Self::Overrun(_) => "overrun",
            Self::OnTime(_) => "on-time",
            Self::Suspicious(_) => "suspicious",
            Self::NormalAgain(_) => "normal-again",
            Self::Closed(_) => "closed",
            Self::Grouped(_) => "grouped",
            Self::Weekly(_) => "weekly",
            Self::HeldPrune(_) => "held-prune",
            Self::Divided(_) => "several-servers",
            Self::Rebuilt(_) => "rebuilt-catalog",
            Self::Damaged(_) => "damaged",
            Self::Mended(_) => "mended",
            Self::Lost(_) => "lost",
            Self::DrillFailed(_) => "drill-failed",
            Self::DrillWorks(_) => "drill-works",
            Self::Unwritten(_) => "unwritten",
            Self::Written(_) => "written",
            Self::Unpruned(_) => "prune-failed",
            Self::Prunes(_) => "prune-works",
        }
    }

    /// The projects it is about.
    #[must_use]
    pub fn projects(&self) -> Vec<String> {
        match self {
            Self::Failing(facts) => vec![facts.about.project.clone()],
            Self::Stale(facts) => vec![facts.about.project.clone()],
            Self::Recovered(facts) => vec![facts.about.project.clone()],
            Self::Overrun(facts) => vec![facts.about.project.clone()],
            Self::OnTime(facts) => vec![facts.about.project.clone()],
            Self::Suspicious(facts) => vec![facts.about.project.clone()],
            Self::NormalAgain(facts) => vec![facts.about.project.clone()],
            Self::Closed(facts) => vec![facts.about.project.clone()],
            Self::HeldPrune(facts) => vec![facts.about.project.clone()],
            Self::Divided(facts) => vec![facts.about.project.clone()],
            Self::Damaged(facts) => vec![facts.about.project.clone()],
            Self::Mended(facts) => vec![facts.about.project.clone()],
            Self::Lost(facts) => vec![facts.about.project.clone()],
            Self::DrillFailed(facts) => vec![facts.about.project.clone()],
            Self::DrillWorks(facts) => vec![facts.about.project.clone()],
            Self::Unwritten(facts) => vec![facts.about.project.clone()],
            Self::Written(facts) => vec![facts.about.project.clone()],
            Self::Unpruned(facts) => vec![facts.about.project.clone()],
            Self::Prunes(facts) => vec![facts.about.project.clone()],
            Self::Grouped(letters) => many::projects(letters),
            Self::Weekly(_) | Self::Rebuilt(_) => Vec::new(),
        }
    }

    /// The subject without its mark; in a grouped mail the line that stands for the project.
    fn headline(&self, redactor: &Redactor) -> String {
        match self {
            Self::Failing(facts) => facts.headline(redactor),
            Self::Stale(facts) => facts.headline(),
            Self::Recovered(facts) => facts.headline(),
            Self::Overrun(facts) => facts.headline(),
            Self::OnTime(facts) => facts.headline(),
            Self::Suspicious(facts) => facts.headline(redactor),
            Self::NormalAgain(facts) => facts.headline(),
            Self::Closed(facts) => facts.headline(),
            Self::Grouped(letters) => many::subject(letters),
            Self::Weekly(facts) => facts.headline(),
            Self::HeldPrune(facts) => facts.headline(),
            Self::Divided(facts) => facts.headline(),
            Self::Rebuilt(facts) => facts.headline(),
            Self::Damaged(facts) => facts.headline(redactor),
            Self::Mended(facts) => facts.headline(),
            Self::Lost(facts) => facts.headline(),
            Self::DrillFailed(facts) => facts.headline(redactor),
            Self::DrillWorks(facts) => facts.headline(),
            Self::Unwritten(facts) => facts.headline(redactor),
            Self::Written(facts) => facts.headline(),
            Self::Unpruned(facts) => facts.headline(redactor),
            Self::Prunes(facts) => facts.headline(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
