"""Restoring, verifying and reading a backup against PostgreSQL's own tools on the same archive, in interleaved rounds.

Called by benches/run. Wall time from fork to exit; the peak is pgdumpd's own process.
"""

import argparse
import json
import pathlib
import statistics
import subprocess

import report
from measure import run

SHELL = ["bash", "-o", "pipefail", "-ec"]
# pg_restore ends as soon as it has the table, and the pipe with it.
EARLY = ["bash", "-ec"]


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("binary", "config", "pgbin", "host", "port", "work", "profile"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("database")
    return parser.parse_args()


def pairs(options, backup, file):
    """What is compared: a name, ours, theirs, what both need before each run, and the ratio allowed."""
    ours = [options.binary, "--config", options.config]
    there = f"-h '{options.host}' -p {options.port} -U postgres"
    sql = f"'{options.pgbin}/psql' -Xq {there} -d postgres -c"
    # What the run before left to be written is not this one's.
    fresh = [*SHELL, f"{sql} 'DROP DATABASE IF EXISTS restored' -c CHECKPOINT"]
    restore = f"'{options.pgbin}/pg_restore'"
    scratch = pathlib.Path(options.work) / "scratch.dump"
    piped = f"{sql} 'CREATE DATABASE restored'; zstd -dc '{file}' | {restore} -e {there} -d restored"
    parallel = (f"{sql} 'CREATE DATABASE restored'; zstd -dcq '{file}' -o '{scratch}' -f; "
                f"{restore} -e -j 2 {there} -d restored '{scratch}'")
    analyze = f"{sql} ANALYZE".replace(" -d postgres", " -d restored")
    found = [
        ("restore --no-analyze", [*ours, "restore", backup, "--to", "restored", "--no-analyze"], [*SHELL, piped], fresh, "1.10"),
        ("restore, and pg_restore with ANALYZE", [*ours, "restore", backup, "--to", "restored"], [*SHELL, f"{piped}; {analyze}"], fresh, "1.10"),
        ("restore --jobs 2 --no-analyze", [*ours, "restore", backup, "--to", "restored", "--jobs", "2", "--no-analyze"],
         [*SHELL, parallel], fresh, "1.10"),
        ("restore --jobs 2, and pg_restore -j 2 with ANALYZE", [*ours, "restore", backup, "--to", "restored", "--jobs", "2"],
         [*SHELL, f"{parallel}; {analyze}"], fresh, "1.10"),
        ("cat of a small table", [*ours, "cat", backup, "kinds", "--format", "copy"],
         [*EARLY, f"zstd -dc '{file}' | {restore} --data-only -t kinds -f -"], None, "0.10"),
        ("cat of the large table", [*ours, "cat", backup, "events", "--format", "copy"],
         [*EARLY, f"zstd -dc '{file}' | {restore} --data-only -t events -f -"], None, "1"),
    ]
    if subprocess.run([options.binary, "verify", "--help"], capture_output=True, check=False).returncode == 0:
        found += [
            ("verify --level checksum", [*ours, "verify", backup, "--level", "checksum"], ["sha256sum", file], None, "1"),
            ("verify --level read", [*ours, "verify", backup, "--level", "read"],
             [*SHELL, f"zstd -dc '{file}' | {restore} -f /dev/null"], None, "1.10"),
        ]
    return found


def compare(name, mine, theirs, before, rounds, allowed):
    times, memory = ([], []), 0
    for number in range(rounds + 1):
        spans = [0, 0]
        for which in (0, 1) if number % 2 else (1, 0):
            if before:
                subprocess.run(before, check=True, capture_output=True)
            spans[which], highest = run((mine, theirs)[which])
            memory = max(memory, highest if which == 0 else 0)
        if number:  # The first warms the caches and isn't counted.
            times[0].append(spans[0])
            times[1].append(spans[1])
            print(f"  {name}, round {number}: {spans[0]:.3f} s, {spans[1]:.3f} s", flush=True)
    ratios = [one / other for one, other in zip(*times)]
    middle = [statistics.median(span) for span in times]
    return (f"| `{name}` | {middle[0]:.3f} s | {middle[1]:.3f} s | {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) "
            f"| {allowed} | {memory / 1024**2:.0f} MiB |")


def main():
    options = arguments()
    load = report.Load()
    ours = [options.binary, "--config", options.config]
    run([*ours, "backup", options.database])
    backup = json.loads(report.output([*ours, "list", options.database, "--limit", "1", "--json"]))
    backup = backup[0] if isinstance(backup, list) else backup
    file = str(pathlib.Path(options.work) / "backups" / options.database / backup["file"])
    rows = [compare(name, mine, theirs, before, options.rounds, allowed) for name, mine, theirs, before, allowed in pairs(options, backup["id"], file)]
    report.put("restore", [
        f"A backup of {backup['uncompressed_size'] / 1e6:.0f} MB, {backup['size'] / 1e6:.0f} MB stored; {options.rounds} rounds; {load.words()}; "
        f"build profile `{options.profile}`:\n",
        "| what | pgdumpd | the tools | ratio | allowed | peak memory |", "|---|---|---|---|---|---|", *rows,
    ])


if __name__ == "__main__":
    main()
