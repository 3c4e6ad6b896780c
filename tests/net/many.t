#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Many connections at once through one pair of gateways, whose sshd is as Debian
# ships it: ten sessions a connection, and ten logins at a time.
set -eu
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"

# established PORT COUNT: the server's host has that many connections.
established()
{
	[ "$(on hB ss -Htn state established "sport = :$1" | wc -l)" = "$2" ]
}

# at_once COUNT ADDRESS: every one has got through and is still there before the
# first may end; then each must end well.
at_once()
{
	local port go clients
	port=$(next_port)
	go=$LAB/run/go-$port
	start hB "server-$port" "$PEER" listen :: "$port" -k -r "$go.ready" \
		recv=2K send=10K eof half
	wait_for 10 test -e "$go.ready"
	start hA "clients-$port" "$PEER" connect "$2" "$port" -n "$1" \
		send=2K recv=10K hold="$go" half eof
	clients=clients-$port
	wait_for 110 established "$port" "$1" || {
		echo "$(on hB ss -Htn state established "sport = :$port" | wc -l) of $1 came through"
		tail -n 5 "$(log_of "$clients")"
		return 1
	}
	on gA sh -c "grep VmRSS /proc/$(pid_of dvpnd-A)/status"
	same "flows that dvpnd counts" "$1" "$(ctl A flows | grep -c ":$port\b")"
	touch "$go"
	await "$clients" 110 || {
		tail -n 5 "$(log_of "$clients")"
		return 1
	}
	wait_for 20 established "$port" 0
}

none_left()
{
	! ctl "$1" flows | grep -q ':9[0-9][0-9][0-9]\b'
}

one_after_the_other()
{
	local port n
	port=$(next_port)
	start hB "server-$port" "$PEER" listen :: "$port" -k -r "$LAB/run/ready-$port" \
		recv=100 send=100 eof half
	wait_for 10 test -e "$LAB/run/ready-$port"
	for ((n = 0; n < 200; n++)); do
		on hA "$PEER" connect "$1" "$port" send=100 recv=100 half eof
	done
}

lab_up
check "200 connections, one after the other" one_after_the_other "$(lan4 B)"
check "500 connections at once" at_once 500 "$(lan4 B)"
check "500 connections at once over IPv6" at_once 500 "$(lan6 B)"
check "1000 connections that stay" at_once 1000 "$(lan4 B)"
check "no flow is left on A" wait_for 20 none_left A

# What sshd starts from now on has so few that a trunk is soon full, and so is the
# next; a burst on new links has to find its way all the same.
few_descriptors()
{
	prlimit --pid "$(pid_of sshd-B)" --nofile=80:80
	stop dvpnd-A
	dvpnd_start A
}
check "B's sshd and all that it starts have 80 descriptors" few_descriptors
check "300 connections at once through trunks that fill up" at_once 300 "$(lan4 B)"
check "again no flow is left on A" wait_for 20 none_left A
lab_finish
