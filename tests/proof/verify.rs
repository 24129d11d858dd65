//! `verify` by hand: what it proves, what it finds, and what it does about it.

use std::process::{Command, Stdio};

use crate::rig::wait_until;
use crate::skip::skip;
use crate::stage::{LONG, Stage};

#[test]
fn a_good_backup_is_proven_level_by_level() {
    let stage = Stage::new("");
    let id = stage.backup();
    assert_eq!(stage.row(&id)["proof"], "whole");
    let said = stage.run(&["verify", &id, "--level", "checksum"], 0).stdout;
    assert!(said.contains("good") && said.contains("its stored bytes are the ones that were written"), "{said}");
    assert_eq!((&stage.row(&id)["proof"], &stage.proof(&id).unwrap()["level"]), (&"checksum".into(), &"checksum".into()));
    let said = stage.run(&["verify", "shop@latest"], 0).stdout;
    assert!(said.contains("pg_restore reads them to the end"), "{said}");
    let row = stage.row(&id);
    assert_eq!(row["proof"], "read");
    assert!(row["checked_at"].is_string() && row["damaged"].is_null(), "{row}");
    let json = stage.run(&["verify", "--all", "--level", "checksum", "--json"], 0).json();
    assert_eq!((&json["success"], &json["backups"][0]["verdict"]), (&true.into(), &"good".into()));
    assert_eq!(stage.row(&id)["proof"], "read", "a lower look takes nothing away");
    let shown = stage.run(&["show", &id], 0).stdout;
    assert!(shown.contains("proof      read") && shown.contains("looked     checksum") && shown.contains("looked     read"), "{shown}");
    assert!(stage.run(&["list"], 0).stdout.contains("read 20"), "the list says when");
    // Everything stands beside the backup: a lost catalog costs nothing of it.
    std::fs::remove_dir_all(stage.rig.state()).unwrap();
    std::fs::create_dir(stage.rig.state()).unwrap();
    assert_eq!(
        stage.row(&id),
        row.as_object()
            .map(|row| {
                let mut row = row.clone();
                row["checked_at"] = stage.row(&id)["checked_at"].clone();
                serde_json::Value::Object(row)
            })
            .unwrap()
    );
}

#[test]
fn each_kind_of_backup_can_be_read() {
    for shape in [
        "format = \"plain\"",
        "format = \"tar\"",
        "format = \"directory\"",
        "format = \"directory\"\njobs = 2\ncompression = \"native\"",
        "compression = \"native\"",
        "compression = \"gzip\"",
        "compression = \"bzip2\"",
        "compression = \"none\"",
        "content = \"schema\"",
        "globals = true",
    ] {
        let stage = Stage::new(shape);
        stage.backup();
        let said = stage.run(&["verify", "shop", "--level", "read"], 0);
        assert!(!said.stdout.contains("DAMAGED"), "{shape}: {said:?}");
        assert!(stage.rig.backups().iter().all(|row| row["proof"] == "read"), "{shape}");
    }
}

#[test]
fn f31_one_flipped_byte_is_found_named_and_told() {
    let stage = Stage::new("retention = { keep_last = 1 }");
    let id = stage.backup();
    stage.flip(&id);
    for level in ["checksum", "read"] {
        let ended = stage.run(&["verify", &id, "--level", level], 1);
        assert!(ended.stdout.contains(&id) && ended.stdout.contains("DAMAGED: its stored bytes have the SHA-256"), "{ended:?}");
    }
    let row = stage.row(&id);
    assert!(row["damaged"].as_str().unwrap().contains("SHA-256"), "{row}");
    assert!(stage.proof(&id).unwrap()["damaged"].is_string());
    assert!(stage.run(&["list"], 0).stdout.contains("DAMAGED"));
    assert!(stage.run(&["status"], 1).stdout.contains("SHA-256"), "the standing is not good");
    // One mail, that says which, which check, and what is left.
    let mails = stage.mails("DAMAGED shop");
    assert_eq!(mails.len(), 1, "{mails:?}");
    for words in ["SHA-256", &format!("verify {id} --level read"), "There is no other good backup of it"] {
        assert!(mails[0].contains(words), "{words}: {}", mails[0]);
    }
    // It never counts as kept, and never goes by itself.
    let newer = stage.backup();
    let newest = stage.backup();
    let left: Vec<String> = stage.rig.backups().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert!(left.contains(&id) && left.contains(&newest) && !left.contains(&newer), "{left:?}");
    let latest = stage.run(&["show", "shop@latest"], 0).stdout;
    assert!(latest.contains(&newest), "{latest}");
    // Put right again, it counts again, and somebody hears of it.
    stage.flip(&id);
    stage.run(&["verify", &id, "--level", "checksum"], 0);
    assert!(stage.row(&id)["damaged"].is_null());
    assert_eq!(stage.mails("OK shop: a backup").len(), 1);
    stage.run(&["status"], 0);
}

#[test]
fn f32_a_truncated_or_missing_artifact_is_found_named_and_told() {
    let stage = Stage::new("");
    let (cut, missing, whole) = (stage.backup(), stage.backup(), stage.backup());
    let (cut_file, missing_file) = (stage.file(&cut), stage.file(&missing));
    let bytes = std::fs::read(&cut_file).unwrap();
    std::fs::write(&cut_file, &bytes[..bytes.len() - 7]).unwrap();
    let aside = missing_file.with_extension("aside");
    std::fs::rename(&missing_file, &aside).unwrap();
    let ended = stage.run(&["verify", "shop", "--json"], 1);
    let json = ended.json();
    let of = |id: &str| json["backups"].as_array().unwrap().iter().find(|one| one["backup"]["id"] == id).unwrap().clone();
    let (length, less) = (bytes.len(), bytes.len() - 7);
    assert!(of(&cut)["why"].as_str().unwrap().contains(&format!("has {less} bytes instead of {length}")), "{json}");
    assert!(of(&missing)["why"].as_str().unwrap().contains("is missing"), "{json}");
    assert_eq!(of(&whole)["verdict"], "good");
    let mails = stage.mails("DAMAGED 1 backup, LOST 1 backup: shop");
    assert!(mails.len() == 1 && stage.mails("").len() == 1, "{:?}", stage.mails(""));
    for words in ["is missing", &format!("has {less} bytes instead of"), &cut, &missing, "newest good one of shop"] {
        assert!(mails[0].contains(words), "{words}: {}", mails[0]);
    }
    std::fs::write(&cut_file, &bytes).unwrap();
    std::fs::rename(&aside, &missing_file).unwrap();
    stage.run(&["verify", "--all"], 0);
    assert!(stage.rig.backups().iter().all(|row| row["damaged"].is_null()));
    let mails = stage.mails("Subject: [pgdumpd] OK");
    assert!(mails.len() == 1 && mails[0].contains(&cut) && mails[0].contains(&missing), "{mails:?}");
}

#[test]
fn f33_a_manifest_of_a_later_format_is_no_damage() {
    let stage = Stage::new("");
    let id = stage.backup();
    let manifest = format!("{}.json", stage.file(&id).display());
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen("\"format\": 1", "\"format\": 2", 1)).unwrap();
    let ended = stage.run(&["verify", &id], 1);
    assert!((ended.stdout.clone() + &ended.stderr).contains("made by a later pgdumpd"), "{ended:?}");
    assert!(stage.row(&id)["damaged"].is_null() && stage.mails("DAMAGED").is_empty());
}

#[test]
fn f33_an_altered_manifest_is_no_proof_of_anything() {
    let stage = Stage::new("");
    let id = stage.backup();
    let manifest = format!("{}.json", stage.file(&id).display());
    let text = std::fs::read_to_string(&manifest).unwrap();
    for (from, to, words) in [
        ("\"rows\": 500", "\"rows\": 501", "its manifest says public.item with 501 rows"),
        ("\"large_objects\": 1", "\"large_objects\": 7", "and its manifest says 7"),
        ("\"project\": \"shop\"", "\"project\": \"../shop\"", "can't be believed"),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        std::fs::write(&manifest, text.replacen(from, to, 1)).unwrap();
        let ended = stage.run(&["verify", &id, "--level", "read"], 1);
        assert!(ended.stdout.contains("DAMAGED") && ended.stdout.contains(words), "{ended:?}");
        std::fs::write(&manifest, &text).unwrap();
        stage.run(&["verify", &id, "--level", "read"], 0);
    }
    let proof = stage.proof(&id);
    assert!(proof.is_some());
    std::fs::remove_file(&manifest).unwrap();
    let ended = stage.run(&["verify", &id], 1);
    assert!(ended.stdout.contains("is missing"), "{ended:?}");
    assert_eq!(stage.proof(&id), proof, "there is no manifest that another one could belong to");
}

#[test]
fn an_archive_that_only_pg_restore_refuses_is_damaged_and_one_it_never_saw_is_not() {
    let stage = Stage::new("");
    let id = stage.backup();
    let scripted = |script: &str| format!("pg_bin_dir = {:?}", stage.rig.clients(&[("pg_restore", script)]));
    stage.configure(&scripted("#!/bin/sh\ncat >/dev/null\necho 'pg_restore: error: no luck today' >&2\nexit 1\n"));
    let ended = stage.run(&["verify", &id, "--level", "read"], 1);
    assert!(ended.stdout.contains("DAMAGED: pg_restore can't read it to its end: pg_restore: error: no luck today"), "{ended:?}");
    stage.run(&["verify", &id, "--level", "checksum"], 0);
    assert!(stage.row(&id)["damaged"].is_string(), "intact bytes don't mend that");
    stage.configure("");
    stage.run(&["verify", &id, "--level", "read"], 0);
    assert!(stage.row(&id)["damaged"].is_null());
    stage.configure(&scripted("#!/bin/sh\nkill -KILL $$\n"));
    let ended = stage.run(&["verify", &id, "--level", "read"], 1);
    assert!(ended.stdout.contains("could not be looked at") && !ended.stdout.contains("DAMAGED"), "{ended:?}");
    let row = stage.row(&id);
    assert!(row["damaged"].is_null() && row["proof"] == "read", "{row}");
    assert_eq!(stage.mails("UNREADABLE shop").len(), 1);
}

/// A stand-in, as Debian's client has every library: its words are those of `pg_restore` 16 to 18.
#[test]
fn a_client_without_the_compression_proves_less_and_damages_nothing() {
    let stage = Stage::new("compression = \"native\"");
    let id = stage.backup();
    let script = "#!/bin/sh\ncat >/dev/null\necho 'pg_restore: error: cannot restore from compressed archive (this build does not support \
                  compression with LZ4)' >&2\nexit 1\n";
    let bin = stage.rig.clients(&[("pg_restore", script)]);
    stage.configure(&format!("compression = \"native\"\npg_bin_dir = {bin:?}"));
    let ended = stage.run(&["verify", &id, "--level", "read"], 3);
    assert!(ended.stderr.contains("no more was proven") && ended.stderr.contains("built without its compression"), "{ended:?}");
    let row = stage.row(&id);
    assert!(row["damaged"].is_null() && row["proof"] == "checksum", "{row}");
    assert_eq!(stage.mails("DAMAGED shop").len(), 0);
}

#[test]
fn a_directory_dump_is_read_by_pg_restore_or_its_level_says_less() {
    let stage = Stage::new("format = \"directory\"");
    let id = stage.backup();
    let folders = || {
        let all = std::fs::read_dir(stage.rig.storage().join("shop")).unwrap().flatten();
        all.filter(|entry| entry.file_type().unwrap().is_dir()).count()
    };
    // Where it can't be unpacked, only its bytes are proven, and it says so.
    let config = stage.rig.path().join("pgdumpd.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("reserve = \"0\"", "reserve = \"1000TB\"")).unwrap();
    let ended = stage.run(&["verify", &id, "--level", "read"], 3);
    assert!(ended.stdout.contains("good: its stored bytes are the ones that were written, in"), "{ended:?}");
    assert!(ended.stderr.contains("no more was proven") && ended.stderr.contains("free beyond its reserve"), "{ended:?}");
    assert_eq!(stage.row(&id)["proof"], "checksum");
    let json = stage.run(&["verify", &id, "--json"], 3).json();
    assert_eq!((&json["success"], &json["backups"][0]["level"]), (&false.into(), &"checksum".into()));
    assert!(json["backups"][0]["shallow"].is_string(), "{json}");
    // What only pg_restore refuses is damage all the same.
    let script =
        "#!/bin/sh\nfor last; do :; done\n[ -e \"$last/toc.dat\" ] || exit 0\necho 'pg_restore: error: no luck today' >&2\nexit 1\n";
    stage.configure(&format!("format = \"directory\"\npg_bin_dir = {:?}", stage.rig.clients(&[("pg_restore", script)])));
    let ended = stage.run(&["verify", &id], 1);
    assert!(ended.stdout.contains("DAMAGED: pg_restore can't read it to its end: pg_restore: error: no luck today"), "{ended:?}");
    stage.configure("format = \"directory\"");
    stage.run(&["verify", &id], 0);
    assert_eq!((&stage.row(&id)["proof"], folders()), (&"read".into(), 0));
    // One whose members were exchanged for others, and whose manifest knows of it.
    stage.flip(&id);
    assert!(stage.run(&["verify", &id], 1).stdout.contains("DAMAGED"));
    assert_eq!(folders(), 0);
}

#[test]
fn a_read_error_is_no_damage() {
    if !Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success()) {
        return skip("a_read_error_is_no_damage", "needs strace");
    }
    let stage = Stage::new("");
    let id = stage.backup();
    let file = stage.file(&id);
    // The first read fails alone, then each of them: a hiccup passes, a dying disk is told as one.
    for (when, code) in [("1", 0), ("1+", 1)] {
        let inject = format!("inject=read:error=EIO:when={when}");
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(&file).args(["-e", "trace=read", "-e", &inject]);
        let binary = stage.rig.command();
        command.arg(binary.get_program()).args(["verify", &id, "--level", "checksum"]);
        command.env_clear().envs(stage.rig.env.iter().map(|(key, value)| (key, value)));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{when}: {said}");
        assert!(!said.contains("DAMAGED"), "{said}");
        assert_eq!(said.contains("Input/output error"), code == 1, "{said}");
        assert!(stage.row(&id)["damaged"].is_null());
    }
}

#[test]
fn what_is_pruned_meanwhile_leaves_no_stray_proof() {
    let stage = Stage::new("retention = { keep_last = 1 }");
    let id = stage.backup();
    // A pg_restore that takes its time: the backup goes while it is being read.
    let (at, bin) = (stage.rig.path().display(), crate::cluster::bin());
    let bin = bin.display();
    let script = format!("#!/bin/sh\n: >{at}/reading\nwhile [ ! -e {at}/go ]; do sleep 0.1; done\nexec {bin}/pg_restore \"$@\"\n");
    stage.configure(&format!("retention = {{ keep_last = 1 }}\npg_bin_dir = {:?}", stage.rig.clients(&[("pg_restore", &script)])));
    let mut child =
        stage.rig.command().args(["verify", &id, "--level", "read"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until(LONG, || String::from("the reading"), || stage.rig.path().join("reading").exists());
    stage.backup();
    assert!(!stage.rig.backups().iter().any(|row| row["id"] == id.as_str()), "it was pruned");
    std::fs::write(stage.rig.path().join("go"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let left: Vec<String> = stage.rig.stored().into_iter().filter(|name| name.contains(&id)).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(stage.mails("DAMAGED").is_empty());
}

#[test]
fn a_verification_ends_when_told_and_leaves_no_pg_restore() {
    let stage = Stage::new("");
    stage.backup();
    stage.backup();
    let at = stage.rig.path().display();
    let script = format!("#!/bin/sh\necho $$ >{at}/pid.new; mv {at}/pid.new {at}/pid\nexec sleep 1000\n");
    stage.configure(&format!("pg_bin_dir = {:?}", stage.rig.clients(&[("pg_restore", &script)])));
    let child =
        stage.rig.command().args(["verify", "shop", "--level", "read"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    wait_until(LONG, || String::from("pg_restore"), || stage.rig.path().join("pid").exists());
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(143));
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "0 of 2 backups are good, 2 not reached\n");
    let pid = std::fs::read_to_string(stage.rig.path().join("pid")).unwrap();
    wait_until(LONG, || String::from("the end of pg_restore"), || !std::path::Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn what_pg_restore_never_reads_is_not_said_to_be_read_by_it() {
    let stage = Stage::new("format = \"plain\"\nglobals = true");
    stage.backup();
    let said = stage.run(&["verify", "--all"], 0).stdout;
    assert_eq!(said.matches("a whole script, read to its closing lines").count(), 2, "the database and the roles: {said}");
    assert!(!said.contains("pg_restore"), "{said}");
}

#[test]
fn a_backup_of_a_later_pgdumpd_is_said_to_be_one() {
    let stage = Stage::new("");
    let id = stage.backup();
    let path = format!("{}.json", stage.file(&id).display());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"format\": 1,"), "{text}");
    std::fs::write(&path, text.replacen("\"format\": 1,", "\"format\": 2,", 1)).unwrap();
    std::fs::remove_dir_all(stage.rig.state()).unwrap();
    std::fs::create_dir(stage.rig.state()).unwrap();
    stage.run(&["list"], 0);
    for words in [&["show", id.as_str()][..], &["verify", &id[..6]], &["restore", &id, "--to", "new"]] {
        let ended = stage.rig.run(words);
        assert!(ended.code != 0 && ended.stderr.contains("has format 2, made by a later pgdumpd"), "{words:?}: {ended:?}");
    }
    let ended = stage.rig.run(&["show", "zzzzzzzzzz"]);
    assert!(ended.stderr.contains("there is no backup"), "{ended:?}");
}

#[test]
fn a_damaged_newest_backup_is_not_passed_over_in_silence() {
    let stage = Stage::new("");
    let older = stage.backup();
    let newest = stage.backup();
    let quiet = stage.run(&["show", "shop@latest"], 0);
    assert!(quiet.stdout.contains(&newest) && quiet.stderr.is_empty(), "{quiet:?}");
    stage.flip(&newest);
    stage.run(&["verify", &newest], 1);
    let told = stage.run(&["show", "shop@latest"], 0);
    assert!(told.stdout.contains(&older), "{told:?}");
    assert!(told.stderr.contains(&format!("{newest} is newer than {older}, and is passed over as it counts as damaged")), "{told:?}");
}
