//! Which backups stay: (policy, zone, backups) to a plan with a reason for each. Pure.

/// What is kept, per project, database and selection. Everything unset keeps all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The newest N.
    pub keep_last: Option<u32>,
}
