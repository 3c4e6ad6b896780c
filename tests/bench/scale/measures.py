# SPDX-License-Identifier: GPL-2.0-or-later
"""The measurements: each takes a pair and gives a dict of what it found, or Trouble."""
import json
import os
import statistics
import subprocess
import time

import processes
from pair import BULK, ECHO, server
from system import Trouble, sh, wait_until

CLIENT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "client.py")


class Talker:
    """A client that answers lines of input with JSON; gone at the end of a `with`."""

    def __init__(self, pair, command):
        self.pair = pair
        self.child = pair.load.start(pair.client, [str(c) for c in command], text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def answer(self):
        line = self.child.stdout.readline()
        if not line:
            raise Trouble("a client ended without a word")
        return json.loads(line)

    def ask(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.stdout.read()  # it may wait for that
        self.child.wait()
        self.child.stdout.close()
        self.pair.load.children.remove(self.child)


def warm(pair, site=0):
    """A connection to the site, and its link stays."""
    with Talker(pair, [CLIENT, "hold", ECHO, 1, server(site)]) as client:
        if client.answer()["held"] != 1:
            raise Trouble("no connection came through: " + sh(
                "tail -n 3 %s/log" % pair.machine.directory, check=False))


def own_pss(pair):
    return processes.memory(pair.pid)["pss"]


# ---- the map ----

def start(pair, cold):
    """cold: the kernel's sets are empty, as after a boot; else as after a restart."""
    if cold:
        sh("ip netns exec %s ipset -q flush dvpn4" % pair.near, check=False)
    ready, full = pair.start()
    used = processes.threads(pair.pid)
    word = "cold" if cold else "warm"
    return {word + "_ready": ready, word + "_full": full,
            word + "_cpu": sum(t[0] for t in used.values())}


def size(pair):
    memory = processes.settled(lambda: processes.memory(pair.pid), 5)
    return {"descriptors": processes.descriptors(pair.pid), **memory}


def rest(pair, seconds):
    """Once it has settled: after a start, ipset(8) may still be reading the sets to it."""
    processes.settled(lambda: sum(t[1] for t in processes.threads(pair.pid).values()), 10)
    found = processes.Watch(pair.pid)
    time.sleep(seconds)
    return found.end()


def reports(pair):
    times = {}
    for words in (["status"], ["routes"], ["--json", "routes"], ["explain", server(9)]):
        text, seconds = pair.ctl(*words)
        times[" ".join(words[:2] if words[0] == "--json" else words[:1])] = seconds
        if words == ["routes"] and len(text.splitlines()) < pair.map_size():
            raise Trouble("dvpnctl routes shows %d lines" % len(text.splitlines()))
    times["longest connect during routes"] = max(probed(pair, lambda: pair.ctl("routes")))
    return times


def probed(pair, action):
    """The times of connections that are made while the action runs, one after the other."""
    with Talker(pair, [CLIENT, "probe", server(0), ECHO, 1]) as probe:
        time.sleep(0.3)
        action()
        probe.child.stdin.close()
        found = probe.answer()
    times = [seconds for _, seconds in found["times"]]
    if found["failed"] or not times:
        raise Trouble("%d connections of %d failed" % (found["failed"], len(times)))
    return times


def reload(pair, kind):
    """kind: none (nothing happens, to compare with), same, or changed (one more prefix)."""
    result, before = {}, processes.threads(pair.pid)[pair.pid][0]

    def act():
        if kind == "none":
            time.sleep(1)
            return
        if kind == "changed":
            pair.map_append()
        begin = time.monotonic()
        result["ready"] = pair.reload()
        wait_until("the set has what the map has", 60,
                   lambda: pair.set_count() >= pair.map_size())
        result["full"] = time.monotonic() - begin
        time.sleep(0.5)

    times = probed(pair, act)
    result["main_cpu"] = processes.threads(pair.pid)[pair.pid][0] - before
    result.update(connects=len(times), p50=statistics.median(times), longest=max(times))
    return {"%s_%s" % (kind, key): value for key, value in result.items()}


# ---- many gateways at once ----

def snapshot(pair):
    kinds = pair.far_pids()
    return {"pss": processes.settled(lambda: own_pss(pair), 5),
            "descriptors": processes.descriptors(pair.pid), "sessions": pair.sessions(),
            "nc": processes.pss_of(kinds["nc"]), "session": processes.pss_of(kinds["session"]),
            "monitor": processes.pss_of(kinds["monitor"]), "ncs": len(kinds["nc"])}


def active(pair, count, at_once, idle_seconds, rounds=2):
    """pair has been started with a short idle_timeout, by which links end."""
    hosts = [server(n) for n in range(count)]
    result = {"before": snapshot(pair)}
    for number in range(rounds):
        watch, far = processes.Watch(pair.pid), pair.sshd.cpu_seconds()
        with Talker(pair, [CLIENT, "hold", ECHO, at_once, *hosts]) as client:
            up = client.answer()
            up["threads"], up["far_cpu"] = watch.end(), pair.sshd.cpu_seconds() - far
            if up["failed"]:
                raise Trouble("%(failed)d connections failed, %(held)d came through" % up)
            up.update(snapshot(pair))
            if number == 0:
                up["status_seconds"] = pair.ctl("status")[1]
                up["links_seconds"] = pair.ctl("links")[1]
                up["idle"] = rest(pair, idle_seconds)
            up["alive"] = client.ask()["alive"]
        wait_until("all links have been closed", 120, lambda: pair.sessions() == 0)
        result["up%d" % number] = up
        result["down%d" % number] = snapshot(pair)
    return result


def logins(pair, count, lines):
    """CPU that logging in to so many gateways costs, with so many lines in known_hosts."""
    pair.known_write(lines)
    pair.start()
    watch = processes.Watch(pair.pid)
    with Talker(pair, [CLIENT, "hold", ECHO, 8, *[server(n) for n in range(count)]]) as client:
        up = client.answer()
        spent = watch.end()
        if up["failed"]:
            raise Trouble("%(failed)d connections failed, %(held)d came through" % up)
    pair.stop()
    return {"lines": lines, "cpu": sum(spent["cpu"]) / count}


# ---- many connections through one gateway ----

def idle_connections(pair, count):
    warm(pair)
    before = snapshot(pair)
    with Talker(pair, [pair.tools.load, "hold", server(0), ECHO, count, 32, 300]) as client:
        opened = client.answer()
        held = snapshot(pair)
        watch = rest(pair, 10)
        alive = client.ask()["alive"]
        if alive != count:
            raise Trouble("%d of %d connections are alive" % (alive, count))
    wait_until("all flows have ended", 60, lambda: not flows(pair))
    return {"count": count, "seconds": opened["seconds"], "before": before, "held": held,
            "rest": watch, "after": snapshot(pair)}


def flows(pair):
    return json.loads(pair.ctl("--json", "flows")[0]).get("flows")


# ---- threads ----

def spread(pair, sites, streams, seconds):
    """CPU of each thread under so many uploads to each of so many sites."""
    for n in range(sites):
        warm(pair, n)
    watch = processes.Watch(pair.pid)
    loads = [Talker(pair, [pair.tools.load, "bulk", server(n), BULK, "up", streams, seconds])
             for n in range(sites)]
    rates = []
    for load in loads:
        with load:
            rates.append(load.answer()["mb_per_second"])
    return {"sites": sites, "streams": streams, "sessions": pair.sessions(),
            "rate": sum(rates), **watch.end()}


def one_session(pair, counts):
    """SSH sessions that so many connections to one gateway cost."""
    sessions = {}
    for count in counts:
        with Talker(pair, [CLIENT, "hold", ECHO, 32, *[server(0)] * count]) as client:
            client.answer()
            sessions[str(count)] = pair.sessions()
    return sessions
