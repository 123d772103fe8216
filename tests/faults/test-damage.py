#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The supervisor's state is damaged while it is stopped: refused in one line, and left as it is.

Fault 14 of docs/faults.md, of a supervisor without hosts. Every fault is repeated 20 times, or
DNODE_TEST_ROUNDS times.
"""
import contextlib
import hashlib
import os
import pathlib
import random
import shutil
import sqlite3
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
# pylint: disable=wrong-import-position
from alone import main, must_apply, rounds, timed
from fleet import Failed, wait_for

UNTRUSTED = 3


def digests(state):
    """Of what is evidence; that there was a start is journalled, and SQLite began a log."""
    return {f: hashlib.sha256(f.read_bytes()).digest() for f in state.glob("store.db*")
            if f.name != "store.db-shm" and f.stat().st_size > 0}


def is_left_as_it_was(state, before):
    now = digests(state)
    wrong = [str(f) for f in before.keys() | now.keys() if before.get(f) != now.get(f)]
    assert not wrong, f"what was damaged was not left as it was: {wrong}"


def damaged(cluster, source, change):
    """A copy of a state with something done to it."""
    alone = cluster.fresh()
    shutil.copytree(source.state, alone.state)
    change(alone.state)
    alone.epoch, alone.asked = source.epoch, source.asked
    return alone


def is_refused_as_damaged(cluster, source, change):
    with damaged(cluster, source, change) as alone:
        before = digests(alone.state)
        code, line = alone.refuses_to_start()
        assert code == UNTRUSTED and "store.db" in line and "backup" in line, (code, line)
        is_left_as_it_was(alone.state, before)
        shutil.rmtree(alone.state)
    return line


def truncate(name, share):
    def change(state):
        file = state / name
        os.truncate(file, int(file.stat().st_size * share))
    return change


def tear_last_page(state):
    file = state / "store.db"
    with open(file, "r+b") as data:
        data.seek(file.stat().st_size - 4096 + 512)
        data.write(os.urandom(4096 - 512))


def rows(file):
    """What SQLite reads of a database, or how it fails."""
    try:
        with contextlib.closing(sqlite3.connect(file)) as store:
            return [store.execute(f"SELECT * FROM {table}").fetchall()
                    for table in ("entry", "counter")]
    except sqlite3.DatabaseError as failure:
        return str(failure)


def flip_one(source, scratch, chance):
    """A copy of the database with one bit flipped, and whether anything reads differently by it."""
    data = bytearray((source.state / "store.db").read_bytes())
    bit = chance.randrange(len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    scratch.write_bytes(data)
    good = rows(source.state / "store.db")
    # Reading must leave no log behind.
    copy = scratch.with_suffix(".copy")
    shutil.copyfile(scratch, copy)
    return rows(copy) != good


def stopped_state(cluster, epochs, clean=True):
    alone = cluster.fresh().start()
    for number in range(epochs):
        must_apply(alone)
        alone.token(f"h{number}")
    if clean:
        alone.stop()
        assert not (alone.state / "store.db-wal").exists()
    else:
        alone.kill()
        assert (alone.state / "store.db-wal").stat().st_size > 0
    return alone


@timed("fault 14, cut")
def a_state_that_was_cut_or_torn_is_refused_in_one_line_and_left_as_it_is(cluster):
    source = stopped_state(cluster, 12)
    killed = stopped_state(cluster, 12, clean=False)
    changes = {
        "empty": truncate("store.db", 0), "half": truncate("store.db", 0.5),
        "torn": tear_last_page, "missing": lambda state: (state / "store.db").unlink(),
        "no database": lambda state: (state / "store.db").write_bytes(b"x" * 8192)}
    for _ in range(max(1, rounds(20) // 20)):
        for what, change in changes.items():
            print(f"# {what}: {is_refused_as_damaged(cluster, source, change)[:150]}")
        # The log beside it is part of it.
        is_refused_as_damaged(cluster, killed, truncate("store.db", 0))
        is_refused_as_damaged(cluster, killed, truncate("store.db-wal", 0.3))
        is_refused_as_damaged(
            cluster, killed, lambda state: (state / "store.db-wal").unlink())
    # Nothing was wrong with what it was copied from.
    source.start()
    source.promises()
    source.stop()


@timed("fault 14, flipped")
def a_flipped_bit_is_refused_or_was_of_no_account(cluster):
    source = stopped_state(cluster, 12)
    chance = random.Random(14)
    scratch = cluster.scratch / "flipped.db"
    refused, tried, of_account, times = 0, 0, 0, rounds(20)
    while refused < times:
        differs = flip_one(source, scratch, chance)
        tried, of_account = tried + 1, of_account + differs
        if not differs and tried % 16:
            continue  # free space, as most of a small database is
        with damaged(cluster, source, lambda state: shutil.copyfile(
                scratch, state / "store.db")) as alone:
            before = digests(alone.state)
            alone.process = alone.spawn()
            with contextlib.suppress(Failed):
                wait_for("it to answer", alone.is_up, 20, every=0.01)
            if alone.process.poll() is None:
                assert not differs, "it runs on a state that is not what was written"
                alone.promises()
            else:
                assert alone.process.returncode == UNTRUSTED, alone.said()
                assert len(alone.said().strip().splitlines()) == 1, alone.said()
                is_left_as_it_was(alone.state, before)
                refused += 1
        shutil.rmtree(alone.state)
    print(f"# of {tried} flipped bits {of_account} changed what is read; {refused} were refused")


if __name__ == "__main__":
    main([
        a_state_that_was_cut_or_torn_is_refused_in_one_line_and_left_as_it_is,
        a_flipped_bit_is_refused_or_was_of_no_account,
    ])
