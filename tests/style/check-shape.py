#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fail when a function or a file outgrows the limits of the house.

What passes but is longer than the house likes is listed in one line: a question, not a fault.
"""
import pathlib
import subprocess
import sys

# What asks a question, what fails.
FUNCTION_LINES = (60, 80)
BPF_FUNCTION_LINES = (80, 100)
FILE_LINES = (500, 700)
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
    long = [(str(f.relative_to(root)), len(f.read_text().splitlines()), FILE_LINES) for f in code]
    for file, name, lines in functions([f for f in code if f.suffix == ".c"]):
        limits = BPF_FUNCTION_LINES if file.endswith(".bpf.c") else FUNCTION_LINES
        long.append((f"{pathlib.Path(file).relative_to(root)}: {name}()", lines, limits))
    faults = [f"{what} has {lines} lines, at most {fails}"
              for what, lines, (_, fails) in long if lines > fails]
    asked = [f"{what} {lines}" for what, lines, (asks, fails) in long if asks < lines <= fails]
    if asked:
        print("warning: longer than the house likes: " + ", ".join(asked))
    print("\n".join(faults) or f"{len(code)} files keep their shape")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
