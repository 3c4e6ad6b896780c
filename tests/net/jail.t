#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The jail as gateways meet it: mkjail builds it, a real sshd lets a real ssh
in, with our netcat, with OpenBSD's and with busybox's."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from farside import (PATIENCE, TOP, V4, V6, Task, accept, is_reset, jail_nc, listen, main, pattern,
                     read_all, reset, run, same, wait_for)

MKJAIL = os.path.join(TOP, "chroot", "mkjail")
USER = f"dvpn-test-{os.getpid()}"
PORT = "2222"
MEGABYTE = 1 << 20


class Lab:
    place = sshd = None


def mkjail(*words, check=True):
    done = subprocess.run([MKJAIL, "--root", Lab.place + "/jail", "--user", USER,
                           "--keys", Lab.place + "/keys", *words],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env=dict(os.environ, NC=jail_nc()))
    if check:
        assert done.returncode == 0, f"mkjail {words}: {done.stdout}{done.stderr}"
    return done


def build(*words):
    return mkjail(*words, "--allow", "!10.8.0.6", "10.8.0.0/16", "fd00:8::/48", "build")


def sshd_start(place):
    stop()
    with open(place + "/sshd_config", "w") as file:
        file.write(f"""Port {PORT}
ListenAddress 127.0.0.1
HostKey {place}/host_key
PidFile none
LogLevel VERBOSE
UsePAM no
Subsystem sftp {Lab.sftp}
""" + mkjail("sshd-config").stdout)
    run("/usr/sbin/sshd", "-t", "-f", place + "/sshd_config")
    with open(place + "/sshd.log", "ab") as log:
        Lab.sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", place + "/sshd_config"],
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_for(answers, "sshd")


def answers():
    try:
        socket.create_connection(("127.0.0.1", int(PORT))).close()
        return True
    except ConnectionRefusedError:
        return False


def start(place):
    Lab.place, Lab.sftp = place, "internal-sftp"
    for name in ("host_key", "key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", f"{place}/{name}")
    build()
    shutil.copy(place + "/key.pub", f"{place}/keys/{USER}")
    with open(place + "/key.pub") as key:
        assert key.read().startswith("ssh-ed25519 ")
    with open(place + "/host_key.pub") as key, open(place + "/known_hosts", "w") as known:
        known.write(f"[127.0.0.1]:{PORT} {key.read()}")
    sshd_start(place)


def stop():
    if Lab.sshd:
        Lab.sshd.terminate()
        Lab.sshd.wait()
        Lab.sshd = None


def options():
    return ["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
            "-o", f"UserKnownHostsFile={Lab.place}/known_hosts", "-i", Lab.place + "/key",
            "-o", f"Port={PORT}"]


def ssh(*words):
    """To its end, with nothing to read."""
    return subprocess.run(["ssh", *options(), f"{USER}@127.0.0.1", *words], timeout=PATIENCE,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)


class Channel:
    """One connection through ssh, kept in files that can be looked at meanwhile."""

    def __init__(self, command, host=V4, verbose=False):
        server, self.port = listen(host)
        self.log = open(f"{Lab.place}/ssh.{self.port}.log", "w+b")
        self.process = subprocess.Popen(
            ["ssh", *(["-vv"] if verbose else []), *options(), f"{USER}@127.0.0.1",
             f"{command} {host} {self.port}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, bufsize=0)
        self.server = accept(server)

    def said(self):
        with open(self.log.name) as log:
            return log.read()

    def write(self, data):
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view):]

    def end_input(self):
        self.process.stdin.close()

    def read_all(self):
        return b"".join(iter(lambda: self.process.stdout.read(65536), b""))

    def exit(self):
        status = self.process.wait(PATIENCE)
        self.process.stdout.close()
        self.log.close()
        return status


# ---- what every netcat must do ----

def both_ways(command, host=V4):
    up, down = pattern(4 * MEGABYTE, 3), pattern(4 * MEGABYTE, 4)
    channel = Channel(command, host)

    def serve():
        channel.server.sendall(down)
        channel.server.shutdown(socket.SHUT_WR)
    # The client ends before the server: no netcat may stop then.
    sending = Task(lambda: (channel.write(up), channel.end_input()))
    got = Task(channel.read_all)
    assert Task(read_all, channel.server).result() == up, "upload"
    serving = Task(serve)
    assert got.result() == down, "download"
    sending.result()
    serving.result()
    same(channel.exit(), 0, channel.port)
    return channel


def near_ends_first(command):
    channel = Channel(command)
    channel.write(b"GET / HTTP/1.0\r\n\r\n")
    channel.end_input()
    same(read_all(channel.server), b"GET / HTTP/1.0\r\n\r\n")
    channel.server.sendall(b"answer")
    channel.server.close()
    same(channel.read_all(), b"answer")
    same(channel.exit(), 0)


def refused(command, wanted):
    server, port = listen()
    server.close()
    done = ssh(f"{command} {V4} {port}")
    same(done.returncode, 1, done.stderr)
    assert re.search(wanted.format(port=port), done.stderr), done.stderr


def server_ends_first(command):
    """CHANNEL_EOF reaches the client while its own side is open, and that goes on."""
    channel = Channel(command, verbose=True)
    channel.server.sendall(b"all")
    channel.server.shutdown(socket.SHUT_WR)
    wait_for(lambda: "channel 0: rcvd eof" in channel.said(), "the server's end")
    more = pattern(MEGABYTE)
    channel.write(more)
    receiving = Task(read_all, channel.server)
    channel.end_input()
    assert receiving.result() == more, "upload after the server's end"
    same(channel.read_all(), b"all")
    same(channel.exit(), 0)


# ---- ours ----

def t_ours_both_ways():
    """our netcat: 4 MB each way, IPv4 and IPv6"""
    both_ways("nc -v -N")
    both_ways("nc -v -N", V6)


def t_ours_near_ends_first():
    """our netcat: the near side ends first"""
    near_ends_first("nc -v -N")


def t_ours_server_ends_first():
    """our netcat: the server ends first, its end comes through sshd, uploading goes on"""
    server_ends_first("nc -v -N")


def t_ours_refused():
    """our netcat: a refused port is status 1 and a line"""
    refused("nc -v -N", r"^dvpn-nc: refused 10.8.0.5 {port}: Connection refused$")


def t_ours_denied():
    """our netcat: a destination outside of the allow file is status 4 and a line"""
    for host in ("10.8.0.6", "127.0.0.1", "192.0.2.1"):
        done = ssh(f"nc -v -N {host} {PORT}")
        same(done.returncode, 4, done.stderr)
        assert done.stderr.startswith(f"dvpn-nc: denied {host} {PORT}: "), done.stderr


def t_ours_server_resets():
    """our netcat: a server's reset is status 5, without "end" """
    channel = Channel("nc -v -N")
    channel.server.sendall(b"cut")
    same(channel.process.stdout.read(3), b"cut")
    reset(channel.server)
    same(channel.read_all(), b"")
    said = channel.said
    same(channel.process.wait(PATIENCE), 5)
    same(said().splitlines(), [f"dvpn-nc: connected {V4} {channel.port}", "dvpn-nc: reset"])
    channel.exit()


def t_ours_client_vanishes():
    """our netcat: the SSH connection is cut in mid-upload, and the server sees a reset"""
    for _ in range(5):
        channel = Channel("nc -v -N")
        channel.write(b"half a fi")
        same(channel.server.recv(9), b"half a fi")
        channel.process.send_signal(signal.SIGKILL)
        assert is_reset(channel.server), "the server saw a clean end"
        channel.exit()


def t_ours_client_vanishes_after_the_servers_end():
    """our netcat: the same when the server had ended its own side before"""
    for _ in range(5):
        channel = Channel("nc -v -N", verbose=True)
        channel.server.shutdown(socket.SHUT_WR)
        wait_for(lambda c=channel: "channel 0: rcvd eof" in c.said(), "the server's end")
        channel.write(b"half a fi")
        same(channel.server.recv(9), b"half a fi")
        channel.process.send_signal(signal.SIGKILL)
        assert is_reset(channel.server), "the server saw a clean end"
        channel.exit()


def t_ours_sees_the_end_line():
    """our netcat: stderr through sshd is "connected", then "end" """
    channel = both_ways("nc -v -N")
    with open(channel.log.name) as log:
        same(log.read().splitlines(),
             [f"dvpn-nc: connected {V4} {channel.port}", "dvpn-nc: end"])


# ---- nothing else ----

def no_way_in():
    for words in (["sh -c id"], ["id"], ["/bin/sh"], ["nc -v -N 10.8.0.5 80; id"], ["scp -t /"],
                  [], ["nc -T 2"], ["nc -T"]):
        done = ssh(*words)
        same(done.returncode, 64, f"{words}: {done.stdout}{done.stderr}")
        same(done.stdout, "", str(words))
        lines = [line for line in done.stderr.splitlines()
                 if not line.startswith(("PTY allocation", "Pseudo-terminal", "Connection to"))]
        same(len(lines), 1, f"{words}: {lines}")
        assert lines[0].startswith("dvpn-nc: usage: "), lines
    done = ssh("-s", "sftp")  # sshd drops a subsystem's stderr
    same((done.returncode, done.stdout, done.stderr), (64, "", ""))
    done = ssh("-tt")
    assert done.returncode != 0 and "PTY allocation request failed" in done.stderr, done


def t_no_shell():
    """no command, no login, no terminal, no subsystem, be it sshd's built-in sftp"""
    no_way_in()
    done = subprocess.run(["sftp", *options(), "-b", "/dev/null", f"{USER}@127.0.0.1"],
                          timeout=PATIENCE, stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode != 0, done


def t_no_shell_by_login_shell_alone():
    """the same where sshd_config has no ForceCommand"""
    Lab.sftp = "/usr/lib/openssh/sftp-server"
    try:
        sshd_start(Lab.place)
        with open(Lab.place + "/sshd_config") as file:
            text = file.read()
        assert text.count("ForceCommand") == 1
        stop()
        with open(Lab.place + "/sshd_config", "w") as file:
            file.write(re.sub(r".*ForceCommand.*\n", "", text))
        with open(Lab.place + "/sshd.log", "ab") as log:
            Lab.sshd = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-e", "-f", Lab.place + "/sshd_config"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(answers, "sshd")
        no_way_in()
        near_ends_first("nc -v -N")
    finally:
        Lab.sftp = "internal-sftp"
        sshd_start(Lab.place)


def t_no_forwarding():
    """sshd forwards no port to any side for the account"""
    server, port = listen()
    server.settimeout(0.2)
    done = subprocess.run(["ssh", *options(), "-W", f"{V4}:{port}", f"{USER}@127.0.0.1"],
                          timeout=PATIENCE, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)
    assert done.returncode != 0 and "administratively prohibited" in done.stderr, done
    done = ssh("-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:127.0.0.1:1")
    assert done.returncode != 0 and "forward" in done.stderr, done
    try:
        server.accept()
        raise AssertionError("a forwarded connection came")
    except TimeoutError:
        server.close()


# ---- mkjail ----

def listing():
    return run("find", Lab.place + "/jail", "-printf", "%P %u %m %s\n")


def t_build_again():
    """building again changes nothing, and keeps the allow file"""
    before = listing(), run("getent", "passwd", USER)
    mkjail("build")
    same((listing(), run("getent", "passwd", USER)), before)


def t_check_is_content():
    """check finds nothing wrong with what build made, nor with a log daemon's socket"""
    log = Lab.place + "/jail/dev/log"
    for _ in range(2):
        done = mkjail("--sshd-config", Lab.place + "/sshd_config", "check")
        assert "WRONG" not in done.stdout and "all is as it should be" in done.stdout, done.stdout
        if not os.path.exists(log):
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind(log)
            os.chmod(log, 0o666)
    os.unlink(log)


def complaint(wanted):
    done = mkjail("--sshd-config", Lab.place + "/sshd_config", "check", check=False)
    wrong = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
    same(done.returncode, 1, done.stdout + done.stderr)
    assert len(wrong) == 1 and re.search(wanted, wrong[0]), done.stdout + done.stderr


def t_check_finds():
    """check finds one wrong thing at a time, names it and says what to do"""
    jail = Lab.place + "/jail"
    breakages = [
        (["chmod", "g+w", Lab.place], ["chmod", "g-w", Lab.place], None),
        (["chown", "nobody", jail + "/bin"], ["chown", "root", jail + "/bin"],
         "bin belongs to user .*: chown root"),
        (["chmod", "o+w", jail + "/etc/dvpn/allow"], ["chmod", "o-w", jail + "/etc/dvpn/allow"],
         "allow can be written by others .*: chmod go-w"),
        (["chmod", "u+s", jail + "/bin/nc"], ["chmod", "u-s", jail + "/bin/nc"],
         "nc is set-user-ID .*: chmod ug-s"),
        (["cp", "/bin/true", jail + "/bin/more"], ["rm", jail + "/bin/more"],
         "bin/more has no place"),
        (["install", "-m", "666", "/dev/null", jail + "/dev/log"], ["rm", jail + "/dev/log"],
         "dev/log can be written by others"),
        (["mv", jail + "/etc/dvpn/allow", Lab.place], ["mv", Lab.place + "/allow",
                                                       jail + "/etc/dvpn/allow"],
         "allow file: .*can't be read"),
        (["sed", "-i", "1i nonsense", jail + "/etc/dvpn/allow"],
         ["sed", "-i", "1d", jail + "/etc/dvpn/allow"], "allow line 1 is bad"),
        (["usermod", "--shell", "/bin/bash", USER], ["usermod", "--shell", "/bin/nc", USER],
         "has shell /bin/bash: usermod"),
        (["usermod", "--password", "!", USER], ["usermod", "--password", "*", USER],
         "may have a password, or is locked"),
        (["usermod", "--append", "--groups", "adm", USER], ["usermod", "--groups", "", USER],
         "is in further groups"),
        (["chmod", "600", f"{Lab.place}/keys/{USER}"], ["chmod", "644", f"{Lab.place}/keys/{USER}"],
         "can't be read by"),
        (["sed", "-i", "s/PermitTTY no/PermitTTY yes/", Lab.place + "/sshd_config"],
         ["sed", "-i", "s/PermitTTY yes/PermitTTY no/", Lab.place + "/sshd_config"],
         "sshd has PermitTTY yes"),
    ]
    for damage, repair, wanted in breakages:
        run(*damage)
        try:
            if wanted:
                complaint(wanted)
            else:  # above the jail and above the keys
                done = mkjail("check", check=False)
                same(done.stdout.count(f"{Lab.place} can be written by others"), 2, done.stdout)
        finally:
            run(*repair)
    mkjail("--sshd-config", Lab.place + "/sshd_config", "check")


def t_build_refuses():
    """build keeps off what is not its own, and off bad rules"""
    with open(Lab.place + "/jail/etc/dvpn/allow") as file:
        before = file.read()
    for words in (["--allow", "10.8.0.1/16", "build"], ["--root", "/usr", "build"],
                  ["--root", "/", "build"], ["--root", "/var/../usr", "build"],
                  ["--user", "daemon", "--root", Lab.place + "/other", "build"],
                  ["--user", "root", "build"], ["--netcat", "/nowhere", "build"],
                  ["--netcat", "/etc/passwd", "build"], ["--frob", "build"], [],
                  ["build", "check"], ["--permit-open", "a b", "sshd-config"]):
        done = mkjail(*words, check=False)
        assert done.returncode in (1, 2) and done.stderr.startswith("mkjail: ") or \
            "dvpn-nc: denied" in done.stderr, f"{words}: {done}"
    with open(Lab.place + "/jail/etc/dvpn/allow") as file:
        same(file.read(), before)
    same(run("getent", "passwd", "daemon").split(":")[6].strip(), "/usr/sbin/nologin")


def t_sshd_config_for_direct():
    """--permit-open gives sshd's own list to gateways with mode=direct"""
    text = mkjail("--permit-open", f"{V4}:80", "10.8.0.6:*", "sshd-config").stdout
    assert f"\tPermitOpen {V4}:80 10.8.0.6:*\n" in text and "AllowTcpForwarding local" in text, text


def t_sshd_config_example():
    """sshd_config.example is what mkjail prints for its defaults"""
    with open(os.path.join(TOP, "chroot", "sshd_config.example")) as file:
        same(file.read(), run(MKJAIL, "sshd-config"))


# ---- other netcats; these come last, as they change the jail ----

def other(program):
    done = build("--netcat", program)
    assert "no allow list" in done.stderr, done.stderr
    sshd_start(Lab.place)
    done = mkjail("--sshd-config", Lab.place + "/sshd_config", "check")
    assert "WRONG" not in done.stdout, done.stdout


def t_openbsd():
    """OpenBSD's netcat in the jail: both ways, the near side's end, a refused port"""
    other(os.path.realpath(shutil.which("nc.openbsd")))
    both_ways("nc -v -N")
    near_ends_first("nc -v -N")
    refused("nc -v -N", r"port {port} \(tcp\) failed: Connection refused")


def t_busybox():
    """busybox's netcat in the jail: both ways, the near side's end, a refused port"""
    other(shutil.which("busybox"))
    both_ways("nc")
    near_ends_first("nc")
    refused("nc", r"nc: can't connect to remote host \(10.8.0.5\): Connection refused")


def t_ours_again():
    """our netcat takes the place of another, and leaves nothing of it"""
    build()
    sshd_start(Lab.place)
    same(sorted(run("find", Lab.place + "/jail", "-type", "f", "-printf", "%P\n").split()),
         ["bin/nc", "etc/dvpn/allow"])
    same(run("getent", "passwd", USER).split(":")[6].strip(), "/bin/nc")
    both_ways("nc -v -N")
    no_way_in()


main(os.path.abspath(__file__), start, stop)
