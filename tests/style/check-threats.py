#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fail when docs/threat-model.md names a test or an item of the audit that there is not.

A test is named `suite: *its sentence*`, an item `audit ID, ID`.
"""
import pathlib
import re
import sys

TEST = re.compile(r"^Test\((\w+),\s*(\w+)", re.M)
NAMED = re.compile(r"\b(\w+): \*([a-z0-9][a-z0-9 ]*)\*")
ITEMS = re.compile(r"\baudit ((?:(?:dnode-\d+|\d\.\d+)(?:, )?)+)")
RULE = re.compile(r'^\t\{"([\w.-]+)",', re.M)


def main(root):
    root = pathlib.Path(root)
    text = " ".join((root / "docs/threat-model.md").read_text().split())
    tests = {(suite, name) for file in (root / "tests").rglob("test-*.c")
             for suite, name in TEST.findall(file.read_text())}
    rules = {rule for file in (root / "agent/audit").glob("judge*.c")
             for rule in RULE.findall(file.read_text())}
    named = {(suite, words.replace(" ", "_")) for suite, words in NAMED.findall(text)}
    items = {item for found in ITEMS.findall(text) for item in re.findall(r"[\w.-]+", found)}
    faults = [f"{suite}: {name}: no such test" for suite, name in sorted(named - tests)]
    faults += [f"audit {item}: no such item" for item in sorted(items - rules)]
    if not named or not items:
        faults.append("nothing is named: has the table gone?")
    print("\n".join(faults) or f"{len(named)} tests and {len(items)} items are there")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
