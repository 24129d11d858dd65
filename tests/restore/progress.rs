//! What a person sees on a terminal while it restores.

use std::process::Stdio;

use crate::cluster::bin;
use crate::rig::wait_until;
use crate::scene::{LONG, SHOP, Scene};

/// The command on a terminal of its own.
fn drawing(scene: &Scene, words: &str) -> std::process::Command {
    let binary = scene.rig.command();
    let mut command = std::process::Command::new("script");
    let line = format!("stty cols 200; {} {words}", binary.get_program().display());
    command.args(["-qec", &line, "/dev/null"]).env_clear().envs(scene.rig.env.iter().map(|(key, value)| (key, value)));
    command.env("TERM", "xterm").stdin(Stdio::null());
    command
}

/// What it draws there.
fn drawn(scene: &Scene, words: &str) -> String {
    let output = drawing(scene, words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn a_terminal_shows_the_table_and_what_is_done() {
    let scene = Scene::new(SHOP);
    let real = bin().join("pg_restore").display().to_string();
    let slow = format!("#!/bin/sh\n{real} \"$@\"\ncode=$?\nsleep 1\nexit $code\n");
    scene.configure(&format!("pg_bin_dir = {:?}", scene.rig.clients(&[("pg_restore", &slow)])));
    let piped = drawn(&scene, "restore shop@latest --to piped");
    assert!(piped.contains("making the indexes and constraints of shop/piped"), "{piped}");
    // Both tables are begun before either is finished, and it takes its time at each.
    let relay = "{ n=0; held=; while IFS= read -r line; do case $line in \
        *'processing data for table'*) n=$((n+1)); printf '%s\\n' \"$line\"; [ $n = 2 ] && sleep 2 && printf '%s' \"$held\";; \
        *finished*'TABLE DATA'*) if [ $n -lt 2 ]; then held=\"$held$line\"$'\\n'; else printf '%s\\n' \"$line\"; sleep 2; fi;; \
        *) printf '%s\\n' \"$line\";; esac; done; } >&2";
    let slow = format!("#!/bin/bash\n{real} \"$@\" 2>&1 | {relay}\nexit ${{PIPESTATUS[0]}}\n");
    scene.configure(&format!("pg_bin_dir = {:?}", scene.rig.clients(&[("pg_restore", &slow)])));
    let parallel = drawn(&scene, "restore shop@latest --to parallel --jobs 2");
    assert!(parallel.contains("restoring shop/parallel") && parallel.contains(" of 2 tables ("), "{parallel}");
    assert!(parallel.contains("making the indexes and constraints of shop/parallel"), "begun is not done: {parallel}");
    assert!(!parallel.contains("· 0 s left"), "{parallel}");
    assert!(parallel.contains("restoring shop/parallel · 2 of 2 tables"), "nothing is done yet when both are begun: {parallel}");
    // Its chatter is nobody's last words.
    let lies = format!("#!/bin/sh\n{real} \"$@\"\necho 'pg_restore: error: no luck today' >&2\nexit 1\n");
    scene.configure(&format!("pg_bin_dir = {:?}", scene.rig.clients(&[("pg_restore", &lies)])));
    let ended = scene.restore("third", &["--jobs", "2"]);
    assert!(ended.code == 1 && ended.stderr.contains("no luck today"), "{ended:?}");
    assert!(!ended.stderr.contains("processing data") && !ended.stderr.contains("creating TABLE"), "{ended:?}");
}

/// In the middle of its rows it waits for a file, where it is restored.
fn waiting(go: &std::path::Path) -> String {
    format!(
        "create function at_leisure(i int) returns bool language plpgsql as $$ begin
           if i = 100000 and current_database() like 'pgdumpd_restore_%' then
             while pg_stat_file('{}', true) is null loop perform pg_sleep(0.05); end loop;
           end if; return true; end $$;
         create table big (i int, t text, check (at_leisure(i)));
         insert into big select g, repeat('x', 100) from generate_series(1, 200000) g;
         create table small (i int); insert into small select g from generate_series(1, 1000) g",
        go.display()
    )
}

/// The percentages that were drawn of the rows, in their order.
fn percentages(drawn: &str) -> Vec<u64> {
    let of_rows = drawn.split("restoring shop/").skip(1);
    of_rows.filter_map(|rest| rest.split_once(" %")?.0.rsplit(' ').next()?.parse().ok()).collect()
}

#[test]
fn a_table_counts_while_its_rows_come() {
    let scene = Scene::bare(crate::cluster::Setup::default().start(), "select");
    let go = scene.rig.path().join("go");
    scene.cluster.psql_in("shop", &waiting(&go));
    for (shape, to, more) in [("", "several", " --jobs 2"), ("format = \"tar\"", "one", "")] {
        scene.configure(shape);
        scene.backup();
        let shown = scene.rig.path().join(to);
        let mut child = drawing(&scene, &format!("restore shop@latest --to {to}{more}"))
            .stdout(std::fs::File::create(&shown).unwrap())
            .spawn()
            .unwrap();
        let drawn = || String::from_utf8_lossy(&std::fs::read(&shown).unwrap()).into_owned();
        let half = || percentages(&drawn()).iter().any(|percent| (40..60).contains(percent));
        wait_until(LONG, || format!("half of the table: {}", drawn()), half);
        wait_until(LONG, || format!("an end of it: {}", drawn()), || drawn().contains(" left"));
        std::fs::write(&go, "").unwrap();
        assert!(child.wait().unwrap().success(), "{}", drawn());
        std::fs::remove_file(&go).unwrap();
        let percentages = percentages(&drawn());
        assert!(percentages.is_sorted() && percentages.iter().all(|percent| *percent <= 100), "{percentages:?}");
        assert_eq!(scene.cluster.psql_in(to, "select count(*) from big"), "200000");
    }
}

#[test]
fn a_script_shows_its_tables_as_they_pass() {
    let scene = Scene::new(
        "create table a (t text); insert into a select 'x' from generate_series(1, 10);
         create schema z; create table z.b (t text); insert into z.b select repeat('y', 1000) from generate_series(1, 5000)",
    );
    // It takes the first table and a part of the second, and then its time.
    let slow = "case \"$*\" in *ON_ERROR_STOP*) (head -c 500000; sleep 2; exec cat) | PSQL \"$@\";; *) exec PSQL \"$@\";; esac";
    let slow = format!("#!/bin/sh\n{}\n", slow.replace("PSQL", &bin().join("psql").display().to_string()));
    scene.configure("format = \"plain\"");
    scene.backup();
    scene.configure(&format!("format = \"plain\"\npg_bin_dir = {:?}", scene.rig.clients(&[("psql", &slow)])));
    let drawn = drawn(&scene, "restore shop@latest --to piped");
    assert!(drawn.contains(" · 2 of 2 tables (z.b) · ") && drawn.contains(" left"), "{drawn}");
}

#[test]
fn a_merge_of_a_partitioned_table_knows_how_much_comes() {
    let scene = Scene::new(
        "create table days (day int primary key, n text) partition by range (day);
         create table days_1 partition of days for values from (0) to (100);
         create table days_2 partition of days for values from (100) to (200);
         insert into days select g, repeat('n', 100) from generate_series(0, 199) g",
    );
    let lines = "while IFS= read -r line; do [ \"$line\" = '\\.' ] && sleep 2; printf '%s\\n' \"$line\"; done";
    let slow = format!("#!/bin/bash\n({lines}) | {}/psql \"$@\"\n", bin().display());
    scene.configure(&format!("pg_bin_dir = {:?}", scene.rig.clients(&[("psql", &slow)])));
    let drawn = drawn(&scene, "restore shop@latest --to shop --table days --on-conflict skip");
    assert!(drawn.contains("reading rows for shop 100 % · 1 of 1 table (days) · "), "{drawn}");
}
