# SPDX-License-Identifier: GPL-2.0-or-later
"""From a run's single results to RESULTS.md: medians, and ratios run by run."""
import json
import os
import platform
import re
import statistics
import subprocess
import time

from chart import write_chart
from tunnels import RIVAL

CONDITION_TITLES = {
    "20": "20 ms round trip", "50": "50 ms round trip", "100": "100 ms round trip",
    "loss": "50 ms round trip, 1 % loss each way",
    "narrow": "50 ms round trip, 100 Mbit/s, 50 ms of queue",
    "buffers": "100 ms round trip, 64 MB of TCP buffers at all four machines",
}


def _first_line(*command):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
    except OSError:
        return ""
    return (done.stdout.strip().splitlines() or [""])[0]


def _package(name):
    line = _first_line("dpkg-query", "-W", "-f", "${Version}", name)
    return line if "no packages" not in line else ""


def facts():
    """The machine and the versions, for the head of the results."""
    cpu = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    memory = int(re.search(r"MemTotal:\s*(\d+)", open("/proc/meminfo").read())[1])
    release = re.search(r'PRETTY_NAME="(.*)"', open("/etc/os-release").read())
    library = "libssh2-1t64" if _package("libssh2-1t64") else "libssh2-1"
    versions = {"OpenSSH": _first_line("ssh", "-V").split(",")[0], "libssh2": _package(library),
                "redsocks": _package("redsocks"), "sshuttle": _package("sshuttle")}
    return {"machine": "%d CPUs (%s), %.0f GB, %s, Linux %s; load average before: %.1f" % (
        os.cpu_count(), cpu[1] if cpu else platform.machine(), memory / 1e6,
        release[1] if release else "Linux", platform.release(), os.getloadavg()[0]),
        "versions": {k: v for k, v in versions.items() if v}, "date": time.strftime("%Y-%m-%d")}


class Results:
    def __init__(self, path):
        self.values, self.titles, self.facts, self.troubles = {}, {}, {}, []
        for line in open(path):
            record = json.loads(line)
            if "trouble" in record:
                self.troubles.append(record)
            elif "values" in record:
                for metric, value in record["values"].items():
                    key = record["phase"], record["tunnel"], metric
                    self.values.setdefault(key, {})[record["run"]] = value
            elif "title" in record:
                self.titles[record["tunnel"]] = record["title"]
            else:
                self.facts.update(record)

    def median(self, phase, tunnel, metric):
        runs = self.values.get((phase, tunnel, metric))
        return statistics.median(runs.values()) if runs else None

    def ratio(self, phase, tunnel, metric):
        """Median of the ratios to the rival within each run."""
        own = self.values.get((phase, tunnel, metric), {})
        rival = self.values.get((phase, RIVAL, metric), {})
        pairs = [own[n] / rival[n] for n in own if rival.get(n)]
        return statistics.median(pairs) if pairs else None

    def has(self, phase):
        return any(key[0] == phase for key in self.values)


def number(value):
    if value is None:
        return "–"
    if abs(value) >= 100:
        return "{:,.0f}".format(value)
    return "%.3g" % value


class Table:
    """columns: (heading, metric, kind), kind one of ratio, plain, cpu (near + far)."""

    def __init__(self, results, phase, columns):
        self.results, self.phase, self.columns = results, phase, columns

    def cell(self, tunnel, metric, kind):
        r = self.results
        if kind == "cpu":
            near = r.median(self.phase, tunnel, metric + "_near_cpu")
            far = r.median(self.phase, tunnel, metric + "_far_cpu")
            if tunnel == "none" or near is None:
                return "–"
            return "%s + %s" % (number(near), number(far))
        value = r.median(self.phase, tunnel, metric)
        text = number(value)
        if kind == "ratio" and value is not None:
            ratio = r.ratio(self.phase, tunnel, metric)
            text += " ×%s" % number(ratio) if ratio is not None else ""
        return text

    def lines(self):
        yield "| | " + " | ".join(c[0] for c in self.columns) + " |"
        yield "|---|" + "---|" * len(self.columns)
        for tunnel, title in self.results.titles.items():
            cells = [self.cell(tunnel, *c[1:]) for c in self.columns]
            if any(cell != "–" for cell in cells):
                name = "**%s**" % title if tunnel == "dvpn:trunk" else title
                yield "| %s | %s |" % (name, " | ".join(cells))


BULK = [("1 stream up", "up1", "ratio"), ("1 stream down", "down1", "ratio"),
        ("8 streams up", "up8", "ratio"), ("8 streams down", "down8", "ratio")]
BULK_CPU = [(title, metric, "cpu") for title, metric, _ in BULK]
CONNECT = [("p50 ms", "connect_p50", "ratio"), ("p99 ms", "connect_p99", "ratio"),
           ("per second, 32 clients", "rate", "ratio"), ("p99 ms of these", "rate_p99", "plain"),
           ("failed a run", "rate_failed", "plain"), ("CPU µs each, near + far", "rate", "cpu")]
HTTP = [("requests/s", "http", "ratio"), ("p99 ms", "http_p99", "plain"),
        ("CPU µs each, near + far", "http", "cpu")]
MEMORY = [("asked", "idle0_asked", "plain"), ("held", "idle0", "plain"),
          ("KB each, near", "idle0_near", "ratio"), ("KB each, far", "idle0_far", "ratio"),
          ("asked", "idle1_asked", "plain"), ("held", "idle1", "plain"),
          ("s to open", "idle1_seconds", "plain"),
          ("KB each, near", "idle1_near", "ratio"), ("KB each, far", "idle1_far", "ratio")]
WAN = [("down MB/s", "down", "ratio"), ("up MB/s", "up", "ratio"),
       ("connections/s, 32 clients", "rate", "ratio"), ("page ms", "page", "ratio"),
       ("echo p50 ms, while down", "down_echo_p50", "plain"),
       ("echo p99 ms, while down", "down_echo_p99", "ratio"),
       ("echo p99 ms, while up", "up_echo_p99", "ratio")]
BUFFERS = [("down MB/s", "down1", "ratio"), ("up MB/s", "up1", "ratio"),
           ("CPU s/GB down, near + far", "down1", "cpu"), ("CPU s/GB up, near + far", "up1", "cpu")]


def sections(results):
    yield "Bulk, MB/s", "lan", BULK
    yield "Bulk, CPU seconds per GB, near + far gateway", "lan", BULK_CPU
    yield "New connections", "lan", CONNECT
    yield "HTTP, 64 connections that stay, 1 KB", "lan", HTTP
    yield "Memory of the gateways' processes per idle connection", "memory", MEMORY
    for condition, title in CONDITION_TITLES.items():
        yield title[0].upper() + title[1:], "wan-" + condition, \
            BUFFERS if condition == "buffers" else WAN


INTRODUCTION = """# dvpn beside what people would use instead

Made by `sudo make bench{options}` on {date}, in {minutes} minutes; {runs} runs of each
measurement. Machine: {machine}. {versions}.
TCP: {congestion}, Debian's buffer limits unless it says otherwise.

![chart](results.svg)

How to read it: a client, two gateways and a server in network namespaces of one machine share
its CPUs, so without an emulated round trip nearly every figure is a matter of CPU. Ratios travel to other
machines, absolute figures do not. Each figure is the median of the runs, in which all tunnels take
turns; ×N is the median of its ratios to `{rival}` in the same run (dvpn's default cipher is
the same). Tables of memory are of one run. "up" is from the client to the server.

- *dvpn*: REDIRECT to dvpnd, stock limits of sshd, default configuration but `mode`. *ssh -L*: one session that is
  there before. *ssh per connection*: one session each, made for it, `nc` on the far side. The sshd of all but
  dvpn has raised limits.
- A new connection counts when a byte has come back from the server. A failed one is counted and
  not tried again. A page is one HTML file and 40 objects of 20 kB each over six new connections.
- Bulk counts what has arrived within {bulk} of the connection's beginning: the start of TCP is part of it,
  what is parked in buffers on the way is not.
- The echo is one byte there and back, sent every 10 ms on a connection of its own, through the same tunnel
  as the bulk transfer that runs meanwhile.
- CPU and memory (proportional set size) are those of the gateways' processes, children included; kernel memory of sockets is
  not in it.
- The WAN is `tests/net/wan`: delay, and loss by the packet; without a rate limit.

"""


def write_report(source, directory):
    results = Results(source)
    f = results.facts
    versions = ", ".join("%s" % v if k == "OpenSSH" else "%s %s" % (k, v)
                         for k, v in f.get("versions", {}).items())
    quick = "--quick" in f.get("command", "")
    text = INTRODUCTION.format(
        date=f.get("date", "?"), minutes=round(f.get("seconds", 0) / 60), runs=f.get("runs", "?"),
        machine=f.get("machine", "?"), versions=versions, congestion=f.get("congestion", "?"),
        rival=results.titles.get(RIVAL, RIVAL),
        options=' BENCH="%s"' % f["command"] if f.get("command") else " PEERS=1",
        bulk="0.5 s (WAN: 1.5 s)" if quick else "1 s (WAN: 2 s; with large buffers: 3 s)")
    for title, phase, columns in sections(results):
        if results.has(phase):
            lines = list(Table(results, phase, columns).lines())
            if len(lines) > 2:
                text += "## %s\n\n%s\n\n" % (title, "\n".join(lines))
    if results.troubles:
        text += "## What could not be measured\n\n"
        seen = {}
        for t in results.troubles:
            key = t["phase"], results.titles.get(t["tunnel"], t["tunnel"]), t["trouble"]
            seen[key] = seen.get(key, 0) + 1
        for (phase, tunnel, why), times in seen.items():
            text += "- %s, %s, %d times: %s\n" % (tunnel, phase, times, why.replace("\n", " "))
    with open(os.path.join(directory, "RESULTS.md"), "w") as out:
        out.write(text.rstrip() + "\n")
    write_chart(results, os.path.join(directory, "results.svg"))
