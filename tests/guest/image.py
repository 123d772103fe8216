# SPDX-License-Identifier: Apache-2.0
"""The guest's disk: Debian 12 with its own kernel and what the packages depend on, not they."""
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
DISK_MIB = 1536
# A system that boots, and what a person who follows the README would use.
INCLUDE = ["linux-image-cloud-amd64", "systemd", "systemd-sysv", "udev", "dbus", "kmod",
           "nftables", "iproute2", "curl", "procps"]
# What the kernel needs to find its root; everything else it loads from there.
INITRD_MODULES = ["virtio_pci", "virtio_blk", "ext4"]
# Nobody logs in, nothing is old enough to be rotated, and no clock is asked.
MASKED = ["systemd-timesyncd.service", "apt-daily.timer", "apt-daily-upgrade.timer",
          "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
          "getty@tty1.service", "systemd-update-utmp.service", "systemd-networkd-wait-online.service"]


class Failed(Exception):
    """A command that did not succeed, with the end of what it said."""


def run(*command, timeout=1800, **options):
    done = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout, **options)
    if done.returncode != 0:
        raise Failed(f"{command[0]} failed with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def dependencies(packages):
    """Names of what the packages depend on, first alternatives, without each other."""
    own = {run("dpkg-deb", "-f", p, "Package").strip() for p in packages}
    names = set()
    for package in packages:
        for clause in run("dpkg-deb", "-f", package, "Depends").split(","):
            name = re.split(r"[ (|:]", clause.strip())[0]
            if name and name not in own:
                names.add(name)
    return sorted(names)


def sources():
    """Where this machine's apt finds Debian; a mirror of its own counts on any release."""
    here = pathlib.Path("/etc/os-release").read_text()
    files = [pathlib.Path("/etc/apt/sources.list"),
             pathlib.Path("/etc/apt/sources.list.d/debian.sources")]
    found = [f for f in files if f.is_file()]
    return found if found and f"VERSION_CODENAME={SUITE}" in here else [MIRROR]


def overlay_digest(digest):
    for path in sorted((HERE / "root").rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(HERE)} {path.stat().st_mode:o}\n".encode())
            digest.update(path.read_bytes())


def key_of(names):
    """What the disk is made of: another key is another disk."""
    digest = hashlib.sha256(json.dumps([SUITE, DISK_MIB, names, INITRD_MODULES, MASKED]).encode())
    digest.update(pathlib.Path(__file__).read_bytes())
    overlay_digest(digest)
    return digest.hexdigest()[:16]


def write_hooks(top, options):
    """What mmdebstrap does besides unpacking: apt's way out, a small initrd, our own files."""
    settings = [line for line in run("apt-config", "dump").splitlines()
                if line.startswith("Acquire::") and "::Languages" not in line]
    options.write_text("\n".join(settings) + '\nAcquire::Languages "none";\n')
    modules = "\\n".join(INITRD_MODULES)
    hook = top / "essential.sh"
    hook.write_text(f"""#!/bin/sh
set -e
mkdir -p "$1/etc/initramfs-tools/conf.d"
printf 'MODULES=list\\nCOMPRESS=gzip\\n' >"$1/etc/initramfs-tools/conf.d/guest"
printf '{modules}\\n' >"$1/etc/initramfs-tools/modules"
printf '/dev/vda / ext4 rw,noatime 0 0\\n' >"$1/etc/fstab"
""")
    late = top / "customize.sh"
    masked = " ".join(MASKED)
    late.write_text(f"""#!/bin/sh
set -e
cp -a {HERE}/root/. "$1/"
chown -R 0:0 "$1/usr/local/sbin" "$1/etc/systemd/system"
chroot "$1" systemctl enable guest-control.service guest-network.service
for unit in {masked}; do ln -sf /dev/null "$1/etc/systemd/system/$unit"; done
chroot "$1" passwd -d root
printf 'guest\\n' >"$1/etc/hostname"
printf '127.0.0.1 localhost guest\\n::1 localhost\\n' >"$1/etc/hosts"
rm -rf "$1/usr/share/man" "$1/usr/share/info" "$1/var/cache/apt/archives" "$1/var/lib/apt/lists"
find "$1/usr/share/doc" "$1/usr/share/locale" -mindepth 1 -delete
""")
    for script in (hook, late):
        script.chmod(0o755)
    return hook, late


def make_root(top, names):
    root, options = top / "root", top / "apt.conf"
    hook, late = write_hooks(top, options)
    run("mmdebstrap", "--quiet", "--mode=root", "--variant=apt", f"--aptopt={options}",
        '--dpkgopt=path-exclude=/usr/share/man/*', '--dpkgopt=path-exclude=/usr/share/locale/*',
        '--dpkgopt=path-exclude=/usr/share/doc/*',
        f"--include={','.join([*INCLUDE, *names])}", f"--essential-hook={hook} \"$1\"",
        f"--customize-hook={late} \"$1\"", SUITE, root, *sources())
    return root


def ensure(build, packages):
    """The directory that has kernel, initrd and disk for these packages; made when missing."""
    build.mkdir(parents=True, exist_ok=True)
    names = dependencies(packages)
    base = build / f"base-{key_of(names)}"
    if (base / "disk.ext4").is_file():
        return base
    for old in build.glob("base-*"):
        shutil.rmtree(old)
    top = build / f"making-{os.getpid()}"
    top.mkdir()
    try:
        root = make_root(top, names)
        made = top / "made"
        made.mkdir()
        shutil.copy(next((root / "boot").glob("vmlinuz-*")), made / "vmlinuz")
        shutil.copy(next((root / "boot").glob("initrd.img-*")), made / "initrd")
        run("mke2fs", "-q", "-t", "ext4", "-L", "guest", "-d", root, "-E", "root_owner=0:0",
            made / "disk.ext4", f"{DISK_MIB}M")
        made.rename(base)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    return base
