# SPDX-License-Identifier: Apache-2.0
"""Tests as functions, told in TAP: each is named by the sentence that would be false if it failed."""
import traceback


class Skip(Exception):
    """Raised by a test that cannot run here; says why."""


def run(fixture, tests):
    """Run every test(fixture) in order; 0 when none failed."""
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, test in enumerate(tests, 1):
        name = test.__name__.replace("_", " ")
        try:
            test(fixture)
            print(f"ok {number} - {name}", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception:  # noqa: BLE001 - a test may fail in any way
            failed += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            print(f"not ok {number} - {name}", flush=True)
    return 1 if failed else 0
