#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Somebody with root's rights on a host changes what protects its nodes, while they serve.

Every change is made at random on one of the hosts, and has to be noticed, by the event named beside
it; then it is put right, or the node it was done to is cut and replaced.
"""
import ctypes
import mmap
import os
import pathlib
import shutil
import subprocess
import time

from fleet import wait_for
from place import (SEED, Place, chance, checkout, data, events_after, image, last_event,
                   object_of, sh)
from suite import main


def nft(place, *words):
    return sh("nsenter", place.net, "nft", *words)


def remove_link_pin(place):
    (place.pins / chance.choice(["link_exec", "link_sys_exit", "link_fork", "link_attach",
                                 "link_cgroup_in", "link_cgroup_out"])).unlink()


def remove_map_pin(place):
    (place.pins / chance.choice(["mark", "allow", "node", "link", "verdicts"])).unlink()


def remove_program_pin(place):
    (place.pins / chance.choice(["tc_to_node", "tc_from_node"])).unlink()


def detach_cgroup_link(place):
    sh("bpftool", "link", "detach", "pinned", place.pins / "link_cgroup_out")


def remove_filter(place):
    sh("nsenter", place.net, "tc", "filter", "del", "dev", place.link(),
       chance.choice(["ingress", "egress"]))


def remove_clsact(place):
    sh("nsenter", place.net, "tc", "qdisc", "del", "dev", place.link(), "clsact")


def allow_a_file(place):
    key = bytearray(int(b, 16) for b in place.map_key("allow"))
    key[8] ^= 0x5a  # another inode
    sh("bpftool", "map", "update", "pinned", place.pins / "allow", "key", *map(str, key),
       "value", "3", "0", "0", "0")


def forget_a_node(place):
    sh("bpftool", "map", "delete", "pinned", place.pins / "node", "key",
       *map(lambda b: str(int(b, 16)), place.map_key("node")))


def forget_an_interface(place):
    sh("bpftool", "map", "delete", "pinned", place.pins / "link", "key",
       *map(lambda b: str(int(b, 16)), place.map_key("link")))


def flush_the_table(place):
    nft(place, "flush", "table", "inet", "dnode")


def delete_the_table(place):
    nft(place, "delete", "table", "inet", "dnode")


def open_the_firewall(place):
    chains = [line.split()[1] for line in nft(place, "list", "table", "inet", "dnode").splitlines()
              if line.strip().startswith("chain")]
    nft(place, "insert", "rule", "inet", "dnode", chance.choice(chains), "accept")


def change_the_record(place):
    with open(place.run / "nodes" / f"{place.id}.json", "a") as file:
        file.write("\n")


def change_the_configuration(place):
    path = place.run / "bundles" / place.id / "config.json"
    path.write_text(path.read_text().replace('"readonly"', '"readonly" '))


def unmount_the_root(place):
    sh("umount", "-l", place.root)


def cover_the_root(place):
    sh("mount", "-t", "tmpfs", "-o", "size=64k", "none", place.root)


def make_the_root_writable(place):
    sh("mount", "-o", "remount,bind,rw", place.root)


def mount_inside(place):
    """Nobody can mount there who has not entered, which is what is seen first."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        fd = os.open(f"/proc/{place.pid()}/ns/mnt", os.O_RDONLY)
        done = libc.setns(fd, 0) == 0 and libc.mount(b"none", b"/run", b"tmpfs", 0, None) == 0
        os._exit(0 if done else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def move_a_process_in(place):
    stranger = subprocess.Popen(["sleep", "600"])
    place.fleet.cleanup.callback(stranger.kill)
    (place.group() / "cgroup.procs").write_text(str(stranger.pid))


def enter_namespaces(place):
    stranger = subprocess.Popen(["nsenter", f"--mount=/proc/{place.pid()}/ns/mnt",
                                 f"--pid=/proc/{place.pid()}/ns/pid", "/hello", "--version"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stranger.wait(10)


def patch_the_program(place):
    """One byte of text, where nothing is executed: the end of the last page of code."""
    pid = place.pid()
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, mode = line.split()[:2]
        if "x" in mode and line.endswith("hello"):
            end = int(span.split("-")[1], 16)
            with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
                memory.seek(end - 1)
                byte = memory.read(1)
                memory.seek(end - 1)
                memory.write(bytes([byte[0] ^ 1]))
            return
    raise AssertionError("no text")


def write_to_the_checkout(place):
    with open(data(place), "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"X")


def write_to_an_object(place):
    with open(object_of(place, data(place)), "ab") as file:
        file.write(b"X")


def write_through_another_name(place):
    other = place.state / "elsewhere"
    os.link(data(place), other)
    with open(other, "ab") as file:
        file.write(b"X")
    other.unlink()


def write_through_a_mapping(place):
    with open(data(place), "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[-1] ^= 1


def change_a_mode(place):
    data(place).chmod(0o777)


def change_an_owner(place):
    os.chown(data(place), 1, 1)


def set_an_attribute(place):
    os.setxattr(data(place), "user.x", b"x")


def add_a_file(place):
    (checkout(place) / "bin/extra").write_text("x")


def remove_a_file(place):
    (checkout(place) / "share/more").unlink()


def remove_a_mount_point(place):
    """What is mounted over it goes with it, in every node."""
    (checkout(place) / "etc/hosts").unlink()


HOST = [  # put right, and no node is touched
    (remove_link_pin, "sensor.tampered"), (remove_map_pin, "sensor.tampered"),
    (remove_program_pin, "sensor.tampered"), (detach_cgroup_link, "sensor.tampered"),
    (flush_the_table, "firewall.tampered"), (delete_the_table, "firewall.tampered"),
    (open_the_firewall, "firewall.tampered"), (allow_a_file, "sensor.tampered"),
]
NODE = [  # a node is cut and replaced
    (remove_filter, "sensor"), (remove_clsact, "sensor"), (forget_a_node, "sensor"),
    (forget_an_interface, "sensor"),
    (change_the_record, "agent"), (change_the_configuration, "agent"),
    (unmount_the_root, "image"), (cover_the_root, "image"), (make_the_root_writable, "image"),
    (mount_inside, "process-foreign"), (move_a_process_in, "process-foreign"),
    (enter_namespaces, "process-foreign"), (patch_the_program, "text"),
    (write_to_the_checkout, "image"), (write_to_an_object, "image"),
    (write_through_another_name, "image"), (write_through_a_mapping, "image"),
    (change_a_mode, "image"), (change_an_owner, "image"), (set_an_attribute, "image"),
    (add_a_file, "image"), (remove_a_file, "image"), (remove_a_mount_point, ("mount", "image")),
]


def tamper(fleet, change, expected, is_node):
    """`expected`: the kind of the event, or what the incident's class is one of."""
    place = Place(fleet)
    last, known = last_event(fleet), {i["id"] for i in fleet.incidents()}
    change(place)

    def new_incidents():
        return [i for i in fleet.incidents() if i["id"] not in known]

    if is_node:
        incident = wait_for(f"an incident of class {expected} after {change.__name__}",
                            lambda: next((i for i in new_incidents()
                                          if i["class"] in expected), None))
        assert incident["host"] == place.host and not incident["drill"], incident
    else:
        wait_for(f"event {expected} after {change.__name__}",
                 lambda: [e for e in events_after(fleet, last) if e["kind"] == expected])
        assert not new_incidents(), new_incidents()
    fleet.wait_ready(ready=3, standby=2)
    for incident in new_incidents():
        fleet.destroy(incident["id"])
    # As a person does who has looked at them: a host keeps eight, and starts nothing after that.
    for damaged in pathlib.Path(f"/var/lib/{fleet.name}").glob("*/damaged/*"):
        shutil.rmtree(damaged)
    print(f"# {change.__name__}: {expected}", flush=True)


def thirty_changes_of_a_host_are_noticed_while_it_serves(fleet):
    print(f"# seed {SEED}: DNODE_TEST_SEED={SEED}", flush=True)
    changes = [(c, e, False) for c, e in HOST] + [
        (c, e if isinstance(e, tuple) else (e,), True) for c, e in NODE]
    chance.shuffle(changes)
    with fleet.load(fleet.service()["vip"], busy=8, idle=0, rate=200) as load:
        for change, expected, is_node in changes:
            tamper(fleet, change, expected, is_node)
    print(f"# load: {load.summary}", flush=True)
    # What was on its way to a node that was cut is reset; nothing else fails.
    assert load.summary["answers"] > 100
    assert load.summary["failed"] <= load.summary["resets"] + load.summary["refused"]


def patched_while(fleet, service, state):
    """A node of the service is patched once it is in that state; it is cut for it."""
    nodes = wait_for(f"a node that is {state}", lambda: fleet.nodes(service, state=state))
    time.sleep(1)  # the runtime is given half a second to be gone
    place = Place(fleet, service, nodes[0])
    patch_the_program(place)
    incident = wait_for("its incident", lambda: next(
        (i for i in fleet.incidents() if i["node"] == place.id and "durable" in i["stages"]), None))
    assert incident["class"] == "text", incident
    fleet.destroy(incident["id"])


def a_node_is_looked_at_before_its_first_answer_and_after_its_last(fleet):
    def declared(service, before, after, **more):
        file = fleet.manifest(service=service, standby=0, respawn=1000, within="10s", **more)
        file.write_text(file.read_text().replace(before, after))
        fleet.run("apply", file, "--key", "deploy")
    declared("late", "run: {", "run: {start_deadline: 300s, ", replicas=1, health="/nowhere")
    patched_while(fleet, "late", "starting")
    # A signal that nobody dies of.
    declared("leaving", "run: {", "run: {stop: {signal: WINCH, grace: 300s}, ", replicas=2)
    fleet.wait_ready("leaving", ready=2)
    fleet.run("scale", "leaving", "1", "--key", "deploy")
    patched_while(fleet, "leaving", "stopping")
    for service in ("late", "leaving"):
        fleet.run("remove", service, "--key", "deploy")


def a_quarantined_node_that_is_thawed_is_frozen_again(fleet):
    place = Place(fleet)
    fleet.run("quarantine", place.id, "--reason", "test")
    group = place.group()
    frozen = lambda: "frozen 1" in (group / "cgroup.events").read_text()
    wait_for("it to be frozen", frozen)
    last = last_event(fleet)
    (group / "cgroup.freeze").write_text("0")
    wait_for("it to be told",
             lambda: [e for e in events_after(fleet, last) if e["kind"] == "quarantine.thawed"])
    wait_for("it to be frozen again", frozen)
    fleet.wait_ready(ready=3, standby=2)


def a_mark_that_is_cleared_is_set_again(fleet):
    incident = next(i for i in fleet.incidents() if i["state"] != "destroyed")
    place = Place(fleet)
    pins = pathlib.Path(f"/sys/fs/bpf/{fleet.name}-{incident['host']}")
    last = last_event(fleet)
    for slot in range(8):
        sh("bpftool", "map", "update", "pinned", pins / "mark", "key", slot, "0", "0", "0",
           "value", *["0"] * 464)
    wait_for("it to be told",
             lambda: [e for e in events_after(fleet, last) if e["kind"] == "drift.sensor"])
    del place


def an_agent_whose_program_was_exchanged_says_so(fleet):
    host = fleet.status["hosts"][0]["name"]
    program = pathlib.Path(f"/proc/{fleet.daemon_pid(host)}/exe").resolve()
    last = last_event(fleet)
    kept = program.with_name(program.name + ".kept")
    program.rename(kept)
    try:
        shutil.copy(kept, program)
        with open(program, "ab") as file:
            file.write(b"\0")
        wait_for("it to be told", lambda: [
            e for e in events_after(fleet, last) if e["kind"] == "agent.program-changed"])
    finally:
        kept.replace(program)


def prepare(fleet):
    fleet.apply(commit=image(fleet), respawn=1000, within="10s")
    fleet.wait_ready(ready=3, standby=2)
    fleet.wait_still()


if __name__ == "__main__":
    main([thirty_changes_of_a_host_are_noticed_while_it_serves,
          a_node_is_looked_at_before_its_first_answer_and_after_its_last,
          a_quarantined_node_that_is_thawed_is_frozen_again,
          a_mark_that_is_cleared_is_set_again,
          an_agent_whose_program_was_exchanged_says_so], prepare, hosts=2)
