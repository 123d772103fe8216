#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Run a test of a build with ThreadSanitizer; a race of ours fails it, and is told on stderr.

    races.py PROGRAM [ARGUMENT...]

A race ends no process, since Criterion keeps the last words of a test that is ended to itself, and
since most that are seen lie between libraries (cluster/sanitizer.py says why, and which those are).
"""
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "cluster"))
# pylint: disable=wrong-import-position
import sanitizer


def main():
    with tempfile.TemporaryDirectory(prefix="dnode-races-") as folder:
        options = (f"{os.environ.get('TSAN_OPTIONS', '')}:halt_on_error=0:exitcode=0:"
                   f"log_path=\"{folder}/race\"")
        status = subprocess.run(sys.argv[1:], env=dict(os.environ, TSAN_OPTIONS=options),
                                check=False).returncode
        found = [report for file in sorted(pathlib.Path(folder).glob("race.*"))
                 for report in sanitizer.reports(file.read_text(errors="replace"))]
    for report in found:
        print(report, file=sys.stderr)
    if found and status == 0:
        return 1
    return status if status >= 0 else 128 - status  # as a shell tells of a signal


if __name__ == "__main__":
    sys.exit(main())
