#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# mode=direct: an account without a netcat, whose sshd makes the last hop.
set -eu
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"

# refused ADDRESS PORT PATTERN
refused()
{
	local mark
	mark=$(log_mark dvpnd-A)
	on hA "$PEER" connect "$1" "$2" reset
	wait_for 10 grep_log_since dvpnd-A "$mark" "$3"
}

no_netcat_ran()
{
	refuses grep_log sshd-B 'Starting session'
}

SSHD_MATCH_OPTIONS[B]="AllowTcpForwarding local
PermitOpen 10.8.0.5:* [fd00:8::5]:*"
lab_topology
lab_keys
lab_names
lab_far
dvpnd_defaults A
dvpnd_option A ssh mode direct
check "rules and dvpnd start" dvpn_start
for b in "$(lan4 B)" "$(lan6 B)"; do
	for size in 1 65537 50M; do
		check "$size bytes down from $b" conversation hA "$b" hB \
			"send=$size half eof" "recv=$size eof half"
		check "$size bytes up to $b" conversation hA "$b" hB \
			"recv=$size eof half" "send=$size half eof"
	done
	check "20 MB each way at once, $b" conversation hA "$b" hB \
		"both=20M half eof" "both=20M half eof"
	check "the server speaks first, $b" conversation hA "$b" hB \
		"send=30 recv=10 half eof" "recv=30 send=10 half eof"
	check "the client half-closes first, $b" conversation hA "$b" hB \
		"recv=300K eof send=900K" "send=300K half recv=900K eof"
	check "the server half-closes first, $b" conversation hA "$b" hB \
		"send=900K half recv=300K eof" "recv=900K eof send=300K half"
	check "a refused port is a reset, $b" refused "$b" 1 'refused'
done
check "what sshd does not permit is a reset" refused "$(lan4 B 1)" 22 'prohibited|denied|refused'
check "no netcat had a part in it" no_netcat_ran
lab_finish
