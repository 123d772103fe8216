#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nodes and hosts of a running fleet, judged by what the kernel shows of them."""
import json
import pathlib

from fleet import wait_for
from suite import main

FAILED, BAD_INPUT, UNAVAILABLE = 1, 2, 5
BENCHMARK = ["5.2", "5.3", "5.4", "5.5", "5.6", "5.7", "5.8", "5.9", "5.10", "5.11", "5.12",
             "5.13", "5.14", "5.15", "5.16", "5.17", "5.18", "5.19", "5.20", "5.21", "5.22",
             "5.23", "5.24", "5.25", "5.26", "5.27", "5.29", "5.31", "5.32"]

# Becomes the real runtime, after it has taken a wall away from what it is to make.
WEAK_RUNTIME = """#!/bin/sh
case " $* " in
*' create '*)
  if test -e {flag}; then
    B=; for W; do test "$B" = next && B=$W; test "$W" = --bundle && B=next; done
    python3 - "$B/config.json" <<'END'
import json, sys
c = json.load(open(sys.argv[1]))
c["process"]["noNewPrivileges"] = False
json.dump(c, open(sys.argv[1], "w"))
END
  fi
esac
exec crun "$@"
"""


def audit_of(fleet, host):
    """Of the host itself, whatever its exit code."""
    return json.loads(fleet.agent(host, "audit", host, "--json", check=False).stdout)["audit"]


def use_runtime(fleet, host, line):
    """Restart a host's agent with another line for its OCI runtime."""
    config = pathlib.Path(next(h for h in fleet.status["hosts"] if h["name"] == host)["config"])
    lines = [line if old.startswith(("runtime:", "isolation:")) else old
             for old in config.read_text().splitlines()]
    config.write_text("\n".join(lines) + "\n")
    fleet.restart_agent(host)


def results(audit):
    return {item["id"]: item["result"] for item in audit["items"]}


def every_node_of_a_fleet_is_as_it_should_be(fleet):
    for node in fleet.nodes("web"):
        if node["state"] not in ("ready", "standby"):
            continue  # it is being made
        audit = fleet.ask("audit", node["id"])["audit"]
        assert audit["node"] == node["id"] and audit["host"] == node["host"], audit
        wrong = [i for i in audit["items"] if i["result"] == "fail"]
        assert not wrong and audit["failed"] == 0 and audit["passed"] >= 40, wrong
        shown = [i["id"] for i in audit["items"]]
        assert shown[:len(BENCHMARK)] == BENCHMARK, shown
        assert all(i["title"] and i["seen"] for i in audit["items"]), audit


def an_audit_is_a_table_for_people_with_what_was_seen(fleet):
    node = fleet.nodes("web", state="ready")[0]["id"]
    table = fleet.run("audit", node).stdout
    assert "WHAT WAS SEEN" in table and "net:[" in table and "fail" not in table, table


def a_host_is_judged_and_what_it_lacks_is_the_exit_code(fleet):
    done = fleet.run("audit", "h1", "--json", check=False)
    audit = audit_of(fleet, "h1")
    found = results(audit)
    for ours in ("host-14", "host-15", "host-16", "host-17", "host-18", "host-19", "host-21"):
        assert found[ours] == "pass", (ours, audit)
    assert done.returncode == (FAILED if "fail" in found.values() else 0), done
    assert ("items fail" in done.stderr) == (done.returncode == FAILED), done.stderr


def an_agent_alone_answers_for_its_nodes(fleet):
    node = fleet.nodes("web", state="ready", host="h1")[0]["id"]
    with fleet.without_supervisor():
        audit = fleet.ask_agent("h1", "audit", node)["audit"]
        assert audit["failed"] == 0 and audit["node"] == node, audit
        done = fleet.run("audit", node, check=False)
        assert done.returncode == UNAVAILABLE, done


def what_is_neither_node_nor_host_is_refused(fleet):
    for wrong in ("web-00000000", "h9", "../../etc"):
        done = fleet.run("audit", wrong, check=False)
        assert done.returncode == BAD_INPUT and "no node and no host" in done.stderr, done


def a_key_that_others_can_read_is_found(fleet):
    key = pathlib.Path(f"/var/lib/{fleet.name}/h1/agent.key")
    mode = key.stat().st_mode & 0o777
    key.chmod(0o644)
    try:
        assert results(audit_of(fleet, "h1"))["host-17"] == "fail"
    finally:
        key.chmod(mode)
    assert results(audit_of(fleet, "h1"))["host-17"] == "pass"


def events(fleet, kind):
    return [e for e in fleet.ask("events", "-n", "1000")["events"] if e["kind"] == kind]


def no_node_of_an_ordinary_fleet_was_found_to_lack_a_wall(fleet):
    assert not events(fleet, "node.profile"), events(fleet, "node.profile")


def a_node_that_lacks_a_wall_is_told_of_ended_and_replaced(fleet):
    flag, program = fleet.scratch / "weak", fleet.scratch / "runtime"
    program.write_text(WEAK_RUNTIME.format(flag=flag))
    program.chmod(0o755)
    use_runtime(fleet, "h1", f"runtime: {program}")
    flag.touch()
    fleet.run("scale", "web", "5", "--key", "deploy")
    told = wait_for("the first to be told of", lambda: events(fleet, "node.profile"))[0]
    assert told["severity"] == "critical" and "5.26" in told["text"], told
    wait_for("it to be gone", lambda: not [n for n in fleet.nodes("web")
                                           if n["id"] == told["node"]])
    assert not fleet.incidents(), "a missing wall is no deed of the node's"
    flag.unlink()
    fleet.wait_ready(ready=5, seconds=120)
    for node in fleet.nodes("web", state="ready"):
        assert fleet.ask("audit", node["id"])["audit"]["failed"] == 0


def another_runtime_gives_its_nodes_the_same_profile(fleet):
    """runc; the host keeps the nodes it has, and makes those of a roll by the new one."""
    for host in ("h1", "h2"):
        use_runtime(fleet, host, "isolation: {container: runc}")
        shown = fleet.ask("hosts", host)["host"]["capabilities"]
        assert shown["runtime"].startswith("runc") and shown["fast_start"] == "no", shown
    fleet.apply(epoch=9, replicas=2, version="runc")
    fleet.wait_ready(ready=2, epoch=9, seconds=120)
    wait_for("the nodes of the old epoch to be gone", lambda: not [
        n for n in fleet.nodes("web") if n["epoch"] != 9])
    for node in fleet.nodes("web", state="ready"):
        audit = fleet.ask("audit", node["id"])["audit"]
        assert audit["failed"] == 0 and audit["passed"] >= 40, audit
    fleet.run("drill", "exec", "web", timeout=120)
    assert fleet.incidents()[0]["drill"]


def prepare(fleet):
    fleet.apply(standby=1)
    fleet.wait_ready(ready=3, epoch=1)


if __name__ == "__main__":
    main([
        every_node_of_a_fleet_is_as_it_should_be,
        an_audit_is_a_table_for_people_with_what_was_seen,
        a_host_is_judged_and_what_it_lacks_is_the_exit_code,
        an_agent_alone_answers_for_its_nodes,
        what_is_neither_node_nor_host_is_refused,
        a_key_that_others_can_read_is_found,
        no_node_of_an_ordinary_fleet_was_found_to_lack_a_wall,
        a_node_that_lacks_a_wall_is_told_of_ended_and_replaced,
        another_runtime_gives_its_nodes_the_same_profile,
    ], hosts=2, prepare=prepare)
