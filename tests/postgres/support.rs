//! What the tests of the PostgreSQL edge share.

use std::ffi::OsString;
use std::time::Duration;

use pgdumpd::error::Result;
use pgdumpd::model::backup::RunId;
use pgdumpd::model::dump::DumpShape;
use pgdumpd::model::project::{Limits, Target};
use pgdumpd::postgres::connection::Access;
use pgdumpd::postgres::dump::{Dump, application_name};
use pgdumpd::postgres::session::Session;
use pgdumpd::postgres::version::{Client, Clients};
use pgdumpd::process::{self, Cancel, Finished};
use secrecy::SecretString;

/// Only what finding programs needs.
pub(crate) fn bare_env(name: &str) -> Option<OsString> {
    (name == "PATH").then(|| OsString::from("/usr/bin:/bin"))
}

pub(crate) fn client() -> Client {
    Clients::find(None, &|_| None).unwrap().newest().clone()
}

pub(crate) fn limits() -> Limits {
    Limits { connect: Duration::from_secs(10), lock_wait: Duration::from_secs(20), ..Limits::default() }
}

pub(crate) fn access(url: &str) -> Access {
    Access::with(&Target::Url(url.to_owned()), None, limits().connect, &bare_env).unwrap()
}

pub(crate) fn access_with(target: &Target, password: &str) -> Access {
    Access::with(target, Some(SecretString::from(password)), limits().connect, &bare_env).unwrap()
}

pub(crate) fn open(access: &Access, database: Option<&str>) -> Result<Session> {
    Session::open(&client(), access, database, "pgdumpd/test", &limits(), &Cancel::new())
}

/// Dumps the session's database and waits for the end.
pub(crate) fn dump(access: &Access, session: &Session, shape: &DumpShape) -> Finished {
    let (client, limits, run) = (client(), limits(), RunId("test".into()));
    let server = session.server();
    let dump = Dump {
        client: &client,
        access,
        server: Some(server),
        database: &server.database,
        shape,
        limits: &limits,
        run: &run,
        scratch: None,
    };
    assert_eq!(application_name(&run), "pgdumpd/test");
    process::run(&dump.command(), &[], Duration::from_secs(60), 64 << 20).unwrap()
}
