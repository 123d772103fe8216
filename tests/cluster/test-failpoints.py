#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The failpoint walk: every point of both daemons crashes, fails and waits; nothing is broken by it.

    test-failpoints.py BUILD [all | K/N | FROM.. | POINT...]

First every scenario is driven once with all hits counted, which tells what scenario reaches what
point, and that none is out of reach. Then one scenario is driven for each point and action, and
the fleet is judged (tests/faults/invariants.py). Without more words it walks the share K/N of the
runs whose turn it is today, and with DNODE_FAILPOINT_SHARE=all every one. FROM.. goes on with a
walk of all that was interrupted after so many runs.
"""
import contextlib
import datetime
import json
import os
import pathlib
import sys
import time
import traceback

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "faults"))

import invariants  # noqa: E402
from failpoints import Daemon  # noqa: E402
from fleet import Failed, Fleet, wait_for  # noqa: E402
from scenarios import BASE, SCENARIOS  # noqa: E402

# h2 enrols again with a key that it has used, as only a test can, and so has two journals of it.
ALL_JOURNALS = invariants.journals
invariants.journals = lambda fleet: [j for j in ALL_JOURNALS(fleet) if j.parent.name != "h2"]

SHARES = 20
OTHERS = 3  # scenarios that are tried for a point that its own did not reach
AGAIN = (1, 4, 5, 6)  # exit codes of what may be different in a moment
AWAY = 5  # nobody answers
ACTIONS = {"crash": "crash", "error": "error", "delay": "delay:100"}
JOURNALS_EVERY = 10


class Patient(Fleet):
    """Looked at by somebody who asks again while the supervisor is being started again."""

    def ask(self, *args, timeout=60):
        def answered():
            done = self.run(*args, "--json", check=False, timeout=timeout)
            return done if done.returncode != AWAY else None
        done = wait_for(f"an answer to dnode {' '.join(map(str, args))}", answered, 30, every=0.2)
        if done.returncode != 0:
            raise Failed(f"dnode {' '.join(map(str, args))}: exit {done.returncode}: "
                         f"{done.stderr.strip()}")
        return json.loads(done.stdout)


class Walk:
    """A fleet, what is armed in it, and how a run is judged."""

    def __init__(self, build):
        self.build = build
        self.stack = contextlib.ExitStack()
        self.armed = {}      # daemon → specification, to be armed by the scenario
        self.enrol = ""      # the same for `dnode-agent enrol`
        self.enrol_said = ""
        self.journals = 0
        self.renew()

    def renew(self):
        """A new fleet: of one host that carries everything, and one that only comes and goes."""
        self.stack.close()
        self.fleet = self.stack.enter_context(Patient(self.build, hosts=2))
        self.daemons = {n: Daemon(self.fleet, n) for n in ("supervisor", "h1", "h2")}
        self.offsets = {}
        self.fleet.run("host", "cordon", "h2")
        for service in BASE:
            self.fleet.apply(**service)
        self.rest()

    # ---- what scenarios use ----

    def arm(self, **extra):
        """Here the point under test is armed; @extra are specifications that lead to it."""
        for name, daemon in self.daemons.items():
            spec = ",".join(filter(None, [extra.get(name), self.armed.get(name)]))
            if spec:
                daemon.arm(spec)

    def arm_one(self, name):
        if self.armed.get(name):
            self.daemons[name].arm(self.armed[name])

    def restart(self, name):
        """Kill a daemon; what is armed for it holds for the next one."""
        for other in set(self.daemons) - {name}:
            self.arm_one(other)
        if self.armed.get(name):
            self.daemons[name].arm_next(self.armed[name])
        self.daemons[name].kill()

    def insist(self, *args, seconds=60):
        """As a person would: again until it is done."""
        return wait_for(f"dnode {' '.join(args)}", lambda: self.attempt(*args), seconds, every=0.2)

    def attempt(self, *args):
        """What the command said, or None when it is to be tried again."""
        done = self.fleet.run(*args, check=False, timeout=90)
        if done.returncode not in (0, *AGAIN):
            raise Failed(f"dnode {' '.join(args)}: exit {done.returncode}: {done.stderr.strip()}")
        return done if done.returncode == 0 else None

    def destroy(self, incident):
        """One whose answer was lost may have been destroyed."""
        def done():
            try:
                return self.attempt("incident", "destroy", incident, "--key", "responder",
                                    "--reason", "walk") or any(
                    i["id"] == incident and i["state"] == "destroyed"
                    for i in self.fleet.incidents())
            except Failed:  # nobody answers just now
                return False
        wait_for(f"{incident} to be destroyed", done, 60, every=0.2)

    def rest(self, seconds=90):
        fleet = self.fleet
        wait_for("the supervisor to answer", lambda: fleet.run(
            "services", check=False).returncode == 0, seconds)
        fleet.wait_hosts()
        wait_for("the fleet to settle", lambda: self.settled(), seconds)

    def settled(self):
        wanted = {s["service"]: s["standby"] for s in BASE}
        services = self.fleet.ask("services")["services"]
        return all(s["rolling"] is None and s["ready"] >= s["replicas"] and
                   s["standby"] >= wanted.get(s["name"], 0) for s in services) and all(
            n["state"] in (*invariants.AT_REST, "created") for n in self.fleet.nodes())

    def tidy(self):
        """Destroy what was cut."""
        for node in self.fleet.nodes(state="quarantined"):
            if node["incident"]:
                self.destroy(node["incident"])
        wait_for("no node to be cut", lambda: not self.fleet.nodes(state="quarantined"))

    # ---- what the daemons said ----

    def log(self, name):
        return pathlib.Path(self.fleet.status["logs"]) / f"{name}.log"

    def mark(self):
        for name in self.daemons:
            self.offsets[name] = self.log(name).stat().st_size
        self.enrol_said = ""

    def said(self, name):
        if name == "enrol":
            return self.enrol_said
        with self.log(name).open("rb") as file:
            file.seek(self.offsets[name])
            return file.read().decode(errors="replace")

    def disarm(self):
        self.armed, self.enrol = {}, ""
        for daemon in self.daemons.values():
            (daemon.run_dir / "failpoints").unlink(missing_ok=True)
            daemon.arm("off")

    # ---- judging ----

    def judge(self, before):
        fleet = self.fleet
        self.rest()
        invariants.manifests_are_kept(fleet, before)
        wait_for("what was told to arrive",
                 lambda: invariants.all_are_there(fleet, before), 10)
        invariants.incidents_are_kept(fleet, before)
        invariants.events_are_kept(fleet, before)
        invariants.nodes_run_signed_programs(fleet)
        invariants.cut_nodes_are_cut(fleet)
        invariants.nothing_is_left_behind(fleet)
        wait_for("spare links to be few", lambda: not self.links_left())
        invariants.one_incident_an_event(fleet)
        invariants.services_answer(fleet)
        self.journals += 1
        if self.journals % JOURNALS_EVERY == 0:
            invariants.journals_are_whole(fleet, before)

    def links_left(self):
        """Links of nodes that are not there; two are kept ahead of need."""
        found = []
        for host in ("h1", "h2"):
            told = invariants.in_host(self.fleet, host, "ip", "-o", "link").stdout
            links = [line for line in told.splitlines() if line.split()[1].startswith("dn")]
            nodes = [n for n in self.fleet.nodes(host=host)]
            if not len(nodes) <= len(links) <= len(nodes) + 2:
                found.append((host, len(links), len(nodes)))
        return found

    def drive(self, scenario, daemon, spec):
        """One run; what is broken is raised."""
        self.mark()
        before = invariants.acknowledged(self.fleet)
        if daemon == "enrol":
            self.enrol = spec
        else:
            self.armed = {daemon: spec}
        scenario(self, before)
        # What the scenario began reaches its points only now; a point may also keep it from rest.
        try:
            self.rest(30)
        except Failed:
            pass
        self.disarm()
        self.judge(before)


# ---- which scenario reaches what ----

def discover(walk):
    """(daemon, point) → the scenarios that reach it, and every point there is."""
    reach, known, can_fail = {}, set(), {}
    for scenario in SCENARIOS:
        began = time.monotonic()
        walk.mark()
        before = invariants.acknowledged(walk.fleet)
        base = {}
        for name, daemon in walk.daemons.items():
            points = daemon.points()
            base[name] = (daemon.lives(), {p: v["hits"] for p, v in points.items()})
            can_fail.update({p: v["can_fail"] for p, v in points.items()})
            known |= {(name, p) for p in points}
        walk.armed = dict.fromkeys(walk.daemons, "count")
        scenario(walk, before)
        walk.rest()
        for name, daemon in walk.daemons.items():
            lives, hits = base[name]
            again = daemon.lives() > lives
            for point, now in daemon.points().items():
                if now["hits"] > (0 if again else hits[point]):
                    reach.setdefault((name, point), []).append(scenario)
        for point in scenario.enrols if hasattr(scenario, "enrols") else ():
            reach.setdefault(("enrol", point), []).append(scenario)
        walk.disarm()
        walk.judge(before)
        walk.tidy()
        print(f"# {scenario.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    return reach, known, can_fail


def plan(reach, can_fail):
    """Every run as (scenario, daemon, points, action); a host stands for all hosts.

    Delays change nothing that comes after them, so those of a scenario are made in one run.
    """
    runs, delays = [], {}
    for (daemon, point), (scenario, *_) in sorted(reach.items(), key=lambda r: r[0]):
        if daemon == "h2" and ("h1", point) in reach:
            continue
        if daemon == "enrol" and any((h, point) in reach for h in ("h1", "h2")):
            continue
        runs.append((scenario, daemon, (point,), "crash"))
        if can_fail[point]:
            runs.append((scenario, daemon, (point,), "error"))
        delays.setdefault((scenario, daemon), []).append(point)
    return runs + [(scenario, daemon, tuple(points), "delay")
                   for (scenario, daemon), points in delays.items()]


def share_of(runs, words):
    chosen = words[0] if words else os.environ.get("DNODE_FAILPOINT_SHARE", "")
    if chosen == "all":
        return runs
    if chosen.endswith(".."):
        return runs[int(chosen[:-2]):]
    if words and "/" not in chosen:
        return [r for r in runs if {w.partition("=")[0] for w in words} & set(r[2]) and
                any(w.partition("=")[2] in ("", r[3]) for w in words)]
    number, _, of = (chosen or f"{datetime.date.today().toordinal() % SHARES}/{SHARES}"
                     ).partition("/")
    return [r for i, r in enumerate(runs) if i % int(of) == int(number) % int(of)]


# ---- the walk ----

def missed_by(walk, scenario, daemon, points, action):
    """Drive it; the points that it has not reached."""
    walk.drive(scenario, daemon, ",".join(f"{p}={ACTIONS[action]}" for p in points))
    said = walk.said(daemon)
    return [p for p in points if f"failpoint {p}: {action}" not in said]


def walk_one(walk, run, reach):
    """None, or what is broken."""
    scenario, daemon, points, action = run
    try:
        # While points were counted a scenario may have met one by chance: then others try.
        for point in missed_by(walk, scenario, daemon, points, action):
            walk.tidy()
            if all(missed_by(walk, other, daemon, (point,), action)
                   for other in reach[daemon, point][1:OTHERS + 1]):
                return f"not reached: {point}"
        walk.tidy()
        return None
    except Exception:  # noqa: BLE001 - whatever it is, it is broken
        return traceback.format_exc()


def name_of(run):
    scenario, daemon, points, action = run
    what = points[0] if len(points) == 1 else f"{points[0]} and {len(points) - 1} more"
    return f"{daemon}: {what}={action} by {scenario.__name__}"


def tell(walk, run, broken):
    print(f"# {name_of(run)}: BROKEN", flush=True)
    for line in broken.splitlines():
        print(f"#   {line}")
    walk.fleet.tell_logs()


def report(number, good, what):
    print(f"{'ok' if good else 'not ok'} {number} - {what}", flush=True)


def main():
    walk = Walk(sys.argv[1])
    with walk.stack:
        print("1..2", flush=True)
        reach, known, can_fail = discover(walk)
        missed = sorted({p for d, p in known} - {p for _, p in reach})
        for point in missed:
            print(f"# no scenario reaches {point}")
        report(1, not missed, "every point is reached by a scenario")
        every = plan(reach, can_fail)
        runs, broken = share_of(every, sys.argv[2:]), []
        began = time.monotonic()
        for run in runs:
            at = time.monotonic()
            said = walk_one(walk, run, reach)
            if said:
                broken.append(run)
                tell(walk, run, said)
                walk.renew()
            elif os.environ.get("DNODE_FAILPOINT_TELL"):
                print(f"# {name_of(run)}: {time.monotonic() - at:.1f} s", flush=True)
        print(f"# {len({p for r in every for p in r[2]})} points, {len(runs)} of {len(every)} runs in "
              f"{time.monotonic() - began:.0f} s, {len(broken)} broken invariants", flush=True)
        report(2, not broken and runs, "nothing is broken by a crash, an error or a delay anywhere")
        return 1 if missed or broken else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        sys.exit(f"Bail out! {failure}")
