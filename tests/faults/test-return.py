#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a new agent makes of what it finds, and what happens when somebody missed something.

Fault 38 of docs/faults.md, and what restarts of the agent and a lost term must not do.
"""
import contextlib
import hashlib
import os
import pathlib
import signal
import sqlite3
import struct
import subprocess
import time

import echo
import invariants
from crowd import Crowd
from fleet import wait_for
from suite import main

# Within a node's control group: more refused calls than the sensor has room for, then stay or go.
def state_of(fleet, host, node):
    return fleet.files(host).get(node, {}).get("state")


# ---- a node that stops when its agent dies ----

def a_node_that_stops_still_ends_when_its_grace_is_over(fleet):
    fleet.apply(service="slow", replicas=1, standby=0, started=False, drain="100ms",
                more="", run="stop: {signal: TERM, grace: 2s}, ")
    fleet.wait_ready("slow", ready=1)
    node = fleet.nodes("slow", state="ready")[0]
    # What is being answered is finished, also after SIGTERM: for a minute.
    asked = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{fleet.status['client_netns']}", "curl", "-sS",
         f"http://{fleet.service('slow')['vip']}/slow?ms=60000"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        fleet.run("remove", "slow", "--key", "deploy")
        wait_for("it to stop", lambda: state_of(fleet, node["host"], node["id"]) == "stopping",
                 every=0.01)
        fleet.kill(node["host"])
        wait_for("its end", lambda: not fleet.nodes("slow"), 30)
    finally:
        asked.kill()
        asked.wait()


# ---- evidence ----

def quarantine(fleet, node):
    return fleet.ask("quarantine", node, "--reason", "a test")["incident"]


def still_evidence(fleet, host, node, incident):
    wait_for(f"{node} to be listed", lambda: fleet.nodes(id=node, state="quarantined"))
    assert fleet.incident_of(node)["id"] == incident["id"]
    assert pathlib.Path(f"/run/netns/{host}-{node}").exists()
    assert fleet.group(host, node).exists()


def a_cut_node_whose_processes_have_died_is_kept_with_its_evidence(fleet):
    for host in fleet.names:
        node = fleet.node_of(host)
        incident = quarantine(fleet, node)
        fleet.incident_of(node, "cut_verified")
        for pid in (fleet.group(host, node) / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        wait_for("them to die", lambda: not (
            fleet.group(host, node) / "cgroup.procs").read_text().strip())
        wait_for("people to be told", lambda: [
            e for e in fleet.ask("events", "-n", "1000")["events"]
            if e["kind"] == "quarantine.process-ended" and e["node"] == node])
        fleet.revive(host)
        still_evidence(fleet, host, node, incident)
        invariants.cut_nodes_are_cut(fleet)
        fleet.revive(host)
        still_evidence(fleet, host, node, incident)
        fleet.destroy(incident["id"])
    fleet.wait_tidy()


def a_cut_node_whose_link_was_taken_away_is_kept_too(fleet):
    host = fleet.names[0]
    node = fleet.node_of(host)
    incident = quarantine(fleet, node)
    fleet.incident_of(node, "cut_verified")
    slot = fleet.files(host)[node]["slot"]
    invariants.in_host(fleet, host, "ip", "link", "delete", f"dn{slot}")
    fleet.revive(host)
    still_evidence(fleet, host, node, incident)
    fleet.destroy(incident["id"])
    fleet.wait_tidy()


def a_node_cut_while_no_agent_ran_is_evidence_though_it_has_died_since(fleet):
    host = fleet.names[0]
    node = fleet.node_of(host)
    pids = (fleet.group(host, node) / "cgroup.procs").read_text().split()
    with fleet.no_agent(host):
        fleet.drift(host, node).wait(20)
        for pid in pids:
            os.kill(int(pid), signal.SIGKILL)
    incident = fleet.incident_of(node, "cut_verified")
    still_evidence(fleet, host, node, incident)
    fleet.wait_full()
    fleet.destroy(incident["id"])
    fleet.wait_tidy()


# ---- budgets ----

def a_standby_that_is_cut_is_charged_and_held_like_any_other_node(fleet):
    fleet.apply(service="guard", replicas=1, standby=1, started=True, respawn=2)
    fleet.wait_ready("guard", ready=1, standby=1)
    cut = []
    for left in (1, 0):
        standby = fleet.nodes("guard", state="standby")[0]
        fleet.drift(standby["host"], standby["id"]).wait(20)
        cut.append(fleet.incident_of(standby["id"], "cut_verified")["id"])
        wait_for("the next standby", lambda: fleet.nodes("guard", state="standby"))
        # A restart gives nothing back.
        fleet.revive(standby["host"])
    standby = fleet.nodes("guard", state="standby")[0]
    fleet.drift(standby["host"], standby["id"]).wait(20)
    cut.append(fleet.incident_of(standby["id"], "cut_verified")["id"])
    wait_for("a person to be called", lambda: [
        e for e in fleet.ask("events", "-n", "1000")["events"]
        if e["kind"] == "respawn.held" and e["node"] == standby["id"]])
    time.sleep(1)
    assert not fleet.nodes("guard", state="standby"), fleet.nodes("guard")
    assert fleet.nodes("guard", state="ready")
    for incident in cut:
        fleet.destroy(incident)
    fleet.run("remove", "guard", "--key", "deploy")
    wait_for("no guard", lambda: not fleet.nodes("guard"))


# ---- UDP ----

def a_client_of_udp_leaves_a_node_that_left_while_no_agent_ran(fleet):
    fleet.apply(service="echo", commit=echo.image(fleet), ref="apps/echo", replicas=2,
                standby=0, started=False,
                listen="{port: 8080, expose: 80}, {port: 5353, protocol: udp, expose: 53}")
    fleet.wait_ready("echo", ready=2)
    asker = echo.Asker(fleet, fleet.service("echo")["vip"], 53)
    try:
        victim = wait_for("an answer", asker.last)
        host = next(n["host"] for n in fleet.nodes("echo") if n["id"] == victim)
        pids = (fleet.group(host, victim) / "cgroup.procs").read_text().split()
        with fleet.no_agent(host):
            for pid in pids:
                os.kill(int(pid), signal.SIGKILL)
        wait_for("an answer of another node", lambda: asker.last() != victim, 20)
    finally:
        asker.stop()
    fleet.wait_ready("echo", ready=2)
    fleet.run("remove", "echo", "--key", "deploy")
    wait_for("no echo", lambda: not fleet.nodes("echo"))


# ---- a reign that is over ----

def a_supervisor_whose_term_is_over_ends_though_it_writes_nothing(fleet):
    old = fleet.pid("supervisor")
    store = sqlite3.connect(f"/var/lib/{fleet.name}/supervisor/store.db", timeout=5)
    with contextlib.closing(store), store:
        term, = store.execute("SELECT value FROM counter WHERE name = 'term'").fetchone()
        # As the campaign of another supervisor writes it, with its sum.
        digest = hashlib.sha256(b"term\0" + struct.pack(">Q", term + 1) + b"-").digest()
        store.execute("UPDATE counter SET value = ?, sum = ? WHERE name = 'term'",
                      (term + 1, struct.unpack(">q", digest[:8])[0]))
    wait_for("it to end", lambda: fleet.pid("supervisor") != old, 10)
    fleet.wait_full()


class Return(Crowd):
    def manifest(self, run="", listen=None, **manifest):
        file = super().manifest(**manifest)
        text = file.read_text().replace("run: {", "run: {" + run)
        if listen:
            text = text.replace("listen: [{port: 8080, expose: 80}]", f"listen: [{listen}]")
        file.write_text(text)
        return file

    @contextlib.contextmanager
    def no_agent(self, host):
        """Killed; the lab starts no other before the block ends."""
        monitor = int(pathlib.Path(f"/run/{self.name}/monitor.pid").read_text())
        os.kill(monitor, signal.SIGSTOP)
        try:
            dead = self.kill(host)
            yield
        finally:
            os.kill(monitor, signal.SIGCONT)
        self.revive(host, dead={host: dead})


def prepare(fleet):
    fleet.apply(replicas=fleet.hosts, respawn=1000)
    fleet.wait_full()
    return invariants.acknowledged(fleet)


if __name__ == "__main__":
    main([
        a_node_that_stops_still_ends_when_its_grace_is_over,
        a_cut_node_whose_processes_have_died_is_kept_with_its_evidence,
        a_cut_node_whose_link_was_taken_away_is_kept_too,
        a_node_cut_while_no_agent_ran_is_evidence_though_it_has_died_since,
        a_standby_that_is_cut_is_charged_and_held_like_any_other_node,
        a_client_of_udp_leaves_a_node_that_left_while_no_agent_ran,
        a_supervisor_whose_term_is_over_ends_though_it_writes_nothing,
    ], prepare, invariants.check, lab=Return, hosts=2)
