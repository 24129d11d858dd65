//! What a merge says where nothing comes of it. Pure.

use super::{Means, Request, name};
use crate::error::{Cause, Failure, Result};
use crate::postgres::merge::{Merge, Target};
use crate::postgres::watch::Other;
use crate::units::show_duration;

pub(super) fn missing(request: &Request) -> Failure {
    Failure::new(Cause::NotFound, format!("the database {:?} has no table {}", request.database, name(request)))
        .hint("without --on-conflict a table is restored with its definition")
}

pub(super) fn no_key(target: &Target, request: &Request) -> Failure {
    let table = name(request);
    let words = if request.key.is_empty() {
        format!("{table} has no primary key, by which rows could be told apart")
    } else {
        format!("{table} has no unique index on just ({})", request.key.join(", "))
    };
    let others: Vec<String> = target.keys.iter().map(|key| format!("--key {}", key.names().join(","))).collect();
    Failure::new(Cause::Refused, words).hint(if others.is_empty() {
        String::from("make a unique index or a primary key first")
    } else {
        format!("it has: {}", others.join("; "))
    })
}

pub(super) fn in_the_way(request: &Request, merge: &Merge<'_>, count: u64, keys: &[String]) -> Failure {
    let more = if count > keys.len() as u64 { " and more" } else { "" };
    let words = format!(
        "{count} of the backup's rows are in {} already, by {}: {}{more}",
        name(request),
        merge.key.names().join(", "),
        keys.join("; ")
    );
    Failure::new(Cause::Refused, words)
        .hint("nothing was merged; --on-conflict skip leaves those rows as they are, update makes them the backup's")
}

/// What the server says against a row that is written: to which table, that nothing came of it, and what to do. The failure's cause, and whether
/// there is a hint already, decide; its SQLSTATE chooses words.
pub(super) fn kept_apart(request: &Request) -> impl Fn(Failure) -> Failure {
    move |failure| {
        if failure.cause != Cause::Query || failure.hint.is_some() {
            return failure;
        }
        let code = failure.message.rsplit_once("(SQLSTATE ").and_then(|(_, code)| code.strip_suffix(')')).unwrap_or_default();
        let what = match code {
            "23503" => "; merge the table that it refers to first",
            "23505" | "23P01" => {
                "; a row that is there has the same value under another key: choose that one with --key, change that row, or restore the table \
                 into a new database and look"
            }
            "0A000" => "; where it has rules (CREATE RULE), switch them off for as long as it takes: ALTER TABLE … DISABLE RULE …",
            _ => "",
        };
        let hint = format!("nothing was merged, the table is as it was{what}");
        failure.context(format!("merging into {}", name(request))).hint(hint)
    }
}

/// Who has the table, where it could not be had.
pub(super) fn held(means: Means<'_>, request: &Request, by: impl FnOnce() -> Result<Vec<Other>>, failure: Failure) -> Failure {
    if failure.cause != Cause::LockTimeout {
        return failure;
    }
    let by = by().unwrap_or_default();
    let who = by.first().map_or_else(|| String::from("another session"), ToString::to_string);
    let more = if by.len() > 1 { format!(", and by {} more", by.len() - 1) } else { String::new() };
    let waited = show_duration(means.limits.lock_wait);
    Failure { message: format!("the merge waited {waited} for {}, which is held by {who}{more}", name(request)), ..failure }.hint(
        "nothing was merged, the table is as it was; end or wait for that session (a prepared transaction: COMMIT or ROLLBACK PREPARED, see \
         pg_prepared_xacts), or raise limits.lock_wait",
    )
}

/// What ended it from outside. Whether a commit that was under way came through is told where that is asked.
pub(super) fn broken_off(request: &Request) -> impl Fn(Failure) -> Failure {
    move |failure| match failure.cause {
        _ if failure.hint.is_some() => failure,
        Cause::Interrupted => failure.context("the merge was ended").hint("nothing was merged, the table is as it was"),
        Cause::ConnectionLost | Cause::ServerShutdown => failure
            .context(format!("merging into {}", name(request)))
            .hint("nothing was merged, the table is as it was; merge again when the server answers, and look into its log"),
        _ => failure,
    }
}
