# SPDX-License-Identifier: Apache-2.0
"""Failpoints of a lab's daemons (docs/failpoints.md): listed, armed, and what became of them."""
import json
import os
import pathlib
import signal
import subprocess

from fleet import Failed, wait_for


class Daemon:
    """The supervisor or one agent of a fleet."""

    def __init__(self, fleet, name):
        self.fleet, self.name = fleet, name
        run = pathlib.Path("/run") / fleet.name
        self.run_dir = run / name
        self.socket = self.run_dir / ("supervisor.sock" if name == "supervisor" else "agent.sock")
        self.state_dir = pathlib.Path("/var/lib") / fleet.name / name

    def call(self, body=None):
        """The points, or None while it does not answer; Failed when it refuses."""
        more = ["-H", "Content-Type: application/json", "-d", json.dumps(body)] if body else []
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "10", "--unix-socket", str(self.socket), *more,
             "http://daemon/v1/debug/failpoints"], capture_output=True, text=True, check=False)
        if done.returncode != 0 or not done.stdout:
            return None
        told = json.loads(done.stdout)
        if "failpoints" not in told:
            raise Failed(f"{self.name}: {told}")
        return {p["name"]: p for p in told["failpoints"]}

    def points(self):
        return wait_for(f"{self.name} to answer", self.call)

    def arm(self, spec):
        return wait_for(f"{self.name} to answer", lambda: self.call({"arm": spec}))

    def arm_next(self, spec):
        """For its next start, once."""
        (self.run_dir / "failpoints").write_text(spec)

    def pid(self):
        status = self.fleet.ask("lab", "status", "--name", self.fleet.name)
        row = status["supervisor"] if self.name == "supervisor" else next(
            h for h in status["hosts"] if h["name"] == self.name)
        return row["pid"]

    def lives(self):
        """How often the lab has started it anew."""
        status = self.fleet.ask("lab", "status", "--name", self.fleet.name)
        row = status["supervisor"] if self.name == "supervisor" else next(
            h for h in status["hosts"] if h["name"] == self.name)
        return row["restarts"]

    def kill(self):
        """kill -9; returns when the lab starts another, which may not answer, or not live long."""
        lives = self.lives()
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
        wait_for(f"a new {self.name}", lambda: self.lives() > lives)
