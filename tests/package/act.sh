#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What README.md says under "Install it", typed on a machine that has only the two packages: a
# cluster, one host, one service, one drill. test-package.py runs it in a root of its own:
# namespaces for mounts, processes and network, and no service manager.
#
#     act.sh NAME     NAME keeps this run's cgroups and pins apart from everybody else's
set -eu

name=$1
address=192.0.2.1
supervisor=
agent=

say() {
	printf '# %s\n' "$*"
}

# until TRIES COMMAND...: a tenth of a second between two
until_true() {
	left=$1
	shift
	until "$@" >/dev/null 2>&1; do
		left=$((left - 1))
		[ "$left" -gt 0 ] || {
			say "never came true: $*"
			"$@"
			return 1
		}
		sleep 0.1
	done
}

finish() {
	status=$?
	[ "$status" = 0 ] || tail -n 20 /var/log/dnode-*.log || true
	for pid in $agent $supervisor; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	dnode-agent cleanup --force || status=1
	exit "$status"
}
trap finish EXIT

is_host_up() {
	dnode hosts | grep -q '^edge-1 *up'
}

# As at boot: /run is empty.
systemd-tmpfiles --create dnode.conf dnode-agent.conf

ip link set lo up
# Whoever asks the service is another machine at the other end of the wire.
ip netns add client
ip link add eth0 type veth peer name wire netns client
ip address add "$address/24" dev eth0
ip link set eth0 up
ip -n client address add 192.0.2.2/24 dev wire
ip -n client link set wire up
ip -n client route add default via "$address"

say "a cluster"
dnode cluster init --advertise "$address:7443"
for role in release deploy responder; do
	dnode key gen "$role" --role "$role" >/dev/null
done

# What dnode-supervisor.service does.
chown dnode:dnode /etc/dnode/supervisor.key
install -d -o dnode -g dnode /run/dnode/supervisor
setpriv --reuid=dnode --regid=dnode --init-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
	dnode-supervisor >/var/log/dnode-supervisor.log 2>&1 &
supervisor=$!
until_true 100 dnode hosts

say "a host"
cat >/etc/dnode/agent.yaml <<TEXT
name: edge-1
supervisor: $address:7443
uplink: eth0
cgroup_parent: $name
bpf_dir: /sys/fs/bpf/$name
TEXT
dnode-agent check
G_DEBUG=fatal-criticals dnode-agent check --json >/dev/null
dnode-agent enrol "$(dnode host token edge-1)"
dnode-agent >/var/log/dnode-agent.log 2>&1 &
agent=$!
until_true 300 is_host_up
dnode hosts edge-1

say "a service"
examples=/usr/lib/dnode/examples
commit=$(dnode image build $examples/images/hello --key release)
dnode image push "$commit"
sed "s/commit: [0-9a-f]*/commit: $commit/" $examples/manifests/hello.yaml >/root/hello.yaml
dnode apply /root/hello.yaml --key deploy --wait
dnode nodes hello
vip=$(dnode services --json | sed -n 's/.*"vip" *: *"\([^"]*\)".*/\1/p')
say "http://$vip/whoami answers:"
ip netns exec client curl -sS --max-time 5 "http://$vip/whoami"

say "a drill"
dnode drill exec hello
ip netns exec client curl -sS --max-time 5 "http://$vip/whoami"
say "done"
