//! One table out of many: only its own frames are read, with and without its place in the manifest.
#![expect(clippy::disallowed_methods, reason = "strace is started around the binary under test")]

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::stage::Stage;

const SCRIPT: &str = "
create table a_big as select g, md5(g::text) || md5((g + 1)::text) t from generate_series(1, 80000) g;
create table m_small as select g id, 'row ' || g as name from generate_series(1, 1000) g;
create table z_big as select g, md5(g::text) || md5((g + 2)::text) t from generate_series(1, 80000) g;
create table zz_last as select g id from generate_series(1, 10) g;
select lo_from_bytea(0, decode(repeat('0a', 5000), 'hex')), lo_from_bytea(0, '');
";

fn offset(entry: &Value, key: &str) -> usize {
    usize::try_from(entry[key].as_u64().unwrap()).unwrap()
}

#[test]
fn a_small_table_is_read_from_its_own_frame_alone() {
    let stage = Stage::new(SCRIPT);
    for project in ["zstd", "gzip", "bzip2", "none"] {
        stage.backup(project);
        let latest = format!("{project}@latest");
        let expected = stage.server("copy m_small to stdout (format csv, header)");
        let (manifest, artifact) = (stage.manifest(project), stage.artifact(project));
        let frames = manifest["frames"].as_array().unwrap();
        let table = manifest["tables"].as_array().unwrap().iter().find(|table| table["name"] == "m_small").unwrap();
        let own = frames.iter().rposition(|frame| frame["archive"].as_u64() <= table["offset"].as_u64()).unwrap();
        assert!(own > 0 && frames.len() >= 3, "{project}: {frames:?}");
        // Whatever lies elsewhere may be anything: the table of contents is in the first bytes of the first frame.
        let mut bytes = std::fs::read(&artifact).unwrap();
        let (begin, end) = (offset(&frames[own], "stored"), frames.get(own + 1).map_or(bytes.len(), |next| offset(next, "stored")));
        bytes[1 << 20..begin].fill(0);
        let behind = if project == "none" { bytes.len() } else { end + (1 << 20) };
        if behind < bytes.len() {
            bytes[behind..].fill(0);
        }
        std::fs::write(&artifact, &bytes).unwrap();
        assert!(stage.cat(&latest, "m_small", "csv") == expected, "{project}");
        if project == "zstd" {
            let read = bytes_read(&stage, &latest, &artifact.display().to_string());
            assert!(read < bytes.len() / 4, "{read} bytes were read of {}", bytes.len());
        }
        assert!(stage.run(1, &["cat", &latest, "a_big"]).stderr.contains(artifact.file_name().unwrap().to_str().unwrap()));
    }
}

/// What the system says was read of a file.
fn bytes_read(stage: &Stage, backup: &str, artifact: &str) -> usize {
    let log = stage.rig.path().join("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=read,pread64,readv", "-P", artifact, "-o"]).arg(&log);
    command.arg(env!("CARGO_BIN_EXE_pgdumpd")).args(["cat", backup, "m_small"]).env_clear();
    command.envs(stage.rig.env.iter().map(|(key, value)| (key, value))).stdout(Stdio::null());
    assert!(command.status().expect("apt-get install strace").success());
    let text = std::fs::read_to_string(log).unwrap();
    let counts = text.lines().filter_map(|line| line.rsplit_once(" = ")?.1.parse::<usize>().ok());
    let read = counts.sum();
    assert!(read > 0, "{text}");
    read
}

#[test]
fn a_backup_without_places_is_walked_through() {
    let stage = Stage::new(SCRIPT);
    for project in ["zstd", "native"] {
        stage.backup(project);
        let latest = format!("{project}@latest");
        let strip = |manifest: &mut Value| {
            for table in manifest["tables"].as_array_mut().unwrap() {
                table.as_object_mut().unwrap().remove("offset").unwrap();
            }
        };
        stage.forge(project, strip);
        for table in ["m_small", "zz_last", "a_big"] {
            assert!(stage.cat(&latest, table, "copy") == stage.server(&format!("copy {table} to stdout")), "{project}: {table}");
        }
    }
}
