#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Who is let in, and to where.  Whatever is not as it must be ends in a reset of
# the client and a line in the log, and never in a connection.
set -eu
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"

works() { conversation hA "$(lan4 B)" hB "recv=1K send=1K half eof" "send=1K recv=1K eof"; }

# fails_with PATTERN [ADDRESS]: a connection to B's web server is reset, and the
# log of A says why.  The server sees nothing of it.
fails_with()
{
	local mark seen
	mark=$(log_mark dvpnd-A)
	seen=$(log_mark www-hB)
	on hA "$PEER" connect "${2:-$(lan4 B)}" 80 reset
	wait_for 10 grep_log_since dvpnd-A "$mark" "$1" || {
		tail -n 20 "$(log_of dvpnd-A)"
		return 1
	}
	same "what the server saw" "$seen" "$(log_mark www-hB)"
}

restart()
{
	stop "dvpnd-$1" INT
	dvpnd_start "$1"
}

strange_host_key()
{
	cp "$LAB/A/etc/known_hosts" "$LAB/known_hosts.good"
	ssh-keygen -q -t ed25519 -N '' -f "$LAB/strange"
	awk -v key="$(cut -d ' ' -f 1,2 "$LAB/strange.pub")" '{ print $1, key }' \
		"$LAB/known_hosts.good" >"$LAB/A/etc/known_hosts"
	restart A
	fails_with 'host key'
}

unknown_host_key()
{
	: >"$LAB/A/etc/known_hosts"
	restart A
	fails_with 'host key|known_hosts'
}

strange_key()
{
	cp "$LAB/known_hosts.good" "$LAB/A/etc/known_hosts"
	cp "$LAB/B/keys/$LAB_USER" "$LAB/keys.good"
	grep -v "$(cut -d ' ' -f 2 "$LAB/A/etc/id_ed25519.pub")" "$LAB/keys.good" \
		>"$LAB/B/keys/$LAB_USER"
	restart A
	fails_with 'refused|denied|not accept|login|key'
}

key_let_in_again()
{
	cp "$LAB/keys.good" "$LAB/B/keys/$LAB_USER"
	# A gateway that failed is tried again after a while.
	wait_for 60 works
}

outside_of_the_jail()
{
	jail_make B "$(lan4 B)/32"
	fails_with "denied.*$(lan4 B 1)|$(lan4 B 1).*denied" "$(lan4 B 1)"
	works
}

empty_jail()
{
	local list=$LAB/B/jail/etc/dvpn/allow
	cp -p "$list" "$LAB/allow.good"
	: >"$list"
	fails_with "denied.*$(lan4 B)|$(lan4 B).*denied"
	rm "$list"
	fails_with "denied.*$(lan4 B)|$(lan4 B).*denied"
	cp -p "$LAB/allow.good" "$list"
	works
}

no_sshd()
{
	sshd_stop B
	restart A
	fails_with "refused.*$(wan4 B)|$(wan4 B).*refused"
	sshd_start B
	wait_for 60 works
}

# The client sees its connection break, and not end; the next one works.
sshd_dies()
{
	local port
	port=$(next_port)
	start hB "server-$port" "$PEER" listen :: "$port" -r "$LAB/run/ready-$port" flood
	wait_for 10 test -e "$LAB/run/ready-$port"
	start hA "client-$port" "$PEER" connect "$(lan4 B)" "$port" at_least=5M \
		mark="$LAB/run/going-$port" recv=100G
	wait_for 30 test -e "$LAB/run/going-$port"
	kill_sessions
	refuses await "client-$port"
	grep -i 'reset' "$(log_of "client-$port")"
	await "server-$port"
	wait_for 60 works
}

# Every sshd on B but the one that listens, which goes on.
kill_sessions()
{
	local pid
	for pid in $(ip netns pids "$(namespace gB)"); do
		if [ "$pid" != "$(pid_of sshd-B)" ] &&
			[[ $(cat "/proc/$pid/comm" 2>/dev/null) == sshd* ]]; then
			kill -KILL "$pid" 2>/dev/null || :
		fi
	done
}

# Nobody may use dvpnd as a proxy by going to its port.
straight_to_the_port()
{
	on hA "$PEER" connect "$(lan4 A 1)" 7777 reset
	on gB "$PEER" connect "$(wan4 A)" 7777 reset
}

bad_config()
{
	local status=0
	echo 'no_such_key = 1' >>"$LAB/B/etc/dvpnd.conf"
	"$BUILD/dvpnd/dvpnd" -t -c "$LAB/B/etc/dvpnd.conf" >"$LAB/said" 2>&1 || status=$?
	cat "$LAB/said"
	same "exit status" 2 "$status"
	grep "dvpnd.conf:$(wc -l <"$LAB/B/etc/dvpnd.conf"):.*no_such_key" "$LAB/said"
}

lab_up
mkdir "$LAB/www"
www_start hB "$LAB/www"

check "all is well at first" works
check "another host key than the known one" strange_host_key
check "a host key that nobody knows" unknown_host_key
check "a key that B does not let in" strange_key
check "the key is let in again" key_let_in_again
check "a destination outside of the jail's list" outside_of_the_jail
check "an empty list and a missing one allow nothing" empty_jail
check "no sshd on B, and then again" no_sshd
check "B's sessions are killed in the middle" sshd_dies
check "a connection straight to the listener is reset" straight_to_the_port
check "a bad line of the configuration is named" bad_config
lab_finish
