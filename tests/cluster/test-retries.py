#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What fails for a moment is told of and made good, without a restart and without a person."""
import os
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


def a_healthy_node_outlives_an_error_while_a_new_agent_takes_it_over(fleet):
    rest(fleet)
    h1 = agent(fleet)
    before = fleet.nodes("web")
    for point in ("agent.cgroup.open.before", "agent.network.adopt.before",
                  "agent.node.pidfd.before", "agent.bpf.allow.before", "agent.bpf.node.before"):
        h1.arm_next(f"{point}=error:EMFILE")
        fleet.restart_agent("h1")
        taken = h1.points()[point]["taken"]
        assert taken, f"{point} was not taken"
        fleet.wait_ready(ready=1)
        assert {n["id"] for n in fleet.nodes("web")} == {n["id"] for n in before}, point
    assert not events(fleet, "node.not-adopted")


def a_node_that_cannot_be_taken_over_at_all_is_replaced_and_told_of(fleet):
    rest(fleet)
    before = fleet.nodes("web", state="ready")[0]["id"]
    agent(fleet).arm_next("agent.node.pidfd.before=error:EMFILE*")
    fleet.restart_agent("h1")
    told = wait_for("people to hear", lambda: events(fleet, "node.not-adopted"))
    assert before in told[0]["text"], told
    agent(fleet).arm("off")
    fleet.wait_ready(ready=1)
    assert fleet.nodes("web", state="ready")[0]["id"] != before


def a_journal_that_has_failed_is_opened_anew_and_says_what_it_lacks(fleet):
    rest(fleet)
    h1 = agent(fleet)
    pid = fleet.daemon_pid("h1")
    resumed = len(events(fleet, "journal.resumed"))
    # The second attempt finds a disk that is still broken.
    h1.arm("journal.sync.before=error:EIO,agent.journal.open.before=error:EIO")
    fleet.run("quarantine", fleet.nodes("web", state="ready")[0]["id"], "--reason", "it is cut "
              "all the same")
    wait_for("people to hear", lambda: events(fleet, "journal.stopped"))
    wait_for("it to be written again", lambda: len(events(fleet, "journal.resumed")) > resumed)
    fleet.wait_ready(ready=1)
    # What has to be promised is promised again.
    fleet.run("scale", "web", "2", "--key", "deploy", "--wait", timeout=120)
    fleet.run("scale", "web", "1", "--key", "deploy", "--wait", timeout=120)
    assert fleet.daemon_pid("h1") == pid, "the agent was restarted"
    journal = h1.state_dir / "journal"
    done = fleet.run("journal", "verify", journal, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    gaps = [line for file in sorted(journal.glob("*.jsonl"))
            for line in file.read_text().splitlines() if '"journal.gap"' in line]
    assert gaps, "nothing says that entries are missing"
    for incident in fleet.incidents():
        if incident["state"] != "destroyed":
            fleet.destroy(incident["id"])


def a_node_is_made_also_where_its_log_finds_no_room(fleet):
    rest(fleet)
    h1 = agent(fleet)
    h1.arm("agent.log.make.before=error:ENOSPC*")
    before = {n["id"] for n in fleet.nodes("web")}
    fleet.run("scale", "web", "2", "--key", "deploy", "--wait", timeout=120)
    made = next(n["id"] for n in fleet.nodes("web", state="ready") if n["id"] not in before)
    assert h1.points()["agent.log.make.before"]["taken"], "it found room"
    fleet.run("logs", made)
    assert not (h1.state_dir / "logs" / made).exists()
    assert (h1.run_dir / "logs" / made).is_dir()
    h1.arm("off")
    fleet.run("scale", "web", "1", "--key", "deploy", "--wait", timeout=120)


def a_firewall_that_is_refused_at_the_start_is_put_right_later(fleet):
    rest(fleet)
    h1 = agent(fleet)
    before = {n["id"] for n in fleet.nodes("web", state="ready")}
    h1.arm_next("agent.nft.table.before=error:EPERM*")
    fleet.restart_agent("h1")
    pid = fleet.daemon_pid("h1")
    wait_for("people to hear", lambda: events(fleet, "firewall.failed"))
    wait_for("more attempts", lambda: h1.points()["agent.nft.table.before"]["taken"] > 3)
    assert len(events(fleet, "firewall.failed")) == 1, "every attempt is told of"
    assert {n["id"] for n in fleet.nodes("web", state="ready")} == before
    h1.arm("off")
    wait_for("it to be put right", lambda: events(fleet, "firewall.restored"))
    assert fleet.daemon_pid("h1") == pid, "the agent was restarted"
    fleet.destroy(fleet.ask("drill", "exec", "web")["incident"]["id"])


def a_destruction_that_a_crash_cuts_short_holds_no_node_back(fleet):
    fleet.apply(service="few", replicas=1, standby=0, respawn=1)
    cut = []
    for _ in range(2):
        fleet.wait_ready("few", ready=1)
        node = fleet.nodes("few", state="ready")[0]["id"]
        cut.append(fleet.ask("quarantine", node, "--reason", "a test")["incident"]["id"])
    wait_for("a person to be called", lambda: [
        e for e in events(fleet, "respawn.held") if e["service"] == "few"])
    assert not fleet.nodes("few", state="ready")
    agent(fleet).arm("agent.destroy.durable.after=crash")
    fleet.run("incident", "destroy", cut[1], "--key", "responder", "--reason", "a test",
              check=False)
    fleet.wait_ready("few", ready=1)
    fleet.destroy(cut[0])
    fleet.run("remove", "few", "--key", "deploy")
    wait_for("none of few", lambda: not fleet.nodes("few"))


def a_cut_that_can_be_neither_verified_nor_ended_is_told_as_that_and_tried_again(fleet):
    rest(fleet)
    agent(fleet).arm("agent.incident.verify.before=error,agent.incident.remove-link.before=error")
    node = fleet.nodes("web", state="ready")[0]["id"]
    incident = fleet.ask("quarantine", node, "--reason", "nobody can look")["incident"]["id"]
    wait_for("people to hear", lambda: [
        e for e in events(fleet, "cut.unverified") if e["node"] == node])
    assert not [e for e in events(fleet, "cut.link-removed") if e["node"] == node]
    wait_for("it to be verified", lambda: next(
        i for i in fleet.incidents() if i["id"] == incident)["stages"].get("cut_verified"))
    agent(fleet).arm("off")
    fleet.destroy(incident)


def more_nodes_than_are_dumped_at_once_are_all_reset(fleet):
    count = 12
    commit = fleet.hello("image-2.yaml")
    fleet.apply(service="many", commit=commit, replicas=count, standby=0, respawn=100)
    fleet.wait_ready("many", ready=count)
    os.chmod(f"/var/lib/{fleet.name}/h1/checkouts/{commit}/bin/hello", 0o777)
    # On record first, and then what the reflex has done: in either order.
    cut = wait_for("all of them to be cut, dumped and reset", lambda: (
        found := [i for i in fleet.incidents() if i["service"] == "many"]) and
        len(found) >= count and all({"durable", "reset"} <= i["stages"].keys() and i["sockets"]
                                    for i in found) and found)
    fleet.wait_ready("many", ready=count)
    for incident in cut:
        fleet.destroy(incident["id"])
    fleet.run("remove", "many", "--key", "deploy")
    wait_for("none of many", lambda: not fleet.nodes("many"))


def prepare(fleet):
    fleet.apply(replicas=1, standby=0, respawn=100)
    rest(fleet)


if __name__ == "__main__":
    main([
        an_incident_that_could_not_be_written_is_told_of_once_and_written_later,
        what_is_written_directly_is_not_undone_by_a_later_attempt,
        spare_networks_are_made_again_after_a_failure,
        a_node_is_replaced_also_where_its_moves_cannot_be_expected,
        a_healthy_node_outlives_an_error_while_a_new_agent_takes_it_over,
        a_node_that_cannot_be_taken_over_at_all_is_replaced_and_told_of,
        a_journal_that_has_failed_is_opened_anew_and_says_what_it_lacks,
        a_node_is_made_also_where_its_log_finds_no_room,
        a_firewall_that_is_refused_at_the_start_is_put_right_later,
        a_destruction_that_a_crash_cuts_short_holds_no_node_back,
        a_cut_that_can_be_neither_verified_nor_ended_is_told_as_that_and_tried_again,
        more_nodes_than_are_dumped_at_once_are_all_reset,
    ], hosts=1, prepare=prepare)
