#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The supervisor as a service manager runs it: without any privilege, asked for signs of life."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

NOBODY = 65534
SECONDS = 30


class Failed(Exception):
    """Something that should have happened and did not."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def dnode(program, *words):
    subprocess.run([program, *map(str, words)], check=True, stdin=subprocess.DEVNULL,
                   capture_output=True, timeout=60)


def give(tree, uid):
    for path in (tree, *tree.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


def await_word(listener, wanted, seconds=SECONDS):
    """Datagrams until one says what is wanted; returns all that were said."""
    said = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        listener.settimeout(max(0.01, end - time.monotonic()))
        try:
            said.append(listener.recv(4096).decode())
        except TimeoutError:
            break
        if said[-1] == wanted:
            return said
    raise Failed(f"no {wanted}; said were {said}")


class Service:
    """One supervisor below a directory of its own, as uid nobody when we are root."""

    def __init__(self, top, command, supervisor):
        self.top, self.command = top, command
        home = top / "etc"
        dnode(command, "cluster", "init", "--dir", home, "--listen", f"127.0.0.1:{free_port()}",
              "--repo-listen", f"127.0.0.1:{free_port()}")
        # Whoever unpacked the sources, nobody must be able to run the program.
        program = shutil.copy(supervisor, top / "dnode-supervisor")
        (top / "state").mkdir()
        (top / "run").mkdir()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.bind(str(top / "notify"))
        self.drop = []
        if os.geteuid() == 0:
            top.chmod(0o755)
            give(top, NOBODY)
            self.drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                         "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        self.arguments = [*self.drop, program, "--config", home, "--state", top / "state",
                          "--run", top / "run"]
        self.process = None

    def start(self):
        environment = dict(os.environ, NOTIFY_SOCKET=str(self.top / "notify"),
                           WATCHDOG_USEC="200000")
        with open(self.top / "log", "wb") as log:
            self.process = subprocess.Popen(list(map(str, self.arguments)), env=environment,
                                            stdin=subprocess.DEVNULL, stderr=log)

    def ask(self, *words):
        done = subprocess.run([*self.drop, str(self.copy()), *words, "--supervisor",
                               f"unix:{self.top}/run/supervisor.sock"], capture_output=True,
                              text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Failed(f"dnode {' '.join(words)}: {done.stderr}")
        return done.stdout

    def copy(self):
        copy = self.top / "dnode"
        if not copy.exists():
            shutil.copy(self.command, copy)
        return copy


def status_of(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.split()[1:]
    return []


def is_ready(service):
    await_word(service.listener, "READY=1")
    service.ask("hosts", "--json")


def is_unprivileged(service):
    pid = service.process.pid
    assert set(status_of(pid, "Uid")) == {str(NOBODY if service.drop else os.getuid())}
    assert not service.drop or status_of(pid, "CapEff") == ["0000000000000000"]


def is_alive(service):
    for _ in range(3):
        await_word(service.listener, "WATCHDOG=1", 5)


def falls_silent(service):
    """A stopped main loop is what the watchdog is there to find."""
    service.process.send_signal(signal.SIGSTOP)
    service.listener.setblocking(False)
    try:
        time.sleep(0.3) # what was on its way has arrived
        while True:
            service.listener.recv(4096)
    except BlockingIOError:
        pass
    time.sleep(0.6)
    try:
        raise Failed(f"a stopped supervisor says {service.listener.recv(4096)}")
    except BlockingIOError:
        service.process.send_signal(signal.SIGCONT)
        service.listener.setblocking(True)


def stops(service):
    service.process.send_signal(signal.SIGTERM)
    await_word(service.listener, "STOPPING=1")
    assert service.process.wait(SECONDS) == 0, "it did not end well"


STEPS = [("a supervisor without any privilege gets ready and says so", is_ready),
         ("it has no capability and is not root", is_unprivileged),
         ("its watchdog is fed while it runs", is_alive),
         ("its watchdog is not fed while its main loop stands", falls_silent),
         ("it feeds the watchdog again afterwards", is_alive),
         ("it says that it stops, and ends with 0", stops)]


def main(command, supervisor):
    failed = 0
    print(f"1..{len(STEPS)}")
    top = pathlib.Path(tempfile.mkdtemp(prefix="dnt-service-"))
    service = None
    try:
        service = Service(top, command, supervisor)
        service.start()
        for n, (what, step) in enumerate(STEPS, 1):
            try:
                step(service)
                print(f"ok {n} - {what}", flush=True)
            except (Failed, AssertionError, OSError, subprocess.SubprocessError) as error:
                failed += 1
                print(f"not ok {n} - {what}\n# {error}", flush=True)
    finally:
        if service is not None and service.process is not None and service.process.poll() is None:
            service.process.kill()
            service.process.wait()
        if failed:
            print("# " + (top / "log").read_text(errors="replace").replace("\n", "\n# "))
        shutil.rmtree(top)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
