#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A service that is a script: its manifest names the shell in args, and so declares it.
set -eu
work=$(mktemp -d /tmp/run-XXXXXX)
trap 'rm -rf "$work"' EXIT
printf 'started\n' | tee "$work/state" >/dev/null
while sleep 1; do
	date >"$work/now"
	grep -c . "$work/state" >/dev/null
done &
exec httpd -f -p 8080 -h /www
