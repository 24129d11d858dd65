//! Variables for proofs, drills, checks and the gate.

use std::time::Duration;

use super::{settings_beside, told_beside};
use crate::model::backup::ProofLevel;
use crate::model::project::{PasswordSource, Standby, Target};

#[test]
fn how_backups_are_proven() {
    let settings = settings_beside(&[
        ("PGDUMPD_VERIFY_AFTER_BACKUP", "read"),
        ("PGDUMPD_VERIFY_RECHECK_EVERY", "30 days"),
        ("PGDUMPD_DRILL", "@weekly"),
        ("PGDUMPD_DRILL_OLDER", "2"),
        ("PGDUMPD_DRILL_ON", "postgresql://drill@scratch/postgres"),
        ("PGDUMPD_DRILL_PASSWORD", "secret"),
        ("PGDUMPD_CHECK", "select true"),
        ("PGDUMPD_CHECK_ORDERS", "select count(*) > 0\nfrom orders;"),
        ("PGDUMPD_ANOMALY_ROWS_BELOW", "70"),
        ("PGDUMPD_ANOMALY_SIZE_BELOW", "40%"),
        ("PGDUMPD_ANOMALY_TABLES", "no"),
        ("PGDUMPD_ANOMALY_AFTER", "5"),
        ("PGDUMPD_ANOMALY_AFTER_SPAN", "2 days"),
        ("PGDUMPD_STANDBY_PAUSE_REPLAY", "1h"),
    ]);
    let project = &settings.projects[0];
    assert_eq!(project.verify.after_backup, Some(ProofLevel::Read));
    assert_eq!(project.verify.recheck_every, Some(Duration::from_secs(30 * 86_400)));
    let drill = project.drill.as_ref().unwrap();
    assert_eq!(drill.older, 2);
    let on = drill.on.as_ref().unwrap();
    assert_eq!(on.target, Target::Url(String::from("postgresql://drill@scratch/postgres")));
    assert!(matches!(&on.password, PasswordSource::Env(name) if name == "PGDUMPD_DRILL_PASSWORD"));
    let checks: Vec<_> = project.checks.iter().map(|check| (check.name.as_str(), check.sql.as_str())).collect();
    assert_eq!(checks, [("check", "select true"), ("orders", "select count(*) > 0\nfrom orders")]);
    let rule = project.anomaly.unwrap();
    assert_eq!((rule.rows_below, rule.size_below, rule.tables, rule.after), (70, 40, false, 5));
    assert_eq!(rule.after_span, Duration::from_secs(2 * 86_400));
    assert_eq!(project.standby, Standby::PauseReplay(Duration::from_secs(3600)));
}

#[test]
fn the_gate_is_on_unless_it_is_switched_off() {
    assert!(settings_beside(&[]).projects[0].anomaly.is_some());
    assert!(settings_beside(&[("PGDUMPD_ANOMALY", "true"), ("PGDUMPD_ANOMALY_AFTER", "4")]).projects[0].anomaly.is_some());
    assert_eq!(settings_beside(&[("PGDUMPD_ANOMALY", "off")]).projects[0].anomaly, None);
}

#[test]
fn queries_and_passwords_may_lie_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (query, password, url) =
        (put("sql", "select count(*) > 1000\n  from orders\n"), put("pw", "secret\n"), put("url", "postgresql://u:p@scratch/x\n"));
    let settings = settings_beside(&[
        ("PGDUMPD_CHECK_ORDERS_FILE", &query),
        ("PGDUMPD_DRILL", "@weekly"),
        ("PGDUMPD_DRILL_ON", "postgresql://drill@scratch"),
        ("PGDUMPD_DRILL_PASSWORD_FILE", &password),
    ]);
    let project = &settings.projects[0];
    assert_eq!((project.checks[0].name.as_str(), project.checks[0].sql.as_str()), ("orders", "select count(*) > 1000\n  from orders"));
    let on = project.drill.as_ref().unwrap().on.as_ref().unwrap();
    assert!(matches!(&on.password, PasswordSource::Mounted(path) if path.ends_with("pw")));
    let settings = settings_beside(&[("PGDUMPD_DRILL", "@weekly"), ("PGDUMPD_DRILL_ON_FILE", &url)]);
    assert!(matches!(settings.projects[0].drill.as_ref().unwrap().on.as_ref().unwrap().password, PasswordSource::Inline(_)));
    let gone = folder.path().join("gone").display().to_string();
    let told = told_beside(&[
        ("PGDUMPD_DRILL", "@weekly"),
        ("PGDUMPD_DRILL_ON", "postgresql://drill@scratch"),
        ("PGDUMPD_DRILL_PASSWORD_FILE", &gone),
        ("PGDUMPD_CHECK_ORDERS", "select true"),
        ("PGDUMPD_CHECK_ORDERS_FILE", &query),
    ]);
    insta::assert_snapshot!(told.replace(&folder.path().display().to_string(), "DIR"), @"
    environment: PGDUMPD_CHECK_ORDERS: PGDUMPD_CHECK_ORDERS_FILE is set too; unset one of them
    environment: PGDUMPD_DRILL_PASSWORD_FILE: secret DIR/gone can't be read: No such file or directory (os error 2); make the file, readable for the user that pgdumpd runs as
    ");
}

#[test]
fn what_contradicts_itself_is_refused() {
    let told = told_beside(&[
        ("PGDUMPD_DRILL", "@weekly"),
        ("PGDUMPD_DRILL_CRON", "@monthly"),
        ("PGDUMPD_DRILL_PASSWORD", "secret"),
        ("PGDUMPD_ANOMALY", "false"),
        ("PGDUMPD_ANOMALY_ROWS_BELOW", "70"),
        ("PGDUMPD_STANDBY", "refuse"),
        ("PGDUMPD_STANDBY_PAUSE_REPLAY", "1h"),
        ("PGDUMPD_CHECK_ORDERS", "select true"),
        ("PGDUMPD_CHECK_orders", "select false"),
    ]);
    insta::assert_snapshot!(told, @"
    environment: PGDUMPD_STANDBY_PAUSE_REPLAY: says something else than PGDUMPD_STANDBY; unset one of them
    environment: PGDUMPD_DRILL: says something else than PGDUMPD_DRILL_CRON; unset one of them
    environment: PGDUMPD_CHECK_orders: says something else than PGDUMPD_CHECK_ORDERS; unset one of them
    environment: PGDUMPD_ANOMALY_ROWS_BELOW: has no effect, as PGDUMPD_ANOMALY switches the gate off; unset one of them
    environment: PGDUMPD_DRILL_PASSWORD: has no effect without PGDUMPD_DRILL_ON; say which server, or unset it
    ");
    let told = told_beside(&[
        ("PGDUMPD_DRILL_OLDER", "2"),
        ("PGDUMPD_VERIFY_AFTER_BACKUP", "all"),
        ("PGDUMPD_VERIFY_RECHECK", "30 days"),
        ("PGDUMPD_CHECKS", "select true"),
        ("PGDUMPD_CHECK_ONE", "\\! ls"),
        ("PGDUMPD_ANOMALY", "maybe"),
        ("PGDUMPD_ANOMALY_SIZE_BELOW", "120"),
        ("PGDUMPD_STANDBY_PAUSE_REPLAY", "long"),
    ]);
    insta::assert_snapshot!(told, @r#"
    environment: PGDUMPD_ANOMALY: wrong value; expected true or false
    environment: PGDUMPD_CHECKS: unknown variable; did you mean PGDUMPD_CHECK?
    environment: PGDUMPD_VERIFY_RECHECK: unknown variable; did you mean PGDUMPD_VERIFY_RECHECK_EVERY?
    environment: PGDUMPD_ANOMALY_SIZE_BELOW: "120%" is no such share; expected a share from "0%" to "100%"
    environment: PGDUMPD_STANDBY_PAUSE_REPLAY: `long` is not a duration: write a number and a unit, such as `15 min` or `26h`
    environment: PGDUMPD_VERIFY_AFTER_BACKUP: unknown value all; expected "none", "checksum" or "read"
    environment: PGDUMPD_DRILL_OLDER: has no effect, as nothing says when there is a drill; set PGDUMPD_DRILL, to @weekly for example
    environment: PGDUMPD_CHECK_ONE: is no query, or has a backslash in it; expected a query such as "select count(*) > 1000 from orders"
    "#);
    let told = told_beside(&[
        ("PGDUMPD_DRILL", "@weekly"),
        ("PGDUMPD_DRILL_ON", "postgresql://drill:hush@scratch/x"),
        ("PGDUMPD_DRILL_PASSWORD", "hush"),
    ]);
    insta::assert_snapshot!(told, @"environment: PGDUMPD_DRILL_ON: holds a password, and the key password names another; remove one of them");
}

#[test]
fn what_kubernetes_sets_is_no_check() {
    let settings = settings_beside(&[("PGDUMPD_CHECK_SERVICE_HOST", "10.0.0.8"), ("PGDUMPD_CHECK_PORT", "tcp://10.0.0.8:80")]);
    assert_eq!(settings.projects[0].checks, []);
}
