# SPDX-License-Identifier: Apache-2.0
"""What must hold after every fault, asked of a living lab (docs/faults.md).

    before = invariants.acknowledged(fleet)     # what people and hosts have been promised
    ... the fault, and what ends it ...
    invariants.check(fleet, before)             # waits until the fleet has settled, then judges

It asks the command, /proc, control groups, nft and the journals, and sends real requests. A test
whose fault makes an incident calls note() with it as soon as it was acknowledged.
"""
import dataclasses
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import time

from fleet import wait_for

AT_REST = ("ready", "standby", "quarantined")
BATCH = re.compile(rb'^\{"batch":(\d+),"hash":"([0-9a-f]{64})"', re.M)
MOMENT_S = 10.0


@dataclasses.dataclass
class Acknowledged:
    """Promises: once they are here, no fault may take them back."""
    manifests: dict = dataclasses.field(default_factory=dict)  # service → (epoch, digest)
    incidents: dict = dataclasses.field(default_factory=dict)  # id → node
    heads: dict = dataclasses.field(default_factory=dict)      # journal → (entry, hash)
    events: dict = dataclasses.field(default_factory=dict)     # id → (kind, text)

    def note(self, incident):
        """An incident that somebody was told of."""
        self.incidents[incident["id"]] = incident["node"]


def root(fleet):
    return pathlib.Path(f"/var/lib/{fleet.name}")


def host_names(fleet):
    return [h["name"] for h in fleet.status["hosts"]]


def journals(fleet):
    return sorted(path for path in root(fleet).glob("*/journal") if path.is_dir())


def segments(journal):
    return b"".join(file.read_bytes() for file in sorted(journal.glob("*.jsonl")))


def head(journal):
    """The last whole batch: (entry, hash), or None."""
    batches = BATCH.findall(segments(journal))
    return (int(batches[-1][0]), batches[-1][1].decode()) if batches else None


def acknowledged(fleet):
    before = Acknowledged()
    for service in fleet.ask("services")["services"]:
        before.manifests[service["name"]] = (service["epoch"], service["digest"])
    for incident in fleet.incidents():
        before.note(incident)
    for event in fleet.ask("events", "-n", "1000")["events"]:
        before.events[event["id"]] = (event["kind"], event["text"])
    for journal in journals(fleet):
        before.heads[str(journal)] = head(journal)
    return before


# ---- nothing acknowledged is lost ----

def manifests_are_kept(fleet, before):
    now = {s["name"]: (s["epoch"], s["digest"]) for s in fleet.ask("services")["services"]}
    for service, (epoch, digest) in before.manifests.items():
        assert service in now, f"service {service} is lost"
        assert now[service][0] >= epoch, f"{service} went back from epoch {epoch}: {now[service]}"
        assert now[service][0] > epoch or now[service][1] == digest, (service, now[service])


def all_are_there(fleet, before):
    now = {i["id"] for i in fleet.incidents()}
    return all(fleet.run("incident", "show", i, check=False).returncode == 0
               for i in set(before.incidents) - now)


def incidents_are_kept(fleet, before):
    now = {i["id"]: i["node"] for i in fleet.incidents()}
    for incident, node in before.incidents.items():
        if incident not in now:  # what is past is not listed
            done = fleet.run("incident", "show", incident, "--json", check=False)
            now[incident] = json.loads(done.stdout)["incident"]["node"] if (
                done.returncode == 0) else None
        assert now.get(incident) == node, f"incident {incident} of {node} is lost: {now}"


def events_are_kept(fleet, before):
    now = {e["id"]: (e["kind"], e["text"]) for e in fleet.ask("events", "-n", "1000")["events"]}
    oldest = min(now, default=0)
    for number, event in before.events.items():
        assert number < oldest or now.get(number) == event, f"event {number} is lost: {event}"


def journals_are_whole(fleet, before):
    copies = fleet.scratch / "invariants"
    shutil.rmtree(copies, ignore_errors=True)
    for journal in journals(fleet):
        known = before.heads.get(str(journal))
        if known is not None:
            found = dict((int(n), h.decode()) for n, h in BATCH.findall(segments(journal)))
            assert found.get(known[0]) == known[1], f"{journal} has lost its entry {known[0]}"
        shutil.copytree(journal, copies / journal.parent.name)
    done = fleet.run("journal", "verify", *sorted(copies.iterdir()), "--json", check=False)
    assert done.returncode == 0, f"journals do not fit: {done.stdout} {done.stderr}"


# ---- every node is what its image says; none that was cut has a network ----

def cgroup_root():
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        words = line.split()
        if words[2] == "cgroup2":
            return pathlib.Path(words[1])
    raise AssertionError("no cgroup2 here")


def group_of(fleet, node):
    return cgroup_root() / fleet.name / node["host"] / node["id"]


def processes(fleet, node):
    return [int(pid) for pid in (group_of(fleet, node) / "cgroup.procs").read_text().split()]


def digest_of(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def signed_programs(fleet):
    """What was built and signed here: the programs that a node may run."""
    folder = fleet.build / "images"
    return {digest_of(f) for f in folder.glob("*/*") if f.is_file() and f.stat().st_mode & 0o111}


def nodes_run_signed_programs(fleet):
    allowed = signed_programs(fleet)
    for node in fleet.nodes():
        if node["state"] in ("creating", "created"):
            continue  # what runs in it yet is the runtime, which waits
        for pid in processes(fleet, node) if group_of(fleet, node).exists() else []:
            try:
                found = digest_of(f"/proc/{pid}/exe")
            except OSError:
                continue  # it has ended meanwhile
            assert found in allowed, f"node {node['id']} runs something that nobody signed"


def in_host(fleet, host, *command, **more):
    net = next(h["netns"] for h in fleet.status["hosts"] if h["name"] == host)
    return subprocess.run(["nsenter", f"--net=/run/netns/{net}", *command], capture_output=True,
                          text=True, timeout=30, check=False, **more)


def cut_nodes_are_cut(fleet):
    """Frozen, in the firewall's set, and deaf: asked from its own host and from the clients."""
    for host in host_names(fleet):
        cut = fleet.nodes(host=host, state="quarantined")
        if not cut:
            continue
        told = json.loads(in_host(fleet, host, "nft", "-j", "list", "ruleset").stdout)
        listed = {a for row in told["nftables"] if row.get("set", {}).get("name") == "quarantined"
                  for a in row["set"].get("elem", [])}
        for node in cut:
            assert node["address"] in listed, f"{node['id']} is not in the firewall's set: {listed}"
            frozen = (group_of(fleet, node) / "cgroup.events").read_text()
            assert "frozen 1" in frozen, f"{node['id']} was cut and is not frozen"
        # One after the other would take long where packets are dropped.
        asked = [f"http://{n['address']}:8080/whoami" for n in cut]
        done = in_host(fleet, host, "curl", "-sS", "--parallel", "--max-time", "0.5", *asked)
        assert not done.stdout, f"a cut node of {host} has answered: {done.stdout}"


# ---- nothing is left behind, and nothing is there twice ----

def others_of(fleet, host):
    """Nodes of a host of the same name in another lab: namespaces and links have no lab's name."""
    return {d.name for d in pathlib.Path("/run").glob(f"*/{host}/roots/*")
            if d.parts[2] != fleet.name}


def networks_of(fleet, host):
    names = {f.name.removeprefix(f"{host}-") for f in pathlib.Path("/run/netns").glob(f"{host}-*")}
    return names - others_of(fleet, host)


def guarded_of(fleet, host):
    """Addresses that the firewall lets nodes send from."""
    told = in_host(fleet, host, "nft", "-j", "list", "set", "inet", "dnode", "nodes").stdout
    rows = json.loads(told)["nftables"] if told else []
    return {e["concat"][0] for row in rows for e in row.get("set", {}).get("elem", [])}


def groups_of_v1(fleet, host):
    """By controller; only those that are there without a node can be told from how it is mounted."""
    return {d.name for d in pathlib.Path("/sys/fs/cgroup").glob(f"*/{fleet.name}/{host}/*")
            if d.is_dir()}


def leftovers_of(fleet, host):
    known = {n["id"] for n in fleet.nodes(host=host)}
    run = pathlib.Path(f"/run/{fleet.name}/{host}")
    group, runtime = cgroup_root() / fleet.name / host, run / "runtime"
    points = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    found = {
        "control groups": {d.name for d in group.glob("*") if d.is_dir()},
        "containers": {d.name for d in runtime.glob("*")},
        "mounts": {pathlib.Path(p).name for p in points if p.startswith(f"{run}/roots/")},
        "network namespaces": networks_of(fleet, host),
    }
    addresses = {n["address"] for n in fleet.nodes(host=host) if n["address"]}
    wrong = [f"{what} of {host}: {sorted(names ^ known)}"
             for what, names in found.items() if names != known]
    if guarded := guarded_of(fleet, host) - addresses:
        wrong.append(f"addresses in the firewall of {host}: {sorted(guarded)}")
    if groups := groups_of_v1(fleet, host) - known:
        wrong.append(f"control groups of v1 of {host}: {sorted(groups)}")
    staged = [str(path) for path in (root(fleet) / host / "staging").glob("*")]
    return wrong + staged


def leftovers(fleet):
    """Lines about what is there without a node, or missing to one."""
    found = [line for host in host_names(fleet) for line in leftovers_of(fleet, host)]
    return found + [str(f) for f in root(fleet).rglob("*.tmp") if f.is_file()]


def nothing_is_left_behind(fleet):
    """What is being taken away, or made anew, gets its moment."""
    end = time.monotonic() + MOMENT_S
    while (found := leftovers(fleet)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not found, found


def one_incident_an_event(fleet):
    """A node is cut once: two incidents of one node were one event."""
    nodes = [i["node"] for i in fleet.incidents()]
    twice = {n for n in nodes if nodes.count(n) > 1}
    assert not twice, f"more than one incident of {twice}"


def services_answer(fleet, requests=8):
    for service in fleet.ask("services")["services"]:
        if service["state"] == "removed" or not service["replicas"] or not service["ready"]:
            continue
        url = f"http://{service['vip']}/whoami"
        serving = {n["id"] for n in fleet.nodes(service["name"], state="ready")}
        for _ in range(requests):
            told = json.loads(fleet.get(url))
            assert told["node"] in serving, f"{told['node']} answers and is not ready: {serving}"


# ---- all of it ----

def restless(fleet):
    """What is on its way: nodes, then services."""
    nodes = [f"{n['id']} is {n['state']}" for n in fleet.nodes() if n["state"] not in AT_REST]
    return nodes + [
        f"{s['name']}: {s['ready']} of {s['replicas']} ready, {s['state']}"
        for s in fleet.ask("services")["services"]
        if s["state"] != "removed" and (s["rolling"] is not None or s["ready"] < s["replicas"])]


def come_to_rest(fleet, seconds):
    end = time.monotonic() + seconds
    while (found := restless(fleet)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not found, f"the fleet does not settle: {found}"


def check(fleet, before, seconds=60.0):
    wait_for("the supervisor to answer", lambda: fleet.run(
        "services", check=False).returncode == 0, seconds)
    fleet.wait_hosts()
    come_to_rest(fleet, seconds)
    manifests_are_kept(fleet, before)
    wait_for("what was told to arrive", lambda: all_are_there(fleet, before), 10)
    incidents_are_kept(fleet, before)
    events_are_kept(fleet, before)
    journals_are_whole(fleet, before)
    nodes_run_signed_programs(fleet)
    cut_nodes_are_cut(fleet)

    nothing_is_left_behind(fleet)
    one_incident_an_event(fleet)
    services_answer(fleet)
