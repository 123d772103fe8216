#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Debian packages, installed with apt in a new root of this machine's release, run the act.

    test-package.py PACKAGES ACT [WORK]

PACKAGES is where dnode_*.deb and dnode-agent_*.deb are, ACT the script act.sh, WORK a directory
for the root (a temporary one). As root. apt's own configuration of this machine says where packages
come from.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

EXTRA = ["systemd-standalone-sysusers", "systemd-standalone-tmpfiles", "iproute2", "curl"]
SOURCES = [pathlib.Path("/etc/apt/sources.list"), *sorted(pathlib.Path(
    "/etc/apt/sources.list.d").glob("*.sources")), *sorted(pathlib.Path(
        "/etc/apt/sources.list.d").glob("*.list"))]


class Failed(Exception):
    """A command that did not succeed, with the end of what it said."""


def run(*command, timeout=600, **options):
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, **options)
    if done.returncode != 0:
        raise Failed(f"{command[0]} failed with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def release():
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.split("=")[1].strip('"')
    raise Failed("/etc/os-release names no VERSION_CODENAME")


def make_root(root, options):
    """A root with apt and nothing that this project needs."""
    settings = [line for line in run("apt-config", "dump").splitlines()
                if line.startswith("Acquire")]
    options.write_text("\n".join(settings) + "\n")
    run("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--aptopt={options}",
        release(), root, *[source for source in SOURCES if source.is_file()])


def install(root, packages):
    inside = root / "packages"
    inside.mkdir()
    for package in packages:
        shutil.copy(package, inside)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", PATH="/usr/sbin:/usr/bin:/sbin:/bin")
    run("chroot", root, "apt-get", "update", env=environment)
    run("chroot", root, "apt-get", "install", "-y", "--no-install-recommends", *EXTRA,
        *[f"/packages/{package.name}" for package in packages], env=environment)


# pivot_root, not chroot: the kernel makes no user namespace for who is in a chroot.
ENTER = """
set -e
mount --bind "$1" "$1"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
mount -t tmpfs -o mode=755 run "$1/run"
cd "$1"
pivot_root . mnt
umount -l /mnt
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh /act.sh "$2"
"""


def act(root, script, name):
    shutil.copy(script, root / "act.sh")
    # Nodes' roots are mounts with mapped users: their parents must let others pass.
    root.chmod(0o755)
    return run("unshare", "--mount", "--propagation=private", "--pid", "--net", "--fork",
               "--kill-child", "sh", "-c", ENTER, "enter", root, name, timeout=300)


def check_failpoints(root):
    """Places that can be made to fail are for tests, not for a fleet."""
    programs = [root / "usr/sbin/dnode-agent", root / "usr/sbin/dnode-supervisor",
                root / "usr/bin/dnode"]
    for program in programs:
        if b"dn_failpoints" in program.read_bytes():
            raise Failed(f"{program} has failpoints")


def check_scripts(root):
    """What the package manager does to the units, read in the scripts it has installed."""
    info, units = root / "var/lib/dpkg/info", root / "lib/systemd/system"
    touched = [path.name for path in info.glob("dnode*.p*") if "dnode.slice" in path.read_text()]
    if touched or not (units / "dnode.slice").is_file():
        raise Failed(f"the slice of all nodes is not there or touched by {touched}")
    for package, unit in (("dnode", "dnode-supervisor"), ("dnode-agent", "dnode-agent")):
        preinst = info / f"{package}.preinst"
        if preinst.exists() and "invoke stop" in preinst.read_text():
            raise Failed(f"an upgrade stops {unit} and does not start it again")
        if f"try-restart '{unit}.service'" not in (info / f"{package}.postinst").read_text():
            raise Failed(f"an upgrade leaves the old {unit} running")
    if "stop dnode-supervisor.service" not in (info / "dnode.prerm").read_text():
        raise Failed("the supervisor is not stopped when its package is removed")
    for unit in ("dnode-supervisor.service", "dnode-agent.service"):
        if "\nStartLimitIntervalSec=0\n" not in (units / unit).read_text():
            raise Failed(f"{unit} gives up after a few starts")


def forget(name):
    """What a failed act may have left in the kernel."""
    for hierarchy in pathlib.Path("/sys/fs/cgroup").glob("*"):
        top = hierarchy / name
        for group in sorted(top.rglob("*"), reverse=True) if top.is_dir() else []:
            if group.is_dir():
                group.rmdir()
        if top.is_dir():
            top.rmdir()
    shutil.rmtree(pathlib.Path("/sys/fs/bpf") / name, ignore_errors=True)


def main(packages, script, work=None):
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return 0
    found = sorted(p for p in pathlib.Path(packages).glob("dnode*.deb") if "dbgsym" not in p.name)
    if len(found) != 2:
        print("1..0 # SKIP the packages are not built; ./dev package does it")
        return 0
    name = f"dnt{os.getpid()}"
    top = pathlib.Path(work or tempfile.mkdtemp(prefix="dnt-package-"))
    top.mkdir(exist_ok=True)
    top.chmod(0o755)
    steps = [("a new root is made", lambda: make_root(top / "root", top / "apt.conf")),
             ("apt installs both packages in it", lambda: install(top / "root", found)),
             ("no program of theirs has failpoints", lambda: check_failpoints(top / "root")),
             ("their scripts stop what is removed and leave nodes alone",
              lambda: check_scripts(top / "root")),
             ("README's steps give a cluster, a host, a service and an answered drill",
              lambda: print(act(top / "root", script, name)))]
    print(f"1..{len(steps)}", flush=True)
    failed = 0
    try:
        for n, (what, step) in enumerate(steps, 1):
            try:
                step()
                print(f"ok {n} - {what}", flush=True)
            except (Failed, OSError, subprocess.SubprocessError) as error:
                failed = 1
                print(f"not ok {n} - {what}\n# " + str(error).replace("\n", "\n# "), flush=True)
                break
    finally:
        forget(name)
        shutil.rmtree(top / "root", ignore_errors=True)
        if work is None:
            shutil.rmtree(top)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
