"""The watcher of the soak: looks at processes, the catalog's file and the storage several times a second, and notes what must never be."""

import json
import os
import pathlib
import threading
import time

from bed import PASSWORD

LOCK = ".pgdumpd-"


def read(path):
    try:
        return pathlib.Path(path).read_bytes()
    except OSError:
        return b""


def processes():
    """Every process of this namespace: number → (name, state, parent, start time)."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        stat = read(f"/proc/{entry}/stat").decode("utf-8", "replace")
        if ")" in stat:
            name, rest = stat[stat.index("(") + 1:stat.rindex(")")], stat[stat.rindex(")") + 2:].split()
            found[int(entry)] = (name, rest[0], int(rest[1]), rest[19])
    return found


def project_of(pid):
    """The project whose lock file the process has inherited, as its folder's name."""
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            path = pathlib.Path(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
            if path.name.startswith(LOCK) and path.name.endswith("lock"):
                return path.parent.name
    except OSError:
        pass
    return None


def dumps():
    """pg_dump and pg_dumpall at work, without those that another one started: number → (project's folder, start time)."""
    everybody = processes()
    names = ("pg_dump", "pg_dumpall")

    def started_by_another(pid):  # pg_dumpall asks pg_dump for its version, through a shell
        while pid in everybody:
            pid = everybody[pid][2]
            if everybody.get(pid, ("",))[0] in names:
                return True
        return False

    leaders = {pid: facts for pid, facts in everybody.items() if facts[0] in names and facts[1] != "Z" and not started_by_another(pid)}
    with_lock = {pid: (project_of(pid), facts[3]) for pid, facts in leaders.items()}
    return {pid: seen for pid, seen in with_lock.items() if seen[0]}


class Watcher(threading.Thread):
    def __init__(self, bed):
        super().__init__(daemon=True)
        self.bed = bed
        self.over = threading.Event()
        self.looks = self.most_dumps = self.peak_kib = self.peak_files = 0
        self.side_by_side, self.leaks, self.zombies, self.trouble = [], [], [], []
        self.zombie_since = {}
        self.catalog, self.losses = None, []
        self.backups = {}  # id → (project, database, selection), of every backup ever seen
        self.next_scan = 0

    def run(self):
        while not self.over.wait(0.12):
            try:
                self.look()
            except OSError as error:  # a file that vanishes between two looks is the soak's daily bread
                self.trouble.append(str(error))

    def look(self):
        self.looks += 1
        now = time.time()
        self.count_dumps()
        for pid in processes():
            if PASSWORD.encode() in read(f"/proc/{pid}/cmdline"):
                self.leaks.append(f"the password stood in the arguments of process {pid}")
        self.look_at_daemon(now)
        self.look_at_catalog(now)
        if now >= self.next_scan:
            self.next_scan = now + 0.7
            self.scan()

    def count_dumps(self):
        by_project = {}
        for pid, (project, started) in dumps().items():
            by_project.setdefault(project, {})[pid] = started
        self.most_dumps = max(self.most_dumps, sum(map(len, by_project.values())))
        for project, first in by_project.items():
            if len(first) > 1:
                # Looked at one after the other they may have followed each other: both must still be there.
                still = [pid for pid, (name, started) in dumps().items() if name == project and first.get(pid) == started]
                if len(still) > 1:
                    words = [f"{pid}: " + read(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace") for pid in still]
                    self.side_by_side.append(f"{project}: " + " | ".join(words))

    def look_at_daemon(self, now):
        daemon = self.bed.daemon
        if daemon is None or daemon.returncode is not None:
            return
        zombies = {pid for pid, facts in processes().items() if facts[1] == "Z" and facts[2] == daemon.pid}
        self.zombie_since = {pid: self.zombie_since.get(pid, now) for pid in zombies}
        self.zombies += [f"process {pid}, a child of the daemon, stayed a zombie" for pid, since in self.zombie_since.items() if now - since > 4]
        for line in read(f"/proc/{daemon.pid}/status").decode().splitlines():
            if line.startswith("VmHWM:"):
                self.peak_kib = max(self.peak_kib, int(line.split()[1]))
        try:
            self.peak_files = max(self.peak_files, len(os.listdir(f"/proc/{daemon.pid}/fd")))
        except OSError:
            pass

    def look_at_catalog(self, now):
        try:
            number = os.stat(self.bed.state / "catalog.db").st_ino
        except OSError:
            return
        if self.catalog is not None and number != self.catalog:
            self.losses.append(now)
        self.catalog = number

    def scan(self):
        for path in (self.bed.disk / "backups").glob("*/*.json"):
            if path.name.endswith(".proof.json") or path.name in self.backups:
                continue
            try:
                manifest = json.loads(path.read_bytes())
                self.backups[path.name] = (manifest["project"], manifest["database_name"], manifest["selection"])
            except FileNotFoundError:
                pass  # pruned
            except ValueError:
                self.trouble.append(f"{path.name} had its final name and was no whole manifest")
                self.backups[path.name] = ("?", "?", "?")
