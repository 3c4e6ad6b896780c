#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The emulated wide area network does what it is told, so that what other tests
# measure on it means something.  Between gateway A and the Internet's router;
# figures of a busy machine, so medians and wide margins on the slow side.
set -eu
WAN=A
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"
probe=$top/tests/net/probe.py
router=${site_router[A]%/*}
router6=2001:db8:7::1

# result WORD LINE: a number out of what the probe printed
result() { sed -n "s/.*\b$1=\([0-9.]*\).*/\1/p" <<<"$2"; }

# within "what" LEAST MOST ACTUAL
within()
{
	awk -v l="$2" -v m="$3" -v a="$4" 'BEGIN { exit !(a != "" && a + 0 >= l && a + 0 <= m) }' || {
		echo "$1: expected $2 to $3, got \"$4\""
		return 1
	}
}

set_clean()
{
	wan clear "$@"
	wan_zero
}

round_trip()
{
	local said
	said=$(on gA "$probe" rtt "$1" 7 15)
	echo "$said"
	same "answers" 15 "$(result came "$said")"
	within "median round trip, ms" "$2" "$3" "$(result median_ms "$said")"
}

delay_of()
{
	set_clean delay "$2ms"
	round_trip "$1" "$((2 * $2))" "$((2 * $2 + 6))"
}

one_way_delay()
{
	set_clean
	wan there delay 40ms
	round_trip "$router" 40 46
}

jitter()
{
	local said
	set_clean delay 20ms jitter 10ms
	said=$(on gA "$probe" rtt "$router" 7 30)
	echo "$said"
	within "least, ms" 20 36 "$(result least_ms "$said")"
	within "nine of ten, ms" 43 70 "$(result high_ms "$said")"
	said=$(on gA "$probe" send "$router" 7 500 100)
	echo "$said"
	same "answers, in order" "500 0" "$(result came "$said") $(result late "$said")"
}

nothing_lost()
{
	local said
	set_clean delay 10ms
	said=$(on gA "$probe" send "$router" 7 5000 200)
	echo "$said"
	same "answers, in order" "5000 0" "$(result came "$said") $(result late "$said")"
	same "dropped for want of room" "0 0" "$(wan_count A there overrun) $(wan_count A back overrun)"
}

# 600 datagrams of 1000 bytes with their headers, at 8 mbit: 600 ms.
rate()
{
	local said
	set_clean
	wan there rate 8mbit queue 10s
	said=$(on gA "$probe" send "$router" 7 600 972)
	echo "$said"
	same "answers" 600 "$(result came "$said")"
	within "time for 599 more, ms" 540 660 "$(result spread_ms "$said")"
}

# 50 ms of 8 mbit are 50 such datagrams; the others find the queue full.
queue_drops()
{
	local said came
	set_clean
	wan there rate 8mbit queue 50ms
	said=$(on gA "$probe" send "$router" 7 600 972)
	came=$(result came "$said")
	echo "$said"
	within "answers" 50 200 "$came"
	same "the others" $((600 - came)) "$(wan_count A there queue_full)"
}

# tcp BYTES ADDRESS: both ways, every byte looked at
tcp()
{
	conversation gA "$2" inet "recv=$1 send=$1 eof" "send=$1 recv=$1 half"
}

# By the time that bytes took.
tcp_rate()
{
	local begin
	set_clean
	wan delay 5ms rate 200mbit
	begin=$(date +%s%N)
	conversation gA "$router" inet "recv=50M" "send=50M half"
	# 2.1 seconds at that rate, the start-up on top.
	within "ms for 50 MB at 200 mbit" 2050 8000 $((($(date +%s%N) - begin) / 1000000))
	same "dropped for want of room" 0 "$(wan_count A there overrun)"
}

# The emulator alone must not be what bounds other figures.
fast_enough()
{
	local begin
	set_clean delay 50ms
	begin=$(date +%s%N)
	conversation gA "$router" inet "recv=400M" "send=400M half"
	within "ms for 400 MB at 100 ms round trip" 200 10600 $((($(date +%s%N) - begin) / 1000000))
	same "dropped" "0 0" "$(wan_count A there overrun) $(wan_count A there lost)"
}

# Four standard deviations around what is to be expected.
loss()
{
	local said
	set_clean
	wan there loss 10%
	said=$(on gA "$probe" send "$router" 7 5000 100)
	echo "$said"
	within "answers" 4415 4585 "$(result came "$said")"
	same "the others" $((5000 - $(result came "$said"))) "$(wan_count A there lost)"
}

# TCP's big packets are cut into what a wire would have lost.
tcp_loss()
{
	local entered
	set_clean delay 1ms loss 2%
	tcp 30M "$1"
	entered=$(wan_count A there entered)
	echo "$entered segments, $(wan_count A there lost) lost"
	within "segments" 20000 60000 "$entered"
	within "lost in a thousand" 15 25 "$(($(wan_count A there lost) * 1000 / entered))"
}

reorder()
{
	local said
	set_clean delay 8ms
	wan there reorder 5%
	said=$(on gA "$probe" send "$router" 7 2000 100)
	echo "$said"
	same "answers" 2000 "$(result came "$said")"
	within "picked" 60 140 "$(wan_count A there held)"
	within "came late" 50 140 "$(result late "$said")"
	tcp 10M "$router"
}

# The same seed loses the same packets.
seeded()
{
	local first second
	set_clean loss 20% seed 7
	first=$(result came "$(on gA "$probe" send "$router" 7 1000 100)")
	set_clean loss 20% seed 7
	second=$(result came "$(on gA "$probe" send "$router" 7 1000 100)")
	same "answers of the second" "$first" "$second"
	within "answers" 580 700 "$first"
}

cut_and_up()
{
	local said
	set_clean cut
	said=$(on gA "$probe" rtt "$router" 7 1)
	same "answers while cut" 0 "$(result came "$said")"
	# What earlier connections still had to say may be among it.
	within "lost to the cut" 1 50 "$(wan_count A there cut)"
	wan up
	round_trip "$router" 0 6
}

# A connection lives through it, and every byte arrives.
cut_in_a_transfer()
{
	local port name
	port=$(next_port)
	name=cut-$port
	set_clean delay 5ms rate 200mbit
	start inet "$name" "$PEER" listen :: "$port" -r "$LAB/run/$name.ready" recv=20M eof
	wait_for 10 test -e "$LAB/run/$name.ready"
	start gA "$name-client" "$PEER" connect "$router" "$port" send=20M half eof
	wait_for 10 sent_some
	wan cut
	wait_for 10 some_cut
	wan up
	await "$name" 60 || {
		on inet "$EMULATOR" show "$LAB/wan-A"
		on gA ss -tino
		return 1
	}
	await "$name-client" 60
}

sent_some() { [ "$(wan_count A there delivered)" -gt 1000 ]; }
some_cut() { [ "$(wan_count A there cut)" -gt 0 ]; }

# All or nothing: a bad word changes neither direction.
bad_words()
{
	local words
	set_clean delay 3ms
	for words in "delay 5" "delay" "delay -1ms" "loss 101%" "loss 1" "rate 0mbit" "foo" \
		"delay 9ms jitter 10ms" "there foo" "delay 7ms foo" "delay 61s" "seed x"; do
		# shellcheck disable=SC2086
		refuses wan $words
	done
	on inet "$EMULATOR" show "$LAB/wan-A" | grep -c "^\(there\|back\) delay 3ms .* up$" |
		grep -x 2
}

ends_well()
{
	stop wan-A
	refuses test -e "$LAB/wan-A"
	refuses ip -n "$(namespace gA)" link show dev wan
}

SITES=A
lab_topology
# 300 mbit at 100 ms are more than what TCP may keep on its way by default.
for host in gA inet; do
	on "$host" sysctl -qw \
		net.ipv4.tcp_wmem="4096 65536 67108864" net.ipv4.tcp_rmem="4096 131072 67108864"
done
start inet echo "$probe" echo 7 "$LAB/run/echo.ready"
wait_for 10 test -e "$LAB/run/echo.ready"

check "without settings packets pass at once" round_trip "$router" 0 6
check "10 ms each way" delay_of "$router" 10
check "50 ms each way" delay_of "$router" 50
check "50 ms each way over IPv6" delay_of "$router6" 50
check "40 ms one way only" one_way_delay
check "jitter spreads and does not reorder" jitter
check "nothing is lost or reordered unasked" nothing_lost
check "a rate" rate
check "a full queue drops" queue_drops
check "TCP reaches the rate" tcp_rate
check "300 mbit of TCP at 100 ms there and back" fast_enough
check "loss" loss
check "loss by the segment, and TCP mends it" tcp_loss "$router"
check "the same over IPv6" tcp_loss "$router6"
check "reordering" reorder
check "the same seed, the same fate" seeded
check "cut and up" cut_and_up
check "a transfer survives a cut" cut_in_a_transfer
check "bad words are refused and change nothing" bad_words
check "the wire ends and leaves nothing" ends_well
check "no sanitizer has reported anything" refuses sanitizer_reports
finish
