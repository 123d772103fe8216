#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The test of the test: every planted mistake is found within so many seeds, under its own name.
set -u
seeds=$1
shift
failed=0
for pair in "$@"; do
	wanted=${pair%%=*}
	said=$("${pair#*=}" --seeds "1..$seeds" | grep '^seed ' | head -1)
	case $said in
	*": $wanted: "*) echo "found: $said" ;;
	*)
		echo "NOT found within $seeds seeds: $wanted (${pair#*=} said: ${said:-nothing})"
		failed=1
		;;
	esac
done
exit $failed
