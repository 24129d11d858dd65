//! Why a backup stays or goes, in words.

use std::fmt;

use serde::Serialize;

use crate::model::backup::ProofLevel;

/// Why a backup stays or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case", tag = "rule")]
pub enum Reason {
    /// No rule is set.
    KeepAll,
    /// A person pinned it.
    Pinned,
    /// It is damaged: a person decides, and no rule counts it.
    Damaged,
    /// It is dated in the future: no rule counts it until then.
    Future,
    /// Among the newest `min_keep`.
    MinKeep,
    /// Among the newest `keep_last`.
    Last,
    /// Within `keep_within` of the newest.
    Within,
    /// Within `keep_within` of what was the newest before a silence longer than that.
    WithinBeforeSilence,
    /// The newest of a bucket.
    Newest {
        /// Which bucket.
        of: Bucket,
    },
    /// The oldest, kept while a count is unfilled.
    Oldest {
        /// Whose count.
        of: Bucket,
    },
    /// The newest that reached this level of proof.
    Proof {
        /// The highest level it is the newest of.
        level: ProofLevel,
    },
    /// Nobody backs it up any more: what is there may be all that will ever be.
    NotBackedUp,
    /// Its database has backups of several servers, and nobody has said yet that they are one line.
    OtherServer,
    /// It goes: no rule keeps it.
    NoRule {
        /// How many newer ones of its group stay.
        newer_kept: usize,
    },
}

/// The spans that counting rules keep one backup of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bucket {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// An ISO week, Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// A year.
    Year,
}

impl Bucket {
    fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    fn rule(self) -> &'static str {
        match self {
            Self::Hour => "keep_hourly",
            Self::Day => "keep_daily",
            Self::Week => "keep_weekly",
            Self::Month => "keep_monthly",
            Self::Year => "keep_yearly",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepAll => f.write_str("no retention is set"),
            Self::Pinned => f.write_str("pinned"),
            Self::Damaged => f.write_str("damaged: left for a person to decide, counted by no rule"),
            Self::Future => f.write_str("dated in the future: counted by no rule until then"),
            Self::MinKeep => f.write_str("among the newest (min_keep)"),
            Self::Last => f.write_str("among the newest (keep_last)"),
            Self::Within => f.write_str("recent (keep_within)"),
            Self::WithinBeforeSilence => f.write_str("recent when a silence longer than keep_within began"),
            Self::Newest { of } => write!(f, "newest of its {} ({})", of.word(), of.rule()),
            Self::Oldest { of } => write!(f, "oldest, while {} is unfilled", of.rule()),
            Self::Proof { level } => write!(f, "newest that is proven: {}", proof_word(*level)),
            Self::NotBackedUp => f.write_str("no longer backed up: left for a person to decide"),
            Self::OtherServer => f.write_str("held: the database has backups of more than one server"),
            Self::NoRule { newer_kept } => write!(f, "no rule keeps it; newer ones that stay: {newer_kept}"),
        }
    }
}

fn proof_word(level: ProofLevel) -> &'static str {
    match level {
        ProofLevel::Whole => "whole",
        ProofLevel::Checksum => "checksum",
        ProofLevel::Read => "read",
        ProofLevel::Restored => "restored",
    }
}
