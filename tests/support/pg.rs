//! Which PostgreSQL the tests use.

use std::path::PathBuf;

/// The folder of its programs, servers' and clients': what `PGDUMPD_TEST_PG` names, else the newest installed release that has a server.
pub(crate) fn bin() -> PathBuf {
    if let Some(dir) = std::env::var_os("PGDUMPD_TEST_PG") {
        return PathBuf::from(dir);
    }
    let majors = std::fs::read_dir("/usr/lib/postgresql").expect("apt-get install postgresql").flatten();
    let with_server = majors.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    let number = |bin: &PathBuf| bin.parent().and_then(|dir| dir.file_name()?.to_str()?.parse::<u32>().ok());
    with_server.max_by_key(number).expect("apt-get install postgresql")
}
