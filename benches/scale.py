"""Measures the daemon with many projects and the catalog with many backups; benches/scale prepares and calls it."""

import argparse
import datetime
import os
import pathlib
import shutil
import signal
import sqlite3
import statistics
import subprocess
import time

import report

PSQL = (pathlib.Path(__file__).parent.parent / "tests/support/psql-stand-in").read_text()

PG_DUMP = """#!/bin/sh
case " $* " in *' --version '*) echo 'pg_dump (PostgreSQL) 15.18'; exit;; esac
echo + >>{work}/dumps; cat {work}/archive; echo - >>{work}/dumps
"""

PARALLEL = 4


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)


def prepare(work):
    (work / "bin").mkdir()
    script(work / "bin/psql", PSQL)
    script(work / "bin/pg_dump", PG_DUMP.format(work=work))
    for name in ("state", "backups"):
        (work / name).mkdir(mode=0o700)


def configure(work, projects, due):
    text = [
        f'[daemon]\nstate_dir = "{work}/state"\nmax_parallel = {PARALLEL}\nmax_parallel_per_server = {PARALLEL}\n'
        f'[storage.main]\ntype = "local"\npath = "{work}/backups"\nreserve = "0"\n'
        f'[defaults]\npg_bin_dir = "{work}/bin"\nserver_lock = false\nmax_backup_age = "26h"\n'
        "retention = { keep_last = 3, keep_daily = 14, keep_monthly = 12 }\n"
    ]
    for number in range(projects):
        text.append(
            f'[[project]]\nname = "project-{number}"\nconnection = "postgresql://u@s{number % 50}.test/db{number}"\ndatabases = ["db{number}"]\n'
            f'[[project.schedule]]\nname = "nightly"\ncron = "{due.minute} {due.hour} * * *"\n'
        )
    (work / "pgdumpd.toml").write_text("".join(text))


def memory(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def processor(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(work, sql):
    with sqlite3.connect(f"file:{work}/state/catalog.db?mode=rw", uri=True, timeout=30) as catalog:
        return catalog.execute(sql).fetchone()[0]


def serve(options, work, row):
    due = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=options.idle + 90)).replace(second=0, microsecond=0)
    configure(work, options.projects, due)
    log = open(work / "log", "w")
    begun = time.monotonic()
    daemon = subprocess.Popen([options.binary, "--config", work / "pgdumpd.toml", "serve"], stderr=log)
    while "ready" not in (work / "log").read_text():
        time.sleep(0.01)
    row("start, from exec to ready", f"{time.monotonic() - begun:.2f} s", "2 s")
    time.sleep(20)
    row("resident memory, idle", f"{memory(daemon.pid):.0f} MB", "100 MB")
    before, since = processor(daemon.pid), time.monotonic()
    time.sleep(max(0, min(options.idle, due.timestamp() - time.time() - 2)))
    busy = processor(daemon.pid)
    share = (busy - before) / (time.monotonic() - since)
    row(f"one core, idle, over {time.monotonic() - since:.0f} s", f"{share * 100:.2f} %", "0.5 %")
    while ask(work, "select count(*) from slots") < options.projects:
        time.sleep(0.01)
    claimed = time.time() - due.timestamp()
    row("all slots claimed, after they were due", f"{claimed:.2f} s", "1 s")
    row("processor time of the daemon until then, from 2 s before", f"{processor(daemon.pid) - busy:.2f} s", "")
    done, since = ask(work, "select count(*) from slots where outcome = 'ok'"), time.monotonic()
    time.sleep(options.run)
    done = ask(work, "select count(*) from slots where outcome = 'ok'") - done
    row(f"jobs a minute, {PARALLEL} at once, stand-ins for the clients", f"{done * 60 / (time.monotonic() - since):.0f}", "")
    row("resident memory, at work", f"{memory(daemon.pid):.0f} MB", "100 MB")
    now = most = 0
    for line in (work / "dumps").read_text().split():
        now += 1 if line == "+" else -1
        most = max(most, now)
    row("dumps at once, at most", str(most), str(PARALLEL))
    begun = time.monotonic()
    subprocess.run([options.binary, "--config", work / "pgdumpd.toml", "status"], stdout=subprocess.DEVNULL, check=False)
    row("`status` of all", f"{time.monotonic() - begun:.2f} s", "")
    begun = time.monotonic()
    daemon.send_signal(signal.SIGHUP)
    while "read again" not in (work / "log").read_text():
        time.sleep(0.01)
    row("reload", f"{time.monotonic() - begun:.2f} s", "")
    begun = time.monotonic()
    daemon.send_signal(signal.SIGTERM)
    daemon.wait()
    row("stop, with thousands of slots waiting", f"{time.monotonic() - begun:.2f} s", "")


def fill(work, rows, per_project):
    """A million backups in the index, and the files of one project, or of all where each has few."""
    start = 1_600_000_000
    with sqlite3.connect(work / "state/catalog.db") as catalog:
        catalog.execute("DELETE FROM backups")

        def backup(number):
            project, turn = number // per_project, number % per_project
            at = (start + turn * 10_000 + project) * 1_000_000
            file = f"db_{number:08}_full.dump.zst"
            return (f"{number:08}", "main", f"project-{project}", f"db{project}", "full", "full", "scheduled", "nightly", at, at, at + 1_000_000,
                    file, 1000 + number, 5000 + number, "0" * 64, 3, 10, 0, "whole", at, None)

        columns = "id, storage, project, database, content, selection, trigger, schedule, slot, started_at, finished_at, file, size, " \
                  "uncompressed_size, sha256, tables, rows, pinned, proof, proven_at, damaged"
        values = ", ".join("?" * len(columns.split(", ")))
        catalog.executemany(f"INSERT INTO backups ({columns}) VALUES ({values})", (backup(number) for number in range(rows)))
    for project in [7] if per_project > 1000 else range(rows // per_project):
        folder = work / f"backups/project-{project}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for number in range(project * per_project, (project + 1) * per_project):
            for ending in ("", ".json"):
                os.close(os.open(folder / f"db_{number:08}_full.dump.zst{ending}", os.O_CREAT | os.O_WRONLY, 0o600))


def questions(options, work, row):
    """What a person asks a large catalog. A configuration of one project measures the catalog and not the reading of ten thousand."""
    text = (work / "pgdumpd.toml").read_text().split("[[project]]")
    (work / "one.toml").write_text("[[project]]".join([text[0], text[8]]))

    def timed(what, target, config, *words, unit=1000):
        command = [options.binary, "--config", work / config, *words]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # warms the system's caches; not counted
        spans = []
        for _ in range(7):
            begun = time.monotonic()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            spans.append((time.monotonic() - begun) * unit)
        suffix, digits = ("ms", 0) if unit == 1000 else ("s", 2)
        spread = f"{min(spans):.{digits}f}–{max(spans):.{digits}f}"
        row(f"{options.rows:,} backups: {what}, with the program's start", f"{statistics.median(spans):.{digits}f} {suffix} ({spread})", target)

    subprocess.run([options.binary, "--config", work / "one.toml", "status"], stdout=subprocess.DEVNULL, check=False)  # makes the catalog
    fill(work, options.rows, 10_000)
    timed("first page of `list`", "100 ms", "one.toml", "list", "--json")
    timed("first page of one project", "100 ms", "one.toml", "list", "project-7", "--json")
    timed("plan of a project's 10,000", "100 ms", "one.toml", "prune", "project-7", "--dry-run", "--json")
    fill(work, options.rows, 100)
    timed("plans of all projects, 100 backups each", "5 s", "pgdumpd.toml", "prune", "--dry-run", "--summary", "--json", unit=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    for name in ("projects", "rows", "idle", "run"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    prepare(options.work)
    configure(options.work, options.projects, datetime.datetime.now(datetime.timezone.utc))
    for part in [part for part in options.parts if part] or ["serve", "questions"]:
        load, lines = report.Load(), []

        def row(what, measured, allowed):
            lines.append(f"| {what} | {measured} | {allowed} |")
            print(lines[-1], flush=True)

        {"serve": serve, "questions": questions}[part](options, options.work, row)
        head = f"{options.projects:,} projects; {load.words()}:\n"
        report.put(part, [head, "| what | measured | allowed |", "|---|---|---|", *lines])


main()
