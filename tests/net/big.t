#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A gigabyte each way, and the same while sshd changes keys every megabyte.
set -eu
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"

gigabytes()
{
	check "1 GB down $1" conversation hA "$(lan4 B)" hB "send=1G half eof" "recv=1G eof half"
	check "1 GB up $1" conversation hA "$(lan4 B)" hB "recv=1G eof half" "send=1G half eof"
}

lab_up
gigabytes ""

# sshd counts from each key exchange on, so a new link is what it takes.
sshd_rekeys()
{
	sshd_stop B
	SSHD_OPTIONS[B]="RekeyLimit 1M"
	sshd_start B
	stop dvpnd-A
	dvpnd_start A
}
check "sshd on B takes RekeyLimit 1M" sshd_rekeys
gigabytes "with RekeyLimit 1M"
# What goes wrong in a key exchange does so rarely.
for round in 1 2 3 4 5 6 7 8; do
	check "200 MB each way at once with RekeyLimit 1M, round $round" conversation \
		hA "$(lan4 B)" hB "both=200M half eof" "both=200M half eof"
done

lab_finish
