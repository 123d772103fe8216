#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Abuse of the two HTTP servers of a real supervisor: memory and descriptors stay bounded, others
are served, people are told once."""
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cluster"))
from daemon import MIB, main, wait_for  # noqa: E402
from peer import connect  # noqa: E402

API_MAX, API_OF_PROCESS, STREAMS = 192, 96, 64
REPO_OF_ADDRESS = 64
HEAD_S = 10


class Bench:
    def __init__(self, supervisor, sanitized):
        self.supervisor = supervisor
        # A sanitizer's shadow and quarantine weigh more than what they watch.
        self.weight = 12 if sanitized else 1
        self.base = supervisor.resident()

    def is_bounded(self, limit):
        grown = self.supervisor.resident() - self.base
        assert grown <= limit * self.weight, f"{grown / MIB:.1f} MiB more than at the start"

    def unix(self):
        end = socket.socket(socket.AF_UNIX)
        end.settimeout(5)
        end.connect(str(self.supervisor.socket))
        return end

    def others_are_served(self, within=5.0):
        """Another process asks; the slowest of a few answers counts."""
        slowest = 0.0
        for _ in range(3):
            begin = time.monotonic()
            self.supervisor.dnode("nodes")
            slowest = max(slowest, time.monotonic() - begin)
        assert slowest <= within * (4 if self.weight > 1 else 1), f"dnode nodes took {slowest:.2f} s"
        return slowest


def is_gone(end):
    """Has the other side ended it? Reads what there is."""
    end.setblocking(False)
    try:
        while end.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


@contextlib.contextmanager
def many(make, count):
    ends = []
    try:
        for _ in range(count):
            with contextlib.suppress(OSError):
                ends.append(make())
        yield ends
    finally:
        for end in ends:
            end.close()


def told(supervisor, since):
    return [e for e in supervisor.events("api.crowded", since)]


def two_thousand_connections_leave_room_for_others(bench):
    since = bench.supervisor.last_event()
    with many(bench.unix, 2000) as ends:
        bench.others_are_served()
        held = bench.supervisor.descriptors()
        assert held <= API_OF_PROCESS + 40, f"{held} descriptors"
        bench.is_bounded(24 * MIB)
        assert sum(is_gone(end) for end in ends) >= len(ends) - API_OF_PROCESS
        print(f"# {len(ends)} opened, {held} descriptors held")
    # Also as many of other processes: the oldest that say nothing make room.
    code = ("import socket,sys,time\nends=[]\nfor _ in range(90):\n"
            " s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);ends.append(s)\n"
            "print('full',flush=True);sys.stdin.read()")
    others = [subprocess.Popen([sys.executable, "-c", code, str(bench.supervisor.socket)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)]
    try:
        for other in others:
            other.stdout.readline()
        bench.others_are_served()
        assert bench.supervisor.descriptors() <= API_MAX + 40
    finally:
        for other in others:
            other.stdin.close()
            other.wait(10)
            other.stdout.close()
    events = told(bench.supervisor, since)
    assert len(events) == 1 and "people's socket" in events[0]["text"], events


def a_big_file(bench):
    """One that no socket's buffer holds, in the repository."""
    big = bench.supervisor.folder / "state/repo/summary"
    big.write_bytes(os.urandom(64 * MIB))
    return big


def slow_reader(bench):
    end = connect(bench.supervisor.repo, "127.0.0.11")
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    end.sendall(get(b"/repo/summary"))
    return end


def who_is_too_slow_is_ended_and_nobody_waits_for_him(bench):
    """Requests in crumbs, bodies that never end, readers that do not read: all at once."""
    request = b"GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n"
    half = b"POST /v1/manifests HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n{"
    big = a_big_file(bench)
    try:
        with many(bench.unix, 40) as crumbs, many(bench.unix, 40) as bodies, \
                many(lambda: slow_reader(bench), 16):
            begin = time.monotonic()
            for end in bodies:
                end.sendall(half)
            for at in range(HEAD_S * 6):
                for end in crumbs:
                    with contextlib.suppress(OSError):
                        end.send(request[at % 20:at % 20 + 1])
                if at % 5 == 0:
                    bench.others_are_served()
                    # The file is mapped, so its pages count; they are one file's, and clean.
                    bench.is_bounded(64 * MIB + 48 * MIB)
                if all(is_gone(end) for end in crumbs + bodies) and \
                        bench.supervisor.descriptors() < 40:
                    break
                time.sleep(0.5)
            took = time.monotonic() - begin
            assert HEAD_S - 2 < took < HEAD_S * 3, f"all were ended after {took:.1f} s"
    finally:
        big.unlink()


def headers_without_end_are_cut_off(bench):
    with many(bench.unix, 20) as ends:
        for end in ends:
            sent = 0
            with contextlib.suppress(OSError):
                end.sendall(b"GET /v1/nodes HTTP/1.1\r\n")
                while sent < 64 * MIB:
                    sent += end.send(b"X: " + b"a" * 60000 + b"\r\n")
            assert sent < 4 * MIB, f"{sent} bytes of headers were taken"
        bench.is_bounded(24 * MIB)
    bench.others_are_served()


def a_body_of_100_mib_is_answered_and_not_kept(bench):
    size = 100 * MIB
    end = bench.unix()
    end.settimeout(60)
    block = b" " * MIB
    end.sendall(b"POST /v1/manifests HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(100):
        end.sendall(block)
    answer = b""
    with contextlib.suppress(OSError):
        while got := end.recv(65536):
            answer += got
    end.close()
    assert b" 429 " in answer.split(b"\r\n")[0] and b"larger than" in answer, answer[:300]
    bench.is_bounded(24 * MIB)


def bodies_that_arrive_at_once_are_kept_up_to_a_sum(bench):
    size = 1000 * 1000
    head = b"POST /v1/manifests HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (size + 1)
    with many(bench.unix, 60) as ends:
        for end in ends:
            end.sendall(head)
            end.sendall(b" " * size)
        bench.others_are_served()
        bench.is_bounded(56 * MIB)
        for end in ends:
            end.sendall(b"}")
        answers = b""
        for end in ends:
            with contextlib.suppress(OSError):
                answers += end.recv(65536).split(b"\r\n")[0] + b"\n"
    assert b" 503 " in answers and b" 400 " in answers, answers


def followers_that_never_read_owe_so_much_and_no_more(bench):
    request = b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
    with many(bench.unix, STREAMS + 10) as ends:
        for end in ends:
            end.sendall(request)
        bench.others_are_served()
        # One event is 150 bytes: they stay below what a follower may owe.
        for number in range(60):
            bench.supervisor.token(f"follower-{number}")
        bench.others_are_served()
        bench.is_bounded(48 * MIB)
    wait_for("the followers to be forgotten",
             lambda: bench.supervisor.descriptors() < 40, 20, 0.2)


def a_flood_of_valid_requests_slows_others_down_and_no_more(bench):
    stop = threading.Event()
    done = [0]

    def ask(path):
        while not stop.is_set():
            try:
                end = bench.unix()
                end.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                while end.recv(65536):
                    pass
                end.close()
                done[0] += 1
            except OSError:
                pass

    threads = [threading.Thread(target=ask, args=(path,)) for path in
               (b"/v1/events?limit=1000", b"/v1/images", b"/v1/hosts", b"/v1/incidents") * 8]
    for thread in threads:
        thread.start()
    try:
        slowest = bench.others_are_served()
        bench.is_bounded(48 * MIB)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    print(f"# {done[0]} requests meanwhile, dnode nodes at most {slowest:.2f} s")


# ---- the repository ----

def ask_repo(bench, request, source=None):
    end = connect(bench.supervisor.repo, source)
    answer = b""
    with contextlib.suppress(OSError):
        end.sendall(request)
        while got := end.recv(65536):
            answer += got
    end.close()
    return answer


def get(path, headers=b""):
    return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n"


def one_address_takes_its_share_of_the_repository_and_no_more(bench):
    since = bench.supervisor.last_event()
    with many(lambda: connect(bench.supervisor.repo, "127.0.0.9"), 1000):
        held = bench.supervisor.descriptors()
        assert held <= REPO_OF_ADDRESS + 40, f"{held} descriptors"
        begin = time.monotonic()
        assert ask_repo(bench, get(b"/repo/config"), "127.0.0.10").startswith(b"HTTP/1.1 200")
        assert time.monotonic() - begin < 3
        bench.is_bounded(48 * MIB)
    wait_for("the event", lambda: since == bench.supervisor.last_event() or
             bench.supervisor.events("api.crowded"), 5)


def ranges_and_pipelines_get_one_answer_a_connection(bench):
    many_ranges = b"Range: bytes=" + b",".join(b"%d-%d" % (i % 30, i % 30 + 1)
                                               for i in range(5000)) + b"\r\n"
    answer = ask_repo(bench, get(b"/repo/config", many_ranges))
    assert answer.startswith(b"HTTP/1.1 ") and len(answer) < MIB, len(answer)
    answer = ask_repo(bench, get(b"/repo/config") * 1000)
    assert answer.count(b"HTTP/1.1 200") <= 1, answer.count(b"HTTP/1.1 200")
    bench.is_bounded(48 * MIB)


def no_path_leads_out_of_the_repository(bench):
    (bench.supervisor.folder / "state/secret").write_text("secret")
    for path in (b"/repo/../secret", b"/repo/%2e%2e/secret", b"/repo/..%2fsecret", b"/repo//config",
                 b"/repo/objects/../config", b"/repo/./config", b"/repo/config/", b"/repo/",
                 b"/", b"/repo/config%00", b"/repo/refs/heads/../../config", b"/repo/tmp",
                 b"/repo/state", b"//repo/config", b"/repo/objects/aa", b"/repo/%c0%ae%c0%ae/secret",
                 b"/repo/" + b"a" * 5000, b"http://x/repo/../secret", b"*"):
        answer = ask_repo(bench, get(path))
        # Some are other names of what is served.
        assert not answer or answer.startswith(b"HTTP/1.1 4") or b"[core]" in answer, (
            path[:60], answer[:80])
        assert b"secret" not in answer.split(b"\r\n\r\n", 1)[-1], path
    for method in (b"PUT", b"POST", b"DELETE", b"CONNECT", b"OPTIONS", b"-rf"):
        answer = ask_repo(bench, method + b" /repo/config HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " not in answer.split(b"\r\n")[0], (method, answer[:80])


def all_of_it_is_given_back(bench):
    wait_for("descriptors to be closed", lambda: bench.supervisor.descriptors() < 40, 30, 0.2)
    bench.is_bounded(48 * MIB)
    grown = (bench.supervisor.resident() - bench.base) / MIB
    print(f"# {grown:.1f} MiB more than at the start")


if __name__ == "__main__":
    main([
        two_thousand_connections_leave_room_for_others,
        who_is_too_slow_is_ended_and_nobody_waits_for_him,
        headers_without_end_are_cut_off,
        a_body_of_100_mib_is_answered_and_not_kept,
        bodies_that_arrive_at_once_are_kept_up_to_a_sum,
        followers_that_never_read_owe_so_much_and_no_more,
        a_flood_of_valid_requests_slows_others_down_and_no_more,
        one_address_takes_its_share_of_the_repository_and_no_more,
        ranges_and_pipelines_get_one_answer_a_connection,
        no_path_leads_out_of_the_repository,
        all_of_it_is_given_back,
    ], Bench)
