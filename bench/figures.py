# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: quantiles, bootstrap intervals, wrk's counts, the size of a process."""
import json
import pathlib
import random
import re


def quantile(values, q):
    """The value below which a share q lies; None for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))] if ordered else None


def median(values):
    return quantile(values, .5)


def bootstrap(values, statistic=median, times=10000, share=.95):
    """The interval that holds `share` of the statistic's values over resampled values."""
    chance = random.Random(1)
    seen = sorted(statistic(chance.choices(values, k=len(values))) for _ in range(times))
    edge = (1 - share) / 2
    return seen[int(times * edge)], seen[int(times * (1 - edge)) - 1]


def read_wrk_errors(text):
    """wrk's report -> how many requests failed, by kind."""
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    counts = [int(n) for n in errors.groups()] if errors else [0] * 4
    kinds = ("connect", "read", "write", "timeout", "status")
    return dict(zip(kinds, counts + [int(refused.group(1)) if refused else 0]))


def read_wrk(text):
    """wrk's report -> requests answered, requests failed (of any kind), requests a second."""
    total = int(re.search(r"(\d+) requests in", text).group(1))
    failed = sum(read_wrk_errors(text).values())
    return total, failed, float(re.search(r"Requests/sec: +([\d.]+)", text).group(1))


def resident_kib(pid):
    """What process `pid` holds now: Rss counts shared pages whole, Pss by share."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {name: int(re.search(rf"^{name}: +(\d+) kB", text, re.M).group(1))
            for name in ("Rss", "Pss")}


def write_json(path, results):
    if path:
        pathlib.Path(path).write_text(json.dumps(dict(schema="dnode/v1", **results), indent=1))
