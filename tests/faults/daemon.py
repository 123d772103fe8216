# SPDX-License-Identifier: Apache-2.0
"""A real supervisor with nobody in its cluster, and what it weighs."""
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cluster"))
from suite import chosen  # noqa: E402
from tap import run  # noqa: E402

MIB = 1 << 20


def wait_for(what, condition, seconds=20.0, every=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(every)
    raise AssertionError(f"{what}: not within {seconds} s")


class Supervisor:
    """In a directory and on an address of 127/8 of its own."""

    def __init__(self, build):
        self.build = pathlib.Path(build)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"dnt{os.getpid()}-"))
        pid = os.getpid()
        self.ip = f"127.{81 + pid % 100}.{pid // 100 % 250}.1"
        self.address, self.repo = f"{self.ip}:20443", f"{self.ip}:20444"
        self.socket = self.folder / "run/supervisor.sock"
        self.log = open(self.folder / "log", "ab")
        self.dnode("cluster", "init", "--dir", self.folder / "home", "--listen", self.address,
                   "--repo-listen", self.repo)
        self.process = subprocess.Popen(
            [self.build / "supervisor/main/dnode-supervisor", "--config", self.folder / "home",
             "--state", self.folder / "state", "--run", self.folder / "run"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_for("the supervisor", lambda: self.dnode("hosts", check=False).returncode == 0)

    def __enter__(self):
        return self

    def __exit__(self, *failed):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.log.close()
        text = (self.folder / "log").read_text(errors="replace")
        if failed[0] is not None or code != 0:
            print(*["# " + line for line in text.splitlines()[-40:]], sep="\n", flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        assert code == 0, f"the supervisor ended with {code}"

    def dnode(self, *words, check=True, timeout=30):
        return subprocess.run(
            [self.build / "cli/main/dnode", *words, "--home", self.folder / "home",
             "--supervisor", f"unix:{self.socket}"], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=check, timeout=timeout)

    def ask(self, *words):
        return json.loads(self.dnode(*words, "--json").stdout)

    def token(self, host):
        return self.ask("host", "token", host)["token"]

    def events(self, kind=None, since=0):
        found = self.ask("events", "-n", "1000")["events"]
        return [e for e in found if e["id"] > since and kind in (None, e["kind"])]

    def last_event(self):
        found = self.events()
        return found[-1]["id"] if found else 0

    # ---- what it weighs ----

    def status(self, name):
        for line in open(f"/proc/{self.process.pid}/status", encoding="ascii"):
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise KeyError(name)

    def resident(self):
        return self.status("VmRSS") * 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def main(tests, bench):
    """BUILD SANITIZED [NAME...]: run tests(bench(supervisor, sanitized)); never returns."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    sanitized = sys.argv.pop(2) == "true"
    with Supervisor(sys.argv[1]) as supervisor:
        result = run(bench(supervisor, sanitized), chosen(tests))
    sys.exit(result)
