//! Rows 6 and 9 to 13: what the server does, and what it keeps from the role; and a server without a connection to spare.

use crate::cluster::{Cluster, Setup};
use crate::scene::{LONG, Scene};

#[test]
fn f06_server_stopped_in_immediate_mode() {
    let scene = Scene::new("compression = \"zstd:19\"", "");
    scene.grow(40);
    // This cluster doesn't sync: without it the crash would take the tables along.
    scene.cluster.psql("checkpoint");
    let before = scene.look();
    let running = scene.start(&[]);
    scene.wait_for_copy();
    scene.cluster.stop_immediate();
    let ended = running.finish(LONG);
    let told = scene.std(&before, &ended, "connection-lost", 1, || {
        scene.cluster.start_again();
        scene.shrink();
    });
    assert!(told.text.contains("log"), "{told:?}");
}

#[test]
fn f09_table_locked_exclusively() {
    let scene = Scene::new("", "lock_wait = \"3s\"");
    let before = scene.look();
    let mut holder = scene.cluster.psql_command("shop");
    let mut holder =
        holder.env("PGAPPNAME", "migration").args(["-c", "begin", "-c", "lock table item", "-c", "select pg_sleep(600)"]).spawn().unwrap();
    scene.cluster.wait_until("exists (select from pg_locks where mode = 'AccessExclusiveLock' and granted and locktype = 'relation')");
    let ended = scene.backup();
    let told = scene.std(&before, &ended, "lock-timeout", 1, || {
        scene.cluster.psql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'migration'");
        holder.wait().unwrap();
    });
    for word in ["process ", "of postgres", "(migration)", "item", "3s"] {
        assert!(told.text.contains(word), "{word:?} is not told: {told:?}");
    }
    assert!(told.mail.contains("migration"), "{told:?}");
}

#[test]
fn f10_server_newer_than_every_client() {
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'pg_dump (PostgreSQL) 13.5'; exit 0; }\ntouch called\nexit 1\n";
    let mut scene = Scene::new("", "");
    let before = scene.look();
    let bin = scene.rig.clients(&[("pg_dump", script)]);
    scene.extend(&format!("pg_bin_dir = {bin:?}"));
    scene.configure(1);
    let ended = scene.backup();
    let told = scene.std(&before, &ended, "server-too-new", 1, || {
        scene.rig.clients(&[]);
    });
    assert!(!scene.rig.path().join("called").exists(), "the old pg_dump was tried all the same");
    assert!(told.text.contains("PostgreSQL 15.") && told.text.contains("13.5"), "{told:?}");
}

/// A project of the role `backup`, which may read everything at first.
fn for_a_role(project: &str, limits: &str, role: &str) -> Scene {
    let cluster = Cluster::start();
    cluster.psql(&format!("create role backup login {role}; grant pg_read_all_data to backup"));
    let mut scene = Scene::bare(cluster, project, limits);
    scene.connect(&scene.cluster.url_as("backup", "shop"));
    scene
}

#[test]
fn f11_row_security_hides_rows() {
    let scene = for_a_role("", "", "");
    scene.two_good_backups();
    let before = scene.look();
    scene.cluster.psql_in("shop", "alter table item enable row level security; create policy few on item using (n < 10)");
    let ended = scene.backup();
    let told = scene.std(&before, &ended, "row-security", 1, || {
        scene.cluster.psql("alter role backup bypassrls");
    });
    assert!(told.text.contains("public.item") && told.text.contains("BYPASSRLS"), "{told:?}");
}

#[test]
fn f12_unreadable_table_or_large_object() {
    for (sql, named, cure) in [
        ("select lo_create(4711)", "large object 4711", "grant select on large object 4711 to backup"),
        (
            "create table secret (n int); revoke pg_read_all_data from backup; grant select on item to backup",
            "public.secret",
            "grant select on secret to backup",
        ),
    ] {
        let scene = for_a_role("", "", "");
        scene.two_good_backups();
        let before = scene.look();
        scene.cluster.psql_in("shop", sql);
        let ended = scene.backup();
        let told = scene.std(&before, &ended, "permission", 1, || {
            scene.cluster.psql_in("shop", cure);
        });
        assert!(told.text.contains(named) && told.text.contains("GRANT SELECT"), "{told:?}");
    }
}

#[test]
fn f13_role_with_a_statement_timeout() {
    let scene = for_a_role("compression = \"zstd:19\"", "", "");
    scene.cluster.psql("alter role backup set statement_timeout = '100ms'; alter role backup set lock_timeout = '100ms'");
    scene.grow(8);
    scene.configure(1);
    let ended = scene.backup();
    assert_eq!(ended.code, 0, "{ended:?}");
    let made = scene.rig.run(&["show", "--json", "shop@latest"]);
    assert!(made.code == 0 && made.stdout.contains("big"), "{made:?}");
    assert_eq!(scene.rig.backups()[0]["rows"], 500 + 8 * 14_000);
}

/// The one connection that is left belongs to the dump; what the session beside it would have done is told as not done.
#[test]
fn the_last_connection_is_the_dumps() {
    for (role, setting) in
        [("connection limit 1", ""), ("", "max_connections = 5\nsuperuser_reserved_connections = 4\nmax_wal_senders = 0")]
    {
        let cluster = Setup::default().setting(setting).start();
        cluster.psql(&format!("create role backup login {role}; grant pg_read_all_data to backup"));
        let mut scene = Scene::bare(cluster, "", "");
        scene.connect(&scene.cluster.url_as("backup", "shop"));
        scene.configure(5);
        let ended = scene.backup();
        assert_eq!(ended.code, 0, "{role}{setting}: {ended:?}");
        assert!(ended.stderr.contains("no connection to spare"), "{ended:?}");
        scene.cluster.psql("alter role backup connection limit 2");
        let ended = scene.backup();
        assert_eq!((ended.code, ended.stderr.contains("no connection to spare")), (0, role.is_empty()), "{ended:?}");
    }
}
