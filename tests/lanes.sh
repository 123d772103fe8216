# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What ./dev check and ./dev check-long do beside building and running every test: docs/testing.md
# says what each of them finds. Read by ./dev, whose functions and variables it uses.

tsan=$root/build-tsan
# Its tests preload a library, and ld.so(8) takes a path with a space for two.
case $root in
*[[:space:]]*) tsan=/tmp/dnode-build-tsan-$(printf '%s' "$root" | cksum | cut -d ' ' -f 1) ;;
esac
coverage=$root/build-coverage
analyzer=$root/build-analyzer

# lane NAME FUNCTION...: run it, go on after a failure, and say how long it took.
lane() {
	say "$1"
	shift
	began=$(date +%s)
	"$@" || failed=1
	tell "$(($(date +%s) - began)) s"
}

# Threads: the unit suites of every program, each race ends its test.
lane_races() {
	configure "$tsan" -Db_sanitize=thread -Doptimization=1
	compile "$tsan"
	# Its shadow has fixed addresses; where the kernel draws others at random, some runs hit them.
	personality='setarch -R'
	run_suites "$tsan" races unit
	personality=
}

# The daemons themselves: what a race says stands in the output of its test.
lane_races_of_daemons() {
	meson test -C "$tsan" --no-rebuild --print-errorlogs --logbase races-long \
		--timeout-multiplier 3 cluster-act cluster-alone cluster-drills cluster-journal
	status=$?
	logs="$logs$tsan/meson-logs/races-long.json
"
	return "$status"
}

# Memory of the command, by valgrind, in the optimised build: every verb that needs nobody
# (valgrind), or a fleet to ask (valgrind-lab).
lane_valgrind() {
	meson test -C "$build" --no-rebuild --print-errorlogs --logbase "$1" --suite "$1"
	status=$?
	logs="$logs$build/meson-logs/$1.json
"
	return "$status"
}

# gcc looks along the paths of every function; a finding is a warning, and so an error. gcc 12 takes
# what has a cleanup and was set to NULL for unset where a function returns early.
lane_analyzer() {
	configure "$analyzer" -Doptimization=1 -Dtests=false \
		"-Dc_args=-fanalyzer -Wno-analyzer-use-of-uninitialized-value"
	compile "$analyzer"
	tell "no finding"
}

# The checks that .clang-tidy lists, over the three programs and what they share.
lane_tidy() (
	cd "$root"
	# That build has no failpoints, so it does not say how they are compiled.
	find common supervisor agent cli -name '*.c' ! -name '*.bpf.c' ! -path '*/build*' \
		! -path common/base/failpoint.c -print0 |
		xargs -0 -n 8 -P "$(nproc)" clang-tidy --quiet -p "$clang" >"$clang/tidy.log" 2>&1 || {
		grep -E 'warning:|error:' "$clang/tidy.log" | sort -u | head -40
		tell "see $clang/tidy.log"
		return 1
	}
	tell "no finding"
)

# Which lines no test reaches. Host tests count, hence as root; prints the files with the least.
lane_coverage() {
	configure "$coverage" -Db_coverage=true -Doptimization=0
	compile "$coverage"
	find "$coverage" -name '*.gcda' -delete
	run_suites "$coverage" coverage unit contract host
	gcovr -r "$root" "$coverage" --gcov-ignore-parse-errors --exclude '.*/tests/' \
		--exclude '.*/bench/' --exclude '.*/build.*/' --exclude '.*/images/' \
		--csv "$coverage/coverage.csv" >"$coverage/gcovr.log" 2>&1 || return 1
	python3 "$root/tests/coverage.py" "$coverage/coverage.csv"
}

# A few hundred thousand fleets of the simulation, and some thousand with every access checked.
lane_simulation() {
	"$build/tests/sim/dnode-sim" --seeds "1000000..$((1000000 + ${DNODE_SIM_SEEDS:-300000}))" \
		--jobs "$(nproc)" &&
		"$asan/tests/sim/dnode-sim" --seeds 2000000..2003000 --jobs "$(nproc)"
}

lane_soak() {
	python3 "$root/tests/soak/soak.py" "$build" --minutes "$1" ${2:+--seed "$2"} \
		--json "$build/soak.json"
}

# What a fleet could leave on this machine, one thing a line.
traces() {
	ip netns list | cut -d ' ' -f 1 | sed 's/^/netns /'
	awk '{print "mount", $2, $3}' /proc/mounts
	nft list ruleset | sed 's/^/nft /'
	find /sys/fs/cgroup -type d -name '*dnode*' -printf 'control group %p\n'
	find /sys/fs/bpf -mindepth 1 -printf 'pin %p\n' 2>/dev/null
	ip -o link | awk '{print "link", $2}'
	ps -eo stat=,comm=,args= | awk '$1 !~ /^Z/ && $2 ~ /^(dnode|hello|crun)/ {print "process", $0}'
	find /run /var/lib /var/log -maxdepth 1 -name '*dnode*' -printf 'file %p\n'
}

# The demo twice in a row, and then nothing of it is left.
lane_demo() {
	if [ -e "/var/lib/$lab" ]; then
		tell "a demo runs on this machine: ./dev demo-stop, and again"
		return 1
	fi
	traces | sort >"$build/traces-before"
	for turn in 1 2; do
		"$root/dev" demo >"$build/demo-$turn.log" 2>&1 || {
			tail -20 "$build/demo-$turn.log"
			"$root/dev" demo-stop >/dev/null
			return 1
		}
		grep 'requests' "$build/demo-$turn.log" | tail -1
	done
	"$root/dev" demo-stop >"$build/demo-stop.log" 2>&1 || return 1
	traces | sort >"$build/traces-after"
	diff "$build/traces-before" "$build/traces-after" || return 1
	tell "nothing is left"
}

# What takes longer than ./dev check may.
long_lanes() {
	lane "The demo, twice, and its end" lane_demo
	lane "Races of both daemons" lane_races_of_daemons
	lane "Valgrind: the command and a fleet" lane_valgrind valgrind-lab
	lane "Simulation: hundreds of thousands of fleets" lane_simulation
	lane "gcc -fanalyzer" lane_analyzer
	lane "clang-tidy" lane_tidy
	lane "Coverage" lane_coverage
	lane "Soak: 2 min" lane_soak 2
	lane "Ordinary services: 10 min" lane_benign 10
}

soak() {
	become_root soak "$@"
	case ${1-30} in
	*[!0-9]*) fail "soak MINUTES [SEED]" ;;
	esac
	install_packages
	configure "$build"
	compile "$build"
	trap undo_mounts EXIT
	trap 'exit 130' INT TERM
	prepare_mounts
	lane_soak "${1-30}" "${2-}"
}

# fetch_nginx BUILD: for an image, unpacked in the build: only its program is wanted.
fetch_nginx() {
	folder=$1/benign-packages
	[ ! -x "$folder/usr/sbin/nginx" ] || return 0
	mkdir -p "$folder"
	(cd "$folder" && apt-get download -qq nginx && dpkg-deb -x nginx_*.deb .) \
		>"$build/apt.log" 2>&1 || tell "nginx could not be fetched, and is left out"
}

lane_benign() {
	fetch_nginx "$build"
	python3 "$root/tests/benign/benign.py" "$build" --minutes "$1"
}

benign() {
	become_root benign "$@"
	case ${1-10} in
	*[!0-9]*) fail "benign MINUTES" ;;
	esac
	packages="$packages $benign_packages"
	install_packages
	configure "$build"
	compile "$build"
	trap undo_mounts EXIT
	trap 'exit 130' INT TERM
	prepare_mounts
	lane_benign "${1-10}"
}
