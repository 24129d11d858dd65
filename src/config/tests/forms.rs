//! Every form that is accepted, and what comes out of it.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::{HEAD, nothing, parse, settings, shop};
use crate::model::dump::{Compression, Content, Format};
use crate::model::project::{Databases, PasswordSource, Project, Standby, Target};
use crate::model::settings::{LogFormat, SmtpSecurity, StorageSettings};
use crate::schedule::Timing;

fn project(keys: &str) -> Project {
    settings(&shop(keys)).projects[0].as_ref().clone()
}

fn connection(toml: &str) -> (Target, Option<String>) {
    let text = shop("").replace("\"postgresql://backup@db/shop\"", toml);
    let connection = settings(&text).projects[0].connection.clone();
    let password = match connection.password {
        PasswordSource::Inline(secret) => Some(secret.expose_secret().to_owned()),
        PasswordSource::Libpq => None,
        other => panic!("{other:?}"),
    };
    (connection.target, password)
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let settings = settings(&shop(""));
    let daemon = &settings.daemon;
    assert_eq!(daemon.state_dir, PathBuf::from("/var/lib/pgdumpd"));
    assert_eq!((daemon.time_zone, daemon.max_parallel, daemon.max_parallel_per_server), (chrono_tz::Tz::UTC, 2, 1));
    assert_eq!((daemon.drain, daemon.grace, daemon.heartbeat), (Duration::ZERO, Duration::from_secs(10), Duration::from_secs(30)));
    assert_eq!((daemon.log_format, daemon.diary), (LogFormat::Text, Duration::from_secs(400 * 86_400)));
    let reserve = 1 << 30;
    assert_eq!(settings.storages["main"], StorageSettings::Local { path: PathBuf::from("/backups"), reserve });
    let smtp = settings.smtp.as_ref().unwrap();
    assert_eq!((smtp.port, smtp.security, smtp.timeout), (587, SmtpSecurity::StartTls, Duration::from_secs(30)));
    let project = &settings.projects[0];
    assert!(project.enabled && project.server_lock && !project.globals);
    assert_eq!(project.limits, crate::model::project::Limits::default());
    assert_eq!(project.notify, crate::model::project::Notify::default());
    assert_eq!((project.catch_up, project.spread), (Duration::from_secs(86_400), Duration::ZERO));
    assert_eq!((project.storage.as_str(), project.shape.jobs, project.compression_workers), ("main", 1, 1));
    assert_eq!(project.shape.compression, Compression::Zstd(3));
    assert_eq!((project.databases.clone(), project.standby), (Databases::FromConnection, Standby::AsIs));
    assert!(project.retention.keeps_all() && project.shape.selection().is_full());
}

#[test]
fn a_project_overrules_the_defaults_and_a_schedule_the_project() {
    let text = format!(
        "{HEAD}[daemon]\ntime_zone = \"Europe/Berlin\"\n[defaults]\nretention = {{ keep_last = 3, keep_daily = 9 }}\ncompression = \"gzip\"\n\
         limits = {{ connect = \"9s\", total = \"6h\" }}\nmax_backup_age = \"26h\"\n[[defaults.schedule]]\ncron = \"@daily\"\n\
         [[project]]\nname = \"a\"\nconnection = \"postgresql://b@db/a\"\n\
         [[project]]\nname = \"b\"\nconnection = \"postgresql://b@db/b\"\nretention = {{ keep_monthly = 2 }}\nlimits = {{ total = \"none\" }}\n\
         max_backup_age = \"none\"\ncompression = \"bzip2\"\nexclude_tables = [\"log\"]\ntime_zone = \"Asia/Tokyo\"\n\
         [[project.schedule]]\nevery = \"15 min\"\ncontent = \"schema\"\nexclude_tables = []\ntime_zone = \"UTC\"\n"
    );
    let settings = settings(&text);
    let [a, b] = settings.projects.as_slice() else { panic!() };
    assert_eq!((a.retention.keep_last, a.retention.keep_daily, a.shape.compression), (Some(3), Some(9), Compression::Gzip(6)));
    assert_eq!(
        (a.time_zone, a.limits.connect, a.limits.total),
        (chrono_tz::Europe::Berlin, Duration::from_secs(9), Some(Duration::from_secs(21_600)))
    );
    assert_eq!((a.schedules.len(), a.schedules[0].name.as_str(), a.schedules[0].time_zone), (1, "default", chrono_tz::Europe::Berlin));
    assert_eq!((b.retention.keep_last, b.retention.keep_monthly, b.retention.min_keep), (None, Some(2), 1));
    assert_eq!((b.limits.connect, b.limits.total, b.max_backup_age), (Duration::from_secs(9), None, None));
    let schedule = &b.schedules[0];
    assert_eq!(schedule.timing, Timing::Every(Duration::from_secs(900)));
    assert_eq!((schedule.shape.content, schedule.shape.compression), (Content::Schema, Compression::Bzip2(9)));
    assert_eq!((schedule.shape.exclude_tables.len(), b.shape.exclude_tables.len()), (0, 1));
    assert_eq!((schedule.time_zone, b.time_zone), (chrono_tz::UTC, chrono_tz::Asia::Tokyo));
}

#[test]
fn passwords_leave_the_connection() {
    let url = |text: &str| Target::Url(text.to_owned());
    assert_eq!(
        connection("\"postgresql://u:p%40s%3As@db:5433,db2/shop?sslmode=require\""),
        (url("postgresql://u@db:5433,db2/shop?sslmode=require"), Some("p@s:s".into()))
    );
    assert_eq!(
        connection("\"postgres://u@[::1]:5432/shop?password=p%26w&connect_timeout=3\""),
        (url("postgres://u@[::1]:5432/shop?connect_timeout=3"), Some("p&w".into()))
    );
    assert_eq!(connection("\"postgresql:///shop?host=/run/postgresql\""), (url("postgresql:///shop?host=/run/postgresql"), None));
    assert_eq!(connection("\"postgresql://u:@%2Frun%2Fpg/shop\""), (url("postgresql://u@%2Frun%2Fpg/shop"), None));
    let words = |pairs: &[(&str, &str)]| Target::Keywords(pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect());
    let expected = words(&[("host", "db"), ("user", "it's me"), ("dbname", "a b")]);
    assert_eq!(connection(r"'''host = db user='it\'s me' password='p w\\' dbname=a\ b'''"), (expected, Some(r"p w\".into())));
    let expected = words(&[("port", "5433"), ("service", "shop"), ("sslmode", "verify-full")]);
    assert_eq!(connection(r#"{ service = "shop", port = 5433, sslmode = "verify-full", password = "x" }"#), (expected, Some("x".into())));
}

#[test]
fn the_nearer_password_wins() {
    let text = shop("").replace("[[project]]", "[defaults]\npassword = { env = \"PW\" }\n[[project]]");
    assert!(matches!(&settings(&text).projects[0].connection.password, PasswordSource::Env(name) if name == "PW"));
    let inline = text.replace("backup@", "backup:x@");
    assert!(matches!(settings(&inline).projects[0].connection.password, PasswordSource::Inline(_)));
}

#[test]
fn every_form_of_a_value_is_read() {
    let full = project(
        "databases = \"all\"\nexclude_databases = [\"tmp_*\"]\nstandby = { pause_replay = \"1h\" }\nformat = \"plain\"\ncompression = \"zstd:9\"\n\
         password = { command = [\"/bin/pw\", \"x\"] }\nlimits = { retries = [] }\nto = [\"c@example.org\"]\ntables = [\"a\"]\nname_ = 1"
            .trim_end_matches("name_ = 1"),
    );
    assert_eq!(full.databases, Databases::All { exclude: vec!["tmp_*".into()] });
    assert_eq!(full.standby, Standby::PauseReplay(Duration::from_secs(3600)));
    assert_eq!((full.shape.format, full.shape.jobs, full.shape.compression), (Format::Plain, 1, Compression::Zstd(9)));
    assert!(matches!(full.connection.password, PasswordSource::Command(words) if words == ["/bin/pw", "x"]));
    assert_eq!((full.limits.retries.len(), full.notify.to.len()), (0, 1));
    assert_eq!(project("standby = \"refuse\"\ncompression = \"none\"").shape.compression, Compression::None);
}

#[test]
fn a_check_without_a_name_is_called_by_its_query() {
    let long = format!("select  count(*) >\\n 1000 from {}", "t".repeat(50));
    let checks = project(&format!("[[project.check]]\nsql = \"select true\"\n[[project.check]]\nsql = \"{long}\"")).checks;
    assert_eq!(checks[0].name, "select true");
    assert_eq!(checks[1].name, format!("select count(*) > 1000 from {}…", "t".repeat(32)));
}

#[test]
fn variables_win_over_the_file() {
    let env = |name: &str| match name {
        "PGDUMPD_DAEMON_STATE_DIR" => Some(String::from("/state")),
        "PGDUMPD_DAEMON_MAX_PARALLEL" => Some(String::from("7")),
        "PGDUMPD_SMTP_HOST" => Some(String::from("other")),
        "PGDUMPD_SMTP_USERNAME" => Some(String::from("me")),
        "PGDUMPD_SMTP_PASSWORD_FILE" => Some(String::from("/etc/pw")),
        "PGDUMPD_SMTP_TO" => Some(String::from("x@example.org, y@example.org")),
        "PGDUMPD_SMTP_FROM" => Some(String::from("z@example.org")),
        "PGDUMPD_SMTP_PORT" => Some(String::new()),
        _ => None,
    };
    for text in [HEAD, "[storage.main]\npath = \"/backups\"\n"] {
        let settings = parse(text, "pgdumpd.toml", &env).unwrap();
        let smtp = settings.smtp.unwrap();
        assert_eq!((settings.daemon.state_dir, settings.daemon.max_parallel), (PathBuf::from("/state"), 7));
        assert_eq!((smtp.host.as_str(), smtp.to.len(), smtp.port), ("other", 2, 587));
        assert!(matches!(smtp.password, PasswordSource::Mounted(path) if path.to_str() == Some("/etc/pw")));
    }
    assert!(parse("", "pgdumpd.toml", &nothing).unwrap().smtp.is_none());
}

#[test]
fn ten_thousand_projects_are_read_within_the_time_of_a_start() {
    use std::fmt::Write;
    let mut text = format!("{HEAD}[defaults]\nmax_backup_age = \"26h\"\nretention = {{ keep_daily = 14 }}\n");
    for number in 0..10_000 {
        let minute = number % 60;
        write!(
            text,
            "[[project]]\nname = \"p{number}\"\nconnection = \"postgresql://backup@db{number}/x\"\n[[project.schedule]]\ncron = \"{minute} 2 * * *\"\n"
        )
        .unwrap();
    }
    let start = std::time::Instant::now();
    assert_eq!(settings(&text).projects.len(), 10_000);
    // Measured 1.2 s without optimisation; the rest is for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    eprintln!("10 000 projects read in {:?}", start.elapsed());
}
