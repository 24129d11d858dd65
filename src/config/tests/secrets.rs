//! Secrets: read from where they are, refused where others can read them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::{HEAD, lines, nothing};
use crate::config::{load, load_at_hand, secret};
use crate::error::{Cause, Failure, Result};
use crate::model::project::PasswordSource;

fn file(folder: &TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn value(source: &PasswordSource, env: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>> {
    let run = |words: &[String]| match words {
        [one] => Ok(format!("{one} said\nmore")),
        _ => Err(Failure::new(Cause::System, "no such program")),
    };
    Ok(secret::read_with(source, env, &run)?.map(|secret| secret.expose_secret().to_owned()))
}

#[test]
fn the_first_line_counts_without_its_end() {
    let folder = TempDir::new().unwrap();
    for (text, expected) in [("pw", "pw"), ("pw\n", "pw"), ("pw\r\n", "pw"), (" p w \nsecond\n", " p w "), ("pä\n", "pä")] {
        let path = file(&folder, "pw", text, 0o600);
        assert_eq!(value(&PasswordSource::File(path), &nothing).unwrap().as_deref(), Some(expected));
    }
    for text in ["", "\n", "\nsecond"] {
        let path = file(&folder, "pw", text, 0o600);
        let failure = value(&PasswordSource::File(path), &nothing).expect_err("empty");
        assert!(failure.cause == Cause::Secret && failure.message.contains("is empty"), "{failure}");
    }
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let folder = TempDir::new().unwrap();
    for mode in [0o640, 0o604, 0o660, 0o644, 0o610] {
        let path = file(&folder, "pw", "pw", mode);
        let failure = value(&PasswordSource::File(path.clone()), &nothing).expect_err("too readable");
        assert_eq!(failure.message, format!("secret {} can be read by others (mode {mode:04o})", path.display()));
        assert_eq!(failure.hint, Some(format!("chmod 600 {}", path.display())));
    }
    for mode in [0o600, 0o400, 0o700] {
        let path = file(&folder, "pw", "pw", mode);
        assert!(value(&PasswordSource::File(path), &nothing).is_ok());
    }
}

#[test]
fn guarded_places_may_have_any_mode() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "pw", "pw", 0o644);
    let here = folder.path().display().to_string();
    let env = move |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| here.clone());
    for source in [PasswordSource::Credential("pw".into()), PasswordSource::File(path.clone()), PasswordSource::Mounted(path.clone())] {
        assert_eq!(value(&source, &env).unwrap().as_deref(), Some("pw"));
    }
    assert!(value(&PasswordSource::Mounted(path), &nothing).is_ok());
    assert!(value(&PasswordSource::Credential("pw".into()), &nothing).is_err());
    assert!(value(&PasswordSource::Credential("../pw".into()), &env).is_err());
}

#[test]
fn variables_and_commands_are_asked() {
    let env = |name: &str| (name == "PW").then(|| String::from("pw\n"));
    assert_eq!(value(&PasswordSource::Env("PW".into()), &env).unwrap().as_deref(), Some("pw"));
    assert!(value(&PasswordSource::Env("OTHER".into()), &env).is_err());
    assert_eq!(value(&PasswordSource::Command(vec!["it".into()]), &env).unwrap().as_deref(), Some("it said"));
    assert!(value(&PasswordSource::Command(vec!["a".into(), "b".into()]), &env).is_err());
    assert_eq!(value(&PasswordSource::Libpq, &env).unwrap(), None);
}

#[test]
fn what_is_no_file_is_refused_without_hanging() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
    for path in [pipe, folder.path().to_owned(), folder.path().join("missing"), PathBuf::from("/dev/zero")] {
        assert!(value(&PasswordSource::File(path.clone()), &nothing).is_err(), "{}", path.display());
    }
    let large = file(&folder, "large", &"x".repeat(70_000), 0o600);
    assert!(value(&PasswordSource::File(large), &nothing).is_err());
}

fn loaded(path: &Path) -> String {
    match load(path, &nothing) {
        Ok(_) => String::from("accepted"),
        Err(problems) => lines(&problems).replace(&path.parent().unwrap().display().to_string(), ""),
    }
}

#[test]
fn secrets_are_looked_at_when_the_file_is_read_with_the_other_problems() {
    let folder = TempDir::new().unwrap();
    let open = file(&folder, "open", "pw", 0o644);
    let project = |name: &str, password: &Path| {
        format!("[[project]]\nname = \"{name}\"\nconnection = \"postgresql://u@db/x\"\npassword = {{ file = {password:?} }}\n")
    };
    let text = format!("{HEAD}{}{}bad = 1\n", project("a", &open), project("b", &folder.path().join("none")));
    let path = file(&folder, "pgdumpd.toml", &text, 0o644);
    insta::assert_snapshot!(loaded(&path), @r#"
        /pgdumpd.toml:10: project "a": password: secret /open can be read by others (mode 0644); chmod 600 /open
        /pgdumpd.toml:14: project "b": password: secret /none can't be read: No such file or directory (os error 2); make the file, readable for the user that pgdumpd runs as
        /pgdumpd.toml:15: project "b": bad: unknown key; [[project]] knows name, description, enabled, connection, password, databases, exclude_databases, globals, storage, retention, anomaly, max_backup_age, limits, to, reminder, catch_up, server_lock, standby, pg_bin_dir, compression_workers, verify, drill, check, content, format, compression, jobs, tables, exclude_tables, schemas, exclude_schemas, exclude_table_data, options, time_zone, spread, schedule
    "#);
    let good = file(&folder, "good", "pw", 0o600);
    let path = file(&folder, "pgdumpd.toml", &format!("{HEAD}{}", project("a", &good)), 0o644);
    assert_eq!(loaded(&path), "accepted");
}

#[test]
fn a_file_with_a_password_in_it_must_be_private() {
    let folder = TempDir::new().unwrap();
    let text = format!("{HEAD}[[project]]\nname = \"a\"\nconnection = \"postgresql://u:pw@db/x\"\n");
    let path = file(&folder, "pgdumpd.toml", &text, 0o640);
    insta::assert_snapshot!(loaded(&path), @r#"/pgdumpd.toml:9: project "a": connection: a password stands here, and others can read this file (mode 0640); chmod 600 /pgdumpd.toml"#);
    file(&folder, "pgdumpd.toml", &text, 0o600);
    assert_eq!(loaded(&path), "accepted");
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    let folder = TempDir::new().unwrap();
    insta::assert_snapshot!(loaded(&folder.path().join("none.toml")), @r"/none.toml: can't be read: No such file or directory (os error 2); name another file with --config or PGDUMPD_CONFIG, or set DATABASE_URL and name none, to do without one");
    let path = folder.path().join("binary.toml");
    fs::write(&path, b"[daemon]\n\xff").unwrap();
    insta::assert_snapshot!(loaded(&path), @r"/binary.toml: line 2 is not UTF-8");
}

#[test]
fn storages_that_links_bring_together_overlap() {
    let folder = TempDir::new().unwrap();
    let real = folder.path().join("real");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, folder.path().join("link")).unwrap();
    let text = format!("[storage.a]\npath = {:?}\n[storage.b]\npath = {:?}\n", real, folder.path().join("link"));
    let path = file(&folder, "pgdumpd.toml", &text, 0o600);
    insta::assert_snapshot!(loaded(&path), @r#"/pgdumpd.toml:4: storage.b.path: is the folder of storage "a"; each storage needs a folder of its own"#);
}

#[test]
fn the_sample_works_once_its_password_file_exists() {
    let folder = TempDir::new().unwrap();
    let password = folder.path().join("shop-password");
    let sample = include_str!("../../../config/pgdumpd.toml").replace("/etc/pgdumpd/shop-password", password.to_str().unwrap());
    let path = file(&folder, "pgdumpd.toml", &sample, 0o644);
    let refused = loaded(&path);
    assert!(refused.contains("password: secret /shop-password can't be read") && refused.lines().count() == 1, "{refused}");
    file(&folder, "shop-password", "pw\n", 0o600);
    assert_eq!(loaded(&path), "accepted");
}

#[test]
fn variables_that_look_like_twins_and_are_none_are_told() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "pgdumpd.toml", HEAD, 0o600);
    let told = |pairs: &[(&str, &str)]| {
        let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load_at_hand(&path, &nothing, &variables).map_or_else(|problems| lines(&problems), |settings| format!("{:?}", settings.warnings))
    };
    insta::assert_snapshot!(
        told(&[
            ("PGDUMPD_DAEMON_FOO", "1"),
            ("PGDUMPD_DAEMON_MAX_PARALEL", "3"),
            ("PGDUMPD_DAEMON_MAX_PARALLEL_FILE", "/x"),
            ("PGDUMPD_DAEMON_MAX_PARALLEL", "4"),
            ("PGDUMPD_SMTP_NONE", ""),
            ("PGDUMPD_SMTP_SERVICE_HOST", "10.0.0.7"),
            ("PGDUMPD_TABLES", "the file's alone"),
        ]),
        @r"
    environment: PGDUMPD_DAEMON_FOO: unknown variable; it isn't named like a key of [daemon]; unset it
    environment: PGDUMPD_DAEMON_MAX_PARALEL: unknown variable; did you mean PGDUMPD_DAEMON_MAX_PARALLEL?
    environment: PGDUMPD_DAEMON_MAX_PARALLEL_FILE: has no effect, as beside a configuration file only secrets may stand in files; set PGDUMPD_DAEMON_MAX_PARALLEL itself
    "
    );
    assert!(told(&[("PGSSLMODE", "foo")]).contains("unknown sslmode"), "a warning: the file's connections may say it themselves");
}
