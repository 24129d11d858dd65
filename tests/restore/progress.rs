//! What a person sees on a terminal while it restores.

use std::process::Stdio;

use crate::cluster::bin;
use crate::scene::{SHOP, Scene};

/// What the command draws on a terminal of its own.
fn drawn(scene: &Scene, words: &str) -> String {
    let binary = scene.rig.command();
    let mut command = std::process::Command::new("script");
    let line = format!("stty cols 200; {} {words}", binary.get_program().display());
    command.args(["-qec", &line, "/dev/null"]).env_clear().envs(scene.rig.env.iter().map(|(key, value)| (key, value)));
    let output = command.env("TERM", "xterm").stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn a_terminal_shows_the_table_and_what_is_done() {
    let scene = Scene::new(SHOP);
    let slow = "#!/bin/sh\n/usr/lib/postgresql/15/bin/pg_restore \"$@\"\ncode=$?\nsleep 1\nexit $code\n";
    scene.configure(&format!("pg_bin_dir = {:?}", scene.rig.clients(&[("pg_restore", slow)])));
    let piped = drawn(&scene, "restore shop@latest --to piped");
    assert!(piped.contains("making the indexes and constraints of shop/piped"), "{piped}");
    // Both tables are begun before either is finished, and it takes its time at each.
    let relay = "{ n=0; held=; while IFS= read -r line; do case $line in \
        *'processing data for table'*) n=$((n+1)); printf '%s\\n' \"$line\"; [ $n = 2 ] && sleep 2 && printf '%s' \"$held\";; \
        *finished*'TABLE DATA'*) if [ $n -lt 2 ]; then held=\"$held$line\"$'\\n'; else printf '%s\\n' \"$line\"; sleep 2; fi;; \
        *) printf '%s\\n' \"$line\";; esac; done; } >&2";
    let slow = format!("#!/bin/bash\n{}/pg_restore \"$@\" 2>&1 | {relay}\nexit ${{PIPESTATUS[0]}}\n", bin().display());
    scene.configure(&format!("pg_bin_dir = {:?}", scene.rig.clients(&[("pg_restore", &slow)])));
    let parallel = drawn(&scene, "restore shop@latest --to parallel --jobs 2");
    assert!(parallel.contains("restoring shop/parallel") && parallel.contains(" of 2 tables ("), "{parallel}");
    assert!(parallel.contains("making the indexes and constraints of shop/parallel"), "begun is not done: {parallel}");
    assert!(!parallel.contains("· 0 s left"), "{parallel}");
    assert!(parallel.contains("restoring shop/parallel · 2 of 2 tables"), "nothing is done yet when both are begun: {parallel}");
    // Its chatter is nobody's last words.
    let lies = "#!/bin/sh\n/usr/lib/postgresql/15/bin/pg_restore \"$@\"\necho 'pg_restore: error: no luck today' >&2\nexit 1\n";
    scene.configure(&format!("pg_bin_dir = {:?}", scene.rig.clients(&[("pg_restore", lies)])));
    let ended = scene.restore("third", &["--jobs", "2"]);
    assert!(ended.code == 1 && ended.stderr.contains("no luck today"), "{ended:?}");
    assert!(!ended.stderr.contains("processing data") && !ended.stderr.contains("creating TABLE"), "{ended:?}");
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
