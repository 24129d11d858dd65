//! Manifests of both kinds: ours, and hostile ones.

use chrono::DateTime;
use serde_json::{Value, json};

use super::*;
use crate::model::backup::{Frame, ProofLevel, RunId, Structure, TableEntry, Trigger};
use crate::model::dump::{Compression, Content, Format, Selection};
use crate::storage::Memory;

const FILE: &str = "shop_20261121T011500Z_full_k3f9q2m7xa.dump.zst";

/// A good one.
pub(crate) fn manifest() -> Manifest {
    let start = DateTime::from_timestamp(1_795_223_700, 0).unwrap();
    Manifest {
        format: MANIFEST_FORMAT,
        backup_id: RunId("k3f9q2m7xa".into()),
        project: "shop".into(),
        database_name: "shop".into(),
        environment: None,
        content: Content::Full,
        selection: Selection::full(),
        trigger: Trigger::Scheduled,
        schedule: Some("nightly".into()),
        slot: Some(start),
        backup_timestamp: start,
        finished_at: start,
        duration_ms: 1200,
        backup_file: FILE.into(),
        backup_size_bytes: 7,
        uncompressed_size_bytes: 70,
        checksum_sha256: "ab".repeat(32),
        compressed: true,
        compression: Compression::Zstd(3),
        dump_format: Format::Custom,
        structure: Structure::Whole,
        tables: vec![TableEntry {
            schema: "public".into(),
            name: "orders".into(),
            rows: Some(5),
            bytes: 50,
            crc32: None,
            dump_id: Some(200),
            offset: Some(4096),
        }],
        table_counts: [("public.orders".to_owned(), 5)].into(),
        total_rows: Some(5),
        large_objects: 0,
        frames: vec![Frame { stored: 0, archive: 0 }, Frame { stored: 5, archive: 40 }],
        postgresql_version: "15.18".into(),
        postgresql_version_num: 150_018,
        pg_dump_version: "pg_dump (PostgreSQL) 15.18".into(),
        server_host: "db.internal".into(),
        server_port: 5432,
        system_identifier: None,
        from_standby: false,
        database_size_bytes: Some(1 << 20),
        database_properties: None,
        schema_version: None,
        dependencies: Vec::new(),
        options: Vec::new(),
        restore_command: format!("zstd -dc {FILE} | pg_restore -d shop"),
        made_on: "db1".into(),
        pgdumpd_version: "0.1.0".into(),
        warnings: Vec::new(),
        suspicious: None,
    }
}

fn storage() -> Memory {
    let storage = Memory::new("main");
    storage.initialize().unwrap();
    storage
}

/// Stores an artifact of seven bytes and the manifest.
fn stored() -> (Memory, Manifest) {
    let (storage, manifest) = (storage(), manifest());
    storage.put(&Key { project: "shop".into(), file: FILE.into() }, b"archive").unwrap();
    commit(&storage, &manifest).unwrap();
    (storage, manifest)
}

fn proof(sha256: &str) -> Proof {
    Proof {
        format: MANIFEST_FORMAT,
        backup_id: RunId("k3f9q2m7xa".into()),
        checksum_sha256: sha256.into(),
        level: ProofLevel::Restored,
        proven_at: manifest().finished_at,
        damaged: None,
        looks: Vec::new(),
    }
}

#[test]
fn a_backup_is_found_with_its_proof_and_pin() {
    let (storage, manifest) = stored();
    assert_eq!(read(&storage, &key("shop", FILE)).unwrap(), manifest);
    assert_eq!(commit(&storage, &manifest).unwrap_err().cause, Cause::Storage, "a manifest was replaced");
    write_proof(&storage, "shop", FILE, &proof(&manifest.checksum_sha256)).unwrap();
    pin(&storage, "shop", FILE).unwrap();
    let found = scan(&storage, "shop").unwrap();
    assert!(found.problems.is_empty() && found.unknown.is_empty(), "{found:?}");
    let row = found.backups[0].row("main");
    assert_eq!((row.proof, row.pinned, row.damaged), (ProofLevel::Restored, true, None));
    unpin(&storage, "shop", FILE).unwrap();
    write_proof(&storage, "shop", FILE, &proof(&"cd".repeat(32))).unwrap();
    let row = scan(&storage, "shop").unwrap().backups[0].row("main");
    assert_eq!((row.proof, row.pinned), (ProofLevel::Whole, false), "a proof of other bytes proves nothing");
    delete(&storage, "shop", FILE).unwrap();
    assert!(storage.list("shop").unwrap().is_empty());
}

#[test]
fn f32_a_missing_or_cut_artifact_is_a_damaged_backup() {
    let (storage, _) = stored();
    let artifact = Key { project: "shop".into(), file: FILE.into() };
    storage.put(&artifact, b"arch").unwrap();
    let cut = scan(&storage, "shop").unwrap();
    assert_eq!((cut.problems.len(), cut.problems[0].cause), (1, Cause::Damaged));
    assert!(cut.backups[0].row("main").damaged.unwrap().contains("has 4 bytes instead of 7"));
    storage.delete(&artifact).unwrap();
    let missing = scan(&storage, "shop").unwrap();
    assert!(missing.backups[0].row("main").damaged.unwrap().contains("is missing"));
}

#[test]
fn strangers_files_are_told_and_left() {
    let (storage, _) = stored();
    for file in ["notes.txt", "other.dump", "x.pin", "y.proof.json"] {
        storage.put(&Key { project: "shop".into(), file: file.into() }, b"theirs").unwrap();
    }
    let found = scan(&storage, "shop").unwrap();
    assert_eq!(found.unknown, ["notes.txt", "other.dump", "x.pin", "y.proof.json"]);
    assert_eq!((found.backups.len(), found.problems.len()), (1, 0));
}

/// Fault 33: each alteration is refused as data, and told with its file.
#[test]
fn f33_a_hostile_manifest_is_refused() {
    let alter = |alteration: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(manifest()).unwrap();
        alteration(&mut value);
        serde_json::to_vec(&value).unwrap()
    };
    let set = |field: &'static str, to: Value| alter(&move |value| value[field] = to.clone());
    let hostile = [
        ("path upwards", set("backup_file", json!("../../etc/passwd"))),
        ("absolute path", set("backup_file", json!("/etc/passwd"))),
        ("another artifact", set("backup_file", json!("other.dump.zst"))),
        ("lock file", set("backup_file", json!(".pgdumpd-lock"))),
        ("another project", set("project", json!("blog"))),
        ("strange id", set("backup_id", json!("../x"))),
        ("no checksum", set("checksum_sha256", json!("zz"))),
        ("upper-case checksum", set("checksum_sha256", json!("AB".repeat(32)))),
        ("huge number", alter(&|value| value["backup_size_bytes"] = json!(u64::MAX))),
        ("negative number", set("backup_size_bytes", json!(-1))),
        ("fraction", set("duration_ms", json!(1.5))),
        ("wrong type", set("tables", json!("none"))),
        ("missing field", alter(&|value| drop(value.as_object_mut().unwrap().remove("type")))),
        ("unknown word", set("type", json!("everything"))),
        ("frames out of order", set("frames", json!([{"stored": 5, "archive": 5}, {"stored": 1, "archive": 9}]))),
        ("frame behind the end", set("frames", json!([{"stored": 8, "archive": 8}]))),
        ("dependency upwards", set("dependencies", json!(["../x.dump"]))),
        ("later format", set("format", json!(99))),
        ("format 0", set("format", json!(0))),
        ("no JSON", b"\x7fELF".to_vec()),
        ("nothing", Vec::new()),
        ("cut", serde_json::to_vec(&manifest()).unwrap()[..100].to_vec()),
        ("deep", "[".repeat(100_000).into_bytes()),
    ];
    for (what, text) in hostile {
        let (storage, _) = stored();
        storage.put(&key("shop", FILE), &text).unwrap();
        let failure = read(&storage, &key("shop", FILE)).expect_err(what);
        assert_eq!(failure.cause, Cause::BadManifest, "{what}: {failure}");
        assert!(failure.message.contains(FILE) && failure.hint.is_some(), "{what}: {failure}");
        let found = scan(&storage, "shop").unwrap();
        assert_eq!((found.backups.len(), found.problems.len(), found.unknown.len()), (0, 1, 0), "{what}");
    }
}

#[test]
fn f33_a_huge_manifest_is_not_read_to_its_end() {
    let (storage, _) = stored();
    let mut text = vec![b' '; LARGEST as usize];
    text.extend(serde_json::to_vec(&manifest()).unwrap());
    storage.put(&key("shop", FILE), &text).unwrap();
    let failure = read(&storage, &key("shop", FILE)).unwrap_err();
    assert_eq!(failure.cause, Cause::BadManifest);
    assert!(failure.message.contains("more than 67108864 bytes"), "{failure}");
}

#[test]
fn a_hostile_proof_is_a_problem_not_a_proof() {
    let (storage, _) = stored();
    storage.put(&Key { project: "shop".into(), file: names::proof_file(FILE) }, b"{\"level\": \"perfect\"}").unwrap();
    let found = scan(&storage, "shop").unwrap();
    assert_eq!((found.backups.len(), found.backups[0].proof.clone(), found.problems[0].cause), (1, None, Cause::BadManifest));
}
