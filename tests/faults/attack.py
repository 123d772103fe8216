#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Everything at once, until standard input ends:

    attack.py LINK REPOSITORY SOCKET FOLDER TOKEN NAME

An enrolled host that floods, strangers that drip, readers that do not read, and callers that ask
without end. Says "on" once all of it is under way."""
import contextlib
import itertools
import socket
import sys
import threading
import time

from peer import Agent, Identity, connect

stop = threading.Event()


def forever(attack):
    def loop():
        while not stop.is_set():
            with contextlib.suppress(OSError, AssertionError, EOFError):
                attack()
            time.sleep(0.05)
    return loop


def main(link, repo, path, folder, token, name):
    identity = Identity(folder, name)
    with Agent(link, identity) as agent:
        answer = agent.enrol(token)
        assert answer["type"] == "enrolled", answer

    def flood():
        with Agent(link, identity) as agent:
            assert agent.hello()["type"] == "welcome"
            agent.send(agent.report())
            for number in itertools.count(1):
                if stop.is_set():
                    return
                agent.send(agent.fact("node", node=agent.node(number % 900)))
                agent.send(agent.fact("node-gone", id=f"evil-{number % 900:08x}"))
                agent.send(agent.fact("incident", incident=agent.incident(number % 500)))

    def drip():
        ends = []
        for _ in range(200):
            end = connect(link, timeout=1)
            end.sendall(b"\x16")
            ends.append(end)
        for _ in range(5):
            for end in ends:
                with contextlib.suppress(OSError):
                    end.send(b"\x03")
            time.sleep(0.5)
        for end in ends:
            end.close()

    def read_nothing():
        ends = [connect(repo, timeout=1) for _ in range(100)]
        for end in ends:
            with contextlib.suppress(OSError):
                end.send(b"GET /repo/config HTTP/1.1\r\n")
        time.sleep(2)
        for end in ends:
            end.close()

    def ask():
        end = socket.socket(socket.AF_UNIX)
        end.settimeout(2)
        end.connect(path)
        end.sendall(b"GET /v1/events?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n")
        while end.recv(65536):
            pass
        end.close()

    attacks = [flood, drip, read_nothing] + [ask] * 8
    threads = [threading.Thread(target=forever(attack), daemon=True) for attack in attacks]
    for thread in threads:
        thread.start()
    time.sleep(1)
    print("on", flush=True)
    sys.stdin.read()
    stop.set()


if __name__ == "__main__":
    main(*sys.argv[1:])
