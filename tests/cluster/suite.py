# SPDX-License-Identifier: Apache-2.0
"""What files of tests on a lab end with: their tests, on a fleet of their own."""
import sys

from fleet import Failed, Fleet
from tap import run


def chosen(tests):
    """Those that the command line, BUILD [NAME...], names; all when it names none."""
    return [t for t in tests if not sys.argv[2:] or t.__name__ in sys.argv[2:]]


def main(tests, prepare=None, judge=None, lab=Fleet, **options):
    """Run tests(fleet) on a new lab(BUILD, **options); never returns.

    Before them prepare(fleet), after them judge(fleet, what prepare() has returned). The daemons'
    logs are told when a test failed.
    """
    try:
        with lab(sys.argv[1], **options) as fleet:
            prepared = prepare(fleet) if prepare else None
            result = run(fleet, chosen(tests))
            if judge:
                judge(fleet, prepared)
            if result:
                fleet.tell_logs()
    except Failed as failure:
        sys.exit(f"Bail out! {failure}")
    sys.exit(result)
