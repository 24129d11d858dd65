//! A pgdumpd that is killed while it backs up what an in-place restore is about to overwrite.

use std::process::Stdio;

use crate::bench::{Bench, PATIENCE, kill};
use crate::rig::wait_until;

/// Kills a restore in the middle of its safety backup.
fn killed(bench: &Bench) {
    bench.hold();
    let mut command = bench.rig.command();
    command.args(["restore", "shop@latest", "--to", "shop", "--in-place"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    bench.wait_midway(String::new);
    wait_until(PATIENCE, || String::from("an unfinished file"), || !debris(bench).is_empty());
    kill("KILL", child.id());
    child.wait().unwrap();
    bench.let_go();
}

fn debris(bench: &Bench) -> Vec<String> {
    bench.rig.stored().into_iter().filter(|name| name.contains(".pgdumpd-tmp-")).collect()
}

/// What the first line of a project's standing says it does, in JSON and in words.
fn told(bench: &Bench) -> (usize, usize, String) {
    let standing = bench.rig.run(&["status", "--json"]).json();
    let count = |key: &str| standing["projects"][0][key].as_array().map_or(0, Vec::len);
    (count("running"), count("cut_off"), bench.rig.run(&["status"]).stdout)
}

#[test]
fn a_killed_safety_backup_is_no_dump_at_work_nor_a_failed_backup() {
    let bench = Bench::sized(50_000, "");
    let clients = bench.holding_clients();
    bench.configure("", "", &format!("pg_bin_dir = {clients:?}"));
    assert_eq!(bench.back_up().code, 0);
    killed(&bench);
    let (running, cut_off, said) = told(&bench);
    assert!((running, cut_off) == (0, 1) && !said.contains("dumping"), "{running} {cut_off} {said}");
    assert!(said.contains("the dump of shop that began") && said.contains("was cut off: the next backup, restore or start"), "{said}");
    assert_eq!(debris(&bench).len(), 1);
    // The next restore of the project clears up before it does anything else.
    let ended = bench.rig.run(&["restore", "shop@latest", "--to", "shop", "--in-place"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let (running, cut_off, said) = told(&bench);
    assert!((running, cut_off) == (0, 0) && !said.contains("cut off"), "{said}");
    bench.assert_sound("a restore after it");
    // So does the next backup, and nobody is told of a backup that failed: none of the project's did.
    killed(&bench);
    assert_eq!(bench.back_up().code, 0);
    bench.mend();
    assert_eq!(bench.subjects(), Vec::<String>::new());
    assert_eq!(bench.catalog("select status from runs order by started_at"), ["completed", "failed", "completed", "failed", "completed"]);
    bench.assert_sound("a backup after it");
}
