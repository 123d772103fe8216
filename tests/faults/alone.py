# SPDX-License-Identifier: Apache-2.0
"""A real supervisor without hosts, on a state directory of the test's: started and asked in no time.

What it has acknowledged is remembered here, so that promises() can judge any later start of it.
"""
import base64
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import tap
from fleet import Failed, MANIFEST, wait_for
from shim import Shim

START_S = 30.0


class Connection(http.client.HTTPConnection):
    """HTTP over the supervisor's socket."""

    def __init__(self, path):
        super().__init__("supervisor", timeout=20)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Cluster:
    """Keys and configuration, and manifests signed ahead of need; shared by many a state."""

    def __init__(self, build, scratch, shim=None):
        self.build, self.scratch = pathlib.Path(build).resolve(), pathlib.Path(scratch)
        self.dnode = self.build / "cli/main/dnode"
        self.home = self.scratch / "home"
        self.shim = shim
        self.signed = []  # (manifest, signature), epoch 1 first
        self.states = 0
        self.command("cluster", "init", "--dir", self.home, "--listen", "127.0.0.1:7443",
                     "--repo-listen", "127.0.0.1:7480")
        self.command("key", "gen", "deploy", "--role", "deploy", "--home", self.home)

    def command(self, *args, check=True, socket_path="/nowhere"):
        done = subprocess.run([str(self.dnode), *map(str, args)], capture_output=True, text=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, DNODE_HOME=str(self.home),
                                       DNODE_SUPERVISOR=f"unix:{socket_path}"))
        if check and done.returncode != 0:
            raise Failed(f"dnode {args}: exit {done.returncode}: {done.stderr}")
        return done

    def manifest(self, epoch):
        while len(self.signed) < epoch:
            number = len(self.signed) + 1
            file = self.scratch / f"web-{number}.yaml"
            file.write_text(MANIFEST.format(
                service="web", epoch=number, ref="apps/hello", commit="0" * 64, version=number,
                replicas=1, standby=0, started="false", cpu=1, health="/healthz", respawn=5,
                drain="5s", within="10m", past="hold"))
            self.command("manifest", "sign", file, "--key", "deploy")
            self.signed.append((file, file.read_bytes(),
                                pathlib.Path(f"{file}.minisig").read_bytes()))
        return self.signed[epoch - 1]

    def fresh(self):
        """A supervisor that has never run."""
        self.states += 1
        return Alone(self, self.scratch / f"s{self.states}")


class Alone:
    """One state directory; its supervisor comes and goes."""

    def __init__(self, cluster, directory):
        self.cluster, self.build, self.shim = cluster, cluster.build, cluster.shim
        self.run_dir, self.state, self.log = (directory / n for n in ("run", "state", "log"))
        directory.mkdir()
        self.process = None
        self.epoch = 0  # the highest that was acknowledged
        self.asked = 0  # the highest that was sent
        self.lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.kill()

    def command(self, *args, check=True):
        return self.cluster.command(*args, check=check,
                                    socket_path=self.run_dir / "supervisor.sock")

    # ---- the daemon ----

    def argv(self):
        # In a network of its own: its ports are its own as well.
        return ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                str(self.build / "supervisor/main/dnode-supervisor"), "--config",
                str(self.cluster.home),
                "--state", str(self.state), "--run", str(self.run_dir)]

    def spawn(self):
        env = dict(os.environ, **(self.shim.environment if self.shim else {}))
        with open(self.log, "ab") as log:
            return subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    env=env)

    def is_up(self):
        if self.process.poll() is not None:
            raise Failed(f"the supervisor has ended: {self.process.returncode}: {self.said()}")
        try:
            return self.ask("GET", "/v1/cluster")[0] == 200
        except OSError:
            return False

    def start(self):
        # A socket of one that was killed would refuse, and that is waited for as well.
        self.process = self.spawn()
        wait_for("the supervisor to answer", self.is_up, START_S, every=0.01)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
                raise Failed("the supervisor does not end") from None
        return self.process.returncode if self.process else None

    def refuses_to_start(self):
        """(exit code, the line it says) of a start that must fail."""
        before = self.log.stat().st_size if self.log.exists() else 0
        process = self.spawn()
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failed("it has started, and should not have") from None
        lines = self.log.read_bytes()[before:].decode(errors="replace").strip().splitlines()
        told = [line for line in lines if line.startswith("dnode-supervisor: ")]
        assert len(told) == 1 and len(lines) == 1, f"not one line: {lines}"
        return process.returncode, told[0]

    def said(self):
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    # ---- asking ----

    def ask(self, method, path, body=None):
        connection = Connection(self.run_dir / "supervisor.sock")
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None,
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        except http.client.HTTPException as failed:
            raise ConnectionError(str(failed)) from failed
        finally:
            connection.close()

    def apply(self):
        """Send the next epoch, or again the one nobody answered for; (status, document)."""
        with self.lock:
            epoch = self.epoch + 1
            _, manifest, signature = self.cluster.manifest(epoch)
            self.asked = max(self.asked, epoch)
            status, told = self.ask("POST", "/v1/manifests", {
                "manifest": base64.b64encode(manifest).decode(), "plan": False,
                "signatures": [base64.b64encode(signature).decode()]})
            if status == 200:
                self.epoch = epoch
            return status, told

    def token(self, host):
        status, told = self.ask("POST", "/v1/hosts/tokens", {"host": host})
        return status, told

    def service(self):
        status, told = self.ask("GET", "/v1/services")
        assert status == 200, (status, told)
        return next((s for s in told["services"] if s["name"] == "web"), None)

    def events(self):
        status, told = self.ask("GET", "/v1/events?limit=1000")
        assert status == 200, (status, told)
        return told["events"]

    # ---- judging ----

    def promises(self):
        """Everything acknowledged is there, and nothing that was never asked for."""
        service = self.service()
        found = service["epoch"] if service else 0
        assert self.epoch <= found <= self.asked, (
            f"epoch {self.epoch} was acknowledged, {self.asked} was asked for, {found} is there")
        self.epoch = found
        ids = [e["id"] for e in self.events()]
        assert not ids or ids == list(range(ids[0], ids[-1] + 1)), f"events are missing: {ids}"

    def verify_journal(self, code=0):
        done = self.command("journal", "verify", self.state / "journal", "--json", check=False)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)


class Readers:
    """Load: people who read all the time, and whose every answer must come."""

    def __init__(self, alone, count=4, every=0.005):
        self.alone, self.every, self.failed, self.answers = alone, every, [], 0
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.read, daemon=True) for _ in range(count)]

    def read(self):
        while not self.ending.wait(self.every):
            try:
                status, told = self.alone.ask("GET", "/v1/services")
                if status != 200:
                    self.failed.append((status, told))
                self.answers += 1
            except (OSError, ValueError) as failure:
                self.failed.append(failure)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()


def rounds(usual):
    """How often a fault is repeated: @usual in CI, DNODE_TEST_ROUNDS where somebody has the time."""
    return int(os.environ.get("DNODE_TEST_ROUNDS", usual))


def timed(what):
    """A decorator that says how long a test took."""
    def around(test):
        def run(fixture):
            began = time.monotonic()
            try:
                return test(fixture)
            finally:
                print(f"# {what}: {time.monotonic() - began:.1f} s", flush=True)
        run.__name__ = test.__name__
        return run
    return around


def must_apply(alone):
    status, told = alone.apply()
    assert status == 200, (status, told)


def main(tests):
    """Run tests(cluster), all or those named after the build's directory; never returns."""
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="dnode-faults-"))
    shim = Shim(sys.argv[1], scratch, ("dnode-supervisor",))
    began = time.monotonic()
    only = sys.argv[2:]
    try:
        cluster = Cluster(sys.argv[1], scratch, shim)
        sys.exit(tap.run(cluster, [t for t in tests if not only or t.__name__ in only]))
    except Failed as failure:
        sys.exit(f"Bail out! {failure}")
    finally:
        print(f"# {time.monotonic() - began:.1f} s in all")
        shim.close()
        shutil.rmtree(scratch, ignore_errors=True)
