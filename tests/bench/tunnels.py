# SPDX-License-Identifier: GPL-2.0-or-later
"""The tunnels that are compared: how each is brought up between a lane's two gateways, and
where its client finds the server.

All but sshuttle log in to the account that mkjail made, whose sessions get the static
netcat and nothing else; ssh's far command is that same netcat.  The sshd of dvpn's lanes has
Debian's limits (MaxSessions 10, MaxStartups 10:30:100); all others' limits are raised,
since they fail at those.
"""
import os
import shutil

from bed import ECHO, BULK, FAR_WAN, HTTP
from system import Trouble, sh, wait_until

CIPHERS = {
    "chacha20": "Ciphers chacha20-poly1305@openssh.com\n",
    "gcm": "Ciphers aes128-gcm@openssh.com\n",
    "ctr": "Ciphers aes128-ctr\nMACs hmac-sha2-256\n",
}


class Keys:
    """Made once: host key, client key, jail, and what sshd and ssh are told."""

    def __init__(self, machine, tools):
        self.machine, self.tools = machine, tools
        d = machine.directory
        self.identity, self.host = d + "/id_ed25519", d + "/host_key"
        sh("ssh-keygen -q -t ed25519 -N '' -f %s; ssh-keygen -q -t ed25519 -N '' -f %s"
           % (self.identity, self.host))
        public = open(self.identity + ".pub").read()
        host = " ".join(open(self.host + ".pub").read().split()[:2])
        self.known = machine.file("known_hosts", "%s %s\n" % (FAR_WAN, host))
        machine.file("keys/" + machine.account, public, 0o644)
        # An empty home: root's own start-up files are not to be measured.
        os.mkdir(d + "/home")
        machine.file("keys/root", 'environment="HOME=%s/home" %s' % (d, public))
        os.chmod(d + "/keys", 0o755)
        sh("NC=%s %s/chroot/mkjail --root %s/jail --user %s --keys %s/keys --allow 10.0.0.0/8 build"
           % (tools.netcat, tools.top, d, machine.account, d))
        self.block = sh("%s/chroot/mkjail --root %s/jail --user %s --keys %s/keys sshd-config"
                        % (tools.top, d, machine.account, d))

    def sshd_config(self, raised):
        d = self.machine.directory
        return self.machine.file("sshd_config." + ("raised" if raised else "stock"), """
ListenAddress 0.0.0.0
HostKey {host}
PidFile none
LogLevel ERROR
UsePAM no
UseDNS no
PermitRootLogin prohibit-password
PermitUserEnvironment yes
StrictModes no
AuthorizedKeysFile {d}/keys/%u
{limits}
Match User {account}
AllowTcpForwarding local
PermitOpen any
{block}""".format(host=self.host, d=d, account=self.machine.account, block=self.block,
                  limits="MaxSessions 1000\nMaxStartups 1000" if raised else ""))

    def ssh_config(self, cipher, user=None):
        return self.machine.file("ssh_config.%s.%s" % (cipher, user or "jail"), """
Host far
HostName {far}
User {user}
IdentityFile {identity}
IdentitiesOnly yes
UserKnownHostsFile {known}
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking yes
BatchMode yes
ExitOnForwardFailure yes
LogLevel ERROR
{cipher}""".format(far=FAR_WAN, user=user or self.machine.account, identity=self.identity,
                   known=self.known, cipher=CIPHERS[cipher]))


class Tunnel:
    """title: what the table says.  slow: a connection costs so much that counts are cut."""
    title = ""
    slow = False
    idle = (1000, 10000)  # connections to hold
    needs = None          # a program that must be installed
    raised = True

    def __init__(self, name, lane, keys):
        self.name, self.lane, self.keys = name, lane, keys
        machine = keys.machine
        self.near = machine.group("near-%s" % name.replace(":", "-"))
        self.far = machine.group("far-%s" % name.replace(":", "-"))

    def at(self, port):
        """Where the client finds the server."""
        return self.lane.server, port

    def start(self):
        raise NotImplementedError

    def stop(self):
        self.near.stop()
        self.far.stop()

    def remove(self):
        for group in (self.near, self.far):
            group.remove()
            self.keys.machine.groups.remove(group)

    def wait(self):
        """Until a byte goes through and back; tries again, since each is still starting."""
        def through():
            return self.lane.bed.run(["connect", *self.at(ECHO), 1], 15)["ok"] == 1
        wait_until("%s carries a connection" % self.name, 30, through)

    # -- parts that several have --

    def sshd(self):
        # sshd wants /run/sshd; it gets a /run of its own.
        self.far.start(self.lane.far, [
            "unshare", "--mount", "sh", "-c", "mount -t tmpfs -o mode=755 none /run && "
            "mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f \"$0\"",
            self.keys.sshd_config(self.raised)])
        wait_until("sshd listens", 10, lambda: sh(
            "ip netns exec %s ss -Hltn 'sport = :22'" % self.lane.far).strip())

    def ssh(self, cipher, *arguments):
        return self.near.start(self.lane.near, [
            "ssh", "-F", self.keys.ssh_config(cipher), *arguments, "far"])

    def redirect(self, port):
        self.unredirect()
        sh("ip netns exec %s iptables -t nat -A PREROUTING -i lan -p tcp -d %s -j REDIRECT "
           "--to-ports %d" % (self.lane.near, self.lane.server_net, port))

    def unredirect(self):
        sh("ip netns exec %s iptables -t nat -F PREROUTING" % self.lane.near, check=False)


class Direct(Tunnel):
    title = "no tunnel"

    def start(self):
        self.lane.route_plainly()


class Dvpn(Tunnel):
    raised = False
    MODES = {"trunk": "dvpn, trunk", "netcat": "dvpn, netcat", "direct": "dvpn, direct"}

    def __init__(self, name, lane, keys):
        super().__init__(name, lane, keys)
        self.mode = name.split(":")[1]
        self.title = self.MODES.get(self.mode, "dvpn, " + self.mode)
        if self.mode == "netcat":
            self.idle = (1000,)

    def start(self):
        machine, tools = self.keys.machine, self.keys.tools
        name = "dvpn-%s" % self.mode
        self.sshd()
        hosts = machine.file(name + "/hosts", "%s far #! %s %s\n" % (
            self.lane.server, self.lane.server_net, FAR_WAN), 0o644)
        self.control = machine.directory + "/" + name + "/control"
        config = machine.file(name + "/dvpnd.conf", """
[site]
name = near
key = {key}
prefixes = {prefixes}
[listen]
max_flows = 20000
[map]
static = {hosts}
learned = {hosts}.learned
[ssh]
user = {user}
known_hosts = {known}
mode = {mode}
[control]
socket = {control}
[log]
level = {level}
""".format(key=self.keys.identity, prefixes=self.lane.client_net, hosts=hosts,
           user=machine.account, known=self.keys.known, mode=self.mode, control=self.control,
           level=os.environ.get("BENCH_LOG", "warn")))
        sh("ip netns exec %s %s/rules/dvpn-rules up --router lan" % (self.lane.near, tools.top))
        self.near.start(self.lane.near, [tools.dvpnd, "-f", "-c", config])
        wait_until("dvpnd knows the far prefix", 20, lambda: "timeout" not in sh(
            "ip netns exec %s ipset test dvpn4 %s || echo timeout"
            % (self.lane.near, self.lane.server), check=False))

    def wait(self):
        """Where the far netcat knows no trunk dvpnd falls back: not to be measured as one."""
        super().wait()
        wishes = [self._wish(pid) for pid in self.far.pids()]
        if self.mode == "trunk" and not any(b"-T 1" in wish for wish in wishes):
            raise Trouble("no trunk: dvpnd has fallen back to netcat")

    @staticmethod
    def _wish(pid):
        """sshd hands a forced command its wish in the environment."""
        try:
            return b"".join(open("/proc/%d/%s" % (pid, name), "rb").read().replace(b"\0", b" ")
                            for name in ("cmdline", "environ"))
        except OSError:
            return b""

    def stop(self):
        super().stop()
        sh("ip netns exec %s %s/rules/dvpn-rules down" % (self.lane.near, self.keys.tools.top),
           check=False)


class SshForward(Tunnel):
    """ssh -L: one session that is there before."""
    TITLES = {"chacha20": "ssh -L, chacha20 (default)", "gcm": "ssh -L, aes128-gcm",
              "ctr": "ssh -L, aes128-ctr"}

    def __init__(self, name, lane, keys):
        super().__init__(name, lane, keys)
        self.cipher = name.split(":")[1]
        self.title = self.TITLES[self.cipher]
        if self.cipher != "ctr":
            self.idle = (1000,)  # all alike there, and 10,000 take it a minute

    def at(self, port):
        return self.lane.near_lan, port

    def start(self):
        self.sshd()
        forwards = []
        for port in (ECHO, BULK, HTTP):
            forwards += ["-L", "%s:%d:%s:%d" % (self.lane.near_lan, port, self.lane.server, port)]
        self.ssh(self.cipher, "-N", *forwards)


class SshEach(SshForward):
    """A whole ssh session for each connection, and netcat on the far side."""
    slow = True
    idle = (200,)

    def __init__(self, name, lane, keys):
        super().__init__("ssh-each:ctr", lane, keys)
        self.title = "ssh per connection"
        self.name = name

    def start(self):
        self.sshd()
        for port in (ECHO, BULK, HTTP):
            self.near.start(self.lane.near, [
                self.keys.tools.load, "serve-spawn", str(port), "ssh", "-T", "-F",
                self.keys.ssh_config(self.cipher), "far", "nc -N %s %d" % (self.lane.server, port)])


class Redsocks(Tunnel):
    title = "redsocks, ssh -D"
    needs = "redsocks"
    idle = (1000,)  # six descriptors each

    def start(self):
        self.sshd()
        self.ssh("ctr", "-N", "-D", "127.0.0.1:1080")
        config = self.keys.machine.file("redsocks.conf", """
base { log_debug = off; log_info = off; log = "stderr"; daemon = off; redirector = iptables;
rlimit_nofile = %d; redsocks_conn_max = 20000; }
redsocks { local_ip = 0.0.0.0; local_port = 12345; ip = 127.0.0.1; port = 1080; type = socks5; }
""" % 20000, 0o644)
        self.near.start(self.lane.near, ["redsocks", "-c", config])
        self.redirect(12345)

    def stop(self):
        self.unredirect()
        super().stop()


class Sshuttle(Tunnel):
    title = "sshuttle"
    needs = "sshuttle"
    idle = (900,)  # it ends at 1,024 descriptors, whatever the limit

    def start(self):
        self.sshd()
        self.near.start(self.lane.near, [
            "sshuttle", "--method", "nat", "--disable-ipv6", "--listen", "0.0.0.0:12300", "-e",
            "ssh -F " + self.keys.ssh_config("ctr", "root"), "-r", "far", self.lane.server_net])

    def stop(self):
        super().stop()
        sh("ip netns exec %s sh -c 'iptables -t nat -F; iptables -t nat -X'" % self.lane.near,
           check=False)


KINDS = {"none": Direct, "dvpn": Dvpn, "ssh-L": SshForward, "ssh-each": SshEach,
         "redsocks": Redsocks, "sshuttle": Sshuttle}
STANDARD = ["none", "dvpn:trunk", "dvpn:netcat", "dvpn:direct", "ssh-L:chacha20", "ssh-L:gcm",
            "ssh-L:ctr", "ssh-each"]
PEERS = ["redsocks", "sshuttle"]
# What the ratios are to: what people would use instead, with the cipher that dvpn has.
RIVAL = "ssh-L:ctr"


def tunnel_make(name, lane, keys):
    kind = KINDS.get(name.split(":")[0])
    if not kind:
        raise Trouble("no such tunnel: %s; there are %s" % (name, " ".join(STANDARD + PEERS)))
    if kind.needs and not shutil.which(kind.needs):
        raise Trouble("%s is not installed; make bench PEERS=1 installs it" % kind.needs)
    return kind(name, lane, keys)
