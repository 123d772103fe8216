#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The README's own service in ten lines, taken from the README and run as a new user would."""
import pathlib
import re
import subprocess

from fleet import Failed, wait_for
from suite import main

README = (pathlib.Path(__file__).resolve().parents[2] / "README.md").read_text()


def block(before):
    """The indented lines that follow the first line with `before`, as a shell reads them."""
    lines = README[README.index(before):].splitlines()[1:]
    while not lines[0].startswith("    "):
        lines.pop(0)
    end = next(i for i, line in enumerate(lines) if not line.startswith("    "))
    return "\n".join(line[4:] for line in lines[:end]) + "\n"


def run(fleet, script, folder):
    """In this lab instead of the demo's, and in a folder of the test's own."""
    script = script.replace("/tmp/mine", str(folder)) \
                   .replace("$PWD/build/cli/main", str(fleet.build / "cli/main"))
    done = subprocess.run(["bash", "-ec", "umask 022\n" + script], capture_output=True, text=True,
                          env=fleet.environment(), timeout=120, cwd=fleet.scratch, check=False)
    if done.returncode != 0:
        raise Failed(f"{script}\nexit {done.returncode}: {done.stderr}")
    return done.stdout


def is_served_drilled_and_removed(fleet, service):
    assert fleet.get(f"http://{fleet.service(service)['vip']}/") == "mine\n"
    incident = fleet.ask("drill", "exec", service)["incident"]["id"]
    fleet.wait_ready(service, ready=2)
    fleet.run("remove", service, "--key", "deploy")
    fleet.destroy(incident)
    wait_for("none of it", lambda: not fleet.nodes(service))


def a_static_program_is_a_service_by_the_ten_lines(fleet):
    folder = fleet.scratch / "mine"
    said = run(fleet, block("Say it is this one") + block("The ten lines:"), folder)
    assert re.search(r"^mine .*running", said, re.M), said
    is_served_drilled_and_removed(fleet, "mine")


def a_dynamically_linked_program_is_one_from_a_root_tree(fleet):
    folder = fleet.scratch / "dynamic"
    program = fleet.scratch / "myprog"
    recipe = re.search(r"# image\.yaml: (\{.*\})", README)[1]
    lines = block("A dynamically linked program").replace("/usr/bin/myprog", str(program))
    ten = block("The ten lines:").replace("apps/mine", "apps/myprog").splitlines()
    deploy = "\n".join(ten[4:]).replace("service: mine", "service: myprog") + "\n"
    run(fleet, block("Say it is this one") + f"gcc -o {program} /tmp/mine/mine.c\n"
        "export PATH=$PWD/build/cli/main:$PATH && cd /tmp/mine\n" + lines
        + f"cat > image.yaml <<'END'\n{recipe}\nEND\n" + deploy, folder)
    is_served_drilled_and_removed(fleet, "myprog")


if __name__ == "__main__":
    main([
        a_static_program_is_a_service_by_the_ten_lines,
        a_dynamically_linked_program_is_one_from_a_root_tree,
    ], hosts=2)
