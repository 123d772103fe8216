#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# docs/simulation.md lists just the invariants that the program checks.
set -eu
"$1" --invariants | sed -E 's/^([^ ]+) +(.*)$/| `\1` | \2 |/' >"$3/invariants.said"
grep -E '^\| `[a-z-]+` \| ' "$2" | diff - "$3/invariants.said"
