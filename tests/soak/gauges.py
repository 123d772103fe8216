# SPDX-License-Identifier: Apache-2.0
"""What a lab holds at this moment: of each daemon, and on the machine, where only this lab is counted."""
import collections
import json
import os
import pathlib
import re
import subprocess

from figures import resident_kib

# What grows with what was done, by design; judge.py says how far it may.
GROWING = ("incidents", "journal", "store.db", "store.db-wal")


def kind_of(link):
    """/proc/PID/fd/N -> socket, eventfd, bpf-map, a path without its names of nodes."""
    if link.startswith(("socket:", "pipe:")):
        return link.partition(":")[0]
    if link.startswith("anon_inode:"):
        return link.partition(":")[2].strip("[]")
    return re.sub(r"[0-9a-f]{8,}", "ID", link)


def descriptors(pid):
    """Open descriptors of a process by kind."""
    kinds = collections.Counter()
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            kinds[kind_of(os.readlink(entry))] += 1
        except FileNotFoundError:
            pass
    return kinds


def threads(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/task").iterdir()))


def files_below(path):
    """(files, KiB) at or below a path; what goes away meanwhile is not there."""
    path = pathlib.Path(path)
    if path.is_file():
        return 1, path.stat().st_size / 1024
    count, size = 0, 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                status = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            count += 1
            size += status.st_size
    return count, size / 1024


def count_nft(netns):
    """Objects of a namespace's ruleset by kind; elements of sets and maps are counted too."""
    text = subprocess.run(["nsenter", f"--net=/run/netns/{netns}", "nft", "-j", "list", "ruleset"],
                          capture_output=True, text=True, check=True, timeout=60).stdout
    counts = collections.Counter()
    for item in json.loads(text)["nftables"]:
        for kind, body in item.items():
            if kind == "metainfo":
                continue
            counts[kind] += 1
            if kind in ("set", "map"):
                counts["element"] += len(body.get("elem", ()))
    return counts


def count_lines(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return len(done.stdout.splitlines())


class Gauges:
    """Takes every figure of one lab. Nodes are told from other labs' by the names of services."""

    def __init__(self, fleet, prefix):
        self.fleet = fleet
        self.prefix = prefix
        root = pathlib.Path("/sys/fs/cgroup")
        root = root / "unified" if (root / "unified").is_dir() else root
        self.cgroup = root / fleet.name
        self.hosts = [h["name"] for h in fleet.status["hosts"]]

    def daemons(self):
        """Name -> process id."""
        status = self.fleet.ask("lab", "status", "--name", self.fleet.name)
        found = {h["name"]: h["pid"] for h in status["hosts"]}
        found["supervisor"] = status["supervisor"]["pid"]
        return found

    def processes(self):
        """(those of nodes and helpers, those that nobody has waited for)."""
        pids = {str(pid) for pid in self.daemons().values()}
        lab, libexec = f"/{self.fleet.name}/", f"/var/lib/{self.fleet.name}/libexec/"
        running = dead = 0
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                after = (entry / "stat").read_text().rpartition(")")[2].split()
                if after[0] == "Z":
                    dead += after[1] in pids
                elif lab in (entry / "cgroup").read_text():
                    running += 1
                elif os.readlink(entry / "exe").startswith(libexec):
                    running += 1
            except OSError:
                continue
        return running, dead

    def kernel(self):
        """Objects that a daemon made and that would outlive it."""
        found = collections.Counter()
        for host in self.hosts:
            netns = f"{self.fleet.name}-{host}"
            for kind, count in count_nft(netns).items():
                found["nft " + kind] += count
            inside = ["nsenter", f"--net=/run/netns/{netns}"]
            found["links"] += count_lines(*inside, "ip", "-o", "link")
            found["routes"] += count_lines(*inside, "ip", "-o", "route", "show", "table", "all")
            found["conntrack"] += count_lines(*inside, "conntrack", "-L")
            found["pins"] += files_below(f"/sys/fs/bpf/{netns}")[0]
        found["netns"] = sum(self.prefix in entry.name
                             for entry in pathlib.Path("/run/netns").iterdir())
        found["cgroups"] = sum(1 for _ in os.walk(self.cgroup))
        dying = re.search(r"^nr_dying_descendants (\d+)", (self.cgroup / "cgroup.stat").read_text(),
                          re.M)
        found["dying cgroups"] = int(dying.group(1))
        return found

    def mounts(self, pids):
        """Of this lab, in the machine's namespace and in the daemons' own."""
        count = 0
        for pid in ["self", *pids]:
            for line in pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
                count += f"/{self.fleet.name}/" in line or self.prefix in line
        return count

    def disk(self):
        """Files and KiB of every folder of the state, summed over the hosts."""
        files, size = collections.Counter(), collections.Counter()
        state = pathlib.Path(f"/var/lib/{self.fleet.name}")
        owners = [(h, "host") for h in self.hosts] + [("supervisor", "supervisor")]
        for owner, kind in owners:
            for entry in (state / owner).iterdir():
                count, kib = files_below(entry)
                files[f"files {kind} {entry.name}"] += count
                if entry.name in GROWING:
                    size[f"KiB {kind} {entry.name}"] += kib
        found = dict(files)
        found.update({name: round(kib, 1) for name, kib in size.items()})
        found["files run"] = files_below(f"/run/{self.fleet.name}")[0]
        return found

    def take(self):
        """Every figure by name; beside it what descriptors there are, to name what leaks."""
        daemons = self.daemons()
        found, kinds = {}, {}
        for name, pid in daemons.items():
            kinds[name] = descriptors(pid)
            size = resident_kib(pid)
            found[f"descriptors {name}"] = sum(kinds[name].values())
            found[f"threads {name}"] = threads(pid)
            found[f"Rss KiB {name}"], found[f"Pss KiB {name}"] = size["Rss"], size["Pss"]
        found["descriptors, agents"] = sum(found[f"descriptors {host}"] for host in self.hosts)
        found["processes"], found["zombies"] = self.processes()
        found["mounts"] = self.mounts(daemons.values())
        found.update(self.kernel())
        found.update(self.disk())
        return {"figures": found, "kinds": kinds, "pids": daemons}
