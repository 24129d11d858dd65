//! `restore --table … --on-conflict …` by the real binary: from a backup in each format into the table it came from.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::rig::{Ended, Rig};

pub(crate) struct Shop {
    cluster: Cluster,
    rig: Rig,
}

impl Shop {
    /// A database with tables of several kinds, backed up once in this shape.
    pub(crate) fn new(create: &str, shape: &str) -> Self {
        let cluster = Cluster::start();
        cluster.psql(&format!("create database shop {create}"));
        cluster.psql_in(
            "shop",
            "create table orders (id int generated always as identity primary key, what text, code text unique);
             insert into orders (what, code) select 'Stück ' || g, 'c' || g from generate_series(1, 1000) g;
             create table \"My \"\"Items\"\"\" (id int primary key, data text);
             insert into \"My \"\"Items\"\"\" values (1, E'tab\\tline\\nback\\\\slash'), (2, '\\.'), (3, null), (4, '');
             create table days (day date primary key, n int) partition by range (day);
             create table days_1 partition of days for values from ('2026-01-01') to ('2026-02-01');
             create table days_2 partition of days for values from ('2026-02-01') to ('2026-03-01');
             insert into days select '2026-01-01'::date + g, g from generate_series(0, 50) g",
        );
        let shop = Self { cluster, rig: Rig::new() };
        let connection = shop.cluster.url("shop");
        shop.rig.configure(&format!("[[project]]\nname = \"shop\"\nconnection = {connection:?}\nlimits = {{ retries = [] }}\n{shape}\n"));
        shop.run(0, &["backup", "shop"]);
        shop
    }

    pub(crate) fn run(&self, code: i32, arguments: &[&str]) -> Ended {
        let ended = self.rig.run(arguments);
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        ended
    }

    pub(crate) fn merge(&self, code: i32, table: &str, rule: &str, more: &[&str]) -> Ended {
        let words = ["restore", "shop@latest", "--to", "shop", "--table", table, "--on-conflict", rule];
        self.run(code, &[&words[..], more].concat())
    }

    pub(crate) fn counts(&self, table: &str, rule: &str) -> Value {
        let answer = self.merge(0, table, rule, &["--json"]).json();
        serde_json::json!([answer["rows"], answer["inserted"], answer["updated"], answer["skipped"]])
    }

    pub(crate) fn ask(&self, sql: &str) -> String {
        self.cluster.psql_in("shop", sql)
    }

    fn hash(&self) -> String {
        let of = |table: &str| self.ask(&format!("select md5(string_agg(t::text, '|' order by t::text)) from {table} t"));
        [of("orders"), of("\"My \"\"Items\"\"\""), of("days")].join(" ")
    }

    /// What the audit log says of restores, oldest first.
    fn audit(&self) -> Vec<String> {
        let db = rusqlite::Connection::open(self.rig.state().join("catalog.db")).expect("the catalog");
        let mut query = db.prepare("select subject || ': ' || outcome from audit where action = 'restore' order by id").expect("a query");
        let rows = query.query_map([], |row| row.get(0)).expect("rows");
        rows.map(|row| row.expect("a row")).collect()
    }
}

/// Rows whose bytes were altered on disk are rows all the same; they must not get into the table.
fn altered_rows_stay_out(shape: &str) {
    let shop = Shop::new("", shape);
    let before = shop.hash();
    let stored = shop.run(0, &["show", "shop@latest", "--json"]).json();
    let artifact = shop.rig.storage().join("shop").join(stored["backup_file"].as_str().expect("a name"));
    let mut bytes = std::fs::read(&artifact).expect("the artifact");
    let at = bytes.windows(5).rposition(|some| some == b"500\tS").map_or(bytes.len() / 2, |at| at + 1);
    bytes[at] ^= 1;
    std::fs::write(&artifact, bytes).expect("written");
    shop.ask("delete from orders where id = 500");
    let ended = shop.merge(1, "orders", "skip", &[]);
    assert!(ended.stderr.contains("damaged") && ended.stderr.contains("it counts as damaged from now on"), "{ended:?}");
    assert_eq!(shop.ask("select count(*) from orders"), "999");
    assert_ne!(shop.hash(), before);
    // It is out of the game, and no second command takes it for the latest.
    let ended = shop.merge(1, "orders", "skip", &[]);
    assert!(ended.stderr.contains("there is no good backup"), "{ended:?}");
}

#[test]
fn altered_rows_stay_out_of_the_table() {
    altered_rows_stay_out("");
}

#[test]
fn altered_rows_stay_out_of_the_table_where_nothing_is_compressed() {
    altered_rows_stay_out("compression = \"none\"");
}

fn lost_rows_come_back(create: &str, shape: &str) {
    let shop = Shop::new(create, shape);
    let before = shop.hash();
    shop.ask("delete from orders where id between 10 and 19; update orders set what = 'spoilt' where id > 998");
    shop.ask("delete from \"My \"\"Items\"\"\" where id > 1; delete from days where n > 40");
    assert_eq!(shop.counts("orders", "skip"), serde_json::json!([1000, 10, 0, 990]));
    assert_eq!(shop.ask("select count(*) from orders where what = 'spoilt'"), "2");
    assert_eq!(shop.counts("public.orders", "update"), serde_json::json!([1000, 0, 2, 998]));
    assert_eq!(shop.counts("\"My \"\"Items\"\"\"", "skip"), serde_json::json!([4, 3, 0, 1]));
    assert_eq!(shop.counts("days", "skip"), serde_json::json!([51, 10, 0, 41]));
    assert_eq!(shop.hash(), before, "{shape}");
    assert_eq!(shop.ask("insert into orders (what) values ('next') returning id"), "1001");
}

#[test]
fn lost_rows_come_back_from_a_custom_archive() {
    lost_rows_come_back("", "");
}

#[test]
fn lost_rows_come_back_from_a_script() {
    lost_rows_come_back("", "format = \"plain\"\ncompression = \"gzip\"");
}

#[test]
fn lost_rows_come_back_from_a_tar_in_another_encoding() {
    lost_rows_come_back("encoding 'LATIN1' locale 'C' template template0", "format = \"tar\"");
}

#[test]
fn a_conflict_is_told_and_nothing_is_merged() {
    let shop = Shop::new("", "");
    shop.ask("delete from orders where id < 5");
    let before = shop.hash();
    let told = shop.merge(1, "orders", "error", &[]).stderr;
    assert!(told.contains("996 of the backup's rows are in public.orders already, by id: id=5; id=6; id=7; id=8; id=9 and more"), "{told}");
    assert!(shop.merge(1, "orders", "skip", &["--key", "what"]).stderr.contains("it has: --key id; --key code"));
    assert!(shop.merge(1, "ordres", "skip", &[]).stderr.contains("near names are public.orders"));
    shop.merge(2, "a.b.c", "skip", &[]);
    shop.merge(2, "orders", "skip", &["--table", "days"]);
    shop.merge(2, "orders", "skip", &["--replace"]);
    shop.run(2, &["restore", "shop@latest", "--to", "shop", "--on-conflict", "skip"]);
    assert_eq!(shop.hash(), before);
    let by_code = shop.merge(0, "orders", "skip", &["--key", "code"]).stdout;
    assert!(by_code.contains("merged 1000 rows") && by_code.contains("4 inserted, 0 updated, 996 skipped"), "{by_code}");
    let audit = shop.audit();
    assert!(audit.iter().any(|line| line.contains("refused: 996 of the backup's rows")), "{audit:?}");
    assert!(
        audit.last().is_some_and(|line| line.starts_with("table orders from ") && line.ends_with("4 inserted, 0 updated, 996 skipped")),
        "{audit:?}"
    );
}

#[test]
fn a_dry_run_counts_and_leaves_everything_as_it_was() {
    let shop = Shop::new("", "");
    shop.ask("delete from orders where id between 10 and 19; update orders set what = 'spoilt' where id > 998");
    // The sequence stands before what comes, and a merge that is meant would move it.
    shop.ask("alter sequence orders_id_seq restart with 5");
    let state = || format!("{} {}", shop.hash(), shop.ask("select last_value || is_called::text from orders_id_seq"));
    let before = state();
    let answer = shop.merge(0, "orders", "update", &["--dry-run", "--json"]).json();
    let counts = |answer: &Value| serde_json::json!([answer["rows"], answer["inserted"], answer["updated"], answer["skipped"]]);
    assert_eq!((counts(&answer), &answer["dryRun"]), (serde_json::json!([1000, 10, 2, 988]), &Value::Bool(true)));
    assert!(answer["warnings"][0].as_str().is_some_and(|words| words.contains("public.orders_id_seq")), "{answer}");
    assert_eq!(state(), before);
    let told = shop.merge(0, "orders", "update", &["--dry-run"]).stdout;
    assert!(told.contains("would have merged 1000 rows") && told.contains("rolled back, the table is as it was"), "{told}");
    assert!(shop.merge(1, "orders", "error", &["--dry-run"]).stderr.contains("990 of the backup's rows are in public.orders already"));
    // What a commit would only find at its end, it finds as well.
    shop.ask("create table codes (code text primary key); alter table orders add foreign key (code) references codes deferrable initially deferred not valid");
    let told = shop.merge(1, "orders", "update", &["--dry-run"]).stderr;
    assert!(told.contains("orders_code_fkey") && told.contains(": Key (code)=(c"), "it names the key: {told}");
    assert_eq!(state(), before);
    assert!(shop.audit()[0].ends_with("rolled back, a dry run: 10 inserted, 2 updated, 988 left, 0 skipped"), "{:?}", shop.audit());
    shop.ask("drop table codes cascade");
    assert_eq!(shop.counts("orders", "update"), serde_json::json!([1000, 10, 2, 988]));
}

#[test]
fn a_merge_that_the_disk_has_no_room_for_is_refused_before_it_begins() {
    let shop = Shop::new("", "");
    shop.ask("delete from orders where id < 5; delete from days where n > 40");
    let before = shop.hash();
    let name = shop.rig.stored().into_iter().find(|name| name.contains(".json")).expect("a manifest");
    let path = shop.rig.storage().join(name);
    let text = std::fs::read_to_string(&path).expect("the manifest");
    let size = text.lines().find(|line| line.contains("\"database_size_bytes\"")).expect("its size").to_owned();
    let large = 1_u64 << 58;
    let of_database = text.replace(&size, &format!("  \"database_size_bytes\": {large},"));
    let enlarged = |line: &str| match line.split_once("\"bytes\": ") {
        Some((before, _)) => format!("{before}\"bytes\": {large},\n"),
        None => format!("{line}\n"),
    };
    let of_table = text.replace(&size, "").lines().map(enlarged).collect::<String>();
    for altered in [of_database, of_table] {
        assert_ne!(altered, text);
        std::fs::write(&path, altered).expect("written");
        for (table, rule, more) in
            [("orders", "skip", &[][..]), ("orders", "update", &["--dry-run"]), ("orders", "error", &[]), ("days", "skip", &[])]
        {
            let told = shop.merge(1, table, rule, more).stderr;
            assert!(told.contains("the server's disk has ") && told.contains(" free in "), "{table} {rule}: {told}");
            assert!(told.contains("and what is wanted takes about ") && told.contains("are staged beside"), "{table} {rule}: {told}");
        }
        assert_eq!(shop.hash(), before);
        let audit = shop.audit();
        assert!(!audit.is_empty() && audit.iter().all(|line| line.contains(": space: the server's disk has ")), "{audit:?}");
    }
    std::fs::write(&path, text).expect("written");
    assert_eq!(shop.counts("orders", "skip"), serde_json::json!([1000, 4, 0, 996]));
}

/// Older backups have no checksums of their tables' rows: all of the file is read before any of them are merged.
#[test]
fn the_table_is_looked_at_before_a_backup_without_checksums_is_read() {
    let shop = Shop::new("", "compression = \"none\"");
    let name = |ending: &str| shop.rig.stored().into_iter().find(|name| name.ends_with(ending)).expect(ending);
    let (manifest, artifact) = (shop.rig.storage().join(name(".json")), shop.rig.storage().join(name(".dump")));
    let mut read: Value = serde_json::from_slice(&std::fs::read(&manifest).expect("the manifest")).expect("JSON");
    for table in read["tables"].as_array_mut().expect("tables") {
        assert!(table.as_object_mut().expect("a table").remove("crc32").is_some(), "{table}");
    }
    std::fs::write(&manifest, read.to_string()).expect("written");
    shop.ask("delete from orders where id = 500; create table kept as table orders; create role app login; create view v as select 1");
    // Whoever reads the file finds that it is damaged.
    let mut bytes = std::fs::read(&artifact).expect("the artifact");
    let at = bytes.windows(5).rposition(|some| some == b"500\tS").expect("a row");
    bytes[at] ^= 1;
    std::fs::write(&artifact, bytes).expect("written");
    assert!(shop.merge(1, "orders", "skip", &["--key", "what"]).stderr.contains("no unique index on just (what)"));
    assert!(shop.merge(1, "orders", "skip", &["--user", "app"]).stderr.contains("the role app lacks rights"));
    shop.ask("alter role app set default_transaction_read_only = on; grant all on orders, orders_id_seq to app");
    assert!(shop.merge(1, "orders", "skip", &["--user", "app"]).stderr.contains("are read-only"));
    shop.ask("alter table orders rename to other");
    assert!(shop.merge(1, "orders", "skip", &[]).stderr.contains("has no table public.orders"));
    shop.ask("alter table other rename to orders");
    let ended = shop.merge(1, "orders", "skip", &[]);
    assert!(ended.stderr.contains("it counts as damaged from now on"), "{ended:?}");
    assert_eq!(shop.ask("select count(*) from (table orders except table kept) d"), "0");
    assert_eq!(shop.ask("select count(*) from orders"), "999");
}

#[test]
fn a_merge_that_is_killed_stands_in_the_audit_log() {
    let shop = Shop::new("", "");
    // Another session holds the table: the merge waits.
    let sql = "begin; lock table orders in access exclusive mode; select pg_sleep(600)";
    let mut blocker = shop.cluster.psql_command("shop").args(["-c", sql]).stderr(std::process::Stdio::null()).spawn().expect("psql");
    shop.cluster.wait_until("count(*) > 0 from pg_locks where mode = 'AccessExclusiveLock' and granted and relation is not null");
    let words = ["restore", "shop@latest", "--to", "shop", "--table", "orders", "--on-conflict", "skip"];
    let mut merging = shop.rig.command().args(words).stderr(std::process::Stdio::null()).spawn().expect("pgdumpd");
    shop.cluster.wait_until("count(*) > 0 from pg_stat_activity where application_name like 'pgdumpd%' and wait_event_type = 'Lock'");
    merging.kill().expect("killed");
    merging.wait().expect("ended");
    shop.cluster
        .psql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()");
    drop((blocker.kill(), blocker.wait()));
    let audit = shop.audit();
    assert!(audit.len() == 1 && audit[0].starts_with("table orders from ") && audit[0].ends_with(": begun"), "{audit:?}");
    shop.merge(0, "orders", "skip", &[]);
    let audit = shop.audit();
    assert!(audit.len() == 2 && audit[1].ends_with(": 0 inserted, 0 updated, 1000 skipped"), "{audit:?}");
}

#[test]
fn a_damaged_archive_leaves_the_table_as_it_was() {
    let shop = Shop::new("", "compression = \"none\"");
    shop.ask("delete from orders where id < 5");
    let before = shop.hash();
    let name = shop
        .rig
        .stored()
        .into_iter()
        .find(|name| std::path::Path::new(name).extension().is_some_and(|ending| ending == "dump"))
        .expect("an artifact");
    let path = shop.rig.storage().join(name);
    let mut bytes = std::fs::read(&path).expect("read");
    let at = bytes.windows(8).position(|window| window == b" 10\tc10\n").expect("row 10");
    // The row becomes an end mark with a statement behind it; the length stays.
    let from = bytes[..at].iter().rposition(|byte| *byte == b'\n').expect("its line") + 1;
    bytes[from..from + 3].copy_from_slice(b"\\.\n");
    std::fs::write(&path, bytes).expect("written");
    let told = shop.merge(1, "orders", "skip", &[]);
    assert_eq!(shop.hash(), before, "{told:?}");
}

#[test]
fn a_table_without_columns_is_refused_and_what_a_trigger_keeps_is_not_called_equal_alone() {
    let shop = Shop::new("", "");
    shop.cluster.psql_in(
        "shop",
        "create table bare (); insert into bare default values; create table kept (id int primary key, n int); insert into kept values (1, 1), (2, 2)",
    );
    shop.run(0, &["backup", "shop"]);
    let merge =
        |table: &str, code: i32| shop.run(code, &["restore", "shop@latest", "--to", "shop", "--table", table, "--on-conflict", "update"]);
    let ended = merge("bare", 1);
    assert!(ended.stderr.contains("has no columns in the backup"), "{ended:?}");
    shop.cluster.psql_in(
        "shop",
        "update kept set n = 9 where id = 2; create function keep() returns trigger language plpgsql as 'begin return null; end';
         create trigger keep before update on kept for each row execute function keep()",
    );
    let ended = merge("kept", 0);
    let said = ended.stdout.clone() + &ended.stderr;
    assert!(said.contains("0 updated, 2 left (equal already, or kept so by a trigger)"), "{ended:?}");
}
