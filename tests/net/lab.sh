# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# shellcheck disable=SC2034  # the tests that source this use what is set here
#
# The lab: sites and an Internet between them, made of network namespaces.
#
#   hA ---- gA ======== inet ======== gB ---- hB
#      LAN      WAN      ||      WAN      LAN
#                        gC ---- hC            (where SITES names C)
#
#   site      gateway, LAN              host, LAN             gateway, WAN
#   A thursday 10.7.0.1  fd00:7::1      10.7.0.5  fd00:7::5   203.0.113.7     2001:db8:7::2
#   B friday   10.8.0.1  fd00:8::1      10.8.0.5  fd00:8::5   198.51.100.9    2001:db8:8::2
#   C saturday 10.9.0.1  fd00:9::1      10.9.0.5  fd00:9::5   198.51.100.209  2001:db8:9::2
#
# The Internet routes the WAN prefixes alone, and nothing private.  A gateway
# forwards for its LAN as any router does, so without dvpn a packet to another
# LAN leaves in clear and is thrown away there.
#
# Each gateway runs its own sshd with a jail, its own dnsmasq, the rules and
# dvpnd.  Namespaces share the machine's accounts: the one that the gateways
# log in to carries the lab's process id in its name, as everything does that is
# visible outside of the lab, and lab_down removes it.  What a killed lab left
# behind is removed by the next one.
#
# A test says `lab_up`, or its parts one by one, and at the end `lab_finish`.  Knobs to
# be set before: SITES, SSHD_OPTIONS[B] (lines of sshd_config),
# `dvpnd_option A ssh mode direct` (for one site, or `all`), and WAN=A: an emulated
# wide area network between A's gateway and the Internet, whose delay, rate, loss
# and so on `wan delay 25ms loss 1%` sets at any time; `there` is away from A.

set -eu
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/net/tap.sh
. "$top/tests/net/tap.sh"
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C

BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$top/$BUILD ;; esac
SITES=${SITES:-A B}
WAN=${WAN:-}
LAB_ID=$$
# Not under /tmp or /run: sshd wants every directory above a jail writable by
# root alone, and /run may forbid to execute.
LAB=/var/lib/dvpn-lab.$LAB_ID
LAB_USER=dvpn-lab-$LAB_ID
PEER=$BUILD/tests/net/peer
CONTROL=$BUILD/dvpnd/dvpnctl
EMULATOR=$BUILD/tests/net/wan

declare -A site_name=([A]=thursday [B]=friday [C]=saturday)
declare -A site_number=([A]=7 [B]=8 [C]=9)
declare -A site_wan=([A]=203.0.113.7/24 [B]=198.51.100.9/25 [C]=198.51.100.209/25)
declare -A site_router=([A]=203.0.113.1/24 [B]=198.51.100.1/25 [C]=198.51.100.129/25)
# For the account alone, in the place of what mkjail prints: the first one counts.
declare -A SSHD_MATCH_OPTIONS=()
declare -A SSHD_OPTIONS=()
# Added to `dvpn-rules up`: "--leaf" captures the gateway's own programs too.
declare -A RULES_OPTIONS=()

# ---- addresses ----

lan4() { echo "10.${site_number[$1]}.0.${2:-5}"; }
lan6() { echo "fd00:${site_number[$1]}::${2:-5}"; }
wan4() { echo "${site_wan[$1]%/*}"; }
wan6() { echo "2001:db8:${site_number[$1]}::2"; }

# ---- hosts ----

namespace() { echo "dvpn-$LAB_ID-$1"; }

# on HOST COMMAND…: hA, gA, inet, gB, hB, gC, hC
on()
{
	local host=$1
	shift
	# Else a missing program would pass for a refusal.
	command -v "$1" >/dev/null || {
		echo "no such program: $1" >&2
		return 127
	}
	ip netns exec "$(namespace "$host")" "$@"
}

host_make()
{
	local space
	space=$(namespace "$1")
	ip netns add "$space"
	ip -n "$space" link set lo up
	# No settling time: an address counts at once.
	on "$1" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
		net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0
}

# wire HOST1 INTERFACE1 HOST2 INTERFACE2
wire()
{
	ip link add name "$2" netns "$(namespace "$1")" type veth \
		peer name "$4" netns "$(namespace "$3")"
	ip -n "$(namespace "$1")" link set "$2" up
	ip -n "$(namespace "$3")" link set "$4" up
}

# address HOST INTERFACE ADDRESS…
address()
{
	local host=$1 interface=$2 one
	shift 2
	for one; do
		ip -n "$(namespace "$host")" address add "$one" dev "$interface"
	done
}

# gateway_of HOST V4 V6
gateway_of()
{
	ip -n "$(namespace "$1")" route add default via "$2"
	ip -n "$(namespace "$1")" -6 route add default via "$3"
}

# ip-netns(8) puts the files in /etc/netns/NAME in the place of those in /etc.
resolver_set()
{
	local directory
	directory=/etc/netns/$(namespace "$1")
	mkdir -p "$directory"
	printf 'nameserver %s\noptions timeout:1 attempts:3\n' "$2" >"$directory/resolv.conf"
	echo 'hosts: files dns' >"$directory/nsswitch.conf"
	printf '127.0.0.1 localhost\n::1 localhost\n' >"$directory/hosts"
}

site_make()
{
	local s=$1 n=${site_number[$1]}
	host_make "h$s"
	host_make "g$s"
	wire "h$s" eth0 "g$s" lan
	case " $WAN " in
	*" $s "*) wan_wire "$s" ;;
	*) wire "g$s" wan inet "to$s" ;;
	esac
	address "g$s" lan "$(lan4 "$s" 1)/16" "$(lan6 "$s" 1)/48"
	address "h$s" eth0 "$(lan4 "$s")/16" "$(lan6 "$s")/48"
	address "g$s" wan "${site_wan[$s]}" "$(wan6 "$s")/64"
	address inet "to$s" "${site_router[$s]}" "2001:db8:$n::1/64"
	gateway_of "h$s" "$(lan4 "$s" 1)" "$(lan6 "$s" 1)"
	gateway_of "g$s" "${site_router[$s]%/*}" "2001:db8:$n::1"
	on "g$s" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	resolver_set "h$s" "$(lan4 "$s" 1)"
	resolver_set "g$s" 127.0.0.1
	mkdir -p "$LAB/$s/etc" "$LAB/$s/learned" "$LAB/$s/log"
}

# Hosts and wires, and nothing that runs.
lab_topology()
{
	[ "$(id -u)" = 0 ] || {
		echo "the lab needs root for its network namespaces: run it with sudo" >&2
		exit 2
	}
	trap lab_down EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	flock /var/lib "$top/tests/net/sweep"
	mkdir -m 755 "$LAB"
	mkdir "$LAB/run" "$LAB/options"
	tap_on_failure=lab_logs
	host_make inet
	on inet sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	local s
	for s in $SITES; do
		site_make "$s"
	done
}

# ---- programs, by process id ----

# start HOST NAME COMMAND…: in the background, its id, output and exit status in
# files.  Started through a shell that becomes the program, so the id is right.
start()
{
	local host=$1 name=$2 run=$LAB/run/$2
	shift 2
	rm -f "$run.pid" "$run.status"
	(
		status=0
		# shellcheck disable=SC2016
		on "$host" sh -c 'echo $$ >"$0.new" && mv "$0.new" "$0" && exec "$@"' \
			"$run.pid" "$@" </dev/null >>"$run.log" 2>&1 || status=$?
		# A lab that is gone has no use for it any more.
		[ ! -d "$LAB/run" ] || {
			echo "$status" >"$run.status.new"
			mv "$run.status.new" "$run.status"
		}
	) &
	wait_for 10 test -s "$run.pid"
}

running()
{
	local pid
	pid=$(cat "$LAB/run/$1.pid" 2>/dev/null) && [ ! -e "$LAB/run/$1.status" ] &&
		kill -0 "$pid" 2>/dev/null
}

pid_of() { cat "$LAB/run/$1.pid"; }
ended() { [ -e "$LAB/run/$1.status" ]; }

# stop NAME [SIGNAL]: waits until it has ended; its exit status is the result.
stop()
{
	running "$1" || {
		echo "$1 was not running any more"
		return 1
	}
	kill -"${2:-TERM}" "$(pid_of "$1")"
	await "$1"
}

# await NAME [SECONDS]: until it ends by itself; its exit status is the result.
await()
{
	wait_for "${2:-40}" ended "$1" || return 1
	return "$(cat "$LAB/run/$1.status")"
}

log_of() { echo "$LAB/run/$1.log"; }

# A log's place now, for grep_log_since: `mark=$(log_mark dvpnd-A)`.
log_mark() { wc -c <"$(log_of "$1")"; }

# grep_log_since NAME MARK PATTERN (extended)
grep_log_since()
{
	tail -c "+$(($2 + 1))" "$(log_of "$1")" | grep -E -- "$3"
}

reset_log() { : >"$(log_of "$1")"; }
grep_log() { grep -E -- "$2" "$(log_of "$1")"; }

# What the logs have gained since the last failure.
lab_logs()
{
	local log shown
	for log in "$LAB"/run/*.log; do
		shown=$(cat "$log.shown" 2>/dev/null || echo 0)
		wc -c <"$log" >"$log.shown"
		[ "$(cat "$log.shown")" -gt "$shown" ] || continue
		echo "# ---- ${log##*/}"
		tail -c "+$((shown + 1))" "$log" | tail -n 25 | cut -c 1-300 | note
	done
}

# ---- the emulated wide area network ----

# In the place of the wire between gSITE and the Internet.
wan_wire()
{
	start inet "wan-$1" "$EMULATOR" run "$LAB/wan-$1" "/run/netns/$(namespace "g$1")" wan \
		"/run/netns/$(namespace inet)" "to$1"
	wait_for 10 test -S "$LAB/wan-$1" || {
		cat "$(log_of "wan-$1")"
		return 1
	}
}

# wan WORD…: what tests/net/wire/settings.h knows, for every emulated wire.
wan()
{
	local s
	for s in $WAN; do
		on inet "$EMULATOR" set "$LAB/wan-$s" "$@"
	done
}

# wan_count SITE there|back COUNTER: since the last wan_zero
wan_count()
{
	on inet "$EMULATOR" show "$LAB/wan-$1" | sed -n "s/^$2 .*\b$3=\([0-9.]*\).*/\1/p"
}

wan_zero()
{
	local s
	for s in $WAN; do
		on inet "$EMULATOR" zero "$LAB/wan-$s"
	done
}

# ---- keys, map, names ----

lab_keys()
{
	local s
	for s in $SITES; do
		ssh-keygen -q -t ed25519 -N '' -C "${site_name[$s]}" -f "$LAB/$s/etc/id_ed25519"
		ssh-keygen -q -t ed25519 -N '' -C "g$s" -f "$LAB/$s/etc/host_key"
	done
	for s in $SITES; do
		mkdir "$LAB/$s/keys"
		cat "$LAB"/?/etc/id_ed25519.pub >"$LAB/$s/keys/$LAB_USER"
		known_hosts >"$LAB/$s/etc/known_hosts"
	done
}

known_hosts()
{
	local s key
	for s in $SITES; do
		key=$(cut -d ' ' -f 1,2 "$LAB/$s/etc/host_key.pub")
		echo "$(wan4 "$s") $key"
		echo "$(wan6 "$s") $key"
	done
}

# The lines of one site: map_lines SITE [ENDPOINT…]
map_lines()
{
	local s=$1 name=${site_name[$1]} n=${site_number[$1]}
	shift
	[ $# -gt 0 ] || set -- "$(wan4 "$s")"
	echo "$(lan4 "$s" 1) $name #! 10.$n.0.0/16 $*"
	echo "$(lan6 "$s" 1) $name #! fd00:$n::/48"
	echo "$(lan4 "$s") www.$name nas.$name"
	echo "$(lan6 "$s") www.$name nas.$name"
}

# The same map everywhere, as operators would copy it around.
lab_map()
{
	local s
	for s in $SITES; do
		map_lines "$s"
	done
}

# map_write SITE <MAP: replaces the site's map by rename, and has the names read
# again as names/dvpn-names.path does where systemd runs.
map_write()
{
	cat >"$LAB/$1/etc/hosts.new"
	mv "$LAB/$1/etc/hosts.new" "$LAB/$1/etc/hosts"
	if running "dnsmasq-$1"; then
		kill -HUP "$(pid_of "dnsmasq-$1")"
	fi
}

dnsmasq_start()
{
	local s=$1 conf=$LAB/$1/etc/dnsmasq.conf
	{
		printf '%s\n' no-resolv no-hosts bind-interfaces interface=lan interface=lo \
			pid-file= log-facility=- cache-size=0 local=/thursday/friday/saturday/
		sed "s|/etc/dvpn/|$LAB/$s/etc/|; s|/var/lib/dvpn/|$LAB/$s/learned/|" \
			"$top/names/dnsmasq.conf"
	} >"$conf"
	start "g$s" "dnsmasq-$s" dnsmasq --keep-in-foreground --conf-file="$conf"
	wait_for 10 port_open "g$s" 53
}

# port_open HOST PORT: something listens there.
port_open()
{
	[ -n "$(on "$1" ss -Hltn "sport = :$2")" ]
}

lab_names()
{
	local s
	for s in $SITES; do
		lab_map | map_write "$s"
		dnsmasq_start "$s"
	done
}

# ---- the far side: account, jail, sshd ----

# The jail's netcat is static even where all else is built with a sanitizer.
jail_netcat()
{
	local nc=$BUILD/chroot/nc
	if ldd "$nc" >/dev/null 2>&1; then
		nc=$top/build/chroot/nc
	fi
	echo "$nc"
}

# jail_make SITE [ALLOWED…]: the site's own prefixes unless others are named.
jail_make()
{
	local s=$1 n=${site_number[$1]} one allow=()
	shift
	[ $# -gt 0 ] || set -- "10.$n.0.0/16" "fd00:$n::/48"
	for one; do
		allow+=(--allow "$one")
	done
	NC=$(jail_netcat) flock /var/lib "$top/chroot/mkjail" --root "$LAB/$s/jail" \
		--user "$LAB_USER" --keys "$LAB/$s/keys" "${allow[@]}" build \
		>>"$LAB/run/mkjail-$s.log" 2>&1
}

sshd_config()
{
	local s=$1
	cat <<-EOF
		ListenAddress 0.0.0.0
		ListenAddress ::
		HostKey $LAB/$s/etc/host_key
		PidFile none
		LogLevel VERBOSE
		UsePAM no
		UseDNS no
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		${SSHD_OPTIONS[$s]:-}
	EOF
	[ -z "${SSHD_MATCH_OPTIONS[$s]:-}" ] ||
		printf 'Match User %s\n%s\n' "$LAB_USER" "${SSHD_MATCH_OPTIONS[$s]}"
	"$top/chroot/mkjail" --root "$LAB/$s/jail" --user "$LAB_USER" --keys "$LAB/$s/keys" \
		sshd-config
}

# sshd wants /run/sshd: it gets a /run of its own.
sshd_start()
{
	local s=$1
	sshd_config "$s" >"$LAB/$s/etc/sshd_config"
	# shellcheck disable=SC2016
	start "g$s" "sshd-$s" sh -c 'mount -t tmpfs -o mode=755 dvpn-lab /run && mkdir /run/sshd &&
		exec /usr/sbin/sshd -D -e -f "$0"' "$LAB/$s/etc/sshd_config"
	wait_for 10 port_open "g$s" 22
}

# Sessions that are there go on.
sshd_stop()
{
	running "sshd-$1"
	kill "$(pid_of "sshd-$1")"
	wait_for 10 ended "sshd-$1"
}

lab_far()
{
	local s
	for s in $SITES; do
		jail_make "$s"
		sshd_start "$s"
	done
}

# ---- dvpnd and the rules ----

# dvpnd_option SITE|all SECTION KEY VALUE: from the next dvpnd_start on.
dvpnd_option()
{
	local s sites=$1
	[ "$sites" != all ] || sites=$SITES
	for s in $sites; do
		mkdir -p "$LAB/options/$s/$2"
		echo "$4" >"$LAB/options/$s/$2/$3"
	done
}

dvpnd_defaults()
{
	local s=$1 n=${site_number[$1]}
	dvpnd_option "$s" site name "${site_name[$s]}"
	dvpnd_option "$s" site key "$LAB/$s/etc/id_ed25519"
	dvpnd_option "$s" site prefixes "10.$n.0.0/16 fd00:$n::/48"
	dvpnd_option "$s" map static "$LAB/$s/etc/hosts"
	dvpnd_option "$s" map learned "$LAB/$s/learned/hosts"
	dvpnd_option "$s" ssh user "$LAB_USER"
	dvpnd_option "$s" ssh known_hosts "$LAB/$s/etc/known_hosts"
	dvpnd_option "$s" ssh mode "${MODE:-trunk}"
	dvpnd_option "$s" control socket "$LAB/$s/control"
	dvpnd_option "$s" log level debug
}

# Writes the site's dvpnd.conf out of its options.
dvpnd_configure()
{
	local s=$1 section key
	for section in "$LAB/options/$s"/*; do
		echo "[${section##*/}]"
		for key in "$section"/*; do
			echo "${key##*/} = $(cat "$key")"
		done
	done >"$LAB/$s/etc/dvpnd.conf"
}

rules_up()
{
	# shellcheck disable=SC2086
	on "g$1" "$top/rules/dvpn-rules" up --router lan ${RULES_OPTIONS[$1]:-} \
		>>"$LAB/run/rules-$1.log" 2>&1
}

rules_down()
{
	on "g$1" "$top/rules/dvpn-rules" down >>"$LAB/run/rules-$1.log" 2>&1
}

dvpnd_start()
{
	local s=$1
	dvpnd_configure "$s"
	start "g$s" "dvpnd-$s" "$BUILD/dvpnd/dvpnd" -f -c "$LAB/$s/etc/dvpnd.conf"
	wait_for 20 dvpnd_ready "$s" || {
		tail -n 20 "$(log_of "dvpnd-$s")"
		return 1
	}
}

# It answers, and the kernel's sets hold what the map says of another site.
dvpnd_ready()
{
	local s other
	[ -S "$LAB/$1/control" ] && port_open "g$1" 7777 || return 1
	for s in $SITES; do
		[ "$s" = "$1" ] || other=$s
	done
	[ -z "${other:-}" ] || ! grep -q "${site_name[$other]}" "$LAB/$1/etc/hosts" ||
		on "g$1" ipset -q test dvpn4 "$(lan4 "$other")"
}

# ctl SITE REQUEST…
ctl()
{
	local s=$1
	shift
	on "g$s" "$CONTROL" -s "$LAB/$s/control" "$@"
}

dvpn_start()
{
	local s
	for s in $SITES; do
		[ -d "$LAB/options/$s/site" ] || dvpnd_defaults "$s"
		rules_up "$s"
		dvpnd_start "$s"
	done
}

lab_up()
{
	lab_topology
	lab_keys
	lab_names
	lab_far
	dvpn_start
}

# ---- something to talk to ----

# www_start HOST DIRECTORY: the directory's files at port 80.
www_start()
{
	start "$1" "www-$1" python3 -u -m http.server --bind :: --directory "$2" 80
	wait_for 10 port_open "$1" 80
}

# conversation CLIENT ADDRESS SERVER "SERVER STEPS" "CLIENT STEPS": one connection
# between two peers, each of which must see what its steps say.  May be waited for.
conversation()
{
	local client=$1 address=$2 server=$3 port name
	port=$(next_port)
	name=peer-$port
	# shellcheck disable=SC2086
	start "$server" "$name" "$PEER" listen :: "$port" -r "$LAB/run/$name.ready" $4 &&
		wait_for 10 test -e "$LAB/run/$name.ready" || return 1
	# shellcheck disable=SC2086
	on "$client" "$PEER" connect "$address" "$port" $5 || {
		cat "$(log_of "$name")"
		! running "$name" || kill "$(pid_of "$name")"
		return 1
	}
	await "$name" || {
		cat "$(log_of "$name")"
		return 1
	}
}

# In a file, since checks run in subshells.
next_port()
{
	local port
	port=$(cat "$LAB/run/port" 2>/dev/null || echo 9000)
	echo $((port + 1)) | tee "$LAB/run/port"
}

# ---- the end ----

sanitizer_reports()
{
	grep -hE -A 60 'WARNING: ThreadSanitizer|ERROR: (Address|Leak|Memory)Sanitizer|runtime error:' \
		"$LAB"/run/*.log
}

dvpnd_all_stop()
{
	local s
	for s in $SITES; do
		[ ! -e "$LAB/run/dvpnd-$s.pid" ] || ended "dvpnd-$s" || stop "dvpnd-$s" INT
	done
}

# In the place of tap.sh's: every daemon still running must end well, and no
# sanitizer may have had a word to say.
lab_finish()
{
	check "every dvpnd that still runs ends with status 0" dvpnd_all_stop
	check "no sanitizer has reported anything" refuses sanitizer_reports
	finish
}

lab_down()
{
	local status=$?
	trap - EXIT INT TERM HUP
	flock /var/lib "$top/tests/net/sweep" "$LAB_ID" || status=1
	exit "$status"
}
