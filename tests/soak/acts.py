# SPDX-License-Identifier: Apache-2.0
"""What happens to a fleet in a day, each as a function; it ends with the fleet at rest again.

A day of acts is dealt like a deck of cards: every act as often as DAY says, in an order that the
seed decides. So a run of a whole deck has seen what a fleet sees in 24 hours.
"""
import json
import os
import signal

from fleet import wait_for

REASON = "the soak had a doubt"
REST_S = 120
UNAVAILABLE = 5


def pick_ready(run, service):
    """A ready node whose host will be able to answer; same choice for the same seed and state."""
    ready = sorted(run.fleet.nodes(service.name, state="ready"), key=lambda n: n["id"])
    return run.chance.choice(ready)


def pick_host(run):
    """Never the first: its agent lives for the whole run, so that its memory can be judged."""
    return run.chance.choice([h["name"] for h in run.fleet.status["hosts"]][1:])


def ask_patiently(run, *args):
    """Ask again while the answer is "try again": a host that has just come back may not be linked."""
    return json.loads(wait_for(" ".join(args), lambda: next(
        (done.stdout for done in [run.fleet.run(*args, "--json", check=False)]
         if done.returncode != UNAVAILABLE), None)))


def close_case(run, incident):
    """Most are destroyed at once; the others wait for the next look at the figures."""
    if run.chance.random() < 0.7:
        run.destroy(incident["id"])
    run.rest()


def drill(run):
    incident = ask_patiently(run, "drill", "exec", run.web.name)["incident"]
    run.note_cut(incident)
    close_case(run, incident)
    return incident["node"]


def quarantine(run):
    node = pick_ready(run, run.web)
    incident = ask_patiently(run, "quarantine", node["id"], "--reason", REASON)["incident"]
    run.note_cut(incident)
    close_case(run, incident)
    return node["id"]


def find_incident(run, node):
    return wait_for(f"the incident of {node['id']}", lambda: next(
        (i for i in run.fleet.incidents() if i["node"] == node["id"]), None))


def quarantine_by_the_agent(run):
    """Asked on the host itself."""
    node = pick_ready(run, run.web)
    run.fleet.agent(node["host"], "quarantine", node["id"], "--reason", REASON)
    incident = find_incident(run, node)
    run.note_cut(incident)
    close_case(run, incident)
    return node["id"]


def quarantine_while_no_supervisor_runs(run):
    node = pick_ready(run, run.web)
    with run.fleet.without_supervisor():
        run.fleet.agent(node["host"], "quarantine", node["id"], "--reason", REASON)
    run.expect_restart("supervisor")
    incident = find_incident(run, node)
    run.note_cut(incident)
    close_case(run, incident)
    return node["id"]


def next_image(run, service):
    service.image = 1 - service.image
    service.epoch += 1
    return run.images[service.image]


def roll(run):
    run.fleet.run("roll", run.web.name, "--image", next_image(run, run.web), "--key", "deploy",
                  "--wait", timeout=REST_S)
    run.rest()
    return f"epoch {run.web.epoch}"


def roll_while(run, act):
    """Begin a roll, let act() happen in the midst of it, and see it end."""
    run.fleet.run("roll", run.web.name, "--image", next_image(run, run.web), "--key", "deploy")
    done = act(run)
    run.rest()
    return f"epoch {run.web.epoch}, {done}"


def scale(run):
    service = run.chance.choice([run.web, run.side])
    usual, other = service.replicas, run.chance.choice([1, 2, 4, 5, 6])
    for count in (other, usual):
        if count == service.replicas:
            continue
        run.fleet.run("scale", service.name, str(count), "--key", "deploy", "--wait",
                      timeout=REST_S)
        service.replicas = count
        service.epoch += 1
        run.rest()
    return f"{service.name} to {other} and back"


def reapply(run):
    """Remove a service, see it gone, declare it again."""
    run.fleet.run("remove", run.side.name, "--key", "deploy")
    wait_for("no node of it", lambda: all(
        n["state"] == "quarantined" for n in run.fleet.nodes(run.side.name)), REST_S)
    run.side.epoch += 1
    run.declare(run.side)
    run.rest()
    run.fleet.get(f"http://{run.fleet.service(run.side.name)['vip']}/whoami")
    return f"epoch {run.side.epoch}"


def end_daemon(run, name, how):
    """End one, and wait until the lab has started it again and all are linked."""
    old = run.gauges.daemons()[name]
    run.expect_restart(name)
    os.kill(old, how)
    wait_for(f"a new {name}", lambda: run.gauges.daemons()[name] not in (None, old))
    run.fleet.wait_hosts()


def agent_is_killed(run):
    host = pick_host(run)
    end_daemon(run, host, signal.SIGKILL)
    run.rest()
    return host


def agent_is_restarted(run, host=None):
    host = host or pick_host(run)
    end_daemon(run, host, signal.SIGTERM)
    run.rest()
    return host


def supervisor_is_killed(run):
    end_daemon(run, "supervisor", signal.SIGKILL)
    run.rest()


def supervisor_is_restarted(run):
    end_daemon(run, "supervisor", signal.SIGTERM)
    run.rest()


def roll_while_an_agent_is_killed(run):
    return roll_while(run, agent_is_killed)


def roll_while_the_supervisor_is_killed(run):
    return roll_while(run, supervisor_is_killed)


def cordon(run):
    host = pick_host(run)
    run.fleet.run("host", "cordon", host)
    run.fleet.run("host", "uncordon", host)
    run.rest()
    return host


def look_around(run):
    """What people read all day."""
    node = pick_ready(run, run.web)
    for words in (["services"], ["nodes"], ["hosts"], ["events"], ["incidents"],
                  ["manifest", "show", run.web.name], ["logs", node["id"]]):
        run.fleet.run(*words)
    run.fleet.agent(node["host"], "nodes")
    return node["id"]


# Act -> how often in 24 hours: a drill every hour, a roll every two, and so on.
DAY = {
    drill: 24,
    quarantine: 6,
    quarantine_by_the_agent: 4,
    quarantine_while_no_supervisor_runs: 2,
    roll: 12,
    roll_while_an_agent_is_killed: 2,
    roll_while_the_supervisor_is_killed: 2,
    scale: 6,
    reapply: 4,
    agent_is_killed: 6,
    agent_is_restarted: 4,
    supervisor_is_killed: 3,
    supervisor_is_restarted: 3,
    cordon: 2,
    look_around: 24,
}
# They end the supervisor, whose memory is judged within and between the outer thirds.
END_THE_SUPERVISOR = (quarantine_while_no_supervisor_runs, roll_while_the_supervisor_is_killed,
                      supervisor_is_killed, supervisor_is_restarted)


class Deck:
    """Days of acts, one after the other."""

    def __init__(self, chance):
        self.chance = chance
        self.cards = []
        self.days = 0

    def shuffle(self):
        self.cards = [act for act, times in DAY.items() for _ in range(times)]
        self.chance.shuffle(self.cards)

    def draw(self, may_end_supervisor):
        """The next act that may be now; one that may not keeps its place."""
        if not self.cards:
            self.shuffle()
        for place, act in enumerate(self.cards):
            if may_end_supervisor or act not in END_THE_SUPERVISOR:
                break
        else:
            return look_around
        act = self.cards.pop(place)
        self.days += not self.cards
        return act
