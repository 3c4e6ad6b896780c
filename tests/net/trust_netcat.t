#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# All of trust.t again with a netcat for each connection.
set -eu
MODE=netcat exec "$(dirname "$0")/trust.t"
