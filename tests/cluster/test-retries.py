#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What fails for a moment is told of and made good, without a restart and without a person."""
import subprocess

from failpoints import Daemon
from fleet import wait_for
from suite import main

UNAVAILABLE = 5


def agent(fleet):
    return Daemon(fleet, "h1")


def events(fleet, kind):
    return [e for e in fleet.ask("events", "-n", "1000")["events"] if e["kind"] == kind]


def links(fleet):
    """How many links to nodes there are; two are kept ahead of need."""
    net = f"--net=/run/netns/{fleet.status['hosts'][0]['netns']}"
    told = subprocess.run(["nsenter", net, "ip", "-o", "link"], capture_output=True, text=True,
                          check=True).stdout
    return sum(line.split()[1].startswith("dn") for line in told.splitlines())


def rest(fleet):
    fleet.wait_ready(ready=1)
    wait_for("two spare networks", lambda: links(fleet) == len(fleet.nodes()) + 2)


def an_incident_that_could_not_be_written_is_told_of_once_and_written_later(fleet):
    agent(fleet).arm("agent.disk.write.before=error:ENOSPC*")
    node = fleet.nodes("web", state="ready")[0]["id"]
    done = fleet.run("quarantine", node, "--reason", "the disk is full", check=False)
    assert done.returncode == UNAVAILABLE, "what is not durable was acknowledged"
    wait_for("people to hear", lambda: events(fleet, "incident.not-durable"))
    fleet.wait_ready(ready=1)
    wait_for("more attempts", lambda: agent(fleet).points()[
        "agent.disk.write.before"]["taken"] > 6)
    assert not [i for i in fleet.incidents() if i["node"] == node], "reported, and not durable"
    heard = len(events(fleet, "incident.not-durable"))
    assert heard <= 4, "every attempt is told of"
    agent(fleet).arm("off")
    done = wait_for("the record", lambda: next((
        i for i in fleet.incidents() if i["node"] == node and "durable" in i["stages"]), None))
    assert done["replacements"], done
    fleet.restart_agent("h1")
    kept = [i for i in fleet.ask_agent("h1", "incidents")["incidents"] if i["node"] == node]
    assert [i["id"] for i in kept] == [done["id"]] and "durable" in kept[0]["stages"], kept
    assert kept[0]["replacements"] == done["replacements"]
    fleet.destroy(done["id"])


def what_is_written_directly_is_not_undone_by_a_later_attempt(fleet):
    rest(fleet)
    agent(fleet).arm("agent.disk.write.before=error*")
    node = fleet.nodes("web", state="ready")[0]["id"]
    fleet.run("quarantine", node, "--reason", "then destroyed", check=False)
    wait_for("it to be cut", lambda: fleet.nodes(id=node, state="quarantined"))
    agent(fleet).arm("off")
    incident = wait_for("its incident", lambda: next((
        i for i in fleet.incidents() if i["node"] == node), None))
    fleet.destroy(incident["id"])
    wait_for("the node to go", lambda: not fleet.nodes(id=node))
    fleet.restart_agent("h1")
    kept = next(i for i in fleet.ask_agent("h1", "incidents")["incidents"]
                if i["id"] == incident["id"])
    assert kept["state"] == "destroyed", kept


def spare_networks_are_made_again_after_a_failure(fleet):
    rest(fleet)
    h1 = agent(fleet)
    before = h1.points()["agent.spare.create.before"]["taken"]
    h1.arm("agent.spare.create.before=error")
    fleet.destroy(fleet.ask("drill", "exec", "web")["incident"]["id"])
    wait_for("a failure", lambda: h1.points()["agent.spare.create.before"]["taken"] == before + 1)
    rest(fleet)


def a_node_is_replaced_also_where_its_moves_cannot_be_expected(fleet):
    rest(fleet)
    h1 = agent(fleet)
    before = h1.points()["agent.cgroup.expect-moves.before"]["taken"]
    h1.arm("agent.cgroup.expect-moves.before=error")
    incident = fleet.ask("drill", "exec", "web")["incident"]
    assert incident["replacements"], incident
    assert h1.points()["agent.cgroup.expect-moves.before"]["taken"] == before + 1
    fleet.destroy(incident["id"])


def prepare(fleet):
    fleet.apply(replicas=1, standby=0, respawn=100)
    rest(fleet)


if __name__ == "__main__":
    main([
        an_incident_that_could_not_be_written_is_told_of_once_and_written_later,
        what_is_written_directly_is_not_undone_by_a_later_attempt,
        spare_networks_are_made_again_after_a_failure,
        a_node_is_replaced_also_where_its_moves_cannot_be_expected,
    ], hosts=1, prepare=prepare)
