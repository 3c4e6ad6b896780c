#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The capture modules by themselves, behind the real rules, on one gateway:
#
#   hA 10.7.0.5 ---- gA 10.7.0.1 ==== inet, which swallows what is private
#
# A probe made of them takes the place of dvpnd and answers every captured
# connection with where it was going.
set -eu
SITES=A
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"
PROBE=$BUILD/tests/net/capture_probe
RULES=$top/rules/dvpn-rules

# Lines for 10.N.0.0/16 and fd00:N::/48, for each N that is given.
map()
{
	local n
	for n; do
		echo "10.$n.0.1 site$n #! 10.$n.0.0/16 198.51.100.9"
		echo "fd00:$n::1 site$n #! fd00:$n::/48"
	done >"$LAB/map.new"
	mv "$LAB/map.new" "$LAB/map"
}

# probe_start NAME OPTION…: until its first update is done.
probe_start()
{
	local name=$1
	shift
	start gA "$name" "$PROBE" serve "$@" "$LAB/map"
	wait_for 10 grep_log "$name" '^updated'
}

# Reads the map again and waits for that; prints what the probe says of it.
probe_update()
{
	local mark
	mark=$(log_mark probe)
	kill -HUP "$(pid_of probe)"
	wait_for 10 grep_log_since probe "$mark" '^(updated|update refused)'
	grep_log_since probe "$mark" '^(updated|update refused)'
}

counters()
{
	local mark
	mark=$(log_mark probe)
	kill -USR1 "$(pid_of probe)"
	wait_for 10 grep_log_since probe "$mark" '^accepted'
	grep_log_since probe "$mark" '^accepted'
}

# dial HOST DEST PORT [OPTION…]: the answer, or the error's name.
dial()
{
	local host=$1 dest=$2 port=$3
	shift 3
	on "$host" timeout 30 "$PROBE" connect "$@" "$dest" "$port" || :
}

lab_topology
# Silence, not an ICMP error: a client goes on sending its SYN.
on inet ip route add blackhole 10.0.0.0/8
on inet ip -6 route add blackhole fd00::/8
map 8

# ---- starting, and not ----

start_refused() # PATTERN COMMAND…
{
	local pattern=$1 status=0
	shift
	on gA timeout 10 "$@" >"$LAB/out" 2>&1 || status=$?
	cat "$LAB/out"
	same "exit status" 1 "$status"
	grep -Eq "$pattern" "$LAB/out"
}

without_privilege()
{
	start_refused 'conntrack: .*not permitted.*CAP_NET_ADMIN' \
		setpriv --bounding-set -net_admin --inh-caps -net_admin \
		"$PROBE" serve "$LAB/map"
}

without_ipset()
{
	# shellcheck disable=SC2016
	start_refused 'there is no ipset.*apt-get install ipset' unshare -m \
		sh -c 'mount --bind /dev/null /usr/sbin/ipset && exec "$0" serve "$1"' \
		"$PROBE" "$LAB/map"
}

port_in_use()
{
	start_refused "can't listen on 0\.0\.0\.0:7777: .*ss -ltnp 'sport = :7777'" \
		"$PROBE" serve "$LAB/map"
}

address_of_nobody()
{
	start_refused "can't listen on 10\.99\.0\.1:7777: no interface has this address" \
		"$PROBE" serve -a 10.99.0.1 "$LAB/map"
}

check "it does not start without CAP_NET_ADMIN" without_privilege
check "it does not start without ipset" without_ipset
check "it does not listen on a foreign address" address_of_nobody
check "it starts" probe_start probe -o 10.7.0.0/16 -o fd00:7::/48
check "a port in use is named, with who may have it" port_in_use

sets_are() # EXPECTED: "SET ENTRY" words, one a line
{
	same "the sets" "$1" "$(on gA ipset save | sed -n 's/^add //p' | sort)"
}

check "the sets hold the map's prefixes" sets_are "dvpn4 10.8.0.0/16
dvpn6 fd00:8::/48"

# ---- a connection straight to the port ----

# No rules yet, so no entry in conntrack: nobody knows where it was going.
unknown_refused()
{
	same "direct" ECONNRESET "$(dial hA 10.7.0.1 7777)"
	counters | grep -q 'direct 0 unknown 1 '
	grep_log probe 'no original destination for 10\.7\.0\.5:'
}

check "without conntrack a direct connection is reset" unknown_refused

on gA "$RULES" up --router lan --leaf 2>&1 | note

direct_reset()
{
	same "shielded" ECONNREFUSED "$(dial hA 10.7.0.1 7777)"
	counters | grep -q 'direct 0 '
	on gA iptables -I DVPN-INPUT -j RETURN
	same "direct" ECONNRESET "$(dial hA 10.7.0.1 7777)"
	on gA iptables -D DVPN-INPUT -j RETURN
	counters | grep -q 'direct 1 '
}

direct_reset_6()
{
	on gA ip6tables -I DVPN-INPUT -j RETURN
	same "direct, IPv6" ECONNRESET "$(dial hA fd00:7::1 7777)"
	on gA ip6tables -D DVPN-INPUT -j RETURN
	counters | grep -q 'direct 2 '
	same "shielded, IPv6" ECONNREFUSED "$(dial hA fd00:7::1 7777)"
	same "shielded, from outside" ECONNREFUSED "$(dial inet "$(wan4 A)" 7777)"
	same "shielded, from the gateway itself" ECONNREFUSED "$(dial gA 127.0.0.1 7777)"
	counters | grep -q 'direct 2 '
	grep_log probe '10\.7\.0\.5:[0-9]+ connected straight to 10\.7\.0\.1:7777, refused'
}

check "a direct connection is refused, by the rules and without them" direct_reset
check "the same for IPv6, from outside, and from the gateway" direct_reset_6

# ---- captured ----

router_captures()
{
	same "IPv4" "10.8.0.5:80 10.8.0.5:80" "$(dial hA 10.8.0.5 80)"
	same "IPv6" "[fd00:8::5]:443 [fd00:8::5]:443" "$(dial hA fd00:8::5 443)"
	grep_log probe '^captured 10\.7\.0\.5:[0-9]+ to 10\.8\.0\.5:80 '
	grep_log probe '^captured \[fd00:7::5\]:[0-9]+ to \[fd00:8::5\]:443 '
}

leaf_captures()
{
	same "IPv4" "10.8.0.5:80 10.8.0.5:80" "$(dial gA 10.8.0.5 80)"
	same "IPv6" "[fd00:8::5]:443 [fd00:8::5]:443" "$(dial gA fd00:8::5 443)"
}

# The port itself, at another address, is a destination like others.
port_elsewhere()
{
	same "same port" "10.8.0.5:7777 10.8.0.5:7777" "$(dial hA 10.8.0.5 7777)"
}

# What dvpnd marks goes out as it is: here into the black hole.
marked_passes()
{
	local mark
	mark=$(log_mark probe)
	on gA timeout 2 "$PROBE" connect -m 0x6476 10.8.0.5 80 && return 1
	[ $? = 124 ]
	refuses grep_log_since probe "$mark" '^captured'
}

check "a LAN host's connections are captured, IPv4 and IPv6" router_captures
check "the gateway's own are captured, IPv4 and IPv6" leaf_captures
check "the listening port at a far address is captured" port_elsewhere
check "what carries the daemon's mark is not captured" marked_passes

# ---- the sets follow the map ----

set_ids() { on gA ipset list -t | sed -n 's/.*initval //p'; }

update_gains()
{
	map 8 9
	probe_update | grep '^updated 0 gained 2 10\.9\.0\.0/16 fd00:9::/48 flushed 0;'
	sets_are "dvpn4 10.8.0.0/16
dvpn4 10.9.0.0/16
dvpn6 fd00:8::/48
dvpn6 fd00:9::/48"
	same "new site" "10.9.0.5:80 10.9.0.5:80" "$(dial hA 10.9.0.5 80)"
}

update_of_nothing()
{
	local before
	before=$(set_ids)
	probe_update | grep '^updated 0 gained 0 flushed 0;'
	# A set that was swapped in would have another one.
	same "the sets' own numbers" "$before" "$(set_ids)"
}

update_loses()
{
	map 8
	probe_update | grep '^updated 0 gained 0 flushed 0;'
	sets_are "dvpn4 10.8.0.0/16
dvpn6 fd00:8::/48"
}

# An operator, or a crash, emptied them: the kernel is asked, not remembered.
update_repairs()
{
	on gA "$RULES" down
	on gA "$RULES" up --router lan --leaf
	sets_are ""
	probe_update | grep '^updated 0 gained 2 10\.8\.0\.0/16 fd00:8::/48 '
	same "captured again" "10.8.0.5:80 10.8.0.5:80" "$(dial hA 10.8.0.5 80)"
}

restart_gains_nothing()
{
	stop probe
	reset_log probe
	probe_start probe -o 10.7.0.0/16 -o fd00:7::/48
	grep_log probe '^updated 0 gained 0 '
}

# A wide remote prefix leaves our own LAN, and ourselves, alone.
own_is_not_captured()
{
	echo "10.8.0.1 wide #! 10.0.0.0/8 ::/0 198.51.100.9" >"$LAB/map"
	probe_update | grep '^updated 0 gained 3 10\.0\.0\.0/8 ::/1 8000::/1 '
	sets_are "dvpn4 10.0.0.0/8
dvpn4 10.7.0.0/16 nomatch
dvpn6 8000::/1
dvpn6 ::/1
dvpn6 fd00:7::/48 nomatch"
	same "own LAN" ECONNREFUSED "$(dial gA 10.7.0.5 80)"
	same "own LAN, IPv6" ECONNREFUSED "$(dial gA fd00:7::5 80)"
	same "the gateway's outer address" ECONNREFUSED "$(dial hA "$(wan6 A)" 80)"
	same "what is wide" "10.200.0.5:80 10.200.0.5:80" "$(dial hA 10.200.0.5 80)"
	same "what is wide, IPv6" "[2001:db8:ffff::1]:80 [2001:db8:ffff::1]:80" \
		"$(dial hA 2001:db8:ffff::1 80)"
}

updates_in_a_row()
{
	local mark n
	mark=$(log_mark probe)
	for n in 20 21 22 23 24 25; do
		map "$n"
		kill -HUP "$(pid_of probe)"
	done
	wait_for 10 sets_are "dvpn4 10.25.0.0/16
dvpn6 fd00:25::/48"
	# the kernel has them a little before the probe says so
	wait_for 10 grep_log_since probe "$mark" '^updated 0 .* 10.25.0.0/16'
	probe_update | grep '^updated 0 gained 0 '
	refuses grep_log_since probe "$mark" '^updated -1'
}

wrong_set()
{
	on gA "$RULES" down
	on gA ipset create dvpn4 hash:ip
	probe_update | grep '^updated -1 gained 0 '
	grep_log probe "kset: can't update .*set with the same name already exists"
	on gA ipset destroy dvpn4
	on gA "$RULES" up --router lan --leaf
	map 8
	probe_update | grep '^updated 0 gained 2 '
}

# A program that hangs in the middle of an update, and one that is gone.
left_over_set()
{
	on gA ipset create dvpn4-new hash:net family inet maxelem 1048576
	on gA ipset add dvpn4-new 10.66.0.0/16
	map 8 9
	probe_update | grep '^updated 0 gained 2 '
	sets_are "dvpn4 10.8.0.0/16
dvpn4 10.9.0.0/16
dvpn6 fd00:8::/48
dvpn6 fd00:9::/48"
	map 8
	probe_update
}

check "a new prefix is gained, set, and captured" update_gains
check "an update that changes nothing touches nothing" update_of_nothing
check "a prefix that is gone leaves the sets" update_loses
check "sets that were emptied are filled again" update_repairs
check "a restart finds the sets as they are" restart_gains_nothing
check "own prefixes inside a remote one are not captured" own_is_not_captured
check "of many updates the last one holds" updates_in_a_row
check "a set of another type is an error, and can be put right" wrong_set
check "what a killed update left over does no harm" left_over_set

# ---- a connection that began before its prefix was there ----

half_open() # DEST
{
	on gA conntrack -L -p tcp -d "$1" 2>/dev/null | grep -q SYN_SENT
}

# The client's SYN went out in clear, since nobody knew better; its next one ...
dial_early() # DEST
{
	dial hA "$1" 80 >"$LAB/early" &
	early=$!
	wait_for 5 half_open "$1"
}

flush_lets_retry_in()
{
	dial_early 10.40.0.5
	map 8 40
	probe_update | grep '^updated 0 gained 2 .* flushed 1;'
	wait "$early"
	same "the early client" "10.40.0.5:80 10.40.0.5:80" "$(cat "$LAB/early")"
}

flush_lets_retry_in_6()
{
	dial hA fd00:41::5 80 >"$LAB/early" &
	early=$!
	wait_for 5 on gA sh -c 'conntrack -L -f ipv6 -p tcp -d fd00:41::5 2>/dev/null | grep -q SYN_SENT'
	map 8 40 41
	probe_update | grep '^updated 0 gained 2 .* flushed 1;'
	wait "$early"
	same "the early client" "[fd00:41::5]:80 [fd00:41::5]:80" "$(cat "$LAB/early")"
}

# Others' half-open connections are left alone.
flush_leaves_others()
{
	dial hA 10.50.0.5 80 >"$LAB/other" &
	wait_for 5 half_open 10.50.0.5
	map 8 40 41 42
	probe_update | grep '^updated 0 gained 2 .* flushed 0;'
	half_open 10.50.0.5
	kill "$!"
}

# The negative control: without the flush it is never captured.
no_flush_no_capture()
{
	stop probe
	reset_log probe
	probe_start probe -n
	dial_early 10.43.0.5
	map 8 43
	probe_update
	wait "$early"
	same "the early client" ECONNREFUSED "$(cat "$LAB/early")"
	refuses grep_log probe 'captured .* to 10\.43\.0\.5'
	stop probe
}

check "its next SYN is captured once the old entry is flushed" flush_lets_retry_in
check "the same for IPv6" flush_lets_retry_in_6
check "a flush leaves other connections alone" flush_leaves_others
check "without the flush it is not captured, and does not leak" no_flush_no_capture

# ---- no descriptors left ----

clients=40

answered() { cat "$LAB"/client.* | grep -c '^10\.8\.0\.5:80' || :; }
some_answered() { [ "$(answered)" -ge "$1" ]; }
paused() { counters | grep -Eq 'pauses [1-9]'; }

accept_pauses()
{
	local n waiting=()
	reset_log probe
	# shellcheck disable=SC2016
	start gA probe sh -c 'ulimit -n 32; exec "$0" serve -k "$1"' "$PROBE" "$LAB/map"
	wait_for 10 grep_log probe '^updated 0'
	for ((n = 0; n < clients; n++)); do
		dial hA 10.8.0.5 80 >"$LAB/client.$n" &
		waiting+=($!)
	done
	wait_for 10 some_answered 5
	wait_for 10 paused
	# Every one that waits is in the backlog, not refused.
	refuses some_answered "$clients"
	refuses grep -h E "$LAB"/client.*
	[ "$(grep_log probe 'accepting paused: Too many open files' | wc -l)" = 1 ]
	# It rests meanwhile: a tenth of a second of work in a second of wall clock.
	local before after
	before=$(cpu_ticks)
	sleep 1
	after=$(cpu_ticks)
	[ $((after - before)) -le 20 ]
	until_all_answered
	wait "${waiting[@]}"
	same "answered" "$clients" "$(answered)"
	stop probe
}

cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$(pid_of probe)/stat"; }

until_all_answered()
{
	local turn
	for ((turn = 0; turn < 20; turn++)); do
		kill -USR2 "$(pid_of probe)"
		! wait_for 1 some_answered "$clients" >/dev/null || return 0
	done
	return 1
}

check "accepting pauses without descriptors, and every client is served in the end" accept_pauses

# ---- many prefixes ----

many_prefixes()
{
	map 8
	reset_log probe
	probe_start probe
	awk 'BEGIN { for (i = 0; i < 65536; i++)
		printf "11.%d.%d.1 s%d #! 11.%d.%d.0/24 198.51.100.9\n",
			i / 256, i % 256, i, i / 256, i % 256 }' >"$LAB/map"
	probe_update | tee "$LAB/many" | grep '^updated 0 gained 65536 '
	same "entries" 65536 "$(on gA ipset list -t dvpn4 | sed -n 's/^Number of entries: //p')"
	same "one of them" "11.200.3.4:80 11.200.3.4:80" "$(dial hA 11.200.3.4 80)"
	probe_update | grep '^updated 0 gained 0 ' >>"$LAB/many"
	stop probe
}

check "65,536 prefixes are set in one update" many_prefixes
sed 's/.*;/filled, then found unchanged:/' "$LAB/many" | note

check "no sanitizer has reported anything" refuses grep -E 'Sanitizer|runtime error' "$LAB"/run/*.log
finish
