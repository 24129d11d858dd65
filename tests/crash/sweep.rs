//! Row 20 once more, at no stage in particular: a daemon that backs up all the time is killed again and again after a random span.

use std::time::Duration;

use crate::bench::{Bench, PATIENCE};

/// How often it is killed; `PGDUMPD_KILLS` asks for more.
fn rounds() -> u32 {
    std::env::var("PGDUMPD_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(15)
}

#[test]
fn f20_killed_again_and_again_at_random() {
    let bench = Bench::sized(20_000, "");
    let project = |schedule: &str| format!("schedule = [{{ name = \"often\", cron = \"{schedule}\" }}]\nserver_lock = true");
    bench.configure("", "", &project("* * * * * *"));
    for round in 0..rounds() {
        let mut serving = bench.start();
        let span = Duration::from_millis(rand::random_range(0..3_000));
        std::thread::sleep(span);
        serving.child.kill().unwrap();
        serving.child.wait().unwrap();
        // What is listed is whole at any moment, before anything is mended.
        bench.assert_listed_whole(&format!("round {round}, killed after {span:?}"));
    }
    // The last start finds no slot due, so that it only mends.
    bench.configure("", "", &project("0 0 0 29 2 *"));
    bench.mend();
    bench.assert_sound("the last round");
    let twice = bench.catalog("select due_at from slots group by project, schedule, due_at having count(*) > 1");
    assert_eq!(twice, Vec::<String>::new());
    // Each run that was cut off became a failure that was told within the one incident it belongs to; nothing is left untold.
    assert_eq!(bench.catalog("select run from untold"), Vec::<String>::new());
    let failed = bench.catalog("select id from runs where status = 'failed'").len();
    let told = bench.subjects().iter().filter(|subject| subject.contains("FAILED")).count();
    assert!(failed == 0 || told > 0, "{failed} failed runs and no mail");
    let orders = bench.catalog("select count(*) from runs where status = 'completed'");
    assert_ne!(orders, ["0"], "nothing was ever backed up");
    let mut serving = bench.start();
    serving.signal("TERM");
    assert_eq!(serving.wait(PATIENCE), 0);
}
