#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A host does not leave, or take another name, while it holds what is not its own to throw away.

The agent is run without a capability and on directories of its own: what it would wrongly begin
with fails.

    test-leaving.py AGENT
"""
import base64
import fcntl
import hashlib
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

from tap import Skip, run

CONFLICT, UNSUPPORTED = 4, 7
INCIDENT = "0123456789abcdef"
RECORD = """{"id":"%s","service":"web","node":"web-00000001","host":"h1","class":"exec","drill":false,
"image":{"ref":"apps/hello","commit":"c"},"epoch":1,"event_time":null,"state":"%s","replacements":[],
"stages":{},"first_drop":null,"packets_after_cut":0,"sockets":[],"conntrack":[]}"""


def token(host):
    """One that is well made, of a supervisor that is not there."""
    body = struct.pack(">Q", int(time.time()) + 600) + bytes(8) + bytes(96)
    for text in (host, "127.0.0.1:1"):
        body += bytes([len(text)]) + text.encode()
    body += hashlib.sha256(body).digest()[:4]
    return "dnt1." + base64.urlsafe_b64encode(body).decode().rstrip("=")


class Host:
    def __init__(self, agent, folder):
        self.agent, self.folder = agent, pathlib.Path(folder)
        self.state, self.run_dir = self.folder / "state", self.folder / "run"
        self.config = self.folder / "agent.yaml"
        self.config.write_text(
            f"name: h1\nuplink: lo\nruntime: /bin/true\nstate_dir: {self.state}\n"
            f"run_dir: {self.run_dir}\nruntime_root: {self.run_dir}/runtime\n"
            f"libexec_dir: {self.folder}\ncgroup_parent: dnt{os.getpid()}\n"
            f"bpf_dir: /sys/fs/bpf/dnt{os.getpid()}\nsupervisor: 127.0.0.1:1\n")
        for path in (self.state / "incidents", self.run_dir / "nodes"):
            path.mkdir(parents=True)

    def call(self, *words):
        bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
        done = subprocess.run([*bare, self.agent, "--config", self.config, *words],
                              capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == UNSUPPORTED:
            raise Skip(done.stderr.strip())
        return done

    def refuses(self, why, *words):
        before = sorted(self.folder.rglob("*"))
        done = self.call(*words)
        assert done.returncode == CONFLICT and why in done.stderr, f"{words}: {done}"
        assert len(done.stderr.splitlines()) == 1, done.stderr
        kept = [p for p in before if p.exists()]
        assert kept == before, f"{words} took away {set(before) - set(kept)}"

    def record(self, text, incident=INCIDENT):
        path = self.state / "incidents" / f"{incident}.json"
        path.write_text(text)
        return path


def a_host_whose_agent_runs_is_not_cleaned_up(host):
    with open(host.run_dir / "agent.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        host.refuses("an agent of h1 runs", "cleanup")
        host.refuses("an agent of h1 runs", "cleanup", "--force")


def a_host_with_evidence_is_not_cleaned_up_unless_told_to(host):
    for state in ("open", "captured", "sealed"):
        record = host.record(RECORD % (INCIDENT, state))
        host.refuses(f"incident destroy {INCIDENT}", "cleanup")
        record.unlink()


def a_record_that_cannot_be_read_is_taken_for_evidence(host):
    for text in ("", "{}", RECORD % ("00000000000000ff", "destroyed"), "{" * 100):
        record = host.record(text)
        host.refuses(INCIDENT, "cleanup")
        record.unlink()


def a_host_with_nodes_or_evidence_takes_no_other_key(host):
    node = host.run_dir / "nodes" / "web-00000001.json"
    node.write_text("{}")
    host.refuses("(web-00000001)", "enrol", token("h1"))
    node.unlink()
    record = host.record(RECORD % (INCIDENT, "open"))
    host.refuses(f"incident destroy {INCIDENT}", "enrol", token("h1"))
    record.write_text(RECORD % (INCIDENT, "destroyed"))
    done = host.call("enrol", token("h1"))
    assert done.returncode not in (0, CONFLICT), "nobody listens there"
    record.unlink()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix=f"dnt{os.getpid()}-") as scratch:
        sys.exit(run(Host(sys.argv[1], scratch), [
            a_host_whose_agent_runs_is_not_cleaned_up,
            a_host_with_evidence_is_not_cleaned_up_unless_told_to,
            a_record_that_cannot_be_read_is_taken_for_evidence,
            a_host_with_nodes_or_evidence_takes_no_other_key,
        ]))
