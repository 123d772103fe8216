#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Agents that are evil, slow or broken, at the link of a real supervisor: its memory and descriptors
stay bounded, an honest agent and people are served meanwhile, and people are told, once a minute.

DNODE_TEST_ROUNDS: how often what is cheap is repeated (20)."""
import contextlib
import itertools
import os
import pathlib
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cluster"))
from daemon import MIB, main, wait_for  # noqa: E402
from peer import VERSION, Agent, Closed, Identity, connect, enrolled  # noqa: E402

ROUNDS = int(os.environ.get("DNODE_TEST_ROUNDS", "20"))
STRANGERS, STRANGERS_HERE, HANDSHAKE_S = 256, 64, 5
FRAMES_PER_S, FRAMES_BURST = 200, 2000
LINKS_BURST = 60
HOST_PAST = 64  # incidents that were destroyed, listed of one host
SECONDS = 1.2  # of each flood: its burst is spent after the first tenth


class Honest:
    """An agent that goes on telling facts that must be stored, and times each answer."""

    def __init__(self, supervisor, identity):
        self.agent = Agent(supervisor.address, identity, source="127.0.0.2")
        assert self.agent.hello()["type"] == "welcome"
        self.agent.send(self.agent.report())
        self.spool = os.urandom(8).hex()
        self.number = 0
        self.slowest = 0.0
        self.stop = threading.Event()
        self.failed = None
        self.thread = threading.Thread(target=self.live)
        self.thread.start()

    def live(self):
        try:
            while not self.stop.is_set():
                self.beat()
                time.sleep(0.1)
        except Exception as why:  # noqa: BLE001 - told by end()
            self.failed = why

    def beat(self):
        begin = time.monotonic()
        self.number += 1
        self.agent.send(self.agent.fact(
            "event", spool=self.spool, number=self.number, previous=self.number - 1,
            event={"id": 0, "seq": self.number, "time": "2026-01-01T00:00:00.000000000Z",
                   "kind": "test.beat", "severity": "info", "host": None, "service": None,
                   "node": None, "incident": None, "text": "alive"}))
        while True:
            frame = self.agent.receive(20)
            if frame["type"] == "stored" and frame["number"] >= self.number:
                break
        self.slowest = max(self.slowest, time.monotonic() - begin)

    def end(self):
        self.stop.set()
        self.thread.join()
        self.agent.close()
        if self.failed:
            raise self.failed


class Bench:
    def __init__(self, supervisor, sanitized):
        self.supervisor = supervisor
        self.weight = 12 if sanitized else 1
        self.patience = 4 if sanitized else 1
        self.begin = time.monotonic()
        self.honest = enrolled(supervisor, "honest", "127.0.0.2")
        self.evil = enrolled(supervisor, "evil", "127.0.0.3")
        self.stranger = Identity(supervisor.folder, "stranger")
        self.base = supervisor.resident()
        self.events = []

    def is_bounded(self, limit):
        grown = self.supervisor.resident() - self.base
        assert grown <= limit * self.weight, f"{grown / MIB:.1f} MiB more than at the start"

    def link(self, identity=None, source="127.0.0.3"):
        return Agent(self.supervisor.address, identity or self.evil, source=source)

    def linked(self):
        agent = self.link()
        answer = agent.hello()
        assert answer["type"] == "welcome", answer
        return agent

    @contextlib.contextmanager
    def others_are_served(self, stored=3.0, shown=5.0):
        """While the block runs an honest host's facts are stored, and people get answers."""
        honest = Honest(self.supervisor, self.honest)
        try:
            yield
            begin = time.monotonic()
            self.supervisor.dnode("nodes")
            took = time.monotonic() - begin
        finally:
            honest.end()
        assert took <= shown * self.patience, f"dnode nodes took {took:.2f} s"
        assert honest.slowest <= stored * self.patience, f"a fact took {honest.slowest:.2f} s"
        print(f"# a fact at most {honest.slowest * 1000:.0f} ms, dnode nodes {took * 1000:.0f} ms")


def is_gone(end):
    end.setblocking(False)
    try:
        return not end.recv(65536)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


@contextlib.contextmanager
def crowd(bench, count, addresses, first):
    """@count connections from some addresses, which have said @first."""
    ends = []
    try:
        for number in range(count):
            with contextlib.suppress(OSError):
                end = connect(bench.supervisor.address, f"127.0.1.{number % addresses + 1}", 2)
                end.sendall(first)
                ends.append(end)
        yield ends
    finally:
        for end in ends:
            end.close()


def drip(ends, seconds):
    """A byte a second each."""
    for _ in range(seconds):
        for end in ends:
            with contextlib.suppress(OSError):
                end.send(b"\x16")
        time.sleep(1)


def a_thousand_of_one_address_that_say_a_byte_a_second_get_its_share(bench):
    """Fault 24, before TLS has begun."""
    with bench.others_are_served():
        with crowd(bench, 1000, 1, b"\x16") as ends:
            held = bench.supervisor.descriptors()
            drip(ends, 2)
            assert held <= STRANGERS_HERE + 40, f"{held} descriptors"
            # Who comes from elsewhere comes in at once.
            begin = time.monotonic()
            bench.linked().close()
            assert time.monotonic() - begin < 2 * bench.patience
            bench.is_bounded(32 * MIB)
            begin = time.monotonic()
            while held := sum(not is_gone(end) for end in ends):
                assert time.monotonic() - begin < HANDSHAKE_S * 3 * bench.patience, (
                    f"{held} are still held")
                drip(ends, 1)


def a_thousand_in_their_handshake_from_everywhere_are_held_up_to_a_number(bench):
    """Fault 24, in the middle of a ClientHello."""
    hello = bytes((22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3))
    with bench.others_are_served():
        with crowd(bench, 1000, 25, hello) as ends:
            drip(ends, 2)
            held = bench.supervisor.descriptors()
            assert held <= STRANGERS + 40, f"{held} descriptors"
            begin = time.monotonic()
            bench.linked().close()
            assert time.monotonic() - begin < 2 * bench.patience
            bench.is_bounded(48 * MIB)
            print(f"# {held} descriptors held")


def strangers_that_have_proved_a_key_are_on_the_clock_too(bench):
    """Fault 24, after the handshake: a frame in crumbs that never becomes one."""
    agents = []
    with bench.others_are_served():
        try:
            for number in range(60):
                agents.append(bench.link(bench.stranger, f"127.0.2.{number % 8 + 1}"))
            for agent in agents:
                agent.tls.sendall(b"\0\0\1\0{")
            begin = time.monotonic()
            while any(agent.is_open() for agent in agents):
                assert time.monotonic() - begin < HANDSHAKE_S * 2 * bench.patience, "still held"
                for agent in agents:
                    with contextlib.suppress(OSError):
                        agent.tls.sendall(b" ")
        finally:
            for agent in agents:
                agent.close()


def a_host_whose_frame_comes_in_crumbs_is_shown_as_lost(bench):
    with bench.others_are_served(), bench.linked() as agent:
        agent.send(agent.report())
        agent.tls.sendall(b"\0\x0f\xff\xff")
        for _ in range(11):
            agent.tls.sendall(b" ")
            time.sleep(1)
        state = next(h for h in bench.supervisor.ask("hosts")["hosts"] if h["name"] == "evil")
        assert state["state"] == "lost", state


def facts_of(agent):
    """Endless facts of each kind, as an evil host would make them up."""
    numbers = itertools.count(1)

    def heartbeat():
        return agent.fact("heartbeat", journal={"seq": next(numbers) % 7,
                                                "hash": os.urandom(32).hex()})

    def event():
        return agent.fact("event", event={
            "id": 0, "seq": 1, "time": "2026-01-01T00:00:00.000000000Z", "kind": "x.y",
            "severity": "critical", "host": None, "service": None, "node": None,
            "incident": None, "text": "\x1b[2J" + "x" * 900})

    def spooled():
        fact = event()
        number = next(numbers)
        return {**fact, "spool": "0123456789abcdef", "number": number, "previous": number - 1}

    return {
        "heartbeats": heartbeat,
        "health claims": lambda: agent.fact("node", node=agent.node(next(numbers))),
        "nodes of others": lambda: agent.fact("node", node=agent.node(
            next(numbers), service="web", host="honest", address="10.77.0.9")),
        "states that flap": lambda: agent.fact("node", node=agent.node(
            1, state=("starting", "ready")[next(numbers) % 2])),
        "nodes that are gone": lambda: agent.fact("node-gone", id=f"evil-{next(numbers):08x}"),
        "incidents": lambda: agent.fact("incident", incident=agent.incident(next(numbers))),
        "incidents of others": lambda: agent.fact("incident", incident=agent.incident(
            next(numbers), service="web", host="honest")),
        "reports": lambda: agent.report([agent.node(i) for i in range(200)]),
        "events": event,
        "spooled events": spooled,
    }


def flood(agent, make, seconds):
    """As many as the other side takes; returns how many, and whether it is still there."""
    end = time.monotonic() + seconds
    sent = 0
    agent.tls.settimeout(0.05)
    pending = b""
    while time.monotonic() < end:
        if len(pending) < 100_000:
            batch = [agent.frame(make()) for _ in range(50)]
            sent += len(batch)
            pending += b"".join(batch)
        try:
            # What a partial write has taken is not told by sendall().
            pending = pending[agent.tls.send(pending[:16384]):]
        except (TimeoutError, ssl.SSLWantWriteError):
            continue
        except (OSError, ssl.SSLError):
            return sent
    return sent


def a_flood_of_any_kind_of_fact_harms_nobody(bench):
    """Fault 33, and a million facts: of all that are thrown at it a host gets its rate through."""
    journal = bench.supervisor.folder / "state/journal"
    before = bench.supervisor.last_event()
    total = 0
    for name in facts_of(None):
        with bench.others_are_served(), bench.linked() as agent:
            agent.send(agent.report())
            sent = flood(agent, facts_of(agent)[name], SECONDS)
            total += sent
            print(f"# {name}: {sent} made up in {SECONDS} s")
        if name == "heartbeats":
            told = bench.supervisor.events("link.flooded", before)
            assert [e["host"] for e in told] == ["evil"], told
        bench.is_bounded(64 * MIB)
    told = bench.supervisor.last_event() - before
    assert told < 20000, f"{told} events"
    weight = sum(file.stat().st_size for file in journal.iterdir())
    assert weight < 24 * MIB, f"a journal of {weight / MIB:.1f} MiB"
    print(f"# {total} facts made up, {told} events, a journal of {weight / MIB:.1f} MiB")


def what_is_said_past_the_rate_is_heard_in_its_time(bench):
    """Nothing of it is lost: the last fact is stored, once those before it have been heard."""
    beyond = 600
    with bench.others_are_served(), bench.linked() as agent:
        agent.send(agent.report())
        begin = time.monotonic()
        for _ in range(FRAMES_BURST + beyond):
            agent.send(agent.fact("heartbeat"))
        event = facts_of(agent)["events"]()
        agent.send({**event, "spool": "00000000000000aa", "number": 1, "previous": 0})
        while agent.receive(30)["type"] != "stored":
            pass
        took = time.monotonic() - begin
    assert took >= 0.8 * beyond / FRAMES_PER_S, f"heard within {took:.2f} s"
    print(f"# {FRAMES_BURST + beyond} facts were heard in {took:.1f} s")


def nothing_a_host_says_of_others_is_believed(bench):
    nodes = bench.supervisor.ask("nodes")["nodes"]
    assert all(n["host"] == "evil" for n in nodes), "a node of a host that has none"
    incidents = bench.supervisor.ask("incidents")["incidents"]
    assert all(i["host"] == "evil" for i in incidents), "an incident of a host that has none"
    assert len(nodes) <= 1024 and len(incidents) <= 1024, (len(nodes), len(incidents))
    hosts = {h["name"]: h for h in bench.supervisor.ask("hosts")["hosts"]}
    assert set(hosts) == {"honest", "evil"} and hosts["honest"]["nodes"] == 0, hosts


def a_frame_of_4_gib_ends_the_link_before_a_byte_of_it_is_kept(bench):
    with bench.others_are_served():
        for _ in range(ROUNDS):
            for agent in (bench.link(bench.stranger, "127.0.0.4"), bench.linked()):
                with agent:
                    agent.tls.sendall(b"\xff\xff\xff\xff" + b"x" * 1000)
                    wait_for("the end of the link", lambda a=agent: not a.is_open())
            time.sleep(0.3)
    bench.is_bounded(64 * MIB)


def a_link_that_ends_within_a_frame_leaves_nothing_behind(bench):
    held = bench.supervisor.descriptors()
    with bench.others_are_served():
        for _ in range(ROUNDS):
            agent = bench.linked()
            agent.tls.sendall(b"\0\x0f\0\0" + b"{" * 60000)
            agent.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 b"\1\0\0\0\0\0\0\0")
            agent.close()
            time.sleep(0.3)
    wait_for("the descriptors", lambda: bench.supervisor.descriptors() <= held + 2)
    bench.is_bounded(64 * MIB)


def is_refused(agent, code):
    with agent:
        answer = agent.hello(version=VERSIONS.get(code, VERSION))
        assert answer["type"] == "refused" and answer["code"] == code, answer
        wait_for("the end of the link", lambda: not agent.is_open())


UNTRUSTED, UNSUPPORTED = 2, 6
VERSIONS = {UNSUPPORTED: VERSION + 1}


def another_version_an_unknown_key_and_a_wrong_name_are_refused(bench):
    since = bench.supervisor.last_event()
    with bench.others_are_served():
        for round_ in range(ROUNDS):
            source = f"127.0.3.{round_ % 200 + 1}"
            is_refused(bench.link(source=source), UNSUPPORTED)
            is_refused(bench.link(bench.stranger, source), UNTRUSTED)
            named = Agent(bench.supervisor.address, bench.evil, "honest", source)
            is_refused(named, UNTRUSTED)
    assert bench.supervisor.events("link.refused", since), "nobody was told"


def incidents_that_are_past_are_told_of_once_and_read_from_the_store(bench):
    since = bench.supervisor.last_event()
    ids = [f"{0x77000000 + number:016x}" for number in range(HOST_PAST + 20)]
    with bench.linked() as agent:
        def tell(state):
            for number, incident in enumerate(ids):
                agent.send(agent.fact("incident", incident=dict(
                    agent.incident(0x77000000 + number), state=state,
                    event_time=f"2026-01-02T00:{number // 60:02d}:{number % 60:02d}.000000000Z")))
        tell("destroyed")
        told = wait_for("them to be past", lambda: (
            lambda told: told if told["older"] >= 20 else None)(
                bench.supervisor.ask("incidents")), 30)
        listed = {i["id"] for i in told["incidents"] if i["id"] in ids}
        assert listed == set(ids[-HOST_PAST:]), listed
        for incident in (ids[0], ids[19], ids[20], ids[-1]):
            shown = bench.supervisor.ask("incident", "show", incident)["incident"]
            assert shown["id"] == incident and shown["state"] == "destroyed", shown
        line = bench.supervisor.dnode("incidents").stderr
        assert f"and {told['older']} older incidents" in line, line
        heard = len(bench.supervisor.events(since=since))
        # A host says all of them again with every link, and may not take one back.
        tell("destroyed")
        agent.send(agent.fact("incident", incident=dict(agent.incident(0x77000000), state="open")))
        wait_for("the last to be refused", lambda: any(
            "back from destroyed" in e["text"]
            for e in bench.supervisor.events("fact.refused", since)), 30)
        assert len(bench.supervisor.events(since=since)) <= heard + 1, "they were told of again"
    assert bench.supervisor.ask("incidents")["older"] == told["older"]


def two_machines_of_one_key_push_each_other_out_only_so_often(bench):
    links = refused = 0
    since = bench.supervisor.last_event()
    with bench.others_are_served():
        for round_ in range(LINKS_BURST * 3):
            with bench.link(source=f"127.0.4.{round_ % 20 + 1}") as agent:
                try:
                    refused += agent.hello()["type"] == "refused"
                except Closed:
                    refused += 1
                links += 1
    assert refused > links / 2 - 20, f"{refused} of {links} were refused"
    assert bench.supervisor.events("host.reconnects", since), "nobody was told"
    bench.is_bounded(64 * MIB)


def guesses_at_tokens_are_refused_and_told_of_once(bench):
    since = bench.supervisor.last_event()
    with bench.others_are_served():
        for round_ in range(ROUNDS * 4):
            with bench.link(bench.stranger, f"127.0.5.{round_ % 20 + 1}") as agent:
                agent.send({"type": "enrol", "host": "guess",
                            "secret": "A" * 43 + "="})
                assert agent.receive()["type"] == "refused"
    told = bench.supervisor.events("host.refused", since)
    assert len(told) <= 2, told


def a_secret_of_another_size_is_refused_and_harms_nobody(bench):
    with bench.others_are_served():
        for number, secret in enumerate(("", "AA==", "AAAA", "A" * 40 + "AA==", "A" * 44)):
            with bench.link(bench.stranger, f"127.0.6.{number + 1}") as agent:
                agent.send({"type": "enrol", "host": "guess", "secret": secret})
                try:
                    assert agent.receive()["type"] == "refused"
                except Closed:
                    pass


def people_hear_of_each_once_a_minute_and_what_to_do(bench):
    minutes = (time.monotonic() - bench.begin) / 60 + 1
    events = bench.supervisor.events()
    for kind, words in (("link.flooded", "taken over"), ("host.reconnects", "two machines"),
                        ("link.refused", "was refused"), ("host.refused", "token")):
        told = [e for e in events if e["kind"] == kind]
        for host in {e["host"] for e in told}:
            count = sum(e["host"] == host for e in told)
            assert count <= minutes, f"{kind} of {host} was told {count} times"
        assert all(words in e["text"] for e in told), told


def all_of_it_is_given_back(bench):
    wait_for("descriptors to be closed", lambda: bench.supervisor.descriptors() < 40, 30, 0.2)
    grown = (bench.supervisor.resident() - bench.base) / MIB
    print(f"# {grown:.1f} MiB more than at the start")
    bench.is_bounded(64 * MIB)


if __name__ == "__main__":
    main([
        a_thousand_of_one_address_that_say_a_byte_a_second_get_its_share,
        a_thousand_in_their_handshake_from_everywhere_are_held_up_to_a_number,
        strangers_that_have_proved_a_key_are_on_the_clock_too,
        a_host_whose_frame_comes_in_crumbs_is_shown_as_lost,
        incidents_that_are_past_are_told_of_once_and_read_from_the_store,
        a_flood_of_any_kind_of_fact_harms_nobody,
        what_is_said_past_the_rate_is_heard_in_its_time,
        nothing_a_host_says_of_others_is_believed,
        another_version_an_unknown_key_and_a_wrong_name_are_refused,
        a_frame_of_4_gib_ends_the_link_before_a_byte_of_it_is_kept,
        a_link_that_ends_within_a_frame_leaves_nothing_behind,
        two_machines_of_one_key_push_each_other_out_only_so_often,
        guesses_at_tokens_are_refused_and_told_of_once,
        a_secret_of_another_size_is_refused_and_harms_nobody,
        people_hear_of_each_once_a_minute_and_what_to_do,
        all_of_it_is_given_back,
    ], Bench)
