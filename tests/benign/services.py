# SPDX-License-Identifier: Apache-2.0
"""The services of the benign suite: what each is made of, what its manifest says, what it is asked."""
import datetime

import echo
import trees
from fleet import Failed, wait_for
from tap import Skip

MANIFEST = """\
dnode: v1
service: {name}
epoch: 1
image: {{ref: apps/{image}, commit: {commit}}}
run: {{{run}}}
replicas: {replicas}
standby: {{count: {standby}, started: true}}
listen: [{listen}]
egress: [{egress}]
resources: {{memory: {memory}, cpu: 2, pids: 512, files: 8192}}
writable: [{{path: /tmp, size: 32MiB}}, {{path: /dev/shm, size: 8MiB}}]
health: {{http: {health}, every: {every}, timeout: 2s, fall: 4, replace_after: 20s}}
respawn: {{count: 5, within: 10m}}
roll: {{surge: 1, drain: 2s, deadline: 60s}}
"""
TCP = "{port: 8080, expose: 80}"
UDP = "{port: 5353, protocol: udp, expose: 53}"
PEER = "{service: peer}"


class Service:
    """One service. Its deeds come from its own /list, or are the paths that it is asked for."""

    def __init__(self, name, make=None, paths=(), do="/do?what=", only=None, but=(),
                 load="/healthz", **manifest):
        self.name, self.make, self.paths, self.do, self.load = name, make, paths, do, load
        self.only, self.but = only, but
        self.values = dict(
            name=name, image=name, run="", replicas=1, standby=0, listen=TCP, egress=PEER,
            memory="128MiB", health="/healthz", every="500ms")
        self.values.update(manifest)
        self.vip = None
        self.missing = None

    def apply(self, fleet):
        """Build and start it; what this machine has no program for is left out, and says so."""
        folder = fleet.scratch / "trees" / self.name
        try:
            if self.make:
                extra = fleet.build / "benign-packages"
                tree = trees.Tree(folder, extra if extra.exists() else None)
                commit = fleet.image(self.make(tree, fleet.build))
            else:
                commit = echo.image(fleet)
        except trees.Missing as missing:
            self.missing = str(missing)
            return
        file = fleet.scratch / f"{self.name}.yaml"
        file.write_text(MANIFEST.format(commit=commit, **self.values))
        fleet.run("apply", file, "--key", "deploy")

    def wait(self, fleet):
        if self.missing is None:
            self.vip = fleet.wait_ready(self.name, ready=self.values["replicas"], seconds=120)["vip"]

    def need(self):
        if self.missing is not None:
            raise Skip(self.missing)

    def ask(self, fleet, path, seconds=60):
        """Its answer, which has to be 200."""
        done = fleet.client("curl", "-sS", "--max-time", str(seconds), "-w", "\n%{http_code}",
                            f"http://{self.vip}{path}", check=False, timeout=seconds + 10)
        text, _, status = done.stdout.rpartition("\n")
        if done.returncode != 0 or status != "200":
            raise Failed(f"{self.name} {path}: {status} {text.strip()} {done.stderr.strip()}")
        return text.strip()

    def perform(self, fleet, what):
        """Let it do one deed, and see that it worked."""
        said = self.ask(fleet, self.do + what)
        assert said == f"did {what}" or said.startswith(f"did {what}\n"), said

    def deeds(self, fleet):
        """Their names, from the running service; paths stand for themselves."""
        if self.missing is not None or self.do is None:
            return []
        listed = wait_for(f"the deeds of {self.name}", lambda: self.ask(fleet, "/list").split())
        return [d for d in self.only or listed if d not in self.but]


# The peer: UDP and HTTP, which others may talk to.
PEER_SERVICE = Service("peer", image="echo", listen=f"{TCP}, {UDP}", health="/", egress="",
                       do=None, replicas=2)
DEEDS = Service("deeds", trees.deeds, replicas=2, standby=1,
                run="may_exec: [/bin/server, /bin/helper]")
# Deeds that need a node of their own, which they may end.
GREEDY = Service("greedy", trees.deeds, only=("out-of-memory",), image="deeds", every="100ms")
NGINX = Service("nginx", trees.nginx, do=None, paths=("/", "/page-1", "/again/", "/again/page-2"),
                load="/")
# Debian's libffi asks for memory that is writable and executable when C shall call Python: that is
# making code, and has to be declared. Calling C from Python needs nothing.
PYTHON = Service("python", trees.python, but=("ctypes-callbacks",))
CALLBACKS = Service("callbacks", trees.python, only=("ctypes-callbacks", "ctypes-calls"),
                    image="python", run="jit: true")
GOLANG = Service("golang", trees.golang)
LUAJIT = Service("luajit", trees.luajit, run="jit: true")
NODEJS = Service("nodejs", trees.nodejs, run="jit: true", memory="256MiB")
SHELL = Service("shell", trees.shell, do=None, paths=("/healthz", "/cgi-bin/do?what=pipelines"))
ALL = [PEER_SERVICE, DEEDS, GREEDY, NGINX, PYTHON, CALLBACKS, GOLANG, LUAJIT, NODEJS, SHELL]


def sentence(service, what):
    """The name of a test, as tap.py wants it."""
    clean = "".join(c if c.isalnum() else "_" for c in what).strip("_") or "root"
    return f"{service.name}_does_{clean}_unharmed"


def unwelcome_events(fleet, last):
    """Events since, that no benign service may cause."""
    return [e for e in fleet.ask("events", "-n", "1000")["events"] if e["id"] > last and
            e["kind"].startswith(("drift.", "sensor.", "incident.", "quarantine."))]


def seconds_of(time):
    """Of an event's RFC 3339 time."""
    return datetime.datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()
