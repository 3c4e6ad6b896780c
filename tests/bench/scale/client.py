#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The client's side of what `load` can't do.

  client.py probe HOST PORT PAUSE-MS    connects, a byte there and back, closes, again and
                                        again until its input ends; [when, seconds] of each
  client.py hold PORT AT-ONCE HOST…     one connection to each, so many under way at a time;
                                        says when all are there, answers each line of input
                                        with how many still echo
"""
import json
import select
import socket
import sys
import time

PATIENCE = 120


def echo(connection, byte):
    connection.sendall(byte)
    return connection.recv(1) == byte


def probe(host, port, pause):
    times, failed = [], 0
    while not select.select([sys.stdin], [], [], pause)[0]:
        begin = time.monotonic()
        try:
            with socket.create_connection((host, port), 30) as connection:
                ok = echo(connection, b"x")
        except OSError:
            ok = False
        times.append((begin, time.monotonic() - begin))
        failed += not ok
    print(json.dumps({"times": times, "failed": failed}), flush=True)


class Holder:
    def __init__(self, hosts, port, at_once):
        self.waiting, self.port, self.at_once = list(reversed(hosts)), port, at_once
        self.poll, self.busy, self.held, self.failed = select.epoll(), {}, [], 0

    def start_some(self):
        while self.waiting and len(self.busy) < self.at_once:
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex((self.waiting.pop(), self.port))
            self.poll.register(connection, select.EPOLLOUT)
            self.busy[connection.fileno()] = connection

    def event(self, fd, events):
        connection = self.busy[fd]
        try:
            if events & select.EPOLLOUT:
                connection.send(b"x")
                self.poll.modify(fd, select.EPOLLIN)
                return
            ok = connection.recv(1) == b"x"
        except OSError:
            ok = False
        del self.busy[fd]
        self.poll.unregister(fd)
        if ok:
            self.held.append(connection)
        else:
            self.failed += 1
            connection.close()

    def run(self):
        begin = time.monotonic()
        while (self.waiting or self.busy) and time.monotonic() < begin + PATIENCE:
            self.start_some()
            for fd, events in self.poll.poll(1):
                self.event(fd, events)
        return {"held": len(self.held), "failed": self.failed + len(self.busy),
                "seconds": time.monotonic() - begin}

    def alive(self):
        count = 0
        for connection in self.held:
            connection.settimeout(10)
            try:
                count += echo(connection, b"y")
            except OSError:
                pass
        return count


def hold(port, at_once, hosts):
    holder = Holder(hosts, port, at_once)
    print(json.dumps(holder.run()), flush=True)
    while sys.stdin.readline():
        print(json.dumps({"alive": holder.alive()}), flush=True)


def main(words):
    if len(words) == 4 and words[0] == "probe":
        probe(words[1], int(words[2]), float(words[3]) / 1e3)
    elif len(words) > 3 and words[0] == "hold":
        hold(int(words[1]), int(words[2]), words[3:])
    else:
        sys.exit(__doc__)


main(sys.argv[1:])
