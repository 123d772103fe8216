#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Drills: what they cost clients under load, counted one by one, and how many there may be."""
import json
import os
import subprocess
import time

import drifter
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


# What the profile refuses, or kills before its first instruction.
DENIED = {"exec", "shell", "mount", "ptrace", "bpf", "module", "namespace", "uid"}
SIGNAL = {"shell", "write-exec", "uid"}
STAGES = ("verdict", "cut", "frozen", "lb_out_local", "reset", "replacement_ready")


def classes(fleet):
    return {c["name"]: c["tier"] for c in fleet.ask("drill", "--list")["classes"]}


def drill_patiently(fleet, name, service):
    """A drill, once the service has recovered from the one before it."""
    def made():
        done = fleet.run("drill", name, service, "--json", check=False, timeout=120)
        return None if done.returncode in (5, 6) and "are ready" in done.stderr else done
    done = wait_for(f"a drill of {name}", made, 60)
    assert done.returncode == 0, (name, done.stderr)
    return json.loads(done.stdout)


def every_class_has_a_drill_that_is_noticed_for_what_it_is(fleet):
    fleet.apply(service="each", replicas=1, standby=1, respawn=1000, within="1s")
    fleet.wait_ready("each", ready=1)
    known = classes(fleet)
    assert {n for n, tier in known.items() if tier == "signal"} == SIGNAL, known
    for name, tier in known.items():
        made = drill_patiently(fleet, name, "each")
        if tier == "proof":
            incident = made["incident"]
            assert incident["class"] == name and incident["drill"], incident
            assert not [s for s in STAGES if s not in incident["stages"]], (name, incident)
            assert incident["packets_after_cut"] == 0, incident
            fleet.destroy(incident["id"])
        else:
            drill = made["drill"]
            assert drill["class"] == name and drill["answer"] == "deny", drill
            assert drill["detected"] and drill["event"]["kind"] == "drift." + name, drill
    # A drill that is denied is no repetition: it never cuts its node.
    before = {n["id"] for n in fleet.nodes("each", state="ready")}
    for _ in range(6):
        drill_patiently(fleet, "uid", "each")
    assert {n["id"] for n in fleet.nodes("each", state="ready")} == before
    assert not [e for e in fleet.ask("events", "-n", "1000")["events"]
                if e["kind"] == "drill.failed"]


def a_class_that_is_only_observed_is_told_and_cuts_nothing(fleet):
    fleet.apply(service="watched", replicas=1, standby=0, respawn=1000, within="1s",
                more="drift: {" + ", ".join(f"{n}: observe" for n in classes(fleet)) + "}\n")
    fleet.wait_ready("watched", ready=1)
    before = fleet.nodes("watched", state="ready")[0]["id"]
    for name in classes(fleet):
        drill = drill_patiently(fleet, name, "watched")["drill"]
        assert drill["node"] == before and drill["answer"] == "observe", drill
        assert drill["detected"] and drill["event"]["kind"] == "drift." + name, drill
    assert not [i for i in fleet.incidents() if i["service"] == "watched"]
    fleet.run("remove", "watched", "--key", "deploy")
    wait_for("no node of it", lambda: not fleet.nodes("watched"))


def ask_node(fleet, node, path):
    """As its own host asks it for its health; one that is cut by it does not answer."""
    subprocess.run(["nsenter", f"--net=/run/netns/{fleet.name}-{node['host']}", "curl", "-sS",
                    "--max-time", "5", f"http://{node['address']}:8080{path}"],
                   stdout=subprocess.DEVNULL, check=False)


def a_shell_of_the_image_that_is_only_observed_goes_on_whoever_looks(fleet):
    file = fleet.manifest(service="shelled", commit=drifter.image(fleet), ref="apps/drifter",
                          replicas=2, standby=0, respawn=1000, within="1s",
                          more="drift: {shell: observe}\n")
    fleet.run("apply", file, "--key", "deploy")
    fleet.wait_ready("shelled", ready=2)
    keeps, falls = fleet.nodes("shelled", state="ready")

    def told():
        return [e for e in fleet.ask("events", "-n", "1000")["events"]
                if e["node"] == keeps["id"] and e["kind"].startswith("drift.")]
    ask_node(fleet, keeps, "/drift?class=shell&way=stay")
    wait_for("the shell to be told", told)
    time.sleep(15)  # many rounds of looks, and longer than events of a class are held back
    assert [e["kind"] for e in told()] == ["drift.shell"], told()
    # Its sibling becomes an incident: what that left behind is looked for in this one.
    ask_node(fleet, falls, "/drift?class=bpf&way=stay")
    wait_for("the incident", lambda: [i for i in fleet.incidents() if i["node"] == falls["id"] and
                                      "durable" in i["stages"]])
    time.sleep(3)
    assert keeps["id"] in [n["id"] for n in fleet.nodes("shelled", state="ready")]
    assert [e["kind"] for e in told()] == ["drift.shell"], told()
    assert [i["node"] for i in fleet.incidents() if i["service"] == "shelled"] == [falls["id"]]
    for incident in fleet.incidents():
        if incident["service"] == "shelled":
            fleet.destroy(incident["id"])
    fleet.run("remove", "shelled", "--key", "deploy")
    wait_for("no node of it", lambda: not fleet.nodes("shelled"))


def a_report_over_all_drills_counts_what_was_detected_and_denied(fleet):
    report = fleet.scratch / "report.json"
    done = fleet.run("drill", "all", "each", "--rounds", "2", "--report", report, "--key",
                     "responder", "--reason", "test", timeout=600, check=False)
    assert done.returncode == 0, [l for l in done.stdout.splitlines() if "missed" in l]
    assert "CLASS" in done.stdout and "process-foreign" in done.stdout, done.stdout
    found = json.loads(report.read_text())
    assert found["schema"] == "dnode/v1" and found["service"] == "each", found
    assert {c["name"] for c in found["classes"]} == set(classes(fleet))
    for one in found["classes"]:
        assert one["detected"] == one["drills"] == 2 and not one["missed"], one
        assert one["denied"] == (2 if one["name"] in DENIED else 0), one
        assert set(one["stages"]) == (set() if one["name"] in SIGNAL else set(STAGES)), one
        assert all(f["n"] == 2 and f["p50"] <= f["p95"] <= f["max"]
                   for f in one["stages"].values()), one
    assert not [i for i in fleet.incidents() if i["service"] == "each" and
                i["state"] != "destroyed"]
    past = fleet.run("drill", "all", "each", "--rounds", "1000", check=False)
    assert past.returncode == 6 and "--key" in past.stderr, past
    fleet.run("remove", "each", "--key", "deploy")
    wait_for("no node of it", lambda: not fleet.nodes("each"))


def prepare(fleet):
    fleet.apply(respawn=min(1000, DRILLS + 20))
    fleet.wait_ready(ready=3)
    wait_for("standbys", lambda: len(fleet.nodes("web", state="standby")) == 3)


if __name__ == "__main__":
    main([
        drills_under_load_fail_only_what_was_in_flight_on_the_cut_node,
        clients_of_a_node_that_a_new_agent_took_over_are_reset_as_well,
        drills_have_a_budget_that_no_supervisor_can_give_back,
        every_class_has_a_drill_that_is_noticed_for_what_it_is,
        a_class_that_is_only_observed_is_told_and_cuts_nothing,
        a_shell_of_the_image_that_is_only_observed_goes_on_whoever_looks,
        a_report_over_all_drills_counts_what_was_detected_and_denied,
    ], hosts=3, prepare=prepare)
