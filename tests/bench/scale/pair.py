# SPDX-License-Identifier: GPL-2.0-or-later
"""The testbed: one near gateway with dvpnd, and one far host that is every far site.

    client ---- near ======== far
    172.16.0.5  203.0.113.1   203.0.113.2, and all of 198.18.0.0/16 and 10.0.0.0/8

Site n's gateway is at 198.18.0.0 + n, and owns the /24 at 10.0.0.0 + 256 n.  The far host
takes each of these addresses for its own, so one sshd and one server stand for all of them.
"""
import base64
import hashlib
import os
import re
import select
import signal
import socket
import stat
import subprocess
import time

import processes
from system import Trouble, sh, wait_until

ECHO, BULK = 7001, 7002
SITES_MAX, ACTIVE_MAX = 65536, 10000


def server(n):
    """What lies behind site n's gateway."""
    return "10.%d.%d.5" % (n >> 8, n & 255)


def other_key(n):
    digest = hashlib.sha256(str(n).encode()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class Notices:
    """What dvpnd tells systemd, with the time at which it did."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)

    def wait(self, word, seconds):
        end = time.monotonic() + seconds
        while select.select([self.socket], [], [], max(0, end - time.monotonic()))[0]:
            if word in self.socket.recv(4096).decode():
                return time.monotonic()
        raise Trouble("dvpnd did not say %s in %d s" % (word, seconds))

    def drop(self):
        while select.select([self.socket], [], [], 0)[0]:
            self.socket.recv(4096)

    def close(self):
        self.socket.close()
        os.unlink(self.path)


class Pair:
    def __init__(self, machine, tools, keys):
        self.machine, self.tools, self.keys = machine, tools, keys
        self.client = machine.namespace("client")
        self.near = machine.namespace("near")
        self.far = machine.namespace("far")
        self.load = machine.group("load")
        self.sshd = machine.group("sshd")
        self.dvpnd_group = machine.group("dvpnd")
        self.dvpnd, self.added = None, 0
        self.notices = Notices(machine.directory + "/notify")
        self.directory = machine.directory + "/site"
        os.mkdir(self.directory)
        os.chmod(self.directory, stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP)
        self.hosts = self.directory + "/hosts"
        self.control = self.directory + "/control"
        self._wires()
        self._far()
        sh("ip netns exec %s %s/rules/dvpn-rules up --router lan" % (self.near, tools.top))

    def _wires(self):
        sh("""ip link add eth0 netns {client} type veth peer name lan netns {near}
            ip link add wan netns {near} type veth peer name wan netns {far}
            ip -n {client} address add 172.16.0.5/24 dev eth0
            ip -n {near} address add 172.16.0.1/24 dev lan
            ip -n {near} address add 203.0.113.1/24 dev wan
            ip -n {far} address add 203.0.113.2/24 dev wan
            ip -n {client} link set eth0 up
            ip -n {near} link set lan up
            ip -n {near} link set wan up
            ip -n {far} link set wan up
            ip -n {client} route add default via 172.16.0.1
            ip -n {near} route add 198.18.0.0/16 via 203.0.113.2
            ip -n {far} route add local 198.18.0.0/16 dev lo
            ip -n {far} route add local 10.0.0.0/8 dev lo
            ip netns exec {near} sysctl -qw net.ipv4.ip_forward=1
            """.format(client=self.client, near=self.near, far=self.far))
        for name in (self.client, self.near, self.far):
            sh("ip netns exec %s sysctl -qw net.ipv4.ip_local_port_range='1024 65000'" % name)

    def _far(self):
        self.load.start(self.far, [self.tools.load, "serve-echo", str(ECHO)])
        self.load.start(self.far, [self.tools.load, "serve-bulk", str(BULK)])
        self.sshd.start(self.far, [
            "unshare", "--mount", "sh", "-c", "mount -t tmpfs -o mode=755 none /run && "
            "mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$0\"",
            self.keys.sshd_config(True)])
        for port in (22, ECHO, BULK):
            wait_until("port %d listens" % port, 10, lambda: sh(
                "ip netns exec %s ss -Hltn 'sport = :%d'" % (self.far, port)).strip())

    # -- the map --

    def map_write(self, sites):
        """In the order that a learned file may have: none.  By rename, as editors do.  Each has
        a host key of its own, but for those that may be used, which all have the far host's."""
        key = sh("ssh-keygen -lf %s.pub" % self.keys.host).split()[1]
        with open(self.hosts + ".new", "w") as f:
            for i in range(sites):
                n = i * 40503 % sites if sites == SITES_MAX else i
                f.write("10.{a}.{b}.1 site{n} #! 10.{a}.{b}.0/24 198.18.{a}.{b} hostkey={key}\n"
                        .format(a=n >> 8, b=n & 255, n=n,
                                key=key if n < ACTIVE_MAX else other_key(n)))
        os.rename(self.hosts + ".new", self.hosts)

    def known_write(self, lines):
        key = " ".join(open(self.keys.host + ".pub").read().split()[:2])
        with open(self.keys.known, "w") as f:
            for n in range(lines):
                f.write("198.18.%d.%d %s\n" % (n >> 8, n & 255, key))

    def map_append(self):
        """One more prefix.  dvpnd sees that by itself, after a tenth of a second."""
        self.added += 1
        with open(self.hosts, "a") as f:
            f.write("172.20.{n}.1 more{n} #! 172.20.{n}.0/24 198.18.0.1\n".format(n=self.added))

    def set_count(self):
        """Entries of the kernel's set."""
        found = re.search(r"entries: (\d+)", sh(
            "ip netns exec %s ipset list -t dvpn4" % self.near, check=False))
        return int(found[1]) if found else -1

    # -- dvpnd --

    def configure(self, **more):
        options = {"workers": 2, "mode": "trunk", "idle_timeout": 300, "connect_timeout": 60}
        options.update(more)
        return self.machine.file("site/dvpnd.conf", """
[site]
name = near
key = {key}
prefixes = 172.16.0.0/24
[listen]
max_flows = 20000
[map]
static = {hosts}
learned = {directory}/learned
[ssh]
user = {user}
known_hosts = {known}
mode = {mode}
connect_timeout = {connect_timeout}
idle_timeout = {idle_timeout}
[carry]
workers = {workers}
open_timeout = 120
[control]
socket = {control}
[log]
level = {level}
""".format(key=self.keys.identity, hosts=self.hosts, directory=self.directory,
           user=self.machine.account, known=self.keys.known, control=self.control,
           level=os.environ.get("BENCH_LOG", "warn"), **options))

    def start(self, **options):
        """Seconds until dvpnd says that it is ready, and until the kernel's set is full."""
        config, entries = self.configure(**options), self.map_size()
        self.notices.drop()
        begin = time.monotonic()
        self.dvpnd = self.dvpnd_group.start(
            self.near, [self.tools.dvpnd, "-f", "-c", config],
            env=dict(os.environ, NOTIFY_SOCKET=self.notices.path))
        ready = self.notices.wait("READY=1", 60) - begin
        wait_until("the kernel's set is full", 60, lambda: self.set_count() >= entries)
        return ready, time.monotonic() - begin

    def reload(self):
        """Seconds that it takes."""
        self.notices.drop()
        begin = time.monotonic()
        os.kill(self.pid, signal.SIGHUP)
        return self.notices.wait("READY=1", 60) - begin

    def stop(self):
        self.dvpnd_group.stop()
        self.dvpnd = None

    def map_size(self):
        return sum(1 for line in open(self.hosts) if "#!" in line)

    @property
    def pid(self):
        return self.dvpnd.pid

    def ctl(self, *words):
        """What dvpnctl prints, and seconds that it took."""
        begin = time.monotonic()
        done = subprocess.run([self.tools.dvpnctl, "-s", self.control, *words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Trouble("dvpnctl %s: %s" % (" ".join(words), done.stdout[-300:]))
        return done.stdout, time.monotonic() - begin

    def sessions(self):
        """SSH sessions that dvpnd has."""
        return len(sh("ip netns exec %s ss -Htn state established dport = :22"
                      % self.near).splitlines())

    # -- the far side's processes --

    def far_pids(self):
        """Netcats, and the sshds that hold their sessions; the monitors apart."""
        kinds = {"nc": [], "session": [], "monitor": []}
        for pid in self.sshd.pids():
            words = processes.command(pid)
            if "[priv]" in words:
                kinds["monitor"].append(pid)
            elif "@notty" in words:
                kinds["session"].append(pid)
            elif words.startswith("nc ") or "/nc " in words:
                kinds["nc"].append(pid)
        return kinds

    def remove(self):
        self.stop()
        sh("ip netns exec %s %s/rules/dvpn-rules down" % (self.near, self.tools.top), check=False)
        self.notices.close()
