#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`meson install` with DESTDIR gives a tree that works by itself and knows nothing of its build."""
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

# Relative to the prefix.
FILES = """bin/dnode sbin/dnode-supervisor sbin/dnode-agent libexec/dnode/dnode-log
libexec/dnode/dnode-drill lib/tmpfiles.d/dnode.conf lib/tmpfiles.d/dnode-agent.conf
lib/sysusers.d/dnode.conf lib/systemd/system/dnode-supervisor.service
lib/systemd/system/dnode-agent.service lib/systemd/system/dnode.slice
share/bash-completion/completions/dnode share/zsh/site-functions/_dnode
share/fish/vendor_completions.d/dnode.fish share/man/man1/dnode.1 share/man/man1/dnode-apply.1
share/man/man5/dnode-manifest.5 share/man/man8/dnode-agent.8
lib/dnode/examples/manifests/hello.yaml lib/dnode/examples/images/hello/image.yaml
lib/dnode/examples/images/hello/hello""".split()


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def say(self, good, what, why=""):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {what}")
        for line in str(why).splitlines() if not good else []:
            print(f"#   {line}")


def run(*command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, timeout=120, **options)


def regular(top):
    return [f for f in top.rglob("*") if f.is_file() and not f.is_symlink()]


def check_places(tap, top, build, root):
    strangers = [str(f) for f in regular(top) for name in (build, root)
                 if os.fsencode(str(name)) in f.read_bytes()]
    tap.say(not strangers, "no installed file names the directory it was built in",
            "\n".join(strangers))
    loose = [f"{f} {stat.filemode(f.stat().st_mode)}" for f in regular(top)
             if f.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_ISUID | stat.S_ISGID)]
    tap.say(not loose, "nothing is writable by others or set-id", "\n".join(loose))


def check_programs(tap, prefix, scratch):
    for name in ("bin/dnode", "sbin/dnode-supervisor", "sbin/dnode-agent"):
        done = run(prefix / name, "--version", env={"PATH": "/usr/bin:/bin"})
        tap.say(done.returncode == 0, f"{name} runs from where it was installed", done.stderr)
    home = scratch / "home"
    commands = [["cluster", "init"], ["key", "gen", "release", "--role", "release"],
                ["image", "build", prefix / "lib/dnode/examples/images/hello", "--key", "release"],
                ["image", "verify", "apps/hello"],
                ["manifest", "check", *sorted((prefix / "lib/dnode/examples/manifests").iterdir())]]
    for words in commands:
        done = run(prefix / "bin/dnode", *words, "--home", home)
        tap.say(done.returncode == 0, f"the installed dnode does '{' '.join(map(str, words[:2]))}'",
                done.stderr)


def check_units(tap, prefix):
    analyze = shutil.which("systemd-analyze")
    units = prefix / "lib/systemd/system"
    if analyze is None:
        print(f"ok {tap.count + 1} - units # SKIP systemd is not installed")
        tap.count += 1
        return
    # The programs are not in /usr yet; everything else must be to systemd's liking.
    done = run(analyze, "verify", "--man=no", *sorted(units.iterdir()),
               env=dict(os.environ, SYSTEMD_UNIT_PATH=f"{units}:"))
    said = [line for line in done.stderr.splitlines()
            if "is not executable" not in line and str(units) in line or "dnode" in line
            and "is not executable" not in line]
    tap.say(not said, "systemd finds no fault with the units", "\n".join(said))
    done = run(analyze, "security", "--offline=true", "--threshold=20",
               units / "dnode-supervisor.service")
    tap.say(done.returncode == 0, "systemd rates the supervisor's exposure at 2.0 or less",
            done.stdout[-300:] + done.stderr)


def main(build, root):
    build, root = pathlib.Path(build).resolve(), pathlib.Path(root).resolve()
    tap = Tap()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="dnt-install-"))
    try:
        done = run("meson", "install", "-C", build, "--no-rebuild", "--strip", "--destdir",
                   scratch / "destdir")
        tap.say(done.returncode == 0, "meson install succeeds", done.stdout + done.stderr)
        found = sorted((scratch / "destdir").rglob("bin/dnode"))
        prefix = found[0].parent.parent if found else scratch
        missing = [name for name in FILES if not (prefix / name).is_file()]
        tap.say(not missing, "everything is where it belongs", "\n".join(missing))
        check_places(tap, scratch / "destdir", build, root)
        check_programs(tap, prefix, scratch)
        check_units(tap, prefix)
    finally:
        shutil.rmtree(scratch)
    print(f"1..{tap.count}")
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
