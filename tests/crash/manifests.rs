//! Row 33: manifests that were altered, or written by somebody who means harm. They stay data.

use serde_json::{Value, json};

use crate::bench::{Bench, word};

/// A backup's manifest with one thing changed, under a name that fits it as well as can be.
fn hostile(good: &Value) -> Vec<(&'static str, Value)> {
    let with = |key: &str, value: Value| {
        let mut manifest = good.clone();
        manifest[key] = value;
        manifest
    };
    vec![
        ("a path up", with("backup_file", json!("../../victim"))),
        ("an absolute path", with("backup_file", json!("/etc/passwd"))),
        ("another project", with("project", json!("../shop"))),
        ("a huge size", with("backup_size_bytes", json!(u64::MAX))),
        ("a negative size", with("backup_size_bytes", json!(-1))),
        ("a fraction", with("backup_size_bytes", json!(1e300))),
        ("a wrong type", with("tables", json!("; drop table"))),
        ("an id with a path", with("backup_id", json!("../../victim"))),
        ("a checksum that is none", with("checksum_sha256", json!("x"))),
        ("a later format", with("format", json!(4_000_000_000_u32))),
        ("dependencies elsewhere", with("dependencies", json!(["../../victim"]))),
        ("nothing", json!(null)),
        ("a list", json!([[[]]])),
        ("a time that isn't", with("backup_timestamp", json!("yesterday"))),
    ]
}

fn everything(bench: &Bench) -> Vec<(String, Vec<u8>)> {
    let root = bench.rig.storage();
    bench.rig.stored().into_iter().map(|name| (name.clone(), std::fs::read(root.join(&name)).unwrap_or_default())).collect()
}

#[test]
fn f33_hostile_manifests_stay_data() {
    let bench = Bench::new("");
    assert_eq!(bench.back_up().code, 0);
    let real = bench.rig.backups()[0].clone();
    let folder = bench.rig.storage().join("shop");
    let good: Value = serde_json::from_slice(&std::fs::read(folder.join(format!("{}.json", word(&real, "file")))).unwrap()).unwrap();
    let victim = bench.rig.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    for (number, (_, manifest)) in hostile(&good).into_iter().enumerate() {
        let file = format!("shop_20200101T0000{number:02}Z_full_aaaaaaaa{number:02}.dump.zst");
        std::fs::write(folder.join(&file), "not an archive").unwrap();
        std::fs::write(folder.join(format!("{file}.json")), manifest.to_string()).unwrap();
    }
    // Deeply nested, not JSON at all, cut in the middle, and a link to a file that isn't ours to read.
    let text = serde_json::to_vec(&good).unwrap();
    std::fs::write(folder.join("deep.json"), vec![b'['; 200_000]).unwrap();
    std::fs::write(folder.join("bytes.dump.json"), [0xff, 0xfe, 0x00]).unwrap();
    std::fs::write(folder.join("cut.dump.json"), &text[..text.len() / 2]).unwrap();
    std::os::unix::fs::symlink(&victim, folder.join("link.dump.json")).unwrap();
    let before = everything(&bench);

    // The index is made anew from all of this.
    std::fs::remove_file(bench.rig.state().join("catalog.db")).unwrap();
    let listed = bench.rig.run(&["list", "--json"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    assert_eq!(listed.json().as_array().unwrap().len(), 1, "{listed:?}");
    assert!(listed.stderr.contains("can't be believed"), "{listed:?}");
    assert_eq!(bench.rig.run(&["show", word(&real, "id")]).code, 0);
    for name in ["../../victim", "aaaaaaaa00", "shop_20200101T000000Z_full_aaaaaaaa00.dump.zst"] {
        let shown = bench.rig.run(&["show", name]);
        assert_eq!(shown.code, 1, "{name}: {shown:?}");
    }
    let pruned = bench.rig.run(&["prune", "shop"]);
    assert_eq!(pruned.code, 0, "{pruned:?}");
    assert_eq!(everything(&bench), before, "what can't be believed is told of and left alone");
    // A job goes on beside them, and prunes only what is its own.
    assert_eq!(bench.back_up().code, 0);
    bench.mend();
    assert_eq!(bench.rig.backups().len(), 1);
    let foreign = |files: Vec<(String, Vec<u8>)>| {
        files.into_iter().filter(|(name, _)| !name.contains("_2026") && !name.contains(word(&real, "id"))).collect::<Vec<_>>()
    };
    let ours: Vec<String> = bench.rig.backups().iter().map(|backup| word(backup, "file").to_owned()).collect();
    let after: Vec<_> = everything(&bench).into_iter().filter(|(name, _)| !ours.iter().any(|file| name.contains(file.as_str()))).collect();
    assert_eq!(foreign(after), foreign(before));
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
}

/// A manifest that was altered after it was indexed is met by `show`, and by nothing else.
#[test]
fn f33_an_altered_manifest_is_refused_by_show() {
    let bench = Bench::new("");
    assert_eq!(bench.back_up().code, 0);
    let backup = bench.rig.backups()[0].clone();
    let path = bench.rig.storage().join("shop").join(format!("{}.json", word(&backup, "file")));
    let text = std::fs::read_to_string(&path).unwrap().replace(word(&backup, "file"), "../../../etc/passwd");
    std::fs::write(&path, text).unwrap();
    let shown = bench.rig.run(&["show", word(&backup, "id")]);
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(shown.stderr.contains("can't be believed"), "{shown:?}");
}
