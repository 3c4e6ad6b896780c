#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# One connection at a time between two sites: it fails without dvpn, and with it
# arrives whole, in every order in which two programs may talk, end and break off.
set -eu
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"

# ---- without dvpn ----

gateways_see_each_other()
{
	conversation gA "$(wan4 B)" gB "recv=1K send=1K half eof" "send=1K recv=1K eof"
	conversation gA "$(wan6 B)" gB "recv=1K send=1K half eof" "send=1K recv=1K eof"
}

sites_do_not()
{
	local to
	for to in "$(lan4 B)" "$(lan6 B)" www.friday; do
		refuses on hA timeout 2 "$PEER" connect "$to" 80 mark="$LAB/run/connected"
	done
	[ ! -e "$LAB/run/connected" ]
}

names_resolve()
{
	same "A" "$(lan4 B)" "$(on hA getent ahostsv4 www.friday | awk 'NR == 1 { print $1 }')"
	same "AAAA" "$(lan6 B)" "$(on hA getent ahostsv6 www.friday | awk 'NR == 1 { print $1 }')"
}

lab_topology
lab_keys
lab_names
lab_far
mkdir "$LAB/www"
head -c 5M /dev/urandom >"$LAB/www/file"
www_start hB "$LAB/www"

check "the gateways reach each other" gateways_see_each_other
check "a LAN host knows the other site's names" names_resolve
check "the server on B is there" on gB "$PEER" connect "$(lan4 B)" 80 half
check "without dvpn no LAN reaches the other" sites_do_not

# ---- with it ----

RULES_OPTIONS[A]=--leaf
check "rules and dvpnd start" dvpn_start

by_name()
{
	on "$1" curl -sS --max-time 60 "-$2" -o "$LAB/got" http://www.friday/file
	cmp "$LAB/www/file" "$LAB/got"
}

by_address()
{
	on "$1" curl -sS --max-time 60 -o "$LAB/got" "http://$2/file"
	cmp "$LAB/www/file" "$LAB/got"
}

http_10()
{
	on "$1" curl -sS -0 --max-time 60 "-$2" -o "$LAB/got" http://www.friday/file
	cmp "$LAB/www/file" "$LAB/got"
}

nc_half_close()
{
	local port
	port=$(next_port)
	start hB "echo-$port" "$PEER" listen :: "$port" -r "$LAB/run/echo-$port.ready" echo
	wait_for 10 test -e "$LAB/run/echo-$port.ready"
	on "$1" timeout 60 nc "-$2" -N www.friday "$port" <"$LAB/www/file" >"$LAB/got"
	cmp "$LAB/www/file" "$LAB/got"
	await "echo-$port"
}

# refused_log HOST ADDRESS PORT WORD: a failed connect resets the client, and the
# log of the near gateway names the destination and what was the matter.
refused_log()
{
	local mark
	mark=$(log_mark dvpnd-A)
	on "$1" "$PEER" connect "$2" "$3" reset
	wait_for 5 grep_log_since dvpnd-A "$mark" "$2.*$4|$4.*$2"
}

for path in "hA 4" "hA 6" "gA 4" "gA 6"; do
	host=${path% *}
	family=${path#* }
	b=$("lan$family" B)
	on_path="over IPv$family from the $([ "$host" = hA ] && echo LAN || echo gateway itself)"
	url=$b
	[ "$family" = 4 ] || url=[$b]

	check "a file by name $on_path" by_name "$host" "$family"
	check "a file by address $on_path" by_address "$host" "$url"
	check "HTTP/1.0 $on_path" http_10 "$host" "$family"
	check "netcat -N gets back what it sent $on_path" nc_half_close "$host" "$family"
	for size in 0 1 2 1459 4096 32767 32768 65537 1M 100M; do
		check "$size bytes down $on_path" conversation "$host" "$b" hB \
			"send=$size half eof" "recv=$size eof half"
		check "$size bytes up $on_path" conversation "$host" "$b" hB \
			"recv=$size eof half" "send=$size half eof"
	done
	check "20 MB each way at once $on_path" conversation "$host" "$b" hB \
		"both=20M half eof" "both=20M half eof"
	check "the server speaks first $on_path" conversation "$host" "$b" hB \
		"send=30 recv=10 send=1K recv=1K half eof" "recv=30 send=10 recv=1K send=1K half eof"
	check "the client half-closes first $on_path" conversation "$host" "$b" hB \
		"recv=300K eof send=900K" "send=300K half recv=900K eof"
	check "the server half-closes first $on_path" conversation "$host" "$b" hB \
		"send=900K half recv=300K eof" "recv=900K eof send=300K half"
	check "the server resets $on_path" conversation "$host" "$b" hB \
		"recv=5 abort" "send=5 reset"
	check "the client resets $on_path" conversation "$host" "$b" hB \
		"recv=5 send=1 reset" "send=5 recv=1 abort"
	check "the server resets a busy upload $on_path" conversation "$host" "$b" hB \
		"at_least=3M abort" "flood"
	check "the client resets a busy download $on_path" conversation "$host" "$b" hB \
		"flood" "at_least=3M abort"
	check "a refused port is a reset, and logged $on_path" refused_log "$host" "$b" 1 refused
done

nobody=10.8.200.200
check "an unreachable host is a reset, and logged (IPv4)" \
	refused_log hA $nobody 80 "unreachable|No route to host"
nobody=fd00:8::dead
check "an unreachable host is a reset, and logged (IPv6)" \
	refused_log hA $nobody 80 "unreachable|No route to host"
check "the other way: from B to A" conversation hB "$(lan4 A)" hA \
	"recv=1M send=1M half eof" "send=1M recv=1M half eof"
check "the other way, IPv6" conversation hB "$(lan6 A)" hA \
	"recv=1M send=1M half eof" "send=1M recv=1M half eof"

lab_finish
