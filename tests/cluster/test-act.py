#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole act on three hosts: place, balance, drill, replace, roll, crash, remove."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from fleet import wait_for
from suite import main

# Notes who sent a byte and when, a line each.
EAR = '''
import selectors, socket, sys, time
ear = socket.create_server((sys.argv[1], int(sys.argv[2])), reuse_port=True)
notes = open(sys.argv[3], "w", buffering=1)
poll = selectors.DefaultSelector()
poll.register(ear, selectors.EVENT_READ)
while True:
    for key, _ in poll.select():
        if key.fileobj is ear:
            poll.register(ear.accept()[0], selectors.EVENT_READ)
        elif key.fileobj.recv(4096):
            notes.write(f"{key.fileobj.getpeername()[1]} {time.monotonic_ns()}\\n")
        else:
            poll.unregister(key.fileobj)
'''


def vip(fleet, service="web"):
    return fleet.service(service)["vip"]


def whoami(fleet, service="web"):
    return json.loads(fleet.get(f"http://{vip(fleet, service)}/whoami"))


def cgroup(fleet, node):
    host = next(h for h in fleet.status["hosts"] if h["name"] == node["host"])
    root = pathlib.Path("/sys/fs/cgroup")
    root = root / "unified" if (root / "unified").is_dir() else root
    return root / fleet.name / host["name"] / node["id"]


def frozen(fleet, node):
    return "frozen 1" in (cgroup(fleet, node) / "cgroup.events").read_text()


def oom_scores(fleet, node):
    pids = (cgroup(fleet, node) / "cgroup.procs").read_text().split()
    return {pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text().strip() for pid in pids}


def a_declared_service_serves_through_its_address(fleet):
    fleet.apply()
    service = fleet.wait_ready(ready=3)
    assert len({n["host"] for n in fleet.nodes("web", state="ready")}) == 3, "not spread"
    answer = whoami(fleet)
    assert answer["service"] == "web" and answer["epoch"] == "1", answer
    seen = {whoami(fleet)["node"] for _ in range(60)}
    ready = {n["id"] for n in fleet.nodes("web", state="ready")}
    assert seen == ready, f"answered by {seen} of {ready}"
    assert service["image"]["commit"] == fleet.hello()


def every_carrying_host_keeps_a_standby_ready(fleet):
    wait_for("standbys", lambda: len(fleet.nodes("web", state="standby")) == 3)


def a_drill_is_cut_frozen_replaced_and_on_record(fleet):
    incident = fleet.ask("drill", "exec", "web")["incident"]
    assert incident["drill"] and incident["class"] == "exec", incident
    assert incident["replacements"], "nothing replaced the node"
    incident = wait_for("the whole record", lambda: next(
        (i for i in fleet.incidents() if i["id"] == incident["id"] and
         {"verdict", "cut", "frozen", "lb_out_local", "reset", "replacement_ready",
          "cut_verified", "durable", "reported", "lb_out_all"} <= set(i["stages"])), None))
    assert incident["packets_after_cut"] == 0
    # Of requests that were answered before, no socket is left to lead there.
    assert any(" TIME_WAIT " in line for line in incident["conntrack"]), incident["conntrack"]
    node = next(n for n in fleet.nodes("web") if n["id"] == incident["node"])
    assert node["state"] == "quarantined" and node["incident"] == incident["id"], node
    assert frozen(fleet, node)
    assert oom_scores(fleet, node) == {"0"}, "evidence is given up as soon as memory runs out"
    assert oom_scores(fleet, fleet.nodes("web", state="ready")[0]) == {"500"}
    fleet.wait_ready(ready=3)
    assert incident["node"] not in {whoami(fleet)["node"] for _ in range(40)}
    fleet.last = incident


def a_quarantined_node_goes_only_with_a_responders_signature(fleet):
    incident = fleet.last
    refused = fleet.run("incident", "destroy", incident["id"], "--key", "deploy", "--reason",
                        "wrong key", check=False)
    assert refused.returncode == 3, refused
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
    assert any(n["id"] == incident["node"] for n in fleet.nodes("web", state="quarantined"))
    fleet.destroy(incident["id"])
    wait_for("the node to go", lambda: not any(
        n["id"] == incident["node"] for n in fleet.nodes("web")))
    after = fleet.ask("incident", "show", incident["id"])["incident"]
    assert after["state"] == "destroyed", after


def a_node_can_be_quarantined_by_hand(fleet):
    victim = fleet.nodes("web", state="ready")[0]
    done = fleet.ask("quarantine", victim["id"], "--reason", "a person had a doubt")
    incident = done["incident"]
    assert incident["node"] == victim["id"] and incident["class"] == "manual", incident
    assert "a person had a doubt" in incident["detail"]
    assert not incident["drill"]
    fleet.wait_ready(ready=3)
    assert frozen(fleet, victim)
    again = fleet.run("quarantine", victim["id"], "--reason", "again", check=False)
    assert again.returncode == 4, again
    fleet.destroy(incident["id"])


def a_roll_under_load_fails_no_request(fleet):
    fleet.wait_ready(ready=3)
    with fleet.load(vip(fleet), rate=2000) as load:
        time.sleep(0.5)
        fleet.apply(epoch=2, commit=fleet.hello("image-2.yaml"), version="2", drain="2s")
        fleet.wait_ready(ready=3, epoch=2)
        wait_for("the old nodes to go", lambda: not [
            n for n in fleet.nodes("web") if n["epoch"] == 1], 60)
    print(f"# roll: {load.summary}")
    assert load.summary["failed"] == 0 and load.summary["refused"] == 0, load.summary
    assert load.summary["answers"] > 2000, "too little load to count"
    assert whoami(fleet)["version"] == "2"


def an_agent_killed_under_load_costs_no_request_and_adopts_its_nodes(fleet):
    before = {n["id"] for n in fleet.nodes("web", state="ready")}
    with fleet.load(vip(fleet), rate=2000) as load:
        time.sleep(0.5)
        for host in ("h1", "h2", "h3"):
            old = fleet.daemon_pid(host)
            os.kill(old, signal.SIGKILL)
            wait_for(f"a new agent of {host}", lambda: fleet.daemon_pid(host) not in (None, old))
            wait_for(f"{host} to be up", lambda: [
                h for h in fleet.ask("hosts")["hosts"] if h["name"] == host and
                h["state"] == "up" and h["nodes"] > 0])
        time.sleep(1)
    print(f"# agents killed: {load.summary}")
    assert load.summary["failed"] == 0 and load.summary["refused"] == 0, load.summary
    fleet.wait_ready(ready=3)
    assert {n["id"] for n in fleet.nodes("web", state="ready")} == before


def drift_with_the_agent_dead_is_cut_by_the_kernel_and_finished_later(fleet):
    node = fleet.nodes("web", state="ready")[0]
    wait_for("a standby", lambda: fleet.nodes("web", state="standby", host=node["host"]))
    helper = fleet.build / "agent/drill/dnode-drill"
    os.kill(fleet.daemon_pid(node["host"]), signal.SIGKILL)
    drift = subprocess.run([str(helper), str(cgroup(fleet, node) / "cgroup.procs"), "65534",
                            "65534", "exec"], check=False, input=b"g")
    assert drift.returncode == -signal.SIGKILL, f"the foreign file ran: {drift.returncode}"
    incident = wait_for("the incident", lambda: next(
        (i for i in fleet.incidents() if i["node"] == node["id"] and
         "cut_verified" in i["stages"]), None))
    assert incident["packets_after_cut"] == 0 and not incident["drill"], incident
    assert frozen(fleet, node)
    fleet.wait_ready(ready=3)
    fleet.destroy(incident["id"])


def the_peer_of_a_reverse_connection_is_on_record_and_hears_no_more(fleet):
    peer, port = "10.88.0.2", 9999
    heard = fleet.scratch / "heard"
    folder = fleet.scratch / "caller"
    folder.mkdir()
    shutil.copy(fleet.build / "tests/cluster/caller", folder)
    (folder / "image.yaml").write_text(
        "{dnode: image/v1, ref: apps/caller, files: [{source: caller, path: /bin/caller, "
        f'mode: "0755"}}], run: {{args: [/bin/caller, {peer}, "{port}"], user: 1000}}}}\n')
    ear = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{fleet.status['client_netns']}", sys.executable, "-c", EAR,
         peer, str(port), str(heard)])
    try:
        wait_for("somebody to call", heard.exists)
        fleet.apply(service="caller", commit=fleet.image(folder), ref="apps/caller", replicas=1,
                    standby=0, started=False,
                    more=f"egress: [{{cidr: {peer}/32, port: {port}}}]\n")
        fleet.wait_ready("caller", ready=1)
        wait_for("the call", lambda: heard.read_text().count("\n") > 20)
        incident = fleet.ask("drill", "exec", "caller")["incident"]
        wait_for("the cut", lambda: "reset" in fleet.ask(
            "incident", "show", incident["id"])["incident"]["stages"])
        time.sleep(0.3)
        incident = fleet.ask("incident", "show", incident["id"])["incident"]
        calls = [s for s in incident["sockets"] if s["peer"] == f"{peer}:{port}"]
        assert calls and not calls[0]["accepted"] and calls[0]["state"] == "established", \
            incident["sockets"]
        assert calls[0]["bytes_sent"] > 20, calls[0]
        assert any(peer in line for line in incident["conntrack"]), incident["conntrack"]
        # By its port: a host may lend a node its own address on the way out.
        own = calls[0]["local"].rsplit(":", 1)[1]
        notes = [line.split() for line in heard.read_text().splitlines()]
        assert any(port == own for port, _ in notes), (own, notes[:3])
        late = [when for port, when in notes
                if port == own and int(when) > incident["event_monotonic"] + 20_000_000]
        assert not late, f"{len(late)} bytes after the cut"
        fleet.destroy(incident["id"])
        fleet.run("remove", "caller", "--key", "deploy")
        wait_for("no caller", lambda: not fleet.nodes("caller"))
    finally:
        ear.kill()
        ear.wait()


def a_second_service_runs_beside_and_neither_sees_the_others_trouble(fleet):
    commit = fleet.image(fleet.build / "images/busybox")
    text = fleet.manifest(service="site", commit=commit, ref="apps/busybox", replicas=2, standby=0,
                          started=False, health="/")
    fleet.run("apply", text, "--key", "deploy")
    fleet.wait_ready("site", ready=2)
    assert fleet.get(f"http://{vip(fleet, 'site')}/"), "no page"
    before = {n["id"] for n in fleet.nodes(state="ready") if n["host"] != "h1"}
    os.kill(fleet.daemon_pid("h1"), signal.SIGKILL)
    time.sleep(1)
    assert before == {n["id"] for n in fleet.nodes(state="ready") if n["host"] != "h1"}
    fleet.wait_ready("site", ready=2)


def a_removed_service_is_gone_and_can_come_back_with_the_next_epoch(fleet):
    fleet.run("remove", "site", "--key", "deploy")
    wait_for("no node of site", lambda: not fleet.nodes("site"))
    old = fleet.run("apply", fleet.scratch / "site-1.yaml", "--key", "deploy", check=False)
    assert old.returncode == 3, old
    text = fleet.manifest(service="site", epoch=3,
                          commit=fleet.image(fleet.build / "images/busybox"), ref="apps/busybox",
                          replicas=1, standby=0, started=False, health="/")
    fleet.run("apply", text, "--key", "deploy")
    fleet.wait_ready("site", ready=1)


def the_plan_of_a_change_changes_nothing(fleet):
    file = fleet.manifest(epoch=9, commit=fleet.hello("image-2.yaml"), version="2", replicas=5)
    shown = fleet.run("apply", file, "--key", "deploy", "--plan").stdout
    assert "replicas" in shown, shown
    assert fleet.service()["epoch"] == 2 and fleet.service()["replicas"] == 3


def logs_and_events_can_be_read(fleet):
    node = fleet.nodes("web", state="ready")[0]
    assert fleet.run("logs", node["id"]).returncode == 0
    events = fleet.ask("events")["events"]
    assert events, "no events"
    assert [e["id"] for e in events] == sorted(e["id"] for e in events)
    assert all(e["kind"] and e["severity"] and e["text"] for e in events)


if __name__ == "__main__":
    main([
        a_declared_service_serves_through_its_address,
        every_carrying_host_keeps_a_standby_ready,
        a_drill_is_cut_frozen_replaced_and_on_record,
        a_quarantined_node_goes_only_with_a_responders_signature,
        a_node_can_be_quarantined_by_hand,
        a_roll_under_load_fails_no_request,
        an_agent_killed_under_load_costs_no_request_and_adopts_its_nodes,
        drift_with_the_agent_dead_is_cut_by_the_kernel_and_finished_later,
        the_peer_of_a_reverse_connection_is_on_record_and_hears_no_more,
        a_second_service_runs_beside_and_neither_sees_the_others_trouble,
        a_removed_service_is_gone_and_can_come_back_with_the_next_epoch,
        the_plan_of_a_change_changes_nothing,
        logs_and_events_can_be_read,
    ], hosts=3)
