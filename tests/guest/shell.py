#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A root shell on the guest's serial line, for a person: its disk is a copy, as left by the last run.

    shell.py BUILD [--fresh]    BUILD is the directory build-guest; --fresh takes an unused disk
"""
import pathlib
import subprocess
import sys

from machine import command_line

LOGIN = "systemd.wants=serial-getty@ttyS0.service"


def main(build, fresh=None):
    build = pathlib.Path(build).resolve()
    base = next(build.glob("base-*"), None)
    if base is None:
        print("no guest was made yet: run ./dev check-guest first", file=sys.stderr)
        return 5
    used, payload = build / "run/disk.ext4", build / "run/packages.tar"
    disk = build / "shell.ext4"
    source = base / "disk.ext4" if fresh or not used.is_file() else used
    subprocess.run(["cp", "--sparse=always", source, disk], check=True)
    print("log in as root, no password; Ctrl-A X puts the machine out", flush=True)
    command = command_line(base, disk, payload, LOGIN) + ["-serial", "mon:stdio"]
    try:
        return subprocess.run(list(map(str, command)), check=False).returncode
    finally:
        disk.unlink()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
