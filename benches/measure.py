"""Runs the contenders in interleaved rounds and writes a table. Called by benches/run; Python's standard library only.

Wall time is from fork to exit, the sync of the written file included for each. The peak memory of pgdumpd is that process's own
(VmHWM, sampled every 10 ms), without pg_dump's.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import time

import report


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("binary", "config", "pgbin", "host", "port", "work", "profile"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("databases", nargs="+")
    return parser.parse_args()


def peak(pid):
    """Peak resident bytes so far of a process that is still there."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def run(command):
    """Seconds and peak memory of one run; a contender that fails ends the benchmark."""
    begin = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    highest = 0
    while child.poll() is None:
        highest = max(highest, peak(child.pid))
        try:
            child.wait(0.01)
        except subprocess.TimeoutExpired:
            pass
    seconds = time.monotonic() - begin
    words = child.stderr.read().decode(errors="replace")
    if child.returncode != 0:
        raise SystemExit(f"{command}: exit status {child.returncode}\n{words}")
    return seconds, highest


def contenders(options, database):
    """Name, command, and a function that gives the size of what it wrote."""
    out = pathlib.Path(options.work) / "out"
    plain, piped = out / f"{database}.dump", out / f"{database}.dump.zst"
    dump = f"'{options.pgbin}/pg_dump' -h '{options.host}' -p {options.port} -U postgres -Fc"
    stored = pathlib.Path(options.work) / "backups" / database

    def newest():
        return max(stored.glob("*.zst"), key=os.path.getmtime).stat().st_size

    shell = ["bash", "-o", "pipefail", "-ec"]
    ours = ("pgdumpd backup", [options.binary, "--config", options.config, "backup", database], newest)
    if database == "directory":
        folder = out / "text.dir"
        there = f"-h '{options.host}' -p {options.port} -U postgres"
        # pg_dump syncs each file of its folder by itself.
        command = f"rm -rf '{folder}'; '{options.pgbin}/pg_dump' {there} -Fd -j 2 -f '{folder}' text"
        return [ours, ("pg_dump -Fd -j 2", [*shell, command], lambda: sum(file.stat().st_size for file in folder.iterdir()))]
    return [
        ours,
        ("pg_dump -Fc", [*shell, f"{dump} -f '{plain}' {database}; sync '{plain}'"], lambda: plain.stat().st_size),
        ("pg_dump -Fc -Z0 \\| zstd -3 -T1", [*shell, f"{dump} -Z0 {database} | zstd -q -3 -T1 > '{piped}'; sync '{piped}'"], lambda: piped.stat().st_size),
    ]


def measure(options, database):
    field, rounds = contenders(options, database), options.rounds
    if database == "value":  # Memory is what counts here; pg_dump's own compression of such a value takes minutes.
        del field[1]
        rounds = min(rounds, 3)
    for _, command, _ in field:
        run(command)  # warms the server's and the system's caches; not counted
    times, memory = {name: [] for name, _, _ in field}, []
    for number in range(rounds):
        order = field[number % len(field):] + field[: number % len(field)]
        for name, command, _ in order:
            seconds, highest = run(command)
            times[name].append(seconds)
            if command[0] == options.binary:
                memory.append(highest)
            print(f"  {database}, round {number + 1}: {name}: {seconds:.2f} s", flush=True)
    sizes = {name: size() for name, _, size in field}
    ours = field[0][0]
    rows = []
    for name in times:
        pairs = [mine / theirs for mine, theirs in zip(times[ours], times[name])]
        ratio = "1" if name == ours else f"{statistics.median(pairs):.2f} ({min(pairs):.2f}–{max(pairs):.2f})"
        rows.append((name, statistics.median(times[name]), min(times[name]), max(times[name]), ratio, sizes[name]))
    return rows, max(memory), rounds


def main():
    options = arguments()
    for database in options.databases:
        load = report.Load()
        rows, memory, rounds = measure(options, database)
        size = report.output([f"{options.pgbin}/psql", "-XAtq", "-h", options.host, "-p", options.port, "-U", "postgres", "-d", "text" if database == "directory" else database,
                              "-c", "SELECT pg_size_pretty(pg_database_size(current_database()))"])
        report.put(database, [
            f"**{database}**, {size}; {rounds} rounds; {load.words()}; build profile `{options.profile}`:\n",
            "| command | median | spread | ratio | stored |", "|---|---|---|---|---|",
            *(f"| `{n}` | {m:.2f} s | {low:.2f}–{high:.2f} s | {ratio} | {stored / 1e6:.1f} MB |" for n, m, low, high, ratio, stored in rows),
            f"\nPeak memory of the pgdumpd process: {memory / 1024**2:.1f} MiB.",
        ])
    report.put("machine", [
        f"- {report.machine(options.work)}",
        f"- {report.output([f'{options.pgbin}/pg_dump', '--version'])}; server on the same machine over a Unix socket; "
        f"{report.output(['zstd', '--version']).strip('* ')}",
    ])


if __name__ == "__main__":
    main()
