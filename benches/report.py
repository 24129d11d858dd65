"""Puts what one part of the benchmarks measured into its section of docs/benchmarks.md, and leaves the others as they are."""

import datetime
import os
import pathlib
import platform
import shutil
import subprocess

REPORT = pathlib.Path("docs/benchmarks.md")


def put(section, lines):
    """Replaces what stands between the section's two marks; a new section goes to the end."""
    begin, end = f"<!-- {section}: written by make bench -->", f"<!-- /{section} -->"
    text = REPORT.read_text()
    body = "\n".join([begin, *lines, end])
    if begin in text:
        before, rest = text.split(begin, 1)
        text = before + body + rest.split(end, 1)[1]
    else:
        text = text.rstrip("\n") + "\n\n" + body + "\n"
    REPORT.write_text(text)
    print("\n".join(lines), flush=True)


def output(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Load:
    """How busy the machine was from the making of this until it is asked: what ratios survive, wall times don't."""

    def __init__(self):
        self.begin = os.getloadavg()[0]
        self.before = self.ticks()

    @staticmethod
    def ticks():
        fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    def words(self):
        total, idle = (now - then for now, then in zip(self.ticks(), self.before))
        return (f"{datetime.date.today()}, load average {self.begin:.1f} at the start and {os.getloadavg()[0]:.1f} at the end, "
                f"processors {100 * (1 - idle / max(total, 1)):.0f} % busy meanwhile")


def machine(work):
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal")) / 1024**2
    disk = output(["findmnt", "-no", "FSTYPE", "-T", str(work)]) if shutil.which("findmnt") else "unknown"
    return f"{os.cpu_count()} × {cpu}, {memory:.0f} GiB of memory, {disk}, Linux {platform.release()}"
