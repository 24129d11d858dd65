"""The bed of the soak: folders, disks, databases, configuration, the daemon and the mail sink, and how to reach each."""

import grp
import json
import os
import pathlib
import pwd
import secrets
import signal
import socket
import subprocess
import sys
import time

PASSWORD = "pw-" + secrets.token_hex(12)
HOSTILE = "../../etc/hostile'; drop table x; -- \u202egpj"
ODD_DATABASES = ["host=evil dbname=x'; drop", '-Fp "../\u202ex']
TABLES = 500

# name, what stands in its [[project]], and (schedule, timing, content); keep: its keep_last
PROJECTS = [
    {"name": "app", "keep": 3, "databases": ["shop"], "globals": True, "schedules": [("often", "cron", "*/5 * * * * *", "full")]},
    {"name": "app-staging", "keep": 2, "databases": ["trial"], "format": "tar",
     "schedules": [("often", "cron", "*/7 * * * * *", "full"), ("definitions", "every", "10s", "schema")]},
    {"name": HOSTILE, "keep": 2, "databases": ODD_DATABASES, "format": "plain", "compression": "gzip",
     "schedules": [("odd", "every", "6s", "full")]},
    {"name": "everything", "keep": 2, "databases": "all", "schedules": [("all", "cron", "*/10 * * * * *", "full")]},
    {"name": "one-table", "keep": 4, "databases": ["shop"], "tables": ["public.events"], "compression": "native",
     "schedules": [("quick", "cron", "*/3 * * * * *", "full")]},
    {"name": "broken", "keep": 2, "databases": ["shop"], "broken": True, "schedules": [("often", "cron", "*/4 * * * * *", "full")]},
]
GOOD = [project for project in PROJECTS if not project.get("broken")]


def keyed(schedule):
    return f"{{ name = {json.dumps(schedule[0])}, {schedule[1]} = {json.dumps(schedule[2])}, content = {json.dumps(schedule[3])} }}"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Bed:
    def __init__(self, work):
        self.work = pathlib.Path(work)
        self.binary = str(self.work / "pgdumpd")
        self.config = self.work / "pgdumpd.toml"
        self.log = self.work / "log"
        self.mail = self.work / "mail"
        self.disk = self.work / "disk"  # the storage's disk; its folder "backups" is mounted at self.storage
        self.storage = self.work / "storage"
        self.state = self.work / "state"
        self.port = int(os.environ["CLUSTER_PORT"])
        self.socket = os.environ["CLUSTER_DIR"]
        self.pgbin = os.environ["PGBIN"]
        self.mail_port, self.closed_port = free_port(), free_port()
        self.owner = (pwd.getpwnam("nobody").pw_uid, grp.getgrnam("nogroup").gr_gid)
        self.daemon = self.sink = None
        self.starts, self.fell, self.may_fall = 0, [], False

    # ---- disks and files

    def make(self):
        for folder in (self.mail, self.disk, self.storage, self.state, self.work / "evidence"):
            folder.mkdir()
        self.run("mount", "-t", "tmpfs", "-o", "size=96m,mode=0755", "disk", str(self.disk))
        self.run("mount", "-t", "tmpfs", "-o", "size=48m,mode=0700", "state", str(self.state))
        (self.disk / "backups").mkdir(mode=0o700)
        (self.work / "password").write_text(PASSWORD + "\n")
        (self.work / "password").chmod(0o600)
        # The bare mount point belongs to the daemon as well: only its own care keeps it from writing there.
        for path in (self.disk / "backups", self.storage, self.state, self.work / "password"):
            os.chown(path, *self.owner)
            path.chmod(0o600 if path.is_file() else 0o700)
        self.mount()
        self.config.write_text(self.toml())

    def mount(self):
        self.run("mount", "--bind", str(self.disk / "backups"), str(self.storage))

    def unmount(self):
        self.run("umount", "-l", str(self.storage))

    def toml(self):
        lines = ["[daemon]", f'state_dir = "{self.state}"', "max_parallel = 3", "max_parallel_per_server = 2", 'grace = "3s"', 'heartbeat = "2s"',
                 "[storage.main]", f'path = "{self.storage}"', 'reserve = "1 MiB"',
                 "[smtp]", 'host = "127.0.0.1"', f"port = {self.mail_port}", 'security = "none"', 'from = "pgdumpd@example.org"',
                 'to = ["oncall@example.org"]', 'timeout = "5s"',
                 "[defaults]", f'password = {{ file = "{self.work}/password" }}', 'max_backup_age = "26h"',
                 'limits = { lock_wait = "3s", no_progress = "4s", connect = "5s", retries = ["1s"] }']
        for project in PROJECTS:
            port = self.closed_port if project.get("broken") else self.port
            lines += ["[[project]]", f"name = {json.dumps(project['name'])}", f'connection = "postgresql://backup@127.0.0.1:{port}/shop"',
                      f"retention = {{ keep_last = {project['keep']} }}"]
            lines += [f"{key} = {json.dumps(project[key])}" for key in ("databases", "globals", "tables", "format", "compression") if key in project]
            lines.append(f"schedule = [{', '.join(map(keyed, project['schedules']))}]")
        return "\n".join(lines) + "\n"

    # ---- commands

    def run(self, *command, **more):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, **more)
        if done.returncode:
            raise RuntimeError(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def sql(self, database, text, check=True):
        command = [f"{self.pgbin}/psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", self.socket, "-p", str(self.port), "-U", "postgres", "-d", "dbname='" + database.replace("\\", "\\\\").replace("'", "\\'") + "'"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=300)
        if done.returncode and check:
            raise RuntimeError(f"psql: {done.stderr.strip()}")
        return done.stdout

    def pg_ctl(self, *words):
        self.run("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", f"{self.pgbin}/pg_ctl", "-D", f"{self.socket}/data", "-w", "-t", "60",
                 "-l", f"{self.socket}/server.log", *words, cwd=self.socket)

    def environment(self):
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PGDUMPD_CONFIG": str(self.config)}

    def pgdumpd(self, *words):
        """A command line as the daemon's user; the result with returncode, stdout and stderr."""
        return subprocess.run([self.binary, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, user=self.owner[0],
                              group=self.owner[1], extra_groups=[], env=self.environment(), cwd="/")

    # ---- the daemon and the mail sink

    def start(self):
        self.starts += 1
        with open(self.log, "ab") as log:
            self.daemon = subprocess.Popen([self.binary, "serve"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, user=self.owner[0],
                                           group=self.owner[1], extra_groups=[], env=self.environment(), cwd="/", start_new_session=True)

    def keep_running(self):
        """What a service manager does: starts it again when it ended by itself, and notes that."""
        if self.daemon.poll() is not None:
            self.fell.append((time.time(), self.daemon.returncode, self.may_fall))
            time.sleep(1)
            self.start()

    def stop(self, how):
        """Ends the daemon; its exit status, or None where half a minute was not enough."""
        self.daemon.send_signal(how)
        try:
            return self.daemon.wait(30)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
            return None

    def sink_up(self):
        if self.sink is None:
            script = str(pathlib.Path(__file__).parent.parent / "mailsink.py")
            self.sink = subprocess.Popen([sys.executable, script, str(self.mail_port), str(self.mail)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sink_down(self):
        if self.sink is not None:
            self.sink.send_signal(signal.SIGKILL)
            self.sink.wait()
            self.sink = None

    # ---- the databases

    def fill(self):
        name = lambda text: '"' + text.replace('"', '""') + '"'
        self.sql("postgres", f"CREATE ROLE backup LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_read_all_data;\nCREATE ROLE writer;\n"
                 "GRANT pg_signal_backend TO backup;\n"
                 + "".join(f"CREATE DATABASE {name(database)};\n" for database in ["shop", "trial", *ODD_DATABASES]))
        shop = [f"CREATE TABLE t_{n:03} (id int PRIMARY KEY, words text, at timestamptz DEFAULT now());" for n in range(TABLES)]
        shop += [f"INSERT INTO t_{n:03} SELECT k, md5(k::text) FROM generate_series(1, {n % 17}) k;" for n in range(TABLES)]
        shop.append(r'''
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text, body jsonb, blob bytea);
INSERT INTO events (kind, body, blob) SELECT 'kind ' || n % 7, jsonb_build_object('n', n), decode(md5(n::text), 'hex') FROM generate_series(1, 20000) n;
CREATE SCHEMA "Größe & Form";
CREATE TYPE "Größe & Form"."it's a ""type""" AS ENUM ('new', 'old');
CREATE TABLE "Größe & Form"."it's ""quoted""; -- \ 表" ("a b" int, "select" text, t "Größe & Form"."it's a ""type""");
INSERT INTO "Größe & Form"."it's ""quoted""; -- \ 表" VALUES (1, E'tab\tnewline\n\\.', 'new'), (2, NULL, 'old'), (3, '\.', NULL);
CREATE TABLE "-Fp" (x float8); INSERT INTO "-Fp" VALUES ('NaN'), ('-Infinity'), (1e-300);
CREATE MATERIALIZED VIEW kinds AS SELECT kind, count(*) FROM events GROUP BY kind;
SELECT lo_from_bytea(4711, convert_to(repeat('a large object ', 20000), 'UTF8'));
SELECT lo_from_bytea(4712, '\x00ff00ff');
GRANT SELECT ON LARGE OBJECT 4711, 4712 TO backup;''')
        self.sql("shop", "BEGIN;\n" + "\n".join(shop) + "\nCOMMIT;")
        for number, database in enumerate(["trial", *ODD_DATABASES]):
            self.sql(database, f"CREATE SCHEMA s; CREATE TABLE s.rows AS SELECT n AS id, md5(n::text) AS word FROM generate_series(1, {1000 + number}) n;")
