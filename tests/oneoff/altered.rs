//! Dump files that were altered, that can't be looked into, and that only look like it: each gets the verdict that is true.

use crate::elsewhere::{restore, shell};
use crate::rig::Ended;
use crate::scene::Scene;

/// Turns one bit of a file's byte.
fn flip(scene: &Scene, file: &str, at: impl Fn(&[u8]) -> usize) {
    let path = scene.work().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = at(&bytes);
    bytes[at] ^= 0x10;
    std::fs::write(&path, bytes).unwrap();
}

fn verify(scene: &Scene, file: &str) -> Ended {
    scene.alone(&[], &["verify", &format!("./{file}")])
}

#[test]
fn one_altered_bit_inside_of_a_directory_dump_is_found() {
    let scene = Scene::new();
    shell(&scene, "pg_dump -Fd -f d shop; tar -cf d.tar d; tar -C d -czf d.tgz .");
    let url = scene.cluster.url("shop");
    let own = scene.alone(&[], &["backup", "--url", &url, "-o", "own.dir", "--format", "directory"]);
    assert_eq!(own.code, 0, "{own:?}");
    for file in ["d.tar", "d.tgz", "own.dir"] {
        let whole = verify(&scene, file);
        assert!(whole.code == 0 && whole.stdout.contains("20500 rows") && whole.stdout.ends_with(": good\n"), "{file}: {whole:?}");
        flip(&scene, file, |bytes| bytes.len() / 2);
        let altered = verify(&scene, file);
        assert!(altered.code == 1 && altered.stdout.contains("DAMAGED"), "{file}: {altered:?}");
        let refused = restore(&scene, &format!("./{file}"), "never", &[]);
        assert!(refused.code == 1 && refused.stderr.contains("not whole"), "{file}: {refused:?}");
    }
    assert_eq!(scene.cluster.psql("select count(*) from pg_database where datname = 'never' or datname like 'pgdumpd%'"), "0");
}

/// Made by `pg_dump` 17, which an older `pg_restore` can't read.
#[test]
fn an_archive_that_no_client_reads_is_unpacked_by_ourselves_or_called_unread() {
    let scene = Scene::new();
    let made = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oneoff/made");
    let frame = |bytes: &[u8]| bytes.windows(4).position(|window| window == [0x04, 0x22, 0x4d, 0x18]).unwrap() + 9;
    for name in ["lz4.dump", "lz4.dir.tar.gz"] {
        std::fs::copy(made.join(name), scene.work().join(name)).unwrap();
        if name != "lz4.dump" {
            shell(&scene, "gzip -d lz4.dir.tar.gz");
        }
        let name = name.trim_end_matches(".gz");
        let whole = verify(&scene, name);
        assert!(whole.code == 0 && whole.stdout.contains("rows") && !whole.stdout.contains("not all rows"), "{name}: {whole:?}");
        flip(&scene, name, frame);
        let altered = verify(&scene, name);
        assert!(altered.code == 1 && altered.stdout.contains("DAMAGED"), "{name}: {altered:?}");
    }
    // The twelfth byte says how the rows are compressed; nobody knows this way.
    std::fs::copy(made.join("lz4.dump"), scene.work().join("later.dump")).unwrap();
    flip(&scene, "later.dump", |_| 11);
    let unread = verify(&scene, "later.dump");
    assert!(unread.code == 3 && unread.stdout.contains("good as far as it was read"), "{unread:?}");
    assert!(!unread.stdout.contains("structure  ok"), "{unread:?}");
}

#[test]
fn what_is_whole_but_something_else_is_not_called_damaged() {
    let scene = Scene::new();
    shell(
        &scene,
        "pg_dumpall >all.sql; pg_dump shop | sed 's/$/\\r/' >dos.sql; printf '\\3757zXZ\\000rest' >a.sql.xz; printf '\\004\"M\\030rest' >a.sql.lz4",
    );
    // A window that isn't given says nothing of what was packed with it; one that `zstd -d` takes unasked is.
    shell(&scene, "pg_dump shop | zstd -q --long=28 >wide.sql.zst; pg_dump -Fc -Z0 shop | zstd -q --long=27 >usual.dump.zst");
    let wide = verify(&scene, "wide.sql.zst");
    let says = wide.stdout.contains("zstd -d --long=31 FILE") || wide.stdout.contains("with a window of 256.0 MiB");
    assert!(wide.code == 1 && says && wide.stdout.contains("could not be looked at") && !wide.stdout.contains("DAMAGED"), "{wide:?}");
    assert_eq!(verify(&scene, "usual.dump.zst").code, 0);
    for (file, words) in [("all.sql", "psql -X -d postgres -f"), ("a.sql.xz", "xz -d FILE"), ("a.sql.lz4", "lz4 -d FILE")] {
        let ended = verify(&scene, file);
        assert!(ended.code == 1 && ended.stdout.contains(words) && !ended.stdout.contains("DAMAGED"), "{file}: {ended:?}");
    }
    let dos = verify(&scene, "dos.sql");
    assert!(dos.code == 0 && dos.stdout.contains("20500 rows"), "{dos:?}");
    let again = restore(&scene, "./dos.sql", "again", &[]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(scene.cluster.psql_in("again", "select count(*) || max(name) from item"), "500item 99");
}

#[test]
fn a_script_of_a_newer_release_needs_no_newer_client() {
    let scene = Scene::new();
    shell(
        &scene,
        "pg_dump shop >now.sql; for n in 16.4 99.1; do sed \"s/by pg_dump version .*/by pg_dump version $n/\" now.sql >$n.sql; done",
    );
    let server = scene.cluster.psql("select current_setting('server_version_num')::int / 10000");
    if server != "15" {
        return crate::skip::skip("a_script_of_a_newer_release_needs_no_newer_client", "what it writes is of PostgreSQL 15 and 16");
    }
    let newer = restore(&scene, "./16.4.sql", "newer", &[]);
    assert!(newer.code == 0 && newer.stderr.contains("was written by pg_dump 16.4"), "{newer:?}");
    assert_eq!(scene.contents("newer").len(), scene.contents("shop").len());
    let newest = restore(&scene, "./99.1.sql", "newest", &[]);
    assert!(newest.code == 1 && newest.stderr.contains("--keep-going"), "{newest:?}");
}

/// The rows end before what they are packed in does, and only there stands its checksum.
#[test]
fn no_altered_row_is_given_out_as_a_good_one() {
    let scene = Scene::new();
    shell(&scene, "pg_dump -Fd -f d shop; tar -cf d.tar d; pg_dump -Fc -f c.dump shop");
    let cat = |file: &str| scene.alone(&[], &["cat", &format!("./{file}"), "Größe; x", "--format", "copy"]);
    let honest = cat("d.tar");
    assert!(honest.code == 0 && honest.stdout.lines().count() == 20_000, "{honest:?}");
    for file in ["d.tar", "c.dump"] {
        let whole = std::fs::read(scene.work().join(file)).unwrap();
        let mut noticed = 0;
        for part in 3..9 {
            std::fs::write(scene.work().join(file), &whole).unwrap();
            flip(&scene, file, |bytes| bytes.len() / 10 * part);
            let altered = cat(file);
            assert!(altered.code == 1 || altered.stdout == honest.stdout, "{file}, {part}: exit {}", altered.code);
            noticed += usize::from(altered.code == 1);
        }
        assert!(noticed >= 4, "{file}: most of it are these rows");
    }
}

/// What `pg_dump >> FILE` leaves is several dumps and no whole one; a run before that was cut makes it worse.
#[test]
fn dumps_behind_one_another_are_no_whole_one() {
    let scene = Scene::new();
    shell(&scene, "pg_dump shop >one.sql; cat one.sql one.sql >two.sql; gzip -k two.sql; size=$(stat -c %s one.sql)");
    shell(&scene, "(head -c $(($(stat -c %s one.sql) / 2)) one.sql; cat one.sql) >rows.sql; (head -n 20 one.sql; cat one.sql) >head.sql");
    shell(&scene, "PGDATABASE=postgres pg_dumpall >all.sql; sed '/^7\\t/s/\\titem.*//' one.sql >short.sql");
    for (file, words, verdict) in [
        ("./two.sql", "two.sql holds 2 dumps, one behind the other", "could not be looked at"),
        ("./two.sql.gz", "two.sql.gz holds 2 dumps", "could not be looked at"),
        ("./rows.sql", "in table public.Größe; x, row ", "DAMAGED"),
        ("./head.sql", "another dump begins before one has ended", "DAMAGED"),
        ("./short.sql", "in table public.item, row 7 has 1 of 2 columns", "DAMAGED"),
        ("./all.sql", "is a script of pg_dumpall", "could not be looked at"),
    ] {
        let verified = scene.alone(&[], &["verify", file]);
        let told = verified.code == 1 && verified.stdout.contains(words) && verified.stdout.contains(verdict);
        assert!(told, "{file}: {verified:?}");
        for reading in [&["restore", file, "--to", "again", "--url", &scene.cluster.url("")][..], &["show", file], &["cat", file, "item"]] {
            let refused = scene.alone(&[], reading);
            assert!(refused.code == 1 && refused.stderr.contains(words) && refused.stdout.is_empty(), "{reading:?}: {refused:?}");
        }
    }
    assert_eq!(scene.cluster.psql("select count(*) from pg_database where datname = 'again'"), "0");
    // What is told to be done gives the newest.
    let told = scene.alone(&[], &["verify", "./two.sql"]).stdout;
    let line = told.split('`').find(|word| word.starts_with("tail -c +")).unwrap().replace("FILE", "two.sql >last.sql");
    shell(&scene, &line);
    assert_eq!(scene.alone(&[], &["verify", "./last.sql"]).code, 0);
    assert_eq!(restore(&scene, "./last.sql", "again", &[]).code, 0);
    assert_eq!(scene.contents("again"), scene.contents("shop"));
}
