#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A host's storage fails in every way while it protects, under load.

Faults 8, 11 to 15 and 17 of docs/faults.md, of one agent in a lab. A round is an incident, or a
start: what cannot be written must not keep a node from being cut, frozen and replaced.
"""
import contextlib
import errno
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
from alone import rounds, timed
from fleet import Failed, Fleet, wait_for
from shim import Fail, Full, KillAt, ReadOnly, Shadow, Shim
from tap import run

REPLICAS = 2
# Nodes stand on these, whatever becomes of the records.
IMAGES = ("repo", "checkouts", "staging", "damaged", "logs")
BUSY, RATE = 4, 200


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
        done = subprocess.run([helper, str(group / "cgroup.procs"), uid, uid, "exec"],
                              check=False, timeout=20, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert done.returncode == -signal.SIGKILL, f"what is foreign has run: {done.returncode}"

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


def cut_without_a_disk(fleet, policy, times):
    """In each round nothing can be written when a node drifts, and then it can again."""
    with fleet.load(fleet.service()["vip"], busy=BUSY, idle=2, rate=RATE) as load:
        before = invariants.acknowledged(fleet)
        for _ in range(times):
            fleet.settled()
            node = fleet.mine(state="ready")[0]
            pid = fleet.daemon_pid("h1")
            with fleet.shim.armed(fleet.state, policy()) as fault:
                fleet.drift(node)
                fleet.is_answered(node)
                wait_for("people to be told", lambda: [
                    e for e in fleet.ask("events", "-n", "1000")["events"]
                    if e["kind"] == "incident.not-durable" and e["node"] == node["id"]], 10)
                assert fault.hits and not fleet.incident_of(node), "it was not kept from writing"
            told = wait_for("the incident, once it is on disk",
                            lambda: fleet.incident_of(node), 20)
            before.note(told)
            assert fleet.daemon_pid("h1") == pid, "the agent has not lived through it"
        fleet.settled()
    assert load.summary["answers"] > 20 * times, f"too little load to count: {load.summary}"
    assert load.summary["failed"] <= (BUSY + 2) * times, load.summary
    invariants.check(fleet, before)


@timed("fault 11, host")
def a_host_with_a_full_disk_cuts_and_replaces_and_keeps_the_incident_until_it_is_written(fleet):
    cut_without_a_disk(fleet, lambda: Full(errno.ENOSPC), rounds(5))


@timed("fault 12, host")
def a_host_over_its_quota_does_the_same(fleet):
    cut_without_a_disk(fleet, lambda: Full(errno.EDQUOT), rounds(3))


@timed("fault 17, host")
def a_host_whose_state_turns_read_only_does_the_same(fleet):
    cut_without_a_disk(fleet, lambda: ReadOnly(errno.EROFS), rounds(3))


@timed("fault 13, host")
def a_host_whose_records_cannot_be_synced_does_the_same(fleet):
    cut_without_a_disk(fleet, lambda: Fail(("sync",), errno.EIO, "incidents"), rounds(3))


@timed("fault 11, start of an agent")
def an_agent_starts_on_a_full_or_read_only_disk_and_answers_what_happened_meanwhile(fleet):
    for policy in (Full(errno.ENOSPC), ReadOnly(errno.EROFS)):
        fleet.settled()
        before = invariants.acknowledged(fleet)
        node = fleet.mine(state="ready")[0]
        with fleet.shim.armed(fleet.state, policy) as fault:
            old = fleet.daemon_pid("h1")
            os.kill(old, signal.SIGKILL)
            fleet.wait_agent(old)
            fleet.drift(node)
            fleet.is_answered(node)
            assert fault.hits
        before.note(wait_for("the incident", lambda: fleet.incident_of(node), 20))
        fleet.settled()
        invariants.manifests_are_kept(fleet, before)
        invariants.incidents_are_kept(fleet, before)
        invariants.cut_nodes_are_cut(fleet)
        invariants.one_incident_an_event(fleet)
        invariants.services_answer(fleet)


@contextlib.contextmanager
def nobody_starts_it_again(pid):
    monitor = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(monitor, signal.SIGCONT)


def is_dead(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def lose_what_was_not_synced(fleet, number, act):
    """act() happens; the agent dies at its call @number, and what it had not synced is gone."""
    pid = fleet.daemon_pid("h1")
    kill = KillAt(number, after=bool(number % 2))
    shadow = Shadow(fleet.state, fleet.scratch / "shadow", kill, IMAGES)
    with nobody_starts_it_again(pid):
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


@timed("faults 8 and 15, quarantine")
def a_quarantine_survives_the_loss_of_what_was_not_synced_at_any_moment(fleet):
    before = invariants.acknowledged(fleet)
    for _ in range(rounds(4)):
        fleet.settled()
        node = fleet.mine(state="ready")[0]
        where = lose_what_was_not_synced(fleet, fleet.chance.randrange(24),
                                         lambda: fleet.drift(node))
        fleet.is_answered(node)
        before.note(wait_for("the incident", lambda: fleet.incident_of(node), 20))
        print(f"# died at {where}")
    fleet.settled()
    invariants.check(fleet, before)


@timed("faults 8 and 15, deploy")
def a_deploy_survives_the_loss_of_what_was_not_synced_at_any_moment(fleet):
    fleet.settled()
    before = invariants.acknowledged(fleet)
    epoch = fleet.service()["epoch"]
    for _ in range(rounds(4)):
        epoch += 1
        file = fleet.manifest(epoch=epoch, replicas=REPLICAS, version=epoch, respawn=1000)
        where = lose_what_was_not_synced(
            fleet, fleet.chance.randrange(40),
            lambda file=file: fleet.run("apply", file, "--key", "deploy"))
        fleet.wait_ready(ready=REPLICAS, standby=1, epoch=epoch)
        before.manifests["web"] = (epoch, fleet.service()["digest"])
        print(f"# died at {where}")
    invariants.check(fleet, before)


@timed("fault 13, objects")
def an_image_that_cannot_be_read_starts_no_node_and_the_old_ones_serve(fleet):
    fleet.settled()
    before = invariants.acknowledged(fleet)
    epoch = fleet.service()["epoch"] + 1
    commit = fleet.hello("image-2.yaml")
    with fleet.shim.armed(fleet.state, Fail(("read",), errno.EIO, "/(checkouts|repo/objects)/")) \
            as fault:
        fleet.apply(epoch=epoch, commit=commit, replicas=REPLICAS, respawn=1000)
        wait_for("the image to be read", lambda: fault.hits, 20)
        time.sleep(1)
        assert not [n for n in fleet.mine(state="ready") if n["epoch"] == epoch]
        invariants.services_answer(fleet)
    fleet.wait_ready(ready=REPLICAS, standby=1, epoch=epoch)
    invariants.check(fleet, before)


def damage(file):
    data = bytearray(file.read_bytes())
    if data:
        data[len(data) // 2] ^= 4
    file.write_bytes(data)


@timed("fault 14, host")
def records_of_a_host_that_are_damaged_bring_no_cut_node_back(fleet):
    """Whatever of its state is empty or changed: one line, and the cut ones stay cut."""
    fleet.settled()
    before = invariants.acknowledged(fleet)
    for name, change in (("epochs.json", lambda f: os.truncate(f, 0)), ("term.json", damage),
                         ("network.json", lambda f: os.truncate(f, f.stat().st_size // 2))):
        file = fleet.state / name
        good = file.read_bytes()
        pid = fleet.daemon_pid("h1")
        with nobody_starts_it_again(pid):
            os.kill(pid, signal.SIGKILL)
            wait_for("the agent to be dead", lambda pid=pid: is_dead(pid), 10)
            change(file)
            said = fleet.log().stat().st_size
        # It does not start, or what was changed says the same; its nodes go on in any case.
        line = wait_for("it to say so", lambda said=said: [
            text for text in fleet.log().read_bytes()[said:].decode(errors="replace").splitlines()
            if "dnode-agent: " in text or " runs" in text], 20)[0]
        print(f"# {name}: {line}")
        assert name in line, line
        invariants.cut_nodes_are_cut(fleet)
        invariants.services_answer(fleet)
        file.write_bytes(good)
        fleet.wait_agent(pid)
    fleet.settled()
    invariants.check(fleet, before)


def main():
    tests = [
        a_host_with_a_full_disk_cuts_and_replaces_and_keeps_the_incident_until_it_is_written,
        a_host_over_its_quota_does_the_same,
        a_host_whose_state_turns_read_only_does_the_same,
        a_host_whose_records_cannot_be_synced_does_the_same,
        a_quarantine_survives_the_loss_of_what_was_not_synced_at_any_moment,
        a_deploy_survives_the_loss_of_what_was_not_synced_at_any_moment,
        an_image_that_cannot_be_read_starts_no_node_and_the_old_ones_serve,
        records_of_a_host_that_are_damaged_bring_no_cut_node_back,
        an_agent_starts_on_a_full_or_read_only_disk_and_answers_what_happened_meanwhile,
    ]
    only = sys.argv[2:]
    began = time.monotonic()
    with Host(sys.argv[1]) as fleet:
        fleet.apply(replicas=REPLICAS, standby=1, respawn=1000)
        fleet.settled()
        result = run(fleet, [t for t in tests if not only or t.__name__ in only])
        if result:
            fleet.tell_logs()
        print(f"# {time.monotonic() - began:.1f} s in all")
    return result


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"Bail out! {failure}")
