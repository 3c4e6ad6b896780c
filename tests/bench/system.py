# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmark wants from the machine: commands, namespaces, and groups of processes.

A group is a cgroup of its own, so the CPU time of children that have ended counts too
and nothing that the group started is missed at its end.  All names carry this process's
id; Machine.clear() removes everything that was made, in any state.
"""
import os
import re
import resource
import shutil
import signal
import subprocess
import time

FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


class Trouble(Exception):
    """Something can't be measured; the text says why."""


def sh(command, check=True):
    """Output of a shell command; Trouble with that output where it fails."""
    done = subprocess.run(["bash", "-ec", command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and done.returncode:
        raise Trouble("%s: %s" % (command.strip().splitlines()[0], done.stdout.strip()[-600:]))
    return done.stdout


def wait_until(what, seconds, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Trouble("still not so after %d s: %s" % (seconds, what))
        time.sleep(0.02)


def sweep():
    """What runs that were killed have left behind."""
    found = set()
    for path in sh("ip netns list; ls -d /var/lib/dvpn-bench.* /sys/fs/cgroup/dvpnb-* "
                   "/sys/fs/cgroup/*/dvpnb-* 2>/dev/null; getent passwd", check=False).split():
        match = re.match(r"(?:.*/)?(?:dvpnb-|dvpn-bench[.-])(\d+)", path)
        if match and not os.path.exists("/proc/" + match[1]):
            found.add(int(match[1]))
    for number in found:
        machine = Machine(number)
        for path in sh("ls -d %s/dvpnb-%d-* 2>/dev/null" % (machine.cgroup_root(), number),
                       check=False).split():
            machine.groups.append(Group(path, os.devnull))
        machine.namespaces = [name for name in sh("ip netns list").split()
                              if name.startswith("dvpnb-%d-" % number)]
        machine.clear()


def calm():
    """Waits until TCP has memory: all namespaces share it, and where something else on the
    machine has used it up, every window shrinks to next to nothing."""
    limit = int(open("/proc/sys/net/ipv4/tcp_mem").read().split()[0]) * 0.8

    def enough():
        used = re.search(r"^TCP:.* mem (\d+)", open("/proc/net/sockstat").read(), re.M)
        return int(used[1]) < limit
    wait_until("TCP has memory; is another load on this machine?", 60, enough)


class Machine:
    """The directory, namespaces, groups and account of one run."""

    def __init__(self, number=os.getpid()):
        # sshd wants the directories above a jail to be root's alone.
        self.directory = "/var/lib/dvpn-bench.%d" % number
        self.account = "dvpn-bench-%d" % number
        self.prefix = "dvpnb-%d-" % number
        self.namespaces, self.groups = [], []
        self.cgroups = None
        os.makedirs(self.directory, 0o755, exist_ok=True)

    def file(self, name, text="", mode=0o600):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def namespace(self, name):
        full = self.prefix + name
        sh("ip netns add %s" % full)
        self.namespaces.append(full)
        sh("ip -n %s link set lo up" % full)
        return full

    def cgroup_root(self):
        if self.cgroups:
            return self.cgroups
        for line in open("/proc/mounts"):
            if line.split()[2] == "cgroup2":
                self.cgroups = line.split()[1]
                return self.cgroups
        self.cgroups = os.path.join(self.directory, "cgroup")
        os.mkdir(self.cgroups)
        sh("mount -t cgroup2 none " + self.cgroups)
        return self.cgroups

    def group(self, name):
        group = Group(os.path.join(self.cgroup_root(), self.prefix + name),
                      os.path.join(self.directory, "log"))
        self.groups.append(group)
        return group

    def clear(self):
        for group in self.groups:
            group.remove()
        for name in self.namespaces:
            sh("ip netns delete " + name, check=False)
        sh("userdel -f %s; groupdel %s" % (self.account, self.account), check=False)
        if self.cgroups and self.cgroups.startswith(self.directory):
            sh("umount " + self.cgroups, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


class Group:
    def __init__(self, path, log):
        self.path, self.log, self.children = path, log, []
        os.makedirs(path, exist_ok=True)

    def start(self, namespace, command, files=FILES, **options):
        """A program of the group, in a namespace; a Popen whose pid is the program's."""
        members = self.path + "/cgroup.procs"

        def prepare():
            with open(members, "w") as f:
                f.write("0")
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, FILES))

        log = open(self.log, "ab")
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", log)
        child = subprocess.Popen(["ip", "netns", "exec", namespace] + command, stderr=log,
                                 preexec_fn=prepare, start_new_session=True, **options)
        log.close()
        self.children.append(child)
        return child

    def pids(self):
        try:
            return [int(pid) for pid in open(self.path + "/cgroup.procs").read().split()]
        except OSError:
            return []

    def cpu_seconds(self):
        for line in open(self.path + "/cpu.stat"):
            if line.startswith("usage_usec"):
                return int(line.split()[1]) / 1e6
        raise Trouble("no cpu.stat in " + self.path)

    def memory_kb(self):
        """Proportional set size: what is shared counts once."""
        total = 0
        for pid in self.pids():
            try:
                for line in open("/proc/%d/smaps_rollup" % pid):
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
            except OSError:
                pass  # it has just ended
        return total

    def _signal(self, number):
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except OSError:
                pass

    def stop(self):
        for number, seconds in ((signal.SIGTERM, 3), (signal.SIGKILL, 10)):
            self._signal(number)
            end = time.monotonic() + seconds
            while self.pids() and time.monotonic() < end:
                for child in self.children:
                    child.poll()
                if number == signal.SIGKILL:
                    self._signal(number)
                time.sleep(0.02)
        for child in self.children:
            child.wait()
        self.children = []

    def remove(self):
        self.stop()
        for _ in range(100):
            try:
                os.rmdir(self.path)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)
