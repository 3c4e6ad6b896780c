#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The demo: it shows what it says, leaves nothing behind, and stays up on wish.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/net/tap.sh
. "$top/tests/net/tap.sh"
export BUILD="${BUILD:-build}"
cd "$top"
work=$(mktemp -d)
# Where a case failed half-way, what it left up must go all the same.
trap 'tests/demo stop; rm -rf "$work"' EXIT
trap 'exit 143' INT TERM HUP

# Names without the process ids of labs that other tests have up meanwhile.
traces()
{
	local id=$1
	ip netns list | grep "^dvpn-$id-" || :
	getent passwd "dvpn-lab-$id" || :
	ls -d /etc/netns/dvpn-"$id"-* /var/lib/dvpn-lab."$id" 2>/dev/null || :
}

shows_all()
{
	local id
	tests/demo >"$work/out" 2>&1 &
	id=$!
	wait "$id" || {
		cat "$work/out"
		return 1
	}
	cat "$work/out"
	grep -q 'Hello from www.friday' "$work/out"
	grep -q '104857600 bytes in' "$work/out"
	same "checksums" 1 "$(sed -n 's/.*sha256 on [a-z]* *//p' "$work/out" | uniq | wc -l)"
	grep -q 'Accepted publickey for' "$work/out"
	same "what it left behind" "" "$(traces "$id")"
}

held_up()
{
	local id
	HOLD=1 tests/demo >"$work/out" 2>&1 &
	id=$!
	wait "$id" || {
		cat "$work/out"
		return 1
	}
	grep -q 'tests/demo stop' "$work/out"
	tests/demo enter hA curl -sS --max-time 30 http://www.friday/ >"$work/page"
	grep -q 'Hello from' "$work/page"
	# Another lab removes what dead ones left, and this one is not dead.
	tests/net/sweep
	tests/demo enter hA curl -sS --max-time 30 http://www.friday/ >"$work/page"
	grep -q 'Hello from' "$work/page"
	tests/demo stop
	same "what it left behind" "" "$(traces "$id")"
}

# A killed one can't clean up: the next lab does.
killed()
{
	local id
	tests/demo >"$work/out" 2>&1 &
	id=$!
	wait_for 20 ip netns pids "dvpn-$id-hB"
	kill -KILL "$id"
	wait "$id" || :
	flock /var/lib tests/net/sweep
	same "what it left behind" "" "$(traces "$id")"
}

check "the demo fetches a page and a file whole, and leaves no trace" shows_all
check "HOLD=1 leaves it up until it is stopped" held_up
check "what a killed demo left is swept away" killed
finish
