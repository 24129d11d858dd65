//! What the tests of the PostgreSQL edge share.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use pgdumpd::error::Result;
use pgdumpd::model::backup::RunId;
use pgdumpd::model::dump::DumpShape;
use pgdumpd::model::project::{Limits, Target};
use pgdumpd::postgres::connection::Access;
use pgdumpd::postgres::dump::Dump;
use pgdumpd::postgres::session::Session;
use pgdumpd::postgres::version::{Client, Clients};
use pgdumpd::process::{self, Cancel, Finished, Spec};
use secrecy::SecretString;

/// Only what finding programs needs.
pub(crate) fn bare_env(name: &str) -> Option<OsString> {
    (name == "PATH").then(|| OsString::from("/usr/bin:/bin"))
}

pub(crate) fn client() -> Client {
    Clients::find(Some(&crate::cluster::bin()), &|_| None).unwrap().newest().clone()
}

pub(crate) fn limits() -> Limits {
    Limits { connect: Duration::from_secs(10), lock_wait: Duration::from_secs(20), ..Limits::default() }
}

pub(crate) fn access(url: &str) -> Access {
    Access::new(&Target::Url(url.to_owned()), None, limits().connect, &bare_env).unwrap()
}

pub(crate) fn access_with(target: &Target, password: &str) -> Access {
    Access::new(target, Some(SecretString::from(password)), limits().connect, &bare_env).unwrap()
}

pub(crate) fn keywords(pairs: &[(&str, &str)]) -> Target {
    Target::Keywords(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>())
}

pub(crate) fn open(access: &Access, database: Option<&str>) -> Result<Session> {
    open_as("pgdumpd/session", access, database)
}

pub(crate) fn open_as(name: &str, access: &Access, database: Option<&str>) -> Result<Session> {
    Session::open(&client(), access, database, name, &limits(), &Cancel::new())
}

/// The `pg_dump` of the run `test` for the session's database.
pub(crate) fn dump_command(access: &Access, session: &Session, shape: &DumpShape) -> Spec {
    let (client, limits, run) = (client(), limits(), RunId("test".into()));
    let server = session.server();
    Dump { client: &client, access, server: Some(server), database: &server.database, shape, limits: &limits, run: &run, scratch: None }
        .command()
}

/// Dumps the session's database and waits for the end.
pub(crate) fn dump(access: &Access, session: &Session, shape: &DumpShape) -> Finished {
    process::run(&dump_command(access, session, shape), &[], Duration::from_secs(60), 64 << 20).unwrap()
}
