# SPDX-License-Identifier: Apache-2.0
"""What the failpoint walk does to a fleet: the smallest things that reach every failpoint.

A scenario calls walk.arm(), or a restart of the walk's, when the point under test shall be armed, and
ends when a person would be satisfied: what failed meanwhile was asked for again.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess

import invariants
from fleet import wait_for

# On one host: a started standby, a created one, none.
BASE = [
    dict(service="web", replicas=2, standby=1, started=True, respawn=1000, cpu=0.5),
    dict(service="lazy", replicas=1, standby=1, started=False, respawn=1000, cpu=0.5),
    dict(service="cold", replicas=1, standby=0, started=True, respawn=1000, cpu=0.5),
]


def ready(walk, service):
    return walk.fleet.nodes(service, state="ready")


def wait_ready(walk, service, count):
    walk.fleet.wait_ready(service, ready=count, seconds=90)


def next_epoch(walk, service):
    """The highest accepted one stays known after a removal."""
    walk.epochs = getattr(walk, "epochs", {})
    now = walk.fleet.service(service)
    key = (walk.fleet.name, service)
    walk.epochs[key] = max(walk.epochs.get(key, 0), now["epoch"] if now else 0) + 1
    return walk.epochs[key]


# ---- reading, and the size of a service ----

def logs(walk, _):
    node = ready(walk, "web")[0]["id"]
    walk.arm()
    walk.insist("logs", node)


def audit(walk, _):
    node = ready(walk, "web")[0]["id"]
    walk.arm()
    wait_for(f"the audit of {node}", lambda: walk.fleet.run(
        "audit", node, check=False).returncode == 0, every=0.2)


def scale(walk, _):
    walk.arm()
    walk.insist("scale", "web", "3", "--key", "deploy")
    wait_ready(walk, "web", 3)
    walk.insist("scale", "web", "2", "--key", "deploy")
    wait_ready(walk, "web", 2)


def start_by_the_runtime(walk, _):
    """The fifo cannot be used, so another way starts the node."""
    walk.arm(h1="agent.node.release.before=error*")
    walk.insist("scale", "cold", "2", "--key", "deploy")
    wait_ready(walk, "cold", 2)
    walk.insist("scale", "cold", "1", "--key", "deploy")
    wait_ready(walk, "cold", 1)


def a_node_that_ends(walk, _):
    """Its standby takes over."""
    node = ready(walk, "web")[0]
    walk.arm()
    for pid in invariants.processes(walk.fleet, node):
        os.kill(pid, signal.SIGKILL)
    wait_for("it to be gone", lambda: not walk.fleet.nodes(id=node["id"]), 60)


# ---- incidents ----

def cut(walk, node, before):
    def done():
        asked = walk.attempt("quarantine", node, "--reason", "walk")
        return asked or walk.fleet.nodes(id=node, state="quarantined")
    wait_for(f"{node} to be cut", done, 60)
    incident = wait_for("its incident", lambda: next(
        (i for i in walk.fleet.incidents() if i["node"] == node), None))
    before.note(incident)
    return incident["id"]


def quarantine(walk, before):
    node = ready(walk, "web")[0]["id"]
    walk.arm()
    cut(walk, node, before)


def drill_of(walk, before, service, **extra):
    walk.arm(**extra)
    known = {i["id"] for i in walk.fleet.incidents()}

    def done():
        # A drill whose answer was lost may have happened.
        walk.attempt("drill", "exec", service)
        return [i for i in walk.fleet.incidents() if i["id"] not in known and i["drill"]]
    for incident in wait_for(f"a drill of {service}", done, 60):
        before.note(incident)


def drill(walk, before):
    drill_of(walk, before, "web")


def drill_onto_a_created_standby(walk, before):
    drill_of(walk, before, "lazy")


def drill_without_a_standby(walk, before):
    drill_of(walk, before, "cold")


def drill_whose_replay_is_refused(walk, before):
    drill_of(walk, before, "web", h1="reflex.replay.before=error")


def drill_whose_cut_cannot_be_verified(walk, before):
    drill_of(walk, before, "web", h1="agent.incident.verify.before=error")


def destroy(walk, before):
    incident = cut(walk, ready(walk, "web")[0]["id"], before)
    walk.rest()
    walk.arm()
    walk.destroy(incident)


def drift(walk, node):
    """Foreign code that nobody announced; it never executes an instruction."""
    helper = walk.fleet.build / "agent/drill/dnode-drill"
    procs = invariants.group_of(walk.fleet, node) / "cgroup.procs"
    done = subprocess.run([str(helper), str(procs), "65534", "65534", "exec"], input=b"x",
                          check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL, f"the foreign file ran: {done.returncode}"


def isolation(walk, before):
    """A node without a budget is isolated, serves on, and is cut by hand."""
    epoch = next_epoch(walk, "spent")
    file = walk.fleet.manifest(service="spent", epoch=epoch, replicas=1, standby=0, cpu=0.5,
                               respawn=0, past="isolate")
    walk.insist("apply", str(file), "--key", "deploy")
    wait_ready(walk, "spent", 1)
    node = ready(walk, "spent")[0]
    walk.arm()
    drift(walk, node)
    wait_for("it to be isolated", lambda: any(
        i["node"] == node["id"] and i["isolated"] for i in walk.fleet.incidents()), 60)
    assert walk.fleet.nodes(id=node["id"], state="ready"), "it does not serve any more"
    incident = cut(walk, node["id"], before)
    wait_for("it to be cut", lambda: walk.fleet.nodes(id=node["id"], state="quarantined"), 60)
    walk.destroy(incident)
    remove(walk, "spent")


# ---- manifests and images ----

def roll(walk, _):
    epoch = next_epoch(walk, "lazy")
    file = walk.fleet.manifest(epoch=epoch, version=str(epoch), **BASE[1])
    walk.arm()
    walk.insist("apply", str(file), "--key", "deploy")
    walk.fleet.wait_ready("lazy", ready=1, epoch=epoch, seconds=90)


def remove(walk, name):
    def gone():
        service = walk.fleet.service(name)
        if service and service["state"] != "removed":
            walk.attempt("remove", name, "--key", "deploy")
        folder = walk.daemons["h1"].state_dir / "services" / f"{name}.json"
        return not walk.fleet.nodes(name) and not folder.exists()
    wait_for(f"{name} to be gone", gone, 90, every=0.3)


def place_and_remove(walk, _):
    epoch = next_epoch(walk, "brief")
    file = walk.fleet.manifest(service="brief", epoch=epoch, replicas=1, standby=0, cpu=0.5)
    walk.arm()
    walk.insist("apply", str(file), "--key", "deploy")
    wait_ready(walk, "brief", 1)
    remove(walk, "brief")


def new_image(walk, _):
    """An image that no host has."""
    epoch = next_epoch(walk, "pulled")
    recipe = walk.fleet.scratch / f"image-{epoch}"
    shutil.copytree(walk.fleet.build / "images/hello", recipe,
                    ignore=shutil.ignore_patterns("*.p"))
    text = (recipe / "image.yaml").read_text().replace("ref: apps/hello", "ref: apps/pulled")
    (recipe / "image.yaml").write_text(text.replace("VERSION: ", f"WALK: \"{epoch}\", VERSION: "))
    built = walk.fleet.ask("image", "build", str(recipe / "image.yaml"), "--key", "release")
    commit = built["image"]["commit"]
    walk.arm()
    walk.insist("image", "push", commit)
    file = walk.fleet.manifest(service="pulled", ref="apps/pulled", epoch=epoch, commit=commit,
                               replicas=1, standby=0, cpu=0.5)
    walk.insist("apply", str(file), "--key", "deploy")
    wait_ready(walk, "pulled", 1)
    remove(walk, "pulled")


# ---- beginnings ----

def restart_of_the_agent(walk, before):
    cut(walk, ready(walk, "web")[0]["id"], before)
    walk.rest()
    walk.restart("h1")
    # Orders come one after the other: when this one is answered, those of a new link were before.
    node = next(n["id"] for n in ready(walk, "web") if n["host"] == "h1")
    wait_for("h1 to answer", lambda: walk.attempt("logs", node), 60)


def restart_amid_a_build(walk, _):
    armed = walk.armed.pop("h1", None)
    if armed:
        walk.daemons["h1"].arm_next(armed)
    walk.arm(h1="agent.build.root.after=crash")
    walk.insist("scale", "cold", "2", "--key", "deploy")
    wait_ready(walk, "cold", 2)
    walk.insist("scale", "cold", "1", "--key", "deploy")
    wait_ready(walk, "cold", 1)


def restart_of_the_supervisor(walk, before):
    cut(walk, ready(walk, "web")[0]["id"], before)
    walk.rest()
    walk.restart("supervisor")


def in_h2(walk, *words, environment=None):
    host = next(h for h in walk.fleet.status["hosts"] if h["name"] == "h2")
    return subprocess.run(
        ["nsenter", f"--net=/run/netns/{host['netns']}",
         str(walk.fleet.build / "agent/main/dnode-agent"), "--config", host["config"], *words],
        capture_output=True, text=True, timeout=60, check=False,
        env=dict(os.environ, **(environment or {})))


def join(walk, _):
    """A host that is known enrols again, with the key that it has."""
    h2 = walk.daemons["h2"]
    (h2.state_dir / "agent.key").rename(h2.state_dir / "enrol.key")
    h2.kill()
    walk.arm_one("supervisor")
    spec = walk.enrol

    def enrolled():
        nonlocal spec
        told = walk.attempt("host", "token", "h2", "--json")
        if not told:
            return False
        token = json.loads(told.stdout)["token"]
        done = in_h2(walk, "enrol", token, environment={"DNODE_FAILPOINTS": spec})
        walk.enrol_said += done.stderr
        spec = ""
        return done.returncode == 0 or (h2.state_dir / "agent.key").exists()
    wait_for("h2 to be enrolled", enrolled, 60)
    walk.fleet.wait_hosts()


join.enrols = ("agent.enrol.journal.before", "agent.enrol.name.before", "agent.enrol.trust.before",
               "agent.enrol.supervisor.before", "agent.enrol.key.before", "agent.enrol.key.after",
               "key.file.write.before", "key.file.write.after", "key.file.sync.before")


def first_start_of_a_host(walk, _):
    """Nothing is pinned, no control group is there, no supervisor has welcomed it."""
    h2 = walk.daemons["h2"]
    pid = h2.pid()
    monitor = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGKILL)
        done = in_h2(walk, "cleanup", "--force")
        assert done.returncode == 0, done.stderr
        (h2.state_dir / "network.json").unlink()
        h2.run_dir.mkdir(exist_ok=True, mode=0o711)
        if walk.armed.get("h2"):
            h2.arm_next(walk.armed["h2"])
    finally:
        os.kill(monitor, signal.SIGCONT)
    wait_for("another h2", lambda: h2.pid() not in (None, pid))
    walk.fleet.wait_hosts()


# In this order: a point is walked by the first that reaches it.
SCENARIOS = [
    logs, audit, scale, a_node_that_ends, quarantine, drill, drill_onto_a_created_standby, drill_without_a_standby, destroy,
    isolation, roll, place_and_remove, restart_of_the_agent, restart_of_the_supervisor, start_by_the_runtime,
    drill_whose_replay_is_refused, drill_whose_cut_cannot_be_verified, restart_amid_a_build,
    new_image, join, first_start_of_a_host,
]
