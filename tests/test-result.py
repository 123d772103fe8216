#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The last lines of a check, from records that are made up."""
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "cluster"))
from tap import run  # noqa: E402


def told(*tests):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "lane.json"
        path.write_text("".join(json.dumps(test) + "\n" for test in tests), encoding="utf-8")
        done = subprocess.run([sys.executable, HERE / "result.py", path], check=True,
                              capture_output=True, text=True)
    return done.stdout.splitlines()


def each_point_counts_and_a_test_without_points_is_one(_):
    lines = told({"name": "a", "result": "OK", "stdout": "1..2\nok - one\nok - two\n"},
                 {"name": "b", "result": "OK", "stdout": "nothing of TAP\n"})
    assert lines == ["3 passed, 0 failed, 0 skipped"]


def what_failed_is_named_with_its_last_words(_):
    lines = told({"name": "a", "result": "FAIL", "duration": 2.4,
                  "stdout": "1..2\nok 1 - one\nnot ok 2 - two\n", "stderr": "because of x\n"})
    assert lines[0] == "FAILED   lane: a (FAIL, 2 s)"
    assert lines[1] == "         not ok two"
    assert "         | because of x" in lines
    assert lines[-1] == "1 passed, 1 failed, 0 skipped"


def a_test_that_ended_before_its_points_has_failed(_):
    assert told({"name": "a", "result": "TIMEOUT", "stdout": "1..2\nok 1 - one\n"})[-1] == \
        "1 passed, 1 failed, 0 skipped"


def what_was_skipped_says_why(_):
    lines = told({"name": "a", "result": "OK", "stdout": "1..1\nok 1 - one # SKIP no disk\n"})
    assert lines == ["skipped  lane: a: one because no disk", "0 passed, 0 failed, 1 skipped"]


if __name__ == "__main__":
    sys.exit(run(None, [
        each_point_counts_and_a_test_without_points_is_one,
        what_failed_is_named_with_its_last_words,
        a_test_that_ended_before_its_points_has_failed,
        what_was_skipped_says_why,
    ]))
