#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What protection costs a service: requests a second, p99, and single system calls.

A node of images/hello and one of bench/calls.c, each beside a twin: the same container made by the
same runtime from the same configuration, but without a seccomp filter, outside of the agent's
control group and firewall, and measured while the sensor's tracepoints are detached. wrk runs in the
host's network namespace. Pairs in random order; every ratio's median has a 95 % bootstrap interval.
Tracepoints are the whole kernel's: labs that run beside this one cost both sides the same.
"""
import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/cluster"))
from figures import bootstrap, median, read_wrk, write_json  # noqa: E402
from fleet import Failed, Fleet, wait_for  # noqa: E402
from tracepoints import Tracepoints  # noqa: E402

PROMISE = .97
LEAST_PAIRS = 20
# How often each is done at a time.
CALLS = {"cheap": 100000, "refused": 50000, "open": 20000, "mmap": 5000, "code": 20000,
         "fork": 300, "exec": 150}


def setting(fleet, key):
    """Of the host's agent.yaml."""
    text = pathlib.Path(fleet.status["hosts"][0]["config"]).read_text()
    return re.search(rf'^{key}: *"?([^"\s]+)', text, re.M).group(1)


class Twin:
    """A node's container again, unprotected, reached from the host by a veth of its own."""

    def __init__(self, fleet, service, number):
        self.name = f"{fleet.name}-twin{number}"
        self.bundle = fleet.scratch / self.name
        self.root = fleet.scratch / "twins"
        self.net = f"10.213.{number}"
        self.host = fleet.status["hosts"][0]["netns"]
        self.address = f"{self.net}.2"
        self.node = wait_for("a node", lambda: fleet.nodes(service, state="ready"))[0]
        bundle = pathlib.Path(setting(fleet, "run_dir"), "bundles", self.node["id"])
        self.bundle.mkdir()
        config = json.loads((bundle / "config.json").read_text())
        config["linux"].pop("seccomp")
        config["linux"]["cgroupsPath"] = f"/{self.name}/node"
        for namespace in config["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = f"/run/netns/{self.name}"
        (self.bundle / "config.json").write_text(json.dumps(config))

    @staticmethod
    def run(*command, check=True):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=30, check=False)
        if check and done.returncode != 0:
            raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")

    def crun(self, *words, check=True):
        self.run("crun", "--root", str(self.root), *words, check=check)

    def __enter__(self):
        ip = ("ip", "-n", self.host)
        link = f"vt{self.name[-1]}"
        self.run("ip", "netns", "add", self.name)
        self.run(*ip, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns",
                 self.name)
        self.run(*ip, "addr", "add", f"{self.net}.1/24", "dev", link)
        self.run(*ip, "link", "set", link, "up")
        self.run("ip", "-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            self.run("ip", "-n", self.name, "link", "set", device, "up")
        # The runtime gives all three to the container's user: none may be a device of the host.
        with open(self.bundle / "log", "w+b") as log:
            subprocess.run(["crun", "--root", str(self.root), "run", "--detach", "--bundle",
                            str(self.bundle), self.name], stdin=log, stdout=log, stderr=log,
                           check=False, timeout=30)
        return self

    def __exit__(self, *_):
        self.crun("delete", "--force", self.name, check=False)
        self.run("ip", "netns", "del", self.name, check=False)
        for group in pathlib.Path("/sys/fs/cgroup").glob(f"**/{self.name}"):
            with contextlib.suppress(OSError):
                group.rmdir()


def in_host(fleet, *command, timeout=60):
    done = fleet.client("nsenter", f"--net=/run/netns/{fleet.status['hosts'][0]['netns']}",
                        *command, check=False, timeout=timeout)
    if done.returncode != 0:
        raise Failed(f"{command[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def load(fleet, address, seconds):
    """Requests a second and the p99 in microseconds; every single one has to succeed."""
    said = in_host(fleet, "wrk", "-t1", "-c32", f"-d{seconds}s", "--latency",
                   f"http://{address}:8080/whoami", timeout=seconds + 30)
    total, failed, a_second = read_wrk(said)
    if failed or not total:
        raise Failed(f"{address}: {failed} of {total} requests failed")
    number, unit = re.search(r"99% +([\d.]+)(us|ms|s)", said).groups()
    return {"requests": a_second, "p99": float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]}


def calls(fleet, address):
    """Nanoseconds for one of each."""
    found = {}
    for what, times in CALLS.items():
        found[what] = float(in_host(fleet, "curl", "-sS", "--max-time", "50",
                                    f"http://{address}:8080/{what}/{times}"))
        if found[what] <= 0:
            raise Failed(f"{address}: {what} did not do what it has to")
    return found


def calls_image(fleet):
    folder = fleet.scratch / "calls"
    folder.mkdir()
    shutil.copy(fleet.build / "bench/calls", folder)
    (folder / "image.yaml").write_text(
        "{dnode: image/v1, ref: apps/calls, files: [{source: calls, path: /bin/calls, "
        'mode: "0755"}], run: {args: [/bin/calls], user: 1000}}\n')
    return fleet.image(folder)


@contextlib.contextmanager
def stopped(pid):
    """The agent: it would put the tracepoints back, and its own work is no part of this."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def measure(fleet, pairs, seconds):
    common = dict(replicas=1, standby=0, started=False, cpu=2)
    fleet.apply(**common)
    fleet.apply(service="calls", commit=calls_image(fleet), ref="apps/calls", health="/", **common)
    for service in ("web", "calls"):
        fleet.wait_ready(service, ready=1)
    samples = []
    with contextlib.ExitStack() as stack:
        twins = [stack.enter_context(Twin(fleet, service, number))
                 for number, service in enumerate(("web", "calls"), 1)]
        sides = {"protected": [twin.node["address"] for twin in twins],
                 "unprotected": [twin.address for twin in twins]}
        for addresses in sides.values():
            load(fleet, addresses[0], 1)
        stack.enter_context(stopped(fleet.daemon_pid("h1")))
        points = Tracepoints(setting(fleet, "bpf_dir"))
        stack.callback(points.attach)
        for number in range(pairs):
            sample = {}
            for side in random.sample(sorted(sides), 2):
                (points.attach if side == "protected" else points.detach)()
                sample[side] = dict(load(fleet, sides[side][0], seconds),
                                    **calls(fleet, sides[side][1]))
            samples.append(sample)
            print(f"\rpair {number + 1}/{pairs}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return samples


def compare(samples, what):
    ratios = [s["protected"][what] / s["unprotected"][what] for s in samples]
    more = [s["protected"][what] - s["unprotected"][what] for s in samples]
    return {"protected": median([s["protected"][what] for s in samples]),
            "unprotected": median([s["unprotected"][what] for s in samples]),
            "ratio": median(ratios), "interval": bootstrap(ratios), "more": median(more),
            "more_interval": bootstrap(more)}


def report(samples):
    figures = {what: compare(samples, what) for what in ["requests", "p99", *CALLS]}
    names = {"requests": "requests/s", "p99": "p99, us"}
    print(f"{len(samples)} pairs; medians, 95 % intervals; calls in nanoseconds\n"
          f"  {'':12}{'protected':>12}{'unprotected':>12}   {'ratio':<22}{'difference'}")
    for what, f in figures.items():
        ratio = "{:.3f} [{:.3f}, {:.3f}]".format(f["ratio"], *f["interval"])
        print(f"  {names.get(what, what):12}{f['protected']:12.0f}{f['unprotected']:12.0f}   "
              f"{ratio:<22}" + "{:+.0f} [{:+.0f}, {:+.0f}]".format(f["more"], *f["more_interval"]))
    low, high = figures["requests"]["interval"]
    verdict = "met" if low >= PROMISE else "NOT MET" if high < PROMISE else "not decided"
    if len(samples) < LEAST_PAIRS:
        verdict = f"{LEAST_PAIRS} pairs are needed to say"
    print(f"  promised: {PROMISE} of unprotected requests/s: {verdict}")
    return {"figures": figures, "samples": samples}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--seconds", type=int, default=3, help="of each run of wrk")
    parser.add_argument("--json", help="write every figure and sample here")
    args = parser.parse_args()
    with Fleet(args.build, hosts=1) as fleet:
        figures = report(measure(fleet, args.pairs, args.seconds))
    write_json(args.json, figures)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"overhead: {failure}")
