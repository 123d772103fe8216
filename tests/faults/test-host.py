#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A host's storage fails in every way while it protects, under load.

Faults 8, 11 to 15 and 17 of docs/faults.md, of one agent in a lab. A round is an incident, or a
start: what cannot be written must not keep a node from being cut, frozen and replaced.
"""
import errno
import os
import pathlib
import signal
import sys
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
# pylint: disable=wrong-import-position
import invariants
from alone import rounds, timed
from fleet import wait_for
from host import REPLICAS, is_dead, lose_what_was_not_synced, main
from shim import Fail, Full, ReadOnly

BUSY, RATE = 4, 200


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
    cut_without_a_disk(fleet, lambda: Full(errno.ENOSPC), rounds(20))


@timed("fault 12, host")
def a_host_over_its_quota_does_the_same(fleet):
    cut_without_a_disk(fleet, lambda: Full(errno.EDQUOT), rounds(20))


@timed("fault 17, host")
def a_host_whose_state_turns_read_only_does_the_same(fleet):
    cut_without_a_disk(fleet, lambda: ReadOnly(errno.EROFS), rounds(20))


@timed("fault 13, host")
def a_host_whose_records_cannot_be_synced_does_the_same(fleet):
    cut_without_a_disk(fleet, lambda: Fail(("sync",), errno.EIO, "incidents"), rounds(20))


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
        invariants.check(fleet, before)


@timed("faults 8 and 15, quarantine")
def a_quarantine_survives_the_loss_of_what_was_not_synced_at_any_moment(fleet):
    before = invariants.acknowledged(fleet)
    for _ in range(rounds(20)):
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
    for _ in range(rounds(20)):
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
    """Whatever of its state is empty, changed or gone: one line, and the cut ones stay cut."""
    fleet.settled()
    before = invariants.acknowledged(fleet)
    for name, change in (("epochs.json", lambda f: os.truncate(f, 0)), ("term.json", damage),
                         ("network.json", lambda f: os.truncate(f, f.stat().st_size // 2)),
                         ("network.json", lambda f: f.unlink())):
        file = fleet.state / name
        good = file.read_bytes()
        pid = fleet.daemon_pid("h1")
        with fleet.nobody_starts_it_again(pid):
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


if __name__ == "__main__":
    main([
        a_host_with_a_full_disk_cuts_and_replaces_and_keeps_the_incident_until_it_is_written,
        a_host_over_its_quota_does_the_same,
        a_host_whose_state_turns_read_only_does_the_same,
        a_host_whose_records_cannot_be_synced_does_the_same,
        a_quarantine_survives_the_loss_of_what_was_not_synced_at_any_moment,
        a_deploy_survives_the_loss_of_what_was_not_synced_at_any_moment,
        an_image_that_cannot_be_read_starts_no_node_and_the_old_ones_serve,
        records_of_a_host_that_are_damaged_bring_no_cut_node_back,
        an_agent_starts_on_a_full_or_read_only_disk_and_answers_what_happened_meanwhile,
    ])
