//! Passwords and names of any characters, and that a password is never seen.

use std::fs;

use pgdumpd::error::Cause;
use pgdumpd::model::dump::DumpShape;
use pgdumpd::model::project::Target;
use pgdumpd::postgres::connection::Access;
use pgdumpd::process;

use crate::cluster::{Cluster, Setup};
use crate::support::{access, access_with, bare_env, dump, dump_command, keywords, limits, open};

const ROLE: &str = "ro:le @'x\"\u{fc}\\/?#&=%41";
const PASSWORD: &str = "p:a\\s\"s'w ord%41@/?#&=\u{fc}#-+unlikely7361";

fn guarded() -> Cluster {
    let cluster = Setup::default().hba("host all all 127.0.0.1/32 scram-sha-256").start();
    cluster.psql(&format!("create role \"{}\" login password '{}'", ROLE.replace('"', "\"\""), PASSWORD.replace('\'', "''")));
    cluster
}

#[test]
fn any_character_may_stand_in_role_and_password() {
    let cluster = guarded();
    let port = cluster.port.to_string();
    let encoded = percent_encoding::utf8_percent_encode(PASSWORD, percent_encoding::NON_ALPHANUMERIC).to_string();
    let url = cluster.url_as(ROLE, "postgres");
    let by_keywords = keywords(&[("host", "127.0.0.1"), ("port", &port), ("user", ROLE), ("dbname", "postgres")]);
    let from_env = |name: &str| if name == "PGPASSWORD" { Some(PASSWORD.into()) } else { bare_env(name) };
    let ways = [
        access_with(&Target::Url(url.clone()), PASSWORD),
        access_with(&by_keywords, PASSWORD),
        access(&url.replace("@127", &format!(":{encoded}@127"))),
        access(&format!("{url}?password={encoded}")),
        Access::new(&by_keywords, None, limits().connect, &from_env).unwrap(),
    ];
    for access in ways {
        let session = open(&access, None).unwrap();
        assert_eq!(session.server().role, ROLE);
        let finished = dump(&access, &session, &DumpShape::default());
        assert!(finished.exit.is_success(), "{}", finished.stderr);
    }
    let wrong = open(&access_with(&by_keywords, "wrong"), None).unwrap_err();
    assert_eq!(wrong.cause, Cause::Login);
    assert!(wrong.hint.as_deref().unwrap().starts_with("the server answers"), "{wrong:?}");
}

#[test]
fn the_password_is_in_no_argument_and_no_environment() {
    let cluster = guarded();
    cluster.psql("create table t (n int); grant select on t to public");
    let url = cluster.url_as(ROLE, "postgres");
    let access = access_with(&Target::Url(url), PASSWORD);
    let session = open(&access, None).unwrap();
    let mut holder =
        cluster.psql_command("postgres").args(["-c", "begin", "-c", "lock table t", "-c", "select pg_sleep(30)"]).spawn().unwrap();
    cluster.wait_until("exists (select from pg_locks where relation = 't'::regclass)");
    let mut child = process::spawn(&dump_command(&access, &session, &DumpShape::default())).unwrap();
    cluster.wait_until("exists (select from pg_locks where relation = 't'::regclass and not granted)");
    let mut seen = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(process.path().join(file)).unwrap_or_default();
            seen += usize::from(bytes.windows(9).any(|part| part == b"--dbname=" || part == b"passfile="));
            assert!(!bytes.windows(12).any(|part| part == b"unlikely7361"), "{} shows the password", process.path().join(file).display());
        }
    }
    assert!(seen >= 2, "neither the session nor the dump was looked at");
    assert!(!format!("{access:?}").contains("unlikely7361"));
    child.kill();
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_key_password_in_the_connection_is_refused() {
    let target = Target::Url("postgresql://h/d?sslpassword=x".into());
    let failure = Access::new(&target, None, limits().connect, &bare_env).unwrap_err();
    assert_eq!(failure.cause, Cause::Configuration);
}
