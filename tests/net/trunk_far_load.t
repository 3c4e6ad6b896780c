#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The far side of a trunk under adversity: near sides that break the rules, sides
that stand still, and many streams at once."""
import os
import re
import resource
import select
import shutil
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from farside import (MEGABYTE, NC, PATIENCE, V4, Task, allow, flood, is_reset, is_static, jail_nc,
                     listen, main, pattern, read_all, same, settle_and_watch)
from trunkside import (CREDIT, CREDIT_FIRST, DATA, EOF, FAILED, FRAME_PAYLOAD, GOAWAY, HELLO, KINDS,
                       NAMES, OPEN, OPENED, PING, PONG, RESET, RULES, WINDOW, Flow, Trunk, frame,
                       hello, is_cut, number, open_payload, push_until_stalled)

SELF = sys.modules["__main__"]


def start(place):
    SELF.place = place
    allow(*RULES)


# ---- what must not come ----

def t_not_a_trunk():
    """what begins with no HELLO gets GOAWAY, a line, and status 64"""
    for what, why in ((b"GET / HTTP/1.1\r\n\r\n", "no HELLO"), (b"\0" * 8, "no HELLO"),
                      (b"SSH-2.0-OpenSSH_9.2\r\n", "no HELLO"),
                      (b"\1\0\xff\xff\0\0\0\0", "too long"),
                      (frame(OPEN, 65537, open_payload(V4, 80)), "no HELLO"),
                      (frame(HELLO, 0, hello(magic=b"dvpm")), "another protocol"),
                      (frame(HELLO, 0, hello(version=0)), "another protocol"),
                      (frame(HELLO, 0, hello(name=b"")[:15]), "another protocol")):
        trunk = Trunk(greet=False)
        trunk.write(what)
        trunk.broken(why, status=64)


def t_no_hello():
    """half a minute without HELLO, however it drips, is enough"""
    trunk = Trunk(greet=False)
    begin = time.monotonic()
    for byte in frame(HELLO, 0, hello())[:6]:
        trunk.write(bytes([byte]))
        time.sleep(1)
    trunk.raw_frame()
    payload = trunk.raw_frame(seconds=40)
    same((payload[0], payload[2]), (GOAWAY, b"no HELLO came"))
    same(trunk.exit(), 64)
    assert 28 < time.monotonic() - begin < 36


def violations(stream):
    """Frames that end a trunk in which `stream` is open, and the reason."""
    fresh = 1 << 16 | 999
    good = open_payload(V4, 80)
    return [
        (frame(HELLO, 0, hello()), "HELLO a second time"),
        (frame(OPEN, stream + (1 << 16), good), "slot that is in use"),
        (frame(OPEN, stream, good), "slot that is in use"),
        (frame(OPEN, 999, good), "generation 0"),
        (frame(OPEN, 0, good), "generation 0"),
        (frame(OPEN, fresh, good[:43]), "too short"),
        (frame(OPEN, fresh, b"\5" + good[1:]), "unknown family"),
        (frame(OPEN, fresh, open_payload(V4, 80, credit=(1 << 30) + 1)), "more credit"),
        (frame(OPEN, fresh, good + b"e" * (CREDIT_FIRST + 1)), "more early data"),
        (frame(OPENED, stream, number(0)), "only the far side"),
        (frame(FAILED, stream, b"\1\0\0\0"), "only the far side"),
        (frame(OPEN, fresh, good) + frame(DATA, fresh, b"d" * (CREDIT_FIRST + 1)),
         "DATA beyond the credit"),
        (frame(OPEN, fresh, good + b"e") + frame(DATA, fresh, b"d" * CREDIT_FIRST),
         "DATA beyond the credit"),
        (frame(EOF, stream) + frame(DATA, stream, b"d"), "DATA after EOF"),
        (frame(EOF, stream) + frame(EOF, stream), "EOF a second time"),
        (frame(CREDIT, stream, number(1 << 30)), "CREDIT beyond"),
        (frame(CREDIT, stream, number(0xffffffff)), "CREDIT beyond"),
        (frame(CREDIT, stream, b"abc"), "CREDIT is too short"),
        (frame(PING, 0, b"p" * 65), "PING is too long"),
        (frame(PONG, 0, b"p" * 8), "PONG without PING"),
        (bytes([DATA, 0, 0x7f, 0xb5]) + number(stream), "a frame is too long"),
        (bytes([99, 0, 0xff, 0xff]) + number(0), "a frame is too long"),
    ]


def t_violations():
    """each frame that must not be ends the trunk with GOAWAY and status 65; servers
    see a reset"""
    for i in range(len(violations(0))):
        trunk = Trunk(KINDS[i % 3])
        stream, connection = trunk.connect()
        bad, why = violations(stream)[i]
        trunk.write(frame(DATA, stream, b"ok") + bad)
        trunk.broken(why)
        same(connection.recv(2), b"ok", why)
        # Where EOF came first, that is what the server saw.
        assert is_reset(connection) or " EOF" in why or why.startswith("EOF"), why


def t_ignored():
    """frames of unknown kinds, or for streams that are gone or never were"""
    trunk = Trunk()
    stream, connection = trunk.connect()
    for other in (0, 1, stream + (1 << 16), stream % 65536, 1 << 16 | 4000, 0xffffffff):
        trunk.send(DATA, other, b"d" * 30000)
        trunk.send(CREDIT, other, number(0xffffffff))
        trunk.send(EOF, other)
        trunk.send(EOF, other)
        trunk.send(RESET, other, b"\5")
    trunk.send(GOAWAY, 0, b"no more")
    for kind in (0, 12, 200, 255):
        trunk.send(kind, stream, b"?" * FRAME_PAYLOAD)
    trunk.send(DATA, stream)
    trunk.send(CREDIT, stream, number(0))
    trunk.send(PING, 7, b"")
    same(trunk.frame(), (PONG, 0, b""))
    trunk.send(DATA, stream, b"still")
    same(connection.recv(10), b"still")
    trunk.still_alive()
    trunk.close()


def t_too_many_streams():
    """the descriptors that there are decide how many streams HELLO names; all of
    them work, and one more breaks the trunk"""
    server, port = listen(backlog=4096)
    trunk = limited(80)
    same(trunk.most, 57)
    streams = [trunk.ask(V4, port) for _ in range(trunk.most)]
    for _ in streams:
        same(NAMES[trunk.frame()[0]], "OPENED")
    trunk.send(RESET, streams[3], b"\5")
    trunk.expect(OPENED, trunk.ask(V4, port, stream=streams[3] + (1 << 16)))
    trunk.ask(V4, port)
    trunk.broken("more streams than HELLO allows")


def limited(descriptors):
    """A trunk whose process may have so many."""
    return Trunk(program="/bin/sh", words=("-c", f'ulimit -n {descriptors}; exec "$0" "$@"',
                                           jail_nc()))


def t_lingering_streams_give_way():
    """streams that are over, but whose servers stand still, do not take the place of
    new ones: the server that was still for longest is reset"""
    trunk = limited(80)
    up, slow = pattern(12 * MEGABYTE), []
    for _ in range(9):
        stream, connection = trunk.connect()
        connection.shutdown(socket.SHUT_WR)
        trunk.expect(EOF, stream)
        flow = Flow(trunk, stream, up, WINDOW)
        flow.is_open = flow.end_came = True
        push_until_stalled(trunk, flow)
        trunk.send(EOF, stream)
        slow.append((connection, flow.sent))
    server, port = listen(backlog=4096)
    for _ in range(trunk.most):
        trunk.expect(OPENED, trunk.ask(V4, port))
    same(trunk.most, 57)
    gone = [is_cut(connection) for connection, _ in slow[:2]]
    same(gone, [True, True])
    for connection, sent in slow[2:]:
        assert read_all(connection) == up[:sent]
    trunk.still_alive()
    trunk.close()
    server.close()


# ---- standing still ----

def t_idle():
    """idle streams cost no CPU"""
    trunk = Trunk()
    kept = [trunk.connect() for _ in range(50)]
    settle_and_watch(trunk)
    same(len(kept), 50)
    trunk.close()


def t_stalled_server():
    """a server that stands still costs its window and no CPU; another stream goes at
    full speed meanwhile, and every byte arrives later"""
    for kind in KINDS:
        trunk = Trunk(kind)
        stream, slow = trunk.connect()
        up = pattern(24 * MEGABYTE)
        flow = Flow(trunk, stream, up, WINDOW)
        flow.is_open = True
        push_until_stalled(trunk, flow)
        settle_and_watch(trunk)
        assert trunk.memory() < 20 * MEGABYTE, trunk.memory()

        other, quick = trunk.connect()
        receiving = Task(read_all, quick)
        second = Flow(trunk, other, up, WINDOW)
        begin = time.monotonic()
        while not second.end_sent:
            second.push()
            for _, at, payload in trunk.frames():
                same(at, other)
                second.is_open = True
                second.take(CREDIT, payload)
        assert receiving.result() == up
        assert time.monotonic() - begin < 10, time.monotonic() - begin

        sent = flow.sent
        trunk.send(EOF, stream)
        assert read_all(slow) == up[:sent], kind
        trunk.close()


def t_many_stalled_servers():
    """two hundred servers that stand still: memory stays within what was promised"""
    trunk = Trunk()
    server, port = listen(backlog=4096)
    up = pattern(8 * MEGABYTE)
    flows = [Flow(trunk, trunk.ask(V4, port), up) for _ in range(200)]
    kept = [server.accept()[0] for _ in flows]
    push_until_stalled(trunk, *flows)
    settle_and_watch(trunk)
    limit = sum(flow.sent for flow in flows)
    assert trunk.memory() < min(limit, 256 * MEGABYTE) + 4 * MEGABYTE, (trunk.memory(), limit)
    for flow, connection in zip(flows, kept):
        trunk.send(RESET, flow.stream, b"\5")
        connection.close()
    trunk.still_alive()
    assert trunk.memory() < 24 * MEGABYTE, trunk.memory()
    trunk.close()


def t_stalled_near_side():
    """a near side that does not read costs no CPU and little memory, gets every byte
    later, and is still heard"""
    for kind in KINDS:
        trunk = Trunk(kind)
        flows = [trunk.connect(credit=1 << 28) for _ in range(5)]
        before = trunk.memory()
        sent = [flood(connection) for _, connection in flows]
        settle_and_watch(trunk)
        assert trunk.memory() < before + MEGABYTE // 2, (before, trunk.memory())
        trunk.send(DATA, flows[0][0], b"heard")
        same(flows[0][1].recv(10), b"heard")
        trunk.send(PING, 0, b"first")
        trunk.send(PING, 0, b"last")
        settle_and_watch(trunk)
        for _, connection in flows:
            connection.close()
        got = {stream: bytearray() for stream, _ in flows}
        ended, pongs = set(), []
        while len(ended) < 5:
            what, stream, payload = trunk.frame()
            if what == DATA:
                assert stream not in ended
                got[stream] += payload
            elif what == PONG:
                pongs.append(payload)
            elif what == EOF:
                ended.add(stream)
            else:
                same(NAMES[what], "RESET")  # the server left input unread
                assert stream == flows[0][0]
                ended.add(stream)
        assert pongs and pongs[-1] == b"last", pongs
        for (stream, _), data in zip(flows, sent):
            assert bytes(got[stream]) == data, f"{kind} {hex(stream)}"
        trunk.close()


def t_notices_behind_a_stalled_near_side():
    """thousands of streams fail while the near side does not read: all are told later"""
    trunk = Trunk()
    bulk, connection = trunk.connect(credit=1 << 28)
    sent = len(flood(connection))
    server, port = listen()
    server.close()
    asked = {trunk.ask(V4, port) for _ in range(3000)}
    denied = {trunk.ask("192.0.2.1", 80) for _ in range(3000)}
    answers = {}
    while len(answers) < 6000:
        kind, stream, payload = trunk.frame()
        if kind == DATA:
            sent -= len(payload)
        else:
            same(NAMES[kind], "FAILED")
            assert stream not in answers
            answers[stream] = payload[0]
    same({answers[stream] for stream in asked}, {1})
    same({answers[stream] for stream in denied}, {4})
    assert sent >= 0 and bulk
    trunk.close()


def t_stderr_is_full():
    """nobody reads stderr: nothing waits, and later a line says how many were lost"""
    for kind in ("socket", "pipes"):
        trunk = Trunk(kind)
        for _ in range(4000):
            same(trunk.failed(trunk.ask("192.0.2.1", 80))[0], 4)
        lines = []
        while select.select([trunk.err], [], [], 0.3)[0]:
            lines.append(os.read(trunk.err, 1 << 18))
        got = b"".join(lines).count(b"\n")
        assert 0 < got < 4000, got
        trunk.failed(trunk.ask("192.0.2.1", 80))
        line = trunk.line()
        assert f"({4000 - got} lines were lost)" in line, line
        trunk.failed(trunk.ask("192.0.2.1", 80))
        assert "lost" not in trunk.line()
        trunk.close()


def busy_streams(trunk, count):
    """So many, whose servers have sent more than all buffers take; each is past its
    first bytes, with which every stream goes first."""
    busy = [trunk.connect(credit=1 << 28) for _ in range(count)]
    got = dict.fromkeys((stream for stream, _ in busy), 0)
    for _, connection in busy:
        Task(send_for_ever, connection)
    while min(got.values()) < 100000:
        kind, stream, payload = trunk.frame()
        same(NAMES[kind], "DATA")
        got[stream] += len(payload)
    time.sleep(0.5)
    return busy


def t_keystroke_overtakes_bulk():
    """what a quiet stream says comes before what busy ones have ready"""
    trunk = Trunk()
    quiet, terminal = trunk.connect()
    kept = busy_streams(trunk, 40)
    terminal.sendall(b"k")
    time.sleep(0.3)
    before = 0
    while True:
        kind, stream, payload = trunk.frame()
        if stream == quiet:
            break
        before += len(payload)
    same((kind, payload), (DATA, b"k"))
    assert before < 600000, f"{before} bytes came before a keystroke"
    trunk.close()
    same(len(kept), 40)


def t_fair():
    """busy streams take turns, each a frame"""
    for _ in range(3):
        trunk = Trunk()
        kept = busy_streams(trunk, 4)
        got = dict.fromkeys((stream for stream, _ in kept), 0)
        while sum(got.values()) < 4 * MEGABYTE:
            kind, stream, payload = trunk.frame()
            same(NAMES[kind], "DATA")
            got[stream] += len(payload)
        assert min(got.values()) > 0.6 * max(got.values()), got
        trunk.close()


def send_for_ever(connection):
    data = pattern(MEGABYTE)
    try:
        while True:
            connection.sendall(data)
    except OSError:
        pass


# ---- many ----

def t_ten_thousand():
    """10,000 streams are held, each costs little memory, all of them still work, and
    end; then as many again"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = 10000
    trunk = Trunk("socket")
    assert trunk.most >= count, f"only {trunk.most} streams: raise the limit of open files"
    empty = trunk.memory()
    server, port = listen(backlog=4096)
    for turn in range(2):
        streams, connections, opened = [], [], 0
        for _ in range(count // 100):
            for _ in range(100):
                trunk.slots = trunk.slots % 60000
                streams.append(trunk.ask(V4, port, stream=trunk.new() + (turn << 16), early=b"hi"))
            for _ in range(100):
                connections.append(server.accept()[0])
                opened += trunk.frame()[0] == OPENED
        same(opened, count)
        each = (trunk.memory() - empty) / count
        print(f"# {each:.0f} bytes for each of {count} streams")
        assert each <= 2048, each
        settle_and_watch(trunk)
        by_port = dict.fromkeys(streams, b"")
        for connection in connections:
            connection.sendall(connection.recv(10) + b"!")
            connection.shutdown(socket.SHUT_WR)
        ends = 0
        while ends < count:
            kind, stream, payload = trunk.frame()
            if kind == DATA:
                by_port[stream] += payload
            else:
                same(NAMES[kind], "EOF")
                ends += 1
        same(set(by_port.values()), {b"hi!"})
        for stream in streams:
            trunk.send(EOF, stream)
        trunk.still_alive()
        for connection in connections:
            same(connection.recv(1), b"")
            connection.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    trunk.close()


# ---- what it has and gives up ----

def t_sandbox():
    """no new privileges, system calls of its own alone, no descriptor but its own"""
    trunk = Trunk()
    stream, connection = trunk.connect()
    with open(f"/proc/{trunk.process.pid}/status") as status:
        fields = dict(row.split(":\t") for row in status.read().splitlines() if ":\t" in row)
    same(fields["NoNewPrivs"], "1")
    if is_static(NC) and os.uname().machine in ("x86_64", "aarch64"):
        same(fields["Seccomp"], "2")
    links = os.listdir(f"/proc/{trunk.process.pid}/fd")
    assert len(links) <= 6, links  # in, out, err, epoll, the server, a log
    trunk.send(RESET, stream, b"\5")
    assert is_reset(connection)
    trunk.close()


def t_log_of_the_jail():
    """where the jail has a /dev/log, lines go there, also after it was made anew"""
    jail = SELF.place + "/jail"
    for directory in ("bin", "etc/dvpn", "dev"):
        os.makedirs(f"{jail}/{directory}")
    shutil.copy(jail_nc(), jail + "/bin/nc")
    shutil.copy("/etc/dvpn/allow", jail + "/etc/dvpn/allow")
    log = log_socket(jail)
    trunk = Trunk(program="/usr/sbin/chroot", words=(jail, "/bin/nc"))
    trunk.failed(trunk.ask("192.0.2.1", 80))
    line = log.recv(1000).decode()
    assert re.fullmatch(rf"<30>dvpn-nc\[{trunk.process.pid}\]: 10.7.0.9:4711 -> 192.0.2.1:80: "
                        r"denied, 0 up, 0 down, 0.0 s", line), line
    log.close()
    trunk.failed(trunk.ask("192.0.2.1", 80))
    os.unlink(jail + "/dev/log")
    log = log_socket(jail)
    end = time.monotonic() + PATIENCE
    while not select.select([log], [], [], 0.05)[0]:
        assert time.monotonic() < end, "the new log gets nothing"
        trunk.failed(trunk.ask("192.0.2.1", 80))
    assert "lines were lost" in log.recv(1000).decode()
    trunk.close()


def log_socket(jail):
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind(jail + "/dev/log")
    os.chmod(jail + "/dev/log", 0o666)
    log.settimeout(PATIENCE)
    return log


main(os.path.abspath(__file__), start)
