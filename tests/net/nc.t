#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The far netcat by itself, between real TCP servers and a near side that
behaves as sshd does: its forms, its answers, and how a flow ends."""
import os
import re
import select
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from farside import (MEGABYTE, NC, V4, V6, Near, Task, accept, allow, flood, is_reset, is_static,
                     listen, main, pattern, read_all, reset, run, same, settle_and_watch, wait_for)

KINDS = ("socket", "sockets", "pipes")
RULES = ("!10.8.0.6 1-1023", "10.8.0.0/16", "fd00:8::/48", "10.99.0.0/16")


def start(_place):
    allow(*RULES)


def connected(kind="socket", host=V4):
    server, port = listen(host)
    near = Near("-v", "-N", host, str(port), kind=kind)
    connection = accept(server)
    same(near.line(), f"connected {host} {port}")
    return near, connection


def refused_form(status, wanted, *words, **options):
    near = Near(*words, **options)
    same(near.exit(), status, f"status of {words} {options}")
    lines = near.rest()
    same(len(lines), 1, f"lines of {words} {options}: {lines}")
    assert re.match(wanted, lines[0]), lines


# ---- forms ----

def t_forms_accepted():
    """direct, login shell and forced command reach the server"""
    server, port = listen()
    line = f"nc -v -N {V4} {port}"
    bare = dict(os.environ, SSH_ORIGINAL_COMMAND=line)
    other = dict(os.environ, SSH_ORIGINAL_COMMAND="nc 10.99.0.1 1")
    forms = [
        dict(line=line), dict(line=f" /any/where/else-1\t{V4}  {port} ", login=True),
        dict(line="/bin/nc", env=bare), dict(env=bare),
        # A forced command that names its destination keeps it.
        dict(line=line, env=other),
    ]
    for options in forms:
        near = Near(**options)
        connection, _ = server.accept()
        same(near.line(), f"connected {V4} {port}", str(options))
        connection.close()
        same(near.rest(), ["dvpn-nc: end"], str(options))
        near.end_input()
        same(near.exit(), 0, str(options))
    near = Near(V4, str(port))
    server.accept()[0].close()
    near.end_input()
    same(near.exit(), 0)


def t_forms_refused():
    """everything else is answered with one usage line and status 64"""
    usage = r"dvpn-nc: usage: nc \[-v\] \[-N\] HOST PORT \| nc -T 1: "
    for line in ("nc -T 2", "sh -c id", "id; nc 10.8.0.5 80", "nc localhost 80", "nc 10.8.0.5 0",
                 "nc -l 80", "nc -e /bin/sh 10.8.0.5 80", "nc ::ffff:10.8.0.5 80",
                 "nc 10.8.0.5 80 > /x", "scp -t /", "nc --check-allow", "x" * 5000,
                 "nc 10.8.0.5 80\nnc 10.8.0.5 81"):
        refused_form(64, usage, line=line)
        refused_form(64, usage, line="/bin/nc", env=dict(SSH_ORIGINAL_COMMAND=line))
    refused_form(64, usage, "-T")
    refused_form(64, usage, "10.8.0.5 80")
    refused_form(64, usage, "-c")
    refused_form(64, usage, "-c", "nc 10.8.0.5 80", "more")


def t_login_refused():
    """a login without command gets a friendly line and status 64"""
    refused_form(64, r".*there is no shell to log in to$", login=True)
    refused_form(64, r".*there is no shell to log in to$", line="/usr/lib/openssh/sftp-server")


def t_version():
    """-V and --version answer with the version"""
    for words in (["-V"], ["--version"], ["-c", "nc -V"]):
        assert re.match(r"dvpn-nc \d+\.\d+", run(NC, *words)), words


# ---- destinations ----

def t_connects_over_ipv6():
    """an IPv6 destination is reached"""
    near, connection = connected(host=V6)
    near.write(b"six")
    near.end_input()
    same(read_all(connection), b"six")
    connection.close()
    same(near.exit(), 0)


def t_refused_port():
    """a refused port: status 1 and the reason"""
    server, port = listen()
    server.close()
    refused_form(1, rf"dvpn-nc: refused {V4} {port}: Connection refused$", V4, str(port))


def t_unreachable():
    """no route: status 2 and the reason"""
    refused_form(2, r"dvpn-nc: unreachable 10.99.0.1 80: Network( is)? unreachable$", "10.99.0.1", "80")


def t_timed_out():
    """a server that never answers: status 3 after ten seconds"""
    server, port = listen(backlog=0)
    fillers = []
    # The kernel drops the first packet of whoever comes to a full queue.
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex((V4, port))
        fillers.append(filler)
    begin = time.monotonic()
    refused_form(3, rf"dvpn-nc: timed out {V4} {port}: ", V4, str(port))
    assert 9 < time.monotonic() - begin < 14, time.monotonic() - begin
    for filler in fillers:
        filler.close()
    server.close()


def t_near_leaves_while_connecting():
    """the near side's hang-up ends an attempt at once"""
    server, port = listen(backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex((V4, port))
    near = Near(V4, str(port))
    wait_for(lambda: f"{port:04X} 02" in sockets_of(port), "a connect under way")
    near.hang_up()
    begin = time.monotonic()
    same(near.exit(), 5)
    assert time.monotonic() - begin < 5


def sockets_of(port):
    """Remote port and state of the TCP sockets that go there; 02 is SYN-SENT."""
    with open("/proc/net/tcp") as table:
        rows = [row.split() for row in table][1:]
    return [f"{r[2].split(':')[1]} {r[3]}" for r in rows if r[2].endswith(f":{port:04X}")]


def t_denied():
    """what no rule allows: status 4, and nothing is sent"""
    server, port = listen("127.0.0.1")
    server.settimeout(0.2)
    allow("0.0.0.0/0", "::/0")
    try:
        for host in ("127.0.0.1", "0.0.0.0", "::1", "169.254.1.1", "224.0.0.1", "ff02::1"):
            refused_form(4, rf"dvpn-nc: denied {host} {port}: such an address needs a rule",
                         host, str(port))
        try:
            server.accept()
            raise AssertionError("a denied connection came")
        except TimeoutError:
            pass
        allow("127.0.0.1 %d" % port)
        near = Near("127.0.0.1", str(port))
        server.accept()[0].close()
        near.end_input()
        same(near.exit(), 0)
    finally:
        allow(*RULES)
    refused_form(4, r"dvpn-nc: denied 192.0.2.1 80: no rule allows it$", "192.0.2.1", "80")
    refused_form(4, r"dvpn-nc: denied 10.8.0.6 22: a rule excludes it$", "10.8.0.6", "22")


def t_allow_file_fails_closed():
    """no allow file, an unreadable one, or one bad line: nothing is allowed"""
    try:
        allow("10.8.0.0/16", "secret-host.example 80")
        refused_form(4, rf"dvpn-nc: denied {V4} 80: /etc/dvpn/allow line 2 is bad, so nothing is "
                     r"allowed: (?!.*secret)", V4, "80")
        allow("10.8.0.0/16", "# " + "x" * 70000)
        refused_form(4, r"dvpn-nc: denied .* can't be read, so nothing is allowed", V4, "80")
        os.unlink("/etc/dvpn/allow")
        refused_form(4, r"dvpn-nc: denied .*can't be read.*: No such file", V4, "80")
        os.mkfifo("/etc/dvpn/allow")
        refused_form(4, r"dvpn-nc: denied .*can't be read", V4, "80")
    finally:
        allow(*RULES)


def t_check_allow():
    """--check-allow judges a file, and one destination"""
    same(run(NC, "--check-allow"), f"{len(RULES)} rules\n")
    same(run(NC, "--check-allow", "/etc/dvpn/allow", V4, "80"), "allowed by line 2\n")
    refused_form(4, r"dvpn-nc: denied 10.8.0.6: a rule excludes it", "--check-allow",
                 "/etc/dvpn/allow", "10.8.0.6", "80")
    refused_form(4, r"dvpn-nc: denied: .*can't be read", "--check-allow", "/nowhere")
    refused_form(64, r"dvpn-nc: usage: ", "--check-allow", "/etc/dvpn/allow", V4)


# ---- bytes and ends ----

def t_both_ways_at_once():
    """8 MB each way at once arrive whole, over every kind of descriptors"""
    up, down = pattern(8 * MEGABYTE, 1), pattern(8 * MEGABYTE, 2)
    for kind in KINDS:
        near, connection = connected(kind)
        tasks = [Task(connection.sendall, down), Task(near.write, up)]
        receiving = Task(read_all, connection)
        assert near.read(len(down)) == down, kind
        for task in tasks:
            task.result()
        near.end_input()
        assert receiving.result() == up, kind
        connection.close()
        same(near.read_all(), b"", kind)
        same(near.rest(), ["dvpn-nc: end"], kind)
        same(near.exit(), 0, kind)


def t_near_ends_first():
    """the near side's end travels alone; the answer comes after it"""
    for kind in KINDS:
        near, connection = connected(kind)
        near.write(b"question")
        near.end_input()
        same(read_all(connection), b"question", kind)
        answer = pattern(2 * MEGABYTE)
        sending = Task(lambda c=connection, a=answer: (c.sendall(a), c.close()))
        assert near.read_all() == answer, kind
        sending.result()
        same(near.rest(), ["dvpn-nc: end"], kind)
        same(near.exit(), 0, kind)


def t_server_ends_first():
    """the server's end closes stdout and stderr, after "end"; then the near
    side still sends"""
    for kind in KINDS:
        near, connection = connected(kind)
        connection.sendall(b"all there is")
        connection.shutdown(socket.SHUT_WR)
        same(near.read_all(), b"all there is", kind)
        same(near.rest(), ["dvpn-nc: end"], kind)
        same(near.process.poll(), None, kind)
        more = pattern(2 * MEGABYTE)
        receiving = Task(read_all, connection)
        near.write(more)
        near.end_input()
        assert receiving.result() == more, kind
        same(near.exit(), 0, kind)


def t_end_follows_the_bytes():
    """"end" is not said before stdout took every byte"""
    near, connection = connected()
    sent = pattern(4 * MEGABYTE)
    sending = Task(lambda: (connection.sendall(sent), connection.close()))
    ready, _, _ = select.select([near.err], [], [], 0.5)
    same(ready, [])
    assert near.read_all() == sent
    sending.result()
    same(near.rest(), ["dvpn-nc: end"])
    near.end_input()
    same(near.exit(), 0)


# ---- resets ----

def t_server_resets():
    """a server's reset: status 5, what came before it is delivered, no "end" """
    for kind in KINDS:
        near, connection = connected(kind)
        connection.sendall(b"cut sho")
        same(near.read(7), b"cut sho", kind)
        reset(connection)
        same(near.read_all(), b"", kind)
        same(near.rest(), ["dvpn-nc: reset"], kind)
        same(near.exit(), 5, kind)


def t_server_resets_what_is_written():
    """a reset that a write runs into is no clean end either"""
    for _ in range(20):
        near, connection = connected()
        writing = Task(near.write, pattern(MEGABYTE))
        connection.recv(1)
        reset(connection)
        same(near.read_all(), b"")
        same(near.rest(), ["dvpn-nc: reset"])
        same(near.exit(), 5)
        try:
            writing.result()
        except (BrokenPipeError, ConnectionResetError):
            pass


def t_server_resets_after_its_end():
    """a reset after the server's clean end: status 5"""
    near, connection = connected()
    connection.shutdown(socket.SHUT_WR)
    same(near.read_all(), b"")
    same(near.rest(), ["dvpn-nc: end"])
    reset(connection)
    same(near.exit(), 5)


def t_server_resets_a_stalled_reader():
    """a reset behind a stalled reader does not spin, loses nothing, and is
    told in the end"""
    near, connection = connected()
    sent = flood(connection)
    reset(connection)
    settle_and_watch(near)
    got = near.read_all()
    assert sent[:len(got)] == got and len(got) > 100000, len(got)
    same(near.rest(), ["dvpn-nc: reset"])
    same(near.exit(), 5)


def near_reset(kind, before=None, after_ms=0):
    near, connection = connected(kind)
    if before:
        before(near, connection)
    if after_ms:
        near.end_input()
        time.sleep(after_ms / 1000)
        near.out_socket.shutdown(socket.SHUT_RD)
    else:
        near.hang_up()
    assert is_reset(connection), f"{kind}: the server saw a clean end"
    same(near.exit(), 5, kind)


def t_near_resets():
    """the near side's hang-up is a reset to the server: idle, or with bytes under way"""
    def unread_upload(near, connection):
        Task(near.write, pattern(64 * MEGABYTE))
        connection.recv(1)

    def unread_download(near, connection):
        flood(connection)
        near.read(1)

    def short_upload(near, connection):
        near.write(b"half a fi")

    for kind in KINDS:
        near_reset(kind)
        near_reset(kind, short_upload)
        near_reset(kind, unread_download)
    for kind in ("socket", "sockets"):
        near_reset(kind, unread_upload)


def t_near_resets_in_two_steps():
    """the two halves of a hang-up may come ten milliseconds apart"""
    near_reset("socket", after_ms=10)
    near_reset("sockets", after_ms=10)


def t_near_resets_after_its_end():
    """a hang-up after a clean end of input: the server sees the end, then the reset"""
    for kind in KINDS:
        near, connection = connected(kind)
        near.write(b"whole")
        near.end_input()
        same(read_all(connection), b"whole", kind)
        if kind == "pipes":
            os.close(near.out)
        else:
            near.out_socket.shutdown(socket.SHUT_RDWR)
        # After its end, the server learns of the reset by writing.
        wait_for(lambda c=connection: write_fails(c), f"{kind}: a reset")
        same(near.exit(), 5, kind)


def write_fails(connection):
    try:
        connection.send(b"x")
        return False
    except (BrokenPipeError, ConnectionResetError):
        return True


def t_near_vanishes():
    """the near side's descriptors are closed, as when sshd dies"""
    near, connection = connected()
    near.write(b"half a fi")
    for end in near.kept:
        end.close()
    assert is_reset(connection), "the server saw a clean end"
    same(near.exit(), 5)


# ---- stalls ----

def t_idle():
    """an idle connection costs no CPU"""
    near, _connection = connected()
    settle_and_watch(near)


def t_stalled_reader():
    """a near side that does not read costs no CPU, and gets every byte later"""
    for kind in KINDS:
        near, connection = connected(kind)
        sent = flood(connection)
        settle_and_watch(near)
        connection.close()
        settle_and_watch(near)
        near.end_input()
        settle_and_watch(near)
        assert near.read_all() == sent, kind
        same(near.rest(), ["dvpn-nc: end"], kind)
        same(near.exit(), 0, kind)


def t_stalled_server():
    """a server that does not read costs no CPU, and gets every byte later"""
    for kind in ("socket", "sockets"):
        near, connection = connected(kind)
        sent = flood(near.socket)
        settle_and_watch(near)
        near.end_input()
        settle_and_watch(near)
        receiving = Task(read_all, connection)
        assert receiving.result() == sent, kind
        connection.close()
        same(near.rest(), ["dvpn-nc: end"], kind)
        same(near.exit(), 0, kind)


# ---- what it gives up ----

def t_closes_inherited_descriptors():
    """of the descriptors that it inherits it keeps 0, 1 and 2"""
    inherited = [os.open("/etc/passwd", os.O_RDONLY) for _ in range(3)]
    server, port = listen()
    near = Near(V4, str(port), pass_fds=inherited)
    _connection = accept(server)  # kept open
    near.line()
    directory = f"/proc/{near.process.pid}/fd"
    links = {fd: os.readlink(f"{directory}/{fd}") for fd in os.listdir(directory)}
    same(len(links), 4, str(links))
    assert not any("passwd" in link for link in links.values()), links
    for fd in inherited:
        os.close(fd)


def t_gives_up_privileges():
    """no new privileges, no core files, no further system calls"""
    near, connection = connected()
    near.write(b"x")  # the answer comes from inside the loop, behind the fence
    connection.recv(1)
    with open(f"/proc/{near.process.pid}/status") as status:
        fields = dict(row.split(":\t") for row in status.read().splitlines() if ":\t" in row)
    same(fields["NoNewPrivs"], "1")
    if is_static(NC) and os.uname().machine in ("x86_64", "aarch64"):
        same(fields["Seccomp"], "2")
    with open(f"/proc/{near.process.pid}/limits") as limits:
        assert re.search(r"Max core file size +0 +0 ", limits.read())


main(os.path.abspath(__file__), start)
