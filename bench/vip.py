#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Requests a second through the VIP against the same node asked directly (docs/guarantees.md).

One host, one node; wrk runs in the host's network namespace, so that both ways cross the same
veth and only the balancer differs. Pairs in random order; the ratio's median comes with a 95 %
bootstrap interval.
"""
import argparse
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/cluster"))
from figures import bootstrap, median, read_wrk, write_json  # noqa: E402
from fleet import Failed, Fleet, wait_for  # noqa: E402

PROMISE = .75
LEAST_PAIRS = 20


def add_route(fleet):
    """A host of a lab has no default route, which the kernel asks for before the balancer."""
    fleet.client("ip", "-n", fleet.status["hosts"][0]["netns"], "route", "replace", "default",
                 "dev", "eth0")


def rate(fleet, url, seconds):
    """wrk's requests a second; every single one has to succeed."""
    host = fleet.status["hosts"][0]["netns"]
    done = fleet.client("nsenter", f"--net=/run/netns/{host}", "wrk", "-t1", "-c32",
                        f"-d{seconds}s", url, timeout=seconds + 30, check=False)
    if done.returncode != 0:
        raise Failed(f"wrk {url}: {(done.stderr or done.stdout).strip()}")
    total, failed, a_second = read_wrk(done.stdout)
    if failed or not total:
        raise Failed(f"{url}: {failed} of {total} requests failed")
    return a_second


def measure(fleet, pairs, seconds):
    fleet.apply(replicas=1, standby=0, started=False, cpu=2)
    service = fleet.wait_ready(ready=1)
    node = wait_for("a node", lambda: fleet.nodes("web", state="ready"))[0]
    urls = {"vip": f"http://{service['vip']}/whoami",
            "direct": f"http://{node['address']}:8080/whoami"}
    samples = []
    add_route(fleet)
    for url in urls.values():
        rate(fleet, url, 1)
    for number in range(pairs):
        order = random.sample(sorted(urls), 2)
        samples.append({way: rate(fleet, urls[way], seconds) for way in order})
        print(f"\rpair {number + 1}/{pairs}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return samples


def report(samples):
    ratios = [s["vip"] / s["direct"] for s in samples]
    ratio, (low, high) = median(ratios), bootstrap(ratios)
    vip, direct = (median([s[way] for s in samples]) for way in ("vip", "direct"))
    verdict = "met" if low >= PROMISE else "NOT MET" if high < PROMISE else "not decided"
    if len(samples) < LEAST_PAIRS:
        verdict = f"{LEAST_PAIRS} pairs are needed to say"
    print(f"VIP {vip:.0f}/s, direct {direct:.0f}/s, {len(samples)} pairs: ratio {ratio:.3f} "
          f"[{low:.3f}, {high:.3f}]; promised {PROMISE}: {verdict}")
    return {"vip_per_s": vip, "direct_per_s": direct, "ratio": ratio, "low": low, "high": high,
            "samples": samples}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--seconds", type=int, default=3, help="of each run")
    parser.add_argument("--json", help="write every figure and sample here")
    args = parser.parse_args()
    with Fleet(args.build, hosts=1) as fleet:
        figures = report(measure(fleet, args.pairs, args.seconds))
    write_json(args.json, figures)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"vip: {failure}")
