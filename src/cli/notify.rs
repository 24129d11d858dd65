//! `pgdumpd notify test`

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::clock::Clock;
use crate::config;
use crate::error::{Cause, Failure, Result};
use crate::model::backup::RunId;
use crate::model::settings::Settings;
use crate::notify::letter::message_id;
use crate::notify::{Message, probe};
use crate::ops::{again, deliver, secret, standing};

use super::exit::Exit;
use super::{Common, out, world};

/// Try out the mail settings.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Send a test mail, and say which step of the conversation fails
    Test {
        /// Send it to this project's people, where it has its own
        project: Option<String>,
    },
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Exit> {
    let What::Test { project } = &args.what;
    let settings = world::settings(common)?;
    let project = project.as_ref().map(|name| world::project(&settings, name)).transpose()?;
    let smtp = settings.smtp.as_ref().ok_or_else(|| {
        Failure::new(Cause::Configuration, "there is no [smtp] in the configuration, so nothing is ever mailed").hint(
            if config::is_ambient(&common.config) {
                "set PGDUMPD_SMTP_HOST, PGDUMPD_SMTP_FROM and PGDUMPD_SMTP_TO"
            } else {
                "add [smtp] with host, from and to"
            },
        )
    })?;
    let password = secret(&smtp.password)?;
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let people = project.map(|project| &project.notify.to).filter(|own| !own.is_empty()).unwrap_or(&smtp.to);
    let (steps, accepted) = probe::probe(smtp, password.as_ref(), &hostname, &trial(people, &hostname, Clock::system().now()));
    let good = steps.iter().all(|step| step.ok);
    let again = if accepted.is_empty() { 0 } else { again(common, &settings, &accepted) };
    if common.json {
        out::json(&json!({ "success": good, "steps": steps, "accepted": accepted, "again": again }))?;
    } else {
        for step in &steps {
            out::say(format!("{} {:<16} {}", if step.ok { "ok    " } else { "FAILED" }, step.name, step.detail));
        }
        if accepted.is_empty() {
            out::note("no test mail was sent");
        } else {
            let only = if good { "" } else { " only" };
            out::say(format!("a test mail was accepted for {}{only}", accepted.join(", ")));
        }
        if again > 0 {
            out::say(format!("{} refused before: sent again", out::count(again as u64, "mail")));
        }
        let own = settings.projects.iter().filter(|project| !project.notify.to.is_empty()).count();
        if project.is_none() && own > 0 {
            let have = if own == 1 { "a project has its".to_owned() } else { format!("{own} projects have their") };
            out::note(format!("{have} own recipients, who were not tried: pgdumpd notify test PROJECT"));
        }
    }
    Ok(if good { Exit::Done } else { Exit::Failed })
}

/// The people can be reached: what was refused before goes to them now. Returns how many mails that are.
fn again(common: &Common, settings: &Settings, people: &[String]) -> usize {
    if !world::keeps_state(common, settings) {
        return 0;
    }
    let sent = world::open(common, settings).and_then(|world| {
        let queued = again::to(&world, settings, people)?;
        standing::mail_accepted(&world, people)?;
        deliver::deliver(&world).map(|_| queued)
    });
    sent.unwrap_or_else(|failure| {
        out::note(format!("pgdumpd: mails that were refused before stay so, in `pgdumpd status`: {failure}"));
        0
    })
}

fn trial(people: &[String], hostname: &str, now: DateTime<Utc>) -> Message {
    Message {
        to: people.to_vec(),
        subject: format!("[pgdumpd] test from {hostname}"),
        body: format!(
            "This is the test mail that `pgdumpd notify test` sends from {hostname}.\n\n\
             If you can read it, failures of your backups will reach you the same way.\n"
        ),
        message_id: message_id(RunId::random().as_str(), hostname),
        written_at: now,
        in_reply_to: None,
        references: Vec::new(),
        event: String::from("test"),
        projects: Vec::new(),
        had: Vec::new(),
    }
}
