//! Artifacts that are cut, altered or missing, and manifests that lie: one clear sentence, exit code 1, no row that isn't so.

use std::fs;

use serde_json::{Value, json};

use crate::stage::{Stage, WAYS};

const SCRIPT: &str = "
create table a as select g id, md5(g::text) t from generate_series(1, 100000) g;
create table b as select g id, md5(g::text) t from generate_series(1, 1000) g;
";

/// Says what `cat` says, which must be a failure that names the file and what to do.
fn says(stage: &Stage, project: &str, table: &str) -> String {
    let ended = stage.run(1, &["cat", &format!("{project}@latest"), table]);
    let file = stage.artifact(project);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines.len() >= 2 && lines[0].contains(file.file_name().unwrap().to_str().unwrap()), "{ended:?}");
    ended.stderr
}

#[test]
fn a_cut_altered_or_missing_artifact_is_told() {
    let stage = Stage::new(SCRIPT);
    for project in ["zstd", "gzip", "native", "plain", "tar"] {
        stage.backup(project);
        let artifact = stage.artifact(project);
        let whole = fs::read(&artifact).unwrap();
        fs::write(&artifact, &whole[..whole.len() / 2]).unwrap();
        let told = says(&stage, project, "a");
        assert!(told.contains(&format!("was cut: {} of {} bytes are there", whole.len() / 2, whole.len())), "{told}");
        fs::remove_file(&artifact).unwrap();
        assert!(says(&stage, project, "a").contains("is missing"));
        let mut altered = whole.clone();
        altered[whole.len() / 2..whole.len() / 2 + 64].fill(0x55);
        fs::write(&artifact, &altered).unwrap();
        let told = says(&stage, project, "a");
        assert!(
            told.contains("damaged") || told.contains("broken") || told.contains("can't be unpacked") || told.contains("values for"),
            "{project}: {told}"
        );
        // Cut so that length and manifest agree: the archive itself tells.
        fs::write(&artifact, &whole[..whole.len() - 100]).unwrap();
        stage.forge(project, |manifest| manifest["backup_size_bytes"] = json!(whole.len() - 100));
        if project != "tar" && project != "plain" {
            says(&stage, project, "b");
        }
        fs::write(&artifact, b"").unwrap();
        stage.forge(project, |manifest| {
            manifest["backup_size_bytes"] = json!(0);
            manifest["frames"] = json!([]);
        });
        says(&stage, project, "a");
    }
}

/// A disk that was full when the file was copied leaves its beginning: what lies there is all that there is.
#[test]
fn what_lies_before_a_cut_is_read_and_the_rest_is_told() {
    let stage = Stage::new(
        "create table a_first as select g id from generate_series(1, 1000) g;
         create table b_large as select g id, repeat(md5(g::text), 10) t from generate_series(1, 20000) g;
         create table c_last as select g id from generate_series(1, 1000) g;",
    );
    stage.backup("zstd");
    let (artifact, expected) = (stage.artifact("zstd"), stage.server("copy a_first to stdout"));
    let whole = fs::read(&artifact).unwrap();
    fs::write(&artifact, &whole[..whole.len() / 2]).unwrap();
    stage.run(1, &["verify", "zstd"]);
    let id = stage.rig.backups()[0]["id"].as_str().unwrap().to_owned();
    let told = stage.run(0, &["cat", &id, "a_first", "--format", "copy"]);
    assert_eq!(told.stdout.as_bytes(), expected);
    assert!(told.stderr.contains("counts as damaged") && told.stderr.contains(&format!("of {} bytes are there", whole.len())), "{told:?}");
    assert!(stage.run(0, &["show", &id, "--ddl", "c_last"]).stdout.contains("CREATE TABLE public.c_last"));
    for lost in ["b_large", "c_last"] {
        let told = stage.run(1, &["cat", &id, lost]).stderr;
        assert!(told.contains("is damaged") || told.contains("lies beyond what is left"), "{told}");
    }
    assert!(stage.run(0, &["show", &id]).stdout.contains("22000 rows"), "what was written stands in the manifest");
    assert!(stage.run(1, &["restore", &id, "--to", "elsewhere"]).stderr.contains("counts as damaged"), "nothing is restored from it");
}

#[test]
fn a_dump_without_its_manifest_is_read_by_the_path_that_is_told() {
    let stage = Stage::new("create table t as select 7 as id");
    stage.backup("zstd");
    let artifact = stage.artifact("zstd");
    let (path, id) = (artifact.display().to_string(), stage.rig.backups()[0]["id"].as_str().unwrap().to_owned());
    let manifest = format!("{path}.json");
    for text in [None, Some("{"), Some("{}")] {
        match text {
            None => fs::remove_file(&manifest).unwrap(),
            Some(text) => fs::write(&manifest, text).unwrap(),
        }
        for words in [vec!["cat", &id, "t"], vec!["show", &id], vec!["diff", &id, &id]] {
            let told = stage.run(1, &words).stderr;
            assert!(told.contains(&format!("can be read by its path: `pgdumpd show {path}`, `pgdumpd cat {path} TABLE`")), "{told}");
        }
        assert_eq!(stage.run(0, &["cat", &path, "t"]).stdout, "id\n7\n");
    }
}

/// The number of rows is right, and so is their form: only a checksum tells.
#[test]
fn a_flipped_bit_gives_no_row_that_is_not_so() {
    let stage = Stage::new(SCRIPT);
    for (project, _) in WAYS {
        stage.backup(project);
        let artifact = stage.artifact(project);
        let (whole, honest) = (fs::read(&artifact).unwrap(), stage.cat(&format!("{project}@latest"), "a", "copy"));
        let mut noticed = 0;
        for tenth in [2, 4, 6, 8] {
            let mut altered = whole.clone();
            altered[whole.len() / 10 * tenth] ^= 1;
            fs::write(&artifact, &altered).unwrap();
            let ended = stage.rig.run(&["cat", &format!("{project}@latest"), "a", "--format", "copy"]);
            assert!(ended.code == 1 || ended.code == 0 && ended.stdout.as_bytes() == honest, "{project}, {tenth}: {}", ended.stderr);
            noticed += i32::from(ended.code == 1);
        }
        assert!(noticed >= 3, "{project}: most of the file are the rows of a");
    }
}

#[test]
fn a_manifest_that_lies_about_places_is_found_out() {
    let stage = Stage::new(SCRIPT);
    stage.backup("zstd");
    let honest = stage.manifest("zstd");
    let table =
        |manifest: &Value, name: &str| manifest["tables"].as_array().unwrap().iter().position(|table| table["name"] == name).unwrap();
    let place = |offset: Value| {
        let at = table(&honest, "b");
        stage.forge("zstd", |manifest| {
            *manifest = honest.clone();
            manifest["tables"][at]["offset"] = offset;
        });
        stage.run(1, &["cat", "zstd@latest", "b"])
    };
    let length = honest["uncompressed_size_bytes"].as_u64().unwrap();
    let other = honest["tables"][table(&honest, "a")]["offset"].clone();
    let own = honest["tables"][table(&honest, "b")]["offset"].as_u64().unwrap();
    for (offset, expected) in [
        (json!(length + 1), "was asked for"),
        (json!(u64::MAX), "was asked for"),
        (json!(length), "is not there"),
        (other, "is not there"),
        (json!(own + 1), "there"),
        (json!(own - 1), "there"),
        (json!(0), "there"),
    ] {
        let ended = place(offset.clone());
        assert!(
            ended.stderr.contains(expected) && ended.stderr.contains("the manifest places the rows of public.b at byte"),
            "{offset}: {ended:?}"
        );
        assert_eq!(ended.stdout, "", "{offset}");
    }
    stage.forge("zstd", |manifest| {
        *manifest = honest.clone();
        let at = table(&honest, "b");
        manifest["tables"][at]["rows"] = json!(999);
    });
    assert!(says(&stage, "zstd", "b").contains("1000 rows of public.b came, and 999 were dumped"));
    stage.forge("zstd", |manifest| {
        *manifest = honest.clone();
        manifest["frames"] = json!([{"stored": 0, "archive": 0}, {"stored": 1000, "archive": 5000}]);
    });
    assert!(says(&stage, "zstd", "b").contains("damaged"));
    stage.forge("zstd", |manifest| {
        *manifest = honest.clone();
        manifest["uncompressed_size_bytes"] = json!(own + 10);
    });
    assert!(says(&stage, "zstd", "b").contains("damaged"));
}
