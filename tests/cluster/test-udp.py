#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""UDP through a VIP: balanced, declared egress, and clients that go on asking move on."""
import pathlib

import echo
from fleet import wait_for
from suite import main


def apply(fleet, service, listen, args=None, epoch=1, replicas=2, more=""):
    file = fleet.manifest(service=service, epoch=epoch, commit=echo.image(fleet),
                          ref="apps/echo", replicas=replicas, standby=0, started=False,
                          drain="1s", more=more)
    text = file.read_text().replace("listen: [{port: 8080, expose: 80}]", f"listen: [{listen}]")
    if args:
        text = text.replace("run: {", f"run: {{args: [{args}], ")
    file.write_text(text)
    return fleet.run("apply", file, "--key", "deploy", check=False)


UDP = "{port: 5353, protocol: udp, expose: 53}"
TCP = "{port: 8080, expose: 80}"


def a_service_on_udp_alone_is_refused_with_what_to_do(fleet):
    refused = apply(fleet, "echo", UDP)
    assert refused.returncode == 2, refused
    assert "add a tcp port to \"listen\"" in refused.stderr, refused.stderr


def datagrams_reach_a_node_through_the_vip(fleet):
    done = apply(fleet, "echo", f"{TCP}, {UDP}")
    assert done.returncode == 0, done
    fleet.wait_ready("echo", ready=2)
    fleet.asker = echo.Asker(fleet, fleet.service("echo")["vip"], 53)
    ready = {n["id"] for n in fleet.nodes("echo", state="ready")}
    assert wait_for("an answer", fleet.asker.last) in ready, ready


def another_service_may_ask_it_when_it_declares_so(fleet):
    vip = fleet.service("echo")["vip"]
    done = apply(fleet, "stranger", TCP, f'/bin/echo, {vip}, "53"', replicas=1)
    assert done.returncode == 0, done
    done = apply(fleet, "friend", TCP, f'/bin/echo, {vip}, "53"', replicas=1,
                 more="egress: [{service: echo}]\n")
    assert done.returncode == 0, done
    for name in ("stranger", "friend"):
        fleet.wait_ready(name, ready=1)

    def heard(name):
        return fleet.get(f"http://{fleet.service(name)['vip']}/")
    ready = {n["id"] for n in fleet.nodes("echo", state="ready")}
    wait_for("an answer to the friend", lambda: heard("friend") in ready)
    assert heard("stranger") == "nobody", heard("stranger")


def a_client_of_a_cut_node_moves_on_without_changing_its_port(fleet):
    fleet.wait_ready("echo", ready=2)
    victim = wait_for("an answer", fleet.asker.last)
    incident = fleet.ask("quarantine", victim, "--reason", "cut the one that answers")["incident"]
    wait_for("an answer of another node", lambda: fleet.asker.last() != victim, 10)
    incident = wait_for("the record", lambda: next(
        (i for i in fleet.incidents() if i["id"] == incident["id"] and
         "cut_verified" in i["stages"]), None))
    assert any(line.startswith("udp") and "dport=53" in line for line in incident["conntrack"]), \
        incident["conntrack"]
    assert incident["packets_after_cut"] == 0
    fleet.wait_ready("echo", ready=2)
    fleet.destroy(incident["id"])


def a_client_of_a_replaced_node_moves_on_too(fleet):
    before = {n["id"] for n in fleet.nodes("echo", state="ready")}
    done = apply(fleet, "echo", f"{TCP}, {UDP}", epoch=2, more="restart: 1\n")
    assert done.returncode == 0, done
    fleet.wait_ready("echo", ready=2, epoch=2)
    wait_for("the old nodes to go", lambda: not [
        n for n in fleet.nodes("echo") if n["epoch"] == 1], 60)
    wait_for("an answer of a new node", lambda: fleet.asker.last() not in before, 10)


def who_may_ask_a_service_knows_its_name_for_as_long_as_it_is_there(fleet):
    node = fleet.nodes("friend")[0]
    hosts = pathlib.Path(f"/run/{fleet.name}/{node['host']}/nodes/{node['id']}.hosts")
    line = f"{fleet.service('echo')['vip']} echo.service.dnode\n"
    before = hosts.read_text()
    assert before.endswith(line), before
    inode = hosts.stat().st_ino
    fleet.run("remove", "echo", "--key", "deploy", "--wait", timeout=120)
    wait_for("the name to go", lambda: hosts.read_text() == before.removesuffix(line))
    assert hosts.stat().st_ino == inode, "the node has another file mounted"


if __name__ == "__main__":
    main([
        a_service_on_udp_alone_is_refused_with_what_to_do,
        datagrams_reach_a_node_through_the_vip,
        another_service_may_ask_it_when_it_declares_so,
        a_client_of_a_cut_node_moves_on_without_changing_its_port,
        a_client_of_a_replaced_node_moves_on_too,
        who_may_ask_a_service_knows_its_name_for_as_long_as_it_is_there,
    ], hosts=2)
