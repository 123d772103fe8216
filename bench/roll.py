#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rolls under load: how long they take, and how many requests fail, against docs/guarantees.md.

Three hosts, and for each number of nodes a service without a judge: a roll to the other image,
timed from the command to its --wait, while wrk asks as fast as it can through the VIP.
"""
import argparse
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/cluster"))
from figures import quantile, read_wrk, write_json  # noqa: E402
from fleet import Failed, Fleet  # noqa: E402

PROMISES_S = {3: 2.0, 10: 4.0}
LEAST_REQUESTS = 100_000
SETTLE_S = 1.0


def one_roll(fleet, service, image, epoch, replicas, seconds):
    """Roll to `image` in the middle of `seconds` of load."""
    url = f"http://{service['vip']}/whoami"
    net = f"--net=/run/netns/{fleet.status['client_netns']}"
    with subprocess.Popen(["nsenter", net, "setpriv", "--pdeathsig", "KILL", "wrk", "-t1",
                           "-c16", f"-d{seconds}s", url], text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as load:
        time.sleep(SETTLE_S)
        began = time.monotonic()
        fleet.run("roll", "web", "--image", image, "--key", "deploy", "--wait", timeout=120)
        took = time.monotonic() - began
        if load.poll() is not None:
            raise Failed(f"the roll took {took:.1f} s, longer than the load: --seconds")
        report = load.communicate(timeout=seconds + 30)[0]
    fleet.wait_ready(ready=replicas, epoch=epoch, seconds=120)
    total, failed, _ = read_wrk(report)
    return {"seconds": took, "requests": total, "failed": failed}


def run_size(fleet, replicas, rounds, seconds, epoch):
    images = [fleet.hello(), fleet.hello("image-2.yaml")]
    fleet.apply(epoch=epoch, replicas=replicas, standby=0, started=False, drain="30s")
    service = fleet.wait_ready(ready=replicas, epoch=epoch, seconds=120)
    samples = []
    for number in range(rounds):
        epoch += 1
        samples.append(one_roll(fleet, service, images[(number + 1) % 2], epoch, replicas,
                                seconds))
        print(f"\r{replicas} nodes: {number + 1}/{rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return samples, epoch + 1


def report(replicas, samples):
    times = [s["seconds"] for s in samples]
    p50, p99 = quantile(times, .5), quantile(times, .99)
    requests, failed = (sum(s[name] for s in samples) for name in ("requests", "failed"))
    promise = PROMISES_S.get(replicas)
    verdict = ""
    if promise is not None:
        met = p50 <= promise and failed == 0 and requests >= LEAST_REQUESTS
        verdict = f"; promised {promise:.0f} s and 0 failed: {'met' if met else 'NOT MET'}"
    print(f"roll of {replicas} nodes, {len(samples)} rolls: p50 {p50:.2f} s, p99 {p99:.2f} s; "
          f"{failed} of {requests} requests failed{verdict}")
    return {"p50_s": p50, "p99_s": p99, "requests": requests, "failed": failed,
            "samples": samples}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--nodes", default="3,10", help="sizes of the service")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=15, help="length of the load of a roll")
    parser.add_argument("--json", help="write every figure and sample here")
    args = parser.parse_args()
    results, epoch = {}, 1
    with Fleet(args.build, hosts=3) as fleet:
        for replicas in map(int, args.nodes.split(",")):
            samples, epoch = run_size(fleet, replicas, args.rounds, args.seconds, epoch)
            results[replicas] = report(replicas, samples)
    write_json(args.json, {"rounds": args.rounds, "nodes": results})


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"roll: {failure}")
