#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Daemons and the runtime die, or stop, at every bad moment, under load: nothing is lost by it.

Faults 2, 4 to 7 and 10 of docs/faults.md. A round is done on every host at once.
"""
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import invariants
from crowd import Crowd, rounds, watch_for
from fleet import wait_for
from suite import main

# A host that is not heard of for 10 s is lost: a stop should be longer, and is in the long form.
STOP_S = 60 if rounds() > 20 else 3
MORE_VOLLEYS = 6

# The runtime, but the next call of a verb may be killed on its way; a probe is made to believe that
# containers cannot be started by their fifo, if there is a file `slow`, so that `start` is called.
RUNTIME = """\
#!/bin/sh
for word in "$@"; do
	case $word in create | start | delete) verb=$word ;; esac
	id=$word
done
exec 3<&0
if [ "$verb" = create ] && [ "${id#probe-}" != "$id" ]; then
	crun "$@" 3<&-
	status=$?
	[ ! -e "$0.slow" ] || mv "$2/$id/exec.fifo" "$2/$id/hidden"
	exit $status
fi
[ -n "$verb" ] && rm "$0.$verb" 2>/dev/null || exec crun "$@" 3<&-
delay=$(printf '0.%03d' $(($(od -An -N1 -tu1 /dev/urandom) % 25)))
crun "$@" <&3 3<&- &
sleep "$delay"
kill -9 $! 2>/dev/null && echo "$verb $delay" >>"$0.killed"
wait $!
kill -9 $$
"""


def cut_while(fleet, service, moment):
    """One round: the node of every host drifts, and its agent is killed at moment(host, node)."""
    def fault(host):
        node = fleet.node_of(host, service)
        helper = fleet.drift(host, node)
        moment(host, node, helper)
        fleet.kill(host)
        helper.wait(20)
        return node
    return fleet.everywhere(fault).values()


def after_every_round(fleet, service, nodes):
    fleet.expect_cut(nodes)
    fleet.wait_tidy()
    fleet.wait_full(service)
    # Nothing is there twice: one node of a service a host, and no address two times in a balancer.
    for host in fleet.names:
        mine = [n for n in fleet.nodes(service, host=host) if n["state"] == "ready"]
        assert len(mine) == 1, mine
        table = invariants.in_host(fleet, host, "nft", "list", "ruleset").stdout
        for line in table.splitlines():
            if "numgen" in line:
                entries = [word for word in line.replace(",", " ").split() if word.count(".") == 3]
                assert len(entries) == len(set(entries)), line


# ---- 2 ----

def a_node_is_cut_once_though_its_agent_dies_between_verdict_and_cut(fleet):
    def moment(host, node, helper):
        watch_for(helper.is_answered)  # killed or held by the kernel: the verdict
        time.sleep(random.random() * 0.004)
    for _ in fleet.volleys():
        after_every_round(fleet, "web", cut_while(fleet, "web", moment))


# ---- 4, 5: `cold` has no standby, so that a replacement is made and started ----

def states(fleet, host, service):
    return {i: n["state"] for i, n in fleet.files(host).items() if i.startswith(service + "-")}


def a_replacement_whose_agent_dies_before_it_is_balanced_is_there_once(fleet):
    def moment(host, node, helper):
        watch_for(lambda: any(i != node and state in ("starting", "ready")
                              for i, state in states(fleet, host, "cold").items()))
    for _ in fleet.volleys():
        after_every_round(fleet, "cold", cut_while(fleet, "cold", moment))


def a_node_is_replaced_though_its_agent_dies_between_its_leaving_and_the_next(fleet):
    def moment(host, node, helper):
        watch_for(lambda: states(fleet, host, "cold").get(node) == "quarantined")
        time.sleep(random.random() * 0.020)
    for _ in fleet.volleys():
        after_every_round(fleet, "cold", cut_while(fleet, "cold", moment))


def a_roll_goes_on_over_the_deaths_of_its_agents(fleet):
    epoch = fleet.service("cold")["epoch"] + 1
    fleet.apply(**cold(fleet), epoch=epoch, version=str(epoch))
    for _ in fleet.volleys():
        host = random.choice(fleet.names)
        time.sleep(random.random() * 0.3)
        fleet.kill(host)
    fleet.wait_full("cold")
    wait_for("the old nodes to go", lambda: all(
        n["epoch"] == epoch for n in fleet.nodes("cold")), 90)


def hosts_of_cold(fleet):
    """Where it has nodes: a roll places them on hosts that are up, and agents died meanwhile."""
    return sorted({n["host"] for n in fleet.nodes("cold", state="ready")})


# ---- 6 ----

def a_verdict_waits_for_a_stopped_agent_and_is_then_answered_once(fleet):
    with fleet.stopped(*fleet.names):
        nodes = {}
        for host in fleet.names:
            nodes[host] = fleet.node_of(host)
            fleet.drift(host, nodes[host]).wait(20)
        # Cut all the same. What a person orders meanwhile is not done, or done once.
        for host in fleet.names:
            address = fleet.nodes(id=nodes[host])[0]["address"]
            answer = invariants.in_host(fleet, host, "curl", "-sS", "--max-time", "1",
                                        f"http://{address}:8080/whoami")
            assert not answer.stdout, answer
        asked = subprocess.Popen(
            [str(fleet.dnode), "quarantine", nodes["h1"], "--reason", "beside the verdict"],
            env=fleet.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(STOP_S)
    asked.wait(60)
    after_every_round(fleet, "web", nodes.values())


def a_stopped_supervisor_gives_no_stale_order_and_loses_no_incident(fleet):
    epoch = fleet.service()["epoch"]
    with fleet.stopped("supervisor"):
        nodes = [fleet.node_of(host) for host in fleet.names]
        for host, node in zip(fleet.names, nodes):
            fleet.drift(host, node).wait(20)
        # The hosts answer by themselves, and each has its replacement.
        for host, node in zip(fleet.names, nodes):
            wait_for(f"a replacement on {host}", lambda: [
                n for n in fleet.ask_agent(host, "nodes", "web")["nodes"]
                if n["state"] == "ready" and n["id"] != node])
        time.sleep(STOP_S)
    after_every_round(fleet, "web", nodes)
    assert fleet.service()["epoch"] == epoch


def a_roll_fails_no_request_of_a_host_that_hears_of_it_late(fleet):
    # Of fewer nodes than hosts: one has none, and balances to those of the others.
    few = dict(cold(fleet), service="few", replicas=fleet.hosts - 1)
    fleet.apply(**few)
    url = f"http://{fleet.wait_ready('few', ready=fleet.hosts - 1)['vip']}/whoami"
    late = set(fleet.names).difference(n["host"] for n in fleet.nodes("few")).pop()
    fleet.run("host", "cordon", late)  # or the roll would begin there, and wait
    with fleet.stopped(late):
        fleet.apply(**few, epoch=2, version="2")
        wait_for("a node to drain", lambda: fleet.nodes("few", state="draining"))
        # Clients come through any host, by their ports; between two of them nothing is open.
        end, answers = time.monotonic() + 3, []
        while time.monotonic() < end:
            answers.append(fleet.get(url, check=False))
    print(f"# {len(answers)} requests, {answers.count(None)} failed")
    assert len(answers) > 50 and None not in answers
    wait_for("the old nodes to go", lambda: all(
        n["epoch"] == 2 for n in fleet.nodes("few")), 90)
    fleet.run("host", "uncordon", late)
    fleet.run("remove", "few", "--key", "deploy")
    wait_for("its nodes to go", lambda: not fleet.nodes("few"), 90)


# ---- 7 ----

def name_runtime(fleet, host, runtime):
    config = pathlib.Path(f"/var/lib/{fleet.name}/{host}.yaml")
    lines = [f"runtime: {runtime}" if line.startswith("runtime:") else line
             for line in config.read_text().splitlines()]
    config.write_text("\n".join(lines) + "\n")


class Runtimes:
    """A runtime of each host's own, that can be killed; the agents use it within the block."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.path = {host: pathlib.Path(f"/run/{fleet.name}/crun-{host}") for host in fleet.names}

    def __enter__(self):
        for host, path in self.path.items():
            path.write_text(RUNTIME)
            path.chmod(0o755)
            path.with_name(path.name + ".slow").touch()
            name_runtime(self.fleet, host, path)
        self.fleet.restart_agents()
        return self

    def arm(self, host, verb):
        path = self.path[host]
        path.with_name(f"{path.name}.{verb}").touch()

    def killed(self, verb):
        return sum(line.startswith(verb) for path in self.path.values()
                   for line in lines_of(path.with_name(path.name + ".killed")))

    def __exit__(self, *_):
        for host, path in self.path.items():
            name_runtime(self.fleet, host, "/usr/bin/crun")
            for file in path.parent.glob(path.name + "*"):
                file.unlink()
        self.fleet.restart_agents()


def lines_of(path):
    return path.read_text().splitlines() if path.exists() else []


def a_runtime_that_dies_at_create_start_or_delete_leaves_nothing_behind(fleet):
    before = invariants.acknowledged(fleet)
    with Runtimes(fleet) as runtimes:
        def volley(verb):
            def fault(host):
                node = fleet.node_of(host, "cold")
                runtimes.arm(host, verb)
                fleet.drift(host, node).wait(20)
                return node
            fleet.expect_cut(fleet.everywhere(fault, hosts_of_cold(fleet)).values())
            fleet.wait_tidy()
            # Failed starts are tried again later and later: a new agent begins anew.
            fleet.restart_agents()
        for verb in ("create", "start", "delete"):
            for _ in fleet.volleys():
                volley(verb)
            # The moment is drawn, and a runtime may have done its work each time.
            for _ in range(MORE_VOLLEYS):
                if not runtimes.killed(verb):
                    volley(verb)
            print(f"# killed at {verb}: {runtimes.killed(verb)}")
            assert runtimes.killed(verb) > 0, f"no {verb} was killed"
            invariants.nothing_is_left_behind(fleet)
        invariants.check(fleet, before)


def a_program_that_ends_while_it_is_started_keeps_no_place(fleet):
    def ended():
        return [e for e in fleet.ask("events", "-n", "1000")["events"]
                if e["kind"] == "node.exited" and e["service"] == "brief"]
    with Runtimes(fleet):
        file = fleet.manifest(service="brief", replicas=fleet.hosts, standby=0, started=False)
        file.write_text(file.read_text().replace("run: {", "run: {args: [/bin/hello, nonsense], "))
        fleet.run("apply", file, "--key", "deploy")
        wait_for("some to end", lambda: len(ended()) >= 2 * fleet.hosts, 60)
        fleet.run("remove", "brief", "--key", "deploy")
        wait_for("them to go", lambda: not fleet.nodes("brief"), 60)


# ---- 10 ----

class Confined:
    """A memory cgroup of our own, so small that whoever is in it is killed by the kernel."""

    def __init__(self, name):
        v1 = pathlib.Path("/sys/fs/cgroup/memory")
        self.is_v1 = v1.is_dir()
        self.path = (v1 if self.is_v1 else invariants.cgroup_root()) / name

    def __enter__(self):
        self.path.mkdir()
        limit = "memory.limit_in_bytes" if self.is_v1 else "memory.max"
        (self.path / limit).write_text("65536")
        return self

    def take(self, pid):
        (self.path / "cgroup.procs").write_text(str(pid))

    def __exit__(self, *_):
        def gone():
            try:
                self.path.rmdir()
            except OSError:
                for pid in (self.path / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
                return False
            return True
        wait_for("the cgroup to empty", gone)


def starve(fleet, daemon):
    """The OOM killer takes a daemon: what it allocates next is one too many."""
    pid = fleet.pid(daemon)
    with Confined(f"{fleet.name}-oom-{daemon}") as group:
        group.take(pid)

        def killed():
            if fleet.pid(daemon) != pid:
                return True
            fleet.run("events", "-n", "1000", check=False)  # it has to allocate
            return False
        wait_for(f"{daemon} to be killed", killed, 30, every=0.005)


def an_agent_or_supervisor_that_the_oom_killer_takes_loses_nothing(fleet):
    before = invariants.acknowledged(fleet)
    for number in fleet.volleys():
        def fault(host):
            node = fleet.node_of(host)
            helper = fleet.drift(host, node)
            starve(fleet, host)
            helper.wait(20)
            return node
        nodes = fleet.everywhere(fault).values()
        starve(fleet, "supervisor")
        wait_for("a new supervisor", lambda: fleet.pid("supervisor"))
        after_every_round(fleet, "web", nodes)
    invariants.check(fleet, before)


# Allocate until the service is killed for it: several, so that each of them is less of a target.
HOG = """
import os, sys, time
children = []
for _ in range(5):
    child = os.fork()
    if child == 0:
        open(sys.argv[1], "w").write("0")
        held = [b"x" * (1 << 20) for _ in range(20)]
        while os.path.exists("/proc/" + sys.argv[2]):
            time.sleep(0.01)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""


def memory_group(fleet, host, node):
    v1 = pathlib.Path("/sys/fs/cgroup/memory") / fleet.name / host / node
    return v1 if v1.is_dir() else fleet.group(host, node)


def a_service_that_the_oom_killer_takes_is_replaced_and_not_quarantined(fleet):
    incidents = len(fleet.incidents())
    for _ in fleet.volleys():
        def fault(host):
            node = fleet.node_of(host, "cold")
            pid = int((fleet.group(host, node) / "cgroup.procs").read_text().split()[0])
            pathlib.Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
            procs = memory_group(fleet, host, node) / "cgroup.procs"
            subprocess.run([sys.executable, "-c", HOG, str(procs), str(pid)], check=False,
                           timeout=60)
            return node
        gone = set(fleet.everywhere(fault, hosts_of_cold(fleet)).values())
        wait_for("the killed to go", lambda: not gone & {n["id"] for n in fleet.nodes("cold")})
        fleet.wait_full("cold")
    assert len(fleet.incidents()) == incidents


def cold(fleet):
    return dict(service="cold", replicas=fleet.hosts, standby=0, started=False, respawn=1000,
                cpu=0.5)


class Death(Crowd):
    def wait_full(self, service="web", seconds=90.0):
        self.wait_hosts()
        self.wait_ready(service, ready=self.hosts, seconds=seconds,
                        standby=self.hosts if service == "web" else 0)

    def restart_agents(self):
        self.revive(*self.names)
        self.wait_full("web")
        self.wait_full("cold")


def prepare(fleet):
    fleet.apply(replicas=fleet.hosts, respawn=1000, cpu=0.5)
    fleet.apply(**cold(fleet))
    fleet.wait_full("web")
    fleet.wait_full("cold")
    before = invariants.acknowledged(fleet)
    return before, fleet.cleanup.enter_context(
        fleet.load(fleet.service()["vip"], busy=4, idle=4, rate=200))


def judge(fleet, prepared):
    before, load = prepared
    print(f"# {rounds()} rounds of each: {load.stop()}")
    invariants.check(fleet, before)


def timed(test):
    def run_timed(fleet):
        began = time.monotonic()
        test(fleet)
        print(f"# {time.monotonic() - began:.1f} s")
    run_timed.__name__ = test.__name__
    return run_timed


if __name__ == "__main__":
    main([timed(test) for test in (
        a_node_is_cut_once_though_its_agent_dies_between_verdict_and_cut,
        a_replacement_whose_agent_dies_before_it_is_balanced_is_there_once,
        a_node_is_replaced_though_its_agent_dies_between_its_leaving_and_the_next,
        a_roll_goes_on_over_the_deaths_of_its_agents,
        a_verdict_waits_for_a_stopped_agent_and_is_then_answered_once,
        a_stopped_supervisor_gives_no_stale_order_and_loses_no_incident,
        a_roll_fails_no_request_of_a_host_that_hears_of_it_late,
        a_runtime_that_dies_at_create_start_or_delete_leaves_nothing_behind,
        a_program_that_ends_while_it_is_started_keeps_no_place,
        an_agent_or_supervisor_that_the_oom_killer_takes_loses_nothing,
        a_service_that_the_oom_killer_takes_is_replaced_and_not_quarantined,
    )], prepare, judge, lab=Death, hosts=4)
