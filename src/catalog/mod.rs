//! The catalog: an index of the storages that can be rebuilt from them, and the diary (runs, slots, alerts, outbox, audit).
//!
//! Every change is one transaction, and nobody keeps a copy of it in memory, so a command line beside a running daemon is safe. It records;
//! it never decides. Verbs, jobs, daemon and command line all use it, in these words; SQL stays in `sqlite`.

mod sqlite;
mod words;

pub use sqlite::{Catalog, FILE, Reader, Writer};
pub use words::{
    AuditEntry, Awaited, BEGUN, BackupFilter, CheckAge, Heartbeat, KnownProject, Letter, LetterState, Page, Pause, ProjectTotals, REBUILT,
    RestoredBackup, RunCounts, RunFilter, SeenSchedule, SlotFilter, SlotKey, Sort, Stage, Take, UnfinishedRun, Wait,
};

#[cfg(test)]
mod tests;
