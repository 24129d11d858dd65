"""What is broken during the soak. Each action breaks one thing, waits a little, and heals it before it returns; all are bounded."""

import os
import shutil
import signal
import time

import watch

DUMP_WAIT = 4  # seconds that an action waits for a pg_dump to hit


class Chaos:
    def __init__(self, bed, rng):
        self.bed, self.rng = bed, rng
        self.done, self.deck, self.broken = {}, [], []
        self.may_lose = True  # whether the catalog may be lost: with it goes the diary, so that what came before can't be checked

    def pause(self, shortest, longest):
        time.sleep(self.rng.uniform(shortest, longest))

    def step(self):
        """The next of a shuffled deck, so that everything has its turn; returns its name and what it did."""
        if not self.deck:
            self.deck = [name for name in dir(self) if name.startswith("do_")]
            self.rng.shuffle(self.deck)
        losing = [name for name in self.deck if "the_catalog" in name]
        if self.may_lose and losing and self.rng.random() < 0.25:
            self.deck.remove(losing[0])
            self.deck.append(losing[0])
        elif self.may_lose:  # a new catalog doesn't know the disk, so both at once would be a person's case
            self.deck = [name for name in self.deck if "unmount" not in name] or ["do_kill_the_daemon"]
        else:
            self.deck = [name for name in self.deck if name not in losing] or ["do_kill_the_daemon"]
        name = self.deck.pop()
        said = getattr(self, name)() or ""
        name = name[3:].replace("_", " ")
        self.done[name] = self.done.get(name, 0) + (said != "nothing to hit")
        return name, said

    def a_dump(self):
        """The number of a pg_dump at work, if one shows up in time. Only this namespace's processes can be seen."""
        until = time.time() + DUMP_WAIT
        while time.time() < until:
            found = sorted(watch.dumps())
            if found:
                return self.rng.choice(found)
            time.sleep(0.02)
        return None

    def hit_dump(self, how):
        pid = self.a_dump()
        try:
            if pid is not None:
                os.kill(pid, how)
                return f"process {pid}"
        except ProcessLookupError:
            pass
        return "nothing to hit"

    # ---- processes

    def do_kill_the_daemon(self):
        if self.rng.random() < 0.6:
            self.a_dump()
        self.bed.stop(signal.SIGKILL)
        self.pause(0.1, 5)
        self.bed.start()

    def do_end_the_daemon_with_TERM(self):
        if self.rng.random() < 0.6:
            self.a_dump()
        began = time.time()
        status = self.bed.stop(signal.SIGTERM)
        if status != 0:
            self.broken.append(f"TERM ended the daemon with {status} after {time.time() - began:.1f} s")
        self.pause(0.1, 3)
        self.bed.start()
        return f"{time.time() - began:.1f} s"

    def do_kill_pg_dump(self):
        return self.hit_dump(signal.SIGKILL)

    def do_stop_pg_dump(self):
        return self.hit_dump(signal.SIGSTOP)

    def do_stop_pg_dump_and_kill_the_daemon(self):
        said = self.hit_dump(signal.SIGSTOP)
        self.bed.stop(signal.SIGKILL)
        self.pause(0.1, 2)
        self.bed.start()
        return said

    def do_back_up_by_hand_beside_the_daemon(self):
        project = self.rng.choice(["app", "app-staging", "one-table", "broken"])
        ended = self.bed.pgdumpd("backup", project)
        if ended.returncode not in (0, 1, 3, 11, 75):
            self.broken.append(f"pgdumpd backup {project} ended with {ended.returncode}: {ended.stderr[-300:]}")
        return f"{project}: exit {ended.returncode}"

    # ---- the server

    def do_end_a_backend(self):
        self.a_dump()
        query = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgdumpd%' ORDER BY random() LIMIT 1"
        return self.bed.sql("postgres", query, check=False).strip() or "nothing to hit"

    def do_restart_the_server_at_once(self):
        self.a_dump()
        self.bed.pg_ctl("-m", "immediate", "stop")
        self.pause(0, 3)
        self.bed.pg_ctl("-o", f"-p {self.bed.port} -k {self.bed.socket} -c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off -c max_connections=60", "start")

    def do_lock_a_table(self):
        table = self.rng.choice(["events", "t_007", '"-Fp"'])
        self.bed.sql("shop", f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({self.rng.uniform(4, 6):.1f}); ROLLBACK;", check=False)
        return table

    # ---- disks

    def fill(self, folder, meanwhile):
        ballast = folder / "ballast"
        leave = self.rng.choice([0, 0, 4096, 200_000, 1_100_000])
        try:
            with open(ballast, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(shutil.disk_usage(folder).free - leave, 1))
        except OSError:
            pass  # somebody was faster: it is full
        meanwhile()
        ballast.unlink(missing_ok=True)
        return f"{leave} bytes left"

    def do_fill_the_storage(self):
        return self.fill(self.bed.disk, lambda: self.pause(3, 6))

    def do_fill_the_state_folder(self):
        """After a start, when the catalog's log is short: later it has room of its own."""
        self.bed.may_fall = True
        self.bed.stop(signal.SIGTERM)
        self.bed.start()
        self.pause(0.5, 1.5)
        said = self.fill(self.bed.state, lambda: self.pause(4, 7))
        self.bed.keep_running()
        self.bed.may_fall = False
        return said

    def do_start_the_daemon_with_a_full_state_folder(self):
        self.bed.may_fall = True
        self.bed.stop(self.rng.choice([signal.SIGKILL, signal.SIGTERM]))
        said = self.fill(self.bed.state, lambda: (self.bed.start(), self.pause(1, 4)))
        self.bed.keep_running()
        self.bed.may_fall = False
        return said

    def do_unmount_the_storage(self):
        self.bed.unmount()
        self.pause(2, 5)
        self.bed.mount()

    def do_unmount_the_storage_and_kill_the_daemon(self):
        self.bed.unmount()
        self.bed.stop(signal.SIGKILL)
        self.bed.start()
        self.pause(2, 4)
        self.bed.mount()

    # ---- files

    def do_give_it_a_broken_configuration(self):
        good = self.bed.config.read_text()
        before = self.bed.log.stat().st_size
        self.bed.config.write_text(good + "\n[[project]]\nnmae = 1\n")
        try:
            self.bed.daemon.send_signal(signal.SIGHUP)
            until = time.time() + 10
            while time.time() < until and b"configuration was not changed" not in self.bed.log.read_bytes()[before:]:
                time.sleep(0.1)
            else:
                if time.time() >= until:
                    self.broken.append("a broken configuration file was not told of within 10 s of HUP")
        finally:
            self.bed.config.write_text(good)
        self.bed.daemon.send_signal(signal.SIGHUP)

    def do_delete_the_catalog(self):
        suffixes = self.rng.choice([[""], ["", "-wal"], ["", "-wal", "-shm"]])
        for suffix in suffixes:
            (self.bed.state / f"catalog.db{suffix}").unlink(missing_ok=True)
        return " ".join(f"catalog.db{suffix}" for suffix in suffixes)

    def do_corrupt_the_catalog(self):
        """One byte of the file in use, most of which lies in its log."""
        return self.corrupt()

    def do_corrupt_the_catalog_while_the_daemon_is_away(self):
        self.bed.stop(signal.SIGTERM)
        said = self.corrupt()
        self.bed.start()
        return said

    def corrupt(self):
        """The byte that says what kind of page a page is. (SQLite has no checksums: a byte within a text would go unseen.)"""
        with open(self.bed.state / "catalog.db", "r+b") as file:
            pages = max(os.fstat(file.fileno()).st_size // 4096, 1)
            page = self.rng.randrange(pages)
            place = page * 4096 if page else 100
            file.seek(place)
            byte = file.read(1) or b"\0"
            file.seek(place)
            file.write(bytes([byte[0] ^ 0x55]))
        return f"page {page} of {pages}"

    def do_take_the_mail_server_away(self):
        self.bed.sink_down()
        self.pause(3, 8)
        self.bed.sink_up()
