//! From what happened to what is told: ended runs and passing time change alerts, and alerts that change become mail in the outbox.
//!
//! A run stays "untold" in the catalog until the very transaction that changes its alert and queues its mail, so a crash between the two
//! loses nothing and tells nothing twice. What to tell is decided in `alert`; how it reads, in `notify::letter`.

mod closed;
mod divided;
mod doubt;
mod drills;
mod facts;
mod lost;
mod overrun;
mod proofs;
mod recovered;
mod round;
mod unpruned;
mod unrecorded;
mod unwritten;
mod weekly;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::alert::{self, Alert, AlertKey, Event, NoticeKind};
use crate::catalog::{REBUILT, Reader, Writer};
use crate::error::Result;
use crate::model::backup::RunId;
use crate::model::project::{Databases, Project};
use crate::model::run::{ANY_DATABASE, Run};
use crate::model::settings::Settings;
use crate::notify::Message;
use crate::notify::group::{self, Ready, Waiting};
use crate::notify::letter::{Envelope, Letter, Rebuilt, message_id};
use crate::notify::redact::Redactor;
use crate::postgres::connection::named_by;

use super::held::told_key;
use super::prune::PrunePlan;
use super::there::{self, There};
use super::{World, origin};
use origin::Newest;

pub use closed::closed;
pub use divided::divided;
pub use drills::drilled;
pub use lost::lost;
pub use overrun::{locked_out, overruns};
pub use proofs::{damages, looked};
pub use unpruned::pruned;
pub use unrecorded::{record_told, unrecorded};
pub use weekly::weekly;

pub use crate::notify::letter::Hands;

/// What letters need besides the catalog.
#[derive(Debug, Clone)]
pub struct Desk<'a> {
    /// The configuration in force.
    pub settings: &'a Settings,
    /// Its file, where it isn't at its usual place: it belongs into every line to type.
    pub config_file: Option<PathBuf>,
    /// Who runs what is due.
    pub hands: Hands,
}

impl<'a> Desk<'a> {
    /// For a command: a daemon may serve beside it or not.
    #[must_use]
    pub fn by_hand(world: &World, settings: &'a Settings, config_file: Option<PathBuf>) -> Self {
        let heartbeat = world.catalog.read(|reader| reader.heartbeat());
        let hands = if matches!(heartbeat, Ok(None)) { Hands::Nobody } else { Hands::Daemon };
        Self { settings, config_file, hands }
    }
}

/// A change of an alert, to be told.
struct Change {
    before: Alert,
    after: Alert,
    kind: NoticeKind,
    run: Option<Run>,
}

/// Turns untold runs into alerts and mail; returns the number of mails queued.
pub fn tell(world: &World, desk: &Desk<'_>) -> Result<usize> {
    if world.catalog.read(|reader| reader.untold_runs())?.is_empty() {
        return Ok(0);
    }
    let now = world.clock.now();
    let projects: HashMap<&str, &Project> =
        desk.settings.projects.iter().map(|project| (project.name.as_str(), project.as_ref())).collect();
    world.catalog.write(|tx| {
        let runs = tx.untold_runs()?;
        let mut waiting = Vec::new();
        for (name, runs) in by_project(&runs) {
            if let Some(project) = projects.get(name) {
                let changes = round::changes(tx, project, &runs, now)?;
                waiting.extend(facts::letters(world, tx, desk, project, &changes, &runs, now)?);
            }
        }
        tx.mark_told(&runs.iter().map(|run| run.id.clone()).collect::<Vec<RunId>>())?;
        queue(tx, waiting, now)
    })
}

fn by_project(runs: &[Run]) -> BTreeMap<&str, Vec<&Run>> {
    let mut projects: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        projects.entry(&run.project).or_default().push(run);
    }
    projects
}

fn known(tx: &Reader, key: &AlertKey) -> Result<Option<Alert>> {
    tx.alert(&key.project, &key.database, &key.selection)
}

fn put(tx: &Writer, alert: &Alert) -> Result<()> {
    let key = &alert.key;
    tx.put_alert(&key.project, &key.database, &key.selection, alert)
}

/// A job that came due this long ago, and isn't done, is no reason to wait for it any longer.
const AT_IT: TimeDelta = TimeDelta::hours(1);

/// The projects that a backup has just come due for: after a time when nobody served it is on its way before anybody can say how old the last is.
fn at_it(reader: &Reader, now: DateTime<Utc>) -> Result<BTreeSet<String>> {
    let slots = reader.unfinished_slots()?.into_iter();
    Ok(slots.filter(|slot| (TimeDelta::zero()..AT_IT).contains(&(now - slot.recorded_at))).map(|slot| slot.project).collect())
}

/// Looks for projects whose newest good backup is too old, of whole databases or of what else counts, and for those that are fresh again; returns the number of mails queued.
pub fn stale(world: &World, desk: &Desk<'_>) -> Result<usize> {
    let now = world.clock.now();
    let (newest, alerts, there, at_it) = world.catalog.read(|reader| {
        let projects: Vec<&Project> =
            desk.settings.projects.iter().map(Arc::as_ref).filter(|project| project.max_backup_age.is_some()).collect();
        Ok((
            origin::newest_good(reader, &projects)?,
            reader.alerts::<Alert>()?,
            there::recall_all(reader, desk.settings)?,
            at_it(reader, now)?,
        ))
    })?;
    let none = Newest::new();
    let aged = |project: &Project, known: &dyn Fn(&AlertKey) -> Result<Option<Alert>>| {
        aged(project, newest.get(&project.name).unwrap_or(&none), there.get(&project.name), now, known)
    };
    let alerts: HashMap<&AlertKey, &Alert> = alerts.iter().map(|alert| (&alert.key, alert)).collect();
    // Most minutes change nothing, and then nobody who writes has to wait for ten thousand of these.
    let mut changing = Vec::new();
    let looked_at = |project: &&Arc<Project>| project.enabled && project.max_backup_age.is_some() && !at_it.contains(&project.name);
    for project in desk.settings.projects.iter().filter(looked_at) {
        let steps = aged(project, &|key| Ok(alerts.get(key).map(|alert| (*alert).clone())))?;
        if steps.iter().any(|step| step.known.as_ref() != Some(&step.after)) {
            changing.push(project);
        }
    }
    if changing.is_empty() {
        return Ok(0);
    }
    world.catalog.write(|tx| {
        let mut waiting = Vec::new();
        for project in &changing {
            let mut changes = Vec::new();
            for Step { known, before, after, kind } in aged(project, &|key| known(tx, key))? {
                if known.as_ref() != Some(&after) {
                    put(tx, &after)?;
                }
                changes.extend(kind.map(|kind| Change { before, after, kind, run: None }));
            }
            waiting.extend(facts::letters(world, tx, desk, project, &changes, &[], now)?);
        }
        queue(tx, waiting, now)
    })
}

/// What the passing of time does to one alert.
struct Step {
    known: Option<Alert>,
    before: Alert,
    after: Alert,
    kind: Option<NoticeKind>,
}

fn aged(
    project: &Project,
    newest: &Newest,
    there: Option<&There>,
    now: DateTime<Utc>,
    known: &dyn Fn(&AlertKey) -> Result<Option<Alert>>,
) -> Result<Vec<Step>> {
    let (mut steps, none) = (Vec::new(), BTreeMap::new());
    for selection in project.counted() {
        let newest = newest.get(&selection).unwrap_or(&none);
        for database in databases_of(project, newest, there) {
            let event = Event::Tick { last_good: newest.get(&database).copied(), max_age: project.max_backup_age };
            let key = AlertKey { project: project.name.clone(), database, selection: selection.clone() };
            let known = known(&key)?;
            let before = known.clone().unwrap_or_else(|| Alert::new(key, now));
            let (after, kind) = alert::decide(&before, &event, project.notify.reminder, now);
            steps.push(Step { known, before, after, kind });
        }
    }
    Ok(steps)
}

/// The databases whose age counts: those that the configuration names, else those that the server was seen to have, else those that ever
/// had a backup; where there is none yet, the project as a whole.
fn databases_of(project: &Project, newest: &BTreeMap<String, DateTime<Utc>>, there: Option<&There>) -> BTreeSet<String> {
    match (&project.databases, named_by(&project.connection.target)) {
        (Databases::Named(names), _) => return names.iter().cloned().collect(),
        (Databases::FromConnection, Some(name)) => return BTreeSet::from([name]),
        _ => {}
    }
    let known: Vec<&String> = there.map_or_else(|| newest.keys().collect(), |there| there.names.iter().collect());
    let known = known.into_iter().filter(|name| there::database(project, there, name).is_none());
    let known: BTreeSet<String> = known.cloned().collect();
    if known.is_empty() { BTreeSet::from([String::from(ANY_DATABASE)]) } else { known }
}

/// Tells once that a changed retention waits for a person.
pub fn held(world: &World, desk: &Desk<'_>, project: &Project, plan: &PrunePlan) -> Result<()> {
    let told = told_key(&project.name);
    if world.catalog.read(|reader| reader.meta(&told))?.as_deref() == Some(plan.fingerprint()) {
        return Ok(());
    }
    let now = world.clock.now();
    let letter = Letter::HeldPrune(facts::held(world, desk, project, plan, now));
    world.catalog.write(|tx| {
        tx.put_meta(&told, plan.fingerprint())?;
        let due = facts::Due { letter: letter.clone(), thread: None, begins: Vec::new() };
        queue(tx, vec![waiting(desk, project, due, now)], now).map(|_| ())
    })
}

/// Ends a rebuild of the catalog's index, and tells of it where there was something to lose.
pub fn rebuilt(world: &World, desk: &Desk<'_>, why: &str, backups: usize, projects: usize) -> Result<()> {
    let now = world.clock.now();
    let config = facts::config(desk);
    let facts = Rebuilt { machine: facts::machine(), reason: why.to_owned(), backups, projects, aside: None, config };
    world.catalog.write(|tx| {
        // Another process may have rebuilt it meanwhile, and told so.
        if tx.rebuilt_because()?.is_none() {
            return Ok(());
        }
        tx.reindexed()?;
        if backups == 0 {
            return Ok(());
        }
        let said = format!("the catalog was rebuilt from {backups} backups at {}: {why}", now.format("%Y-%m-%d %H:%M UTC"));
        tx.put_meta(REBUILT, &said)?;
        let to = desk.settings.smtp.iter().flat_map(|smtp| smtp.to.iter().cloned()).collect();
        queue(tx, vec![Waiting { to, since: long_ago(now), thread: None, begins: Vec::new(), letter: Letter::Rebuilt(facts.clone()) }], now)
            .map(drop)
    })
}

fn waiting(desk: &Desk<'_>, project: &Project, due: facts::Due, now: DateTime<Utc>) -> Waiting {
    addressed(desk, Some(project), due, now)
}

/// To the project's own people; to everybody's where it has none, or is no longer configured.
fn addressed(desk: &Desk<'_>, project: Option<&Project>, due: facts::Due, now: DateTime<Utc>) -> Waiting {
    let own = project.map(|project| project.notify.to.clone()).filter(|own| !own.is_empty());
    let to = own.unwrap_or_else(|| desk.settings.smtp.as_ref().map(|smtp| smtp.to.clone()).unwrap_or_default());
    Waiting { to: to.into_iter().collect(), since: long_ago(now), thread: due.thread, begins: due.begins, letter: due.letter }
}

/// Company has been waited for already: the caller tells in rounds.
fn long_ago(now: DateTime<Utc>) -> DateTime<Utc> {
    now - TimeDelta::from_std(group::WINDOW).unwrap_or_default()
}

/// The finished mail. What the catalog holds is free of the secrets that were known when it happened; the usual places are looked at once more.
fn message(ready: Ready, own_id: String, now: DateTime<Utc>) -> Message {
    let envelope = Envelope { to: ready.to.into_iter().collect(), message_id: own_id, threads: ready.threads, written_at: now };
    ready.letter.message(&Redactor::default(), envelope)
}

/// The finished mails to somebody, each with the alerts that it begins.
fn ready(ready: Vec<Ready>, now: DateTime<Utc>) -> Vec<(Message, Vec<AlertKey>)> {
    let own_id = || message_id(RunId::random().as_str(), &facts::machine());
    let addressed = ready.into_iter().filter(|ready| !ready.to.is_empty());
    addressed
        .map(|mut ready| {
            let begins = std::mem::take(&mut ready.begins);
            (message(ready, own_id(), now), begins)
        })
        .collect()
}

/// An alert with the mail that its incident's later ones answer.
fn take_thread(alert: Alert, message_id: &str) -> Alert {
    Alert { thread: Some(message_id.trim_matches(['<', '>']).to_owned()), ..alert }
}

/// Puts letters into the outbox, those to the same people as one mail. The first mail of an incident is what its later ones answer.
fn queue(tx: &Writer, waiting: Vec<Waiting>, now: DateTime<Utc>) -> Result<usize> {
    let ready = ready(group::gather(waiting, now).0, now);
    for (message, begins) in &ready {
        for key in begins {
            if let Some(alert) = known(tx, key)? {
                put(tx, &take_thread(alert, &message.message_id))?;
            }
        }
        tx.enqueue(message)?;
    }
    Ok(ready.len())
}
