# SPDX-License-Identifier: Apache-2.0
"""What the files of this directory end with: their tests, on a fleet of their own."""
import sys

from fleet import Failed, Fleet
from tap import run


def main(tests, hosts, prepare=None):
    """Run tests(fleet) on `hosts` new hosts, after prepare(fleet); never returns.

    The command line is BUILD [NAME...]: the build directory, and the tests to run when not all.
    The daemons' logs are told when one failed.
    """
    chosen = [t for t in tests if not sys.argv[2:] or t.__name__ in sys.argv[2:]]
    try:
        with Fleet(sys.argv[1], hosts=hosts) as fleet:
            if prepare:
                prepare(fleet)
            result = run(fleet, chosen)
            if result:
                fleet.tell_logs()
    except Failed as failure:
        sys.exit(f"Bail out! {failure}")
    sys.exit(result)
