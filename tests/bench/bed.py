# SPDX-License-Identifier: GPL-2.0-or-later
"""The testbed: one client and one server, and between them a pair of gateways per tunnel.

    client --- near 1 === far 1 --- server        near n: 203.0.113.1
       \\------ near 2 === far 2 ------/           far n:  203.0.113.2
                   ...                            === a veth pair, or the emulated WAN

All tunnels are up at the same time, so their runs can take turns.  Tunnel n's way from
the client's 10.n.0.5 to the server's 10.(100+n).0.5 leads through its own gateways.
"""
import json
import os
import subprocess
import time

from system import Trouble, sh, wait_until

ECHO, BULK, HTTP = 7001, 7002, 7003
NEAR_WAN, FAR_WAN = "203.0.113.1", "203.0.113.2"
# What Debian has; a machine may be set up in another way.
BUFFERS = {"rmem": "4096 131072 6291456", "wmem": "4096 16384 4194304"}
BIG_BUFFERS = {"rmem": "4096 131072 67108864", "wmem": "4096 65536 67108864"}


def congestion_control(namespaces):
    """Cubic in these namespaces, as Debian has it; what it is in the end.  The kernel lets a
    namespace have only what is allowed to everybody, so that list grows for a moment."""
    path = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
    allowed = open(path).read()
    try:
        if "cubic" not in allowed.split():
            with open(path, "w") as f:
                f.write(allowed.strip() + " cubic")
        for name in namespaces:
            sh("ip netns exec %s sysctl -qw net.ipv4.tcp_congestion_control=cubic" % name)
    except (OSError, Trouble):
        pass
    finally:
        if "cubic" not in allowed.split():
            try:
                with open(path, "w") as f:
                    f.write(allowed)
            except OSError:
                pass
    return sh("ip netns exec %s sysctl -n net.ipv4.tcp_congestion_control" % namespaces[0]).strip()


class Lane:
    """One tunnel's gateways, and how its client reaches the server without it."""

    def __init__(self, bed, number):
        self.bed, self.number = bed, number
        self.near = bed.machine.namespace("near%d" % number)
        self.far = bed.machine.namespace("far%d" % number)
        self.near_lan = "10.%d.0.1" % number
        self.server = "10.%d.0.5" % (100 + number)
        self.server_net = "10.%d.0.0/24" % (100 + number)
        self.client_net = "10.%d.0.0/24" % number
        self.socket = os.path.join(bed.machine.directory, "wan%d" % number)
        self._wires()

    def _wires(self):
        n, bed = self.number, self.bed
        for host, side, gateway, net in ((bed.client, "l", self.near, n),
                                         (bed.server, "l", self.far, 100 + n)):
            sh("""ip link add {side}{n} netns {host} type veth peer name lan netns {gateway}
                ip -n {host} address add 10.{net}.0.5/24 dev {side}{n}
                ip -n {gateway} address add 10.{net}.0.1/24 dev lan
                ip -n {host} link set {side}{n} up
                ip -n {gateway} link set lan up""".format(side=side, n=n, host=host, net=net,
                                                         gateway=gateway))
        if bed.emulated:
            bed.wires.start(bed.client, [bed.tools.wan, "run", self.socket,
                                         "/run/netns/" + self.near, "wan",
                                         "/run/netns/" + self.far, "wan"])
            wait_until("the emulated WAN is up", 10, lambda: os.path.exists(self.socket))
        else:
            sh("ip link add wan netns %s type veth peer name wan netns %s" % (self.near, self.far))
        for gateway, address in ((self.near, NEAR_WAN), (self.far, FAR_WAN)):
            sh("""ip -n {g} address add {a}/24 dev wan
                ip -n {g} link set wan up
                ip netns exec {g} sysctl -qw net.ipv4.ip_forward=1""".format(g=gateway, a=address))
        sh("ip -n %s route add %s via %s" % (bed.client, self.server_net, self.near_lan))
        sh("ip -n %s route add %s via 10.%d.0.1" % (bed.server, self.client_net, 100 + n))

    def route_plainly(self):
        sh("ip -n %s route replace %s via %s" % (self.near, self.server_net, FAR_WAN))
        sh("ip -n %s route replace %s via %s" % (self.far, self.client_net, NEAR_WAN))

    def wan(self, words):
        """On the client's side, since an answer finds only its own network namespace."""
        sh("ip netns exec %s %s set %s %s" % (self.bed.client, self.bed.tools.wan, self.socket, words))

    def wan_counters(self):
        return sh("ip netns exec %s %s show %s" % (self.bed.client, self.bed.tools.wan, self.socket))


class Bed:
    def __init__(self, machine, tools, emulated, buffers=None):
        self.machine, self.tools, self.emulated = machine, tools, emulated
        self.buffers = buffers or BUFFERS
        self.wires = machine.group("wires")
        self.load = machine.group("load")
        self.client = machine.namespace("client")
        self.server = machine.namespace("server")
        self.lanes = []

    def lane(self):
        self.lanes.append(Lane(self, len(self.lanes) + 1))
        return self.lanes[-1]

    def ready(self):
        """Once all lanes are there, before anything listens."""
        all_of_it = [self.client, self.server] + [ns for lane in self.lanes
                                                  for ns in (lane.near, lane.far)]
        for name in all_of_it:
            sh("ip netns exec %s sysctl -qw net.ipv4.tcp_rmem='%s' net.ipv4.tcp_wmem='%s' "
               "net.ipv4.tcp_tw_reuse=1 net.ipv4.tcp_no_metrics_save=1 "
               "net.ipv4.ip_local_port_range='1024 65000'"
               % (name, self.buffers["rmem"], self.buffers["wmem"]))
        self.congestion = congestion_control(all_of_it)
        for verb, port in (("serve-echo", ECHO), ("serve-bulk", BULK), ("serve-http", HTTP)):
            self.load.start(self.server, [self.tools.load, verb, str(port)])
        for port in (ECHO, BULK, HTTP):
            wait_until("the server listens", 10, lambda: sh(
                "ip netns exec %s ss -Hltn 'sport = :%d'" % (self.server, port)).strip())

    def run(self, arguments, timeout):
        """One load at the client; its JSON, or Trouble."""
        started = self.load_start(arguments)
        return self.load_result(started, timeout)

    def load_start(self, arguments, **options):
        return self.load.start(self.client, [self.tools.load] + [str(a) for a in arguments],
                               stdout=subprocess.PIPE, text=True, **options)

    def load_result(self, child, timeout):
        try:
            output = child.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise Trouble("the load took longer than %d s" % timeout)
        finally:
            self.load.children.remove(child)
        if child.returncode or not output:
            raise Trouble("the load ended with status %d" % child.returncode)
        return json.loads(output)

    def remove(self):
        self.load.remove()
        self.wires.remove()
        for group in (self.load, self.wires):
            self.machine.groups.remove(group)
        names = [self.client, self.server] + [ns for lane in self.lanes
                                              for ns in (lane.near, lane.far)]
        for name in names:
            sh("ip netns delete " + name, check=False)
            self.machine.namespaces.remove(name)
        time.sleep(0.1)
