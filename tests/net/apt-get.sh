#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# apt-get for the lab's gateways: what is to be installed must be there already.
# Of dnsmasq the lab has the program alone, and starts it by itself.
set -eu

is_there() # PACKAGE
{
	[ "$1" != dnsmasq ] || set -- dnsmasq-base
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ||
		command -v "$1" >/dev/null
}

while [ "${1:-install}" != install ]; do
	shift
done
shift
for package; do
	is_there "$package" || {
		echo "apt-get: $package is not there, and the lab installs nothing" >&2
		exit 100
	}
done
