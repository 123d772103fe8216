#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A node floods the sensor and its log: nothing is hidden, nobody waits, nothing grows."""
import contextlib
import pathlib
import re
import sqlite3
import statistics
import time

import flood
from fleet import wait_for
from suite import main

DRILLS = 5
FLOOD_S = 20
KIB_GROWN = 2048


def resident_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def incident_of(fleet, node):
    return next((i for i in fleet.incidents() if i["node"] == node
                 and "cut_verified" in i["stages"]), None)


def drift_under_flood_is_cut(fleet, what, drift):
    node = fleet.nodes("flooder", state="ready")[0]["id"]
    with flood.running(fleet):
        wait_for("the flood to be told", lambda: flood_events(fleet, node), 30)
        flood.say(fleet, what)
        incident = wait_for("its incident", lambda: incident_of(fleet, node))
    assert incident["class"] == drift, incident
    assert incident["packets_after_cut"] == 0, incident
    fleet.destroy(incident["id"])
    fleet.wait_ready("flooder", ready=1)


def flood_events(fleet, node):
    return [e for e in fleet.ask("events", "-n", "1000")["events"]
            if e["kind"] == "sensor.flood" and e["node"] == node]


def a_flood_is_no_incident_but_people_hear_which_node_it_is(fleet):
    node = fleet.nodes("flooder", state="ready")[0]["id"]
    with flood.running(fleet):
        began = time.monotonic()
        wait_for("the flood to be told", lambda: flood_events(fleet, node))
        wait_for("some more of it", lambda: time.monotonic() - began > 8)
        told = flood_events(fleet, node)
        assert len(told) <= 1 + (time.monotonic() - began) // 60, told
        assert "too many to be told" in told[0]["text"], told
    assert not fleet.incidents(), fleet.incidents()
    assert fleet.nodes("flooder", state="ready")[0]["id"] == node


def a_flood_does_not_hide_memory_made_executable(fleet):
    drift_under_flood_is_cut(fleet, "memory", "exec-memory")


def a_flood_does_not_hide_a_refused_program(fleet):
    drift_under_flood_is_cut(fleet, "exec", "exec")


def group_of(fleet, node):
    unified = pathlib.Path("/sys/fs/cgroup/unified")
    base = unified if unified.is_dir() else pathlib.Path("/sys/fs/cgroup")
    return next(base.glob(f"**/{fleet.name}/**/{node}"))


def is_frozen(group):
    return "frozen 1" in (group / "cgroup.events").read_text()


def a_crowd_that_comes_and_goes_is_frozen_for_moments_to_be_looked_at(fleet):
    node = fleet.nodes("flooder", state="ready")[0]["id"]
    group = group_of(fleet, node)
    try:
        flood.say(fleet, "crowd")
        held = wait_for("it to be frozen and told", lambda: [
            e for e in fleet.ask("events", "-n", "1000")["events"]
            if e["kind"] == "node.held" and e["node"] == node], 60)
        # For a twentieth of the time; it serves all the while.
        frozen = 0
        for _ in range(200):
            frozen += is_frozen(group)
            time.sleep(0.05)
        assert frozen <= 30, f"frozen in {frozen} of 200 looks"
        assert wait_for("an answer", lambda: flood.say(fleet, "healthz"))
        assert len(held) == 1, held
        print(f"# {held[0]['text']}; then frozen in {frozen} of 200 looks")
    finally:
        wait_for("the crowd to go", lambda: flood.say(fleet, "rest"))
    time.sleep(1)
    assert not is_frozen(group)
    assert fleet.nodes("flooder", state="ready")[0]["id"] == node
    assert not fleet.incidents(), fleet.incidents()


def a_node_that_an_agent_left_frozen_goes_on_under_the_next(fleet):
    node = fleet.nodes("flooder", state="ready")[0]["id"]
    group = group_of(fleet, node)
    (group / "cgroup.freeze").write_text("1")
    wait_for("it to be frozen", lambda: is_frozen(group))
    fleet.restart_agent("h1")
    wait_for("it to go on", lambda: not is_frozen(group))
    assert wait_for("an answer", lambda: flood.say(fleet, "healthz"))
    wait_for("it to be ready", lambda: [n for n in fleet.nodes("flooder", state="ready")
                                        if n["id"] == node])


def drills(fleet):
    """Median milliseconds to the replacement."""
    stages = []
    for _ in range(DRILLS):
        incident = fleet.ask("drill", "exec", "web")["incident"]
        stages.append(incident["stages"]["replacement_ready"] / 1000)
        fleet.destroy(incident["id"])
        fleet.wait_ready(ready=2, standby=1)
    return statistics.median(stages)


def a_neighbour_is_answered_while_a_node_floods(fleet):
    quiet = drills(fleet)
    with flood.running(fleet):
        flooded = drills(fleet)
    print(f"# replacement ready {quiet:.1f} ms, flooded {flooded:.1f} ms; bench/flood compares")
    assert flooded < max(10 * quiet, 250), f"a replacement took {flooded:.1f} ms"


def a_flood_grows_neither_the_agent_nor_what_the_supervisor_keeps(fleet):
    agent = fleet.daemon_pid("h1")
    store = sqlite3.connect(f"file:/var/lib/{fleet.name}/supervisor/store.db?mode=ro", uri=True)

    def events():
        return store.execute("SELECT count(*) FROM entry WHERE key LIKE 'event/%'").fetchone()[0]
    with contextlib.closing(store), flood.running(fleet):
        # What it needs at most it has after a while: buffers of its own, pages of the ring.
        settled = wait_for("a while", settled_after(agent, 5))
        told = events()
        wait_for("a long flood", settled_after(agent, FLOOD_S))
        grown, more = resident_kib(agent) - settled, events() - told
    print(f"# {FLOOD_S} s of flood: the agent grew by {grown} KiB from {settled}, "
          f"{more} more events")
    assert grown <= KIB_GROWN or keeps_what_is_freed(agent), f"{grown} KiB"
    assert events_are_few(more), more


def keeps_what_is_freed(pid):
    """AddressSanitizer holds back up to 256 MiB, to see who still uses it."""
    return "libasan" in pathlib.Path(f"/proc/{pid}/maps").read_text()


def events_are_few(more):
    """A class of a node once in ten seconds, five classes; the flood itself; its health."""
    return more <= 5 * (FLOOD_S // 10 + 1) + 4


def settled_after(pid, seconds):
    began = time.monotonic()
    return lambda: time.monotonic() - began > seconds and resident_kib(pid)


def prepare(fleet):
    fleet.apply(replicas=2, standby=1, cpu=0.5, respawn=100)
    flood.apply(fleet)
    fleet.wait_ready(ready=2, standby=1)


if __name__ == "__main__":
    main([
        a_flood_is_no_incident_but_people_hear_which_node_it_is,
        a_crowd_that_comes_and_goes_is_frozen_for_moments_to_be_looked_at,
        a_node_that_an_agent_left_frozen_goes_on_under_the_next,
        a_flood_does_not_hide_memory_made_executable,
        a_flood_does_not_hide_a_refused_program,
        a_neighbour_is_answered_while_a_node_floods,
        a_flood_grows_neither_the_agent_nor_what_the_supervisor_keeps,
    ], hosts=1, prepare=prepare)
