# SPDX-License-Identifier: GPL-2.0-or-later
"""What /proc says of processes and their threads.  Memory in kB, CPU in seconds."""
import os
import time


def memory(pid):
    """Resident and proportional set size, and what is the process's own and dirty."""
    sizes = {"Rss": 0, "Pss": 0, "Private_Dirty": 0}
    with open("/proc/%d/smaps_rollup" % pid) as f:
        for line in f:
            word = line.split(":")[0]
            if word in sizes:
                sizes[word] = int(line.split()[1])
    return {"rss": sizes["Rss"], "pss": sizes["Pss"], "dirty": sizes["Private_Dirty"]}


def pss_of(pids):
    total = 0
    for pid in pids:
        try:
            total += memory(pid)["pss"]
        except OSError:
            pass  # it has just ended
    return total


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def command(pid):
    try:
        return open("/proc/%d/cmdline" % pid, "rb").read().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def threads(pid):
    """Of each thread: (CPU seconds, times that it went to sleep of its own will)."""
    found = {}
    for task in sorted(os.listdir("/proc/%d/task" % pid), key=int):
        base = "/proc/%d/task/%s/" % (pid, task)
        try:
            cpu = int(open(base + "schedstat").read().split()[0]) / 1e9
            status = open(base + "status").read()
        except OSError:
            continue
        sleeps = int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
        found[int(task)] = (cpu, sleeps)
    return found


class Watch:
    """What the threads of a process do from now on: main first, then the workers."""

    def __init__(self, pid):
        self.pid, self.begin, self.before = pid, time.monotonic(), threads(pid)

    def end(self):
        seconds = time.monotonic() - self.begin
        after = threads(self.pid)
        rows = [(after[t][0] - self.before.get(t, (0, 0))[0],
                 after[t][1] - self.before.get(t, (0, 0))[1]) for t in sorted(after)]
        return {"seconds": seconds, "cpu": [r[0] for r in rows], "wakeups": [r[1] for r in rows]}


def settled(read, seconds=20, still=1.0):
    """The value that `read` gives once it has not changed for so long."""
    end, last, since = time.monotonic() + seconds, None, time.monotonic()
    while time.monotonic() < end:
        value = read()
        if value != last:
            last, since = value, time.monotonic()
        elif time.monotonic() - since >= still:
            break
        time.sleep(0.1)
    return last
