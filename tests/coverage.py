# SPDX-License-Identifier: Apache-2.0
"""What gcovr has counted: a line for each program, and the files that are covered least."""
import collections
import csv
import sys

LEAST = 15


def share(covered, total):
    return 100 * covered / total if total else 100.0


def main(path):
    parts = collections.defaultdict(lambda: [0, 0, 0, 0])
    files = []
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            counts = [int(row[name]) for name in ("line_covered", "line_total", "branch_covered",
                                                  "branch_total")]
            files.append((share(*counts[:2]), row["filename"], counts[1]))
            for part in (row["filename"].partition("/")[0], "all"):
                parts[part] = [a + b for a, b in zip(parts[part], counts)]
    for part, counts in sorted(parts.items(), key=lambda p: (p[0] == "all", p[0])):
        print(f"    {part:<12} {share(*counts[:2]):5.1f} % of {counts[1]} lines, "
              f"{share(*counts[2:]):5.1f} % of {counts[3]} branches")
    print(f"    least covered, of files with 20 lines or more:")
    for covered, name, lines in sorted(f for f in files if f[2] >= 20)[:LEAST]:
        print(f"    {covered:5.1f} %  {name} ({lines} lines)")


if __name__ == "__main__":
    main(sys.argv[1])
