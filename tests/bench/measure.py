# SPDX-License-Identifier: GPL-2.0-or-later
"""The measurements: each takes a tunnel and gives a dict of metric to value, or Trouble.

MB are 1,000,000 bytes.  CPU is that of the gateways' processes alone.
"""
import json
import subprocess
import time

from bed import ECHO, BULK, HTTP
from system import Trouble

# HTTP/1.1 as browsers speak it: six connections, objects of 20 kB.
PAGE_OBJECTS, PAGE_SIZE, PAGE_CLIENTS = 40, 20000, 6


class Cpu:
    """CPU seconds of near and far since it was made."""

    def __init__(self, tunnel):
        self.tunnel = tunnel
        self.begin = self._now()

    def _now(self):
        return self.tunnel.near.cpu_seconds(), self.tunnel.far.cpu_seconds()

    def spent(self):
        return [b - a for a, b in zip(self.begin, self._now())]


def bulk(tunnel, seconds, streams, way):
    if tunnel.slow:
        seconds = max(seconds, 2)
    cpu = Cpu(tunnel)
    got = tunnel.lane.bed.run(["bulk", *tunnel.at(BULK), way, streams, seconds], seconds + 40)
    if got["failed"] or not got["bytes"]:
        raise Trouble("%d of %d streams failed, %d bytes arrived"
                      % (got["failed"], streams, got["bytes"]))
    near, far = (c / got["bytes"] * 1e9 for c in cpu.spent())
    name = "%s%d" % (way, streams)
    return {name: got["mb_per_second"], name + "_near_cpu": near, name + "_far_cpu": far}


def connect(tunnel, count):
    got = tunnel.lane.bed.run(["connect", *tunnel.at(ECHO), 15 if tunnel.slow else count], 120)
    if not got["ok"]:
        raise Trouble("no connection came through")
    return {"connect_p50": got["p50"], "connect_p99": got["p99"], "connect_failed": got["failed"]}


def rate(tunnel, seconds, clients=32):
    cpu = Cpu(tunnel)
    got = tunnel.lane.bed.run(["rate", *tunnel.at(ECHO), clients, seconds], seconds + 40)
    if not got["ok"]:
        raise Trouble("no connection came through")
    near, far = (c / got["ok"] * 1e6 for c in cpu.spent())
    return {"rate": got["per_second"], "rate_p99": got["p99"], "rate_near_cpu": near,
            "rate_far_cpu": far, "rate_failed": got["failed"] + got["timed_out"]}


def http(tunnel, seconds):
    cpu = Cpu(tunnel)
    got = tunnel.lane.bed.run(["http", *tunnel.at(HTTP), 64, seconds * (3 if tunnel.slow else 1),
                               1024], seconds * 3 + 40)
    if not got["ok"] or got["failed"]:
        raise Trouble("%d requests failed" % got["failed"])
    near, far = (c / got["ok"] * 1e6 for c in cpu.spent())
    return {"http": got["per_second"], "http_p99": got["p99"], "http_near_cpu": near,
            "http_far_cpu": far}


def memory(tunnel, count, settle=1.5):
    """On a tunnel that has carried nothing else: what connections cost it."""
    bed = tunnel.lane.bed
    before = tunnel.near.memory_kb(), tunnel.far.memory_kb()
    child = bed.load_start(["hold", *tunnel.at(ECHO), count, 16, 90], stdin=subprocess.PIPE)
    try:
        held = json.loads(child.stdout.readline())
        time.sleep(settle)  # until all has been freed that will be
        after = tunnel.near.memory_kb(), tunnel.far.memory_kb()
        child.stdin.write("check\n")
        child.stdin.flush()
        alive = json.loads(child.stdout.readline())["alive"]
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()
        bed.load.children.remove(child)
    if not alive:
        raise Trouble("no connection stayed")
    n = tunnel.idle.index(count)
    return {"idle%d" % n: alive, "idle%d_asked" % n: count, "idle%d_seconds" % n: held["seconds"],
            "idle%d_near" % n: (after[0] - before[0]) / alive,
            "idle%d_far" % n: (after[1] - before[1]) / alive}


def page(tunnel, pages):
    got = tunnel.lane.bed.run(["page", *tunnel.at(HTTP), pages, PAGE_OBJECTS, PAGE_SIZE,
                               PAGE_CLIENTS], 90)
    if not got["ok"]:
        raise Trouble("no page came")
    return {"page": got["p50"], "page_failed": got["failed"]}


def bulk_and_echo(tunnel, seconds, way):
    """A byte there and back every 10 ms, for as long as the bulk lasts."""
    bed = tunnel.lane.bed
    child = bed.load_start(["bulk", *tunnel.at(BULK), way, 1, seconds])
    try:
        echo = bed.run(["echo", *tunnel.at(ECHO), seconds, 10], seconds + 40)
    finally:
        got = bed.load_result(child, seconds + 60)
    if got["failed"] or not got["bytes"]:
        raise Trouble("the bulk stream failed")
    if echo["failed"] or not echo["ok"]:
        raise Trouble("the echo failed")
    return {way: got["mb_per_second"], way + "_echo_p50": echo["p50"], way + "_echo_p99": echo["p99"]}
