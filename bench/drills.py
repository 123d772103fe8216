#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What wrk loses while nodes are drilled, against docs/guarantees.md: of some 2,000 requests a
second through the VIP only those in flight on a node that is cut, each by a reset.

Three hosts, three nodes and a started standby; then the same load without drills. wrk sees a reset
as a read error, or as a write error when its next request is on its way; a connection that waits
in vain would be a timeout, a node that is gone but still in the balancer a connect error. What was
in flight is bounded by the connections that the incidents record of clients.
"""
import argparse
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/cluster"))
from figures import read_wrk, read_wrk_errors, write_json  # noqa: E402
from fleet import Failed, Fleet, wait_for  # noqa: E402

# 32 connections that rest for 15 ms on average, and a request that takes half of one.
PACE = "function delay() return math.random(9, 21) end\n"
SETTLE_S = 1.0


def begin_load(fleet, url, seconds):
    pace = fleet.scratch / "pace.lua"
    pace.write_text(PACE)
    net = f"--net=/run/netns/{fleet.status['client_netns']}"
    return subprocess.Popen(["nsenter", net, "setpriv", "--pdeathsig", "KILL", "wrk", "-t2",
                             "-c32", f"-d{seconds}s", "--timeout", "2s", "-s", str(pace), url],
                            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def one_drill(fleet):
    """Drill a whole fleet; returns the incident when the node is replaced."""
    wait_for("a whole fleet", lambda: len(fleet.nodes("web", state="ready")) == 3 and
             fleet.nodes("web", state="standby"), 30)
    drilled = fleet.ask("drill", "exec", "web")["incident"]["id"]
    return wait_for("the replacement", lambda: next(
        (i for i in fleet.incidents() if i["id"] == drilled and i["replacements"]), None), 10)


def count_clients(incident):
    """The connections that clients had with the node when it was cut."""
    return sum(1 for s in incident["sockets"] if s["accepted"] and s["state"] == "established")


def run(fleet, url, seconds, drills):
    """wrk's counts, and what the incidents say, of `seconds` of load with so many drills."""
    with begin_load(fleet, url, seconds) as load:
        time.sleep(SETTLE_S)
        pause = (seconds - 2 * SETTLE_S) / max(drills, 1)
        incidents = []
        for number in range(drills):
            next_at = time.monotonic() + pause
            incidents.append(one_drill(fleet))
            print(f"\rdrill {number + 1}/{drills}", end="", file=sys.stderr, flush=True)
            time.sleep(max(0, next_at - time.monotonic()))
        if load.poll() is not None:
            raise Failed("the drills took longer than the load: --seconds")
        report = load.communicate(timeout=seconds + 30)[0]
    print(file=sys.stderr)
    requests, failed, rate = read_wrk(report)
    for incident in incidents:
        fleet.destroy(incident["id"])
    return {"drills": drills, "requests": requests, "rate": rate, "failed": failed,
            "errors": read_wrk_errors(report), "clients": sum(map(count_clients, incidents)),
            "packets_after_cut": sum(i["packets_after_cut"] for i in incidents)}


def report(figures):
    errors = figures["errors"]
    resets = errors["read"] + errors["write"]
    met = (figures["failed"] == resets <= figures["clients"] and
           figures["packets_after_cut"] == 0)
    print(f"{figures['drills']} drills: {figures['requests']} requests, {figures['rate']:.0f} a "
          f"second; {figures['failed']} failed (" +
          ", ".join(f"{name} {n}" for name, n in errors.items()) +
          f"); clients of the cut nodes {figures['clients']}; packets after the cut "
          f"{figures['packets_after_cut']}: {'met' if met else 'NOT MET'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=20, help="drills")
    parser.add_argument("--seconds", type=int, default=60, help="length of the load")
    parser.add_argument("--json", help="write the figures here")
    args = parser.parse_args()
    results = []
    with Fleet(args.build, hosts=3) as fleet:
        fleet.apply(respawn=1000, drain="0s")
        url = f"http://{fleet.wait_ready(ready=3)['vip']}/whoami"
        for drills in (args.rounds, 0):
            results.append(run(fleet, url, args.seconds, drills))
            report(results[-1])
    write_json(args.json, {"runs": results})


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"drills: {failure}")
