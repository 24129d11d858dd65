//! Scripts (format plain): what proves them, and what their drills need.

use crate::stage::Stage;

const ROLES: &str = "create role owns; create role \"re ader\"; create role bound";

/// Whatever names a role that no backup of the globals brings along.
const USED: &str = "alter table item owner to owns; grant select on empty to \"re ader\" with grant option;
    alter table item enable row level security; create policy p on item to bound using (n > 0);
    alter default privileges for role owns in schema public grant select on tables to bound";

#[test]
fn a_script_comes_back_for_trial_with_the_roles_that_it_names() {
    let stage = Stage::new("format = \"plain\"");
    stage.cluster.psql(ROLES);
    stage.cluster.psql_in("shop", USED);
    let id = stage.backup();
    let told = stage.run(&["drill", &id, "--json"], 0).json();
    assert_eq!((&told["success"], &told["backups"][0]["warnings"]), (&true.into(), &serde_json::json!([])), "{told}");
    assert_eq!(stage.row(&id)["proof"], "restored");
    // A server that lacks them is told so before anything is made there: nothing can be left out of a script.
    let server = crate::cluster::Cluster::start();
    let told = stage.run(&["drill", &id, "--on", &server.url("postgres")], 1).stderr;
    assert!(told.contains("lacks roles that the script names: bound, owns, re ader; nothing can be left out of a script"), "{told}");
    assert_eq!(server.psql("select count(*) from pg_database where datname like 'pgdumpd%'").trim(), "0");
    server.psql(ROLES);
    stage.run(&["drill", &id, "--on", &server.url("postgres")], 0);
    assert!(stage.mails("DRILL").is_empty());
}

#[test]
fn nobody_says_that_pg_restore_read_a_script_or_that_it_holds_no_large_objects() {
    let stage = Stage::new("format = \"plain\"");
    let id = stage.backup();
    stage.run(&["verify", &id, "--level", "read"], 0);
    let told = stage.run(&["show", &id], 0).stdout;
    assert!(told.contains("proof      read: it was read to its closing lines") && !told.contains("pg_restore"), "{told}");
    assert!(!told.contains("large object"), "there is one: {told}");
    let (server, project) = (crate::cluster::Cluster::start(), "[[project.check]]\nsql = \"false\"");
    stage.configure(&format!("format = \"plain\"\n{project}"));
    stage.run(&["drill", &id, "--on", &server.url("postgres")], 1);
    let mails = stage.mails("DRILL FAILED");
    assert!(mails.len() == 1 && mails[0].contains("it was read to its closing lines") && !mails[0].contains("pg_restore"), "{mails:?}");
}

#[test]
fn several_drills_are_summed_up_at_their_end() {
    let stage = Stage::new("");
    stage.backup();
    let id = stage.backup();
    let told = stage.run(&["verify", "shop", "--level", "restore"], 0).stdout;
    assert!(told.ends_with("2 of 2 backups came back as they were backed up\n"), "{told}");
    stage.flip(&id);
    let told = stage.run(&["verify", "shop", "--level", "restore"], 1).stdout;
    assert!(told.ends_with("1 of 2 backups came back as they were backed up, 1 failed\n"), "{told}");
}
