#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A fleet under load for many minutes, to which everything happens that happens to fleets.

Exits with 0 when what the fleet holds at rest is in the last third of the run what it was in the
first, no request failed but those in flight on a node that was cut, no daemon ended that was not
ended here, and no incident was opened that nobody asked for. Prints the seed: the same seed deals
the same acts.
"""
import argparse
import collections
import contextlib
import json
import pathlib
import random
import re
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "cluster"), str(HERE.parent.parent / "bench")]
import acts  # noqa: E402
from fleet import Failed, Fleet, wait_for  # noqa: E402
from gauges import Gauges  # noqa: E402
from judge import judge, print_table, rule_of  # noqa: E402
from witness import Witness  # noqa: E402

HOSTS = 3
# At most so many seconds between two looks at the figures, which cost some seconds themselves.
LOOK_S = 40
SETTLE_S = 20
# What a daemon must never write into its log, whoever built it.
TROUBLE = re.compile(r"CRITICAL|Sanitizer|runtime error:|assertion")


class Service:
    """What is declared at this moment."""

    def __init__(self, name, replicas, standby):
        self.name, self.replicas, self.standby = name, replicas, standby
        self.epoch = self.image = 0


class Soak:
    """One run: a fleet, its services and clients, and what was seen of them."""

    def __init__(self, fleet, seed):
        self.fleet = fleet
        self.chance = random.Random(seed)
        self.deck = acts.Deck(self.chance)
        prefix = fleet.name
        self.web = Service(f"{prefix}-web", 3, 1)    # is drilled, rolled, scaled
        self.side = Service(f"{prefix}-side", 2, 0)  # is removed and declared again
        self.calm = Service(f"{prefix}-calm", 2, 0)  # nothing is done to it, so nothing may fail
        self.gauges = Gauges(fleet, prefix + "-")
        self.witnesses = {s.name: Witness(s.name) for s in (self.web, self.calm)}
        self.loads = {}
        self.done = collections.Counter()
        self.restarts = collections.Counter()
        self.asked_for = set()
        self.samples = []
        self.began = time.monotonic()

    # ---- the fleet ----

    def declare(self, service):
        service.epoch += 1
        self.fleet.apply(service=service.name, epoch=service.epoch, replicas=service.replicas,
                         standby=service.standby, commit=self.images[service.image],
                         respawn=1000, drain="2s", within="2m", cpu=0.5)

    def is_at_rest(self):
        """True, or what is not yet as it was declared."""
        nodes = self.fleet.nodes()
        for row in self.fleet.ask("services")["services"]:
            service = next(s for s in (self.web, self.side, self.calm) if s.name == row["name"])
            mine = [n for n in nodes if n["service"] == service.name]
            ready = [n for n in mine if n["state"] == "ready" and n["epoch"] == service.epoch]
            standby = [n for n in mine if n["state"] == "standby"]
            carrying = {n["host"] for n in ready}
            others = [n for n in mine if n["state"] not in ("ready", "standby", "quarantined")]
            if (len(ready) != service.replicas or others or row["rolling"] is not None or
                    len(standby) != service.standby * len(carrying)):
                return False
        return True

    def rest(self):
        wait_for("the fleet to come to rest", self.is_at_rest, acts.REST_S)

    def note_cut(self, incident):
        self.asked_for.add(incident["id"])
        self.witnesses[incident["service"]].cut(incident["node"], incident["event_monotonic"])

    def destroy(self, incident):
        """Again while its host is not back or its node is busy; it may be gone already."""
        def gone():
            done = self.fleet.run("incident", "destroy", incident, "--key", "responder",
                                  "--reason", "soak", check=False)
            if done.returncode not in (0, acts.UNAVAILABLE):
                raise Failed(f"destroy {incident}: {done.stderr}")
            return done.returncode == 0
        wait_for(f"{incident} to be destroyed", gone)

    def expect_restart(self, daemon):
        self.restarts[daemon] += 1

    # ---- clients ----

    @contextlib.contextmanager
    def clients(self):
        with contextlib.ExitStack() as stack:
            for service, busy, idle, rate in ((self.web, 16, 8, 400), (self.calm, 8, 4, 200)):
                vip = self.fleet.service(service.name)["vip"]
                self.loads[service.name] = stack.enter_context(
                    self.fleet.load(vip, busy=busy, idle=idle, rate=rate))
            yield
        for name, load in self.loads.items():
            self.witnesses[name].summary = load.summary

    def hear(self):
        for name, load in self.loads.items():
            self.witnesses[name].hear(load.news())

    # ---- figures ----

    def look(self):
        """Let go of all evidence, then note what the fleet holds; wait for what is on its way."""
        for incident in self.fleet.incidents():
            if incident["state"] != "destroyed":
                self.destroy(incident["id"])
        wait_for("no quarantined node", lambda: not self.fleet.nodes(state="quarantined"))
        self.rest()
        self.spread()
        end = time.monotonic() + SETTLE_S
        while True:
            sample = self.gauges.take()
            if not self.samples or not self.differs(sample) or time.monotonic() > end:
                break
            time.sleep(2)
        sample.update(t=time.monotonic() - self.began, acts=sum(self.done.values()))
        self.samples.append(sample)
        self.hear()
        return self.differs(sample)

    def spread(self):
        """A host that was away has lost its node to another: a standby less, until a roll."""
        def is_spread():
            ready = self.fleet.nodes(self.web.name, state="ready")
            if len({n["host"] for n in ready}) == HOSTS:
                return True
            acts.roll(self)
            return False
        wait_for("a node on every host", is_spread, acts.REST_S)

    def settle(self):
        """The first figures: taken when two in a row are the same."""
        def same():
            before, self.samples = self.samples, []
            self.look()
            return before and not self.differs(before[0])
        wait_for("figures that stay the same", same, 60, every=3)

    def differs(self, sample):
        """What must be as in the first sample and is not: name -> (first, now)."""
        first = self.samples[0]["figures"]
        return {name: (first.get(name, 0), value) for name, value in sample["figures"].items()
                if value != first.get(name, 0) and
                rule_of(name)[1] == "equal"}

    def tell(self, text):
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    # ---- the run ----

    def warm_up(self):
        """Once everything, so that what is made once and kept is no leak."""
        for service in (self.web, self.side, self.calm):
            self.declare(service)
        self.rest()
        for act in (acts.drill, acts.roll, acts.reapply, acts.scale, acts.look_around,
                    acts.supervisor_is_restarted):
            act(self)
        for host in self.fleet.status["hosts"][1:]:
            acts.agent_is_restarted(self, host["name"])

    def go_on(self, seconds):
        """Acts until the time is over, with a look at the figures now and then."""
        begin = looked = time.monotonic()
        while (now := time.monotonic() - begin) < seconds:
            act = self.deck.draw(seconds / 3 <= now <= seconds * 2 / 3)
            self.tell(f"{act.__name__.replace('_', ' ')}: {act(self)}")
            self.done[act] += 1
            if time.monotonic() - looked > min(LOOK_S, seconds / 9):
                differs = self.look()
                self.tell(f"at rest: {differs or 'as in the beginning'}")
                looked = time.monotonic()

    def play(self, minutes):
        self.images = [self.fleet.hello(), self.fleet.hello("image-2.yaml")]
        self.warm_up()
        with self.clients():
            self.settle()
            self.tell("warm: now it counts")
            self.go_on(minutes * 60)
            self.look()

    # ---- the verdict ----

    def faults(self):
        """A line for everything that is not as it must be."""
        found = []
        for name, first, last, _, rule, kept in judge(self.samples):
            if not kept:
                found.append(f"{name}: {first:g} in the first third, {last:g} in the last "
                             f"(rule: {rule})")
        for witness in self.witnesses.values():
            _, astray = witness.judge()
            found += [f"{witness.service}: a request failed that no cut explains: {loss}"
                      for loss in astray[:5]]
        status = self.fleet.ask("lab", "status", "--name", self.fleet.name)
        for daemon in [*status["hosts"], dict(status["supervisor"], name="supervisor")]:
            more = daemon["restarts"] - self.restarts[daemon["name"]]
            if more:
                found.append(f"{daemon['name']} ended {more} times by itself")
        for incident in self.fleet.incidents():
            if incident["id"] not in self.asked_for:
                found.append(f"an incident that nobody made: {incident}")
        for log in sorted(pathlib.Path(self.fleet.status["logs"]).glob("*")):
            lines = [line for line in log.read_text(errors="replace").splitlines()
                     if TROUBLE.search(line)]
            found += [f"{log.name}: {line}" for line in lines[:3]]
        return found

    def report(self):
        print_table(judge(self.samples))
        for name, (was, now) in self.differs(self.samples[-1]).items():
            print(f"{name}: {was} at first, {now} in the end")
        first, last = (sum((collections.Counter(kinds) for kinds in s["kinds"].values()),
                           collections.Counter()) for s in (self.samples[0], self.samples[-1]))
        if first != last:
            print(f"more descriptors: {dict(last - first)}; fewer: {dict(first - last)}")
        counted = ", ".join(f"{n} {act.__name__.replace('_', ' ')}"
                            for act, n in sorted(self.done.items(), key=lambda a: -a[1]))
        share = min(n / times for act, times in acts.DAY.items() for n in [self.done[act]])
        print(f"{sum(self.done.values())} acts: {counted}\n"
              f"of every act at least {share:.2f} times as many as 24 h have")
        for witness in self.witnesses.values():
            explained, astray = witness.judge()
            print(f"{witness.service}: {witness.summary['requests']} requests, {len(astray)} failed "
                  f"unexplained; {len(witness.cuts)} nodes cut, in flight on them "
                  f"{dict(explained) or 'none'}; {witness.at_rest} connections ended at rest, "
                  f"{witness.slow} answers later than 200 ms, the slowest after "
                  f"{witness.summary['slowest_us'] / 1000:.0f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--json", help="write every sample here")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"soak of {args.minutes:g} min, seed {seed}", flush=True)
    with Fleet(args.build, hosts=HOSTS) as fleet:
        soak = Soak(fleet, seed)
        try:
            soak.play(args.minutes)
        except Failed as failure:
            fleet.tell_logs()
            sys.exit(f"soak: {failure}; again with --seed {seed}")
        finally:
            if args.json:
                pathlib.Path(args.json).write_text(json.dumps(soak.samples, indent=1))
        soak.report()
        faults = soak.faults()
        print("\n".join(faults) or "the fleet is as it was")
    if faults:
        sys.exit(f"soak: {len(faults)} faults; again with --seed {seed}")


if __name__ == "__main__":
    main()
