#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memory of the agent by nodes and of the supervisor by hosts (docs/guarantees.md).

One host with ever more nodes, then labs with ever more hosts. Resident memory (Rss) is judged:
it counts shared libraries whole, which is what `ps` shows. Pss is told beside it.
"""
import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/cluster"))
from figures import resident_kib, write_json  # noqa: E402
from fleet import Failed, Fleet  # noqa: E402

AGENT_KIB, NODE_KIB = 30 << 10, 1 << 10
SUPERVISOR_KIB, HOST_KIB = 30 << 10, 64


def supervisor_pid(fleet):
    return fleet.ask("lab", "status", "--name", fleet.name)["supervisor"]["pid"]


def of_agent(build, sizes, rest):
    """Rss and Pss of one agent with each number of nodes, smallest first."""
    found = {}
    with Fleet(build, hosts=1) as fleet:
        for epoch, nodes in enumerate(sorted(sizes), 1):
            fleet.apply(epoch=epoch, replicas=nodes, standby=0, started=False, drain="0s")
            fleet.wait_ready(ready=nodes, epoch=epoch, seconds=180)
            time.sleep(rest)
            found[nodes] = resident_kib(fleet.daemon_pid("h1"))
    return found


def of_supervisor(build, sizes, rest):
    found = {}
    for hosts in sorted(sizes):
        with Fleet(build, hosts=hosts) as fleet:
            time.sleep(rest)
            found[hosts] = resident_kib(supervisor_pid(fleet))
    return found


def report(what, unit, found, base_kib, each_kib):
    """Each size against its limit, and what one more costs from the smallest to the largest."""
    for size, kib in found.items():
        limit = base_kib + size * each_kib
        print(f"{what} with {size} {unit}: Rss {kib['Rss'] / 1024:.1f} MiB, Pss "
              f"{kib['Pss'] / 1024:.1f} MiB; promised {limit / 1024:.1f} MiB: "
              f"{'met' if kib['Rss'] <= limit else 'NOT MET'}")
    first, last = min(found), max(found)
    if first == last:
        return
    grown = (found[last]["Rss"] - found[first]["Rss"]) / (last - first)
    print(f"{what}: {grown:.0f} KiB for one more of {unit}, promised {each_kib} KiB: "
          f"{'met' if grown <= each_kib else 'NOT MET'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--nodes", default="1,10,30")
    parser.add_argument("--hosts", default="1,10,30")
    parser.add_argument("--rest", type=float, default=10, help="seconds before a process is read")
    parser.add_argument("--json", help="write every figure here")
    args = parser.parse_args()
    agent = of_agent(args.build, [int(n) for n in args.nodes.split(",")], args.rest)
    report("agent", "nodes", agent, AGENT_KIB, NODE_KIB)
    supervisor = of_supervisor(args.build, [int(n) for n in args.hosts.split(",")], args.rest)
    report("supervisor", "hosts", supervisor, SUPERVISOR_KIB, HOST_KIB)
    write_json(args.json, {"agent_kib": agent, "supervisor_kib": supervisor})


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"memory: {failure}")
