#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The last lines of a check, from meson's own records: what failed and what it said, what was
skipped and why, and the count.

    result.py RECORD.json...      one a lane; what TAP calls a test counts as one
"""

import json
import os
import re
import sys

LAST_LINES = 40  # of what a failed test wrote; the whole is in meson's log beside the record
POINT = re.compile(r"^(not ok|ok)\b[ 0-9]*(?:- )?(.*)$", re.M)


class Suite:
    """One of meson's tests, with the points of TAP it printed."""

    def __init__(self, lane, test):
        self.name = f"{lane}: {test['name']}"
        self.result = test["result"]
        self.said = (test.get("stdout") or "") + (test.get("stderr") or "")
        self.seconds = test.get("duration", 0)
        points = POINT.findall(test.get("stdout") or "")
        self.skips = [text for _, text in points if "# SKIP" in text]
        self.bad = [text for word, text in points if word == "not ok"]
        self.good = len(points) - len(self.skips) - len(self.bad)
        self.plain = not points

    def counts(self):
        passed, failed, skipped = self.good, len(self.bad), len(self.skips)
        if self.result in ("OK", "EXPECTEDFAIL"):
            passed += self.plain
        elif self.result == "SKIP":
            skipped += self.plain
        else:
            failed += not self.bad
        return passed, failed, skipped


def suites_of(paths):
    for path in paths:
        lane = os.path.splitext(os.path.basename(path))[0]
        with open(path, encoding="utf-8") as records:
            for line in records:
                yield Suite(lane, json.loads(line))


def tell_skipped(suites):
    for suite in suites:
        for text in suite.skips:
            print(f"skipped  {suite.name}: {text.replace('# SKIP', 'because')}")
        if suite.plain and suite.result == "SKIP":
            print(f"skipped  {suite.name}: {' '.join(suite.said.split()[-30:])}")


def tell_failed(suites):
    for suite in suites:
        if not suite.counts()[1]:
            continue
        print(f"FAILED   {suite.name} ({suite.result}, {suite.seconds:.0f} s)")
        for text in suite.bad:
            print(f"         not ok {text}")
        for line in suite.said.rstrip().splitlines()[-LAST_LINES:]:
            print(f"         | {line[:200]}")


def main():
    suites = list(suites_of(sys.argv[1:]))
    tell_skipped(suites)
    tell_failed(suites)
    passed, failed, skipped = (sum(column) for column in zip(*(s.counts() for s in suites)))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")


if __name__ == "__main__":
    main()
