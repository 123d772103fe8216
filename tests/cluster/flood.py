# SPDX-License-Identifier: Apache-2.0
"""A hostile node that floods the sensor (flooder.c): made, set off, and calmed again."""
import contextlib
import shutil

from fleet import wait_for

OBSERVED = "drift: {mount: observe, ptrace: observe}\n"


def apply(fleet, service="flooder", replicas=1, epoch=1, cpu=1):
    """A service of such nodes; what it does most is only observed, by its manifest or by default."""
    folder = fleet.scratch / "flooder"
    if not folder.exists():
        folder.mkdir()
        shutil.copy(fleet.build / "tests/cluster/flooder", folder)
        (folder / "readme").write_text("no program\n")
        (folder / "image.yaml").write_text(
            "{dnode: image/v1, ref: apps/flooder, files: [{source: flooder, path: /bin/flooder, "
            'mode: "0755"}, {source: readme, path: /readme}], '
            "run: {args: [/bin/flooder], user: 1000}}\n")
    fleet.apply(service=service, epoch=epoch, commit=fleet.image(folder), ref="apps/flooder",
                replicas=replicas, standby=0, started=False, cpu=cpu, health="/", more=OBSERVED)
    fleet.wait_ready(service, ready=replicas)


def say(fleet, what, service="flooder"):
    """Ask the service; a node that is cut by it does not answer."""
    return fleet.get(f"http://{fleet.service(service)['vip']}/{what}", check=False)


@contextlib.contextmanager
def running(fleet, service="flooder"):
    wait_for("the flood to begin", lambda: say(fleet, "flood", service))
    try:
        yield
    finally:
        say(fleet, "rest", service)
