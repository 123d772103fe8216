# SPDX-License-Identifier: Apache-2.0
"""A lab of real daemons for tests and benchmarks: made, asked, loaded, and taken away again."""
import contextlib
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import tempfile
import time

import sanitizer

MANIFEST = """\
dnode: v1
service: {service}
epoch: {epoch}
state: running
image: {{ref: {ref}, commit: {commit}}}
run: {{env: {{VERSION: "{version}"}}}}
replicas: {replicas}
standby: {{count: {standby}, started: {started}}}
listen: [{{port: 8080, expose: 80}}]
resources: {{memory: 64MiB, cpu: {cpu}, pids: 32, files: 256}}
writable: [{{path: /tmp, size: 4MiB}}]
health: {{http: {health}, every: 500ms, timeout: 500ms}}
respawn: {{count: {respawn}, within: {within}, past: {past}}}
roll: {{surge: 1, drain: {drain}, deadline: 30s}}
"""


class Failed(Exception):
    """A condition that did not come true, or a command that failed."""


def wait_for(what, condition, seconds=30.0, every=0.05):
    """Return the first true answer of condition(); fail when there is none in time."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        last = condition()
        if last:
            return last
        time.sleep(every)
    raise Failed(f"{what}: not within {seconds} s; last seen: {last!r}")


class Fleet:
    """One lab, named apart from every other on this kernel."""

    def __init__(self, build, hosts=3, name=None):
        self.build = pathlib.Path(build).resolve()
        self.name = name or f"t{os.getpid()}"
        self.hosts = hosts
        self.dnode = self.build / "cli/main/dnode"
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="dnode-fleet-"))
        self.commits = {}
        self.status = {}
        self.cleanup = contextlib.ExitStack()  # what a test began in it, ended before it is

    def __enter__(self):
        try:
            self.run("lab", "up", "--hosts", str(self.hosts), "--name", self.name, timeout=180)
            self.status = self.ask("lab", "status", "--name", self.name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        if _[0] is not None:
            self.tell_logs()
        self.cleanup.close()
        self.run("lab", "down", "--name", self.name, timeout=180, check=False)
        found = self.sanitizers_found()
        subprocess.run(["rm", "-rf", str(self.scratch)], check=False)
        if found and _[0] is None:
            raise Failed("a sanitizer has something to say")

    def sanitizers_found(self):
        """Tell what sanitizers wrote of any program of the lab, ended ones too."""
        found = [(file.name, report) for file in sorted(self.scratch.glob("sanitizer.*"))
                 for report in sanitizer.reports(file.read_text(errors="replace"))]
        for name, report in found[:20]:
            print(f"# --- {name}", *report.splitlines()[:200], sep="\n# ", flush=True)
        return len(found)

    def tell_logs(self):
        logs = self.status.get("logs")
        for file in sorted(pathlib.Path(logs).glob("*")) if logs else []:
            tail = file.read_text(errors="replace").splitlines()[-25:]
            print(f"# --- {file.name}", *tail, sep="\n# ", flush=True)

    def environment(self):
        home = self.status.get("home", f"/var/lib/{self.name}/home")
        # A daemon's last words would go with its log, and nobody waits for its exit status.
        words = {name: f"{os.environ.get(name, '')}:halt_on_error=0:"
                       f"log_path={self.scratch}/sanitizer"
                 for name in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")}
        return dict(os.environ, **words, DNODE_HOME=home,
                    DNODE_SUPERVISOR="unix:" + self.status.get(
                        "socket", f"/run/{self.name}/supervisor/supervisor.sock"))

    def run(self, *args, check=True, timeout=60):
        done = subprocess.run([str(self.dnode), *map(str, args)], capture_output=True, text=True,
                              env=self.environment(), timeout=timeout,
                              stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise Failed(f"dnode {' '.join(map(str, args))}: exit {done.returncode}: "
                         f"{done.stderr.strip()}")
        return done

    def ask(self, *args, timeout=60):
        return json.loads(self.run(*args, "--json", timeout=timeout).stdout)

    # ---- images and manifests ----

    def image(self, recipe):
        """Build, sign and push a recipe once; returns its commit."""
        recipe = str(recipe)
        if recipe not in self.commits:
            built = self.ask("image", "build", recipe, "--key", "release")
            self.commits[recipe] = built["image"]["commit"]
            self.run("image", "push", self.commits[recipe])
        return self.commits[recipe]

    def hello(self, which="image.yaml"):
        return self.image(self.build / "images/hello" / which)

    def manifest(self, service="web", epoch=1, commit=None, ref="apps/hello", version="1",
                 replicas=3, standby=1, started=True, respawn=50, drain="5s", health="/healthz",
                 cpu=1, within="10m", past="hold", more=""):
        text = MANIFEST.format(service=service, epoch=epoch, commit=commit or self.hello(),
                               ref=ref, version=version, replicas=replicas, standby=standby,
                               started=str(started).lower(), respawn=respawn, drain=drain,
                               health=health, cpu=cpu, within=within, past=past) + more
        file = self.scratch / f"{service}-{epoch}.yaml"
        file.write_text(text)
        return file

    def apply(self, **manifest):
        file = self.manifest(**manifest)
        self.run("apply", file, "--key", "deploy")
        return file

    # ---- looking ----

    def service(self, name="web"):
        return next((s for s in self.ask("services")["services"] if s["name"] == name), None)

    def nodes(self, service=None, **match):
        found = self.ask("nodes", *([service] if service else []))["nodes"]
        return [n for n in found if all(n.get(k) == v for k, v in match.items())]

    def incidents(self):
        return self.ask("incidents")["incidents"]

    def wait_ready(self, service="web", ready=3, standby=None, seconds=60.0, epoch=None):
        def settled():
            now = self.service(service)
            good = now and now["ready"] == ready and now["state"] == "running" and (
                standby is None or now["standby"] == standby) and (
                epoch is None or now["epoch"] == epoch)
            return now if good else None
        return wait_for(f"{ready} ready nodes of {service}", settled, seconds)

    def wait_still(self, seconds=60.0):
        """Until nothing is on its way: every node is ready or a standby."""
        wait_for("the fleet to come to rest", lambda: all(
            n["state"] in ("ready", "standby") for n in self.nodes()) and all(
            s["rolling"] is None for s in self.ask("services")["services"]), seconds)

    # ---- the clients' side ----

    def client(self, *command, check=True, timeout=30, **more):
        net = f"--net=/run/netns/{self.status['client_netns']}"
        return subprocess.run(["nsenter", net, *command], capture_output=True, text=True,
                              check=check, timeout=timeout, **more)

    def get(self, url, check=True):
        done = self.client("curl", "-sS", "--max-time", "5", url, check=False)
        if check and done.returncode != 0:
            raise Failed(f"GET {url}: {done.stderr.strip()}")
        return done.stdout if done.returncode == 0 else None

    @contextlib.contextmanager
    def load(self, vip, busy=32, idle=8, rate=2000, port=80):
        """Clients that run beside the block; yields a Load."""
        load = Load(self, vip, port, busy, idle, rate)
        try:
            yield load
        finally:
            load.stop()

    # ---- daemons ----

    def daemon_pid(self, host):
        status = self.ask("lab", "status", "--name", self.name)
        row = next(h for h in status["hosts"] if h["name"] == host)
        return row["pid"]

    def restart_agent(self, host, by=signal.SIGKILL):
        """End it, and wait until the lab has started it again and it is linked."""
        old = self.daemon_pid(host)
        os.kill(old, by)
        wait_for(f"a new agent of {host}", lambda: self.daemon_pid(host) not in (None, old))
        # The supervisor may not have noticed yet that the old one is gone.
        wait_for("it to answer", lambda: self.agent(host, "nodes", check=False).returncode == 0)
        self.wait_hosts()

    def restart_supervisor(self, forget_drills_of=None):
        """kill -9 the supervisor; before, take a service's drills out of what it stored."""
        def pid():
            return self.ask("lab", "status", "--name", self.name)["supervisor"]["pid"]
        old = pid()
        try:
            if forget_drills_of:
                self.stop_between_transactions(old, lambda: self.forget_drills(forget_drills_of))
        finally:
            os.kill(old, signal.SIGKILL)
        wait_for("a new supervisor", lambda: pid() not in (None, old))
        self.wait_hosts()

    @staticmethod
    @contextlib.contextmanager
    def nobody_starts_it_again(pid):
        """A daemon that may die is not followed by another before the block ends."""
        monitor = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(monitor, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(monitor, signal.SIGCONT)

    @contextlib.contextmanager
    def killed(self, pid):
        with self.nobody_starts_it_again(pid):
            os.kill(pid, signal.SIGKILL)
            yield

    @contextlib.contextmanager
    def without_supervisor(self):
        with self.killed(self.ask("lab", "status", "--name", self.name)["supervisor"]["pid"]):
            yield
        self.wait_hosts()

    def agent(self, host, *args, check=True):
        """Ask one host's agent itself."""
        row = next(h for h in self.status["hosts"] if h["name"] == host)
        return self.run("--agent", row["socket"], *args, check=check)

    def ask_agent(self, host, *args):
        return json.loads(self.agent(host, *args, "--json").stdout)

    @staticmethod
    def stop_between_transactions(pid, change):
        """Stop a process and call change(); one that was stopped with its store locked goes on."""
        def changed():
            os.kill(pid, signal.SIGSTOP)
            try:
                change()
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
                return False
            return True
        wait_for("the store to be unlocked", changed)

    def forget_drills(self, service):
        store = sqlite3.connect(f"/var/lib/{self.name}/supervisor/store.db", timeout=0.2)
        with contextlib.closing(store), store:
            where = "WHERE key = ? ORDER BY revision DESC LIMIT 1"
            revision, value = store.execute("SELECT revision, value FROM entry " + where,
                                            (f"service/{service}",)).fetchone()
            record = json.loads(value)
            assert record["drills"], record
            record["drills"] = []
            store.execute("UPDATE entry SET value = ?, sum = NULL WHERE key = ? AND revision = ?",
                          (json.dumps(record).encode(), f"service/{service}", revision))

    def wait_hosts(self):
        def up():
            done = self.run("hosts", "--json", check=False)
            hosts = json.loads(done.stdout)["hosts"] if done.returncode == 0 else []
            # One that is fenced stays away for good.
            return len(hosts) == self.hosts and all(h["state"] in ("up", "fenced")
                                                    for h in hosts)
        wait_for("every host to be up", up)

    def destroy(self, incident):
        self.run("incident", "destroy", incident, "--key", "responder", "--reason", "test")


class Load:
    """bench/load in the clients' namespace; its lines are kept in self.lines."""

    def __init__(self, fleet, vip, port, busy, idle, rate):
        # Two descriptions of one file: reading must not move the place where the clients write.
        path = fleet.scratch / f"load-{time.monotonic_ns()}"
        writer = open(path, "ab")
        self.out = open(path, "rb")
        net = f"--net=/run/netns/{fleet.status['client_netns']}"
        self.process = subprocess.Popen(
            ["nsenter", net, str(fleet.build / "bench/load"), vip, str(port), str(busy),
             str(idle), str(rate)], stdin=subprocess.PIPE, stdout=writer,
            start_new_session=True)
        writer.close()
        self.summary = None
        self.position = 0

    def say(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def news(self):
        """Lines since the last call."""
        self.out.seek(self.position)
        data = self.out.read()
        whole = data[:data.rfind(b"\n") + 1]
        self.position += len(whole)
        return [json.loads(line) for line in whole.splitlines()]

    def stop(self):
        if self.process.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                self.say("quit")
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.summary is None and not self.out.closed:
            self.out.seek(0)
            lines = self.out.read().splitlines()
            self.summary = json.loads(lines[-1]) if lines else {}
            self.lines = [json.loads(line) for line in lines]
            self.out.close()
        return self.summary
