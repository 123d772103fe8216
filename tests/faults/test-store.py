#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The supervisor's storage fails in every way, under load; what it has acknowledged stays.

Faults 1, 11 to 13, 15, 17 and 18 of docs/faults.md, of a supervisor without hosts: a round costs no
more than its start. Every fault is repeated 20 times, or DNODE_TEST_ROUNDS times.
"""
import contextlib
import errno
import itertools
import pathlib
import random
import shutil
import subprocess
import sys
import threading

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "cluster"))
# pylint: disable=wrong-import-position
from alone import Readers, main, must_apply, rounds, timed
from fleet import wait_for
from shim import CHANGES, Count, Fail, Full, KillAt, ReadOnly, Shadow

CONFLICT, UNAVAILABLE, EXHAUSTED = 4, 5, 6
SPACE_KB = 8192


@contextlib.contextmanager
def small_disk(path, files=1000):
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SPACE_KB}k,nr_inodes={files}", "dnode",
                    str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@contextlib.contextmanager
def no_space(disk):
    """Every byte of it is taken for as long as the block lasts."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 65536):
            pass
    with open(filler, "ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 512):
            pass
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def no_files(disk):
    """Every inode of it is taken."""
    folder = disk / "filler"
    folder.mkdir()
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (folder / str(number)).touch()
    try:
        yield
    finally:
        shutil.rmtree(folder)


def is_refused(alone, code):
    """A change by the command: one line, the exit code, and nothing of it is there."""
    file, _, _ = alone.cluster.manifest(alone.epoch + 1)
    done = alone.command("apply", file, "--key", "deploy", check=False)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == code and len(lines) == 1, done
    assert "nothing was changed" in lines[0], lines
    service = alone.service()
    assert (service["epoch"] if service else 0) == alone.epoch


def stays_up_and_takes_up_again(alone, fault, code, times):
    """@fault() is a block in which nothing can be stored: one process, every reading answered."""
    pid = alone.process.pid
    with Readers(alone) as readers:
        for number in range(times):
            with fault():
                if number == 0:
                    is_refused(alone, code)
                status, told = alone.apply()
                assert status != 200, "it was acknowledged and cannot have been stored"
                assert "\n" not in told["detail"], told
            # What was taken and not stored is, from then on; else it is asked for again.
            wait_for("changes to be taken again", lambda: alone.apply()[0] == 200, 10)
    assert alone.process.poll() is None and alone.process.pid == pid, alone.said()
    assert readers.answers and not readers.failed, readers.failed[:3]
    alone.promises()


def restarted(alone):
    alone.kill()
    alone.start()
    alone.promises()
    alone.verify_journal()


# ---- 1 ----

def writers(alone, ending):
    """Load that changes: hosts that are to join."""
    for number in itertools.count():
        if ending.wait(0.002):
            return
        with contextlib.suppress(OSError, ValueError):
            alone.token(f"h{number % 50}")


@contextlib.contextmanager
def busy(alone):
    ending = threading.Event()
    thread = threading.Thread(target=writers, args=(alone, ending), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def writes_of_a_change(cluster):
    """How many calls one acknowledged change makes to the disk."""
    with cluster.fresh() as alone:
        alone.start()
        must_apply(alone)
        with cluster.shim.armed(alone.state, Count()) as counted:
            must_apply(alone)
        alone.stop()
    return counted.calls


@timed("fault 1")
def a_supervisor_killed_before_or_after_any_write_keeps_what_it_acknowledged(cluster):
    calls = writes_of_a_change(cluster)
    kinds = {op for op, _ in calls}
    assert {"write", "sync"} <= kinds, calls
    points = list(itertools.product(range(len(calls)), (False, True)))
    wanted, hit = max(len(points), rounds(20)), 0
    with cluster.fresh() as alone:
        alone.start()
        for number, after in itertools.islice(itertools.cycle(points), wanted):
            with cluster.shim.armed(alone.state, KillAt(number, after)) as kill, busy(alone):
                for _ in range(5):
                    with contextlib.suppress(OSError, ValueError):
                        alone.apply()
                    if alone.process.poll() is not None:
                        break
            hit += kill.hits
            if alone.process.poll() is None:
                alone.kill()
            alone.process.wait()
            alone.start()
            alone.promises()
        alone.verify_journal()
        # The state outlives all of it, and can still be changed.
        must_apply(alone)
    print(f"# {wanted} deaths at {len(calls)} calls: {hit} at the call itself")
    assert hit >= wanted * 3 // 4, "too few died where they were meant to"


# ---- 15 ----

def contents(state):
    return {f: f.read_bytes() for f in state.rglob("*")
            if f.is_file() and f.name != "store.db-shm"}


@timed("fault 15")
def writes_that_were_not_synced_at_a_crash_were_not_acknowledged(cluster):
    chance = random.Random(15)
    with cluster.fresh() as alone:
        alone.start()
        must_apply(alone)
        lost = synced = 0
        for number in range(rounds(20)):
            # Every other time where there is most to lose.
            ops = CHANGES if number % 2 else ("sync",)
            kill = KillAt(chance.randrange(4 * len(ops)), number % 4 == 1, ops)
            shadow = Shadow(alone.state, alone.state.parent / "shadow", kill)
            with cluster.shim.armed(alone.state, shadow), busy(alone):
                for _ in range(4):
                    with contextlib.suppress(OSError, ValueError):
                        alone.apply()
                    if alone.process.poll() is not None:
                        break
                if alone.process.poll() is None:
                    alone.kill()
            alone.process.wait()
            before = contents(alone.state)
            shadow.restore()
            lost += before != contents(alone.state)
            synced += shadow.syncs
            alone.start()
            alone.promises()
        alone.verify_journal()
    print(f"# in {lost} of {rounds(20)} crashes something not synced was lost")
    assert synced, "nothing was synced: the test looked at nothing"
    assert lost >= rounds(20) // 4, "too few crashes lost anything: the test looked at nothing"


# ---- 11, 12 ----

@timed("fault 11")
def a_full_disk_stops_changes_and_nothing_else_until_there_is_room(cluster):
    alone = cluster.fresh()
    with small_disk(alone.state) as disk, alone:
        alone.start()
        must_apply(alone)
        stays_up_and_takes_up_again(alone, lambda: no_space(disk), EXHAUSTED, rounds(20))
        restarted(alone)


@timed("fault 11, start")
def a_supervisor_starts_and_answers_on_a_full_disk(cluster):
    alone = cluster.fresh()
    with small_disk(alone.state) as disk, alone:
        alone.start()
        must_apply(alone)
        wait_for("the reserve", lambda: (disk / "reserve").exists())
        with no_space(disk):
            alone.kill()
            alone.start()
            alone.promises()
            is_refused(alone, EXHAUSTED)
        wait_for("changes to be taken again", lambda: alone.apply()[0] == 200, 10)
        restarted(alone)


@timed("fault 12, inodes")
def a_disk_without_inodes_stops_changes_until_there_are_some(cluster):
    alone = cluster.fresh()
    with small_disk(alone.state, files=400) as disk, alone:
        alone.start()
        must_apply(alone)
        stays_up_and_takes_up_again(alone, lambda: no_files(disk), EXHAUSTED, rounds(20))
        restarted(alone)


def held_and_written_later(cluster, policy, name):
    """The disk refuses in the middle of a change: nobody is told it was done before it is."""
    with cluster.fresh() as alone:
        alone.start()
        must_apply(alone)
        with Readers(alone) as readers:
            for number in range(rounds(20)):
                # The journal is written first.
                match = ("", "store.db")[number % 2]
                with cluster.shim.armed(alone.state, policy(match)) as fault:
                    status, told = alone.apply()
                    assert status == 503 and "not on disk" in told["detail"], (status, told)
                    assert fault.hits
                    status, told = alone.token("late")
                    assert status in (429, 503) and "nothing was" in told["detail"], told
                wait_for("changes to be taken again", lambda: alone.apply()[0] == 200, 10)
                alone.promises()
        assert not readers.failed and alone.process.poll() is None, (name, readers.failed[:3])
        assert [e for e in alone.events() if e["kind"] == "supervisor.held"]
        restarted(alone)


@timed("fault 12, quota")
def a_quota_met_in_the_middle_of_a_change_keeps_it_until_it_can_be_stored(cluster):
    held_and_written_later(cluster, lambda match: Full(errno.EDQUOT, match), "quota")


# ---- 17 ----

@timed("fault 17")
def a_state_that_turns_read_only_stops_changes_and_nothing_else(cluster):
    held_and_written_later(cluster, lambda match: ReadOnly(errno.EROFS, match), "read-only")


def a_supervisor_does_not_start_on_a_read_only_state_and_says_so(cluster):
    alone = cluster.fresh()
    with small_disk(alone.state) as disk, alone:
        alone.start()
        must_apply(alone)
        alone.kill()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, line = alone.refuses_to_start()
        assert code != 0 and "Read-only file system" in line and str(disk) in line, (code, line)
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        alone.start()
        alone.promises()


# ---- 13 ----

@timed("fault 13")
def after_a_failed_fsync_nothing_is_acknowledged_before_the_disk_was_read_again(cluster):
    with cluster.fresh() as alone:
        alone.start()
        must_apply(alone)
        for number in range(rounds(20)):
            which = ("journal/", "store.db-wal")[number % 2]
            said = len(alone.log.read_bytes())
            with cluster.shim.armed(alone.state, Fail(("sync",), errno.EIO, which, times=1)), \
                    busy(alone):
                answers = []
                with contextlib.suppress(OSError, ValueError):
                    answers.append(alone.apply()[0])
                alone.process.wait(20)
            assert 200 not in answers, "acknowledged after a failed fsync"
            lines = alone.log.read_bytes()[said:].decode().strip().splitlines()
            assert alone.process.returncode == (UNAVAILABLE if number % 2 == 0 else 1), lines
            assert "Input/output error" in lines[-1] and "dnode-supervisor: " in lines[-1], lines
            alone.start()
            alone.promises()
            must_apply(alone)
        alone.verify_journal()


# ---- 18 ----

@timed("fault 18")
def a_second_supervisor_on_one_state_is_refused_and_the_first_goes_on(cluster):
    with cluster.fresh() as alone:
        alone.start()
        with Readers(alone) as readers, busy(alone):
            for _ in range(rounds(20)):
                code, line = alone.refuses_to_start()
                assert code == CONFLICT and "in use by another supervisor" in line, (code, line)
                assert str(alone.state) in line, line
                must_apply(alone)
        assert not readers.failed, readers.failed[:3]
        restarted(alone)


@timed("fault 18, race")
def of_two_supervisors_started_at_once_one_lives(cluster):
    with cluster.fresh() as alone:
        alone.start()
        must_apply(alone)
        for _ in range(max(5, rounds(20) // 4)):
            alone.kill()
            both = [alone.spawn(), alone.spawn()]
            wait_for("one of them to end", lambda: [p for p in both if p.poll() is not None], 20)
            loser = next(p for p in both if p.poll() is not None)
            alone.process = next(p for p in both if p is not loser)
            assert loser.returncode == CONFLICT, (loser.returncode, alone.said())
            wait_for("the other to answer", alone.is_up, 20, every=0.01)
            alone.promises()
            must_apply(alone)


if __name__ == "__main__":
    main([
        a_supervisor_killed_before_or_after_any_write_keeps_what_it_acknowledged,
        a_full_disk_stops_changes_and_nothing_else_until_there_is_room,
        a_supervisor_starts_and_answers_on_a_full_disk,
        a_disk_without_inodes_stops_changes_until_there_are_some,
        a_quota_met_in_the_middle_of_a_change_keeps_it_until_it_can_be_stored,
        after_a_failed_fsync_nothing_is_acknowledged_before_the_disk_was_read_again,
        writes_that_were_not_synced_at_a_crash_were_not_acknowledged,
        a_state_that_turns_read_only_stops_changes_and_nothing_else,
        a_supervisor_does_not_start_on_a_read_only_state_and_says_so,
        a_second_supervisor_on_one_state_is_refused_and_the_first_goes_on,
        of_two_supervisors_started_at_once_one_lives,
    ])
