#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fail when a program has failpoints that shall have none, or none where they shall be.

Also reads the sources: a point's name stands once, and is AREA.OBJECT.MOMENT or longer.
"""
import pathlib
import re
import subprocess
import sys

POINT = re.compile(r'\bdn_failpoint(?:_pass)?\(\s*"([^"]*)"')
NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+){1,3}\.(before|after)")
FOLDERS = ("common", "supervisor", "agent", "cli")


def in_sources(root):
    return [name for folder in FOLDERS for file in sorted((root / folder).rglob("*.c"))
            for name in POINT.findall(file.read_text())]


def has_section(program):
    done = subprocess.run(["readelf", "-SW", str(program)], capture_output=True, text=True,
                          check=True)
    return " dn_failpoints" in done.stdout


def main(root, wanted, *programs):
    names = in_sources(pathlib.Path(root))
    faults = [f"failpoint {name} stands in two places" for name in sorted(set(names))
              if names.count(name) > 1]
    faults += [f"failpoint {name} is not AREA.OBJECT.before or .after" for name in names
               if not NAME.fullmatch(name)]
    for program in map(pathlib.Path, programs):
        if has_section(program) != (wanted == "yes"):
            faults.append(f"{program} has {'no ' if wanted == 'yes' else ''}failpoints")
        data = program.read_bytes()
        held = [name for name in names if name.encode() in data]
        if wanted != "yes" and held:
            faults.append(f"{program} holds the names of failpoints: {held[0]}")
    print("\n".join(faults) or f"{len(names)} failpoints, "
          f"{'in' if wanted == 'yes' else 'none in'} {len(programs)} programs")
    return 1 if faults or not names else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
