//! What a person sees on a terminal while it restores.

use std::process::Stdio;

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
    let parallel = drawn(&scene, "restore shop@latest --to parallel --jobs 2");
    assert!(parallel.contains("restoring shop/parallel") && parallel.contains("2 of 2 tables ("), "{parallel}");
    // Its chatter is nobody's last words.
    let lies = "#!/bin/sh\n/usr/lib/postgresql/15/bin/pg_restore \"$@\"\necho 'pg_restore: error: no luck today' >&2\nexit 1\n";
    scene.configure(&format!("pg_bin_dir = {:?}", scene.rig.clients(&[("pg_restore", lies)])));
    let ended = scene.restore("third", &["--jobs", "2"]);
    assert!(ended.code == 1 && ended.stderr.contains("no luck today"), "{ended:?}");
    assert!(!ended.stderr.contains("processing data") && !ended.stderr.contains("creating TABLE"), "{ended:?}");
}
