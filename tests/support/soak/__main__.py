"""The soak: python3 tests/support/soak FOLDER, from tests/soak, which makes the cluster and the namespaces. Exit status 1: a promise was broken."""

import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
import traceback
from datetime import datetime

sys.path.insert(0, os.path.dirname(__file__))
sys.dont_write_bytecode = True

from bed import GOOD, ODD_DATABASES, PROJECTS, Bed  # noqa: E402
from chaos import Chaos  # noqa: E402
from checks import TABLE, Checks  # noqa: E402
from watch import Watcher  # noqa: E402

CLEAN_ROUND = 180  # seconds that the good projects have to get one more backup each once nothing is broken any more
LOSING = 0.35  # the part of the soak within which the catalog may be lost
WRITES = """INSERT INTO events (kind, body) SELECT 'new', to_jsonb(n) FROM generate_series(1, 20) n;
UPDATE t_042 SET words = md5(random()::text); DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY random() LIMIT 19);
INSERT INTO t_000 SELECT coalesce(max(id), 0) + 1 FROM t_000; SELECT pg_sleep(0.1);"""


def say(words):
    print(words, flush=True)


def write_for_ever(bed, over):
    """The application: goes on writing whatever happens to the server."""
    while not over.is_set():
        bed.sql("shop", WRITES * 10, check=False)
        over.wait(0.2)


def clean_round(bed, since):
    """Waits until every schedule of the good projects has a backup of a slot after `since`; returns who hasn't."""
    until = time.time() + CLEAN_ROUND
    while True:
        bed.keep_running()
        ended = bed.pgdumpd("list", "--json", "--limit", "1000")
        rows = json.loads(ended.stdout) if ended.returncode == 0 else []
        fresh = {(row["project"], row["schedule"], row["database"]) for row in rows
                 if row["slot"] and datetime.fromisoformat(row["slot"].replace("Z", "+00:00")).timestamp() > since}
        wanted = set()
        for project in GOOD:
            databases = ["shop", "trial", "postgres", *ODD_DATABASES] if project["databases"] == "all" else project["databases"]
            wanted |= {(project["name"], schedule[0], database) for schedule in project["schedules"] for database in databases}
        if wanted <= fresh or time.time() > until:
            return sorted(wanted - fresh)
        time.sleep(1)


def set_bad_catalog_right(bed):
    """Damage that nobody has met yet would make the questions at the end fail; what a person would do is done: the file goes."""
    copy = bed.work / "evidence" / "probe.db"
    for suffix in ("", "-wal"):
        if (bed.state / f"catalog.db{suffix}").exists():
            (bed.work / "evidence" / f"probe.db{suffix}").write_bytes((bed.state / f"catalog.db{suffix}").read_bytes())
    try:
        probe = sqlite3.connect(copy)
        found = probe.execute("PRAGMA integrity_check").fetchone()[0]
        probe.close()
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        say(f"  the catalog has damage that nobody met yet ({found.splitlines()[0]}): deleted")
        (bed.state / "catalog.db").unlink(missing_ok=True)
    for path in (bed.work / "evidence").glob("probe.db*"):
        path.unlink()


def agree_to_held_prunes(bed):
    """A new catalog doesn't remember that a retention was agreed to, so a large prune waits for a word: it must have said so, and gets it."""
    held = [project["name"] for project in GOOD if f'pruning is held: the retention of "{project["name"]}"' in bed.log.read_text(errors="replace")]
    problems = []
    for name in held:
        ended = bed.pgdumpd("prune", "--confirm", "--", name)
        say(f"  agreed to the held prune of {name!r}: exit {ended.returncode}")
        if ended.returncode not in (0, 11):
            problems.append(f"pgdumpd prune --confirm {name} ended with {ended.returncode}: {ended.stderr}")
    if held:
        time.sleep(12)  # those that found the project locked are pruned by the next job
    return problems


def come_to_rest(bed):
    """Pauses every project and waits for what runs, so that the last jobs end with their prune."""
    for project in PROJECTS:
        bed.pgdumpd("pause", "--", project["name"])
    until = time.time() + 60
    while time.time() < until:
        standing = json.loads(bed.pgdumpd("status", "--json").stdout)
        if not any(project["running"] for project in standing["projects"]):
            time.sleep(1)  # the prune after the last run
            return []
        time.sleep(0.5)
    return ["paused projects still ran after 60 s"]


def soak(bed, rng, seconds):
    say("making the databases")
    bed.make()
    bed.fill()
    bed.sink_up()
    checked = bed.pgdumpd("check")
    if checked.returncode:
        raise RuntimeError(checked.stdout + checked.stderr)
    watcher, chaos = Watcher(bed), Chaos(bed, rng)
    over = threading.Event()
    writer = threading.Thread(target=write_for_ever, args=(bed, over), daemon=True)
    bed.began = time.time()
    bed.start()
    watcher.start()
    writer.start()
    time.sleep(8)
    while time.time() < bed.began + seconds:
        bed.keep_running()
        if chaos.may_lose and time.time() > bed.began + LOSING * seconds:
            chaos.may_lose = False
            set_bad_catalog_right(bed)
            time.sleep(4)  # the daemon makes a new one
            bed.keep_running()
            say(f"{time.time() - bed.began:7.1f} s  from here on the catalog stays, and what it says is checked")
        name, words = chaos.step()
        say(f"{time.time() - bed.began:7.1f} s  {name}{': ' if words else ''}{words}")
        chaos.pause(0.5, 3)
    say(f"{time.time() - bed.began:7.1f} s  nothing is broken any more; one clean round")
    late = clean_round(bed, time.time())
    chaos.broken += agree_to_held_prunes(bed)
    chaos.broken += come_to_rest(bed)
    status = bed.stop(signal.SIGTERM)
    stopped = time.time()
    say(f"{stopped - bed.began:7.1f} s  stopped")
    over.set()
    writer.join()
    time.sleep(0.5)
    watcher.over.set()
    watcher.join()
    if status != 0:
        chaos.broken.append(f"the last TERM ended the daemon with {status}")
    chaos.broken += [f"no clean backup of {project!r} {schedule} {database!r} within {CLEAN_ROUND} s" for project, schedule, database in late]
    return Checks(bed, watcher, chaos, stopped)


def verdict(checks):
    failed = 0
    lines = []
    for number, words, method in TABLE:
        try:
            broken = getattr(checks, method)()
        except Exception as error:  # a check that can't be made is a check that failed
            broken = [f"the check itself failed: {error}", traceback.format_exc()]
        failed += bool(broken)
        lines.append(f"  {number:5} {words:50} {'BROKEN' if broken else 'held'}")
        lines += [f"          {problem}" for problem in broken[:20]]
        lines += [f"          and {len(broken) - 20} more"] if len(broken) > 20 else []
    say("\npromise")
    say("\n".join(lines))
    say("")
    for name, words in checks.summary():
        say(f"  {name}: {words}")
    return failed


def main():
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1_000_000))
    minutes = float(os.environ.get("SOAK_MINUTES") or 3)
    seconds = max(minutes * 60 - 25, 30)  # the clean round takes the rest
    say(f"soak of {minutes:g} minutes, SOAK_SEED={seed}")
    # Whatever hangs, it ends: with this process goes the namespace and everything in it.
    limit = threading.Timer(minutes * 60 + 900, lambda: (say("soak: not done in time"), os._exit(3)))
    limit.daemon = True
    limit.start()
    failed = verdict(soak(Bed(sys.argv[1]), random.Random(seed), seconds))
    say(f"\nSOAK {'FAILED' if failed else 'PASSED'} (SOAK_SEED={seed})")
    sys.stdout.flush()
    os._exit(1 if failed else 0)


main()
