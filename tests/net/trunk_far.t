#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The far side of a trunk by itself: the real `nc -T 1` between real TCP servers
and a near side of a few lines, over what sshd would give it."""
import os
import random
import re
import select
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from farside import (NC, PATIENCE, V4, V6, Near, Task, accept, allow, is_reset, is_static, listen,
                     main, pattern, read_all, reset, same, wait_for)

(HELLO, OPEN, OPENED, FAILED, DATA, CREDIT, EOF, RESET, PING, PONG, GOAWAY) = range(1, 12)
REFUSED, UNREACHABLE, TIMED_OUT, DENIED, PEER_RESET, FULL = range(1, 7)
NAMES = dict(zip(range(1, 12), "HELLO OPEN OPENED FAILED DATA CREDIT EOF RESET PING PONG "
                                "GOAWAY".split()))
FRAME_PAYLOAD = 32692
CREDIT_FIRST = 16384
WINDOW = 262144
RULES = ("!10.8.0.6 1-1023", "10.8.0.0/16", "fd00:8::/48", "10.99.0.0/16")
CLIENT = "10.7.0.9"
KINDS = ("socket", "sockets", "pipes")
MEGABYTE = 1 << 20


def start(_place):
    allow(*RULES)


def frame(kind, stream, payload=b""):
    return struct.pack(">BBHI", kind, 0, len(payload), stream) + payload


def address_of(host):
    if ":" in host:
        return 6, socket.inet_pton(socket.AF_INET6, host)
    return 4, socket.inet_aton(host).ljust(16, b"\0")


def open_payload(host, port, credit=1 << 20, early=b"", client=(CLIENT, 4711)):
    family, address = address_of(host)
    client_family, client_address = address_of(client[0])
    return struct.pack(">BBH16sI16sHH", family, client_family, port, address, credit,
                       client_address, client[1], 0) + early


def hello(version=1, streams=16384, credit=65536, name=b"thursday", magic=b"dvpn"):
    return magic + struct.pack(">HHII", version, 0, streams, credit) + name


class Trunk(Near):
    """`nc -T 1`, and the near side's part of the protocol."""

    def __init__(self, kind="socket", greet=True, **options):
        super().__init__("-T", "1", kind=kind, **options)
        self.buffer = bytearray()
        self.slots = 0
        self.answer_pings = True
        self.kept_frames = []
        if greet:
            self.send(HELLO, 0, hello())
            kind, stream, payload = self.frame()
            same((kind, stream), (HELLO, 0))
            magic, version, _, self.most, credit = struct.unpack(">4sHHII", payload)
            same((magic, version, credit), (b"dvpn", 1, CREDIT_FIRST))

    def send(self, kind, stream, payload=b""):
        self.write(frame(kind, stream, payload))

    def raw_frame(self, seconds=PATIENCE):
        """The next frame as it comes, or None at the end of the output."""
        end = time.monotonic() + seconds
        while True:
            if len(self.buffer) >= 8:
                kind, _, length, stream = struct.unpack_from(">BBHI", self.buffer)
                assert length <= FRAME_PAYLOAD, f"a frame of {length} bytes"
                if len(self.buffer) >= 8 + length:
                    payload = bytes(self.buffer[8:8 + length])
                    del self.buffer[:8 + length]
                    return kind, stream, payload
            left = end - time.monotonic()
            assert left > 0 and select.select([self.out], [], [], left)[0], "no frame came"
            piece = os.read(self.out, 1 << 18)
            if not piece:
                assert not self.buffer, f"half a frame: {bytes(self.buffer[:60])}"
                return None
            self.buffer += piece

    def frame(self, seconds=PATIENCE):
        """The next frame but PINGs, which are answered."""
        while True:
            got = self.raw_frame(seconds)
            if not got or got[0] != PING or not self.answer_pings:
                return got
            self.send(PONG, 0, got[2])

    def expect(self, kind, stream, ignore=()):
        """The payload of the next frame, which must be that one."""
        while True:
            got = self.frame()
            assert got, f"the trunk ended before {NAMES[kind]}: {self.process.wait(PATIENCE)}"
            if got[1] == stream and got[0] in ignore:
                continue
            same((NAMES[got[0]], got[1]), (NAMES[kind], stream), str(got[2][:60]))
            return got[2]

    def silent(self, seconds=0.2):
        """Nothing comes."""
        ready = select.select([self.out], [], [], seconds)[0]
        assert not ready and not self.buffer, self.frame()

    def new(self):
        """A stream's number that was not in use before."""
        self.slots += 1
        return 1 << 16 | self.slots

    def ask(self, host, port, stream=None, **options):
        stream = stream or self.new()
        self.send(OPEN, stream, open_payload(host, port, **options))
        return stream

    def connect(self, host=V4, **options):
        """A stream that is open, and its server's end."""
        server, port = listen(host)
        stream = self.ask(host, port, **options)
        connection = accept(server)
        extra, = struct.unpack(">I", self.expect(OPENED, stream))
        self.extra = extra
        return stream, connection

    def data(self, stream, size):
        """So many bytes from the server, giving credit back as they come."""
        got = bytearray()
        while len(got) < size:
            piece = self.expect(DATA, stream, ignore=(CREDIT,))
            got += piece
            self.send(CREDIT, stream, struct.pack(">I", len(piece)))
        same(len(got), size)
        return bytes(got)

    def failed(self, stream, kind=FAILED):
        """Class, errno and text of the notice that comes next."""
        payload = self.expect(kind, stream)
        if kind == RESET:
            return payload[0], payload[1:].decode()
        return payload[0], struct.unpack_from(">H", payload, 2)[0], payload[4:].decode()

    def audit(self):
        """The next line of stderr, as client, server, result, up, down."""
        line = self.line()
        found = re.fullmatch(r"(\S+) -> (\S+): ([a-z ]+), (\d+) up, (\d+) down, (\d+\.\d) s", line)
        assert found, line
        return found[1], found[2], found[3], int(found[4]), int(found[5])

    def still_alive(self):
        self.send(PING, 0, b"alive?")
        while True:
            got = self.frame()
            assert got, f"the trunk ended: {self.rest()}"
            if got[0] == PONG:
                same(got[2], b"alive?")
                return

    def close(self):
        self.hang_up()
        same(self.exit(), 0)


# ---- one stream ----

def t_hello():
    """HELLO comes at once, and says how many streams are taken"""
    for kind in KINDS:
        trunk = Trunk(kind, greet=False)
        got = trunk.frame()
        same(got[0], HELLO)
        same(len(got[2]), 16)
        trunk.send(HELLO, 0, hello(version=9, name=b""))
        trunk.still_alive()
        trunk.close()


def t_bytes_both_ways():
    """8 MB each way at once arrive whole, over every kind of descriptors"""
    up, down = pattern(8 * MEGABYTE, 1), pattern(8 * MEGABYTE, 2)
    for kind in KINDS:
        trunk = Trunk(kind)
        stream, connection = trunk.connect()
        same(trunk.extra, WINDOW - CREDIT_FIRST)
        port = connection.getsockname()[1]
        receiving, sending = Task(read_all, connection), Task(connection.sendall, down)
        near = Uploader(trunk, stream, up)
        got = near.run(len(down))
        assert got == down, kind
        sending.result()
        trunk.send(EOF, stream)
        assert receiving.result() == up, kind
        connection.close()
        trunk.expect(EOF, stream, ignore=(CREDIT,))
        same(trunk.audit(), (f"{CLIENT}:4711", f"{V4}:{port}", "ok", len(up),
                             len(down)), kind)
        trunk.close()


class Uploader:
    """Sends within credit while it takes what comes."""

    def __init__(self, trunk, stream, data, credit=WINDOW):
        self.trunk, self.stream, self.data, self.credit = trunk, stream, memoryview(data), credit
        self.sent = 0

    def push(self):
        while self.credit and self.sent < len(self.data):
            size = min(self.credit, FRAME_PAYLOAD, len(self.data) - self.sent)
            # Only what is taken at once, so as not to stand still both ways.
            if not select.select([], [self.trunk.into], [], 0)[1]:
                return
            self.trunk.send(DATA, self.stream, bytes(self.data[self.sent:self.sent + size]))
            self.sent += size
            self.credit -= size

    def run(self, wanted):
        got = bytearray()
        while len(got) < wanted or self.sent < len(self.data):
            self.push()
            if not select.select([self.trunk.out], [], [], 0.01)[0] and not self.trunk.buffer:
                continue
            kind, stream, payload = self.trunk.frame()
            same(stream, self.stream)
            if kind == DATA:
                got += payload
                self.trunk.send(CREDIT, stream, struct.pack(">I", len(payload)))
            else:
                same(NAMES[kind], "CREDIT")
                self.credit += struct.unpack(">I", payload)[0]
        return bytes(got)


main(os.path.abspath(__file__), start)
