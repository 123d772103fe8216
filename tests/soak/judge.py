# SPDX-License-Identifier: Apache-2.0
"""Is the fleet as it was? Figures taken at rest, the first third of a run against the last."""
import statistics

# Figures by how they begin, first match; what each may do between the first and the last third.
#   equal   every sample of the last third is the first sample of all
#   loose   no more than so many above the first third's largest: caches, pools, clients' traces
#   most    never more than so many: what is kept until there are too many of it
#   grows   by design with what was done, at most so much an act
RULES = (
    ("descriptors h", "told", 0),  # by which nodes are where; their sum is judged
    ("descriptors", "equal", 0),
    ("threads", "loose", 3),       # GLib keeps a few idle workers for some seconds
    ("Rss KiB h1", "memory", 0),
    # It knows the last 10,000 events and every incident, so it grows with them up to there.
    ("Rss KiB supervisor", "grows", 96),
    ("Rss", "told", 0),            # of agents that are ended all the time
    ("Pss", "told", 0),
    ("conntrack", "loose", 2000),  # of clients' connections; ends by timeout
    ("dying cgroups", "loose", 50),  # the kernel frees them when it wants memory
    ("files host incidents", "grows", 1),
    ("files host journal", "grows", 0.1),
    ("files supervisor journal", "grows", 0.1),
    ("files host logs", "most", 300),  # of nodes that are gone, 32 on every host
    ("files host manifests", "loose", 6),  # the epoch before goes a moment later
    ("files host spool", "loose", 6),
    ("files supervisor spool", "loose", 6),
    ("KiB host incidents", "grows", 16),
    ("KiB host journal", "grows", 64),
    ("KiB supervisor journal", "grows", 32),
    ("KiB supervisor store.db-wal", "most", 8192),  # begun anew when SQLite finds the time
    ("KiB supervisor store.db", "grows", 64),  # until 1,000 transactions are kept
    ("", "equal", 0),
)
# What a process may hold more at the end than in the first third.
MEMORY_KIB, MEMORY_SHARE = 2048, 0.10


def rule_of(name):
    return next(rule for rule in RULES if name.startswith(rule[0]))


def thirds(samples):
    """The samples of the first and of the last third of the time, never none."""
    begin, end = samples[0]["t"], samples[-1]["t"]
    edge = (end - begin) / 3
    return ([s for s in samples if s["t"] <= begin + edge],
            [s for s in samples if s["t"] >= end - edge])


def slope_an_hour(samples, name):
    """Least squares; None when there is nothing to draw a line through."""
    points = [(s["t"] / 3600, s["figures"][name]) for s in samples if name in s["figures"]]
    if len({t for t, _ in points}) < 2:
        return None
    return statistics.linear_regression(*zip(*points)).slope


def holds(name, first, last, baseline, acts):
    """Does one figure keep its rule? @first and @last are values, @acts what lay between."""
    _, rule, limit = rule_of(name)
    if rule == "equal":
        return set(last) == {baseline}
    if rule == "loose":
        return max(last) <= max(first) + limit
    if rule == "most":
        return max(first + last) <= limit
    if rule == "grows":
        return statistics.median(last) - min(first) <= limit * acts
    if rule == "memory":
        grown = statistics.median(last) - statistics.median(first)
        return grown <= max(MEMORY_KIB, MEMORY_SHARE * statistics.median(first))
    return True


def judge(samples):
    """Rows (name, first, last, slope, rule, kept) of every figure that was taken at rest."""
    first, last = thirds(samples)
    acts = last[-1]["acts"] - first[0]["acts"]
    rows = []
    for name in samples[-1]["figures"]:
        a, b = ([s["figures"].get(name, 0) for s in part] for part in (first, last))
        kept = holds(name, a, b, samples[0]["figures"].get(name, 0), acts)
        rows.append((name, statistics.median(a), statistics.median(b),
                     slope_an_hour(samples, name), rule_of(name)[1], kept))
    return rows


def print_table(rows):
    print(f"{'at rest':<28} {'first third':>12} {'last third':>12} {'an hour':>10}  rule")
    for name, first, last, slope, rule, kept in rows:
        told = "" if slope is None or abs(slope) < 0.05 else f"{slope:+.1f}"
        print(f"{name:<28} {first:>12.6g} {last:>12.6g} {told:>10}  {rule}"
              f"{'' if kept else '  BROKEN'}")
