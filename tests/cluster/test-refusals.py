#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a fleet refuses, from the command line to the hosts, and that nothing changes by it."""
import pathlib
import shutil

from fleet import wait_for
from suite import main

UNTRUSTED, CONFLICT = 3, 4


def events(fleet, since=0):
    return [e for e in fleet.ask("events", "-n", "1000")["events"] if e["id"] > since]


def last_event(fleet):
    return events(fleet)[-1]["id"]


def picture(fleet):
    """Everything a refusal must leave as it is."""
    nodes = sorted(fleet.ask("nodes")["nodes"], key=lambda node: node["id"])
    return fleet.ask("services")["services"], nodes


def come_to_rest(fleet, epoch=1):
    fleet.wait_ready(ready=3, standby=3, epoch=epoch)
    fleet.wait_still()


def sign(fleet, file, key="deploy", signature=None):
    signature = signature or file.with_name(file.name + ".minisig")
    fleet.run("manifest", "sign", file, "--key", key, "--output", signature)
    return signature


def is_refused(fleet, file, why, code=UNTRUSTED, key=None):
    """Apply what must be refused: one line that says why, an event, and nothing else."""
    before, since = picture(fleet), last_event(fleet)
    done = fleet.run("apply", file, *(["--key", key] if key else []), check=False)
    assert done.returncode == code, (done.returncode, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and why in lines[0], done.stderr
    # The answer does not wait until its event is on disk, from where it is told.
    told = wait_for("an event", lambda: [e for e in events(fleet, since)
                                         if e["kind"] == "manifest.refused"])
    assert len(told) == 1 and why in told[0]["text"], told
    assert told[0]["severity"] in ("warning", "critical"), told
    after = picture(fleet)
    assert after == before, f"before {before}, after {after}"


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def a_manifest_that_was_changed_after_signing_is_refused(fleet):
    file = fleet.manifest(epoch=2, replicas=2)
    sign(fleet, file)
    file.write_text(file.read_text().replace("replicas: 2", "replicas: 1"))
    is_refused(fleet, file, "0 of 1 signatures")


def a_signature_with_one_bit_changed_is_refused(fleet):
    file = fleet.manifest(epoch=2, replicas=2)
    signature = sign(fleet, file)
    lines = signature.read_text().splitlines()
    # Behind the algorithm and the key's number: the signature's own bytes.
    lines[1] = lines[1][:40] + ("A" if lines[1][40] != "A" else "B") + lines[1][41:]
    signature.write_text("\n".join(lines) + "\n")
    is_refused(fleet, file, "0 of 1 signatures")
    signature.unlink()


def a_key_that_nobody_trusts_declares_nothing(fleet):
    is_refused(fleet, fleet.manifest(epoch=2), "0 of 1 signatures", key="stranger")


def a_release_key_declares_no_service(fleet):
    file = fleet.manifest(epoch=2)
    done = fleet.run("apply", file, "--key", "release", check=False)
    assert done.returncode == UNTRUSTED, done
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def the_signature_of_one_service_does_not_fit_another(fleet):
    web = fleet.manifest(epoch=2)
    site = fleet.manifest(service="site", epoch=2)
    signature = sign(fleet, site, signature=site.with_name(site.name + ".web.minisig"))
    shutil.copy(sign(fleet, web), signature)
    is_refused(fleet, site, "0 of 1 signatures")
    signature.unlink()
    web.with_name(web.name + ".minisig").unlink()


def a_manifest_past_its_time_is_refused(fleet):
    file = fleet.manifest(epoch=2, more="valid_until: 2020-01-01T00:00:00Z\n")
    is_refused(fleet, file, "was valid until 2020", key="deploy")


def an_older_epoch_and_the_same_with_other_bytes_are_refused(fleet):
    fleet.apply(epoch=3)
    come_to_rest(fleet, epoch=3)
    is_refused(fleet, fleet.manifest(epoch=2), "3", key="deploy")
    is_refused(fleet, fleet.manifest(epoch=3, replicas=2), "3", code=CONFLICT, key="deploy")


def an_image_with_one_byte_changed_is_refused_by_hosts_while_the_old_nodes_serve(fleet):
    repo = pathlib.Path(f"/var/lib/{fleet.name}/supervisor/repo/objects")
    known = set(repo.rglob("*.filez"))
    commit = fleet.hello("image-2.yaml")
    new = sorted(set(repo.rglob("*.filez")) - known)
    assert new, "the second image has no file of its own"
    before = {n["id"] for n in fleet.nodes("web", state="ready")}
    since = last_event(fleet)
    with fleet.load(fleet.service()["vip"], rate=1000) as load:
        # In the header, whose bytes are owner and mode: part of what is hashed.
        flip(new[0], 19)
        fleet.apply(epoch=4, commit=commit, version="2")
        told = wait_for("a host to refuse twice", lambda: [
            e for e in events(fleet, since) if e["kind"] == "image.refused"][1:])
        for event in told:
            assert event["severity"] == "critical" and event["host"], event
            assert event["service"] == "web" and commit[:12] in event["text"], event
            assert "refused what http://" in event["text"], event
        assert {n["id"] for n in fleet.nodes("web", state="ready")} == before
        assert not [n for n in fleet.nodes("web", epoch=4) if n["state"] in (
            "created", "starting", "standby", "ready")]
        flip(new[0], 19)
        fleet.wait_ready(ready=3, epoch=4)
    print(f"# {len(told)} refusals: {load.summary}")
    assert load.summary["answers"] > 1000, "too little load to count"
    assert load.summary["failed"] == 0 and load.summary["refused"] == 0, load.summary


def a_key_for_one_service_does_not_declare_another(fleet):
    """With a supervisor whose trust file has a rule for it."""
    file = pathlib.Path(fleet.status["home"]) / "trust.yaml"
    lines = ["services: [{services: db, keys: [dba]}, {services: \"*\", keys: [deploy]}]"
             if line.startswith("services:") else line for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines) + "\n")
    fleet.run("trust", "check", file)
    fleet.restart_supervisor()
    come_to_rest(fleet, epoch=4)
    is_refused(fleet, fleet.manifest(epoch=5), "dba", key="dba")
    is_refused(fleet, fleet.manifest(service="db"), "deploy", key="deploy")


def a_service_of_two_keys_takes_two_keys(fleet):
    """With a supervisor whose trust file has a rule for it."""
    file = pathlib.Path(fleet.status["home"]) / "trust.yaml"
    text = file.read_text()
    file.write_text(text.replace("services: [", "services: [{services: vault, "
                                 "keys: [deploy, dba], threshold: 2}, ", 1))
    fleet.run("trust", "check", file)
    fleet.restart_supervisor()
    come_to_rest(fleet, epoch=4)
    vault = fleet.manifest(service="vault", replicas=1)
    signatures = [sign(fleet, vault)]
    is_refused(fleet, vault, "1 of 2 signatures")
    signatures.append(sign(fleet, vault, signature=vault.with_name(vault.name + ".b.minisig")))
    is_refused(fleet, vault, "1 of 2 signatures")
    sign(fleet, vault, key="dba", signature=signatures[1])
    planned = fleet.run("apply", vault, "--plan").stdout
    assert "nothing is changed yet" in planned, planned
    signatures.pop().unlink()
    planned = fleet.run("apply", vault, "--plan", "--key", "dba").stdout
    assert "nothing is changed yet" in planned, planned
    signatures.pop().unlink()
    planned = fleet.run("apply", vault, "--plan", "--key", "dba", "--key", "deploy").stdout
    assert "nothing is changed yet" in planned, planned
    file.write_text(text)
    fleet.restart_supervisor()
    come_to_rest(fleet, epoch=4)


def what_a_supervisor_believes_alone_is_refused_by_every_host(fleet):
    """The hosts' trust file is that of their enrolment, and does not have the key for db."""
    since = last_event(fleet)
    before = {n["id"] for n in fleet.nodes("web", state="ready")}
    with fleet.load(fleet.service()["vip"], rate=1000) as load:
        fleet.run("apply", fleet.manifest(service="db"), "--key", "dba")
        def refusing():
            told = [e for e in events(fleet, since) if e["kind"] == "manifest.refused"]
            assert all(e["severity"] == "critical" and "0 of 1 signatures" in e["text"] and
                       "\n" not in e["text"] for e in told), told
            return {e["host"] for e in told} == {"h1", "h2", "h3"}
        wait_for("every host to refuse", refusing)
    assert not fleet.nodes("db"), "a node of a manifest that hosts do not believe"
    assert {n["id"] for n in fleet.nodes("web", state="ready")} == before
    assert load.summary["failed"] == 0 and load.summary["refused"] == 0, load.summary


def prepare(fleet):
    for name in ("stranger", "dba"):
        fleet.run("key", "gen", name, "--role", "deploy")
    fleet.apply()
    come_to_rest(fleet)


if __name__ == "__main__":
    main([
        a_manifest_that_was_changed_after_signing_is_refused,
        a_signature_with_one_bit_changed_is_refused,
        a_key_that_nobody_trusts_declares_nothing,
        a_release_key_declares_no_service,
        the_signature_of_one_service_does_not_fit_another,
        a_manifest_past_its_time_is_refused,
        an_older_epoch_and_the_same_with_other_bytes_are_refused,
        an_image_with_one_byte_changed_is_refused_by_hosts_while_the_old_nodes_serve,
        a_key_for_one_service_does_not_declare_another,
        a_service_of_two_keys_takes_two_keys,
        what_a_supervisor_believes_alone_is_refused_by_every_host,
    ], hosts=3, prepare=prepare)
