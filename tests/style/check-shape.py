#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fail when a function or a file outgrows the limits of the house."""
import pathlib
import subprocess
import sys

FUNCTION_LINES = 80
BPF_FUNCTION_LINES = 100
FILE_LINES = 700
FOLDERS = ("include", "common", "supervisor", "agent", "cli", "images", "tests", "bench")


def functions(files):
    """Yield (file, name, lines) of every C function, as universal-ctags sees them."""
    out = subprocess.run(
        ["ctags", "-L", "-", "--languages=C", "--kinds-C=f", "--fields=+ne", "-o", "-"],
        input="\n".join(map(str, files)), text=True, capture_output=True, check=True).stdout
    for row in out.splitlines():
        if row.startswith("!"):
            continue
        name, file, *fields = row.split("\t")
        spans = dict(f.split(":", 1) for f in fields if f.startswith(("line:", "end:")))
        if "line" in spans and "end" in spans:
            yield file, name, int(spans["end"]) - int(spans["line"]) + 1


def main(root):
    root = pathlib.Path(root)
    code = [f for d in FOLDERS for f in sorted((root / d).rglob("*"))
            if f.suffix in (".c", ".h", ".py", ".sh")]
    faults = []
    for file in code:
        lines = len(file.read_text().splitlines())
        if lines > FILE_LINES:
            faults.append(f"{file.relative_to(root)} has {lines} lines, at most {FILE_LINES}")
    for file, name, lines in functions([f for f in code if f.suffix == ".c"]):
        limit = BPF_FUNCTION_LINES if file.endswith(".bpf.c") else FUNCTION_LINES
        if lines > limit:
            faults.append(f"{pathlib.Path(file).relative_to(root)}: {name}() has {lines} lines, "
                          f"at most {limit}")
    print("\n".join(faults) or f"{len(code)} files keep their shape")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
