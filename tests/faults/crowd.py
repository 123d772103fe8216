# SPDX-License-Identifier: Apache-2.0
"""Faults on many hosts at once: a round of a test does the same to every host of a lab."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import time

import invariants
from fleet import Failed, Fleet, wait_for

FOREIGN_UID = "65534"


def rounds(usual=20):
    """How often a fault is done. ./dev check-long: 100 times."""
    return int(os.environ.get("DNODE_TEST_ROUNDS", usual))


class Stranger(subprocess.Popen):
    """The drill's helper, that nobody announced: it comes into a node and executes what is foreign.

    Seen when it comes in, it may be frozen with the node before it executes anything.
    """

    def __init__(self, helper, group):
        self.group = group
        super().__init__([str(helper), str(group / "cgroup.procs"), FOREIGN_UID, FOREIGN_UID,
                          "exec"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
        self.stdin.write(b"g")
        self.stdin.close()

    def is_answered(self):
        return self.poll() is not None or "frozen 1" in (
            self.group / "cgroup.events").read_text()

    def wait(self, timeout=None):
        """Until it has ended or is frozen; then it is ended."""
        wait_for("a stranger to be answered", self.is_answered, timeout or 20)
        self.kill()
        return super().wait(timeout)


class Crowd(Fleet):
    """A lab whose hosts each have one node of `web` and a standby of it."""

    def __init__(self, build, hosts=4, name=None, extra=None):
        super().__init__(build, hosts, name)
        self.extra = extra or {}
        self.pool = concurrent.futures.ThreadPoolExecutor(hosts)

    def environment(self):
        return {**super().environment(), **self.extra}

    def __exit__(self, *args):
        super().__exit__(*args)
        self.pool.shutdown()

    @property
    def names(self):
        return [h["name"] for h in self.status["hosts"]]

    def volleys(self, usual=20):
        """So many times everywhere at once make up the rounds."""
        return range(-(-rounds(usual) // self.hosts))

    def everywhere(self, act, names=None):
        """act(host) for every host at once; their answers by name."""
        names = names or self.names
        return dict(zip(names, self.pool.map(act, names)))

    # ---- looking without asking a daemon ----

    def pid(self, daemon):
        """Of "h1" or "supervisor"; None while it does not run."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            pid = read_json(f"/run/{self.name}/pids.json")[daemon]["pid"]
            if pid > 0:  # 0 between one daemon and the next; and to a signal, all of our own group
                os.kill(pid, 0)
                return pid
        return None

    def files(self, host):
        """What the agent of a host has in mind: id → RUN_DIR/nodes/ID.json."""
        found = {}
        for file in pathlib.Path(f"/run/{self.name}/{host}/nodes").glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                found[file.stem] = read_json(file)
        return found

    def node_of(self, host, service="web", state="ready"):
        return wait_for(f"a node of {service} that is {state} on {host}", lambda: next(
            (i for i, n in self.files(host).items()
             if n["state"] == state and i.startswith(service + "-")), None))

    def group(self, host, node):
        return invariants.cgroup_root() / self.name / host / node

    # ---- what is done ----

    def kill(self, daemon):
        """SIGKILL; returns who is dead."""
        pid = self.pid(daemon)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pid

    def is_linked(self, host):
        done = self.agent(host, "hosts", "--json", check=False)
        return done.returncode == 0 and '"linked"' in done.stdout

    def revive(self, *hosts, dead=None):
        """Kill the agents of @hosts, or they are @dead already; new ones are at work."""
        dead = dead or {host: self.kill(host) for host in hosts}
        for host in hosts:
            wait_for(f"a new agent of {host}",
                     lambda: self.pid(host) not in (None, dead[host]), 60)
            wait_for(f"{host} to be linked", lambda: self.is_linked(host), 60)
        self.wait_hosts()

    @contextlib.contextmanager
    def stopped(self, *daemons):
        """SIGSTOP for as long as the block lasts."""
        pids = [self.pid(d) for d in daemons]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def drift(self, host, node):
        """Somebody in the node executes a foreign file; returns at once."""
        return Stranger(self.build / "agent/drill/dnode-drill", self.group(host, node))

    # ---- what is expected ----

    def incident_of(self, node, *stages, seconds=60.0):
        """The one incident of a node, once it has come so far."""
        def found():
            mine = [i for i in self.incidents() if i["node"] == node]
            return mine if mine and set(stages) <= set(mine[0]["stages"]) else None
        mine = wait_for(f"the incident of {node} with {stages}", found, seconds)
        assert len(mine) == 1, f"{len(mine)} incidents of {node}"
        return mine[0]

    def expect_cut(self, nodes):
        """Every one of @nodes was cut, once, and its cut is sure; then they are destroyed."""
        wait_for("the supervisor to answer", lambda: self.run(
            "services", check=False).returncode == 0)
        for node in nodes:
            incident = self.incident_of(node, "cut_verified", "reported")
            assert incident["packets_after_cut"] == 0, incident
            assert not incident["drill"], incident
        self.wait_full()
        invariants.cut_nodes_are_cut(self)
        for node in nodes:
            self.destroy(self.incident_of(node)["id"])

    def wait_full(self, service="web", seconds=90.0):
        """Every host up, with a ready node and a standby, and nothing on its way."""
        self.wait_hosts()
        self.wait_ready(service, ready=self.hosts, standby=self.hosts, seconds=seconds)

    def wait_tidy(self):
        def rest():
            self.untidy = [(n["id"], n["host"], n["state"]) for n in self.nodes()
                           if n["state"] not in ("ready", "standby")]
            return not self.untidy
        try:
            wait_for("the cut nodes to go", rest)
        except Failed as failure:
            raise Failed(f"{failure}; {self.untidy}") from None


def read_json(path):
    return json.loads(pathlib.Path(path).read_text())


def watch_for(condition, seconds=20.0):
    """Like wait_for(), without a pause: for what lasts a moment."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
    return None
