# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the tests of the far side share: namespaces of their own for network,
mounts and accounts, TAP, servers, and the near side as sshd would be it.

The test's file is run twice: outside it makes a directory, and removes it in
the end; inside, /etc is a copy, so that accounts and allow files made there
are gone afterwards, and 10.8.0.5 and fd00:8::5 are on the loopback device.
"""
import array
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
NC = os.path.join(BUILD, "chroot", "nc")
V4, V6 = "10.8.0.5", "fd00:8::5"
MEGABYTE = 1 << 20
PATIENCE = 20  # seconds until a wait has failed


def is_static(path):
    return subprocess.run(["ldd", path], capture_output=True).returncode != 0


def jail_nc():
    """The jail's is static even where all else is built with a sanitizer."""
    return NC if is_static(NC) else os.path.join(TOP, "build", "chroot", "nc")


# ---- namespaces ----

def outside(test):
    # Not in /tmp: sshd wants every directory above a jail writable by root alone.
    place = tempfile.mkdtemp(prefix="dvpn-test.", dir="/var/lib")
    os.chmod(place, 0o755)
    child = None

    def stop(number, _frame):
        if child:
            child.send_signal(number)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        child = subprocess.Popen(["unshare", "--mount", "--net", "--propagation", "private",
                                  sys.executable, test],
                                 env=dict(os.environ, FARSIDE_PLACE=place, LC_ALL="C"))
        return child.wait()
    finally:
        shutil.rmtree(place)


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout


def copy_etc(to):
    """Tests beside this one make and remove files in it, and cp minds."""
    for last in (False, False, False, False, True):
        done = subprocess.run(["cp", "-a", "/etc", to], capture_output=True, text=True)
        if done.returncode == 0:
            return
        assert not last, done.stderr
        shutil.rmtree(to)


def inside():
    place = os.environ["FARSIDE_PLACE"]
    copy_etc(place + "/etc")
    run("mount", "--bind", place + "/etc", "/etc")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "dvpn-test", "/run")
    os.makedirs("/run/sshd")
    os.makedirs("/etc/dvpn", exist_ok=True)
    run("ip", "link", "set", "lo", "up")
    for address in (V4 + "/32", "10.8.0.6/32"):
        run("ip", "address", "add", address, "dev", "lo")
    run("ip", "address", "add", V6 + "/128", "dev", "lo", "nodad")
    return place


def main(test, start=None, stop=None):
    """Runs every function t_* of the module __main__, in order, as one case each."""
    if "FARSIDE_PLACE" not in os.environ:
        if os.geteuid():
            sys.exit("this test needs root, for namespaces and chroot: sudo make check")
        sys.exit(outside(test))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    place = inside()
    cases = [f for name, f in vars(sys.modules["__main__"]).items() if name.startswith("t_")]
    failed = 0
    try:
        if start:
            start(place)
        for number, case in enumerate(cases, 1):
            what = " ".join(case.__doc__.split())
            try:
                case()
                print(f"ok {number} - {what}", flush=True)
            except Exception:  # noqa: BLE001: any is a failed case
                failed += 1
                print(f"not ok {number} - {what}")
                print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()),
                      end="", flush=True)
            finally:
                Near.reap()
        print(f"1..{len(cases)}")
    finally:
        if stop:
            stop()
    sys.exit(1 if failed else 0)


# ---- waiting, comparing ----

def same(got, wanted, what=""):
    assert got == wanted, f"{what}: got {got!r}, not {wanted!r}"


def wait_for(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.01)


def pattern(size, seed=1):
    """Bytes that show a loss, a repetition or a shift."""
    return array.array("I", (((i + seed) * 2654435761) & 0xffffffff
                             for i in range(size // 4 + 1))).tobytes()[:size]


# ---- the server ----

def listen(host=V4, backlog=16):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.bind((host, 0))
    server.listen(backlog)
    server.settimeout(PATIENCE)
    return server, server.getsockname()[1]


def accept(server):
    connection, _ = server.accept()
    connection.settimeout(PATIENCE)
    server.close()
    return connection


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_all(connection):
    """Everything up to a clean end; ConnectionResetError when it is none."""
    data = bytearray()
    while True:
        piece = connection.recv(1 << 16)
        if not piece:
            return bytes(data)
        data += piece


def is_reset(connection):
    try:
        read_all(connection)
        return False
    except ConnectionResetError:
        return True


class Task(threading.Thread):
    """A function in a thread of its own; result() waits and raises what it raised."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.function, self.args, self.value, self.error = function, args, None, None
        self.start()

    def run(self):
        try:
            self.value = self.function(*self.args)
        except Exception as error:  # noqa: BLE001: handed to whoever waits
            self.error = error

    def result(self):
        self.join(PATIENCE * 3)
        assert not self.is_alive(), "a transfer hangs"
        if self.error:
            raise self.error
        return self.value


# ---- the near side ----

def read_soon(fd, size):
    ready, _, _ = select.select([fd], [], [], PATIENCE)
    assert ready, f"neither bytes nor an end for {PATIENCE} s"
    return os.read(fd, size)


class Near:
    """
    The netcat with what sshd gives it: "socket": one socketpair for stdin and
    stdout, "sockets": one for each, "pipes".  stderr is a socketpair or a pipe.
    """
    started = []

    def __init__(self, *words, kind="socket", line=None, env=None, login=False, pass_fds=(),
                 program=None):
        program = program or NC
        argv = ["-nc" if login else program] + (["-c", line] if line is not None else list(words))
        self.kind = kind
        if kind == "pipes":
            child_in, self.into = os.pipe()
            self.out, child_out = os.pipe()
            self.err, child_err = os.pipe()
            child = [child_in, child_out, child_err]
        else:
            near, far = socket.socketpair()
            near_out, far_out = (near, far) if kind == "socket" else socket.socketpair()
            near_err, far_err = socket.socketpair()
            self.socket, self.out_socket = near, near_out
            self.into, self.out, self.err = near.fileno(), near_out.fileno(), near_err.fileno()
            self.kept = [near, near_out, near_err]
            child = [far.fileno(), far_out.fileno(), far_err.fileno()]
        self.process = subprocess.Popen(argv, executable=program, stdin=child[0],
                                        stdout=child[1], stderr=child[2], pass_fds=pass_fds,
                                        env=dict(os.environ if env is None else env))
        if kind == "pipes":
            for fd in child:
                os.close(fd)
        else:
            for end in {far, far_out, far_err}:
                end.close()
        self.said = ""
        self.out_open = self.in_open = True
        Near.started.append(self)

    @classmethod
    def reap(cls):
        for near in cls.started:
            if near.process.poll() is None:
                near.process.kill()
                near.process.wait()
        cls.started.clear()

    def write(self, data):
        view = memoryview(data)
        while view:
            view = view[os.write(self.into, view):]

    def read(self, size):
        data = bytearray()
        while len(data) < size:
            piece = read_soon(self.out, min(size - len(data), 1 << 16))
            assert piece, f"stdout ended after {len(data)} of {size} bytes"
            data += piece
        return bytes(data)

    def read_all(self):
        data = bytearray()
        while True:
            try:
                piece = read_soon(self.out, 1 << 16)
            except ConnectionResetError:  # it left input unread
                piece = b""
            if not piece:
                return bytes(data)
            data += piece

    def end_input(self):
        """As sshd does for CHANNEL_EOF."""
        if self.kind == "pipes":
            os.close(self.into)
        else:
            self.socket.shutdown(socket.SHUT_WR)

    def hang_up(self):
        """As sshd does for CHANNEL_CLOSE, or EOF and CLOSE together."""
        if self.kind == "pipes":
            os.close(self.into)
            os.close(self.out)
        else:
            self.socket.shutdown(socket.SHUT_WR)
            self.out_socket.shutdown(socket.SHUT_RD)
            if self.kind == "sockets":
                self.out_socket.shutdown(socket.SHUT_WR)

    def line(self):
        """The next line of stderr, without "dvpn-nc: "."""
        text = b""
        while not text.endswith(b"\n"):
            piece = read_soon(self.err, 1)
            assert piece, f"stderr ended: {text!r}"
            text += piece
        text = text.decode()
        assert text.startswith("dvpn-nc: "), text
        return text[len("dvpn-nc: "):-1]

    def rest(self):
        """All that is left of stderr, as lines."""
        data = b""
        while True:
            piece = read_soon(self.err, 4096)
            if not piece:
                return data.decode().splitlines()
            data += piece

    def exit(self):
        return self.process.wait(PATIENCE)

    def cpu(self):
        """Seconds of CPU so far."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def switches(self):
        """How often it went to sleep: a loop that polls in vain shows here."""
        with open(f"/proc/{self.process.pid}/status") as status:
            for text in status:
                if text.startswith("voluntary"):
                    return int(text.split()[1])
        raise AssertionError("no count of context switches")


# ---- stalls ----

def flood(connection):
    """Sends until nobody takes more.  What was taken."""
    connection.setblocking(False)
    data, sent, quiet = pattern(16 * MEGABYTE), 0, time.monotonic()
    while time.monotonic() - quiet < 0.3:
        try:
            sent += connection.send(data[sent:sent + 65536])
            quiet = time.monotonic()
        except BlockingIOError:
            select.select([], [connection], [], 0.05)
    connection.settimeout(PATIENCE)
    assert 0 < sent < len(data), sent
    return data[:sent]


def settle_and_watch(near):
    """It uses no CPU, and hardly wakes up, during one second."""
    time.sleep(0.2)
    cpu, switches = near.cpu(), near.switches()
    time.sleep(1)
    assert near.cpu() - cpu <= 0.03, f"{near.cpu() - cpu} s of CPU in one second"
    assert near.switches() - switches <= 5, f"woke {near.switches() - switches} times"


def allow(*rules):
    with open("/etc/dvpn/allow.new", "w") as file:
        file.write("".join(rule + "\n" for rule in rules))
    os.rename("/etc/dvpn/allow.new", "/etc/dvpn/allow")
