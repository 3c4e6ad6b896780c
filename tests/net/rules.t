#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The rules without any daemon: what they leave behind, what they let through,
# and what they say about themselves.
#
#   hA 10.7.0.5 ---- gA 10.7.0.1 ==== inet, which counts what comes for 10.8/16
set -eu
SITES=A
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"
RULES=$top/rules/dvpn-rules
FIREWALL=$top/rules/firewall.example

# What the kernel holds, counters and a set's own number aside, and without the
# empty built-in chains that iptables makes by being asked.
trace()
{
	local name
	for name in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do
		echo "# $name"
		on gA "$name-save" 2>/dev/null | grep -v '^#' | grep -v '^:[A-Z]* ACCEPT' |
			grep -v '^\*\|^COMMIT' || :
	done
	on gA ipset save | sed 's/ initval .*//'
}

rules() { on gA "$RULES" "$@"; }

# exits STATUS PATTERN COMMAND…: with one line on stderr that has the pattern.
exits()
{
	local expected=$1 pattern=$2 status=0
	shift 2
	"$@" >"$LAB/out" 2>"$LAB/err" || status=$?
	cat "$LAB/err"
	same "exit status" "$expected" "$status"
	grep -Eq -- "$pattern" "$LAB/err"
}

one_line() { same "lines" 1 "$(wc -l <"$LAB/err")"; }

lab_topology
on inet iptables -t raw -A PREROUTING -d 10.8.0.0/16 -j ACCEPT
on inet ip6tables -t raw -A PREROUTING -d fd00:8::/48 -j ACCEPT
# An operator's own rules and sets, which must come out as they went in.
on gA iptables -N MINE
on gA iptables -A FORWARD -i lan -j MINE
on gA iptables -A MINE -p tcp --dport 445 -j REJECT
on gA iptables -t nat -A POSTROUTING -o wan -j MASQUERADE
on gA ip6tables -A FORWARD -i lan -p tcp --dport 445 -j REJECT
on gA ipset create mine hash:ip

# ---- no trace ----

no_trace() # PROGRAM
{
	local before
	before=$(trace)
	DVPN_IPTABLES=$1 rules up --router lan --leaf
	trace >"$LAB/once"
	grep -q DVPN-PREROUTING "$LAB/once"
	DVPN_IPTABLES=$1 rules up --router lan --leaf
	same "up twice" "$(cat "$LAB/once")" "$(trace)"
	DVPN_IPTABLES=$1 rules up --leaf
	refuses grep -q DVPN-PREROUTING <<<"$(trace)"
	DVPN_IPTABLES=$1 rules down
	same "down" "$before" "$(trace)"
	DVPN_IPTABLES=$1 rules down
	same "down twice" "$before" "$(trace)"
}

# Whatever part of it an earlier run, or somebody's hand, left there.
after_a_crash()
{
	local before
	before=$(trace)
	rules up --router lan
	trace >"$LAB/once"
	on gA iptables -t nat -D DVPN-PREROUTING 1
	on gA iptables -A INPUT -j DVPN-INPUT
	on gA iptables -D OUTPUT -j DVPN-OUTPUT
	on gA iptables -N DVPN-OLD
	on gA iptables -A FORWARD -j DVPN-OLD
	on gA ip6tables -F DVPN-FORWARD
	on gA ip6tables -t nat -F PREROUTING
	on gA ipset create dvpn4-new hash:net
	rules up --router lan
	same "put right" "$(grep -v ' dvpn4-new ' "$LAB/once")" "$(trace | grep -v ' dvpn4-new ')"
	on gA iptables -D INPUT -j DVPN-INPUT -m comment \
		--comment "dvpn-rules up --router lan --port 7777"
	on gA ip6tables -A FORWARD -j DVPN-INPUT
	rules down
	same "down" "$before" "$(trace)"
}

two_at_once()
{
	local n turns=()
	for n in 1 2 3 4; do
		rules up --router lan &
		turns+=($!)
	done
	for n in "${turns[@]}"; do
		wait "$n"
	done
	same "up many times" "$(cat "$LAB/once")" "$(trace)"
	rules down
}

# A rule of the operator's that uses a set is named, not broken.
set_in_use()
{
	rules up --leaf
	on gA iptables -A MINE -m set --match-set dvpn4 dst -j RETURN
	exits 1 'the set dvpn4 stays: .*iptables-save \| grep dvpn4' rules down
	on gA iptables -D MINE -m set --match-set dvpn4 dst -j RETURN
	rules down
}

check "up, up again, down: no trace (nf_tables)" no_trace iptables-nft
check "up, up again, down: no trace (legacy)" no_trace iptables-legacy
check "what a crash left is put right, and removed" after_a_crash
check "several at once do no harm" two_at_once
check "a set that the operator uses is named by down" set_in_use

# ---- bad usage, and what is missing ----

bad_usage()
{
	local words
	while read -r words; do
		# shellcheck disable=SC2086
		exits 2 'usage: dvpn-rules up\|down' rules $words
		one_line
	done <<-EOF
		sideways
		up
		up --router
		up --router --leaf
		up --router lan/x
		up --router a-name-much-too-long
		up --router lo
		up --leaf --port
		up --leaf --port 0
		up --leaf --port 65536
		up --leaf --port 7777x
		up --leaf lan
		check --wrong
	EOF
	exits 2 'usage: dvpn-rules' rules
	DVPN_IPTABLES=nftables exits 2 'may be iptables, iptables-nft or iptables-legacy' rules up --leaf
}

not_root()
{
	exits 1 'needs root; try: sudo dvpn-rules up' \
		on gA setpriv --reuid 65534 --regid 65534 --clear-groups "$RULES" up --leaf
	one_line
}

missing() # PROGRAM FILE
{
	local before
	before=$(trace)
	# shellcheck disable=SC2016
	exits 1 "there is no $1; install it: apt-get install" on gA unshare -m sh -c \
		'mount --bind /dev/null "$1" && exec "$0" up --leaf' "$RULES" "$2"
	one_line
	same "untouched" "$before" "$(trace)"
}

missing_programs()
{
	missing ipset /usr/sbin/ipset
	missing iptables "$(readlink -f /usr/sbin/iptables)"
}

hints()
{
	on gA sysctl -qw net.ipv4.ip_forward=0
	exits 0 'hint: net.ipv4.ip_forward is 0' rules up --router lan
	same "not changed" 0 "$(on gA sysctl -n net.ipv4.ip_forward)"
	on gA sysctl -qw net.ipv4.ip_forward=1
	exits 0 'hint: there is no interface lam now' rules up --router lam
	rules up --router lan --leaf 2>"$LAB/err"
	[ ! -s "$LAB/err" ]
	rules down
}

check "bad usage is refused in one line that says how" bad_usage
check "without root it says so" not_root
check "a missing program is named, with its package" missing_programs
check "a router that does not forward, and a missing interface, are hinted at" hints

# ---- check and show ----

found_wrong() # PATTERN COMMAND…
{
	local pattern=$1
	shift
	rules up --router lan --leaf
	rules check
	"$@"
	exits 1 "$pattern" rules check
	rules up --router lan --leaf
	rules check
}

swap_rules()
{
	on gA iptables -D DVPN-OUTPUT 1
	on gA iptables -A DVPN-OUTPUT -m mark --mark 0x6476 -j RETURN
}

check_finds()
{
	exits 1 'rules are not in place; put them there: dvpn-rules up' rules check
	exits 1 'IPv6 nat lacks: -A DVPN-OUTPUT ' rules check --leaf
	found_wrong 'IPv4 filter lacks: -A DVPN-FORWARD .*tcp-reset' on gA iptables -D DVPN-FORWARD 2
	found_wrong 'IPv6 nat: nothing jumps to DVPN-OUTPUT' on gA ip6tables -t nat -F OUTPUT
	found_wrong 'IPv4 filter DVPN-INPUT has other rules' on gA iptables -I DVPN-INPUT -j ACCEPT
	found_wrong 'DVPN-OUTPUT has other rules than it should, or in another order' swap_rules
	exits 1 'IPv4 nat DVPN-PREROUTING has other rules' rules check --leaf
	exits 1 'IPv4 nat lacks: .*--to-ports 7000' rules check --router lan --leaf --port 7000
	on gA iptables -I FORWARD -j MINE
	exits 0 'hint: IPv4 filter FORWARD has a rule before ours: -A FORWARD -j MINE' rules check
	on gA iptables -D FORWARD -j MINE
	rules down
	on gA ipset create dvpn6 hash:net
	exits 1 'the set dvpn6 is not of type hash:net family inet6' rules check --leaf
	exits 1 'set dvpn6; does one of another type exist' rules up --leaf
	rules down
}

show_shows()
{
	rules up --router lan --leaf
	rules show >"$LAB/out"
	grep -q 'IPv4 nat DVPN-PREROUTING' "$LAB/out"
	grep -q 'IPv6 filter DVPN-FORWARD' "$LAB/out"
	grep -q '^ *pkts ' "$LAB/out"
	grep -q '^Name: dvpn6' "$LAB/out"
	rules down
	rules show | grep '^no set dvpn4'
}

check "check names what is wrong" check_finds
check "show shows chains and sets" show_shows

# ---- nothing leaks, with no daemon at all ----

# Packets that came to inet for the far site, so far.
leaked()
{
	{
		on inet iptables -t raw -vnxL PREROUTING
		on inet ip6tables -t raw -vnxL PREROUTING
	} | awk '/ACCEPT/ && $1 ~ /^[0-9]+$/ && /10\.8\.|fd00:8/ { n += $1 } END { print n + 0 }'
}

# tcp_error HOST ADDRESS: how a connection ends.
tcp_error() { on "$1" timeout 5 nc -vz -w 3 "$2" 80 2>&1 || :; }

send_all() # HOST
{
	local dest
	for dest in 10.8.0.5 fd00:8::5; do
		tcp_error "$1" "$dest"
		on "$1" bash -c "echo >/dev/udp/$dest/53" || :
		on "$1" busybox ping -c 1 -W 1 "$dest" || :
	done
}

fill_sets()
{
	on gA ipset add dvpn4 10.8.0.0/16
	on gA ipset add dvpn6 fd00:8::/48
}

leaks_without_rules()
{
	send_all hA
	[ "$(leaked)" -ge 4 ]
	local before
	before=$(leaked)
	send_all gA
	[ "$(leaked)" -ge $((before + 4)) ]
}

# ICMP errors "unreachable", which takes in "prohibited", that came to hA.
unreachables()
{
	# shellcheck disable=SC2016
	on hA awk '/^Icmp: [A-Z]/ { for (i = 2; i <= NF; i++) if ($i == "InDestUnreachs") place = i }
		/^Icmp: [0-9]/ { n += $place }
		/^Icmp6InDestUnreachs/ { n += $2 }
		END { print n }' /proc/net/snmp /proc/net/snmp6
}

nothing_leaks() # OPTION…
{
	local before told host
	rules up "$@"
	fill_sets
	before=$(leaked)
	told=$(unreachables)
	for host in hA gA; do
		send_all "$host"
		tcp_error "$host" 10.8.0.5 | grep 'Connection refused'
		tcp_error "$host" fd00:8::5 | grep 'Connection refused'
	done
	same "packets that left" "$before" "$(leaked)"
	# The LAN host was told so, for UDP and for ICMP, in both families.
	[ $(($(unreachables) - told)) -ge 4 ]
	rules down
}

# What was established in clear before its prefix came is cut off, not continued.
established_is_cut()
{
	local before dest=10.8.0.5
	on inet ip address add "$dest/32" dev lo
	start inet server "$PEER" listen "$dest" 80 -r "$LAB/ready" send=1 hold="$LAB/never"
	wait_for 5 test -e "$LAB/ready"
	start hA client "$PEER" connect "$dest" 80 recv=1 mark="$LAB/up" hold="$LAB/go" flood
	wait_for 5 test -e "$LAB/up"
	rules up --router lan
	fill_sets
	before=$(leaked)
	touch "$LAB/go"
	await client 10
	same "packets that left" "$before" "$(leaked)"
	stop server || :
	on inet ip address del "$dest/32" dev lo
	rules down
}

# A site's outer address may be inside its own prefix: its gateway still gets in.
own_services_answer()
{
	rules up --router lan --leaf
	on gA ipset add dvpn4 203.0.113.0/24
	on gA ipset add dvpn6 2001:db8::/32
	start gA sshd "$PEER" listen 0.0.0.0 22 -k echo
	start gA sshd6 "$PEER" listen :: 2222 -k echo
	wait_for 5 port_open gA 22
	wait_for 5 port_open gA 2222
	on inet timeout 10 "$PEER" connect "$(wan4 A)" 22 send=1K half recv=1K eof
	on inet timeout 10 "$PEER" connect "$(wan6 A)" 2222 send=1K half recv=1K eof
	stop sshd || :
	stop sshd6 || :
	rules down
}

# With everything in the sets the link itself must go on working.
all_is_remote()
{
	rules up --router lan --leaf
	on gA ipset add dvpn6 ::/1
	on gA ipset add dvpn6 8000::/1
	on gA ip neigh flush dev lan
	on gA ip neigh flush dev wan
	on hA ip neigh flush dev eth0
	on inet ip neigh flush dev toA
	# Only what we ask for ourselves is rejected: to answer needs our neighbours.
	on hA busybox ping -c 1 -W 2 fd00:7::1
	on inet busybox ping -c 1 -W 2 "$(wan6 A)"
	rules down
}

check "without the rules all of it leaks" leaks_without_rules
check "as a router nothing leaks, and TCP is refused at once" nothing_leaks --router lan
check "as a leaf nothing leaks, and TCP is refused at once" nothing_leaks --leaf
check "as both nothing leaks, and TCP is refused at once" nothing_leaks --router lan --leaf
check "a connection that began in clear is cut off" established_is_cut
check "the gateway's own services answer a peer inside the sets" own_services_answer
check "neighbour discovery survives a set of everything" all_is_remote

# ---- the example firewall ----

firewall() # OPTION…
{
	on gA env WAN=wan LAN=lan PATH="$top/rules:$PATH" bash "$FIREWALL" "$@"
}

firewall_test()
{
	local before
	before=$(trace)
	firewall --test
	same "only tried" "$before" "$(trace)"
}

firewall_holds()
{
	firewall
	rules check --router lan
	start gA ssh "$PEER" listen 0.0.0.0 22 -k echo
	start gA http "$PEER" listen 0.0.0.0 80 -k echo
	start gA dvpnd "$PEER" listen 0.0.0.0 7777 -k echo
	start inet out "$PEER" listen 0.0.0.0 80 -k echo
	wait_for 5 port_open gA 7777
	wait_for 5 port_open inet 80
	# From outside: sshd and nothing else.
	on inet timeout 10 "$PEER" connect "$(wan4 A)" 22 send=1K half recv=1K eof
	refuses on inet nc -z -w 1 "$(wan4 A)" 80
	refuses on inet nc -z -w 1 "$(wan4 A)" 7777
	refuses on hA nc -z -w 1 10.7.0.1 7777
	# The LAN goes out, masqueraded, except for file shares; and is captured.
	on hA timeout 10 "$PEER" connect 203.0.113.1 80 send=1K half recv=1K eof
	tcp_445=$(on hA nc -vz -w 2 203.0.113.1 445 2>&1 || :)
	grep 'Connection refused' <<<"$tcp_445"
	[ "$(on gA iptables -vnxL FORWARD | awk '/dpt:445/ { print $1 }')" -ge 1 ]
	on gA ipset add dvpn4 10.8.0.0/16
	on hA timeout 10 "$PEER" connect 10.8.0.5 445 send=1K half recv=1K eof
	on hA busybox ping -c 1 -W 2 fd00:7::1
}

check "the example firewall passes iptables-restore --test" firewall_test
check "the example firewall does what it says, and capture works behind it" firewall_holds
finish
