#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator does to a running fleet: more and fewer nodes, hosts that take nothing new."""
import signal
import subprocess
import time

from fleet import wait_for
from suite import main

BAD_INPUT, EXHAUSTED = 2, 6


def host(fleet, name):
    return next(h for h in fleet.ask("hosts")["hosts"] if h["name"] == name)


def ready(fleet):
    return {n["id"] for n in fleet.nodes("web", state="ready")}


def a_plan_of_a_scale_shows_the_change_and_changes_nothing(fleet):
    planned = fleet.run("scale", "web", "5", "--key", "deploy", "--plan").stdout
    assert "nothing is changed yet" in planned and "replicas" in planned, planned
    assert fleet.service()["epoch"] == 1 and fleet.service()["replicas"] == 3


def a_scaled_service_has_that_many_nodes_and_drops_no_request(fleet):
    raw = fleet.run("manifest", "show", "web", "--raw").stdout
    first = ready(fleet)
    with fleet.load(fleet.service()["vip"], rate=1000) as load:
        fleet.run("scale", "web", "5", "--key", "deploy", "--wait", timeout=120)
        assert len(fleet.nodes("web", state="ready", epoch=2)) == 5
        five = ready(fleet)
        assert first < five, f"nodes were replaced: {first} {five}"
        fleet.run("scale", "web", "2", "--key", "deploy", "--wait", timeout=120)
        wait_for("two nodes", lambda: len(fleet.nodes("web", state="ready")) == 2)
        assert ready(fleet) < five, "nodes were replaced"
    assert load.summary["failed"] == 0 and load.summary["refused"] == 0, load.summary
    expected = raw.replace("epoch: 1\n", "epoch: 3\n").replace("replicas: 3\n", "replicas: 2\n")
    assert fleet.run("manifest", "show", "web", "--raw").stdout == expected


def nodes_that_stay_are_adopted_and_cut_under_the_new_epoch(fleet):
    before = ready(fleet)
    fleet.run("scale", "web", "3", "--key", "deploy", "--wait", timeout=120)
    for name in ("h1", "h2"):
        fleet.restart_agent(name)
    fleet.wait_ready(ready=3)
    assert before < ready(fleet), "a new agent has not found the nodes"
    epoch = fleet.service()["epoch"]
    assert {n["epoch"] for n in fleet.nodes("web")} == {epoch}
    incident = fleet.ask("drill", "exec", "web")["incident"]
    assert incident["epoch"] == epoch and incident["replacements"], incident
    fleet.destroy(incident["id"])
    fleet.run("scale", "web", "2", "--key", "deploy", "--wait", timeout=120)
    wait_for("two nodes", lambda: len(ready(fleet)) == 2)


def a_roll_of_the_same_image_replaces_every_node(fleet):
    before = ready(fleet)
    fleet.run("roll", "web", "--key", "deploy", "--wait", timeout=120)
    # The last old one is asked to go as the roll ends, and tells so a moment later.
    wait_for("every old node to go", lambda: not before & ready(fleet), 5)
    assert "\nrestart: 1\n" in fleet.run("manifest", "show", "web", "--raw").stdout


def what_never_gets_ready_is_waited_for_as_long_as_its_manifest_says(fleet):
    file = fleet.manifest(service="sick", replicas=2, standby=0, health="/nowhere")
    file.write_text(file.read_text().replace("deadline: 30s", "deadline: 4s").replace(
        "run: {", "run: {start_deadline: 2s, "))
    began = time.monotonic()
    done = fleet.run("apply", file, "--key", "deploy", "--wait", check=False, timeout=200)
    took = time.monotonic() - began
    assert done.returncode == EXHAUSTED and took >= 4, (done, took)
    line = done.stderr.splitlines()[-1]
    assert "sick: 0 of 2 nodes are ready, and none more within 6 s" in line, line
    assert "last heard: node.replaced: node sick-" in line, line
    fleet.run("remove", "sick", "--key", "deploy", "--wait", timeout=120)


def a_number_that_is_none_is_refused(fleet):
    for wrong in ("many", "1001", "1.5"):
        done = fleet.run("scale", "web", wrong, "--key", "deploy", check=False)
        assert done.returncode == BAD_INPUT and wrong in done.stderr, done


def a_cordoned_host_is_shown_and_gets_nothing_new(fleet):
    fleet.run("host", "cordon", "h2")
    assert "already" in fleet.run("host", "cordon", "h2").stdout
    assert host(fleet, "h2")["cordoned"] and not host(fleet, "h1")["cordoned"]
    assert "cordoned" in fleet.run("hosts").stdout
    kinds = [e["kind"] for e in fleet.ask("events", "-n", "1000")["events"]]
    assert kinds.count("host.cordoned") == 1, kinds
    before = ready(fleet)
    fleet.run("scale", "web", "4", "--key", "deploy", "--wait", timeout=120)
    after = fleet.nodes("web", state="ready")
    assert before < {n["id"] for n in after}, "nodes were replaced"
    assert {n["host"] for n in after if n["id"] not in before} == {"h1"}


def a_cordon_survives_the_supervisor_and_ends_when_it_is_lifted(fleet):
    fleet.restart_supervisor()
    assert host(fleet, "h2")["cordoned"]
    fleet.run("host", "uncordon", "h2")
    assert not host(fleet, "h2")["cordoned"]
    fleet.run("scale", "web", "2", "--key", "deploy", "--wait", timeout=120)
    assert {n["host"] for n in fleet.nodes("web", state="ready")} == {"h1", "h2"}


def a_host_that_is_not_there_cannot_be_cordoned(fleet):
    for verb in ("cordon", "uncordon"):
        done = fleet.run("host", verb, "nope", check=False)
        assert done.returncode == BAD_INPUT and "nope" in done.stderr, done


def an_agent_that_is_told_to_end_while_it_makes_nodes_leaves_a_whole_fleet(fleet):
    for number in (8, 2, 8, 2):
        fleet.run("scale", "web", str(number), "--key", "deploy")
        fleet.restart_agent("h1", by=signal.SIGTERM)
        service = fleet.wait_ready(ready=number)
        assert service["state"] == "running", service


def routes_of(fleet, name):
    net = next(h["netns"] for h in fleet.status["hosts"] if h["name"] == name)
    return subprocess.run(["ip", "-n", net, "route"], check=True, capture_output=True, text=True,
                          timeout=30).stdout


def a_fenced_host_is_shut_out_and_stays_so(fleet):
    done = fleet.run("host", "fence", "h2", check=False)
    assert done.returncode == BAD_INPUT and "--reason" in done.stderr, done
    cidr = host(fleet, "h2")["cidr"]
    assert cidr in routes_of(fleet, "h1"), routes_of(fleet, "h1")
    assert "take the machine off the network" in fleet.run(
        "host", "fence", "h2", "--reason", "its kernel lies").stdout
    assert host(fleet, "h2")["state"] == "fenced" and "its kernel lies" in fleet.run(
        "hosts", "h2").stdout
    wait_for("its nodes elsewhere", lambda: len(ready(fleet)) == fleet.service()["replicas"] and
             {n["host"] for n in fleet.nodes("web")} == {"h1"})
    wait_for("its routes to go", lambda: cidr not in routes_of(fleet, "h1"))
    # Neither its agent nor the supervisor begins anew with it.
    fleet.restart_agent("h2")
    wait_for("it to be refused", lambda: any(
        e["kind"] == "link.refused" and "is fenced" in e["text"]
        for e in fleet.ask("events", "-n", "1000")["events"]))
    fleet.restart_supervisor()
    assert host(fleet, "h2")["state"] == "fenced"
    fleet.run("scale", "web", "3", "--key", "deploy", "--wait", timeout=120)
    assert {n["host"] for n in fleet.nodes("web")} == {"h1"}
    assert "already" in fleet.run("host", "fence", "h2", "--reason", "again").stdout
    fleet.run("remove", "web", "--key", "deploy", "--wait", timeout=120)


def prepare(fleet):
    fleet.apply(standby=0)
    fleet.wait_ready(ready=3, standby=0, epoch=1)


if __name__ == "__main__":
    main([
        a_plan_of_a_scale_shows_the_change_and_changes_nothing,
        a_scaled_service_has_that_many_nodes_and_drops_no_request,
        nodes_that_stay_are_adopted_and_cut_under_the_new_epoch,
        a_roll_of_the_same_image_replaces_every_node,
        what_never_gets_ready_is_waited_for_as_long_as_its_manifest_says,
        a_number_that_is_none_is_refused,
        a_cordoned_host_is_shown_and_gets_nothing_new,
        a_cordon_survives_the_supervisor_and_ends_when_it_is_lifted,
        a_host_that_is_not_there_cannot_be_cordoned,
        an_agent_that_is_told_to_end_while_it_makes_nodes_leaves_a_whole_fleet,
        a_fenced_host_is_shut_out_and_stays_so,
    ], hosts=2, prepare=prepare)
