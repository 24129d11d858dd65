//! A secret that can't be read stops what needs it, and nothing else.

use crate::bench::Bench;

#[test]
fn a_secret_that_cannot_be_read_stops_only_its_own_project() {
    let bench = Bench::new();
    let gone = bench.rig.path().join("gone");
    let (shop, billing) = (bench.project("shop", "shop", ""), bench.project("billing", "billing", ""));
    bench.rig.configure(&format!("{shop}{billing}"));
    bench.run(0, &["backup", "--all"]);
    let ids: Vec<String> = bench.rig.backups().iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect();

    let locked = format!("{billing}password = {{ file = {gone:?} }}\n");
    bench.rig.configure(&format!("{shop}{locked}"));
    for id in &ids {
        bench.run(0, &["show", id]);
        bench.run(0, &["verify", id]);
        bench.run(0, &["pin", id]);
        bench.run(0, &["unpin", id]);
        bench.run(0, &["restore", id, "--to", &bench.cluster.url(&format!("from_{id}"))]);
    }
    for typed in [&["list"][..], &["prune", "--dry-run"], &["plan"], &["audit"], &["pause", "billing"], &["resume", "billing"]] {
        bench.run(0, typed);
    }
    bench.run(0, &["backup", "shop"]);
    let why = format!("secret {} can't be read", gone.display());
    let refused = bench.run(2, &["backup", "billing"]);
    assert!(refused.stderr.contains(&why) || refused.stdout.contains(&why), "{refused:?}");
    let last = bench.run(2, &["restore", "billing@latest", "--to", "again"]);
    assert!(last.stderr.contains(&why), "{last:?}");
    bench.run(3, &["backup", "--all"]);
    let told = bench.run(1, &["status"]).stdout;
    assert!(told.contains("FAILING") && told.contains(&format!("PROBLEM {}", bench.rig.path().display())), "{told}");
    let told = bench.run(2, &["check"]);
    assert!(told.stderr.contains(&why) && told.stderr.contains("a daemon that starts goes on without"), "{told:?}");
    let told = bench.run(1, &["doctor"]).stdout;
    assert_eq!(told.matches(&why).count(), 1, "told once, with its place in the file: {told}");
    assert!(told.contains("project \"shop\", database \"shop\""), "the others are looked at: {told}");
}
