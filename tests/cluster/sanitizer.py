# SPDX-License-Identifier: Apache-2.0
"""What sanitizers wrote, without what ThreadSanitizer only believes."""
import re

MARK = "=================="
# Not AddressSanitizer's warnings: of the child that borrows the agent's memory (runtime/memfd.c).
REPORT = re.compile(r"ERROR: |FATAL: |runtime error: |WARNING: ThreadSanitizer")
ACCESS = re.compile(r"^  (?:Previous )?(?:atomic )?(?:read|write) of size \d+ at ", re.I)
MADE = re.compile(r"^    #0 (?:malloc|calloc|realloc|posix_memalign) ", re.M)
FREED = re.compile(r"^    #0 free ", re.M)
FRAME = re.compile(r"^    #\d+ .*\(([^()]*)\+0x[0-9a-f]+\)")


def doers(report):
    """Of each access of a race the program or library whose code made it; None: not told."""
    found, looking = [], False
    for line in report.splitlines():
        if ACCESS.match(line):
            found.append(None)
            looking = True
        elif not line.strip():
            looking = False
        elif looking and (frame := FRAME.match(line)) and "libtsan" not in frame[1]:
            found[-1] = frame[1]
            looking = False
    return found


def is_ours(report):
    """
    A race between two libraries is one in appearance only: they are not built with the sanitizer,
    so it sees that they allocate and free, and not the locks by which they agree on it. So is one
    between the making and the freeing of a block: how it came from one thread to the other would
    be a race of its own, at the pointer. Of one that has no end, because its program was killed while
    it was written, nobody can say whose it is.
    """
    if "ThreadSanitizer: data race" not in report:
        return True
    if "SUMMARY: ThreadSanitizer" not in report:
        return False
    accesses = report.partition("Location is")[0].partition("Thread T")[0]
    if MADE.search(accesses) and FREED.search(accesses):
        return False
    made_by = doers(report)
    return not made_by or not all(who and ".so" in who for who in made_by)


def reports(text):
    """The reports in a sanitizer's log that somebody has to look at."""
    parts = [part.strip("\n") for part in text.split(MARK)]
    return [part for part in parts
            if REPORT.search(part) and is_ours(part)]
