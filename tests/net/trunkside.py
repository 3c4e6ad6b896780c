# SPDX-License-Identifier: GPL-2.0-or-later
"""
The near side of a trunk in a few lines, for the tests of the far side: it sends
and takes frames over what sshd would give `nc -T 1`, and keeps to no rule by
itself, so that tests can break each.
"""
import os
import re
import select
import socket
import struct
import time

from farside import PATIENCE, V4, Near, accept, is_reset, listen, same

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


def number(value):
    return struct.pack(">I", value)


class Trunk(Near):
    """`nc -T 1`, and the near side's part of the protocol."""

    def __init__(self, kind="socket", greet=True, words=(), **options):
        super().__init__(*words, "-T", "1", kind=kind, **options)
        self.buffer = bytearray()
        self.slots = 0
        if greet:
            self.send(HELLO, 0, hello())
            self.greeted()

    def greeted(self):
        kind, stream, payload = self.frame()
        same((kind, stream), (HELLO, 0))
        magic, version, zero, self.most, credit = struct.unpack(">4sHHII", payload)
        same((magic, version, zero, credit), (b"dvpn", 1, 0, CREDIT_FIRST))

    # ---- frames ----

    def send(self, kind, stream, payload=b""):
        self.write(frame(kind, stream, payload))

    def raw_frame(self, seconds=PATIENCE):
        """The next frame as it comes, or None at the end of the output."""
        end = time.monotonic() + seconds
        while True:
            if len(self.buffer) >= 8:
                kind, flags, length, stream = struct.unpack_from(">BBHI", self.buffer)
                assert length <= FRAME_PAYLOAD and not flags and kind in NAMES, self.buffer[:8]
                if len(self.buffer) >= 8 + length:
                    payload = bytes(self.buffer[8:8 + length])
                    del self.buffer[:8 + length]
                    return kind, stream, payload
            left = end - time.monotonic()
            assert left > 0 and select.select([self.out], [], [], left)[0], "no frame came"
            try:
                piece = os.read(self.out, 1 << 18)
            except ConnectionResetError:  # it left input unread
                piece = b""
            if not piece:
                assert not self.buffer, f"half a frame: {bytes(self.buffer[:60])}"
                return None
            self.buffer += piece

    def frame(self, seconds=PATIENCE):
        """The next frame but PINGs, which are answered."""
        while True:
            got = self.raw_frame(seconds)
            if not got or got[0] != PING:
                return got
            self.send(PONG, 0, got[2])

    def frames(self, seconds=0):
        """Those that are there, or come within that time; PINGs are answered."""
        while ready(self, seconds):
            seconds = 0
            got = self.raw_frame()
            assert got, f"the trunk ended: {self.process.wait(PATIENCE)}"
            if got[0] == PING:
                self.send(PONG, 0, got[2])
            else:
                yield got

    def expect(self, kind, stream, ignore=()):
        """The payload of the next frame, which must be that one."""
        while True:
            got = self.frame()
            assert got, f"the trunk ended before {NAMES[kind]}: {self.process.wait(PATIENCE)}"
            if got[1] == stream and got[0] in ignore:
                continue
            same((NAMES[got[0]], hex(got[1])), (NAMES[kind], hex(stream)), str(got[2][:60]))
            return got[2]

    def silent(self, seconds=0.2):
        """Nothing comes."""
        ready = select.select([self.out], [], [], seconds)[0]
        assert not ready and not self.buffer, self.frame()

    # ---- streams ----

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
        self.extra, = struct.unpack(">I", self.expect(OPENED, stream))
        return stream, connection

    def data(self, stream, size):
        """So many bytes from the server, giving credit back as they come."""
        got = bytearray()
        while len(got) < size:
            piece = self.expect(DATA, stream, ignore=(CREDIT,))
            got += piece
            self.send(CREDIT, stream, number(len(piece)))
        same(len(got), size)
        return bytes(got)

    def failed(self, stream):
        """Class, errno and text of FAILED, which comes next."""
        payload = self.expect(FAILED, stream)
        same(payload[1], 0)
        return payload[0], struct.unpack_from(">H", payload, 2)[0], payload[4:].decode()

    def was_reset(self, stream, ignore=(CREDIT,)):
        """RESET comes next; its class."""
        payload = self.expect(RESET, stream, ignore=ignore)
        assert payload[1:].decode(), "RESET without a text"
        return payload[0]

    # ---- the whole ----

    def audit(self):
        """The next line of stderr, as client, server, result, up, down."""
        line = self.line()
        found = re.fullmatch(r"(\S+) -> (\S+): ([a-z ]+), (\d+) up, (\d+) down, (\d+\.\d) s", line)
        assert found, line
        return found[1], found[2], found[3], int(found[4]), int(found[5])

    def still_alive(self):
        self.send(PING, 0, b"alive?")
        got = self.frame()
        assert got, f"the trunk ended: {self.rest()}"
        same((got[0], got[2]), (PONG, b"alive?"))

    def broken(self, why, status=65):
        """GOAWAY with that text comes as the last frame, and the trunk ends."""
        last = None
        while True:
            got = self.raw_frame()
            if not got:
                break
            last = got
        assert last and last[0] == GOAWAY, last
        assert why in last[2].decode(), last[2]
        same(self.exit(), status)
        assert any(line == "dvpn-nc: trunk: " + last[2].decode() for line in self.rest())

    def memory(self):
        """Bytes in RAM that are its own."""
        with open(f"/proc/{self.process.pid}/smaps_rollup") as rollup:
            for line in rollup:
                if line.startswith("Private_Dirty"):
                    return int(line.split()[1]) << 10
        raise AssertionError("no Private_Dirty")

    def close(self):
        self.hang_up()
        same(self.exit(), 0)


def ready(trunk, seconds=0):
    """Whether a frame, or a part of one, is there."""
    return trunk.buffer or select.select([trunk.out], [], [], seconds)[0]


def is_cut(connection):
    """Whether the connection ended by a reset, however full it was: the kernel sends RST
    once, and a receiver that just ran out of room takes it for no part of the
    connection, until it sends something itself."""
    connection.settimeout(1)
    try:
        return is_reset(connection)
    except TimeoutError:
        connection.settimeout(PATIENCE)
        connection.send(b"?")
        return is_reset(connection)


class Flow:
    """A stream's bytes both ways, as the near side sees them."""

    def __init__(self, trunk, stream, up=b"", credit=CREDIT_FIRST):
        self.trunk, self.stream, self.up, self.credit = trunk, stream, memoryview(up), credit
        self.down = bytearray()
        self.sent = self.largest_window = 0
        self.end_sent = self.end_came = self.is_open = False

    def push(self, size=FRAME_PAYLOAD):
        """Sends one frame, the EOF behind the last; whether there was something to send."""
        size = min(self.credit, size, len(self.up) - self.sent)
        if size:
            self.trunk.send(DATA, self.stream, bytes(self.up[self.sent:self.sent + size]))
            self.sent += size
            self.credit -= size
        elif self.sent == len(self.up) and not self.end_sent:
            self.trunk.send(EOF, self.stream)
            self.end_sent = True
        else:
            return False
        return True

    def take(self, kind, payload):
        assert not self.end_came or kind == CREDIT, f"{NAMES[kind]} after EOF"
        if kind == DATA:
            self.down += payload
            self.trunk.send(CREDIT, self.stream, number(len(payload)))
        elif kind == EOF:
            self.end_came = True
        else:
            same(NAMES[kind], "CREDIT" if self.is_open else "OPENED")
            self.is_open = True
            self.credit += struct.unpack(">I", payload)[0]
            self.largest_window = max(self.largest_window, self.credit)

    def done(self):
        return self.end_came and self.end_sent


def carry(trunk, flows, size=lambda: FRAME_PAYLOAD):
    """Moves all that the flows have, both ways, to both ends."""
    by_stream = {flow.stream: flow for flow in flows}
    while not all(flow.done() for flow in flows):
        pushed = [flow.push(size()) for flow in flows]
        for kind, stream, payload in trunk.frames(0 if any(pushed) else PATIENCE):
            by_stream[stream].take(kind, payload)


def push_until_stalled(trunk, *flows):
    """Sends until credit has stopped coming, which must be before the end."""
    by_stream = {flow.stream: flow for flow in flows}
    quiet = time.monotonic()
    while time.monotonic() - quiet < 0.5:
        for flow in flows:
            while flow.credit and flow.sent < len(flow.up):
                flow.push()
                quiet = time.monotonic()
        for kind, stream, payload in trunk.frames(0.05):
            by_stream[stream].take(kind, payload)
    assert all(flow.sent < len(flow.up) for flow in flows), "nothing stalled"
