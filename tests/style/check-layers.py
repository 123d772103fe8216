#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fail when a source file includes a header its module may not see.

The table in docs/layers.txt is the architecture: one row a module, what it may include
from, and which third-party header prefixes only the modules naming them may open.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]', re.M)
ROOTS = ("common", "supervisor", "agent", "cli", "include")
PROGRAMS = ("supervisor", "agent", "cli")


def words(cell):
    return {w for w in re.split(r"[,\s]+", cell.strip()) if w and w != "-"}


def read_table(path):
    rows = {}
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            module, see, doors = (cell.strip() for cell in line.split("|"))
            rows[module] = (words(see), words(doors))
    return rows


def may_include(module, see, target):
    """A main ("*") sees everything but another program."""
    if "*" not in see:
        return target in see
    program, other = module.split("/")[0], target.split("/")[0]
    return other not in PROGRAMS or other == program


def main(root):
    root = pathlib.Path(root)
    table = read_table(root / "docs/layers.txt")
    doors = {door for _, (_, mine) in table.items() for door in mine}
    homes = {str(f.parent.relative_to(root)) for r in ROOTS for f in (root / r).rglob("*.[ch]")}
    faults = [f"{home} has no row in docs/layers.txt" for home in sorted(homes - set(table))]
    for module, (see, mine) in table.items():
        for file in sorted((root / module).glob("*.[ch]")):
            for _, name in INCLUDE.findall(file.read_text()):
                where = f"{file.relative_to(root)} includes {name}"
                if ".." in name.split("/"):
                    faults.append(f"{where}: name a header from its root, never by climbing")
                    continue
                target = resolve(root, module, name)
                if target is None:
                    door = next((d for d in doors if name.startswith(d)), None)
                    if door and door not in mine:
                        faults.append(f"{where}: {module} does not own the door {door}")
                elif target != module and not may_include(module, see, target):
                    faults.append(f"{where}: {module} may not see {target}")
    print("\n".join(faults) or f"{len(table)} modules keep to their layers")
    return 1 if faults else 0


def resolve(root, module, name):
    """The module that owns header NAME, or None for a system header."""
    for base in (root / module.split("/")[0], *(root / r for r in ROOTS)):
        if (base / name).is_file():
            return str((base / name).parent.relative_to(root))
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
