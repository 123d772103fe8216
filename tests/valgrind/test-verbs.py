#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every verb of the command under valgrind: no bad access, nothing lost.

    test-verbs.py BUILD          those that ask nobody
    test-verbs.py BUILD --lab    those that ask a fleet, of one host, as root
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cluster"))
from fleet import MANIFEST, Fleet, wait_for  # noqa: E402
from tap import run  # noqa: E402

FOUND = 99
VALGRIND = ["valgrind", "--quiet", "--leak-check=full", "--show-leak-kinds=definite,indirect",
            "--errors-for-leak-kinds=definite", f"--error-exitcode={FOUND}", "--num-callers=30",
            f"--suppressions={HERE / 'valgrind.supp'}"]
BAD_INPUT, UNTRUSTED, UNAVAILABLE = 2, 3, 5


class Desk:
    """A home, keys and files, and the command under valgrind."""

    def __init__(self, build, environment=None):
        self.build = pathlib.Path(build).resolve()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="dnode-valgrind-"))
        self.home = self.dir / "home"
        self.environment = environment or dict(
            os.environ, DNODE_HOME=str(self.home),
            DNODE_SUPERVISOR=f"unix:{self.dir}/nobody.sock")
        # GLib's caches look like losses, and are the same in every program.
        self.environment |= {"G_SLICE": "always-malloc", "G_DEBUG": "gc-friendly"}

    def call(self, *words, status=0):
        """Run one verb, which must end with `status`; what it printed."""
        done = subprocess.run([*VALGRIND, str(self.build / "cli/main/dnode"), *map(str, words)],
                              capture_output=True, text=True, env=self.environment, timeout=120,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == status, (words, done.returncode, done.stderr)
        return done.stdout

    def write(self, name, text):
        (self.dir / name).write_text(text)
        return self.dir / name


def manifest(commit):
    return MANIFEST.format(service="web", epoch=1, commit=commit, ref="apps/hello", version="1",
                           replicas=1, standby=0, started="false", respawn=9, within="10m",
                           drain="1s", health="/healthz", cpu=1, past="hold")


# ---- verbs that ask nobody ----

def help_and_version_lose_nothing(desk):
    for words in (["--help"], ["--version"], ["image", "--help"]):
        desk.call(*words)


def a_cluster_and_keys_are_made_and_shown(desk):
    desk.call("cluster", "init", "--dir", desk.home, "--advertise", "192.0.2.1:7443")
    for role in ("release", "deploy", "responder"):
        desk.call("key", "gen", role, "--role", role)
    desk.call("key", "show", "deploy")
    desk.call("key", "gen", "deploy", "--role", "deploy", status=4)
    for words in (["trust", "show", "--json"], ["trust", "check"]):
        desk.call(*words)


def manifests_are_judged_signed_and_shown(desk):
    good = desk.write("web.yaml", manifest("ab" * 32))
    bad = desk.write("bad.yaml", manifest("x") + "replica: 3\nnodes: {a: [}\n")
    desk.call("manifest", "check", good)
    desk.call("manifest", "check", good, bad, status=BAD_INPUT)
    desk.call("apply", good, status=UNTRUSTED)
    desk.call("manifest", "sign", good, "--key", "deploy")
    desk.call("manifest", "show", good)


def a_supervisor_that_is_not_there_costs_nothing(desk):
    for words in (["services"], ["events"], ["apply", desk.dir / "web.yaml"]):
        desk.call(*words, status=UNAVAILABLE)


def bad_words_are_refused_and_lose_nothing(desk):
    for words in (["nothing"], ["apply"], ["scale", "web", "many", "--key", "deploy"]):
        desk.call(*words, status=BAD_INPUT)


OFFLINE = [
    help_and_version_lose_nothing,
    a_cluster_and_keys_are_made_and_shown,
    manifests_are_judged_signed_and_shown,
    a_supervisor_that_is_not_there_costs_nothing,
    bad_words_are_refused_and_lose_nothing,
]


# ---- verbs that ask a fleet ----

def an_image_is_sent_again_and_a_manifest_applied(desk):
    # Not built under valgrind: it knows no openat2().
    file = desk.write("web.yaml", manifest(desk.fleet.hello()))
    desk.call("image", "push", desk.fleet.hello())
    desk.call("apply", file, "--key", "deploy", "--plan")
    desk.call("apply", file, "--key", "deploy", "--wait")


def everything_that_is_read_can_be_read(desk):
    node = desk.fleet.nodes("web", state="ready")[0]["id"]
    for words in (["services"], ["nodes"], ["nodes", "web"], ["hosts"], ["events"],
                  ["image", "ls"], ["manifest", "show", "web"], ["roll", "status", "web"],
                  ["journal", "show", "-n", "5"], ["lab", "status", "--name", desk.fleet.name]):
        desk.call(*words)
        desk.call(*words, "--json")
    desk.call("logs", node)
    desk.call("audit", node)
    desk.call("audit", node, "--json")
    desk.call("--agent", desk.fleet.status["hosts"][0]["socket"], "nodes")


def a_node_is_drilled_quarantined_and_destroyed(desk):
    desk.call("drill", "exec", "web")
    desk.fleet.wait_ready(ready=1)
    node = desk.fleet.nodes("web", state="ready")[0]["id"]
    desk.call("quarantine", node, "--reason", "valgrind")
    desk.call("incidents")
    for incident in desk.fleet.incidents():
        desk.call("incident", "show", incident["id"])
        desk.call("incident", "destroy", incident["id"], "--key", "responder", "--reason", "done")
    desk.fleet.wait_ready(ready=1)


def a_service_is_scaled_rolled_and_removed(desk):
    desk.call("scale", "web", "2", "--key", "deploy", "--wait")
    desk.call("roll", "web", "--image", desk.fleet.hello("image-2.yaml"), "--key", "deploy",
              "--wait")
    desk.call("remove", "web", "--key", "deploy")
    wait_for("no node", lambda: not desk.fleet.nodes("web"))


def hosts_are_cordoned_and_tokens_made(desk):
    desk.call("host", "cordon", "h1")
    desk.call("host", "uncordon", "h1")
    desk.call("host", "token", "h9")
    desk.call("host", "cordon", "none", status=BAD_INPUT)


LAB = [
    an_image_is_sent_again_and_a_manifest_applied,
    everything_that_is_read_can_be_read,
    a_node_is_drilled_quarantined_and_destroyed,
    a_service_is_scaled_rolled_and_removed,
    hosts_are_cordoned_and_tokens_made,
]


def main():
    if "--lab" not in sys.argv:
        desk = Desk(sys.argv[1])
        try:
            return run(desk, OFFLINE)
        finally:
            shutil.rmtree(desk.dir)
    with Fleet(sys.argv[1], hosts=1) as fleet:
        desk = Desk(sys.argv[1], fleet.environment())
        desk.fleet = fleet
        try:
            return run(desk, LAB)
        finally:
            shutil.rmtree(desk.dir)


if __name__ == "__main__":
    sys.exit(main())
