#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What `make install` puts where, that it works there, and that uninstall takes
# all of it away again.
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/net/tap.sh
. "$top/tests/net/tap.sh"
cd "$top"
export BUILD="${BUILD:-build}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' INT TERM HUP

# The makefile's own `install` builds first; what is built is under test here.
run() # DESTDIR PREFIX SYSCONFDIR install|uninstall
{
	DESTDIR=$1 PREFIX=$2 SYSCONFDIR=$3 ./install "$4"
}

wanted()
{
	local page
	cat <<-EOT
		755 usr/lib/dvpn/nc
		755 usr/sbin/dvpn-rules
		755 usr/sbin/dvpnctl
		755 usr/sbin/dvpnd
		755 usr/sbin/mkjail
		644 usr/lib/systemd/system/dvpn-names.path
		644 usr/lib/systemd/system/dvpn-names.service
		644 usr/lib/systemd/system/dvpn-rules.service
		644 usr/lib/systemd/system/dvpnd.service
		644 usr/share/doc/dvpn/CHANGES
		644 usr/share/doc/dvpn/HOWTO
		644 usr/share/doc/dvpn/LICENSE
		644 usr/share/doc/dvpn/README.md
		644 usr/share/doc/dvpn/dnsmasq.conf
		644 usr/share/doc/dvpn/dvpnd.conf.example
		644 usr/share/doc/dvpn/firewall.example
		644 usr/share/doc/dvpn/hosts.example
		644 usr/share/doc/dvpn/sshd_config.example
	EOT
	for page in man/*; do
		echo "644 usr/share/man/man${page##*.}/${page##*/}"
	done
}

all_there()
{
	umask 077 # must not matter
	run "$work/a" /usr /etc install
	(cd "$work/a" && find . -type f -printf '%m %P\n') | sort >"$work/files"
	wanted | sort | diff - "$work/files"
	same "directories of another mode" "" \
		"$(find "$work/a" -mindepth 1 -type d ! -perm 755)"
	[ -d "$work/a/etc/dvpn" ]
}

# The pages that README and the programs refer to.
manual_is_whole()
{
	local page section
	grep -oh '[a-z][a-z.-]*([578])' README.md HOWTO | grep -E '^(dvpn|mkjail)' | tr '()' '  ' |
		while read -r page section; do
			[ -e "$work/a/usr/share/man/man$section/$page.$section" ] || echo "$page $section"
		done >"$work/missing"
	same "pages that are missing" "" "$(cat "$work/missing")"
}

# The installed examples, with a key and paths of the operator's choice.
starts()
{
	local sbin=$work/a/usr/sbin doc=$work/a/usr/share/doc/dvpn etc=$work/operator
	mkdir "$etc"
	ssh-keygen -q -t ed25519 -N '' -f "$etc/id_ed25519"
	cp "$doc/hosts.example" "$etc/hosts"
	: >"$etc/known_hosts"
	sed -e "s#/etc/dvpn/#$etc/#; s/^#static /static /; 0,/^#known_hosts /s//known_hosts /" \
		"$doc/dvpnd.conf.example" >"$etc/dvpnd.conf"
	"$sbin/dvpnd" -c "$etc/dvpnd.conf" -t >"$work/said"
	grep -q "^static = $etc/hosts" "$work/said"
	grep -q '^# 10.8.0.0/16 -> friday friday.example.net:2222 (' "$work/said"
	same "version" "dvpnd $("$sbin/dvpnctl" -V | cut -d ' ' -f 2)" "$("$sbin/dvpnd" -V)"
	"$sbin/mkjail" sshd-config | diff - "$doc/sshd_config.example"
	"$work/a/usr/lib/dvpn/nc" -V | grep '^dvpn-nc '
}

# What a unit starts must be among the files, and what systemd can say of them.
units()
{
	local program
	sed -n 's/^Exec[A-Za-z]*=\(\/usr\/[^ ]*\).*/\1/p' "$work"/a/usr/lib/systemd/system/dvpn* |
		while read -r program; do
			[ -x "$work/a$program" ] || echo "$program"
		done >"$work/missing"
	same "programs of units that are not installed" "" "$(cat "$work/missing")"
	grep -q '^Type=notify$' "$work/a/usr/lib/systemd/system/dvpnd.service"
	command -v systemd-analyze || return 0
	run "" "$work/b" "$work/etc" install
	(cd "$work/b/lib/systemd/system" &&
		systemd-analyze verify --man=no ./dvpnd.service ./dvpn-rules.service ./dvpn-names.*) \
		>"$work/said" 2>&1 || :
	same "what systemd-analyze says of them" "" "$(grep -F "$work/b" "$work/said" || :)"
	same "and of lines in them" "" "$(grep -E '^(/.*/)?dvpn[a-z-]*\.(service|path):' "$work/said" || :)"
	run "" "$work/b" "$work/etc" uninstall
}

other_places()
{
	run "$work/c" /opt/dvpn /opt/etc install
	[ -x "$work/c/opt/dvpn/sbin/dvpnd" ]
	[ -d "$work/c/opt/etc/dvpn" ]
	grep -qx 'ExecStart=/opt/dvpn/sbin/dvpnd -f' "$work/c/opt/dvpn/lib/systemd/system/dvpnd.service"
	grep -qx 'EnvironmentFile=/opt/etc/dvpn/rules' \
		"$work/c/opt/dvpn/lib/systemd/system/dvpn-rules.service"
	grep -qx 'addn-hosts=/opt/etc/dvpn/hosts' "$work/c/opt/dvpn/share/doc/dvpn/dnsmasq.conf"
	"$work/c/opt/dvpn/sbin/mkjail" sshd-config | grep 'AuthorizedKeysFile /opt/etc/dvpn/authorized_keys/'
	same "what still speaks of other places" "" \
		"$(grep -rlIE '/usr/(sbin|lib|share/doc)/dvpn|/etc/dvpn/(hosts|rules|dvpnd)' "$work/c" |
			xargs -r grep -hE '/usr/(sbin|lib|share/doc)/dvpn|(^|[^t])/etc/dvpn/(hosts|rules|dvpnd)' |
			grep -v /opt/etc/ || :)"
}

takes_away()
{
	echo mine >"$work/c/opt/etc/dvpn/hosts"
	run "$work/c" /opt/dvpn /opt/etc uninstall
	same "files that are left" "$work/c/opt/etc/dvpn/hosts" "$(find "$work/c" -type f)"
	run "$work/a" /usr /etc uninstall
	same "files that are left" "" "$(find "$work/a" -type f)"
	same "directories of ours that are left" "" "$(find "$work/a" -name dvpn)"
	run "$work/a" /usr /etc uninstall
}

refuses_nonsense()
{
	refuses run "" usr /etc install
	refuses run "$work/a b" /usr /etc install
	refuses run "$work/a" "/usr'; false" /etc install
	refuses ./install
}

from_make()
{
	make -s --no-print-directory -o all DESTDIR="$work/d" PREFIX=/usr/local install
	[ -x "$work/d/usr/local/sbin/dvpnd" ]
	make -s --no-print-directory DESTDIR="$work/d" PREFIX=/usr/local uninstall
	same "files that are left" "" "$(find "$work/d" -type f)"
}

check "every file is where it belongs, with its mode" all_there
check "every page of the manual that is spoken of is there" manual_is_whole
check "the installed programs work, with the installed examples" starts
check "the units start what is installed" units
check "PREFIX and SYSCONFDIR are followed everywhere" other_places
check "uninstall takes all away but what the operator made" takes_away
check "places that can't be meant are refused" refuses_nonsense
check "make installs and uninstalls" from_make
finish
