# SPDX-License-Identifier: Apache-2.0
"""Requests that failed, and whether a cut explains each: only what was in flight on a cut node may."""
import collections

# A client of a cut node is told within this of the drift.
WINDOW_NS = 1_000_000_000
# Lines of bench/load. A connection that ends at rest has failed no request; slow is not failed.
FAILED = ("reset", "closed", "refused", "timeout", "error")
SLOW = ("late-answer", "late-connect")


class Witness:
    """Of one service: what its clients lost, and when its nodes were cut."""

    def __init__(self, service):
        self.service = service
        self.losses = []
        self.slow = 0
        self.at_rest = 0
        self.cuts = {}

    def hear(self, lines):
        """Take lines of bench/load."""
        for line in lines:
            if line["what"] in SLOW:
                self.slow += 1
            elif line["what"] not in FAILED:
                continue
            elif line["what"] in ("reset", "closed") and not line["asking"] and line["node"]:
                self.at_rest += 1
            else:
                self.losses.append(line)

    def cut(self, node, at_ns):
        self.cuts[node] = at_ns

    def explains(self, loss):
        """A cut of the node that was asked, or of some node when none had answered yet."""
        if loss["what"] not in ("reset", "refused"):
            return False
        times = [self.cuts[loss["node"]]] if loss["node"] in self.cuts else []
        if not loss["node"]:
            times = self.cuts.values()
        return any(0 <= loss["t"] - at < WINDOW_NS for at in times)

    def judge(self):
        """(explained losses by kind, the losses that nothing explains)."""
        explained, astray = collections.Counter(), []
        for loss in self.losses:
            if self.explains(loss):
                explained[loss["what"]] += 1
            else:
                astray.append(loss)
        return explained, astray
