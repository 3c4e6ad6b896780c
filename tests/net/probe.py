#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered UDP datagrams to an echo and back: what became of them, and when.

  probe.py echo PORT READY           answers for ever; READY is made once it listens
  probe.py rtt HOST PORT COUNT       one at a time; high_ms: nine of ten were faster
  probe.py send HOST PORT COUNT SIZE all at once, SIZE bytes of UDP payload each

Prints words like `sent=100 came=98 late=0 median_ms=50.1 …`: late ones came after one
that was sent later; spread_ms is from the first to the last that came.
"""
import os
import select
import socket
import struct
import sys
import time

# A datagram that is not back by then is lost; a send ends after so much silence.
PATIENCE = 1.5


def udp():
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    # SO_RCVBUFFORCE, SO_SNDBUFFORCE: a burst must not be lost at the ends.
    s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
    s.setsockopt(socket.SOL_SOCKET, 32, 64 << 20)
    return s


def echo(port, ready):
    s = udp()
    s.bind(("::", port))
    with open(ready + ".new", "w") as f:
        f.write("ready\n")
    os.rename(ready + ".new", ready)
    while True:
        data, address = s.recvfrom(65536)
        s.sendto(data, address)


def connect(host, port):
    s = udp()
    if ":" not in host:
        host = "::ffff:" + host
    s.connect((host, port))
    return s


def came_back(s, timeout):
    """The number of the next datagram, or None when none came."""
    if not select.select([s], [], [], timeout)[0]:
        return None
    return struct.unpack_from("!Q", s.recv(65536))[0]


def rtt(host, port, count):
    s = connect(host, port)
    times, lost = [], 0
    for n in range(count):
        begin = time.monotonic()
        s.send(struct.pack("!Q", n))
        got = came_back(s, PATIENCE)
        while got is not None and got != n:
            got = came_back(s, PATIENCE)
        if got is None:
            lost += 1
        else:
            times.append((time.monotonic() - begin) * 1e3)
    times.sort()
    if not times:
        print("sent=%d came=0" % count)
        return
    print("sent=%d came=%d median_ms=%.2f least_ms=%.2f high_ms=%.2f"
          % (count, count - lost, times[len(times) // 2], times[0], times[len(times) * 9 // 10]))


def send(host, port, count, size):
    s = connect(host, port)
    for n in range(count):
        s.send(struct.pack("!Q", n) + bytes(size - 8))
    came = late = 0
    highest, first, last = -1, 0.0, 0.0
    while came < count:
        n = came_back(s, PATIENCE)
        if n is None:
            break
        last = time.monotonic()
        first = first or last
        came += 1
        late += n < highest
        highest = max(highest, n)
    print("sent=%d came=%d late=%d spread_ms=%.2f" % (count, came, late, (last - first) * 1e3))


def main():
    verb, rest = sys.argv[1], sys.argv[2:]
    if verb == "echo":
        echo(int(rest[0]), rest[1])
    elif verb == "rtt":
        rtt(rest[0], int(rest[1]), int(rest[2]))
    elif verb == "send":
        send(rest[0], int(rest[1]), int(rest[2]), int(rest[3]))
    else:
        sys.exit(__doc__)


main()
