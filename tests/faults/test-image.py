#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Images on their way to a host: cut off, without room, damaged where they come from; under load.

Faults 8, 11, 12 and 16 of docs/faults.md. A round is a roll to an image that the host has never
had. The old nodes serve all the time, no node of the new image runs before all of it is there, and
the roll ends well once it can.
"""
import contextlib
import errno
import pathlib
import shutil
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
# pylint: disable=wrong-import-position
import invariants
from alone import rounds, timed
from fleet import wait_for
from host import REPLICAS, lose_what_was_not_synced, main
from shim import Fail, Full

BUSY, RATE = 4, 200
GARBAGE_MIB = 64
MANIFEST = {"replicas": REPLICAS, "standby": 1, "respawn": 1000, "drain": "1s"}


def objects(folder):
    return {f.relative_to(folder) for f in pathlib.Path(folder).glob("objects/*/*")}


def new_image(fleet, number):
    """(commit, objects that only it has at the supervisor's); pushed, and on no host."""
    repo = pathlib.Path(f"/var/lib/{fleet.name}/supervisor/repo")
    before = objects(repo)
    recipe = fleet.scratch / f"image-{number}"
    shutil.copytree(fleet.build / "images/hello", recipe, ignore=shutil.ignore_patterns("*.p"))
    (recipe / "words").write_text(f"{number}\n" * 2000)
    text = (recipe / "image.yaml").read_text()
    more = "files:\n  - {source: words, path: /etc/words, mode: \"0644\"}"
    (recipe / "image.yaml").write_text(text.replace("files:", more, 1))
    commit = fleet.image(recipe / "image.yaml")
    return commit, [repo / name for name in objects(repo) - before]


def fsck(repo):
    done = subprocess.run(["ostree", "fsck", f"--repo={repo}", "--quiet"], capture_output=True,
                          text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{repo}: {done.stdout} {done.stderr}"


def running(fleet, epoch):
    return [n for n in fleet.mine() if n["epoch"] == epoch and n["state"] in (
        "starting", "standby", "ready", "draining")]


class Roll:
    """The next epoch of `web`, of an image that is new to the host."""

    def __init__(self, fleet):
        fleet.settled()
        self.fleet, self.epoch = fleet, fleet.service()["epoch"] + 1
        self.commit, self.objects = new_image(fleet, self.epoch)

    def begin(self):
        file = self.fleet.manifest(epoch=self.epoch, commit=self.commit, **MANIFEST)
        self.fleet.run("apply", file, "--key", "deploy")

    def said(self, *kinds):
        return [e for e in self.fleet.ask("events", "-n", "1000")["events"]
                if e["kind"] in kinds and e["service"] == "web" and e["id"] > self.since]

    def mark(self):
        events = self.fleet.ask("events", "-n", "1")["events"]
        self.since = events[-1]["id"] if events else 0

    def ends(self):
        """Well; one that was given up meanwhile is asked for again, as a person would."""
        service = self.fleet.service()
        if service["rolling"] and service["rolling"]["error"]:
            self.epoch += 1
            self.begin()
        self.fleet.wait_ready(ready=REPLICAS, standby=1, epoch=self.epoch, seconds=120)
        fsck(self.fleet.state / "repo")


@contextlib.contextmanager
def under_load(fleet, rolls):
    """Yields what was promised before; no request may fail but in the moment a node leaves."""
    before = invariants.acknowledged(fleet)
    with fleet.load(fleet.service()["vip"], busy=BUSY, idle=2, rate=RATE) as load:
        yield before
    print(f"# {load.summary}")
    assert load.summary["answers"] > 20 * rolls, f"too little load to count: {load.summary}"
    assert load.summary["failed"] == 0, load.summary
    invariants.check(fleet, before)


@timed("fault 8, pull")
def a_pull_survives_the_loss_of_what_was_not_synced_at_any_moment(fleet):
    times = rounds(20)
    with under_load(fleet, times) as before:
        for _ in range(times):
            roll = Roll(fleet)
            where = lose_what_was_not_synced(fleet, fleet.chance.randrange(120), roll.begin,
                                             skip=("logs",))
            roll.ends()
            before.manifests["web"] = (roll.epoch, fleet.service()["digest"])
            print(f"# died at {where}")


def a_pull_without_room(fleet, policy):
    roll = Roll(fleet)
    roll.mark()
    with fleet.shim.armed(fleet.state, policy) as fault:
        roll.begin()
        wait_for("a pull that fails", lambda: fault.hits and roll.said("node.failed"), 30)
        assert not running(fleet, roll.epoch), "a node runs of an image that is not all there"
        invariants.services_answer(fleet)
        assert not list((fleet.state / "staging").glob("*")), "what had no room is still there"
    roll.ends()


@timed("faults 11 and 12, pull")
def a_pull_that_finds_no_room_starts_no_node_and_goes_on_when_there_is(fleet):
    times = -(-rounds(20) // 3)  # three ways each
    with under_load(fleet, times * 3):
        for number in range(times):
            a_pull_without_room(fleet, Full(errno.ENOSPC, "/(repo|staging|checkouts)"))
            a_pull_without_room(fleet, Fail(("write",), errno.ENOSPC, "/repo/",
                                            skip=fleet.chance.randrange(6)))
            a_pull_without_room(fleet, Full(errno.EDQUOT, "/(repo|staging|checkouts)/",
                                            ops=("open", "link", "mkdir"), skip=number))


# ---- fault 16: what the supervisor serves is not what was signed ----

def flip(file, _):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def cut_short(file, _):
    file.write_bytes(file.read_bytes()[:-8])


def lose(file, _):
    file.unlink()


def swap(file, others):
    other = next(o for o in others if o.suffix == file.suffix and o != file)
    file.write_bytes(other.read_bytes())


def stretch(file, _):
    file.write_bytes(b"\0" * (GARBAGE_MIB << 20) + file.read_bytes())


def damage_one(fleet, how, suffix):
    roll = Roll(fleet)
    repo = roll.objects[0].parents[2]
    file = next(f for f in roll.objects if f.suffix == suffix)
    good = file.read_bytes()
    others = [f for f in repo.glob(f"objects/*/*{suffix}") if f != file]
    how(file, others)
    roll.mark()
    roll.begin()
    told = wait_for("people to hear", lambda: roll.said("image.refused", "node.failed"), 60)
    assert not running(fleet, roll.epoch), f"{how.__name__}: a node of it runs"
    invariants.services_answer(fleet)
    print(f"# {how.__name__} of a {suffix}: {told[0]['kind']}: {told[0]['text'][:150]}")
    file.write_bytes(good)
    roll.ends()


@timed("fault 16")
def an_object_that_is_not_what_was_signed_starts_no_node_whatever_became_of_it(fleet):
    cases = [(flip, ".filez"), (lose, ".filez"), (swap, ".filez"), (stretch, ".filez"),
             (cut_short, ".filez"), (flip, ".dirtree"), (lose, ".dirtree"), (flip, ".commit"),
             (lose, ".commit")]
    times = max(1, rounds(20) // 20)
    with under_load(fleet, len(cases) * times):
        for _ in range(times):
            for how, suffix in cases:
                damage_one(fleet, how, suffix)


@timed("fault 16, garbage")
def garbage_behind_an_object_is_not_kept(fleet):
    """What comes after the end of what is compressed is no part of the object."""
    with under_load(fleet, 1):
        roll = Roll(fleet)
        file = next(f for f in roll.objects if f.suffix == ".filez")
        with file.open("ab") as end:
            end.write(b"\0" * (GARBAGE_MIB << 20))
        roll.begin()
        roll.ends()
        repo = fleet.state / "repo"
        kept = sum(f.stat().st_size for f in repo.rglob("*") if f.is_file())
        assert kept < GARBAGE_MIB << 20, f"{kept} bytes"


if __name__ == "__main__":
    main([
        a_pull_survives_the_loss_of_what_was_not_synced_at_any_moment,
        a_pull_that_finds_no_room_starts_no_node_and_goes_on_when_there_is,
        an_object_that_is_not_what_was_signed_starts_no_node_whatever_became_of_it,
        garbage_behind_an_object_is_not_kept,
    ])
