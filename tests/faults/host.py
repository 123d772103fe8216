# SPDX-License-Identifier: Apache-2.0
"""A lab of one host whose agent is asked about every file it touches (shim.py)."""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
# pylint: disable=wrong-import-position
import invariants
import suite
from fleet import Fleet, wait_for
from shim import KillAt, Shadow, Shim

REPLICAS = 2
# Nodes stand on these, whatever becomes of the records.
IMAGES = ("repo", "checkouts", "staging", "damaged", "logs")


class Host(Fleet):
    """A lab of one host whose agent is asked about every file."""

    def __init__(self, build):
        super().__init__(build, hosts=1)
        self.shim = Shim(build, self.scratch, ("dnode-agent",))
        self.state = pathlib.Path(f"/var/lib/{self.name}/h1")
        self.chance = random.Random(11)

    def environment(self):
        return dict(super().environment(), **self.shim.environment)

    def __exit__(self, *why):
        super().__exit__(*why)
        self.shim.close()

    def settled(self):
        self.wait_ready(ready=REPLICAS, standby=1)

    def mine(self, **match):
        """Nodes as the agent itself tells; the supervisor may hear of them later."""
        found = self.ask_agent("h1", "nodes", "web")["nodes"]
        return [n for n in found if all(n[k] == v for k, v in match.items())]

    def wait_agent(self, old):
        """A new one, which answers and is linked."""
        wait_for("a new agent", lambda: self.daemon_pid("h1") not in (None, old), 20)
        wait_for("it to answer", lambda: self.agent(
            "h1", "nodes", check=False).returncode == 0, 20)
        wait_for("its link", lambda: self.ask_agent(
            "h1", "hosts")["hosts"][0]["state"] == "linked", 20)

    def drift(self, node):
        """Something foreign is executed in @node, and nobody was asked."""
        group = invariants.group_of(self, node)
        pid = invariants.processes(self, node)[0]
        told = pathlib.Path(f"/proc/{pid}/status").read_text()
        uid = next(line.split()[1] for line in told.splitlines() if line.startswith("Uid:"))
        helper = f"/var/lib/{self.name}/libexec/dnode-drill"
        process = subprocess.Popen([helper, str(group / "cgroup.procs"), uid, uid, "exec"],
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        process.stdin.write(b"g")
        process.stdin.close()
        # Seen when it comes in, it may be frozen with the node before it executes anything.
        wait_for("it to be answered", lambda: process.poll() is not None or "frozen 1" in (
            group / "cgroup.events").read_text(), 20)
        process.kill()
        code = process.wait()
        assert code == -signal.SIGKILL, f"what is foreign has run: {code}"

    def is_answered(self, node):
        """It is cut and frozen, and another one serves in its place."""
        wait_for("the node to be cut", lambda: self.mine(id=node["id"], state="quarantined"), 20)
        wait_for("a replacement", lambda: len(self.mine(state="ready")) == REPLICAS, 20)
        wait_for("it to be frozen", lambda: "frozen 1" in (
            invariants.group_of(self, node) / "cgroup.events").read_text(), 10)
        told = json.loads(self.get(f"http://{self.service()['vip']}/whoami"))
        assert told["node"] != node["id"], "a cut node answers"

    def incident_of(self, node):
        found = [i for i in self.incidents() if i["node"] == node["id"]]
        return found[0] if found else None

    def log(self):
        return pathlib.Path(self.status["logs"]) / "h1.log"


def is_dead(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def lose_what_was_not_synced(fleet, number, act, skip=IMAGES):
    """act() happens; the agent dies at its call @number, and what it had not synced is gone.

    What bears a name of @skip, at the top of its state, is left alone.
    """
    pid = fleet.daemon_pid("h1")
    kill = KillAt(number, after=bool(number % 2))
    shadow = Shadow(fleet.state, fleet.scratch / "shadow", kill, skip)
    with fleet.nobody_starts_it_again(pid):
        with fleet.shim.armed(fleet.state, shadow):
            act()
            end = time.monotonic() + 3
            while not is_dead(pid) and time.monotonic() < end:
                time.sleep(0.01)
            if not is_dead(pid):
                os.kill(pid, signal.SIGKILL)
            wait_for("the agent to be dead", lambda: is_dead(pid), 10)
        shadow.restore()
    fleet.wait_agent(pid)
    return kill.where


def main(tests):
    """Run tests(fleet) on a host that has REPLICAS nodes of `web` and a standby; never returns."""
    def prepare(fleet):
        fleet.apply(replicas=REPLICAS, standby=1, respawn=1000)
        fleet.settled()
    suite.main(tests, prepare, lab=Host)
