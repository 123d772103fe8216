# SPDX-License-Identifier: Apache-2.0
"""A service that answers datagrams with its node's name, and a client of it."""
import shutil
import subprocess
import sys

# Asks ADDRESS PORT from one socket, twenty times a second; notes who answered, a line each.
ASKER = '''
import socket, sys, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setblocking(False)
while True:
    try:
        out.sendto(b"?", (sys.argv[1], int(sys.argv[2])))
        print(out.recv(64).decode(), flush=True)
    except OSError:
        pass
    time.sleep(0.05)
'''


class Asker:
    """A client in the clients' namespace that never changes its port."""

    def __init__(self, fleet, address, port):
        self.notes = fleet.scratch / "asker"
        net = f"--net=/run/netns/{fleet.status['client_netns']}"
        with open(self.notes, "w") as out:
            self.process = subprocess.Popen(
                ["nsenter", net, sys.executable, "-c", ASKER, address, str(port)], stdout=out)
        fleet.cleanup.callback(self.stop)

    def last(self):
        lines = self.notes.read_text().splitlines()
        return lines[-1] if lines else None

    def stop(self):
        self.process.kill()
        self.process.wait()


def image(fleet):
    """The commit of the service's image."""
    folder = fleet.scratch / "echo"
    if not folder.exists():
        folder.mkdir()
        shutil.copy(fleet.build / "tests/cluster/echo", folder)
        (folder / "image.yaml").write_text(
            "{dnode: image/v1, ref: apps/echo, files: [{source: echo, path: /bin/echo, "
            'mode: "0755"}], run: {args: [/bin/echo], user: 1000}}\n')
    return fleet.image(folder)
