#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each shell, with its completion sourced, completes what a person has begun to type."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

# What stands on the line, and words that must be, and must not be, among the answers.
CASES = [
    ("dnode ima", {"image"}, {"apply"}),
    ("dnode image ", {"build", "push", "ls"}, {"image", "init"}),
    ("dnode images b", {"build"}, set()),
    ("dnode image build --k", {"--key"}, {"--repo"}),
    ("dnode --home /x image build --r", {"--repo", "--ref"}, {"--key"}),
    ("dnode --agent nod", {"node"}, {"apply"}),
    ("dnode nodes --agent w", {"web"}, {"node"}),
    ("dnode --agent /run/x nodes w", {"web"}, {"node"}),
    ("dnode lab m", set(), {"monitor"}),
    ("dnode nodes w", {"web"}, {"db"}),
    ("dnode roll ", {"status", "web", "db"}, {"build"}),
    ("dnode drill exec ", {"web", "db"}, {"status"}),
    ("dnode apply x.yaml --key ", {"ops"}, {"--plan"}),
    ("dnode key gen ann --role d", {"deploy"}, {"release"}),
    ("dnode apply x.yaml --js", {"--json"}, {"--plan"}),
]

# A fleet that has two services, so that no daemon is needed to complete their names.
DNODE = """#!/bin/sh
printf '{"services": [{"name": "web", "vip": "10.99.0.1"}, {"name" : "db"}]}\\n'
"""

BASH = """
source "$1"
line=$2
read -ra COMP_WORDS <<<"$line"
[[ $line != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_dnode
printf '%s\\n' "${COMPREPLY[@]}"
"""

ZSH = """
source "$1"
words=("${(@s: :)2}")
CURRENT=${#words}
current=${words[CURRENT]}
compadd() { shift; print -l -- ${(M)@:#$current*}; }
_files() { :; }
_dnode
"""

FISH = r"""
source $argv[1]
complete -C $argv[2] | string replace -r '\t.*' ''
true
"""

SHELLS = {"bash": ["bash", "-c", BASH, "bash"], "zsh": ["zsh", "-fc", ZSH, "zsh"],
          "fish": ["fish", "--no-config", "-c", FISH]}


def complete(shell, script, line, home):
    environment = dict(os.environ, PATH=f"{home}:{os.environ['PATH']}", DNODE_HOME=str(home),
                       HOME=str(home))
    done = subprocess.run([*SHELLS[shell], script, line], capture_output=True, text=True,
                          env=environment, timeout=30, check=True)
    assert not done.stderr, done.stderr
    return set(done.stdout.split())


def main(shell, script):
    if not shutil.which(shell):
        print(f"1..0 # SKIP {shell} is not installed")
        return 0
    faults = 0
    print(f"1..{len(CASES)}")
    with tempfile.TemporaryDirectory(prefix="dnt") as directory:
        home = pathlib.Path(directory)
        (home / "dnode").write_text(DNODE)
        (home / "dnode").chmod(0o755)
        (home / "keys").mkdir()
        (home / "keys" / "ops.key").touch()
        for n, (line, wanted, unwanted) in enumerate(CASES, 1):
            found = complete(shell, script, line, home)
            good = wanted <= found and not unwanted & found
            faults += not good
            print(f"{'ok' if good else 'not ok'} {n} - {shell} completes '{line}'")
            if not good:
                print(f"# found {sorted(found)}, wanted {sorted(wanted)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
