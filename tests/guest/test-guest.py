#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole act on a modern host: Debian 12 with its own kernel, systemd, cgroup v2 alone.

    test-guest.py PACKAGES BUILD

PACKAGES is where dnode_*.deb and dnode-agent_*.deb are; BUILD keeps the guest's disk between runs
and gets transcript.txt and console.txt. As root, since the disk's files belong to many.
"""
import json
import os
import pathlib
import subprocess
import sys
import time

import image
from image import Failed
from machine import Machine

# Where the agent keeps its nodes' control groups on a machine with systemd.
NODES = "/sys/fs/cgroup/dnode.slice/nodes"


class Guest:
    """What the steps share: the machine, and what they have learned of the fleet in it."""

    def __init__(self, machine):
        self.machine = machine
        self.vip = self.commit = None
        self.cut = self.incident = None

    def run(self, script, **options):
        return self.machine.run(script, **options)

    def until(self, what, script, **options):
        return self.machine.until(what, script, **options)

    def ask(self, words):
        return json.loads(self.machine.run(f"dnode {words} --json", quiet=True))

    def serves(self):
        """One request from the other machine, through the balancer."""
        answer = self.run(f"ip netns exec client curl -sS --max-time 20 http://{self.vip}/whoami")
        assert json.loads(answer)["service"] == "hello", answer

    def settled(self):
        """Three nodes serve and the standby waits: what follows finds a quiet host."""
        self.until("three ready nodes and a standby", """dnode nodes hello >/run/nodes
[ $(grep -c ' ready ' /run/nodes) = 3 ] && grep -q ' standby  *healthy' /run/nodes""", seconds=300)

    def nodes(self, **wanted):
        return [n for n in self.ask("nodes")["nodes"]
                if all(n[key] == value for key, value in wanted.items())]


def it_boots_debians_kernel_with_cgroup_v2_alone(guest):
    guest.machine.note(f"booted in {guest.machine.power_on():.1f} s")
    print(guest.run("uname -r; systemctl --version | head -1; grep cgroup /proc/mounts"))
    assert "cgroup2" in guest.run("stat -f -c %T /sys/fs/cgroup").replace("fs", "")
    guest.run("! grep -q ' cgroup ' /proc/mounts")


def the_packages_install(guest):
    guest.run("mkdir -p /root/packages && tar -x -C /root/packages -f /dev/vdb && "
              "dpkg -i /root/packages/*.deb", seconds=600)
    guest.run("systemctl is-system-running --wait || systemctl --failed", check=False)
    guest.run("! systemctl is-active dnode-supervisor dnode-agent")


def the_host_is_able(guest):
    """And says so truthfully: what this kernel has, and what it is too old for."""
    told = {row["name"]: row["can"] for row in
            json.loads(guest.run("dnode-agent check --json", seconds=120))["checks"]}
    can = {"cgroup", "conntrack", "lsm", "idmapped-mount", "runtime", "fast-start"}
    assert all(told[name] for name in can), told
    assert not told["memfd-noexec"], "Linux 6.1 has no vm.memfd_noexec"
    guest.run("dnode-agent check; ip -6 address show dev lo")


def the_supervisor_starts_without_privilege(guest):
    guest.run("""set -e
dnode cluster init --advertise 192.0.2.1:7443
for role in release deploy responder; do dnode key gen $role --role $role; done
systemctl start dnode-supervisor
""", seconds=180)
    who = guest.run("ps -o user= -p $(systemctl show -P MainPID dnode-supervisor)")
    assert who.strip() == "dnode", who
    guest.run("systemd-analyze security dnode-supervisor | tail -1")


def a_host_enrols(guest):
    guest.run("""set -e
printf 'name: edge-1\\nsupervisor: 192.0.2.1:7443\\nuplink: eth0\\n' >/etc/dnode/agent.yaml
dnode-agent enrol "$(dnode host token edge-1)"
systemctl enable dnode-supervisor dnode-agent
systemctl start dnode-agent
""", seconds=300)
    guest.until("the host is up", "dnode hosts | grep '^edge-1 *up'")
    lacks = guest.run("dnode hosts | tail -1")
    assert "memfd-noexec" in lacks and "conntrack" not in lacks, lacks
    told = guest.ask("hosts")["hosts"][0]["capabilities"]["lsm"]
    assert told.startswith("yes"), told
    assert len(guest.run("find /sys/fs/bpf -name 'link_lsm_*'").split()) >= 10
    guest.run("dnode hosts edge-1; systemctl status dnode-agent --no-pager; systemd-cgls --no-pager")


def a_service_is_applied_and_answers(guest):
    guest.commit = guest.run("cd /usr/lib/dnode/examples && "
                             "dnode image build images/hello --key release").split()[-1]
    guest.run(f"dnode image push {guest.commit}")
    guest.run(f"sed 's/commit: .*}}/commit: {guest.commit}}}/' "
              "/usr/lib/dnode/examples/manifests/hello.yaml >/root/hello.yaml && "
              "dnode apply /root/hello.yaml --key deploy --wait", seconds=300)
    guest.run("dnode services; dnode nodes hello; systemd-cgls --no-pager")
    guest.vip = guest.ask("services")["services"][0]["vip"]
    guest.run(f"ip netns exec client curl -sS --max-time 10 http://{guest.vip}/whoami")


def a_drill_is_cut_frozen_replaced_and_on_record(guest):
    drilled = json.loads(guest.run("dnode drill exec hello --json", seconds=300))["incident"]
    assert drilled["drill"] and drilled["replacements"], drilled
    wanted = {"verdict", "cut", "frozen", "lb_out_local", "replacement_ready", "cut_verified",
              "durable", "reported"}
    guest.until("the whole record", f"""dnode incident show {drilled['id']} --json >/run/incident &&
for stage in {' '.join(sorted(wanted))}; do grep -q "\"$stage\"" /run/incident || exit 1; done""")
    guest.run(f"dnode incident show {drilled['id']}; dnode nodes hello")
    shown = guest.ask(f"incident show {drilled['id']}")["incident"]
    assert shown["packets_after_cut"] == 0, shown
    guest.run(f"grep -q 'frozen 1' {NODES}/{drilled['node']}/cgroup.events")
    guest.run(f"! ip netns exec client curl -sS --max-time 3 http://{shown['address']}:8080/whoami")
    guest.serves()


def drill(guest, drift):
    """Its incident, when nodes and record are as they shall be."""
    guest.settled()
    drilled = json.loads(guest.run(f"dnode drill {drift} hello --json", seconds=300))["incident"]
    assert drilled["drill"] and drilled["class"] == drift, drilled
    guest.until("the cut is on record",
                f"dnode incident show {drilled['id']} --json | grep -q '\"reported\"'")
    return guest.ask(f"incident show {drilled['id']}")["incident"]


def drift_is_refused_before_it_has_an_effect(guest):
    """By the programs at the kernel's security hooks: not even the helper's own call succeeds."""
    refused = {"exec": "was refused to execute",
               "library": "was refused to map as code",
               "exec-memory": "was refused executable memory",
               "text": "was refused to write to a process's memory"}
    for drift, words in refused.items():
        shown = drill(guest, drift)
        assert words in shown["detail"], shown
        assert drift == "exec" or "denied" in shown["detail"] or "not permitted" in shown["detail"]
        guest.run(f"grep -q 'frozen 1' {NODES}/{shown['node']}/cgroup.events")
        guest.run(f"dnode incident destroy {shown['id']} --key responder --reason 'a drill'")
        guest.until("the node is gone", f"! dnode nodes | grep {shown['node']}")
    guest.run("! dnode events --json | grep drill.failed")
    guest.serves()


def limits_hold_in_cgroup_v2(guest):
    """What the manifest says, as the kernel has it: also after systemd has read its units anew."""
    node = guest.nodes(state="ready")[0]["id"]
    limits = f"cd {NODES}/{node} && cat memory.max memory.swap.max pids.max cpu.max"
    wanted = "67108864\n0\n32\n50000 100000\n"
    assert guest.run(limits) == wanted, "limits are not the manifest's"
    guest.run("systemctl daemon-reload && systemctl daemon-reexec", seconds=300)
    assert guest.run(limits) == wanted, "systemd has changed them"


def pids_of_nodes(guest):
    """Every process of every node: a node that was started anew has another."""
    return sorted(guest.run(f"cat {NODES}/hello-*/cgroup.procs", quiet=True).split())


def nodes_outlive_systemds_reload_and_reexecution(guest):
    guest.settled()
    before, ids = pids_of_nodes(guest), {n["id"] for n in guest.nodes()}
    guest.run("systemctl daemon-reload && systemctl daemon-reexec && systemctl is-active dnode-agent",
              seconds=300)
    assert pids_of_nodes(guest) == before, "a node was started anew"
    assert {n["id"] for n in guest.nodes()} == ids
    guest.serves()


def nodes_outlive_a_restart_of_the_agent_and_no_request_fails(guest):
    guest.settled()
    before, ids = pids_of_nodes(guest), {n["id"] for n in guest.nodes()}
    agent = guest.run("systemctl show -P MainPID dnode-agent", quiet=True)
    guest.run(f"""rm -f /run/requests
ip netns exec client sh -c '
for i in $(seq 1000); do
    curl -sS -o /dev/null -w "%{{http_code}}\\n" --max-time 20 http://{guest.vip}/whoami >>/run/requests 2>&1
    [ ! -e /run/requests-end ] || break
done' &
systemctl restart dnode-agent
status=$?
sleep 2
touch /run/requests-end
wait
rm /run/requests-end
exit $status""", seconds=400)
    assert guest.run("systemctl show -P MainPID dnode-agent", quiet=True) != agent
    counted = guest.run("sort /run/requests | uniq -c").split()
    assert counted[1:] == ["200"] and int(counted[0]) >= 3, counted
    guest.until("the host is up again", "dnode hosts | grep '^edge-1 *up'")
    assert pids_of_nodes(guest) == before, "a node was started anew"
    assert {n["id"] for n in guest.nodes()} == ids
    guest.run("journalctl -b -u dnode-agent --no-pager | grep 'goes on' | tail -8")


def the_watchdog_ends_an_agent_that_stands_still(guest):
    """The unit's minute is too long for a test; the mechanism is the same."""
    guest.settled()
    before = pids_of_nodes(guest)
    agent = guest.run("systemctl show -P MainPID dnode-agent", quiet=True).strip()
    guest.run("""mkdir -p /run/systemd/system/dnode-agent.service.d
printf '[Service]\nWatchdogSec=20s\n' >/run/systemd/system/dnode-agent.service.d/test.conf
systemctl daemon-reload && systemctl restart dnode-agent""", seconds=300)
    agent = guest.run("systemctl show -P MainPID dnode-agent").strip()
    guest.run("systemctl kill -s STOP dnode-agent")
    guest.until("another agent", f"""now=$(systemctl show -P MainPID dnode-agent)
systemctl is-active dnode-agent && [ "$now" != {agent} ] && [ "$now" != 0 ]""", seconds=240)
    guest.run("journalctl -b -u dnode-agent --no-pager | grep -i watchdog | tail -3")
    guest.until("the host is up again", "dnode hosts | grep '^edge-1 *up'")
    assert pids_of_nodes(guest) == before, "a node was started anew"
    guest.run("rm -r /run/systemd/system/dnode-agent.service.d; systemctl daemon-reload")


def a_node_is_quarantined_by_hand(guest):
    guest.settled()
    node = guest.nodes(state="ready")[0]
    guest.run(f"dnode quarantine {node['id']} --reason 'to be looked at'")
    guest.until("the record", f"dnode incidents --json | grep -q {node['id']}")
    guest.cut = next(n for n in guest.nodes() if n["id"] == node["id"])
    guest.incident = guest.cut["incident"]
    assert guest.cut["state"] == "quarantined", guest.cut
    guest.until("the record is durable and reported",
                f"dnode incident show {guest.incident} --json | grep -q reported")
    guest.settled()


def after_a_reboot_the_cut_nodes_stay_cut_and_clean_ones_serve(guest):
    kept = {n["id"]: n["address"] for n in guest.nodes(state="quarantined")}
    clean = {n["id"] for n in guest.nodes() if n["id"] not in kept}
    assert len(kept) == 2 and guest.cut["id"] in kept, kept
    guest.machine.note(f"down and up again in {guest.machine.reboot():.1f} s")
    console = (guest.machine.work / "console.txt").read_text(errors="replace")
    assert "Waiting for process" not in console, "nodes held up the machine's end"
    guest.until("the host is up", "dnode hosts | grep '^edge-1 *up'", seconds=240)
    guest.until("three clean nodes", "[ $(dnode nodes hello | grep -c ' ready ') = 3 ]", seconds=300)
    guest.run("dnode nodes; dnode incidents; nft list set inet dnode quarantined")
    now = {n["id"]: n for n in guest.nodes()}
    for node, address in kept.items():
        assert node in now and now[node]["state"] == "quarantined", (node, now.get(node))
        assert now[node]["address"] == address, "its address was given away"
        guest.run(f"nft get element inet dnode quarantined '{{ {address} }}'")
        guest.run(f"! ls -d {NODES}/{node}")
        guest.run(f"! ip netns exec client curl -sS --max-time 3 http://{address}:8080/whoami")
    assert not clean & set(now), "a node of the boot before is still listed"
    assert not {n["address"] for n in now.values() if n["id"] not in kept} & set(kept.values())
    guest.run("journalctl -b -u dnode-agent --no-pager")
    guest.serves()


def the_evidence_goes_only_by_a_responders_signature(guest):
    guest.run(f"dnode incident destroy {guest.incident} --key responder --reason 'looked at it'")
    guest.until("the node is gone", f"! dnode nodes | grep {guest.cut['id']}")
    guest.run(f"! nft get element inet dnode quarantined '{{ {guest.cut['address']} }}'")
    guest.serves()


STEPS = [it_boots_debians_kernel_with_cgroup_v2_alone, the_packages_install, the_host_is_able,
         the_supervisor_starts_without_privilege, a_host_enrols, a_service_is_applied_and_answers,
         limits_hold_in_cgroup_v2, a_drill_is_cut_frozen_replaced_and_on_record,
         drift_is_refused_before_it_has_an_effect,
         nodes_outlive_systemds_reload_and_reexecution,
         nodes_outlive_a_restart_of_the_agent_and_no_request_fails,
         a_node_is_quarantined_by_hand,
         after_a_reboot_the_cut_nodes_stay_cut_and_clean_ones_serve,
         the_evidence_goes_only_by_a_responders_signature,
         the_watchdog_ends_an_agent_that_stands_still]


def tell_failure(guest, error):
    for line in str(error).splitlines():
        print(f"# {line}")
    machine = guest.machine
    if machine.port is not None:
        try:
            machine.run("journalctl --no-pager -b -n 200; systemctl --failed --no-pager", seconds=60)
        except (Failed, OSError) as second:
            print(f"# and the guest does not tell why: {second}")
    print(f"# see {machine.transcript.name} and {machine.work}/console.txt", flush=True)


def play(guest):
    print(f"1..{len(STEPS)}", flush=True)
    for number, step in enumerate(STEPS, 1):
        name = step.__name__.replace("_", " ")
        begun = time.monotonic()
        guest.machine.note(f"---- {number}. {name}")
        try:
            step(guest)
        except Exception as error:  # noqa: BLE001 - what follows builds on it, whatever it was
            tell_failure(guest, error if isinstance(error, Failed) else repr(error))
            print(f"not ok {number} - {name}", flush=True)
            return 1
        took = time.monotonic() - begun
        guest.machine.note(f"---- {number}. took {took:.1f} s")
        print(f"ok {number} - {name} ({took:.0f} s)", flush=True)
    return 0


def make_payload(work, packages):
    """The packages as the second disk: a tar archive, filled up to whole sectors anyway."""
    payload = work / "packages.tar"
    subprocess.run(["tar", "-C", packages[0].parent, "-cf", payload,
                    *[p.name for p in packages]], check=True)
    return payload


def main(packages, build):
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    found = sorted(p for p in pathlib.Path(packages).glob("dnode*.deb") if "dbgsym" not in p.name)
    if len(found) != 2:
        print("1..0 # SKIP the packages are not built; ./dev package does it")
        return 0
    build = pathlib.Path(build).resolve()
    begun = time.monotonic()
    base = image.ensure(build, found)
    print(f"# the guest's disk was there or made within {time.monotonic() - begun:.0f} s", flush=True)
    work = build / "run"
    work.mkdir(exist_ok=True)
    with open(build / "transcript.txt", "w", encoding="utf-8") as transcript:
        machine = Machine(base, work, make_payload(work, found), transcript)
        try:
            return play(Guest(machine))
        finally:
            machine.power_off()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
