//! FAULTS row 44: ten thousand projects due at once, over stand-ins for the clients that answer as a server would and count themselves.

use std::fmt::Write as _;
use std::process::Command;

use crate::cluster::Cluster;
use crate::rig::Rig;
use crate::support::{LONG, WallClock, most_at_once, slots, until};

const SERVERS: usize = 4;

/// A psql that needs no server.
const PSQL: &str = include_str!("../support/psql-stand-in");

/// Clients that need no server: the same archive for everybody, each dump noted for all and for its server, and long enough to meet others.
fn stand_ins(rig: &Rig) -> String {
    let cluster = Cluster::start();
    let archive =
        Command::new("/usr/lib/postgresql/15/bin/pg_dump").args(["-Fc", "-Z0", "-d", &cluster.url("postgres")]).output().expect("pg_dump");
    assert!(archive.status.success(), "{archive:?}");
    std::fs::write(rig.path().join("archive"), archive.stdout).expect("the archive");
    let at = rig.path().display();
    let pg_dump = format!(
        "#!/bin/sh\ncase \" $* \" in *' --version '*) echo 'pg_dump (PostgreSQL) 15.18'; exit;; esac\n\
         case $* in *on_s0*) s=0;; *on_s1*) s=1;; *on_s2*) s=2;; *) s=3;; esac\n\
         echo + >>{at}/dumps; echo + >>{at}/dumps.$s; sleep 0.2; cat {at}/archive; echo - >>{at}/dumps.$s; echo - >>{at}/dumps\n"
    );
    rig.clients(&[("pg_dump", &pg_dump), ("psql", PSQL)]).display().to_string()
}

fn projects(count: usize, bin: &str, schedule: &str) -> String {
    let mut text = format!("[defaults]\npg_bin_dir = {bin:?}\nserver_lock = false\n");
    for number in 0..count {
        let server = number % SERVERS;
        write!(
            text,
            "[[project]]\nname = \"p{number}\"\nconnection = \"postgresql://u@s{server}.test/db{number}_on_s{server}\"\n[[project.schedule]]\nname = \"s\"\n{schedule}\n"
        )
        .expect("text");
    }
    text
}

fn counts(rig: &Rig) -> [usize; SERVERS + 1] {
    std::array::from_fn(|at| most_at_once(rig, &if at == 0 { String::from("dumps") } else { format!("dumps.{}", at - 1) }))
}

#[test]
fn f44_ten_thousand_due_at_once_are_all_claimed_within_the_limits_and_the_lag_is_told() {
    let rig = Rig::new();
    let bin = stand_ins(&rig);
    rig.configure_with("max_parallel = 6\nmax_parallel_per_server = 2\n", &projects(10_000, &bin, "cron = \"0 12 * * *\""));
    let clock = WallClock::new(&rig, "@2026-03-02 11:00:00");
    let mut serving = rig.serve_by(clock.command(&rig));
    serving.wait_for_log("ready", LONG);
    clock.set("@2026-03-02 12:00:01");
    until(&serving, "all are claimed", || slots(&rig).len() == 10_000);
    until(&serving, "some have run", || slots(&rig).iter().filter(|slot| slot.outcome == "ok").count() >= 20);
    clock.set("@2026-03-02 12:07:00");
    serving.wait_for_log("jobs wait for a place, the first for", LONG);
    let told = || {
        clock.command(&rig).arg("status").output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    until(&serving, "status tells the lag", || told().contains("it LAGS"));
    let recorded: Vec<i64> = slots(&rig).iter().map(|slot| slot.recorded).collect();
    assert_eq!(recorded.iter().min(), recorded.iter().max(), "one transaction claims them all");

    serving.signal("TERM");
    assert_eq!(serving.wait(LONG), 0);
    let rows = slots(&rig);
    let number = |outcome: &str| rows.iter().filter(|slot| slot.outcome == outcome).count();
    assert_eq!(number("ok"), rows.len(), "what has not been done is due again");
    assert!(number("ok") >= 20);
    assert!(serving.log().contains("waiting jobs are left to the next start"));
    let serving = rig.serve_by(clock.command(&rig));
    until(&serving, "the others are due again", || slots(&rig).len() == 10_000);
    drop(serving);
    let [all, servers @ ..] = counts(&rig);
    assert!((3..=6).contains(&all), "{all} at once");
    assert!(servers.iter().all(|here| (1..=2).contains(here)), "{servers:?} at once on each server");
}

#[test]
fn f44_all_that_are_due_at_once_run() {
    let rig = Rig::new();
    let bin = stand_ins(&rig);
    rig.configure_with("max_parallel = 5\nmax_parallel_per_server = 3\n", &projects(200, &bin, "every = \"1h\""));
    let serving = rig.serve();
    until(&serving, "all have run", || slots(&rig).iter().filter(|slot| slot.outcome == "ok").count() == 200);
    assert_eq!(rig.backups().len(), 200);
    let [all, servers @ ..] = counts(&rig);
    assert!((2..=5).contains(&all) && servers.iter().all(|here| *here <= 3), "{all} in all, {servers:?} on each");
}

#[test]
fn f44_more_jobs_than_threads_waiting_for_a_retry_hold_up_nobody() {
    let rig = Rig::new();
    let bin = rig.clients(&[
        ("psql", "#!/bin/sh\ncase \" $* \" in *' --version '*) echo 'psql (PostgreSQL) 15.18'; exit;; esac\nexit 2\n"),
        ("pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.18'\n"),
    ]);
    let text = projects(700, &bin.display().to_string(), "every = \"1h\"").replacen(
        "server_lock = false\n",
        "server_lock = false\n[defaults.limits]\nretries = [\"20s\"]\n",
        1,
    );
    rig.configure_with("max_parallel = 4\nmax_parallel_per_server = 4\n", &text);
    let serving = rig.serve();
    let failed = || slots(&rig).iter().filter(|slot| slot.outcome == "failed").count();
    crate::rig::wait_until(
        LONG * 2,
        || format!("{} of 700 have failed; the log's end:\n{}", failed(), tail(&serving.log())),
        || failed() == 700,
    );
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
