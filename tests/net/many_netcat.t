#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# All of many.t again with a netcat for each connection.
set -eu
MODE=netcat exec "$(dirname "$0")/many.t"
