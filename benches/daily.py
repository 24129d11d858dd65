"""What everyday use costs: how soon pg_dump runs after `pgdumpd backup` was typed, and what an idle daemon with ten projects holds.

Called by benches/run. `start` has a real server and real clients; pg_dump's stand-in notes the time and becomes the real one. `ten` has no
server: nothing is due.
"""

import argparse
import os
import pathlib
import signal
import statistics
import subprocess
import time

import report

ROUNDS = 15


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("binary", "config", "pgbin", "host", "port", "work", "profile", "rounds"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("part", choices=("start", "ten"))
    return parser.parse_args()


def configure(work, rest):
    """A configuration with folders of its own."""
    for name in ("state", "backups"):
        (work / name).mkdir(parents=True, mode=0o700)
    path = work / "pgdumpd.toml"
    path.write_text(f'[daemon]\nstate_dir = "{work}/state"\n[storage.main]\ntype = "local"\npath = "{work}/backups"\nreserve = "0"\n{rest}')
    return path


def clients(options, work):
    """The real clients, and a pg_dump that notes when it was started. bash tells the time without another program."""
    folder = work / "bin"
    folder.mkdir(parents=True)
    for name in ("pg_dumpall", "pg_restore", "psql"):
        (folder / name).symlink_to(f"{options.pgbin}/{name}")
    stand_in = folder / "pg_dump"
    stand_in.write_text(f'#!/bin/bash\n[ "$1" = --version ] || echo "$EPOCHREALTIME" >>{work}/started\nexec {options.pgbin}/pg_dump "$@"\n')
    stand_in.chmod(0o755)
    return folder


def start(options):
    work = pathlib.Path(options.work) / "start"
    folder = clients(options, work)
    config = configure(work, f'[[project]]\nname = "one"\npg_bin_dir = "{folder}"\nretention = {{ keep_last = 3 }}\n'
                             f'connection = {{ host = "{options.host}", port = "{options.port}", user = "postgres", dbname = "postgres" }}\n')
    spans, whole = [], []
    for number in range(ROUNDS + 1):
        begun = time.time()
        subprocess.run([options.binary, "--config", config, "backup", "one"], check=True, capture_output=True)
        if number:  # The first learns the clients' versions and isn't counted.
            spans.append(float((work / "started").read_text().split()[-1]) - begun)
            whole.append(time.time() - begun)
            print(f"  start, round {number}: {spans[-1] * 1000:.0f} ms", flush=True)
    middle = [statistics.median(found) * 1000 for found in (spans, whole)]
    return [f"| until pg_dump runs | {middle[0]:.0f} ms ({min(spans) * 1000:.0f}–{max(spans) * 1000:.0f}) | 150 ms |",
            f"| a whole backup of an empty database | {middle[1]:.0f} ms ({min(whole) * 1000:.0f}–{max(whole) * 1000:.0f}) | |"]


def ten(options):
    work = pathlib.Path(options.work) / "ten"
    projects = "".join(f'[[project]]\nname = "project-{number}"\nconnection = "postgresql://u@s{number}.test/db"\n'
                       'retention = { keep_last = 3, keep_daily = 14, keep_monthly = 12 }\nmax_backup_age = "26h"\n'
                       '[[project.schedule]]\nname = "yearly"\ncron = "15 2 29 2 *"\n' for number in range(10))
    config = configure(work, projects)
    with open(work / "log", "w", encoding="utf-8") as log:
        daemon = subprocess.Popen([options.binary, "--config", config, "serve"], stderr=log)
    while "ready" not in (work / "log").read_text():
        if daemon.poll() is not None:
            raise SystemExit((work / "log").read_text())
        time.sleep(0.01)
    time.sleep(float(os.environ.get("IDLE", "60")))
    status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{daemon.pid}/status").read_text().splitlines())
    resident, own = (int(status[name].split()[0]) / 1000 for name in ("VmRSS", "RssAnon"))
    daemon.send_signal(signal.SIGTERM)
    if daemon.wait(30) != 0:
        raise SystemExit((work / "log").read_text())
    return [f"| resident memory of an idle daemon with ten projects | {resident:.1f} MB, of it {own:.1f} not of files | 20 MB |",
            f"| its threads | {status['Threads'].strip()} | |"]


def main():
    options = arguments()
    load = report.Load()
    rows = {"start": start, "ten": ten}[options.part](options)
    rounds = f"{ROUNDS} rounds; " if options.part == "start" else ""
    report.put(options.part, [f"{rounds}{load.words()}; build profile `{options.profile}`:\n", "| what | measured | allowed |", "|---|---|---|", *rows])


if __name__ == "__main__":
    main()
