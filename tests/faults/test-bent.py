#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clocks that are set, machines that sleep, and calls that fail because something has run out.

Faults 28 and 37 of docs/faults.md, below real daemons and under load (bent.c).
"""
import random
import time

import invariants
from bent import FORK, MMAP, OPEN, RUN_OUT, SOCKET, Bent
from crowd import Crowd, rounds
from fleet import Failed, wait_for
from suite import main

HOUR_S, YEAR_S = 3600, 365 * 24 * 3600
KINDS = {"open": OPEN, "socket": SOCKET, "fork": FORK, "mmap": MMAP}


# ---- 28 ----

def set_clocks(fleet, realtime_s, boottime_s=0):
    for control in fleet.bent.of.values():
        control.clock(realtime_s, boottime_s)


def events_since(fleet, last):
    return [e for e in fleet.ask("events", "-n", "1000")["events"] if e["id"] > last]


def nothing_happened(fleet, before, last):
    """No node was lost or replaced, no host was given up, and what was told is in order."""
    fleet.wait_hosts()
    fleet.wait_full()
    assert {n["id"] for n in fleet.nodes("web")} == before, "nodes were replaced"
    wrong = [e for e in events_since(fleet, last) if e["kind"] in (
        "host.lost", "host.disconnected", "node.unhealthy", "node.replaced", "node.exited",
        "welcome.refused", "order.refused")]
    assert not wrong, wrong
    told = fleet.ask("events", "-n", "1000")["events"]
    assert [e["id"] for e in told] == sorted(e["id"] for e in told)


def is_spent(fleet, service="few"):
    past = fleet.run("drill", "exec", service, check=False)
    assert past.returncode == 6 and "are spent" in past.stderr, past


def drift_is_answered(fleet):
    """A cut under these clocks is as quick and as sure as any."""
    for host in fleet.names:
        node = fleet.node_of(host)
        fleet.drift(host, node).wait(20)
        incident = fleet.incident_of(node, "cut_verified", "frozen")
        assert incident["packets_after_cut"] == 0
        assert 0 <= incident["stages"]["frozen"] < 10_000_000, incident["stages"]
        fleet.wait_full()
        fleet.destroy(incident["id"])
    fleet.wait_tidy()


def clocks_that_jump_or_strobe_change_nothing_and_give_no_budget_back(fleet):
    fleet.apply(service="few", replicas=2, standby=0, started=False, respawn=1)
    fleet.wait_ready("few", ready=2)
    fleet.destroy(fleet.ask("drill", "exec", "few")["incident"]["id"])
    fleet.wait_ready("few", ready=2)
    fleet.wait_tidy()
    is_spent(fleet)
    before = {n["id"] for n in fleet.nodes("web")}
    last = fleet.ask("events", "-n", "1")["events"][-1]["id"]
    for _ in range(rounds()):
        for offset in (YEAR_S, -YEAR_S, 30, -30, 30, -30, 0):
            set_clocks(fleet, offset)
            time.sleep(0.02)
    for offset in (YEAR_S, -YEAR_S):
        set_clocks(fleet, offset)
        time.sleep(2.5)  # longer than a heartbeat
        nothing_happened(fleet, before, last)
        is_spent(fleet)
        drift_is_answered(fleet)
        before = {n["id"] for n in fleet.nodes("web")}
        last = fleet.ask("events", "-n", "1")["events"][-1]["id"]
    # Daemons that start under another clock believe no more in it.
    fleet.restart_agents()
    set_clocks(fleet, 2 * YEAR_S)
    fleet.restart_agents()
    fleet.restart_supervisor()
    fleet.wait_full()
    is_spent(fleet)
    set_clocks(fleet, 0)
    fleet.run("remove", "few", "--key", "deploy")
    wait_for("no node of it", lambda: not fleet.nodes("few"))


def an_hours_sleep_loses_no_node_and_gives_no_budget_back(fleet):
    fleet.apply(service="nap", replicas=2, standby=0, started=False, respawn=1)
    fleet.wait_ready("nap", ready=2)
    fleet.destroy(fleet.ask("drill", "exec", "nap")["incident"]["id"])
    fleet.wait_ready("nap", ready=2)
    fleet.wait_tidy()
    before = {n["id"] for n in fleet.nodes("web")}
    # The monotonic clock stands still while a machine sleeps; the others do not.
    for host in fleet.names:
        with fleet.stopped(host):
            time.sleep(0.3)
            fleet.bent.of[f"dnode-agent-{host}"].clock(HOUR_S, HOUR_S)
    with fleet.stopped("supervisor"):
        time.sleep(0.3)
        fleet.bent.of["dnode-supervisor"].clock(HOUR_S, HOUR_S)
    fleet.wait_full()
    assert {n["id"] for n in fleet.nodes("web")} == before, "nodes were replaced"
    is_spent(fleet, "nap")
    drift_is_answered(fleet)
    set_clocks(fleet, 0)
    fleet.run("remove", "nap", "--key", "deploy")
    wait_for("no node of it", lambda: not fleet.nodes("nap"))


# ---- 37 ----

class Shortage:
    """How many calls of a kind an act makes, and rounds in which one of them fails."""

    def __init__(self, fleet, act):
        self.fleet, self.act, self.failed = fleet, act, 0
        self.calls = {}

    def control(self, host):
        return self.fleet.bent.of[f"dnode-agent-{host}"]

    def measure(self):
        for name, kind in KINDS.items():
            for host in self.fleet.names:
                self.control(host).count(kind)
            self.act()
            self.calls[name] = max(self.control(h).seen for h in self.fleet.names)
        for host in self.fleet.names:
            self.control(host).write()

    def round(self, name):
        """Another call fails on every host; for a moment, or some of them."""
        for host in self.fleet.names:
            first = random.randint(1, max(1, self.calls[name]))
            self.control(host).fail(KINDS[name], random.choice(RUN_OUT[KINDS[name]]), first,
                                    random.choice((1, 1, 3)))
        try:
            self.act()
        finally:
            for host in self.fleet.names:
                self.failed += self.control(host).failed
                self.control(host).write()

    def run(self):
        self.measure()
        names = list(KINDS) * (-(-rounds() // self.fleet.hosts // len(KINDS)) + 1)
        for name in names[:max(len(KINDS), -(-rounds() // self.fleet.hosts))]:
            self.round(name)
        print(f"# calls: {self.calls}; {self.failed} have failed")
        assert self.failed > 0, "nothing has failed"


def every_daemon_is_itself(fleet):
    fleet.wait_full()
    fleet.wait_tidy()


def an_agent_starts_or_says_why_not_when_any_call_fails(fleet):
    nodes = {n["id"] for n in fleet.nodes("web")}

    def start():
        fleet.revive(*fleet.names)
        every_daemon_is_itself(fleet)
    Shortage(fleet, start).run()
    # What could not be found is made anew, what was found goes on.
    assert len(nodes & {n["id"] for n in fleet.nodes("web")}) <= len(nodes)


def a_node_is_cut_and_replaced_when_any_call_fails(fleet):
    def drift():
        nodes = []
        for host in fleet.names:
            nodes.append(fleet.node_of(host))
            fleet.drift(host, nodes[-1]).wait(20)
        for node in nodes:
            assert fleet.incident_of(node, "reported")["packets_after_cut"] == 0
        every_daemon_is_still_cut(fleet, nodes)
    Shortage(fleet, drift).run()


def every_daemon_is_still_cut(fleet, nodes):
    fleet.wait_full()
    invariants.cut_nodes_are_cut(fleet)
    for node in nodes:
        def destroyed():
            done = fleet.run("incident", "destroy", fleet.incident_of(node)["id"], "--key",
                             "responder", "--reason", "test", check=False)
            return done.returncode == 0
        wait_for(f"{node} to be destroyed", destroyed, 20, every=0.5)
    fleet.wait_tidy()


def a_roll_ends_well_when_any_call_fails(fleet):
    fleet.apply(service="turn", epoch=10, replicas=2, standby=0, started=False, drain="100ms")
    fleet.wait_ready("turn", ready=2)
    epoch = [10]

    def roll():
        epoch[0] += 1
        for _ in range(3):
            fleet.apply(service="turn", epoch=epoch[0], version=str(epoch[0]), replicas=2,
                        standby=0, started=False, drain="100ms")
            try:
                fleet.wait_ready("turn", ready=2, epoch=epoch[0], seconds=40)
                break
            except Failed:
                # It was stopped, with a reason; a person signs the next epoch.
                service = fleet.service("turn")
                assert service["rolling"] is None or service["rolling"]["error"], service
                epoch[0] += 1
        wait_for("the old nodes to go", lambda: all(
            n["epoch"] == epoch[0] and n["state"] == "ready" for n in fleet.nodes("turn")), 60)
    Shortage(fleet, roll).run()


class Bending(Crowd):
    def __init__(self, build, hosts):
        super().__init__(build, hosts)
        self.bent = Bent(build, self.scratch, ["dnode-supervisor"] + [
            f"dnode-agent-h{i + 1}" for i in range(hosts)])

    def run(self, *args, **more):
        # Only what the lab starts is bent, not who asks it.
        self.extra = self.bent.environment if args[:2] == ("lab", "up") else {}
        return super().run(*args, **more)

    def restart_agents(self):
        self.revive(*self.names)
        self.wait_full()


def prepare(fleet):
    fleet.apply(replicas=fleet.hosts, respawn=1000)
    fleet.wait_full()
    before = invariants.acknowledged(fleet)
    return before, fleet.cleanup.enter_context(
        fleet.load(fleet.service()["vip"], busy=4, idle=4, rate=200))


def judge(fleet, prepared):
    before, load = prepared
    print(f"# {rounds()} rounds of each: {load.stop()}")
    invariants.check(fleet, before)


if __name__ == "__main__":
    main([
        clocks_that_jump_or_strobe_change_nothing_and_give_no_budget_back,
        an_hours_sleep_loses_no_node_and_gives_no_budget_back,
        an_agent_starts_or_says_why_not_when_any_call_fails,
        a_node_is_cut_and_replaced_when_any_call_fails,
        a_roll_ends_well_when_any_call_fails,
    ], prepare, judge, lab=Bending, hosts=2)
