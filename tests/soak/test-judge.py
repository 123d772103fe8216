#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The soak's own judgement, on figures that are made up."""
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "cluster"), str(HERE.parent.parent / "bench")]
import acts  # noqa: E402
from judge import judge  # noqa: E402
from tap import run  # noqa: E402
from witness import Witness  # noqa: E402

MINUTE = 60.0


def samples(**figures):
    """One a minute for half an hour, ten acts between two; a figure is a function of the number."""
    return [{"t": n * MINUTE, "acts": 10 * n,
             "figures": {name.replace("_", " "): value(n) for name, value in figures.items()}}
            for n in range(30)]


def broken(**figures):
    return [row[0] for row in judge(samples(**figures)) if not row[-1]]


def a_fleet_that_stays_as_it_was_is_sound(_):
    assert broken(descriptors_h1=lambda n: 40, netns=lambda n: 12, Rss_KiB_h1=lambda n: 28000 + n,
                  conntrack=lambda n: 100 + 37 * n % 90) == []


def one_descriptor_that_stays_open_is_found(_):
    name = "descriptors supervisor"
    assert broken(**{name: lambda n: 40 + (n > 25)}) == [name]


def a_kernel_object_that_is_left_behind_is_found(_):
    assert broken(netns=lambda n: 12 + (n == 29)) == ["netns"]
    assert broken(nft_rule=lambda n: 12 - (n == 29)) == ["nft rule"]


def memory_that_grows_without_end_is_found(_):
    assert broken(Rss_KiB_h1=lambda n: 28000 + 200 * n) == ["Rss KiB h1"]


def what_is_kept_in_number_is_never_more(_):
    assert broken(files_host_logs=lambda n: 290) == []
    assert broken(files_host_logs=lambda n: 301) == ["files host logs"]


def files_grow_with_what_was_done_and_no_faster(_):
    assert broken(files_host_incidents=lambda n: 4 * n) == []
    assert broken(files_host_incidents=lambda n: 20 * n) == ["files host incidents"]


def loss(what="reset", node="n1", t=1_500_000_000, asking=True):
    return {"what": what, "node": node, "t": t, "asking": asking, "probe": False}


def astray(*losses):
    witness = Witness("web")
    witness.cut("n1", 1_000_000_000)
    witness.hear(losses)
    return witness.judge()[1]


def only_the_cut_of_its_own_node_explains_a_failed_request(_):
    assert astray(loss()) == []
    assert astray(loss(node="n2")) == [loss(node="n2")]
    assert astray(loss(t=900_000_000)) and astray(loss(t=3_000_000_000))


def a_connection_that_nobody_answered_yet_is_explained_by_any_cut_at_that_moment(_):
    assert astray(loss(node=""), loss("refused", node="", asking=False)) == []
    assert astray(loss(node="", t=9_000_000_000))


def a_cut_explains_no_error_and_no_timeout(_):
    for what in ("closed", "timeout", "error"):
        assert astray(loss(what)), what


def a_connection_that_ends_at_rest_is_no_failed_request(_):
    assert astray(loss("closed", node="n2", asking=False)) == []


def a_seed_deals_the_same_days(_):
    def deal(seed):
        deck = acts.Deck(random.Random(seed))
        return [deck.draw(True) for _ in range(2 * sum(acts.DAY.values()))]
    assert deal(1) == deal(1) and deal(1) != deal(2)
    assert all(deal(3).count(act) == 2 * times for act, times in acts.DAY.items())


def the_supervisor_is_left_alone_when_it_must_be(_):
    deck = acts.Deck(random.Random(1))
    drawn = [deck.draw(False) for _ in range(sum(acts.DAY.values()))]
    assert not set(drawn) & set(acts.END_THE_SUPERVISOR)


if __name__ == "__main__":
    sys.exit(run(None, [
        a_fleet_that_stays_as_it_was_is_sound,
        one_descriptor_that_stays_open_is_found,
        a_kernel_object_that_is_left_behind_is_found,
        memory_that_grows_without_end_is_found,
        what_is_kept_in_number_is_never_more,
        files_grow_with_what_was_done_and_no_faster,
        only_the_cut_of_its_own_node_explains_a_failed_request,
        a_connection_that_nobody_answered_yet_is_explained_by_any_cut_at_that_moment,
        a_cut_explains_no_error_and_no_timeout,
        a_connection_that_ends_at_rest_is_no_failed_request,
        a_seed_deals_the_same_days,
        the_supervisor_is_left_alone_when_it_must_be,
    ]))
