"""Runs the contenders in interleaved rounds and writes a table. Called by benches/run; Python's standard library only.

Wall time is from fork to exit, the sync of the written file included for each. The peak memory of pgdumpd is that process's own
(VmHWM, sampled every 10 ms), without pg_dump's.
"""

import argparse
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import time


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("binary", "config", "pgbin", "host", "port", "work", "profile", "out"):
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
        return max(stored.glob("*.dump.zst"), key=os.path.getmtime).stat().st_size

    shell = ["bash", "-o", "pipefail", "-ec"]
    return [
        ("pgdumpd backup", [options.binary, "--config", options.config, "backup", database], newest),
        ("pg_dump -Fc", [*shell, f"{dump} -f '{plain}' {database}; sync '{plain}'"], lambda: plain.stat().st_size),
        ("pg_dump -Fc -Z0 \\| zstd -3 -T1", [*shell, f"{dump} -Z0 {database} | zstd -q -3 -T1 > '{piped}'; sync '{piped}'"], lambda: piped.stat().st_size),
    ]


def measure(options, database):
    field = contenders(options, database)
    for _, command, _ in field:
        run(command)  # warms the server's and the system's caches; not counted
    times, memory = {name: [] for name, _, _ in field}, []
    for number in range(options.rounds):
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
    return rows, max(memory)


def output(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def machine(options):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal")) / 1024**2
    disk = output(["findmnt", "-no", "FSTYPE", "-T", options.work]) if shutil.which("findmnt") else "unknown"
    return [
        f"{os.cpu_count()} × {cpu}, {memory:.0f} GiB of memory, {disk}, Linux {platform.release()}",
        f"{output([f'{options.pgbin}/pg_dump', '--version'])}; server on the same machine over a Unix socket; {output(['zstd', '--version']).strip('* ')}",
        f"pgdumpd built with `--profile {options.profile}`, with its checks on: structure, rows, SHA-256, fsync, manifest, prune",
    ]


def main():
    options = arguments()
    text = [
        "# Benchmarks\n",
        "Written by `make bench`; run it to have your own. Median of "
        f"{options.rounds} interleaved rounds after one that isn't counted, lowest and highest beside it. The ratio is the median of the "
        "rounds' own ratios, pgdumpd's time divided by the other's: above 1, pgdumpd took longer.\n",
        *[f"- {line}" for line in machine(options)],
    ]
    for database in options.databases:
        size = output([f"{options.pgbin}/psql", "-XAtq", "-h", options.host, "-p", options.port, "-U", "postgres", "-d", database,
                       "-c", "SELECT pg_size_pretty(pg_database_size(current_database()))"])
        rows, memory = measure(options, database)
        text += [f"\n## {database}, {size}\n", "| command | median | spread | ratio | stored |", "|---|---|---|---|---|"]
        text += [f"| `{n}` | {m:.2f} s | {low:.2f}–{high:.2f} s | {ratio} | {stored / 1e6:.1f} MB |" for n, m, low, high, ratio, stored in rows]
        text += [f"\nPeak memory of the pgdumpd process: {memory / 1024**2:.1f} MiB."]
    pathlib.Path(options.out).write_text("\n".join(text) + "\n")
    print("\n".join(text))


main()
