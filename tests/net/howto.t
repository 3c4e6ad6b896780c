#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Follows the HOWTO to the letter, on the two gateways of the lab.
#
# A paragraph of the HOWTO that ends in "On thursday:", "On friday:", "On both
# gateways:" or "On the PC:" is followed by commands; one whose last line ends in
# "says…:" or "answers:" by what they must have said, "…" standing for anything.
# Each gateway has its own /etc, /usr, /var/lib and /run, so that it can be
# installed to and have an account dvpn without a trace on the machine.
set -eu
# shellcheck source=tests/net/lab.sh
. "$(dirname "$0")/lab.sh"
howto=$top/HOWTO

# ---- gateways with files of their own ----

# Runs in the gateway's name space, and stays as long as the lab.
# shellcheck disable=SC2016
holder='
	set -eu
	hostname "$SITE"
	mount -t tmpfs -o mode=755 lab /run
	mkdir /run/lab /run/sshd /run/files /run/dpkg
	mount --bind /var/lib/dpkg /run/dpkg
	mount --bind "$LAB/run" /run/lab
	for place in etc usr; do
		mkdir "/run/files/$place" "/run/files/$place.work"
		mount -t overlay -o "lowerdir=/$place,upperdir=/run/files/$place,workdir=/run/files/$place.work" \
			lab "/$place"
	done
	mount -t tmpfs -o mode=755 lab /var/lib
	mkdir /var/lib/dpkg
	mount --bind -o ro /run/dpkg /var/lib/dpkg
	mount -t tmpfs -o mode=700 lab /root
	rm -f /etc/ssh/ssh_host_*
	ssh-keygen -q -A
	mkdir -p /etc/dnsmasq.d
	mkdir -p /usr/local/sbin
	install "$TOP/tests/net/systemctl.py" /usr/local/sbin/systemctl
	install "$TOP/tests/net/systemctl.py" /usr/local/sbin/journalctl
	install "$TOP/tests/net/apt-get.sh" /usr/local/sbin/apt-get
	/usr/sbin/sshd -E "/run/lab/sshd-$SITE.log"
	echo ready >"/run/lab/files-$SITE.ready"
	exec sleep infinity'

gateway_files()
{
	local s=$1
	start "g$s" "files-$s" env SITE="${site_name[$s]}" LAB="$LAB" TOP="$top" \
		unshare --mount --uts bash -c "$holder"
	wait_for 20 test -e "$LAB/run/files-${site_name[$s]}.ready"
}

# at SITE: standard input as root's shell there, in the source tree.
at()
{
	local s=$1
	SITE=${site_name[$s]} BUILD=$BUILD NC=$(jail_netcat) nsenter -t "$(pid_of "files-$s")" \
		--mount --uts --net --wd="$top" bash -e
}

# ---- the HOWTO ----

# Its blocks, one line each: who or "said", a tab, the line's number, and the text
# with its line ends as \001.
blocks()
{
	awk '
	/^    / && who { text = text substr($0, 5) "\001"; if (!line) line = NR; next }
	/^$/ { if (text) { print who "\t" line "\t" text; who = text = ""; line = 0 } next }
	{ who = "" }
	/On (both|[a-z ]*)$/ || /(^|[ (])On$/ { hold = $0; next }
	{ all = hold " " $0; hold = "" }
	all ~ /On both gateways:$/ { who = "A B" }
	all ~ /On thursday:$/ { who = "A" }
	all ~ /On friday:$/ { who = "B" }
	all ~ /On the PC:$/ { who = "hA" }
	all ~ /(^|[ .])It says( at its end)?:$/ || /answers:$/ || /adds its dates:$/ { who = "said" }
	' "$howto"
}

run_block() # WHO TEXT
{
	local s
	for s in $1; do
		echo "on $s:"
		case $s in
		h?) on "$s" bash -e <<<"$2" ;;
		*) at "$s" <<<"$2" ;;
		esac
	done
}

# Every line must be the whole or the end of one that was printed.
expect() # TEXT OUTPUT
{
	local line pattern
	while IFS= read -r line; do
		[ -n "$line" ] || continue
		pattern=$(sed 's/[][\.*^$]/\\&/g; s/…/.*/g; s/  \+/  */g' <<<"$line")
		grep -q -- "$pattern\$" "$2" || {
			echo "the HOWTO says: $line"
			echo "it said:"
			cat "$2"
			return 1
		}
	done <<<"$1"
}

# What the two operators do between steps: their public keys change hands.
swap_keys()
{
	echo 'cat /etc/dvpn/id_ed25519.pub' | at A >"$LAB/A.pub"
	echo 'cat /etc/dvpn/id_ed25519.pub' | at B >"$LAB/B.pub"
	{ echo 'cat >/root/thursday.pub <<END'; cat "$LAB/A.pub"; echo END; } | at B
	{ echo 'cat >/root/friday.pub <<END'; cat "$LAB/B.pub"; echo END; } | at A
}

follow()
{
	local who line text
	while IFS=$'\t' read -r who line text; do
		text=${text//$'\001'/$'\n'}
		case $text in
		"sed 's/^/restrict"*) check "the public keys change hands" swap_keys ;;
		"systemctl disable"*) works ;;
		*journalctl*) check "the connection is over" logged_ok ;;
		esac
		if [ "$who" = said ]; then
			check "HOWTO:$line: it said so" expect "$text" "$LAB/said"
		else
			check "HOWTO:$line: ${text%%$'\n'*}" run_and_keep "$who" "$text"
		fi
	done <"$LAB/blocks"
}

run_and_keep()
{
	local status=0
	run_block "$1" "$2" >"$LAB/said" 2>&1 || status=$?
	cat "$LAB/said"
	return "$status"
}

understood()
{
	local kind
	cut -f 1,3 "$LAB/blocks" | cut -c 1-100
	for kind in A B "A B" hA said; do
		cut -f 1 "$LAB/blocks" | grep -qx "$kind"
	done
	same "lines of commands in the HOWTO that were overlooked" "" \
		"$(grep -nE '^    (mkjail|sshd?|ssh-key[a-z]*|systemctl|dvpn[a-z-]*|curl|make|cat|cp|sed) ' \
			"$howto" | grep -E ' >|-[a-z-]|systemctl|make|^[0-9]+:    dvpn[a-z-]* [a-z-]+$' |
			while IFS= read -r one; do
				grep -qF -- "${one#*:    }" "$LAB/blocks" || echo "$one"
			done)"
}

www()
{
	mkdir "$LAB/www"
	echo "Hello from www.friday" >"$LAB/www/index.html"
	www_start hB "$LAB/www"
	www_start hA "$LAB/www"
}

both_ways()
{
	on hA curl -sS --max-time 20 http://www.friday/ | grep Hello
	echo 'curl -sS --max-time 20 http://10.8.0.5/' | at A | grep Hello
	on hB curl -sS --max-time 20 -o /dev/null -w '%{http_code}' http://10.7.0.5/ | grep 200
	echo 'dvpnctl links' | at B | grep thursday
}

# curl may end before the connection does.
logged_ok() { wait_for 10 grep -q ':80 via friday link 1: ok' "$(log_of dvpnd-thursday)"; }

# logged DESTINATION WORD: a connection there fails, and the log says so in these words.
logged()
{
	refuses on hA curl -sS --max-time 20 "http://$1/"
	wait_for 5 grep -E -- "-> $1 via friday link [0-9]+: $2[: ]" "$(log_of dvpnd-thursday)"
}

# What section 10 says of the log.
words_in_the_log()
{
	logged 10.8.0.5:81 refused
	logged 10.8.77.77:80 unreachable
	echo "mkjail --allow '10.8.0.5 80' build" | at B
	logged 10.8.0.5:82 denied
	grep -q '^    refused ' "$howto"
	grep -q '^    unreachable ' "$howto"
	grep -q '^    denied ' "$howto"
}

# Until the HOWTO takes it away again.
works()
{
	check "and friday reaches thursday, and a gateway by itself the other site" both_ways
	check "the log has the words that the HOWTO explains" words_in_the_log
}

nothing_is_left()
{
	cat >"$LAB/look" <<-'END'
		command -v dvpnd dvpnctl dvpn-rules mkjail || :
		getent passwd dvpn || :
		find /run/files/etc /run/files/usr /var/lib/dvpn /run/dvpn -name '*dvpn*' 2>/dev/null || :
		{ iptables-save; ip6tables-save; ipset save; ss -Hltn; } | grep -i -e dvpn -e 7777 || :
	END
	same "what is left on thursday" "" "$(at A <"$LAB/look")"
	same "what is left on friday" "" "$(at B <"$LAB/look")"
}

lab_topology
blocks >"$LAB/blocks"
check "the HOWTO's commands are understood" understood
check "each gateway has files of its own" gateway_files A
check "and the other" gateway_files B
check "there is something to fetch" www
follow
check "when it was taken away nothing is left" nothing_is_left
lab_finish
