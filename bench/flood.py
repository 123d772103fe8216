#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A neighbour's drills with and without a node that floods the sensor (docs/guarantees.md).

One host. Drills of an ordinary service in turns of ten, quiet and flooded, until each has as many as
asked for; the flood is tests/cluster/flooder.c. Promised: flooded, the p99 of every stage of the
reflex is at most twice that of the quiet drills.
"""
import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/cluster"))
import flood  # noqa: E402
from figures import quantile, write_json  # noqa: E402
from fleet import Failed, Fleet, wait_for  # noqa: E402

STAGES = ["verdict", "cut", "frozen", "lb_out_local", "replacement_ready", "cut_verified"]
AT_A_TIME = 10
PROMISE = 2


def drill(fleet):
    """The stages of one; afterwards the service is whole again."""
    first = fleet.ask("drill", "exec", "web")["incident"]
    incident = wait_for("its stages", lambda: next((
        i for i in fleet.incidents() if i["id"] == first["id"] and
        all(s in i["stages"] for s in STAGES)), None))
    fleet.destroy(incident["id"])
    fleet.wait_ready(ready=2, standby=1)
    if incident["packets_after_cut"]:
        raise Failed(f"packets after the cut: {incident}")
    return incident["stages"]


def measure(fleet, rounds):
    samples = {"quiet": [], "flooded": []}
    fleet.apply(replicas=2, standby=1, cpu=0.5, respawn=4 * rounds)
    flood.apply(fleet, cpu=0.5)
    fleet.wait_ready(ready=2, standby=1)
    while len(samples["flooded"]) < rounds:
        samples["quiet"] += [drill(fleet) for _ in range(AT_A_TIME)]
        with flood.running(fleet):
            samples["flooded"] += [drill(fleet) for _ in range(AT_A_TIME)]
        print(f"\r{len(samples['flooded'])}/{rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return samples


def report(samples):
    figures = {}
    print(f"{len(samples['quiet'])} quiet and {len(samples['flooded'])} flooded drills, "
          f"microseconds after the event\n  {'':18}{'quiet p50':>10}{'p99':>9}"
          f"{'flooded p50':>13}{'p99':>9}   of quiet p99")
    for stage in STAGES:
        two = {side: [quantile([s[stage] for s in samples[side]], q) for q in (.5, .99)]
               for side in samples}
        times = two["flooded"][1] / max(two["quiet"][1], 1)
        figures[stage] = dict(two, times=times)
        print(f"  {stage:18}{two['quiet'][0]:10}{two['quiet'][1]:9}{two['flooded'][0]:13}"
              f"{two['flooded'][1]:9}   {times:.2f}  "
              f"{'met' if times <= PROMISE else 'NOT MET'}")
    return {"figures": figures, "samples": samples}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=50, help="drills of each kind")
    parser.add_argument("--json", help="write every figure and sample here")
    args = parser.parse_args()
    with Fleet(args.build, hosts=1) as fleet:
        figures = report(measure(fleet, args.rounds))
    write_json(args.json, figures)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"flood: {failure}")
