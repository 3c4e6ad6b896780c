#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The map changes while dvpnd works: a site comes and goes, and a transfer that
# runs meanwhile does not notice.
set -eu
export SITES="A B C"
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"

to_c() { conversation hA "$(lan4 C)" hC "recv=1K send=1K half eof" "send=1K recv=1K eof"; }

without_c()
{
	map_lines A
	map_lines B
}

knows_c() { on gA ipset -q test dvpn4 "$(lan4 C)"; }
knows_no_c() { ! knows_c; }

# A transfer from B that waits half-way until it is told to go on.
transfer_start()
{
	start hB transfer-server "$PEER" listen :: 8888 -r "$LAB/run/transfer.ready" \
		send=20M hold="$LAB/run/transfer.go" send=20M half eof
	wait_for 10 test -e "$LAB/run/transfer.ready"
	start hA transfer-client "$PEER" connect "$(lan4 B)" 8888 recv=20M \
		mark="$LAB/run/transfer.half" recv=20M eof half
	wait_for 60 test -e "$LAB/run/transfer.half"
}

transfer_end()
{
	touch "$LAB/run/transfer.go"
	await transfer-client
	await transfer-server
}

no_c_yet()
{
	knows_no_c
	refuses on hA timeout 2 "$PEER" connect "$(lan4 C)" 80 half
}

added_by_change()
{
	lab_map | map_write A
	wait_for 20 knows_c
	to_c
}

removed_by_signal()
{
	without_c | map_write A
	kill -HUP "$(pid_of dvpnd-A)"
	wait_for 20 knows_no_c
	refuses on hA timeout 2 "$PEER" connect "$(lan4 C)" 80 half
}

# The bad line is named, and the good ones count.
with_a_bad_line()
{
	local mark
	mark=$(log_mark dvpnd-A)
	{
		lab_map
		echo "10.99.0.300 nonsense #! 10.99.0.0/16 203.0.113.99"
	} | map_write A
	wait_for 20 grep_log_since dvpnd-A "$mark" "hosts:$(wc -l <"$LAB/A/etc/hosts"):.*10.99.0.300"
	wait_for 20 knows_c
	to_c
}

by_control()
{
	without_c | map_write A
	wait_for 20 knows_no_c
	lab_map | map_write A
	ctl A reload
	wait_for 20 knows_c
	to_c
}

names_follow()
{
	{
		lab_map
		echo "10.9.0.77 new.saturday"
	} | map_write A
	wait_for 10 on hA getent ahostsv4 new.saturday
}

# Each reload starts programs, of which each has a copy of every descriptor for a
# moment, while connections come and go.
again_and_again()
{
	local port n mark
	port=$(next_port)
	start hB "server-$port" "$PEER" listen :: "$port" -k -r "$LAB/run/ready-$port" \
		recv=100 send=100 eof half
	wait_for 10 test -e "$LAB/run/ready-$port"
	# shellcheck disable=SC2016
	start hA churn bash -c 'for ((n = 0; n < 60; n++)); do
		"$0" connect "$1" "$2" -n 20 send=100 recv=100 half eof || exit 1
	done' "$PEER" "$(lan4 B)" "$port"
	for ((n = 0; n < 300; n++)); do
		! ended churn || break
		mark=$(log_mark dvpnd-A)
		kill -HUP "$(pid_of dvpnd-A)"
		wait_for 20 grep_log_since dvpnd-A "$mark" "map: "
	done
	echo "$n reloads"
	await churn 60
	running dvpnd-A
}

lab_topology
lab_keys
lab_names
lab_far
without_c | map_write A
check "rules and dvpnd start" dvpn_start
check "a transfer is half-way" transfer_start
check "C is not there yet" no_c_yet
check "a changed map is noticed" added_by_change
check "SIGHUP reads the map" removed_by_signal
check "a bad line is named, and does no harm" with_a_bad_line
check "dvpnctl reload reads the map" by_control
check "the LAN learns a new name" names_follow
check "reload after reload, while connections come and go" again_and_again
check "the transfer ends whole" transfer_end
lab_finish
