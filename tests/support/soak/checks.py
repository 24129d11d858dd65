"""What must hold when the soak is over, with the daemon stopped: one method per promise, each returns what is broken."""

import email
import email.policy
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import urllib.parse
from datetime import datetime, timezone

import watch
from bed import GOOD, HOSTILE, PASSWORD, PROJECTS

READERS = {".zst": "zstd -dc", ".gz": "gzip -dc", ".bz2": "bzip2 -dc"}


def when(micros):
    return datetime.fromtimestamp(micros / 1e6, timezone.utc).isoformat(timespec="seconds")


def folder_of(project):
    """The storage's folder of a project: percent-encoded but for letters, digits, and dot, hyphen, underscore within."""
    name = urllib.parse.quote(project, safe="").replace("~", "%7E")
    return f"%{ord(name[0]):02X}{name[1:]}" if name[0] in ".-" else name


class Checks:
    def __init__(self, bed, watcher, chaos, stopped):
        self.bed, self.watcher, self.chaos, self.stopped = bed, watcher, chaos, stopped
        self.root = bed.disk / "backups"
        evidence = bed.work / "evidence"
        shutil.copytree(bed.state, evidence / "state")
        shutil.copytree(bed.mail, evidence / "mail")
        shutil.copy(bed.log, evidence / "log")
        self.catalog = sqlite3.connect(evidence / "state" / "catalog.db")
        self.listed = json.loads(self.pgdumpd("list", "--json", "--limit", "100000"))
        self.manifests = {path: json.loads(path.read_bytes()) for path in sorted(self.root.glob("*/*.json")) if not path.name.endswith(".proof.json")}
        self.letters = self.read_letters()
        self.read, self.restored, self.slots_seen = 0, 0, 0

    def pgdumpd(self, *words):
        ended = self.bed.pgdumpd(*words)
        if ended.returncode:
            raise RuntimeError(f"pgdumpd {words[0]}: {ended.stderr}")
        return ended.stdout

    def ask(self, query, *values):
        return self.catalog.execute(query, values).fetchall()

    def read_letters(self):
        """Every mail once, whether delivered or still waiting: (arrival, subject, text). A mail may come twice, never be told apart by that."""
        letters = {}
        for path in sorted(self.bed.mail.glob("*.eml")):
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            body = message.get_body(("plain",))
            letters.setdefault(message["Message-ID"], (path.stat().st_mtime, str(message["Subject"]), body.get_content() if body else ""))
        for number, text, queued in self.ask("SELECT id, message, queued_at FROM outbox WHERE state = 'queued'"):
            words = json.loads(text)
            letters.setdefault(words.get("message_id", number), (queued / 1e6, words.get("subject", ""), text))
        return list(letters.values())

    # ---- promise 1 and 9

    def no_false_success(self):
        broken = []
        newest = {}
        for row in self.listed:
            path = self.root / folder_of(row["project"]) / row["file"]
            manifest = self.manifests.get(path.with_name(path.name + ".json"))
            if not path.exists() or manifest is None:
                broken.append(f"{row['file']} is listed and its artifact or manifest isn't there")
                continue
            stored = path.read_bytes()
            if len(stored) != manifest["backup_size_bytes"] or hashlib.sha256(stored).hexdigest() != manifest["checksum_sha256"]:
                broken.append(f"{row['file']} differs from its manifest in length or SHA-256")
            broken += self.unreadable(path, manifest)
            kept = newest.get((row["project"], row["selection"]))
            if row["content"] != "globals" and (kept is None or kept[0] < row["started_at"]):
                newest[(row["project"], row["selection"])] = (row["started_at"], path, manifest)
        for _, path, manifest in newest.values():
            broken += self.unrestorable(path, manifest)
        missing = [project["name"] for project in GOOD if not any(row["project"] == project["name"] for row in self.listed)]
        return broken + [f"{name!r} has no backup at all" for name in missing]

    def shell(self, line, folder):
        environment = {"PATH": f"{self.bed.pgbin}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PGHOST": self.bed.socket, "PGPORT": str(self.bed.port), "PGUSER": "postgres"}
        return subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=300)

    def unreadable(self, path, manifest):
        reader = READERS.get(path.suffix, "cat")
        if manifest["dump_format"] == "plain":
            ended = self.shell(f"{reader} ./{path.name} | tail -n 12", path.parent)
            good = b"dump complete" in ended.stdout
        else:
            ended = self.shell(f"{reader} ./{path.name} | pg_restore -f /dev/null", path.parent)
            good = not ended.stderr
        self.read += 1
        return [] if good and ended.returncode == 0 else [f"{path.name} can't be read: {ended.stderr.decode()[-300:]}"]

    def unrestorable(self, path, manifest):
        self.restored += 1
        database = f"restored_{self.restored}"
        self.bed.sql("postgres", f"CREATE DATABASE {database}")
        ended = self.shell(manifest["restore_command"].replace("NEW_DATABASE", database), path.parent)
        if ended.returncode:
            return [f"{manifest['restore_command']}: {ended.stderr.decode()[-500:]}"]
        quote = lambda text: "'" + text.replace("'", "''") + "'"
        name = lambda text: '"' + text.replace('"', '""') + '"'
        counted = [table for table in manifest["tables"] if "rows" in table]
        parts = [f"SELECT {number}, count(*) FROM ONLY {name(table['schema'])}.{name(table['name'])}" for number, table in enumerate(counted)]
        rows = dict(map(int, line.split("|")) for line in self.bed.sql(database, " UNION ALL ".join(parts)).split()) if parts else {}
        wrong = [f"{path.name}: {table['schema']}.{table['name']} has {rows.get(number)} rows restored, {table['rows']} in the manifest"
                 for number, table in enumerate(counted) if rows.get(number) != table["rows"]]
        objects = int(self.bed.sql(database, "SELECT count(*) FROM pg_largeobject_metadata"))
        if objects != manifest["large_objects"]:
            wrong.append(f"{path.name}: {objects} large objects restored, {manifest['large_objects']} in the manifest")
        tables = int(self.bed.sql(database, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r' AND nspname !~ '^pg_|^information_schema$'"))
        if manifest["type"] == "full" and tables != len(manifest["tables"]):
            wrong.append(f"{path.name}: {tables} tables restored, {len(manifest['tables'])} in the manifest")
        return wrong

    # ---- promises 2 and 3

    def nothing_partial(self):
        broken = list(self.watcher.trouble)
        listed = {(folder_of(row["project"]), row["file"]) for row in self.listed}
        for folder in sorted(path for path in self.root.iterdir() if path.is_dir()):
            names = {path.name for path in folder.iterdir()} - {".pgdumpd-lock"}
            for name in sorted(names):
                artifact = name.removesuffix(".proof.json").removesuffix(".json")
                if name.startswith("."):
                    broken.append(f"{folder.name}/{name} was left behind")
                elif artifact not in names or f"{artifact}.json" not in names:
                    broken.append(f"{folder.name}/{name} stands without its other half")
                elif (folder.name, artifact) not in listed:
                    broken.append(f"{folder.name}/{artifact} is a backup and isn't listed")
        return broken

    # ---- promise 4

    def enough_is_kept(self):
        broken = []
        ever, kept = {}, {}
        for key in self.watcher.backups.values():
            ever[key] = ever.get(key, 0) + 1
        damaged = {row["id"] for row in self.listed if row["damaged"] is not None}
        for path, manifest in self.manifests.items():
            key = (manifest["project"], manifest["database_name"], manifest["selection"])
            good = manifest["backup_id"] not in damaged and path.with_name(manifest["backup_file"]).exists()
            kept[key] = kept.get(key, 0) + good
        limits = {project["name"]: project["keep"] for project in PROJECTS}
        for key, made in sorted(ever.items()):
            least = min(made, limits.get(key[0], 1))
            if kept.get(key, 0) < least:
                broken.append(f"{key}: {kept.get(key, 0)} kept of {made} seen, {least} should be")
            if kept.get(key, 0) > limits.get(key[0], 1):
                broken.append(f"{key}: {kept[key]} kept, retention allows {least}")
        return broken

    # ---- promises 5 and 7

    def one_at_a_time(self):
        return sorted(set(self.watcher.side_by_side)) + ([] if self.watcher.most_dumps else ["no pg_dump was ever seen, so this says nothing"])

    def nothing_left_running(self):
        broken = sorted(set(self.watcher.zombies)) + self.chaos.broken
        names = ("pg_dump", "pg_dumpall", "pg_restore", "psql", "pgdumpd")
        broken += [f"{facts[0]} (process {pid}) is still there" for pid, facts in watch.processes().items() if facts[0] in names]
        broken += [f"run {run} of {project!r} has no end" for run, project in self.ask("SELECT id, project FROM runs WHERE finished_at IS NULL")]
        broken += [f"the daemon ended by itself with {status}" for _, status, excused in self.bed.fell if not excused]
        return broken

    # ---- promise 6

    def every_slot_once(self):
        broken = []
        for project in PROJECTS:
            for name, kind, timing, _ in project["schedules"]:
                rows = self.ask("SELECT due_at, coalesce(until, due_at), count, outcome FROM slots WHERE project = ? AND schedule = ? ORDER BY due_at", project["name"], name)
                # A new catalog gets the slots of the backups that were there, not those in between.
                rows = [row for row in rows if row[0] / 1e6 >= max(self.watcher.losses, default=0)]
                self.slots_seen += sum(row[2] for row in rows)
                whole = f"{project['name']!r}/{name}"
                if not rows:
                    broken.append(f"{whole} has no slot on record")
                    continue
                broken += [f"{whole}: the slot {when(row[0])} is still claimed" for row in rows if row[3] == "claimed"]
                broken += [f"{whole}: {problem}" for problem in (self.by_plan(project, name, rows) if kind == "cron" else self.by_step(rows, int(timing[:-1])))]
        return broken

    def by_plan(self, project, name, rows):
        plans = json.loads(self.pgdumpd("plan", "--json", "--from", when(rows[0][0] - 1_000_000), "--to", when((self.stopped - 2) * 1e6), "--", project["name"]))
        plan = next(plan for plan in plans if plan["schedule"] == name)
        due = [int(datetime.fromisoformat(slot.replace("Z", "+00:00")).timestamp()) * 1_000_000 for slot in plan["slots"]]
        problems = []
        for slot in due:
            holders = [row for row in rows if row[0] <= slot <= row[1]]
            if len(holders) != 1:
                problems.append(f"{len(holders)} rows hold the slot {when(slot)}")
        for first, last, count, outcome in rows:
            inside = [slot for slot in due if first <= slot <= last]
            if len(inside) != count and last <= (self.stopped - 2) * 1e6:
                problems.append(f"the row {when(first)} ({outcome}) stands for {count} slots, {len(inside)} are planned there")
        return problems

    def by_step(self, rows, seconds):
        """An interval has no plan of its own: each row must begin one interval after the one before, and hold whole intervals."""
        step, problems = seconds * 1_000_000, []
        for (first, last, count, outcome), after in zip(rows, rows[1:] + [None]):
            if last - first != (count - 1) * step:
                problems.append(f"the row {when(first)} ({outcome}) says {count} slots until {when(last)}")
            if after and after[0] != last + step:
                problems.append(f"after {when(last)} ({outcome}) comes {when(after[0])} ({after[3]}) instead of {when(last + step)}")
        if self.stopped * 1e6 - rows[-1][1] > step + 3e6:
            problems.append(f"nothing after {when(rows[-1][1])}")
        return problems

    # ---- promise 8

    def failures_were_told(self):
        """A catalog that is lost takes its alerts and waiting mail along (and says so): what counts is what came after."""
        broken = []
        since = max(self.watcher.losses, default=0)
        counted = [letter for letter in self.letters if letter[0] >= since]
        for project in PROJECTS:
            failed = self.ask("SELECT max(finished_at) FROM runs WHERE project = ? AND status = 'failed' AND failure NOT LIKE '%\"locked\"%'", project["name"])[0][0]
            about = [letter for letter in counted if self.names(project["name"], letter)]
            if failed and not about:
                broken.append(f"{project['name']!r} failed at {when(failed)}, and no mail says so")
            if failed and not project.get("broken") and not any(re.search(r"\bOK\b", letter[1] + letter[2]) for letter in about):
                broken.append(f"{project['name']!r} recovered, and no mail says so")
        told = [letter for letter in self.letters if self.names("broken", letter) and "FAILED broken" in letter[1] + letter[2]]
        causes = len({json.loads(text)["cause"] for (text,) in self.ask("SELECT failure FROM runs WHERE project = 'broken' AND failure IS NOT NULL")})
        most = (len(self.watcher.losses) + 1) * max(causes + 2, 4)
        if not 1 <= len(told) <= most:
            broken.append(f"the project that always fails was told {len(told)} times; 1 to {most} would be right")
        # One round a minute, one more at each start and stop of the daemon, and what a lost catalog makes news again.
        minutes = (self.stopped - self.bed.began) / 60
        most = int(minutes) + 1 + 2 * self.bed.starts + 2 * len(self.watcher.losses) + 3
        if len(self.letters) > most:
            broken.append(f"{len(self.letters)} mails are a storm: at most {most} were to be expected")
        standing = json.loads(self.bed.pgdumpd("status", "--json").stdout)
        for project in standing["projects"]:
            wanted = "failing" if project["project"] == "broken" else "ok"
            if project["status"] != wanted:
                broken.append(f"{project['project']!r} stands as {project['status']}, not {wanted}")
        return broken + standing["problems"]

    @staticmethod
    def names(project, letter):
        shown = "etc/hostile" if project == HOSTILE else project
        return re.search(rf"(?<![\w-]){re.escape(shown)}(?![\w-])", f"{letter[1]}\n{letter[2]}") is not None

    # ---- promises 11 and 12

    def secrets_stay(self):
        broken = sorted(set(self.watcher.leaks))
        for top in (self.bed.work / "evidence", self.root):
            for folder, _, files in os.walk(top):
                broken += [f"the password stands in {os.path.join(folder, file)}" for file in files if PASSWORD.encode() in watch.read(os.path.join(folder, file))]
        return broken

    def names_stay_data(self):
        wanted = {folder_of(project["name"]) for project in PROJECTS}
        broken = [f"{path} is nobody's folder" for path in self.root.iterdir() if path.name not in wanted | {".pgdumpd-storage"}]
        if folder_of(HOSTILE) not in {path.name for path in self.root.iterdir()}:
            broken.append("the project with the hostile name has no folder")
        known = {"backups"}
        broken += [f"{path} appeared on the storage's disk" for path in self.bed.disk.iterdir() if path.name not in known]
        known = {"pg", "pgdumpd", "pgdumpd.toml", "log", "mail", "disk", "storage", "state", "evidence", "password"}
        broken += [f"{path} appeared" for path in self.bed.work.iterdir() if path.name not in known]
        self.bed.unmount()
        broken += [f"{path.name} was written below the bare mount point" for path in self.bed.storage.iterdir()]
        self.bed.mount()
        return broken + [path for path in ("/etc/hostile", "/etc/x") if os.path.lexists(path)]

    # ---- what happened

    def summary(self):
        runs = dict(self.ask("SELECT status, count(*) FROM runs GROUP BY 1"))
        log = self.bed.log.read_text(errors="replace")
        causes = {}
        for cause in re.findall(r"backup failed: .*?cause=(?:\x1b\[\d+m)?([a-z-]+)|cause=([a-z-]+)", log):
            word = cause[0] or cause[1]
            causes[word] = causes.get(word, 0) + 1
        outcomes = dict(self.ask("SELECT outcome, sum(count) FROM slots GROUP BY 1"))
        say = lambda counts: ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"
        return [
            ("backups made", f"{log.count('backup made')}, kept {len(self.listed)}; read to their end {self.read}, restored {self.restored}"),
            ("failures by cause", say(causes)),
            ("runs since the catalog was last lost", say(runs)),
            ("slots since then", say(outcomes)),
            ("broken on purpose", say(self.chaos.done)),
            ("daemon", f"started {self.bed.starts} times, ended by itself {len(self.bed.fell)} times; at most {self.watcher.peak_kib // 1024} MiB and {self.watcher.peak_files} files"),
            ("catalog lost", f"{len(self.watcher.losses)} times"),
            ("pg_dumps at once", f"at most {self.watcher.most_dumps} in {self.watcher.looks} looks"),
            ("mails", str(len(self.letters))),
        ]


TABLE = [
    ("1, 9", "no false success; standard tools restore it", "no_false_success"),
    ("2, 3", "artifact and manifest together, nothing partial", "nothing_partial"),
    ("4", "enough is kept, and no more than that", "enough_is_kept"),
    ("5", "never two dumps of one project at once", "one_at_a_time"),
    ("6", "every due slot has one outcome", "every_slot_once"),
    ("7", "every run ends; no orphan, no zombie", "nothing_left_running"),
    ("8", "failures and recoveries told, without a storm", "failures_were_told"),
    ("11", "the password is nowhere", "secrets_stay"),
    ("12", "hostile names stay data", "names_stay_data"),
]
