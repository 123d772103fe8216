#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ordinary services do what ordinary services do, and nobody minds.

    benign.py BUILD               each behaviour once, as tests
    benign.py BUILD --minutes N   again and again for so long, under wrk; a summary in the end

Every behaviour is asked for from outside, through the VIP, and has to have worked: one that was
refused wrongly fails. No incident may be opened and nothing of drift be told, but for what `told`
lists below. One service of three nodes is under wrk all the time and may not fail one request.
"""
import argparse
import collections
import contextlib
import pathlib
import signal
import subprocess
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "cluster"), str(HERE.parent / "faults"),
                str(HERE.parent.parent / "bench")]
import acts  # noqa: E402
import services  # noqa: E402
import tap  # noqa: E402
from bent import Bent  # noqa: E402
from figures import read_wrk  # noqa: E402
from fleet import Failed, Fleet  # noqa: E402

HOSTS = 2
# (service, kind): drift that an ordinary service may cause and people shall hear of.
TOLD = {("deeds", "drift.write-exec"), ("deeds", "sensor.flood")}


class Wrk:
    """wrk in the clients' namespace until it is stopped; then `total` and `failed`."""

    def __init__(self, fleet, url, connections=8):
        net = f"--net=/run/netns/{fleet.status['client_netns']}"
        self.process = subprocess.Popen(
            ["nsenter", net, "wrk", "-t1", f"-c{connections}", "-d86400s", "--timeout", "5s", url],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.total = self.failed = 0
        self.said = ""

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.said, _ = self.process.communicate(timeout=30)
        self.total, self.failed, _ = read_wrk(self.said)
        return self


class Benign(Fleet):
    """The lab of the suite: bent clocks, the services, and what was told since they were there."""

    def __init__(self, build):
        super().__init__(build, HOSTS)
        self.names = [f"h{n + 1}" for n in range(HOSTS)]
        self.bent = Bent(build, self.scratch, ["dnode-supervisor"] + [
            f"dnode-agent-{name}" for name in self.names])
        self.extra, self.last, self.web_wrk = {}, 0, None
        self.all = services.ALL
        self.turn = threading.Event()
        self.turns = collections.Counter()

    def environment(self):
        return dict(super().environment(), **self.extra)

    def run(self, *args, **more):
        self.extra = self.bent.environment if args[:2] == ("lab", "up") else {}
        return super().run(*args, **more)

    def begin(self):
        self.apply(service="web", replicas=3, standby=1)
        for service in self.all:
            service.apply(self)
        for service in self.all:
            service.wait(self)
        self.wait_ready("web", ready=3)
        if acts.crowded().missing is None:
            acts.go_one_way(self, acts.crowded().vip)
        events = self.ask("events", "-n", "1")["events"]
        self.last = events[-1]["id"] if events else 0
        self.web_wrk = Wrk(self, f"http://{self.service('web')['vip']}/whoami")
        self.cleanup.callback(self.web_wrk.process.kill)
        walker = threading.Thread(target=self.walk)
        walker.start()
        self.cleanup.callback(walker.join)
        self.cleanup.callback(self.turn.set)

    def walk(self):
        """wrk on every other service too, one after another."""
        present = [s for s in self.all if s.missing is None]
        while not self.turn.is_set():
            for service in present:
                wrk = Wrk(self, f"http://{service.vip}{service.load}", 16)
                self.turn.wait(3)
                with contextlib.suppress(subprocess.TimeoutExpired, AttributeError):
                    self.turns[service.name] += wrk.stop().total
                if self.turn.is_set():
                    return

    def drift_told(self):
        return [e for e in services.unwelcome_events(self, self.last)
                if (e.get("service"), e["kind"]) not in TOLD]

    def check_quiet(self):
        told = self.drift_told()
        assert not told, [(e["time"], e["kind"], e["text"]) for e in told[:5]]
        assert not self.incidents(), self.incidents()[0]


# ---- the tests ----

def test_of(service, what, perform):
    def test(fleet):
        service.need()
        perform(fleet)
        fleet.check_quiet()
    test.__name__ = services.sentence(service, what)
    return test


def behaviours(fleet):
    """Every deed of every service that is there."""
    found = []
    for service in fleet.all:
        for what in service.deeds(fleet):
            found.append(test_of(service, what, lambda f, s=service, w=what: s.perform(f, w)))
        for path in service.paths:
            found.append(test_of(service, path, lambda f, s=service, p=path: s.ask(f, p)))
        if service.missing:
            found.append(test_of(service, "what it is for", lambda f: None))
    return found


def nobody_was_refused_or_cut_in_all_that_time(fleet):
    time.sleep(2)  # what was seen last is told within a heartbeat
    fleet.check_quiet()
    quarantined = fleet.nodes(state="quarantined")
    assert not quarantined, quarantined


def what_was_told_of_the_image_came_once_in_ten_seconds(fleet):
    """Writing to the image is told, and however often it is tried that is all."""
    by_node = collections.defaultdict(list)
    for event in services.unwelcome_events(fleet, fleet.last):
        if event["kind"] != "drift.write-exec":
            continue
        by_node[event["node"]].append(event["time"])
    assert by_node, "a service wrote to its image and nobody heard of it"
    for node, times in by_node.items():
        seconds = sorted(services.seconds_of(t) for t in times)
        assert all(b - a > 9 for a, b in zip(seconds, seconds[1:])), (node, times)


def no_request_of_the_service_under_wrk_failed(fleet):
    wrk = fleet.web_wrk.stop()
    print(f"# web: {wrk.total} requests, {wrk.failed} failed; others: {dict(fleet.turns)}")
    assert wrk.total > 1000 and wrk.failed == 0, wrk.said


LAST = [nobody_was_refused_or_cut_in_all_that_time,
        what_was_told_of_the_image_came_once_in_ten_seconds,
        no_request_of_the_service_under_wrk_failed]


def again_and_again(fleet, tests, minutes):
    """Until the time is over; 0 when nothing ever failed."""
    until = time.monotonic() + minutes * 60
    done, failures, passes = collections.Counter(), [], 0
    while time.monotonic() < until or passes == 0:
        for test in tests:
            try:
                test(fleet)
                done[test.__name__] += 1
            except tap.Skip:
                pass
            except Exception:  # noqa: BLE001 - whatever it was, it is told
                failures.append((test.__name__, traceback.format_exc()))
                print(f"# {test.__name__}: {failures[-1][1].strip().splitlines()[-1]}", flush=True)
        passes += 1
        print(f"# pass {passes}: {sum(done.values())} behaviours, {len(failures)} failed",
              flush=True)
    for test in LAST:
        try:
            test(fleet)
        except Exception:  # noqa: BLE001
            failures.append((test.__name__, traceback.format_exc()))
    for name, trace in failures[:10]:
        print(f"# --- {name}", *trace.splitlines(), sep="\n# ")
    print(f"{len(done)} behaviours, {sum(done.values())} times in {minutes} min: "
          f"{len(failures)} failed; {len(fleet.incidents())} incidents, "
          f"{len(fleet.drift_told())} events of drift")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--minutes", type=float, help="how long; else every behaviour once")
    parser.add_argument("names", nargs="*", help="of the tests to run, when not all")
    args = parser.parse_intermixed_args()
    try:
        with Benign(args.build) as fleet:
            fleet.begin()
            tests = behaviours(fleet) + acts.ALL
            if args.names:
                tests = [t for t in tests if any(n in t.__name__ for n in args.names)]
            if args.minutes:
                result = again_and_again(fleet, tests, args.minutes)
            else:
                result = tap.run(fleet, tests + ([] if args.names else LAST))
            if result:
                fleet.tell_logs()
    except Failed as failure:
        sys.exit(f"Bail out! {failure}")
    sys.exit(result)


if __name__ == "__main__":
    main()
