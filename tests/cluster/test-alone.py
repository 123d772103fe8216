#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hosts without a supervisor: root asks the agent itself, and nothing is lost by it."""
import contextlib
import json
import os
import pathlib
import signal
import stat
import subprocess

from fleet import wait_for
from suite import main

BAD_INPUT, CONFLICT, UNAVAILABLE = 2, 4, 5


def socket_of(fleet, host):
    return pathlib.Path(next(h for h in fleet.status["hosts"] if h["name"] == host)["socket"])


def the_sockets_of_agents_are_for_root_alone(fleet):
    for host in ("h1", "h2"):
        socket = socket_of(fleet, host)
        mode = socket.stat()
        assert stat.S_IMODE(mode.st_mode) == 0o600 and mode.st_uid == 0, oct(mode.st_mode)
        # Also where somebody has widened the mode.
        socket.chmod(0o666)
        try:
            ask = ["curl", "-sS", "--max-time", "5", "--unix-socket", str(socket),
                   "http://agent/v1/nodes"]
            mine = subprocess.run(ask, capture_output=True, text=True, check=False)
            other = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", *ask],
                                   capture_output=True, text=True, check=False)
        finally:
            socket.chmod(0o600)
        assert mine.returncode == 0 and '"nodes"' in mine.stdout, mine
        assert other.returncode != 0 and not other.stdout, other


def an_agent_shows_what_the_supervisor_shows_of_its_host(fleet):
    for host in ("h1", "h2"):
        mine = sorted(n["id"] for n in fleet.ask_agent(host, "nodes")["nodes"])
        assert mine == sorted(n["id"] for n in fleet.nodes(host=host)) and mine
        shown = fleet.ask_agent(host, "hosts")["hosts"]
        assert [(h["name"], h["state"]) for h in shown] == [(host, "linked")], shown


def a_host_is_seen_and_answered_for_while_no_supervisor_lives(fleet):
    with fleet.without_supervisor():
        done = fleet.run("nodes", check=False)
        assert done.returncode == UNAVAILABLE, done
        wait_for("the agent to notice", lambda: fleet.ask_agent(
            "h1", "hosts")["hosts"][0]["state"] == "alone")
        node = next(n for n in fleet.ask_agent("h1", "nodes", "web")["nodes"]
                    if n["state"] == "ready")
        fleet.agent("h1", "logs", node["id"])
        shown = fleet.agent("h1", "quarantine", node["id"], "--reason", "looks odd").stdout
        assert node["id"] in shown, shown
        incident = fleet.ask_agent("h1", "incidents")["incidents"][0]
        assert incident["node"] == node["id"] and "looks odd" in incident["detail"], incident
        assert "looks odd" in fleet.agent("h1", "incident", "show", incident["id"]).stdout
        kinds = [e["kind"] for e in fleet.ask_agent("h1", "events")["events"]]
        assert "quarantine.local" in kinds, kinds
        wait_for("a replacement", lambda: [
            n for n in fleet.ask_agent("h1", "nodes", "web")["nodes"]
            if n["state"] == "ready" and n["id"] != node["id"]])
    wait_for("the supervisor to learn of it", lambda: [
        i for i in fleet.incidents() if i["id"] == incident["id"]])
    assert fleet.nodes(id=node["id"])[0]["state"] == "quarantined"
    told = wait_for("the event to arrive", lambda: [
        e for e in fleet.ask("events", "-n", "1000")["events"] if e["kind"] == "quarantine.local"])
    assert len(told) == 1 and told[0]["node"] == node["id"], told


def what_was_told_without_a_supervisor_arrives_once_through_kill_9_of_both(fleet):
    since = fleet.ask("events", "-n", "1000")["events"][-1]["id"]
    with fleet.without_supervisor():
        node = next(n for n in fleet.ask_agent("h2", "nodes", "web")["nodes"]
                    if n["state"] == "ready")
        fleet.agent("h2", "quarantine", node["id"], "--reason", "told alone")
        os.kill(fleet.daemon_pid("h2"), signal.SIGKILL)

    def told():
        return [e for e in fleet.ask("events", "-n", "1000")["events"]
                if e["id"] > since and e["kind"] == "quarantine.local"]
    wait_for("the event to arrive", told)
    for _ in range(3):
        fleet.restart_agent("h2")
        fleet.restart_supervisor()
    assert [e["node"] for e in told()] == [node["id"]], told()


def an_agent_says_what_it_does_not_know(fleet):
    for wrong in (["quarantine", "web-nope", "--reason", "x"], ["incident", "show", "nope"],
                  ["logs", "../../etc"]):
        done = fleet.agent("h2", *wrong, check=False)
        assert done.returncode == BAD_INPUT, (wrong, done)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def cleanup(fleet, host):
    row = next(h for h in fleet.status["hosts"] if h["name"] == host)
    return subprocess.run(
        ["nsenter", f"--net=/run/netns/{row['netns']}",
         str(fleet.build / "agent/main/dnode-agent"), "--config", row["config"], "cleanup"],
        capture_output=True, text=True, timeout=60, check=False)


def a_host_is_not_cleaned_up_beside_its_agent_nor_of_what_only_a_responder_may_destroy(fleet):
    assert "agent" in cleanup(fleet, "h1").stderr
    node = next(n for n in fleet.nodes(host="h1") if n["state"] == "ready")
    fleet.run("quarantine", node["id"], "--reason", "it is to be kept")
    incident = next(i for i in fleet.incidents() if i["node"] == node["id"])
    records = pathlib.Path(f"/var/lib/{fleet.name}/h1/incidents")
    with stopped(fleet, "h1"):
        done = cleanup(fleet, "h1")
        assert done.returncode == CONFLICT and "the evidence of incident" in done.stderr, done
        # Without its record there is still the node, which was cut.
        kept = records.rename(records.with_name("kept"))
        records.mkdir(mode=0o700)
        done = cleanup(fleet, "h1")
        records.rmdir()
        kept.rename(records)
        assert done.returncode == CONFLICT and "was cut" in done.stderr, done
    fleet.wait_hosts()
    assert fleet.nodes(id=node["id"], state="quarantined")
    fleet.destroy(incident["id"])


def an_incident_whose_record_cannot_be_read_is_recorded_anew_and_the_old_one_kept(fleet):
    node = next(n for n in fleet.nodes(host="h1") if n["state"] == "ready")
    fleet.run("quarantine", node["id"], "--reason", "its record will be damaged")
    incident = next(i for i in fleet.incidents() if i["node"] == node["id"])["id"]
    record = pathlib.Path(f"/var/lib/{fleet.name}/h1/incidents/{incident}.json")
    with stopped(fleet, "h1"):
        damaged = record.read_bytes()[:100]
        record.write_bytes(damaged)
    wait_for("it to be on disk anew", lambda: record.read_bytes() != damaged)
    assert json.loads(record.read_text())["node"] == node["id"]
    assert record.with_name(record.name + ".unread").read_bytes() == damaged
    assert fleet.nodes(id=node["id"], state="quarantined")
    fleet.destroy(incident)


def a_host_judges_by_the_latest_time_it_has_written_down(fleet):
    floor = pathlib.Path(f"/var/lib/{fleet.name}/h2/time-floor")
    # As if its clock had been set back by years since.
    with stopped(fleet, "h2"):
        before = floor.read_text() if floor.exists() else None
        floor.write_text("2099-01-01T00:00:00Z\n")
    epoch = fleet.service()["epoch"] + 1
    fleet.apply(epoch=epoch, replicas=4, version="floor",
                more="valid_until: 2098-01-01T00:00:00Z\n")
    told = wait_for("it to be refused", lambda: [
        e for e in fleet.ask("events", "-n", "1000")["events"]
        if e["kind"] == "manifest.refused" and e["host"] == "h2" and "2099-01-01" in e["text"]])
    assert "time-floor" in told[0]["text"], told
    assert all(n["epoch"] < epoch for n in fleet.nodes(host="h2"))
    with stopped(fleet, "h2"):
        floor.unlink() if before is None else floor.write_text(before)
    fleet.wait_ready(ready=4, epoch=epoch)


def a_host_with_more_records_of_incidents_than_a_link_takes_at_once_is_linked(fleet):
    node = fleet.nodes("web", host="h1", state="ready")[0]
    fleet.run("quarantine", node["id"], "--reason", "to have a record")
    incident = next(i for i in fleet.incidents() if i["node"] == node["id"])["id"]
    fleet.destroy(incident)
    folder = pathlib.Path(f"/var/lib/{fleet.name}/h1/incidents")
    wait_for("its record to be on disk", lambda: json.loads(
        (folder / f"{incident}.json").read_text())["state"] == "destroyed")
    record = json.loads((folder / f"{incident}.json").read_text())
    # Each of a node with many clients; 12 MiB of them, and the link queues 4.
    record["sockets"] = [{"protocol": "tcp", "state": "established", "local": "10.77.0.1:8080",
                          "peer": f"10.88.0.9:{port}", "accepted": True, "bytes_sent": 1 << 40,
                          "bytes_received": 1 << 40, "rtt_us": 100000} for port in range(1000)]
    record["conntrack"] = [
        f"tcp      6 431999 ESTABLISHED src=10.88.0.9 dst=10.99.0.1 sport={port} dport=80 "
        f"src=10.77.0.1 dst=10.88.0.9 sport=8080 dport={port} [ASSURED]" for port in range(1000)]
    ids = [f"{number:016x}" for number in range(1, 41)]
    with stopped(fleet, "h1"):
        for name in ids:
            (folder / f"{name}.json").write_text(json.dumps(dict(record, id=name)))
    assert sum((folder / f"{name}.json").stat().st_size for name in ids) > 10 << 20
    wait_for("all to be told", lambda: all(fleet.run(
        "incident", "show", name, check=False).returncode == 0 for name in ids), 60, every=0.5)
    assert fleet.ask_agent("h1", "hosts")["hosts"][0]["state"] == "linked"


@contextlib.contextmanager
def stopped(fleet, host):
    """The agent is, until the block ends."""
    pid = fleet.daemon_pid(host)
    with fleet.killed(pid):
        yield
    wait_for("a new agent", lambda: fleet.daemon_pid(host) not in (None, pid))
    wait_for("it to be linked", lambda: fleet.agent(host, "hosts", check=False).returncode == 0 and
             fleet.ask_agent(host, "hosts")["hosts"][0]["state"] == "linked")


def prepare(fleet):
    fleet.apply(replicas=4)
    fleet.wait_ready(ready=4, epoch=1)
    fleet.wait_still()


if __name__ == "__main__":
    main([
        the_sockets_of_agents_are_for_root_alone,
        an_agent_shows_what_the_supervisor_shows_of_its_host,
        a_host_is_seen_and_answered_for_while_no_supervisor_lives,
        what_was_told_without_a_supervisor_arrives_once_through_kill_9_of_both,
        an_agent_says_what_it_does_not_know,
        a_host_is_not_cleaned_up_beside_its_agent_nor_of_what_only_a_responder_may_destroy,
        an_incident_whose_record_cannot_be_read_is_recorded_anew_and_the_old_one_kept,
        a_host_judges_by_the_latest_time_it_has_written_down,
        a_host_with_more_records_of_incidents_than_a_link_takes_at_once_is_linked,
    ], hosts=2, prepare=prepare)
