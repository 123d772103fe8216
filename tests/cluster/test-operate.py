#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator does to a running fleet: more and fewer nodes, hosts that take nothing new."""
import signal

from fleet import wait_for
from suite import main

BAD_INPUT = 2


def host(fleet, name):
    return next(h for h in fleet.ask("hosts")["hosts"] if h["name"] == name)


def a_plan_of_a_scale_shows_the_change_and_changes_nothing(fleet):
    planned = fleet.run("scale", "web", "5", "--key", "deploy", "--plan").stdout
    assert "nothing is changed yet" in planned and "replicas" in planned, planned
    assert fleet.service()["epoch"] == 1 and fleet.service()["replicas"] == 3


def a_scaled_service_has_that_many_nodes_and_drops_no_request(fleet):
    raw = fleet.run("manifest", "show", "web", "--raw").stdout
    with fleet.load(fleet.service()["vip"], rate=1000) as load:
        fleet.run("scale", "web", "5", "--key", "deploy", "--wait", timeout=120)
        assert len(fleet.nodes("web", state="ready", epoch=2)) == 5
        fleet.run("scale", "web", "2", "--key", "deploy", "--wait", timeout=120)
        wait_for("two nodes", lambda: len(fleet.nodes("web", state="ready")) == 2)
    assert load.summary["failed"] == 0 and load.summary["refused"] == 0, load.summary
    expected = raw.replace("epoch: 1\n", "epoch: 3\n").replace("replicas: 3\n", "replicas: 2\n")
    assert fleet.run("manifest", "show", "web", "--raw").stdout == expected


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
    fleet.run("scale", "web", "4", "--key", "deploy", "--wait", timeout=120)
    assert {n["host"] for n in fleet.nodes("web", state="ready")} == {"h1"}


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


def prepare(fleet):
    fleet.apply(standby=0)
    fleet.wait_ready(ready=3, standby=0, epoch=1)


if __name__ == "__main__":
    main([
        a_plan_of_a_scale_shows_the_change_and_changes_nothing,
        a_scaled_service_has_that_many_nodes_and_drops_no_request,
        a_number_that_is_none_is_refused,
        a_cordoned_host_is_shown_and_gets_nothing_new,
        a_cordon_survives_the_supervisor_and_ends_when_it_is_lifted,
        a_host_that_is_not_there_cannot_be_cordoned,
        an_agent_that_is_told_to_end_while_it_makes_nodes_leaves_a_whole_fleet,
    ], hosts=2, prepare=prepare)
