#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What people's keys sign: the real command against a supervisor that is played here.

    test-signing.py DNODE
"""
import base64
import http.server
import json
import os
import pathlib
import socketserver
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cluster"))
from tap import run  # noqa: E402

DONE, BAD_INPUT, UNTRUSTED, UNAVAILABLE = 0, 2, 3, 5
COMMIT, OTHER_COMMIT = "ab" * 32, "cd" * 32
MANIFEST = """\
dnode: v1
service: {service}
epoch: {epoch}
image: {{ref: apps/hello, commit: %s}}
replicas: 2
resources: {{memory: 64MiB, cpu: 0.5, pids: 32, files: 256}}
""" % COMMIT


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with what the played supervisor has for the path, and keeps what is posted."""
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass

    def answer(self, body):
        data = json.dumps({"schema": "dnode/v1", **(body or {})}).encode()
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.answer(self.server.answers.get(self.path))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, body))
        self.answer({"changed": True, "changes": [], "placement": []})


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Desk:
    """A person's directory with keys, and the supervisor that their command asks."""

    def __init__(self, dnode, folder):
        self.dnode, self.folder = dnode, pathlib.Path(folder)
        self.home = self.folder / "home"
        self.server = Server(str(self.folder / "sock"), Handler)
        self.server.answers, self.server.posted = {}, []
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.call("cluster", "init", "--dir", self.home)
        for name, role in (("ann", "deploy"), ("bob", "deploy"), ("ray", "responder"),
                           ("ria", "responder")):
            self.call("key", "gen", name, "--role", role)
        self.call("key", "gen", "dba", "--role", "deploy", "--for", "db")
        self.trust = self.home / "trust.yaml"
        self.trusting = self.trust.read_text()

    def call(self, *words, status=DONE, home=None):
        environment = dict(os.environ, DNODE_HOME=str(home or self.home),
                           DNODE_SUPERVISOR=f"unix:{self.folder}/sock")
        done = subprocess.run([self.dnode, *map(str, words)], env=environment, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
        assert done.returncode == status, (words, done.returncode, done.stderr)
        return done.stdout + done.stderr

    def write(self, name, text):
        file = self.folder / name
        file.write_text(text)
        return file

    def sign(self, text, *keys):
        """The signature files of a manifest, by each key."""
        file = self.write("signed.yaml", text)
        made = []
        for key in keys:
            self.call("manifest", "sign", file, "--key", key, "--output", self.folder / "made")
            made.append((self.folder / "made").read_bytes())
        return made

    def in_force(self, text, signatures, service="web"):
        """What the supervisor says when it is asked for the service."""
        answer = {"manifest": base64.b64encode(text.encode()).decode(), "service": service}
        if signatures is not None:
            answer["signatures"] = [base64.b64encode(s).decode() for s in signatures]
        self.server.answers = {f"/v1/services/{service}/manifest": answer}
        self.server.posted.clear()

    def believe(self, change=lambda text: text):
        self.trust.write_text(change(self.trusting))
        self.call("trust", "check")

    def posted(self):
        """The only thing that was sent: path, its document, the signatures."""
        (path, body), = self.server.posted
        document = body.get("manifest") or body.get("statement")
        return path, base64.b64decode(document).decode(), [
            base64.b64decode(s).decode() for s in body["signatures"]]

    def signers(self, comment):
        """Whose signatures were sent, in their order, each with the trusted comment."""
        _, document, signatures = self.posted()
        data = self.write("posted", document)
        found = []
        for signature in signatures:
            assert f"trusted comment: {comment}\n" in signature, signature
            file = self.write("posted.minisig", signature)
            found += [key.stem for key in sorted((self.home / "keys").glob("*.pub"))
                      if subprocess.run(["minisign", "-Vq", "-p", key, "-m", data, "-x", file],
                                        capture_output=True, check=False).returncode == 0]
        assert len(found) == len(signatures), (found, signatures)
        return found


CHANGES = (["roll", "web"], ["roll", "web", "--image", OTHER_COMMIT], ["roll", "web", "--plan"],
           ["scale", "web", "3"], ["scale", "web", "3", "--plan"], ["remove", "web"])


def is_refused(desk, why, home=None):
    """Whatever is asked for, nothing is signed: not a byte is posted."""
    for words in CHANGES:
        said = desk.call(*words, "--key", desk.home / "keys/ann.key", status=UNTRUSTED, home=home)
        assert why in said and said.count("\n") == 1, said
        assert not desk.server.posted, desk.server.posted


def what_is_in_force_is_changed_and_signed_when_it_was_signed_by_who_may(desk):
    text = MANIFEST.format(service="web", epoch=4)
    for words, line in zip(CHANGES, ("restart: 1", f"commit: {OTHER_COMMIT}", "restart: 1",
                                     "replicas: 3", "replicas: 3", "state: removed")):
        desk.in_force(text, desk.sign(text, "ann"))
        desk.call(*words, "--key", "bob")
        _, document, _ = desk.posted()
        assert "epoch: 5" in document and line in document, document
        assert desk.signers("dnode manifest web 5") == ["bob"]


def a_manifest_past_its_time_is_changed_all_the_same(desk):
    text = MANIFEST.format(service="web", epoch=4) + "valid_until: 2020-01-01T00:00:00Z\n"
    desk.in_force(text, desk.sign(text, "ann"))
    desk.call("remove", "web", "--key", "ann")
    assert desk.signers("dnode manifest web 5") == ["ann"]


def bytes_that_nobody_signed_are_not_signed(desk):
    text = MANIFEST.format(service="web", epoch=4)
    evil = text + "run: {args: [/bin/evil]}\n"
    desk.in_force(evil, desk.sign(text, "ann"))
    is_refused(desk, "0 of 1 signatures")
    for nothing in ([], None):
        desk.in_force(evil, nothing)
        is_refused(desk, "carries no signature")
    desk.in_force(evil, [b"no signature at all"])
    is_refused(desk, "nothing was signed")


def the_manifest_of_another_service_is_not_signed(desk):
    text = MANIFEST.format(service="site", epoch=4)
    desk.in_force(text, desk.sign(text, "ann"))
    is_refused(desk, "signed as one of site")


def bytes_of_another_service_or_epoch_than_they_were_signed_as_are_not_signed(desk):
    """dnode signs no such thing; minisign does."""
    for service, epoch in (("site", 4), ("web", 7)):
        text = MANIFEST.format(service=service, epoch=epoch)
        file = desk.write("other.yaml", text)
        subprocess.run(["minisign", "-SW", "-s", desk.home / "keys/ann.key", "-m", file, "-x",
                        desk.folder / "made", "-t", "dnode manifest web 4"],
                       check=True, capture_output=True)
        desk.in_force(text, [(desk.folder / "made").read_bytes()])
        is_refused(desk, f"it is of {service}, epoch {epoch}, but was signed as web, epoch 4")


def a_signature_of_who_may_not_sign_for_the_service_does_not_count(desk):
    text = MANIFEST.format(service="web", epoch=4)
    for key in ("dba", "ray"):
        desk.in_force(text, desk.sign(text, key))
        is_refused(desk, "0 of 1 signatures")


def an_epoch_below_the_least_of_the_trust_file_is_not_signed(desk):
    text = MANIFEST.format(service="web", epoch=4)
    desk.in_force(text, desk.sign(text, "ann"))
    desk.believe(lambda trust: trust + "minimum_epochs: {web: 5}\n")
    is_refused(desk, "epoch 4 is below 5")
    desk.believe()


def without_a_trust_file_nothing_is_signed(desk):
    text = MANIFEST.format(service="web", epoch=4)
    desk.in_force(text, desk.sign(text, "ann"))
    is_refused(desk, "copy trust.yaml there", home=desk.folder / "nowhere")


def the_commit_that_a_ref_stands_for_is_told(desk):
    text = MANIFEST.format(service="web", epoch=4)
    desk.in_force(text, desk.sign(text, "ann"))
    desk.server.answers["/v1/images"] = {"images": [
        {"ref": "apps/hello", "commit": "x}\nrun: {args: [/bin/evil]}"},
        {"ref": "apps/hello", "commit": OTHER_COMMIT}]}
    said = desk.call("roll", "web", "--image", "apps/hello", "--key", "ann")
    assert f"--image apps/hello is commit {OTHER_COMMIT}" in said, said
    assert f"commit: {OTHER_COMMIT}" in desk.posted()[1]


def two_of_two(desk):
    """A trust file by which both deploy keys have to sign for any service, and both responders."""
    desk.believe(lambda trust: trust.replace('services: "*", keys: [ann, bob], threshold: 1',
                                             'services: "*", keys: [ann, bob], threshold: 2')
                 .replace("responders: 1", "responders: 2"))
    assert "threshold: 2" in desk.trust.read_text() and "responders: 2" in desk.trust.read_text()


def where_two_have_to_sign_a_change_is_signed_by_both(desk):
    two_of_two(desk)
    text = MANIFEST.format(service="web", epoch=4)
    desk.in_force(text, desk.sign(text, "ann"))
    is_refused(desk, "1 of 2 signatures")
    for words in CHANGES:
        desk.in_force(text, desk.sign(text, "ann", "bob"))
        desk.call(*words, "--key", "bob", "--key", desk.home / "keys/ann.key")
        assert desk.signers("dnode manifest web 5") == ["bob", "ann"]
    desk.believe()


def a_manifest_is_applied_with_what_lies_beside_it_and_with_every_key(desk):
    file = desk.write("web.yaml", MANIFEST.format(service="web", epoch=4))
    beside = desk.folder / "web.yaml.bob.minisig"
    desk.in_force("", None)
    desk.call("manifest", "sign", file, "--key", "bob", "--output", beside)
    for keys, signers in ((["ann"], ["ann", "bob"]), ([], ["bob"]),
                          (["ann", "dba"], ["ann", "dba", "bob"])):
        desk.server.posted.clear()
        desk.call("apply", file, *(word for key in keys for word in ("--key", key)))
        assert desk.signers("dnode manifest web 4") == signers
    # What is left of the epoch before, or is no signature, would have all of it refused.
    file.write_text(MANIFEST.format(service="web", epoch=5))
    desk.write("web.yaml.minisig", "nothing\n")
    desk.server.posted.clear()
    said = desk.call("apply", file, "--key", "ann")
    assert desk.signers("dnode manifest web 5") == ["ann"]
    assert said.count("left out a signature beside it") == 2, said
    assert "of 'dnode manifest web 4'" in said, said


def a_quarantined_node_is_let_go_by_as_many_responders_as_it_takes(desk):
    incident = {"id": "inc-1", "host": "h1", "evidence": None}
    desk.in_force("", None)
    desk.server.answers = {"/v1/incidents/inc-1": {"incident": incident},
                           "/v1/cluster": {"cluster": {"id": "0123456789abcdef"}}}
    desk.call("incident", "destroy", "inc-1", "--key", "ray", "--key", "ria", "--reason", "drill")
    path, document, _ = desk.posted()
    assert path == "/v1/incidents/inc-1/destroy" and "incident: inc-1\n" in document, document
    assert desk.signers("dnode destroy inc-1") == ["ray", "ria"]


def the_same_key_twice_is_one_clear_error(desk):
    text = MANIFEST.format(service="web", epoch=4)
    desk.in_force(text, desk.sign(text, "ann"))
    for words in (["scale", "web", "3"], ["apply", desk.write("web.yaml", text)],
                  ["incident", "destroy", "inc-1", "--reason", "drill"]):
        said = desk.call(*words, "--key", "ann", "--key", desk.home / "keys/ann.key",
                         status=BAD_INPUT)
        assert "are the same key, which counts once" in said and said.count("\n") == 1, said
    assert not desk.server.posted, desk.server.posted


TESTS = [
    what_is_in_force_is_changed_and_signed_when_it_was_signed_by_who_may,
    a_manifest_past_its_time_is_changed_all_the_same,
    bytes_that_nobody_signed_are_not_signed,
    the_manifest_of_another_service_is_not_signed,
    bytes_of_another_service_or_epoch_than_they_were_signed_as_are_not_signed,
    a_signature_of_who_may_not_sign_for_the_service_does_not_count,
    an_epoch_below_the_least_of_the_trust_file_is_not_signed,
    without_a_trust_file_nothing_is_signed,
    the_commit_that_a_ref_stands_for_is_told,
    where_two_have_to_sign_a_change_is_signed_by_both,
    a_manifest_is_applied_with_what_lies_beside_it_and_with_every_key,
    a_quarantined_node_is_let_go_by_as_many_responders_as_it_takes,
    the_same_key_twice_is_one_clear_error,
]


def main(dnode):
    with tempfile.TemporaryDirectory(prefix="dnode-signing-") as folder:
        return run(Desk(dnode, folder), TESTS)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
