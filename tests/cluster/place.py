# SPDX-License-Identifier: Apache-2.0
"""Where a lab's hosts keep what belongs to a node, for tests that change it behind their back."""
import json
import os
import pathlib
import random
import subprocess

SEED = int(os.environ.get("DNODE_TEST_SEED", random.randrange(1 << 32)))
chance = random.Random(SEED)


def sh(*command, check=True):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False)
    assert not check or done.returncode == 0, (command, done.stderr)
    return done.stdout


class Place:
    """One node, any of a service that is ready, and where its host keeps what belongs to it."""

    def __init__(self, fleet, service="web", node=None):
        self.fleet = fleet
        self.node = node or chance.choice(fleet.nodes(service, state="ready", incident=None))
        self.host = self.node["host"]
        self.id = self.node["id"]
        self.run = pathlib.Path(f"/run/{fleet.name}/{self.host}")
        self.state = pathlib.Path(f"/var/lib/{fleet.name}/{self.host}")
        self.pins = pathlib.Path(f"/sys/fs/bpf/{fleet.name}-{self.host}")
        self.net = f"--net=/run/netns/{fleet.name}-{self.host}"
        self.root = self.run / "roots" / self.id

    def group(self):
        unified = pathlib.Path("/sys/fs/cgroup/unified")
        base = unified if unified.is_dir() else pathlib.Path("/sys/fs/cgroup")
        return next(base.glob(f"**/{self.fleet.name}/**/{self.id}"))

    def pid(self):
        return int((self.group() / "cgroup.procs").read_text().split()[0])

    def link(self):
        address = self.node["address"]
        for line in sh("nsenter", self.net, "ip", "-o", "route").splitlines():
            words = line.split()
            if words[0] == address:
                return words[words.index("dev") + 1]
        raise AssertionError(f"no route to {address}")

    def map_key(self, name, *match):
        """The first key of a map whose value or key begins as said, as words for bpftool."""
        for entry in json.loads(sh("bpftool", "-j", "map", "dump", "pinned", self.pins / name)):
            return entry["key"]
        raise AssertionError(f"{name} is empty")


def checkout(place):
    return place.state / "checkouts" / place.node["image"]["commit"]


def data(place):
    """A file of the image that nothing executes: what is executed the kernel lets nobody write."""
    return checkout(place) / "share/data"


def object_of(place, file):
    """What the repository has of a file of the checkout: the same inode."""
    inode = file.stat().st_ino
    return next(p for p in (place.state / "repo/objects").glob("??/*.file")
                if p.stat().st_ino == inode)


def events_after(fleet, last):
    return [e for e in fleet.ask("events")["events"] if e["id"] > last]


def last_event(fleet):
    return max((e["id"] for e in fleet.ask("events")["events"]), default=0)


RECIPE = """\
dnode: image/v1
ref: apps/hello
files:
  - {source: hello, path: /bin/hello, mode: "0755"}
  - {source: data, path: /share/data, mode: "0644"}
  - {source: data, path: /share/more, mode: "0600"}
run: {args: [/bin/hello, "8080"], env: {VERSION: "1"}, user: 1000}
"""


def image(fleet, text="as it was signed"):
    """A commit whose nodes have files that nothing executes; by another text, not one is shared."""
    recipe = fleet.scratch / f"image-{text.replace(' ', '-')}"
    recipe.mkdir(exist_ok=True)
    (recipe / "image.yaml").write_text(RECIPE)
    (recipe / "data").write_text(f"{text}\n" * 1000)
    program = (fleet.build / "images/hello/hello").read_bytes()
    (recipe / "hello").write_bytes(program + text.encode())
    return fleet.image(recipe / "image.yaml")
