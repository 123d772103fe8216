# SPDX-License-Identifier: Apache-2.0
"""The service of drifter.c, which drifts when it is asked to."""
import shutil

from fleet import wait_for

# What a process can try from inside a node.
CLASSES = ("exec", "exec-memory", "text", "library", "mount", "ptrace", "bpf", "module",
           "namespace", "shell", "write-exec", "uid")
WAYS = ("self", "child")
# Every class is answered as proof is, so that each drift is timed to its replacement.
MORE = "drift: {shell: quarantine, write-exec: quarantine, uid: quarantine}\n"


def image(fleet):
    """The commit of the service's image: the program, and itself again as an undeclared shell."""
    folder = fleet.scratch / "drifter"
    if not folder.exists():
        folder.mkdir()
        shutil.copy(fleet.build / "tests/cluster/drifter", folder)
        # One byte more: the same bytes would be one file of the image under two names.
        (folder / "sh").write_bytes((folder / "drifter").read_bytes() + b"\n")
        (folder / "image.yaml").write_text(
            "dnode: image/v1\nref: apps/drifter\nfiles:\n"
            '  - {source: drifter, path: /bin/drifter, mode: "0755"}\n'
            '  - {source: sh, path: /bin/sh, mode: "0755"}\n'
            "run: {args: [/bin/drifter], user: 1000}\nports: [8080]\n")
    return fleet.image(folder)


def apply(fleet, service="drifter", replicas=2, standby=1, **more):
    file = fleet.manifest(service=service, commit=image(fleet), ref="apps/drifter",
                          replicas=replicas, standby=standby, respawn=1000, within="1s",
                          more=MORE, **more)
    fleet.run("apply", file, "--key", "deploy")
    return fleet.wait_ready(service, ready=replicas, standby=standby)


def drift(fleet, vip, name, way, known, seconds=15):
    """Ask for one drift; its incident once its replacement serves, or None: it was missed.

    known: ids of all incidents before, to which this one's is added.
    """
    fleet.get(f"http://{vip}/drift?class={name}&way={way}", check=False)

    def seen():
        return next((i for i in fleet.incidents() if i["id"] not in known
                     and "replacement_ready" in i["stages"] and "durable" in i["stages"]), None)
    try:
        incident = wait_for("an incident", seen, seconds)
    except Exception:  # noqa: BLE001: whatever it was, there is none
        return None
    known.add(incident["id"])
    return incident


# What the sensor has found when a drift came to nothing.
DENIED = ("(system call ", "was refused to ", "it was killed before its first instruction",
          "it was stopped, being the node's first process")


def is_denied(fleet, incident):
    """Positive evidence: somebody saw it refused or held, and nobody saw an effect."""
    seen = effect(fleet, incident)
    return seen == "refused" or (
        seen is None and any(sign in incident["detail"] for sign in DENIED))


def effect(fleet, incident):
    """What the service itself has seen of its drift: "effect", "refused", or None: nothing."""
    lines = fleet.run("logs", incident["node"]).stdout.split("\n")
    for what in ("effect", "refused"):
        if any(what + " " in line for line in lines):
            return what
    return None
