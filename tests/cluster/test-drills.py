#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Drills: what they cost clients under load, counted one by one, and how many there may be."""
import os
import time

from fleet import wait_for
from suite import main

DRILLS = int(os.environ.get("DNODE_TEST_DRILLS", "20"))
RATE, BUSY, IDLE = 2000, 32, 8
# A reset is told within this of the drift, or the client was not waiting for that node.
RESET_NS = 500_000_000
LOSSES = ("reset", "closed", "refused", "timeout", "error", "late-answer", "late-connect")


def drill(fleet):
    """One drill to its end; the incident."""
    incident = fleet.ask("drill", "exec", "web")["incident"]
    fleet.destroy(incident["id"])
    fleet.wait_ready(ready=3)
    wait_for("standbys", lambda: len(fleet.nodes("web", state="standby")) == 3)
    return incident


def drill_under_load(fleet, drills):
    """As many drills, and that only what was in flight on their nodes failed."""
    incidents = []
    with fleet.load(fleet.service()["vip"], busy=BUSY, idle=IDLE, rate=RATE) as load:
        time.sleep(1)
        began = time.monotonic()
        for _ in range(drills):
            incidents.append(drill(fleet))
        spent = time.monotonic() - began
        time.sleep(0.5)
    summary = load.summary
    losses = [line for line in load.lines if line["what"] in LOSSES]
    refused = [line for line in losses if line["what"] == "refused"]
    resets = [line for line in losses if line["what"] == "reset"]
    in_flight = [line for line in resets if line["asking"]]
    print(f"# {drills} drills in {spent:.1f} s: {summary['requests']} requests, "
          f"{len(in_flight)} reset in flight, {len(resets) - len(in_flight)} connections reset "
          f"at rest, {len(refused)} refused while being opened, {summary['late']} over 200 ms")
    assert summary["answers"] > RATE * spent / 4, f"too little load to count: {summary}"

    # Nobody waits: no timeout, no answer or connection later than 200 ms, nothing else amiss.
    other = [line for line in losses if line["what"] not in ("reset", "refused")]
    assert not other, other[:5]
    # A request that failed was on a node that was cut, and was reset at that moment.
    cut = {i["node"]: i["event_monotonic"] for i in incidents}
    astray = [line for line in resets if line["node"] and not (
        line["node"] in cut and 0 <= line["t"] - cut[line["node"]] < RESET_NS)]
    assert not astray, astray[:5]
    # The first of them had its third of all connections, most of which were waiting for nothing.
    assert [line for line in resets if line["node"] == incidents[0]["node"]
            and not line["asking"]], resets
    # A connection that was being opened, or was opened and not yet answered, has no node's name.
    nameless = [line for line in losses if not line["node"]]
    astray = [line for line in nameless if not any(
        0 <= line["t"] - at < RESET_NS for at in cut.values())]
    assert not astray, astray[:5]
    assert summary["failed"] == len(in_flight), (summary, len(in_flight))
    assert summary["failed"] <= BUSY * drills, summary
    assert len(refused) <= (BUSY + IDLE) * drills // 10, f"too many are refused: {len(refused)}"


def drills_under_load_fail_only_what_was_in_flight_on_the_cut_node(fleet):
    drill_under_load(fleet, DRILLS)


def clients_of_a_node_that_a_new_agent_took_over_are_reset_as_well(fleet):
    for host in ("h1", "h2", "h3"):
        fleet.restart_agent(host)
    fleet.wait_ready(ready=3)
    wait_for("standbys", lambda: len(fleet.nodes("web", state="standby")) == 3)
    drill_under_load(fleet, 3)


def drills_have_a_budget_that_no_supervisor_can_give_back(fleet):
    fleet.apply(service="drilled", replicas=1, standby=0, started=False, respawn=2)
    for _ in range(2):
        fleet.wait_ready("drilled", ready=1)
        fleet.destroy(fleet.ask("drill", "exec", "drilled")["incident"]["id"])
    fleet.wait_ready("drilled", ready=1)

    def refused(by):
        past = fleet.run("drill", "exec", "drilled", check=False)
        assert past.returncode == 6, past
        assert len(past.stderr.strip().splitlines()) == 1, past.stderr
        assert by in past.stderr and "all 2 drills within 600 s are spent" in past.stderr, past
    refused("drilled: ")
    fleet.restart_supervisor()
    refused("drilled: ")
    node = fleet.nodes("drilled", state="ready")[0]
    fleet.restart_supervisor(forget_drills_of="drilled")
    fleet.wait_ready("drilled", ready=1)
    refused(f"{node['host']}: drilled: ")
    fleet.restart_agent(node["host"])
    fleet.restart_supervisor(forget_drills_of="drilled")
    fleet.wait_ready("drilled", ready=1)
    refused(f"{node['host']}: drilled: ")
    wait_for("an event", lambda: [e for e in fleet.ask("events")["events"]
                                  if e["kind"] == "drill.refused"])
    assert [n["id"] for n in fleet.nodes("drilled", state="ready")] == [node["id"]]
    fleet.run("remove", "drilled", "--key", "deploy")
    wait_for("no node of it", lambda: not fleet.nodes("drilled"))


def prepare(fleet):
    fleet.apply(respawn=min(1000, DRILLS + 20))
    fleet.wait_ready(ready=3)
    wait_for("standbys", lambda: len(fleet.nodes("web", state="standby")) == 3)


if __name__ == "__main__":
    main([
        drills_under_load_fail_only_what_was_in_flight_on_the_cut_node,
        clients_of_a_node_that_a_new_agent_took_over_are_reset_as_well,
        drills_have_a_budget_that_no_supervisor_can_give_back,
    ], hosts=3, prepare=prepare)
