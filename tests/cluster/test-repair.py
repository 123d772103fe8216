#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Images that are made good again while nodes of them run, are made, and are taken over.

A checkout that was made anew has other inodes than the one before, on which nodes may still run:
nothing of that is drift.
"""
import os
import signal
import threading
import time

from failpoints import Daemon
from fleet import wait_for
from place import SEED, Place, checkout, data, events_after, image, last_event, object_of
from suite import main

QUIET_S = 4  # every node is looked at twice a second, a host for strangers every ten
DELAY_MS = 5000
SEEN = 4  # nodes that are observed, half of them on either host
OBSERVED = "drift: {image: observe}\n"


def ids(fleet, service):
    return {n["id"] for n in fleet.nodes(service) if n["state"] in ("ready", "standby")}


def known(fleet):
    return {i["id"] for i in fleet.incidents()}


def nobody_is_cut(fleet, before, seconds=QUIET_S):
    """But for those incidents that are known."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        new = [(i["node"], i["class"], i["detail"]) for i in fleet.incidents()
               if i["id"] not in before]
        assert not new, new
        time.sleep(0.2)


def wait_event(fleet, kind, last, host):
    return wait_for(f"event {kind}", lambda: next(
        (e for e in events_after(fleet, last) if e["kind"] == kind and e["host"] == host), None))


def change(place):
    """What no program of the node reads."""
    with open(data(place), "ab") as file:
        file.write(b"X")


def program(place):
    return checkout(place) / "bin/hello"


def change_the_program(place):
    """So that it gets another inode by the repair; the kernel lets nobody write what is executed."""
    program(place).chmod(0o777)


def cut_one(fleet, service, host=None):
    """By hand, so that another node has to be made; the place of the one that was cut."""
    place = Place(fleet, service)
    while host and place.host != host:
        place = Place(fleet, service)
    # The command waits for the other one.
    asked = threading.Thread(target=fleet.run, kwargs={"check": False}, args=(
        "quarantine", place.id, "--reason", "another shall be made"))
    asked.start()
    fleet.cleanup.callback(asked.join)
    wait_for("it to be cut", lambda: [i for i in fleet.incidents() if i["node"] == place.id])
    return place


def rest(fleet):
    """As it was: everybody there, and nothing left of the test before."""
    for incident in fleet.incidents():
        if incident["state"] != "destroyed":
            fleet.destroy(incident["id"])
    fleet.wait_ready("web", ready=3, standby=2)
    fleet.wait_ready("seen", ready=SEEN)
    fleet.wait_still()


def a_lost_object_is_put_back_and_no_node_is_touched(fleet):
    rest(fleet)
    place, before, nodes = Place(fleet), known(fleet), ids(fleet, "web")
    inode, last = program(place).stat().st_ino, last_event(fleet)
    lost = object_of(place, program(place))
    lost.unlink()
    wait_event(fleet, "image.repaired", last, place.host)
    assert lost.stat().st_ino == inode == program(place).stat().st_ino
    nobody_is_cut(fleet, before)
    fleet.restart_agent(place.host)
    nobody_is_cut(fleet, before)
    assert ids(fleet, "web") == nodes


def what_only_the_supervisor_has_is_waited_for_and_nothing_that_is_right_is_given_up(fleet):
    """Nor does an agent that starts meanwhile give up the nodes."""
    rest(fleet)
    place, before, nodes = Place(fleet), known(fleet), ids(fleet, "web")
    inode, agent = program(place).stat().st_ino, fleet.daemon_pid(place.host)
    trees = list((place.state / "repo/objects").glob("??/*.dirtree"))
    with fleet.without_supervisor():
        for tree in trees:
            tree.unlink()
        wait_for("it to be told", lambda: "image.not-repaired" in [
            e["kind"] for e in fleet.ask_agent(place.host, "events")["events"]])
        assert program(place).stat().st_ino == inode
        os.kill(agent, signal.SIGKILL)
    wait_for("them to be fetched", lambda: all(tree.exists() for tree in trees))
    fleet.wait_hosts()
    nobody_is_cut(fleet, before)
    assert program(place).stat().st_ino == inode
    assert ids(fleet, "web") == nodes


def nodes_that_are_observed_outlive_the_repair_and_a_new_agent(fleet):
    rest(fleet)
    place, before, nodes = Place(fleet, "seen"), known(fleet), ids(fleet, "seen")
    inode, last = program(place).stat().st_ino, last_event(fleet)
    change_the_program(place)
    wait_event(fleet, "image.damaged", last, place.host)
    wait_event(fleet, "image.repaired", last, place.host)
    assert program(place).stat().st_ino != inode
    nobody_is_cut(fleet, before)
    # The next one starts from the new checkout, and takes nothing from those on the old one.
    gone = cut_one(fleet, "seen", place.host)
    before = known(fleet)
    wait_for("another node", lambda: len(ids(fleet, "seen")) == SEEN)
    nobody_is_cut(fleet, before)
    fleet.restart_agent(place.host)
    nobody_is_cut(fleet, before)
    assert nodes - {gone.id} <= ids(fleet, "seen")


def what_is_changed_while_an_object_is_fetched_cuts_every_node(fleet):
    rest(fleet)
    place, last = Place(fleet), last_event(fleet)
    concerned = {n["id"] for n in fleet.nodes("web") if n["host"] == place.host}
    commit = place.node["image"]["commit"]
    Daemon(fleet, place.host).arm(f"agent.image.commit.before=delay:{DELAY_MS}")
    (place.state / "repo/objects" / commit[:2] / f"{commit[2:]}.commit").unlink()
    wait_event(fleet, "image.damaged", last, place.host)
    change(place)
    wait_for("all of them to be cut", lambda: concerned <= {
        i["node"] for i in fleet.incidents() if i["class"] == "image"},
             seconds=DELAY_MS / 1000 - 1)
    assert not [e for e in events_after(fleet, last) if e["kind"] == "image.repaired"]
    wait_event(fleet, "image.repaired", last, place.host)
    assert data(place).read_bytes()[-1:] == b"\n"
    rest(fleet)
    nobody_is_cut(fleet, known(fleet))


def being_made(fleet, service, point):
    """A node that has come as far as @point, and waits there."""
    for host in fleet.status["hosts"]:
        Daemon(fleet, host["name"]).arm(f"{point}=delay:{DELAY_MS}")
    cut_one(fleet, service)
    node = wait_for("one to be made", lambda: next(iter(
        fleet.nodes(service, state="creating")), None))
    daemon = Daemon(fleet, node["host"])
    wait_for("it to wait", lambda: daemon.points()[point]["taken"])
    return Place(fleet, service, node)


def does_not_begin(fleet, place, last):
    told = wait_for("it to be given up", lambda: next(
        (e for e in events_after(fleet, last)
         if e["kind"] == "node.failed" and e["node"] == place.id), None))
    assert "was changed while" in told["text"], told
    wait_for("it to go", lambda: not fleet.nodes(id=place.id))
    for host in fleet.status["hosts"]:
        Daemon(fleet, host["name"]).arm("off")


def a_node_that_is_being_made_when_its_image_is_changed_does_not_begin(fleet):
    rest(fleet)
    last = last_event(fleet)
    place = being_made(fleet, "web", "agent.build.root.after")
    change(place)
    does_not_begin(fleet, place, last)
    rest(fleet)


def a_node_that_waits_for_a_repair_is_not_judged_by_what_was_before(fleet):
    rest(fleet)
    last = last_event(fleet)
    place = being_made(fleet, "seen", "agent.build.node.before")
    before = known(fleet)
    change_the_program(place)
    wait_event(fleet, "image.damaged", last, place.host)
    does_not_begin(fleet, place, last)
    fleet.wait_ready("seen", ready=SEEN)
    nobody_is_cut(fleet, before)


def prepare(fleet):
    print(f"# seed {SEED}: DNODE_TEST_SEED={SEED}", flush=True)
    fleet.apply(commit=image(fleet), respawn=1000, within="10s")
    fleet.apply(service="seen", commit=image(fleet, "observed"), replicas=SEEN, standby=0,
                respawn=1000, within="10s", more=OBSERVED)
    fleet.wait_ready("web", ready=3, standby=2)
    fleet.wait_ready("seen", ready=SEEN)
    fleet.wait_still()


if __name__ == "__main__":
    main([a_lost_object_is_put_back_and_no_node_is_touched,
          what_only_the_supervisor_has_is_waited_for_and_nothing_that_is_right_is_given_up,
          nodes_that_are_observed_outlive_the_repair_and_a_new_agent,
          what_is_changed_while_an_object_is_fetched_cuts_every_node,
          a_node_that_is_being_made_when_its_image_is_changed_does_not_begin,
          a_node_that_waits_for_a_repair_is_not_judged_by_what_was_before], prepare, hosts=2)
