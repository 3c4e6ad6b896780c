#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The far side of a trunk by itself, one stream or a few: opening, bytes, ends and
resets, between real TCP servers and a near side of a few lines."""
import os
import random
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from farside import (MEGABYTE, PATIENCE, V4, V6, Task, accept, allow, flood, is_reset, listen, main,
                     pattern, read_all, reset, same, wait_for)
from trunkside import (CLIENT, CREDIT, CREDIT_FIRST, DATA, DENIED, EOF, FAILED, HELLO, KINDS, OPEN,
                       OPENED, PEER_RESET, REFUSED, RESET, RULES, TIMED_OUT, UNREACHABLE, WINDOW,
                       Flow, Trunk, carry, frame, hello, is_cut, number, open_payload,
                       push_until_stalled)


def start(_place):
    allow(*RULES)


# ---- opening ----

def t_hello():
    """HELLO comes at once; a higher version is spoken to; PING is answered"""
    for kind in KINDS:
        trunk = Trunk(kind, greet=False)
        trunk.greeted()
        assert 1 <= trunk.most <= 16384, trunk.most
        trunk.send(HELLO, 0, hello(version=9, name=b""))
        trunk.still_alive()
        trunk.close()


def t_open():
    """a connection is opened with credit, over IPv4 and IPv6, and noted when it ends"""
    trunk = Trunk()
    for host, shown in (V4, V4), (V6, f"[{V6}]"):
        stream, connection = trunk.connect(host)
        same(trunk.extra, WINDOW - CREDIT_FIRST)
        port = connection.getsockname()[1]
        trunk.send(EOF, stream)
        connection.close()
        trunk.expect(EOF, stream)
        same(trunk.audit(), (f"{CLIENT}:4711", f"{shown}:{port}", "ok", 0, 0))
    trunk.close()


def t_early_data():
    """early data, and an early end, are the server's first bytes"""
    trunk = Trunk()
    for size in (1, 1000, CREDIT_FIRST):
        early = pattern(size)
        stream, connection = trunk.connect(early=early)
        same(trunk.extra, WINDOW - CREDIT_FIRST + size)
        trunk.send(EOF, stream)
        same(read_all(connection), early)
        connection.close()
        trunk.expect(EOF, stream)
    server, port = listen()
    stream = trunk.new()
    trunk.write(b"".join(frame(*parts) for parts in (
        (OPEN, stream, open_payload(V4, port, early=b"GET ")), (DATA, stream, b"/ HTTP"),
        (EOF, stream, b""))))
    connection = accept(server)
    same(read_all(connection), b"GET / HTTP")
    trunk.expect(OPENED, stream)
    connection.sendall(b"200 OK")
    connection.close()
    same(trunk.expect(DATA, stream), b"200 OK")
    trunk.expect(EOF, stream)
    trunk.close()


def t_refused():
    """what can't be reached: class, errno, words; the slot is free again"""
    trunk = Trunk()
    server, port = listen()
    server.close()
    stream = trunk.new()
    for generation in range(1, 4):
        trunk.ask(V4, port, stream=stream % 65536 | generation << 16, early=b"lost")
        same(trunk.failed(stream % 65536 | generation << 16), (REFUSED, 111, "Connection refused"))
        same(trunk.audit()[2:], ("refused", 0, 0))
    stream = trunk.ask("10.99.0.1", 80)
    got = trunk.failed(stream)
    same(got[:2], (UNREACHABLE, 101))
    same(trunk.audit()[2], "unreachable")
    trunk.still_alive()
    trunk.close()


def t_timed_out():
    """a server that never answers: ten seconds, and nobody else waits for it"""
    trunk = Trunk()
    server, port = full_server()
    begin = time.monotonic()
    silent = [trunk.ask(V4, port, early=b"x" * 100) for _ in range(3)]
    stream, connection = trunk.connect()
    trunk.send(DATA, stream, b"meanwhile")
    same(connection.recv(100), b"meanwhile")
    for stream in silent:
        same(trunk.failed(stream)[:2], (TIMED_OUT, 110))
    assert 9 < time.monotonic() - begin < 14, time.monotonic() - begin
    for listening in server:
        listening.close()
    trunk.close()


def full_server():
    """One whose queue is full: the kernel drops the first packet of whoever comes."""
    server, port = listen(backlog=0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex((V4, port))
        fillers.append(filler)
    return [server, *fillers], port


def t_denied():
    """the allow file is asked for each stream, and a change of it counts"""
    trunk = Trunk()
    server, port = listen(backlog=4096)
    for host, wanted in (("192.0.2.1", "no rule allows it"), ("10.8.0.6", "a rule excludes it"),
                         ("127.0.0.1", "such an address needs a rule of its own"),
                         ("::ffff:10.8.0.5", "an IPv4 address inside IPv6 is not accepted")):
        same(trunk.failed(trunk.ask(host, 22)), (DENIED, 13, wanted))
        same(trunk.audit()[2:], ("denied", 0, 0))
    same(trunk.failed(trunk.ask(V4, 0))[::2], (DENIED, "there is no port 0"))
    try:
        for change, reason in ((lambda: allow("10.9.0.0/16"), "no rule allows it"),
                               (lambda: allow("10.8.0.0/16", "rubbish"), "line 2 is bad"),
                               (lambda: os.unlink("/etc/dvpn/allow"), "can't be read")):
            change()
            wait_for(lambda r=reason: r in trunk.failed_or_closed(port), reason)
    finally:
        allow(*RULES)
    wait_for(lambda: not trunk.failed_or_closed(port), "the old rules")
    trunk.close()
    server.close()


def failed_or_closed(trunk, port):
    """Why a stream could not be opened, or "" when it was, and was reset."""
    stream = trunk.ask(V4, port)
    kind, _, payload = trunk.frame()
    if kind == OPENED:
        trunk.send(RESET, stream, b"\5")
        return ""
    same((kind, payload[0]), (FAILED, DENIED))
    return payload[4:].decode()


Trunk.failed_or_closed = failed_or_closed


def t_near_resets_while_connecting():
    """a stream is given up while it connects, and its slot used anew"""
    trunk = Trunk()
    server, port = full_server()
    stream = trunk.ask(V4, port, early=b"y" * 5000)
    trunk.send(RESET, stream, b"\5")
    same(trunk.audit()[2], "reset")
    second, connection = trunk.connect(stream=stream + (1 << 16))
    trunk.send(DATA, second, b"new")
    same(connection.recv(10), b"new")
    trunk.close()
    for listening in server:
        listening.close()


# ---- bytes ----

def t_bytes_both_ways():
    """8 MB each way at once arrive whole, over every kind of descriptors"""
    up, down = pattern(8 * MEGABYTE, 1), pattern(8 * MEGABYTE, 2)
    for kind in KINDS:
        trunk = Trunk(kind)
        stream, connection = trunk.connect()
        tasks = Task(read_all, connection), Task(finish, connection, down)
        flow = Flow(trunk, stream, up, WINDOW)
        flow.is_open = True
        carry(trunk, [flow])
        assert tasks[0].result() == up and bytes(flow.down) == down, kind
        tasks[1].result()
        same(trunk.audit()[2:], ("ok", len(up), len(down)), kind)
        trunk.close()


def finish(connection, data):
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def t_any_cut():
    """streams in frames of any length, written in pieces of any length, keep their bytes"""
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"# SEED={seed}")
    dice = random.Random(seed)
    for kind in KINDS:
        trunk = Trunk(kind)
        whole = trunk.write
        trunk.write = lambda data, w=whole: [w(piece) for piece in cut(dice, data)]
        flows, tasks = [], []
        for number_of in range(dice.randrange(2, 9)):
            server, port = listen()
            up, down = (pattern(dice.choice((0, 1, 500, 100000, 700000)), dice.randrange(99))
                        for _ in range(2))
            early = min(len(up), dice.choice((0, 1, 9000, CREDIT_FIRST)))
            flow = Flow(trunk, trunk.ask(V4, port, early=up[:early]), up, CREDIT_FIRST - early)
            flow.sent = early
            flows.append(flow)
            connection = accept(server)
            tasks.append((up, down, Task(read_all, connection), Task(finish, connection, down)))
            assert number_of < 9
        carry(trunk, flows, lambda: dice.choice((1, 7, 300, 5000, 32692)))
        for flow, (up, down, upload, download) in zip(flows, tasks):
            assert upload.result() == up and bytes(flow.down) == down, f"SEED={seed} {kind}"
            download.result()
        trunk.close()


def cut(dice, data):
    """In pieces; a few of them short."""
    begin = 0
    while begin < len(data):
        size = dice.choice((1, 2, 7, 60000, 60000, 60000))
        yield data[begin:begin + size]
        begin += size


def t_byte_by_byte():
    """frames that come a byte at a time are frames"""
    trunk = Trunk(greet=False)
    server, port = listen()
    stream = trunk.new()
    for byte in (frame(HELLO, 0, hello()) + frame(77, 5, b"unknown") +
                 frame(OPEN, stream, open_payload(V4, port, early=b"slow")) +
                 frame(DATA, stream, b"ly") + frame(EOF, stream, b"")):
        trunk.write(bytes([byte]))
    trunk.greeted()
    same(read_all(accept(server)), b"slowly")
    trunk.close()


def t_credit_in_quarters():
    """credit is given back when a quarter of it has gone on to the server"""
    trunk = Trunk()
    stream, connection = trunk.connect()
    trunk.send(DATA, stream, bytes(32692))
    same(len(connection.recv(32692, socket.MSG_WAITALL)), 32692)
    trunk.silent()
    trunk.send(DATA, stream, bytes(32692))
    trunk.send(DATA, stream, bytes(WINDOW // 4 - 2 * 32692))
    same(trunk.expect(CREDIT, stream), number(WINDOW // 4))
    trunk.close()


def t_window_grows():
    """an upload that its credit holds up, a round trip long, gets more of it"""
    trunk = Trunk()
    stream, connection = trunk.connect()
    up = pattern(24 * MEGABYTE)
    receiving = Task(read_all, connection)
    flow = Flow(trunk, stream, up, WINDOW)
    flow.is_open = True
    connection_sends_nothing = Task(connection.shutdown, socket.SHUT_WR)
    while not flow.done():
        while flow.push():
            pass
        time.sleep(0.02)  # the round trip: what came meanwhile is seen now
        for kind, at, payload in trunk.frames():
            same(at, stream)
            flow.take(kind, payload)
    connection_sends_nothing.result()
    assert receiving.result() == up
    assert 2 * WINDOW <= flow.largest_window <= 16 * MEGABYTE, flow.largest_window
    trunk.close()


# ---- ends ----

def t_ends():
    """each side ends first, or both at once; what the other still sends arrives"""
    trunk = Trunk()
    more = pattern(100000)
    stream, connection = trunk.connect()
    trunk.send(DATA, stream, b"question")
    trunk.send(EOF, stream)
    same(read_all(connection), b"question")
    connection.sendall(more)
    connection.close()
    same(trunk.data(stream, len(more)), more)
    trunk.expect(EOF, stream)
    same(trunk.audit()[2:], ("ok", 8, len(more)))

    stream, connection = trunk.connect()
    connection.sendall(b"banner")
    connection.shutdown(socket.SHUT_WR)
    same(trunk.expect(DATA, stream), b"banner")
    trunk.expect(EOF, stream)
    receiving = Task(read_all, connection)
    flow = Flow(trunk, stream, more, WINDOW)
    flow.is_open = flow.end_came = True
    carry(trunk, [flow])
    assert receiving.result() == more
    same(trunk.audit()[2:], ("ok", len(more), 6))

    stream, connection = trunk.connect()
    connection.shutdown(socket.SHUT_WR)
    trunk.send(EOF, stream)
    same(read_all(connection), b"")
    trunk.expect(EOF, stream)
    same(trunk.audit()[2:], ("ok", 0, 0))
    trunk.close()


def t_slot_is_free_after_both_ends():
    """after both EOFs the slot takes another stream, while the first one's server
    still takes its last bytes"""
    trunk = Trunk()
    stream, slow = trunk.connect()
    slow.shutdown(socket.SHUT_WR)
    trunk.expect(EOF, stream)
    up = pattern(12 * MEGABYTE)
    flow = Flow(trunk, stream, up, WINDOW)
    flow.is_open = flow.end_came = True
    push_until_stalled(trunk, flow)
    sent = flow.sent
    trunk.send(EOF, stream)
    last = stream
    for _ in range(3):
        last += 1 << 16
        _, connection = trunk.connect(stream=last)
        trunk.send(DATA, last, b"next")
        same(connection.recv(10), b"next")
        trunk.send(EOF, last)
        connection.close()
        trunk.expect(EOF, last)
    assert read_all(slow) == up[:sent]
    results = [trunk.audit()[2:] for _ in range(4)]
    same(results[:3] + results[3:], [("ok", 4, 0)] * 3 + [("ok", sent, 0)])
    trunk.close()


# ---- resets ----

def t_server_resets():
    """a server's reset: idle, with bytes before it, after its end, under an upload"""
    trunk = Trunk()
    stream, connection = trunk.connect()
    reset(connection)
    same(trunk.was_reset(stream), PEER_RESET)
    same(trunk.audit()[2:], ("reset", 0, 0))

    stream, connection = trunk.connect()
    connection.sendall(b"cut sho")
    reset(connection)
    same(trunk.expect(DATA, stream), b"cut sho")
    same(trunk.was_reset(stream), PEER_RESET)

    stream, connection = trunk.connect()
    connection.shutdown(socket.SHUT_WR)
    trunk.expect(EOF, stream)
    reset(connection)
    same(trunk.was_reset(stream), PEER_RESET)

    for _ in range(20):
        stream, connection = trunk.connect()
        for _ in range(8):
            trunk.send(DATA, stream, b"z" * 30000)
        connection.recv(1)
        reset(connection)
        trunk.send(DATA, stream, b"z" * 10000)
        same(trunk.was_reset(stream), PEER_RESET)
    trunk.send(DATA, stream, b"late")
    trunk.send(EOF, stream)
    trunk.still_alive()
    trunk.close()


def t_server_resets_behind_a_window():
    """what a server sent before its reset comes first, when there is credit for it"""
    trunk = Trunk()
    stream, connection = trunk.connect(credit=1000)
    connection.sendall(pattern(5000))
    same(len(trunk.expect(DATA, stream)), 1000)
    for _ in range(4):
        trunk.send(DATA, stream, b"w" * 1000)
    wait_for(lambda: unread(connection) == 4000, "the upload")
    reset(connection)
    trunk.silent()
    trunk.send(DATA, stream, b"into the void")
    trunk.silent()
    trunk.send(CREDIT, stream, number(100000))
    same(len(trunk.expect(DATA, stream)), 4000)
    same(trunk.was_reset(stream), PEER_RESET)
    trunk.close()


def unread(connection):
    return len(connection.recv(1 << 20, socket.MSG_PEEK | socket.MSG_DONTWAIT))


def t_near_resets():
    """the near side's RESET is the server's reset: idle, uploading, downloading, after
    an end of either side"""
    def uploading(trunk, stream, _connection):
        trunk.send(DATA, stream, b"half a fi")

    def queued(trunk, stream, _connection):
        flow = Flow(trunk, stream, pattern(12 * MEGABYTE), WINDOW)
        flow.is_open = True
        push_until_stalled(trunk, flow)

    def downloading(_trunk, _stream, connection):
        flood(connection)

    def server_ended(trunk, stream, connection):
        connection.shutdown(socket.SHUT_WR)
        trunk.expect(EOF, stream)

    trunk = Trunk()
    for before in (None, uploading, queued, server_ended, downloading):
        stream, connection = trunk.connect()
        if before:
            before(trunk, stream, connection)
        trunk.send(RESET, stream, b"\5gone")
        assert is_cut(connection), f"{before}: the server saw a clean end"
        same(trunk.audit()[2], "reset", str(before))
        if before is downloading:
            break
        trunk.send(EOF, stream)
        trunk.still_alive()
    trunk.close()


def t_near_resets_after_its_end():
    """after the near side's EOF the server sees the end, then the reset"""
    trunk = Trunk()
    stream, connection = trunk.connect()
    trunk.send(DATA, stream, b"whole")
    trunk.send(EOF, stream)
    same(read_all(connection), b"whole")
    trunk.send(RESET, stream, b"\5")
    wait_for(lambda: write_fails(connection), "a reset")
    trunk.close()


def write_fails(connection):
    try:
        connection.send(b"x")
        return False
    except (BrokenPipeError, ConnectionResetError):
        return True


def t_trunk_ends():
    """however the trunk ends, servers see a reset after what was sent before"""
    def hang_up(trunk):
        trunk.hang_up()
        same(trunk.exit(), 0)

    def vanish(trunk):
        for end in getattr(trunk, "kept", ()):
            end.close()
        if trunk.kind == "pipes":
            os.close(trunk.into)
            os.close(trunk.out)
        same(trunk.exit(), 0)

    def kill(trunk):
        trunk.process.kill()
        trunk.process.wait(PATIENCE)

    for kind in KINDS:
        for end in (hang_up, vanish, kill):
            trunk = Trunk(kind)
            stream, first = trunk.connect()
            _, second = trunk.connect()
            trunk.send(DATA, stream, b"half a fi")
            if end is kill:
                wait_for(lambda f=first: unread(f) == 9, "the bytes")
            end(trunk)
            same(first.recv(9, socket.MSG_WAITALL), b"half a fi", f"{kind} {end}")
            assert is_reset(first) and is_reset(second), f"{kind} {end}: a clean end"


def t_last_words():
    """what the near side sent right before it went is passed on, ahead of the reset, when
    the input ends alone and when everything does"""
    for kind in KINDS:
        for end in ("end_input", "hang_up"):
            trunk = Trunk(kind)
            stream, connection = trunk.connect()
            words = pattern(55000 if kind == "pipes" else 160000)
            trunk.process.send_signal(signal.SIGSTOP)
            for at in range(0, len(words), 32000):
                trunk.send(DATA, stream, words[at:at + 32000])
            getattr(trunk, end)()
            trunk.process.send_signal(signal.SIGCONT)
            same(trunk.exit(), 0, f"{kind} {end}")
            same(trunk.audit()[2:], ("reset", len(words), 0), f"{kind} {end}")
            # A kernel that has not sent all yet throws the rest away.
            got = connection.recv(50000, socket.MSG_WAITALL)
            assert got == words[:50000], f"{kind} {end}: {len(got)} bytes came"
            assert is_cut(connection), f"{kind} {end}: a clean end"


def t_near_stops_reading():
    """a near side that has closed its reading end alone is gone, too"""
    for kind in ("sockets", "pipes"):
        trunk = Trunk(kind)
        stream, connection = trunk.connect()
        trunk.send(DATA, stream, b"last words")
        if kind == "pipes":
            os.close(trunk.out)
        else:
            trunk.out_socket.close()
        same(connection.recv(10, socket.MSG_WAITALL), b"last words", kind)
        assert is_reset(connection), kind
        same(trunk.exit(), 0)


main(os.path.abspath(__file__), start)
