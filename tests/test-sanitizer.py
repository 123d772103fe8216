#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Which reports of a sanitizer somebody has to look at."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "cluster"))
import sanitizer  # noqa: E402
from tap import run  # noqa: E402

RACE = """WARNING: ThreadSanitizer: data race (pid=1)
  Write of size 4 at 0x1 by thread T2:
    #0 {first}

  Previous write of size 4 at 0x1 by thread T1:
    #0 {second}

SUMMARY: ThreadSanitizer: data race in somewhere
"""
OURS = "act ../agent/x.c:1 (dnode-agent+0x11ac)"
GLIB = "g_list_remove <null> (libglib-2.0.so.0+0x4f9fd)"


def found(*reports):
    marks = "==================\n"
    return sanitizer.reports("".join(marks + report + marks for report in reports))


def a_race_in_which_code_of_ours_takes_part_is_told(_):
    assert len(found(RACE.format(first=OURS, second=OURS))) == 1
    assert len(found(RACE.format(first=OURS, second=GLIB))) == 1


def a_race_between_two_libraries_is_not(_):
    assert not found(RACE.format(first=GLIB, second=GLIB))


def a_report_that_a_kill_cut_short_is_not_either(_):
    whole = RACE.format(first=OURS, second=OURS)
    assert not found(whole[:whole.index("#0")])
    assert not found(whole[:whole.index("SUMMARY")])


def whatever_else_is_found_is_told(_):
    assert len(found("ERROR: AddressSanitizer: heap-use-after-free\n    #0 x\n",
                     "x.c:3: runtime error: signed integer overflow\n")) == 2


if __name__ == "__main__":
    sys.exit(run(None, [
        a_race_in_which_code_of_ours_takes_part_is_told,
        a_race_between_two_libraries_is_not,
        a_report_that_a_kill_cut_short_is_not_either,
        whatever_else_is_found_is_told,
    ]))
