//! Row 17: the power can go at any moment, so the order of write, fsync, rename and fsync of the folder is what counts.

use std::collections::BTreeMap;

use crate::bench::Bench;

/// What happened to a file of the storage, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Write(String),
    Sync(String),
    Rename(String, String),
}

/// The calls of one line of strace -y, as far as they matter.
fn step(line: &str, folder: &str) -> Option<Step> {
    let descriptor = || Some(line.split_once('<')?.1.split_once('>')?.0.to_owned());
    let inside = |path: String| path.starts_with(folder).then_some(path);
    let call = line.split_whitespace().find(|word| word.contains('('))?.split('(').next()?;
    match call {
        "write" => inside(descriptor()?).map(Step::Write),
        "fsync" | "fdatasync" => inside(descriptor()?).map(Step::Sync),
        "renameat2" | "renameat" => {
            let inside_folder = inside(descriptor()?)?;
            let names: Vec<&str> = line.split('"').collect();
            Some(Step::Rename(format!("{inside_folder}/{}", names.get(1)?), format!("{inside_folder}/{}", names.get(3)?)))
        }
        _ => None,
    }
}

#[test]
fn f17_every_byte_is_synced_before_its_name_and_every_name_before_the_next() {
    let bench = Bench::new("");
    let trace = bench.rig.path().join("trace");
    let plain = bench.rig.command();
    let output = bench.strace(&trace, &plain);
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(&trace).unwrap();
    let folder = bench.rig.storage().join("shop").display().to_string();
    let catalog = bench.rig.state().join("catalog.db-wal").display().to_string();
    let steps: Vec<Step> = text.lines().filter_map(|line| step(line, &folder)).collect();
    let renames: Vec<usize> = steps.iter().enumerate().filter(|(_, step)| matches!(step, Step::Rename(..))).map(|(at, _)| at).collect();
    assert_eq!(renames.len(), 2, "the artifact and its manifest: {steps:#?}");
    let mut dirty: BTreeMap<&str, bool> = BTreeMap::new();
    let mut names = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Write(path) => drop(dirty.insert(path, true)),
            Step::Sync(path) => drop(dirty.insert(path, false)),
            Step::Rename(from, to) => {
                assert_eq!(dirty.get(from.as_str()), Some(&false), "{from} was not synced before it was renamed: {steps:#?}");
                let next = steps[at + 1..].iter().find(|step| !matches!(step, Step::Write(_)));
                assert_eq!(next, Some(&Step::Sync(folder.clone())), "the folder is synced after {to} before anything else: {steps:#?}");
                names.push(to.clone());
            }
        }
    }
    assert_eq!(names[1], format!("{}.json", names[0]), "artifact, then manifest: {names:?}");
    // The hash is on disk, in the catalog, before the artifact has its name: a crash in between can be told from a good artifact.
    let first_rename = text.lines().position(|line| line.contains("renameat2")).unwrap();
    let synced = text.lines().take(first_rename).any(|line| line.contains("sync(") && line.contains(&catalog));
    assert!(synced, "the catalog is synced before the rename");
}
