#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What supervisor and hosts have decided stays told, whatever is killed and whoever cuts it off."""
import json
import pathlib
import shutil

from fleet import wait_for
from suite import main

UNTRUSTED = 3


def journals(fleet):
    root = pathlib.Path(f"/var/lib/{fleet.name}")
    found = sorted(root.glob("**/journal"))
    assert len(found) == fleet.hosts + 1, found
    return found


def copy_all(fleet, root):
    """Copies of the journals; empty when one moved on meanwhile, so that they do not fit."""
    shutil.rmtree(root, ignore_errors=True)
    made = []
    for journal in journals(fleet):
        made.append(root / journal.parent.name / "journal")
        shutil.copytree(journal, made[-1])
    done = fleet.run("journal", "verify", *made, check=False)
    return made if done.returncode == 0 else []


def copies(fleet, name):
    """The journals of one moment, to be changed."""
    return wait_for("journals of one moment", lambda: copy_all(fleet, fleet.scratch / name))


def verify(fleet, directories, code=0):
    done = fleet.run("journal", "verify", *directories, "--json", check=False)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout)


def entries(fleet, directory, kind):
    return fleet.ask("journal", "show", directory, "--kind", kind, "-n", "100000")["entries"]


def journal_of(directories, what):
    return next(d for d in directories if d.parent.name == what)


def a_fleet_that_works_has_whole_journals_that_know_each_other(fleet):
    fleet.apply(epoch=1)
    fleet.wait_ready(ready=3)
    told = wait_for("heads to be exchanged", lambda: [
        v for v in [verify(fleet, journals(fleet))] if v["compared"] >= 2 * fleet.hosts])[0]
    assert [j["state"] for j in told["journals"]] == ["whole"] * (fleet.hosts + 1), told
    assert told["findings"] == [], told


def every_decision_of_an_apply_and_a_drill_is_an_entry(fleet):
    fleet.run("drill", "exec", "web")
    supervisor = journal_of(journals(fleet), "supervisor")
    kinds = {e["kind"] for e in entries(fleet, supervisor, "manifest")}
    assert "manifest.accepted" in kinds, kinds
    orders = {e["order"] for e in entries(fleet, supervisor, "order.sent")}
    assert {"manifest", "assign", "drill"} <= orders, orders
    hosts = [d for d in journals(fleet) if d != supervisor]
    by_host = [e for host in hosts for e in entries(fleet, host, "order.accepted")]
    assert {"manifest", "assign", "drill"} <= {e["order"] for e in by_host}, by_host
    opened = [e for host in hosts for e in entries(fleet, host, "incident.opened")]
    known = {i["id"] for i in fleet.incidents()}
    assert {e["incident"] for e in opened} == known, (opened, known)


def killed_in_the_middle_of_work_they_are_still_whole(fleet):
    for epoch in range(2, 6):
        fleet.apply(epoch=epoch, version=str(epoch))
        if epoch % 2:
            fleet.run("drill", "exec", "web", check=False)
        fleet.restart_supervisor()
        fleet.restart_agent("h1")
        told = verify(fleet, journals(fleet))
        assert told["findings"] == [], told
    supervisor = journal_of(journals(fleet), "supervisor")
    terms = entries(fleet, supervisor, "supervisor.started")
    assert len(terms) >= 5, terms
    accepted = entries(fleet, supervisor, "manifest.accepted")
    assert len(accepted) == 5, accepted
    fleet.wait_ready(ready=3, epoch=5)


def what_no_order_tells_of_is_vouched_for_by_the_hosts_too(fleet):
    def last_seen():
        return next(h["last_seen"] for h in fleet.ask("hosts")["hosts"] if h["name"] == "h1")
    fleet.run("host", "cordon", "h2")
    supervisor = journal_of(journals(fleet), "supervisor")
    decided = fleet.ask("journal", "show", supervisor, "-n", "1")["entries"][-1]["seq"]
    for _ in range(2):  # the first may have been on its way
        before = last_seen()
        wait_for("a heartbeat", lambda: last_seen() != before)
    fleet.run("host", "uncordon", "h2")
    # A host keeps a head once a minute, and when its link ends.
    fleet.restart_supervisor()
    heads = [e["of_seq"] for e in entries(fleet, journal_of(journals(fleet), "h1"), "journal.head")
             if e["of"].endswith("/supervisor")]
    assert max(heads) >= decided, (heads, decided)


def cut_off(journal):
    """Take the last batch away, as somebody with the disk could."""
    last = sorted(journal.glob("0*.jsonl"))[-1]
    lines = last.read_text().splitlines(keepends=True)
    assert lines[-1].startswith('{"batch":'), lines[-1]
    end = max(i for i, line in enumerate(lines[:-1]) if line.startswith('{"batch":'))
    last.write_text("".join(lines[:end + 1]))


def a_journal_whose_end_was_cut_off_is_named(fleet):
    directories = copies(fleet, "cut")
    kept = max(e["of_seq"] for e in entries(
        fleet, journal_of(directories, "supervisor"), "journal.head")
        if e["of"].endswith("/host/h1"))
    victim = next(d for d in directories if d.parent.name not in ("supervisor",) and
                  verify(fleet, [d])["journals"][0]["identity"].endswith("/host/h1"))
    while verify(fleet, [victim])["journals"][0]["last"] >= kept:
        cut_off(victim)
    # By itself it is a whole, shorter journal.
    assert verify(fleet, [victim])["findings"] == []
    told = verify(fleet, directories, UNTRUSTED)
    assert len(told["findings"]) == 1, told
    assert "/host/h1 ends at entry" in told["findings"][0], told
    assert f"kept its head at entry {kept}: its end was cut off" in told["findings"][0], told


def a_changed_byte_is_named_with_its_place(fleet):
    directories = copies(fleet, "changed")
    supervisor = journal_of(directories, "supervisor")
    first = supervisor / "0000000001.jsonl"
    data = first.read_bytes()
    first.write_bytes(data.replace(b'"order":"assign"', b'"order":"assist"', 1))
    assert first.read_bytes() != data
    told = verify(fleet, [supervisor], UNTRUSTED)
    assert told["journals"][0]["state"] == "broken", told
    assert "0000000001.jsonl at byte" in told["findings"][0], told


if __name__ == "__main__":
    main([
        a_fleet_that_works_has_whole_journals_that_know_each_other,
        every_decision_of_an_apply_and_a_drill_is_an_entry,
        killed_in_the_middle_of_work_they_are_still_whole,
        what_no_order_tells_of_is_vouched_for_by_the_hosts_too,
        a_journal_whose_end_was_cut_off_is_named,
        a_changed_byte_is_named_with_its_place,
    ], hosts=2)
