//! Every sslmode, with root and client certificates.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use pgdumpd::error::Cause;
use pgdumpd::model::dump::DumpShape;

use crate::cluster::{Cluster, Setup};
use crate::support::{access, dump, open};

#[expect(clippy::disallowed_methods, reason = "certificates are made from outside of pgdumpd")]
fn openssl(dir: &Path, line: &str) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(dir).output().expect("apt-get install openssl");
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Two authorities, and certificates of the first for the server `localhost` and the role `certified`.
fn certificates(dir: &Path) {
    for authority in ["ca", "other"] {
        openssl(
            dir,
            &format!("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={authority} -keyout {authority}.key -out {authority}.crt"),
        );
    }
    for (file, name) in [("server", "localhost"), ("client", "certified")] {
        openssl(dir, &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {file}.key -out {file}.csr"));
        openssl(dir, &format!("x509 -req -in {file}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out {file}.crt"));
    }
}

fn cluster(dir: &Path) -> Cluster {
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    Setup::default()
        .file("server.crt", &read("server.crt"))
        .file("server.key", &read("server.key"))
        .file("ca.crt", &read("ca.crt"))
        .setting("ssl = on")
        .setting("ssl_ca_file = 'ca.crt'")
        .hba("hostssl all certified 127.0.0.1/32 cert\nhostssl all postgres 127.0.0.1/32 trust\nhostnossl all plain 127.0.0.1/32 trust")
        .start()
}

#[test]
fn every_sslmode_holds_for_the_session_and_the_dump() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let cluster = cluster(folder.path());
    cluster.psql("create role certified login; create role plain login");
    let dir = folder.path().display();
    let (ca, other) = (format!("sslrootcert={dir}/ca.crt"), format!("sslrootcert={dir}/other.crt"));
    let pair = format!("sslcert={dir}/client.crt&sslkey={dir}/client.key");
    // Role, host, parameters, whether the connection is encrypted or refused.
    let cases = [
        ("plain", "localhost", "sslmode=disable".to_owned(), Some("f")),
        ("postgres", "localhost", "sslmode=disable".to_owned(), None),
        ("plain", "localhost", "sslmode=allow".to_owned(), Some("f")),
        ("postgres", "localhost", "sslmode=allow".to_owned(), Some("t")),
        ("postgres", "localhost", "sslmode=prefer".to_owned(), Some("t")),
        ("postgres", "localhost", "sslmode=require".to_owned(), Some("t")),
        ("plain", "localhost", "sslmode=require".to_owned(), None),
        ("postgres", "127.0.0.1", format!("sslmode=verify-ca&{ca}"), Some("t")),
        ("postgres", "127.0.0.1", format!("sslmode=verify-ca&{other}"), None),
        ("postgres", "localhost", format!("sslmode=verify-full&{ca}"), Some("t")),
        ("postgres", "127.0.0.1", format!("sslmode=verify-full&{ca}"), None),
        ("certified", "localhost", format!("sslmode=verify-full&{ca}&{pair}"), Some("t")),
        ("certified", "localhost", format!("sslmode=verify-full&{ca}"), None),
        ("postgres", "nowhere.invalid", format!("hostaddr=127.0.0.1&sslmode=verify-full&{ca}"), None),
        ("postgres", "localhost", format!("hostaddr=127.0.0.1&sslmode=verify-full&{ca}"), Some("t")),
    ];
    for (role, host, parameters, expected) in cases {
        let access = access(&format!("postgresql://{role}@{host}:{}/postgres?{parameters}", cluster.port));
        match (open(&access, None), expected) {
            (Ok(session), Some(encrypted)) => {
                let look = "select ssl from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'pgdumpd/session'";
                assert_eq!(cluster.psql(look), encrypted, "{role} {host} {parameters}");
                let finished = dump(&access, &session, &DumpShape::default());
                assert!(finished.exit.is_success(), "{role} {host} {parameters}: {}", finished.stderr);
                drop(session);
                cluster.wait_until("not exists (select from pg_stat_activity where application_name like 'pgdumpd/%')");
            }
            (Err(failure), None) => assert_eq!(failure.cause, Cause::Login, "{failure:?}"),
            (outcome, _) => panic!("{role} {host} {parameters}: {outcome:?}"),
        }
    }
}

/// What the failure says and what to do about it.
fn refused(url: &str) -> (Cause, String, String) {
    let failure = open(&access(url), None).unwrap_err();
    (failure.cause, failure.message, failure.hint.unwrap_or_default())
}

#[test]
fn what_libpq_lacks_itself_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let cluster = cluster(folder.path());
    cluster.psql("create role certified login");
    let dir = folder.path().display();
    let place = format!("no connection to localhost port {}: ", cluster.port);
    let url = |role: &str, more: &str| format!("postgresql://{role}@localhost:{}/postgres?{more}", cluster.port);

    for (parameter, named) in [("keepalives_idle=often", "keepalives_idle"), ("options=-c%20nosuch%3D1", "nosuch")] {
        let (cause, words, hint) = refused(&url("postgres", parameter));
        assert_eq!(cause, Cause::Login, "{words}");
        assert!(words.contains(named) && hint.contains("parameters") && !hint.contains("firewall"), "{words}; {hint}");
    }
    for mode in ["verify-ca", "verify-full"] {
        let (cause, words, hint) = refused(&url("postgres", &format!("sslmode={mode}&sslrootcert={dir}/nowhere.crt")));
        assert_eq!((cause, words), (Cause::Login, format!("{place}root certificate file \"{dir}/nowhere.crt\" does not exist")));
        assert!(hint.contains("sslrootcert") && hint.contains("to read it"), "{hint}");
    }
    let pair = |key: &str| format!("sslmode=require&sslcert={dir}/client.crt&sslkey={dir}/{key}");
    let mode = |bits: u32| std::fs::set_permissions(folder.path().join("client.key"), Permissions::from_mode(bits)).unwrap();
    mode(0o644);
    let (cause, words, hint) = refused(&url("certified", &pair("client.key")));
    assert_eq!(cause, Cause::Login, "{words}");
    assert!(words.starts_with(&format!("{place}private key file \"{dir}/client.key\" has group or world access")), "{words}");
    assert!(hint.contains("sslkey") && hint.contains("mode 0600") && !hint.contains("firewall"), "{hint}");
    mode(0o600);
    let (cause, words, hint) = refused(&url("certified", &pair("nowhere.key")));
    assert_eq!(cause, Cause::Login, "{words}");
    assert!(words.contains(&format!("private key file \"{dir}/nowhere.key\"")) && hint.contains("sslkey"), "{words}; {hint}");
    let (cause, words, hint) = refused(&url("certified", &pair("server.key")));
    assert_eq!(cause, Cause::Login, "{words}");
    assert!(words.contains("server.key") && hint.contains("fit the certificate"), "another's key: {words}; {hint}");
    std::fs::write(folder.path().join("client.crt"), "nonsense").unwrap();
    let (cause, words, hint) = refused(&url("certified", &pair("client.key")));
    assert_eq!(cause, Cause::Login, "{words}");
    assert!(words.contains("client.crt") && hint.contains("sslcert"), "{words}; {hint}");
}
