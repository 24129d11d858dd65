//! What a person sees on a terminal while a file is read through.

use std::process::{Command, Stdio};

use crate::scene::{Scene, clients};

/// What the command draws on a terminal of its own, with a `pg_restore` that takes its time.
fn drawn(scene: &Scene, words: &str) -> String {
    let slow = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) exec {0}/pg_restore \"$@\";; esac\n(head -c 200000; sleep 2; exec cat) | {0}/pg_restore \"$@\"\n",
        clients()
    );
    let pg_dump = scene.rig.clients(&[("pg_restore", &slow)]).join("pg_dump");
    let alone = scene.alone_command(&[]);
    let mut command = Command::new("script");
    let line = format!("stty cols 200; {} {words}", alone.get_program().display());
    command.args(["-qec", &line, "/dev/null"]).env_clear().current_dir(scene.work());
    command.envs(scene.rig.env.iter().filter(|(name, _)| name != "PGDUMPD_CONFIG").map(|(name, value)| (name, value)));
    let output = command.env("TERM", "xterm").env("PG_DUMP_PATH", pg_dump).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words}: {text}");
    text
}

/// Whether a step was drawn with its part of the whole.
fn shows(drawn: &str, step: &str) -> bool {
    drawn.split(step).skip(1).any(|rest| {
        let part: String = rest.chars().take_while(char::is_ascii_digit).collect();
        part.parse::<u8>().is_ok_and(|part| (1..100).contains(&part)) && rest.starts_with(&format!("{part} % · ")) && rest.contains("/s · ")
    })
}

#[test]
fn a_file_that_is_read_through_says_how_far_it_is() {
    let scene = Scene::new();
    let dump = Command::new(crate::cluster::bin().join("pg_dump"))
        .args(["-Fc", "-Z0", "-f"])
        .arg(scene.work().join("made.dump"))
        .arg(scene.cluster.url("shop"))
        .status();
    assert!(dump.unwrap().success());
    let url = scene.cluster.url("");
    for words in ["verify ./made.dump", &format!("restore ./made.dump --to again --url {url}"), "diff ./made.dump ./made.dump"] {
        let drawn = drawn(&scene, words);
        assert!(shows(&drawn, "reading made.dump "), "{words}: {drawn}");
    }
}
