# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# Test lines in TAP, and waiting: what every net test sources before it knows
# any topology.
#
# `check "what must hold" command…` runs the command in a subshell of its own
# under `set -e`, so a test may be a function of plain commands: the first that
# fails ends it.  Variables set there are lost, files and processes are not.
# A test ends with `finish`; one that dies before prints no plan, and the
# runner counts that as a failure.

tap_done=0
tap_failed=0
# Called with a failed test's name; lab.sh sets it to what dumps the logs.
tap_on_failure=:

pass()
{
	tap_done=$((tap_done + 1))
	echo "ok $tap_done - $1"
}

fail()
{
	tap_done=$((tap_done + 1))
	tap_failed=$((tap_failed + 1))
	echo "not ok $tap_done - $1"
	"$tap_on_failure" "$1"
}

# Standard input as TAP comments.
note()
{
	sed "s/^/# /"
}

check()
{
	local what="$1" output status
	shift
	output=$(mktemp)
	# Not inside `if`: bash would ignore `set -e` there.
	set +e
	(
		set -e
		"$@"
	) >"$output" 2>&1
	status=$?
	set -e
	if [ "$status" = 0 ]; then
		pass "$what"
	else
		echo "exit status $status" >>"$output"
		tail -n 40 "$output" | note
		fail "$what"
	fi
	rm -f "$output"
}

# Succeeds where the command fails: `!` alone escapes `set -e`.  A command that
# could not even be started has refused nothing.
refuses()
{
	local status=0
	"$@" || status=$?
	case $status in
	0) echo "succeeded, and should not have: $*" ;;
	126 | 127) echo "could not be run: $*" ;;
	*) return 0 ;;
	esac
	return 1
}

# wait_for SECONDS COMMAND…: until the command succeeds; fails when time is up.
wait_for()
{
	local deadline=$((SECONDS + $1 + 1))
	shift
	until "$@" >/dev/null 2>&1; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			echo "still not so when time was up: $*"
			return 1
		fi
		sleep 0.05
	done
}

# same "what" EXPECTED ACTUAL
same()
{
	if [ "$2" != "$3" ]; then
		printf '%s: expected "%s", got "%s"\n' "$1" "$2" "$3"
		return 1
	fi
}

finish()
{
	echo "1..$tap_done"
	[ "$tap_failed" = 0 ]
}
