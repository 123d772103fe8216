#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A host of the fleet is evil and its network full of strangers: the others do not notice."""
import contextlib
import pathlib
import re
import statistics
import subprocess
import sys
import time

from suite import main

FAULTS = pathlib.Path(__file__).resolve().parent.parent / "faults"
DRILLS = 5


def ready(fleet):
    fleet.apply()
    fleet.wait_ready(ready=3, standby=3)
    fleet.wait_still()


def drills(fleet):
    """Medians in milliseconds: the command, and the stages of its incidents."""
    commands, stages = [], []
    for _ in range(DRILLS):
        begin = time.monotonic()
        incident = fleet.ask("drill", "exec", "web")["incident"]
        commands.append((time.monotonic() - begin) * 1000)
        stages.append(incident["stages"]["replacement_ready"] / 1000)
        fleet.destroy(incident["id"])
        fleet.wait_ready(ready=3, standby=3)
    return statistics.median(commands), statistics.median(stages)


@contextlib.contextmanager
def attack(fleet):
    text = (pathlib.Path(fleet.status["home"]) / "cluster.yaml").read_text()
    link = re.search(r"^listen: *\"?([^\"\s]+)", text, re.M).group(1)
    repo = re.search(r"^repo_listen: *\"?([^\"\s]+)", text, re.M).group(1)
    token = fleet.ask("host", "token", "evil")["token"]
    net = f"--net=/run/netns/{fleet.status['client_netns']}"
    attacker = subprocess.Popen(
        ["nsenter", net, sys.executable, str(FAULTS / "attack.py"), link, repo,
         fleet.environment()["DNODE_SUPERVISOR"].removeprefix("unix:"), str(fleet.scratch), token,
         "evil"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert attacker.stdout.readline() == b"on\n", "the attack did not begin"
        yield
        assert attacker.poll() is None, "the attack has ended by itself"
    finally:
        attacker.stdin.close()
        try:
            attacker.wait(10)
        except subprocess.TimeoutExpired:
            attacker.kill()
            attacker.wait()
        attacker.stdout.close()


def drills_are_answered_in_their_time_while_a_host_floods_and_strangers_crowd(fleet):
    quiet_command, quiet_stage = drills(fleet)
    pid = fleet.ask("lab", "status", "--name", fleet.name)["supervisor"]["pid"]
    since = fleet.ask("events", "-n", "1")["events"][-1]["id"]
    with attack(fleet):
        begin = time.monotonic()
        fleet.ask("nodes")
        asked = (time.monotonic() - begin) * 1000
        command, stage = drills(fleet)
        resident = int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(
            f"/proc/{pid}/status").read_text()).group(1)) // 1024
    print(f"# replacement ready {quiet_stage:.1f} ms, attacked {stage:.1f} ms; the whole drill "
          f"{quiet_command:.0f} ms, attacked {command:.0f} ms; dnode nodes {asked:.0f} ms; "
          f"supervisor {resident} MiB")
    assert stage < max(10 * quiet_stage, 250), f"a replacement took {stage:.1f} ms"
    assert command < max(5 * quiet_command, 3000), f"a drill took {command:.0f} ms"
    assert asked < 5000, f"dnode nodes took {asked:.0f} ms"
    events = [e for e in fleet.ask("events", "-n", "1000")["events"] if e["id"] > since]
    lost = [e for e in events if e["kind"] in ("host.lost", "host.disconnected") and
            e["host"] != "evil"]
    assert not lost, lost
    flooded = [e for e in fleet.ask("events", "-n", "1000")["events"]
               if e["kind"] == "link.flooded"]
    assert all(e["host"] == "evil" for e in flooded), flooded
    hosts = {h["name"]: h["state"] for h in fleet.ask("hosts")["hosts"]}
    assert all(hosts[name] == "up" for name in ("h1", "h2", "h3")), hosts


if __name__ == "__main__":
    main([drills_are_answered_in_their_time_while_a_host_floods_and_strangers_crowd], hosts=3,
         prepare=ready)
