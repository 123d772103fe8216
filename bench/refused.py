#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What it costs to learn of refused calls, three ways (docs/decisions/), as a table.

Differences are of the same round, so that what else the machine does falls on all ways alike.
"""
import argparse
import json
import subprocess
import sys

from figures import bootstrap, median, write_json

WAYS = {"nothing": "no filter", "errno": "refused by errno, nobody told",
        "traced": "errno, and the sensor on every return", "notified": "notified, answered",
        "notified-sync": "the same, changing over at once"}
CALLS = ("ordinary", "told", "untold")


def run(program, rounds):
    done = subprocess.run([program, str(rounds)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"refused: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def rounds_of(lines):
    """One dictionary a round: way -> figures."""
    measured = [line for line in lines if line["way"] in WAYS]
    return [{line["way"]: line for line in measured[n:n + len(WAYS)]}
            for n in range(0, len(measured), len(WAYS))]


def compare(rounds, way, call):
    """Median nanoseconds, and how many more than with errno alone, with its interval."""
    more = [r[way][call] - r["errno"][call] for r in rounds]
    low, high = bootstrap(more)
    return {"ns": median([r[way][call] for r in rounds]), "more": median(more), "low": low,
            "high": high}


def report(lines):
    rounds, figures = rounds_of(lines), {}
    print(f"{len(rounds)} rounds; nanoseconds a call: median, and the difference to \"errno\" "
          "[95 %]")
    print(f"  {'':40}{'ordinary':>26}{'refused, of a class':>28}{'refused, of none':>28}")
    for way, text in WAYS.items():
        figures[way] = {call: compare(rounds, way, call) for call in CALLS
                        if way != "nothing" or call == "ordinary"}
        cells = ["{ns:.0f}  {more:+.0f} [{low:+.0f}, {high:+.0f}]".format(**figures[way][call])
                 if call in figures[way] else "-" for call in CALLS]
        print(f"  {text:40}{cells[0]:>26}{cells[1]:>28}{cells[2]:>28}")
    alone = {line["way"]: line for line in lines if line["way"] not in WAYS}
    for way, line in alone.items():
        print(f"  notifications {way}: the caller " + (
            "hangs until it is killed" if line["hangs"] else f"gets errno {line['errno']}"))
    return {"figures": figures, "nobody": alone, "samples": rounds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", help="write every figure and sample here")
    args = parser.parse_args()
    write_json(args.json, report(run(args.program, args.rounds)))


if __name__ == "__main__":
    main()
