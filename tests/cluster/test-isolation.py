#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Past its budget a node is isolated: it serves, begins nothing, and ends in quarantine.

Beside it what the fleet makes of incidents: siblings are looked at, repeated ones are one attack.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import drifter
from fleet import wait_for
from suite import main

PEER, PORT = "10.88.0.2", 9999
CONFLICT, LIMIT = 4, 6

# Notes "SOURCE_PORT TIME" for every byte that a caller sends.
EAR = """
import selectors, socket, sys, time
ears = selectors.DefaultSelector()
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
ears.register(server, selectors.EVENT_READ)
with open(sys.argv[3], "w", buffering=1) as out:
    while True:
        for key, _ in ears.select():
            if key.fileobj is server:
                caller, (_, port) = server.accept()
                ears.register(caller, selectors.EVENT_READ, port)
                continue
            try:
                data = key.fileobj.recv(4096)
            except OSError:
                data = b""
            if not data:
                ears.unregister(key.fileobj)
                continue
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            out.write(f"{key.data} {now}\\n")
"""


def group(fleet, node):
    root = pathlib.Path("/sys/fs/cgroup")
    root = root / "unified" if (root / "unified").is_dir() else root
    return root / fleet.name / node["host"] / node["id"]


def first_process(fleet, node):
    return int((group(fleet, node) / "cgroup.procs").read_text().split()[0])


def frozen(fleet, node):
    return "frozen 1" in (group(fleet, node) / "cgroup.events").read_text()


def drift(fleet, node):
    """A process that nobody announced comes into the node, and executes what is foreign there."""
    helper = fleet.build / "agent/drill/dnode-drill"
    process = subprocess.Popen([str(helper), str(group(fleet, node) / "cgroup.procs"), "65534",
                                "65534", "exec"], stdin=subprocess.PIPE)
    process.stdin.write(b"x")
    process.stdin.close()
    # Seen when it came in, it is frozen with the node before it executes anything.
    wait_for("it to be answered", lambda: process.poll() is not None or frozen(fleet, node))
    process.kill()
    return process.wait()


def incident_of(fleet, node):
    return next((i for i in fleet.incidents() if i["node"] == node["id"]), None)


def events(fleet, kind, **match):
    return [e for e in fleet.ask("events", "-n", "1000")["events"] if e["kind"] == kind and
            all(e.get(k) == v for k, v in match.items())]


def only_node(fleet, service):
    """The one that is ready; a replacement may still be on its way."""
    return wait_for("a ready node", lambda: next(iter(fleet.nodes(service, state="ready")), None))


def is_answered(fleet, service="caller", times=10):
    vip = fleet.service(service)["vip"]
    codes = [fleet.client("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "5",
                          f"http://{vip}/", check=False).stdout for _ in range(times)]
    return all(code == "200" for code in codes)


def calls_outside(fleet, node):
    """Does a connection from the node's network come about?"""
    net = f"--net=/proc/{first_process(fleet, node)}/ns/net"
    done = subprocess.run(["nsenter", net, sys.executable, "-c",
                           "import socket, sys\n"
                           f"socket.create_connection(('{PEER}', {PORT}), 1)"],
                          capture_output=True, check=False, timeout=30)
    return done.returncode == 0


def isolated(fleet, node):
    """The incident of a node that is isolated, when all of that can be seen."""
    incident = incident_of(fleet, node)
    shown = fleet.nodes(id=node["id"])
    good = (incident and incident["isolated"] and incident["isolated"]["verified"] is not None and
            incident["isolated"]["until"] is None and "cut" not in incident["stages"] and
            shown and shown[0]["state"] == "ready" and shown[0]["incident"] == incident["id"] and
            not frozen(fleet, node))
    return incident if good else None


def make_isolated(fleet, service):
    """Drift of the ready node of a service whose budget is spent."""
    node = only_node(fleet, service)
    assert drift(fleet, node) == -signal.SIGKILL, "the foreign file ran"
    incident = wait_for("it to be isolated", lambda: isolated(fleet, node))
    return node, incident


def heard_of(fleet, incident):
    """When the peer heard the sockets that the node had open, after the event."""
    notes = [line.split() for line in (fleet.scratch / "heard").read_text().splitlines()]
    own = {line.split("sport=")[1].split()[0] for line in incident["conntrack"]
           if f"dst={PEER} " in line}
    assert own, incident["conntrack"]
    return [int(when) - incident["event_monotonic"] for port, when in notes if port in own]


def the_first_drift_is_answered_with_a_clean_node(fleet):
    node = only_node(fleet, "caller")
    assert drift(fleet, node) == -signal.SIGKILL, "the foreign file ran"
    incident = wait_for("its incident", lambda: incident_of(fleet, node))
    # By what is seen first: that it came in, or what it executes.
    assert incident["class"] in ("exec", "process-foreign"), incident
    assert incident["isolated"] is None, incident
    wait_for("the cut", lambda: "cut" in incident_of(fleet, node)["stages"])
    fleet.wait_ready("caller", ready=1)
    assert only_node(fleet, "caller")["id"] != node["id"]
    fleet.destroy(incident["id"])


def the_next_one_isolates_which_serves_and_begins_nothing(fleet):
    assert is_answered(fleet)
    fleet.node, incident = make_isolated(fleet, "caller")
    told = wait_for("people to be called", lambda: events(
        fleet, "node.isolated", node=fleet.node["id"]))
    assert told[0]["severity"] == "critical" and "dnode quarantine" in told[0]["text"], told
    assert "isolated" in incident["detail"] and incident["packets_after_cut"] == 0, incident
    assert is_answered(fleet)
    assert not calls_outside(fleet, fleet.node)
    # Also on the connection that it had: 20 ms are those of a byte that was on its way.
    late = [when for when in heard_of(fleet, incident) if when > 20_000_000]
    assert not late, f"{len(late)} bytes after the event, the first after {late[0]} ns"
    assert incident_of(fleet, fleet.node)["packets_after_cut"] == 0


def people_see_that_the_service_has_a_node_that_nobody_wants(fleet):
    service = fleet.service("caller")
    assert service["state"] == "degraded" and service["ready"] == 0, service
    assert "isolated" in service["why"], service["why"]
    assert fleet.node["id"] in fleet.run("nodes", "caller").stdout
    assert "isolated" in fleet.run("incidents").stdout


def foreign_code_dies_in_it_as_before_and_opens_no_second_incident(fleet):
    before = [i["id"] for i in fleet.incidents()]
    assert drift(fleet, fleet.node) == -signal.SIGKILL, "the foreign file ran"
    assert [i["id"] for i in fleet.incidents()] == before
    assert is_answered(fleet)


def no_drill_and_no_destruction_touches_it(fleet):
    incident = incident_of(fleet, fleet.node)
    assert fleet.run("drill", "exec", "caller", check=False).returncode == LIMIT
    done = fleet.run("incident", "destroy", incident["id"], "--key", "responder", "--reason",
                     "too early", check=False)
    assert done.returncode == CONFLICT and "dnode quarantine" in done.stderr, done
    assert isolated(fleet, fleet.node)


def it_stays_what_it_is_through_kill_9_of_agent_and_supervisor(fleet):
    incident = incident_of(fleet, fleet.node)
    for _ in range(3):
        fleet.restart_agent(fleet.node["host"])
        assert is_answered(fleet)
        assert not calls_outside(fleet, fleet.node)
        assert wait_for("it to be known", lambda: isolated(fleet, fleet.node))["id"] == \
            incident["id"]
    fleet.restart_supervisor()
    wait_for("it to be known", lambda: isolated(fleet, fleet.node))
    assert is_answered(fleet)
    assert len(events(fleet, "node.isolated", node=fleet.node["id"])) == 1
    assert not events(fleet, "fact.refused"), events(fleet, "fact.refused")


def quarantine_by_hand_cuts_and_freezes_it(fleet):
    fleet.run("quarantine", fleet.node["id"], "--reason", "seen enough")
    incident = wait_for("the cut", lambda: next(
        (i for i in fleet.incidents() if i["node"] == fleet.node["id"] and
         "cut_verified" in i["stages"]), None))
    assert frozen(fleet, fleet.node)
    assert "seen enough" in incident["detail"] and incident["isolated"]["until"] is not None
    assert incident["stages"]["cut"] > incident["isolated"]["since"], incident
    assert incident["packets_after_cut"] == 0 and not incident["replacements"], incident
    assert fleet.nodes(id=fleet.node["id"])[0]["state"] == "quarantined"
    assert wait_for("it to be held", lambda: events(
        fleet, "respawn.held", node=fleet.node["id"]))
    assert not is_answered(fleet, times=1)
    fleet.destroy(incident["id"])
    fleet.wait_ready("caller", ready=1)


def a_roll_cuts_an_isolated_node_and_never_drains_it(fleet):
    node, _ = make_isolated(fleet, "caller")
    fleet.apply(**dict(fleet.caller, epoch=2, version="2"))
    wait_for("the new epoch", lambda: [
        n for n in fleet.nodes("caller", state="ready") if n["epoch"] == 2])
    incident = wait_for("the cut", lambda: next(
        (i for i in fleet.incidents() if i["node"] == node["id"] and
         "cut_verified" in i["stages"]), None))
    assert frozen(fleet, node) and not incident["replacements"], incident
    fleet.wait_ready("caller", ready=1, epoch=2)
    assert not events(fleet, "respawn.held", node=node["id"])
    assert not events(fleet, "node.draining", node=node["id"])
    fleet.destroy(incident["id"])


def it_is_cut_and_replaced_as_soon_as_the_budget_allows(fleet):
    fleet.run("remove", "caller", "--key", "deploy")
    wait_for("no node of it", lambda: not fleet.nodes("caller"))
    fleet.apply(service="quick", replicas=1, standby=1, started=True, respawn=1, within="15s",
                past="isolate")
    fleet.wait_ready("quick", ready=1, standby=1)
    first = only_node(fleet, "quick")
    drift(fleet, first)
    fleet.wait_ready("quick", ready=1, standby=1)
    node = only_node(fleet, "quick")
    assert node["id"] != first["id"]
    drift(fleet, node)
    incident = wait_for("it to be isolated", lambda: incident_of(fleet, node))
    assert incident["isolated"], incident
    wait_for("its replacement", lambda: incident_of(fleet, node)["replacements"])
    wait_for("the cut", lambda: "cut_verified" in incident_of(fleet, node)["stages"])
    assert frozen(fleet, node)
    fleet.wait_ready("quick", ready=1)
    assert only_node(fleet, "quick")["id"] in incident_of(fleet, node)["replacements"]
    for one in (first, node):
        fleet.destroy(incident_of(fleet, one)["id"])


def siblings_are_looked_at_on_every_host_and_found_clean(fleet):
    fleet.run("remove", "quick", "--key", "deploy")
    wait_for("no node of it", lambda: not fleet.nodes("quick"))
    fleet.apply(replicas=4, standby=0)
    fleet.wait_ready(ready=4)
    node = next(n for n in fleet.nodes("web", state="ready") if n["host"] == "h1")
    drift(fleet, node)
    incident = wait_for("the siblings to be looked at", lambda: next(
        (i for i in fleet.incidents() if i["node"] == node["id"] and i["siblings"] and
         i["siblings"]["here"]["time_us"] is not None and
         i["siblings"]["elsewhere"]["time_us"] is not None), None))
    siblings = incident["siblings"]
    print(f"# siblings: {siblings}")
    assert siblings["looked"] == 3 and siblings["found"] == 0, siblings
    assert siblings["here"]["looked"] == 1 and siblings["elsewhere"]["looked"] == 2, siblings
    assert events(fleet, "sweep.clean", incident=incident["id"]), "nobody was told"
    fleet.wait_ready(ready=4)


def drop(fleet, node, mode):
    """Write a program to where the node may write, as one of its users."""
    folder = os.open(f"/proc/{first_process(fleet, node)}/root/tmp", os.O_PATH)
    user = os.stat(f"/proc/{first_process(fleet, node)}").st_uid
    child = os.fork()
    if child == 0:
        os.umask(0)
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        file = os.open("foreign", os.O_CREAT | os.O_WRONLY, mode, dir_fd=folder)
        os.write(file, b"\x7fELF")
        os._exit(0)
    os.close(folder)
    assert os.waitpid(child, 0)[1] == 0, "it could not be written"


def ask_to_drift(fleet, node, name):
    """In its service's own process, which may not live to answer."""
    net = next(h["netns"] for h in fleet.status["hosts"] if h["name"] == node["host"])
    subprocess.run(["nsenter", f"--net=/run/netns/{net}", "curl", "-s", "--max-time", "2",
                    f"http://{node['address']}:8080/drift?class={name}&way=self"],
                   check=False, capture_output=True, timeout=30)


def a_sibling_that_holds_the_dropped_program_is_cut_and_one_with_data_is_not(fleet):
    drifter.apply(fleet, replicas=4, standby=0)
    fleet.wait_ready("drifter", ready=4)
    here = next(n for n in fleet.nodes("drifter", state="ready") if n["host"] == "h1")
    holds, data = [n for n in fleet.nodes("drifter", state="ready") if n["host"] == "h2"]
    drop(fleet, holds, 0o755)
    drop(fleet, data, 0o644)
    ask_to_drift(fleet, here, "exec")
    first = wait_for("the first to be cut", lambda: incident_of(fleet, here))
    assert first["indicator"]["path"] == "/tmp/foreign", first
    second = wait_for("its sibling to be cut", lambda: incident_of(fleet, holds))
    assert second["class"] == first["class"] and first["id"] in second["detail"], second
    siblings = wait_for("all to be looked at", lambda: next(
        i["siblings"] for i in fleet.incidents() if i["id"] == first["id"] and i["siblings"] and
        i["siblings"]["elsewhere"]["time_us"] is not None))
    assert siblings["elsewhere"] == dict(siblings["elsewhere"], looked=2, found=1), siblings
    assert events(fleet, "sweep.found", incident=first["id"]), "nobody was told"
    assert fleet.nodes(id=data["id"], state="ready") and not incident_of(fleet, data)
    fleet.wait_ready("drifter", ready=4)


def drift_of_another_class_with_the_agent_dead_is_answered_by_the_next_agent(fleet):
    node = next(n for n in fleet.nodes("drifter", state="ready") if n["host"] == "h1")
    os.kill(fleet.daemon_pid("h1"), signal.SIGKILL)
    ask_to_drift(fleet, node, "library")
    incident = wait_for("the incident", lambda: next(
        (i for i in fleet.incidents() if i["node"] == node["id"] and
         "cut_verified" in i["stages"]), None))
    assert incident["class"] == "library" and not incident["drill"], incident
    assert incident["packets_after_cut"] == 0 and frozen(fleet, node), incident
    # What was answered stays so, whoever looks next.
    fleet.restart_agent("h1")
    assert frozen(fleet, node) and fleet.nodes(id=node["id"])[0]["state"] == "quarantined"
    assert [i["id"] for i in fleet.incidents() if i["node"] == node["id"]] == [incident["id"]]
    fleet.wait_ready("drifter", ready=4)


def repeated_incidents_of_an_image_are_one_attack(fleet):
    commit = fleet.nodes("drifter")[0]["image"]["commit"]
    attack = [i for i in fleet.incidents() if i["image"]["commit"] == commit and not i["drill"]]
    names = {i["attack"] for i in attack}
    assert len({i["host"] for i in attack}) == 2 and len(names) == 1 and None not in names, attack
    assert attack[-1]["id"] in names, "it is not named after its first"
    told = [e for e in events(fleet, "attack.repeated") if e["incident"] in names]
    assert told and "exec" in told[0]["text"] and "h1" in told[0]["text"], told
    assert names.pop() in fleet.run("incidents").stdout


def prepare(fleet):
    heard = fleet.scratch / "heard"
    folder = fleet.scratch / "caller"
    folder.mkdir()
    shutil.copy(fleet.build / "tests/cluster/caller", folder)
    (folder / "image.yaml").write_text(
        "{dnode: image/v1, ref: apps/caller, files: [{source: caller, path: /bin/caller, "
        f'mode: "0755"}}], run: {{args: [/bin/caller, {PEER}, "{PORT}"], user: 1000}}}}\n')
    ear = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{fleet.status['client_netns']}", sys.executable, "-c", EAR,
         PEER, str(PORT), str(heard)])
    fleet.cleanup.callback(ear.wait)
    fleet.cleanup.callback(ear.kill)
    wait_for("somebody to call", heard.exists)
    fleet.caller = dict(service="caller", commit=fleet.image(folder), ref="apps/caller",
                        replicas=1, standby=0, started=False, respawn=1, within="1h",
                        past="isolate", more=f"egress: [{{cidr: {PEER}/32, port: {PORT}}}]\n")
    fleet.apply(**fleet.caller)
    fleet.wait_ready("caller", ready=1)
    wait_for("the call", lambda: heard.read_text().count("\n") > 20)
    assert calls_outside(fleet, only_node(fleet, "caller")), "its egress does not work at all"
    assert os.geteuid() == 0


if __name__ == "__main__":
    main([
        the_first_drift_is_answered_with_a_clean_node,
        the_next_one_isolates_which_serves_and_begins_nothing,
        people_see_that_the_service_has_a_node_that_nobody_wants,
        foreign_code_dies_in_it_as_before_and_opens_no_second_incident,
        no_drill_and_no_destruction_touches_it,
        it_stays_what_it_is_through_kill_9_of_agent_and_supervisor,
        quarantine_by_hand_cuts_and_freezes_it,
        a_roll_cuts_an_isolated_node_and_never_drains_it,
        it_is_cut_and_replaced_as_soon_as_the_budget_allows,
        siblings_are_looked_at_on_every_host_and_found_clean,
        a_sibling_that_holds_the_dropped_program_is_cut_and_one_with_data_is_not,
        drift_of_another_class_with_the_agent_dead_is_answered_by_the_next_agent,
        repeated_incidents_of_an_image_are_one_attack,
    ], hosts=2, prepare=prepare)
