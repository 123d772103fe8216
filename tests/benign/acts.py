# SPDX-License-Identifier: Apache-2.0
"""What people, hosts and kernels do to benign services: restarts, rolls, storms, clocks, pressure."""
import contextlib
import os
import pathlib
import re
import signal
import sys

import invariants
from fleet import wait_for
from services import DEEDS, GOLANG, GREEDY, NGINX, SHELL

CONNECTIONS = 2000
# Opens them all, asks by each, and only then closes: python3 -c CROWD ADDRESS NUMBER
CROWD = '''
import resource, socket, sys
number = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (number + 64, max(number + 64,
                   resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
links = []
for _ in range(number):
    links.append(socket.create_connection((sys.argv[1], 80), 20))
for link in links:
    link.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
good = sum(link.recv(4096).startswith(b"HTTP/1.1 200") for link in links)
print(good)
'''


def quietly(act):
    """The act as a test: it has to work, and nobody to mind."""
    def test(fleet):
        act(fleet)
        fleet.check_quiet()
    test.__name__ = act.__name__
    return test


def go_one_way(fleet, address):
    """By the first host alone, from now on: a machine's own connections may change between ways."""
    ways = fleet.client("ip", "route", "show", "match", address).stdout
    gateway = re.search(r"nexthop via (\S+)", ways)[1]
    fleet.client("ip", "route", "replace", address, "via", gateway)


def is_first(pid):
    """Is it pid 1 of its node?"""
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        return re.search(r"^NSpid:.*\t(\d+)$", text, re.M)[1] == "1"
    return False


def crowded():
    """The service that thousands connect to."""
    return GOLANG if GOLANG.missing is None else NGINX


def thousands_of_connections_are_served_at_once(fleet):
    service = crowded()
    service.need()
    done = fleet.client(sys.executable, "-c", CROWD, service.vip, str(CONNECTIONS), timeout=120,
                        check=False)
    assert done.stdout.strip() == str(CONNECTIONS), (done.stdout, done.stderr[-500:])


def health_is_asked_for_in_storms(fleet):
    done = fleet.client("wrk", "-t1", "-c64", "-d2s", f"http://{GREEDY.vip}/healthz", check=False)
    assert "Requests/sec" in done.stdout and "Non-2xx" not in done.stdout, done.stdout


def a_configuration_is_read_again_at_sighup_of_the_host(fleet):
    NGINX.need()
    node = fleet.nodes("nginx", state="ready")[0]

    def workers():
        return {pid for pid in invariants.processes(fleet, node) if not is_first(pid)}
    before = workers()
    master = next(pid for pid in invariants.processes(fleet, node) if is_first(pid))
    os.kill(master, signal.SIGHUP)
    wait_for("new workers", lambda: len(workers()) >= 2 and workers().isdisjoint(before))
    NGINX.ask(fleet, "/")


def a_node_that_takes_too_much_memory_ends_and_is_replaced(fleet):
    GREEDY.perform(fleet, "out-of-memory")


def a_node_that_ends_by_itself_is_replaced(fleet):
    node = fleet.nodes("greedy", state="ready")[0]
    for pid in invariants.processes(fleet, node):
        os.kill(pid, signal.SIGKILL)
    wait_for("it to be gone", lambda: not fleet.nodes(id=node["id"]), 60)
    GREEDY.wait(fleet)


def nodes_come_and_go_in_storms(fleet):
    for number in ("4", "1", "3", "1"):
        fleet.run("scale", "shell", number, "--key", "deploy")
        fleet.wait_ready("shell", ready=int(number), seconds=90)
    SHELL.ask(fleet, "/healthz")


def the_service_under_load_is_rolled(fleet):
    epoch = fleet.service("web")["epoch"] + 1
    fleet.apply(service="web", replicas=3, standby=1, epoch=epoch, version=str(epoch))
    fleet.wait_ready("web", ready=3, epoch=epoch, seconds=120)
    wait_for("the old ones to go", lambda: not [
        n for n in fleet.nodes("web") if n["epoch"] != epoch], 60)


def an_agent_is_killed(fleet):
    fleet.restart_agent("h1", signal.SIGKILL)


def an_agent_is_restarted(fleet):
    fleet.restart_agent("h2", signal.SIGTERM)


def the_supervisor_is_killed(fleet):
    fleet.restart_supervisor()


def clocks_are_set(fleet):
    """An hour on and back, below agents and supervisor: nodes cannot set them."""
    for seconds in (3600, -3600, 0):
        for control in fleet.bent.of.values():
            control.clock(seconds)
        fleet.wait_hosts()
        DEEDS.perform(fleet, "timers")


def memory_of_the_host_is_asked_back(fleet):
    """Pages that can be read again are dropped: they are read again from the image."""
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")
    for deed in ("plugins", "declared-helpers"):
        DEEDS.perform(fleet, deed)


ALL = [quietly(act) for act in (
    thousands_of_connections_are_served_at_once, health_is_asked_for_in_storms,
    a_configuration_is_read_again_at_sighup_of_the_host,
    a_node_that_takes_too_much_memory_ends_and_is_replaced,
    a_node_that_ends_by_itself_is_replaced, nodes_come_and_go_in_storms,
    the_service_under_load_is_rolled, an_agent_is_killed, an_agent_is_restarted,
    the_supervisor_is_killed, clocks_are_set, memory_of_the_host_is_asked_back)]
