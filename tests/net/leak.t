#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the Internet gets to see: SSH between the gateways and nothing else,
# whether dvpnd is at work, stopped or killed.
set -eu
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"

# Packets at A's end of the Internet that are neither SSH nor a router's own business.
capture_start()
{
	start inet tcpdump tcpdump -ni toA -U -w "$LAB/run/seen.pcap" \
		'not tcp port 22 and not arp and not net fe80::/10 and not dst net ff00::/8 and
		 not (icmp6 and ip6[40] >= 130 and ip6[40] <= 143)'
	wait_for 10 grep_log tcpdump 'listening on'
}

# A packet of our own, to another port each time, shows that what came before it
# has been written.
capture_nothing()
{
	local port seen
	port=$(next_port)
	on gA "$PEER" connect "${site_router[A]%/*}" "$port" reset
	wait_for 10 seen "port $port"
	seen=$(tcpdump -nr "$LAB/run/seen.pcap" "not host ${site_router[A]%/*}" 2>/dev/null)
	same "packets in clear" "" "$seen"
}

seen() { [ -n "$(tcpdump -nr "$LAB/run/seen.pcap" "$@" 2>/dev/null)" ]; }

works() { conversation hA "$1" hB "recv=1M send=1M half eof" "send=1M recv=1M eof"; }

# UDP and a ping have no way through dvpn, and may not go another.
try_all()
{
	local to
	for to in "$(lan4 B)" "$(lan6 B)"; do
		on hA timeout 3 bash -c "echo hello >/dev/udp/$to/5353" || :
		on hA timeout 3 python3 -c "$icmp" "$to" || :
		on gA timeout 3 bash -c "echo hello >/dev/udp/$to/5353" || :
		"$@" "$to"
	done
}

icmp='
import socket, sys
v6 = ":" in sys.argv[1]
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW,
                  socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP)
s.sendto(bytes([128, 0, 0, 0, 0, 1, 0, 1]) if v6 else bytes([8, 0, 0xf7, 0xfd, 0, 1, 0, 1]),
         (sys.argv[1], 0))
'

fails() { on hA "$PEER" connect "$1" 80 reset; }

with_dvpnd()
{
	try_all works
	capture_nothing
}

stopped()
{
	stop dvpnd-A
	try_all fails
	capture_nothing
}

killed()
{
	dvpnd_start A
	try_all works
	kill -KILL "$(pid_of dvpnd-A)"
	refuses await dvpnd-A
	try_all fails
	capture_nothing
}

# The same without rules does leave in clear: the capture would have seen it.
without_rules()
{
	rules_down A
	on hA timeout 3 bash -c "echo hello >/dev/udp/$(lan4 B)/5353"
	wait_for 10 seen "udp and dst host $(lan4 B)"
}

lab_up
check "watching the Internet" capture_start
check "with dvpnd only SSH is seen" with_dvpnd
check "with dvpnd stopped nothing leaks, and clients are refused" stopped
check "with dvpnd killed nothing leaks, and clients are refused" killed
check "without the rules it would have been seen" without_rules
check "tcpdump ends" stop tcpdump
lab_finish
