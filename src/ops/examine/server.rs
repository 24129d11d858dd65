//! One project's server: the client for it, the login, the clock, and for each database what the role can't read and the space.

use chrono::TimeDelta;

use crate::error::{Failure, Result};
use crate::model::dump::{Content, DumpShape};
use crate::model::project::{Databases, Project};
use crate::model::settings::Settings;
use crate::notify::redact::Redactor;
use crate::postgres::connection::Access;
use crate::postgres::rights::{mend, without_passwords};
use crate::postgres::session::Session;
use crate::postgres::version::{self, Clients};
use crate::process::Cancel;
use crate::units::show_size;

use super::super::{World, mount, space, targets, there};
use super::{Finding, is_told};

/// A server's clock that differs by more than this makes times in reports misleading.
const CLOCKS_APART: TimeDelta = TimeDelta::seconds(30);

pub(super) fn look(world: &World, settings: &Settings, project: &Project) -> Vec<Finding> {
    let about = format!("project {:?}", project.name);
    let mut findings = Vec::new();
    if let Err(failure) = examine(world, project, &about, &mut findings)
        && !is_told(settings, &failure)
    {
        findings.push(Finding::problem(&about, &Redactor::default().clean_failure(failure)));
    }
    findings
}

fn examine(world: &World, project: &Project, about: &str, findings: &mut Vec<Finding>) -> Result<()> {
    let clients = world.clients(project)?;
    let access = world.access(project)?;
    let mut session = match &project.databases {
        // One that is gone must not hide what is to be said of the others.
        Databases::Named(names) => targets::in_first(names, project.limits.connect, |name| open(project, &clients, &access, Some(name)))?,
        _ => there::ask(world, project, &clients, &access, &Cancel::new())?,
    };
    let server = session.server().clone();
    let client = clients.for_server(server.version_num)?;
    findings.push(Finding::fine(
        about,
        format!(
            "{} answers as {:?}: PostgreSQL {}, dumped by pg_dump {}",
            server.reached,
            server.role,
            version::show(server.version_num),
            version::show(client.version_num)
        ),
    ));
    findings.extend(targets::refused_standby(project, &server).map(|failure| Finding::problem(about, &failure)));
    if let Some(fixed) = client.has_known_holes() {
        findings.push(Finding::warning(
            &format!("pg_dump {}", version::show(client.version_num)),
            "it has known security holes",
            format!("upgrade the PostgreSQL client ({}) to {fixed} or newer", client.dir().display()),
        ));
    }
    let apart = session.clock()? - world.clock.now();
    if apart.abs() > CLOCKS_APART {
        let words = format!("the server's clock is {} s away from this machine's", apart.num_seconds());
        findings.push(Finding::warning(about, words, "let both follow NTP"));
    }
    let covered = targets::databases(project, &mut session, |_| {})?;
    for name in &covered.closed {
        let (words, hint) = targets::closed(name);
        findings.push(Finding::warning(about, words, hint));
    }
    findings.extend(covered.unreadable.iter().map(|name| Finding::problem(about, &targets::unreadable(name))));
    let (mut answered, mut others) = (Vec::new(), Vec::new());
    for database in &covered.databases {
        let about = format!("{about}, database {database:?}");
        match look_inside(world, project, &clients, &access, database) {
            Ok(mut more) => {
                more.iter_mut().for_each(|finding| finding.about.clone_from(&about));
                findings.extend(more);
                answered.push(database.as_str());
            }
            Err(failure) => {
                findings.push(Finding::problem(&about, &failure));
                others.push(database.as_str());
            }
        }
    }
    if dumps_globals(project) {
        findings.extend(globals(project, &clients, &access, &targets::entrances(answered, others), about));
    }
    Ok(())
}

/// Whether roles and tablespaces are backed up: with every full dump that comes by itself, or else with one by hand.
fn dumps_globals(project: &Project) -> bool {
    let mut shapes: Vec<&DumpShape> = project.schedules.iter().map(|plan| &plan.shape).collect();
    if shapes.is_empty() {
        shapes.push(&project.shape);
    }
    project.globals && shapes.iter().any(|shape| shape.content == Content::Full)
}

/// The roles and tablespaces, in the database in which a backup would read them.
fn globals(project: &Project, clients: &Clients, access: &Access, places: &[String], about: &str) -> Option<Finding> {
    let about = format!("{about}, roles and tablespaces");
    let asked = targets::in_first(places, project.limits.connect, |place| {
        let mut session = open(project, clients, access, Some(place))?;
        let reads = session.reads_role_passwords()?;
        Ok((reads, session.server().clone()))
    });
    match asked {
        Ok((true, _)) => None,
        Ok((false, server)) => {
            let (words, hint) = without_passwords(&server);
            Some(Finding::warning(&about, format!("they are backed up {words}"), hint))
        }
        Err(failure) => Some(Finding::problem(&about, &failure)),
    }
}

fn open(project: &Project, clients: &Clients, access: &Access, database: Option<&str>) -> Result<Session> {
    Session::open(clients.newest(), access, database, "pgdumpd", &project.limits, &Cancel::new())
}

fn look_inside(world: &World, project: &Project, clients: &Clients, access: &Access, database: &str) -> Result<Vec<Finding>> {
    let mut session = open(project, clients, access, Some(database))?;
    let mut findings = Vec::new();
    let shapes = project.schedules.iter().map(|plan| &plan.shape).chain([&project.shape]);
    let full = shapes.clone().find(|shape| shape.content == Content::Full).unwrap_or(&project.shape);
    selections(project, &mut session, &mut findings)?;
    rights(&mut session, full, &mut findings)?;
    findings.push(room(world, project, &mut session, database, full)?);
    Ok(findings)
}

/// What is to be dumped and isn't there, of every dump that comes by itself, or else of one by hand.
fn selections(project: &Project, session: &mut Session, findings: &mut Vec<Finding>) -> Result<()> {
    let scheduled = project.schedules.iter().filter(|plan| plan.enabled).map(|plan| &plan.shape);
    let mut shapes: Vec<&DumpShape> = scheduled.collect();
    if shapes.is_empty() {
        shapes.push(&project.shape);
    }
    for shape in shapes {
        for (key, pattern) in session.unmatched(shape)? {
            let words = format!("nothing there matches {pattern:?} in {key}, so the dump fails");
            let finding = Finding::problem("", &Failure::new(crate::error::Cause::NotFound, words).hint(mend(&key)));
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    Ok(())
}

fn rights(session: &mut Session, shape: &DumpShape, findings: &mut Vec<Finding>) -> Result<()> {
    for hidden in session.row_security(shape)? {
        let failure = Failure::new(crate::error::Cause::RowSecurity, format!("row security on {hidden} would hide rows"));
        findings.push(Finding::problem("", &failure.hint(format!("ALTER ROLE \"{}\" BYPASSRLS", session.server().role))));
    }
    for unreadable in session.unreadable(shape)? {
        let failure = Failure::new(crate::error::Cause::Permission, format!("the role can't read {unreadable}"));
        findings.push(Finding::problem("", &failure.hint(unreadable.grant.clone())));
    }
    Ok(())
}

fn room(world: &World, project: &Project, session: &mut Session, database: &str, shape: &DumpShape) -> Result<Finding> {
    let size = session.database_size()?;
    let storage = world.storage(project)?.as_ref();
    // What is wrong with the storage has been told with the machine, once and not for each database.
    let free = match mount::is_new(world, storage) {
        Ok(false) => storage.free_space().ok().flatten(),
        Ok(true) | Err(_) => None,
    };
    let needed = match space::estimate(world, &project.name, database, shape)? {
        None => space::of_tables(session, shape)?,
        known => known,
    };
    Ok(match (free, needed) {
        (Some(free), Some(needed)) if free < needed => Finding::problem(
            "",
            &Failure::new(
                crate::error::Cause::Space,
                format!(
                    "{} on the server; the next backup needs about {}, and {} are free",
                    show_size(size),
                    show_size(needed),
                    show_size(free)
                ),
            )
            .hint("free some space, or lower the retention"),
        ),
        (Some(free), None) if free < size => Finding::warning(
            "",
            format!("{} on the server, no backup yet to estimate from, and {} are free", show_size(size), show_size(free)),
            "a compressed dump is usually much smaller than the database; watch the first one",
        ),
        (_, Some(needed)) => {
            Finding::fine("", format!("{} on the server; the next backup needs about {}", show_size(size), show_size(needed)))
        }
        (_, None) => Finding::fine("", format!("{} on the server; no backup yet", show_size(size))),
    })
}
