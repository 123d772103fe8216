# SPDX-License-Identifier: Apache-2.0
"""Agents that are none: they speak the link's protocol, and say what a test wants."""
import base64
import itertools
import json
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import time

VERSION = 3


class Closed(Exception):
    """The other side has ended the connection."""


class Identity:
    """An ed25519 key and the certificate around it, as every link has one."""

    def __init__(self, folder, name):
        self.name = name
        self.pem = pathlib.Path(folder) / f"{name}.pem"
        key = self.pem.with_suffix(".key")
        if not self.pem.exists():
            subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key],
                           check=True, capture_output=True)
            made = subprocess.run(["openssl", "req", "-x509", "-new", "-key", key, "-subj", "/CN=x",
                                   "-days", "9"], check=True, capture_output=True)
            self.pem.write_bytes(key.read_bytes() + made.stdout)

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(self.pem)
        return context


def connect(address, source=None, timeout=5.0):
    """A TCP connection from @source, an address of this machine."""
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=timeout,
                                    source_address=(source, 0) if source else None)


class Agent:
    """One link. Reports itself as @host, with whatever key it has."""

    def __init__(self, address, identity, host=None, source=None):
        self.host = host or identity.name
        self.sequence = itertools.count(1)
        self.tls = identity.context().wrap_socket(connect(address, source))
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.tls.close()

    # ---- frames ----

    @staticmethod
    def frame(document):
        data = json.dumps(document).encode()
        return struct.pack(">I", len(data)) + data

    def send(self, document):
        self.tls.sendall(self.frame(document))

    def receive(self, seconds=5.0):
        """The next frame; Closed when there will be none, TimeoutError when none came in time."""
        end = time.monotonic() + seconds
        while len(self.buffer) < 4 or len(self.buffer) - 4 < self.wanted():
            self.tls.settimeout(max(0.001, end - time.monotonic()))
            try:
                got = self.tls.recv(65536)
            except TimeoutError:
                raise
            except (OSError, ssl.SSLError) as why:
                raise Closed(str(why)) from None
            if not got:
                raise Closed("the end of the stream")
            self.buffer += got
        size = self.wanted()
        body, self.buffer = self.buffer[4:4 + size], self.buffer[4 + size:]
        return json.loads(body)

    def wanted(self):
        return struct.unpack(">I", self.buffer[:4])[0]

    def is_open(self):
        """Does the other side still hold the connection? Throws away what it says."""
        try:
            while True:
                self.receive(0.05)
        except TimeoutError:
            return True
        except Closed:
            return False

    # ---- the protocol ----

    def enrol(self, token):
        raw = base64.urlsafe_b64decode(token.removeprefix("dnt1.") + "==")
        self.send({"type": "enrol", "host": self.host,
                   "secret": base64.b64encode(raw[80:112]).decode()})
        return self.receive()

    def hello(self, version=VERSION, session=None):
        self.send({"type": "hello", "version": version, "host": self.host, "term": 0,
                   "session": session or os.urandom(16).hex()})
        return self.receive()

    def fact(self, kind, **body):
        return {"type": "fact", "kind": kind, "seq": next(self.sequence), **body}

    def report(self, nodes=(), incidents=(), slots=0):
        return self.fact("report", report={
            "host": self.host, "version": "1", "kernel": "1", "boot_id": "b", "capabilities": {},
            "slots": slots, "slots_used": 0, "nodes": list(nodes), "incidents": list(incidents),
            "epochs": {}})

    def node(self, number, service="evil", host=None, address=None, state="ready"):
        return {"id": f"{service}-{number:08x}", "service": service, "host": host or self.host,
                "address": address, "state": state, "role": "active", "health": "healthy",
                "image": {"ref": "apps/x", "commit": "0" * 64}, "epoch": 1, "digest": "0" * 64,
                "started": None, "incident": None}

    def incident(self, number, service="evil", host=None):
        return {"id": f"{number:016x}", "service": service, "node": f"{service}-{number:08x}",
                "host": host or self.host, "class": "exec", "detail": "x" * 200, "drill": False,
                "image": {"ref": "apps/x", "commit": "0" * 64}, "epoch": 1,
                "event_time": "2026-01-01T00:00:00.000000000Z", "state": "open",
                "replacements": [], "stages": {}, "first_drop": None, "packets_after_cut": 0,
                "sockets": [], "conntrack": [], "event_monotonic": 0}


def enrolled(supervisor, name, source=None):
    """An identity that the cluster of @supervisor knows by @name."""
    identity = Identity(supervisor.folder, name)
    with Agent(supervisor.address, identity, source=source) as agent:
        answer = agent.enrol(supervisor.token(name))
    assert answer["type"] == "enrolled", answer
    return identity
