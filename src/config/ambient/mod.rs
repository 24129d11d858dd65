//! A configuration from variables alone: one project, one storage, for a container beside its database.
//!
//! The variables are written as the text of a file, every line with the variable it came from, and that text is read like any other: the
//! defaults, the checks and the messages stay the only ones. Only [`super::here`] calls it.

mod gather;
mod values;
mod variables;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::report::{Place, Report};
use super::{Problem, Reading, Settings, USUAL_FILE, check, timing};
use crate::model::project::Project;

pub(super) use gather::of_a_service;
pub(super) use variables::reference;

/// The variables of an environment.
pub(super) type Variables = BTreeMap<String, String>;

/// This process's own.
pub(super) fn variables() -> Variables {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())).collect()
}

/// Whether the variables are the configuration: no file is named, the usual one doesn't exist, and some of ours are set.
pub(super) fn apply(path: &Path, variables: &Variables) -> bool {
    let missing = || std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    path == Path::new(USUAL_FILE) && variables.iter().any(|(name, value)| speaks(name, value)) && missing()
}

/// Whether a variable is meant for pgdumpd; a zone, a password or the place of the history alone says nothing of backups.
fn speaks(name: &str, value: &str) -> bool {
    const SILENT: [&str; 5] = ["TZ", "PGPASSWORD", "PGDUMPD_CONFIG", "PGUSER", "PGDUMPD_DAEMON_STATE_DIR"];
    if value.is_empty() || SILENT.contains(&name) || gather::of_a_service(name, value) {
        return false;
    }
    let plain = name.strip_suffix("_FILE").unwrap_or(name);
    name.starts_with(variables::OURS) || variables::all().iter().any(|variable| variable.name == plain)
}

/// Whether one of them is a schedule, which the usual one is not.
pub(super) fn says_when(variables: &Variables) -> bool {
    variables::all().iter().filter(|variable| variable.part == variables::Part::Schedule).any(|variable| {
        let file = format!("{}_FILE", variable.name);
        [&variable.name, &file].into_iter().any(|name| variables.get(name).is_some_and(|value| !value.is_empty()))
    })
}

/// Reads the variables, or all their problems at once.
pub(super) fn load(variables: &Variables) -> Result<Settings, Vec<Problem>> {
    let gathered = gather::gather(variables);
    let report = Report::of_variables(&gathered.text, gathered.origins);
    for (name, trouble) in gathered.troubles {
        Place::variable(&report, &name).problem(trouble);
    }
    for (name, trouble) in gathered.doubts {
        Place::variable(&report, &name).warning(trouble);
    }
    let reading = Reading::of(&report, &gathered.text, &|_| None);
    check::real_paths(&reading);
    check::ssl_mode(&reading, variables, Place::problem);
    let found = reading.finish_with_secrets(&|name| variables.get(name).cloned());
    let mut settings = found.map_err(|problems| problems.into_iter().map(in_variables).collect::<Vec<_>>())?;
    settings.warnings = settings.warnings.into_iter().map(in_variables).collect();
    settings.unread = settings.unread.into_iter().map(in_variables).collect();
    if let Some(project) = settings.projects.first_mut()
        && !variables.keys().any(|name| name.starts_with("PGDUMPD_MAX_BACKUP_AGE"))
    {
        let limit = age(project);
        Arc::make_mut(project).max_backup_age = limit;
    }
    Ok(settings)
}

/// How a file is told to write an interval.
const IN_A_FILE: &str = "is written every = \"15 min\" instead of cron = …";

/// What a file's words say in variables.
fn in_variables(mut problem: Problem) -> Problem {
    let smtp = problem.key.as_deref() == Some("smtp");
    if let Some(missing) = problem.message.strip_suffix(" is missing").filter(|_| smtp) {
        problem.key = Some(format!("PGDUMPD_SMTP_{}", missing.to_uppercase()));
        problem.message = String::from("is not set, but other variables for mail are");
    } else if smtp && problem.message == "a password without a username" {
        problem.hint = Some(String::from("set PGDUMPD_SMTP_USERNAME, or unset the password"));
    } else if problem.message == "has no effect without databases = \"all\"" {
        problem.message = String::from("has no effect without POSTGRES_DB=all");
    } else if problem.message.ends_with(IN_A_FILE) {
        problem.message = problem.message.replace(IN_A_FILE, "is no crontab line");
        problem.hint = Some(String::from("write the interval alone, 6h, or @every 6h"));
    } else if problem.hint.as_deref() == Some("add cron = \"@weekly\"") {
        problem.message = String::from("has no effect, as nothing says when there is a drill");
        problem.hint = Some(String::from("set PGDUMPD_DRILL, to @weekly for example"));
    } else if problem.hint.as_deref() == Some("say which server with on") {
        problem.message = String::from("has no effect without PGDUMPD_DRILL_ON");
        problem.hint = Some(String::from("say which server, or unset it"));
    } else if problem.hint.as_deref() == Some("add [smtp]") {
        problem.message = String::from("there is no mail server, so nobody is told when a backup fails");
        problem.hint = Some(String::from("set PGDUMPD_SMTP_HOST, PGDUMPD_SMTP_FROM and BACKUP_NOTIFICATION_EMAIL"));
    } else if problem.hint.as_deref() == Some("set databases") {
        problem.key = Some(String::from("POSTGRES_DB"));
        problem.message = String::from("no database is named");
        problem.hint = Some(String::from("set POSTGRES_DB: one, several with commas between, or all"));
    } else if problem.key.as_deref().is_some_and(takes_intervals) {
        problem.message = problem.message.replace(INTERVAL[0], INTERVAL[1]);
    }
    problem
}

/// What a file is told to use for an interval, and a variable.
const INTERVAL: [&str; 2] = ["use every = \"…\"", "write 6h, or @every 6h"];

/// Whether the variable says when.
fn takes_intervals(name: &str) -> bool {
    let name = name.strip_suffix("_FILE").unwrap_or(name);
    variables::all().iter().any(|variable| variable.form == variables::Form::When && variable.name == name)
}

/// Beyond this a missing backup is told: half as long again as the longest wait between two, at least two hours more.
fn age(project: &Project) -> Option<Duration> {
    const LEAST: Duration = Duration::from_secs(2 * 3600);
    let timings: Vec<_> = project.schedules.iter().map(|schedule| (&schedule.timing, schedule.time_zone)).collect();
    let longest = timing::longest_wait(&timings)?;
    Some((longest + longest / 2).max(longest + LEAST))
}
