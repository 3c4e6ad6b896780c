# SPDX-License-Identifier: GPL-2.0-or-later
"""The tables of SCALE.md.  They stand between two marks; what is around them is written
by people, and stays."""
import os
import statistics

BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"


def median(rows, key, factor=1):
    """Of those rows that have it, as text."""
    values = [row[key] * factor for row in rows if key in row]
    if not values:
        return "–"
    value = statistics.median(values)
    return "%.0f" % value if value >= 100 else "%.1f" % value if value >= 10 else "%.2f" % value


def table(title, head, rows):
    lines = ["", "**%s**" % title, "", "| " + " | ".join(head) + " |",
             "|---" + "|---:" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def listed(values, form="%.2f"):
    return ", ".join(form % value for value in values)


def map_tables(r):
    sites, one = r["options"]["sites"], r["size_one"][0]["pss"]

    def memory(name, title):
        rows = r.get(name)
        return [] if not rows else [[title, median(rows, "rss"), median(rows, "pss"), "%.0f" % (
            (statistics.median(row["pss"] for row in rows) - one) * 1024 / sites)]]
    out = table("From start to ready, %d gateways (ms)" % sites,
                ["", "READY=1", "kernel's set full", "CPU"],
                [["sets empty, as after a boot"] + [median(r["start"], "cold_" + k, 1e3)
                                                    for k in ("ready", "full", "cpu")],
                 ["sets full, as after a restart"] + [median(r["start"], "warm_" + k, 1e3)
                                                      for k in ("ready", "full", "cpu")]])
    out += table("Memory of dvpnd (kB; bytes a prefix: PSS less that with one gateway)",
                 ["", "RSS", "PSS", "bytes a prefix"],
                 memory("size_one", "one gateway") + memory("size", "after the start") +
                 memory("size_after", "after %d reloads" % (2 * r["options"]["runs"])) +
                 memory("size_after_more", "after %d reloads" % (6 * r["options"]["runs"])))
    out += table("Reload, while connections are made one after the other (ms)",
                 ["", "until ready", "set full", "main's CPU", "connect p50", "longest connect"],
                 [[title] + [median(r["reload"], kind + "_" + k, 1e3)
                             for k in ("ready", "full", "main_cpu", "p50", "longest")]
                  for kind, title in (("none", "no reload"), ("same", "nothing has changed"),
                                      ("changed", "one prefix more"))])
    if "reports" in r:
        out += table("dvpnctl (ms)", ["command", "time"],
                     [[name, "%.1f" % (1e3 * t)] for name, t in r["reports"][0].items()])
    if "rest" in r:
        rest = r["rest"][0]
        out += ["", "At rest, %.0f s: %s wake-ups and %s ms of CPU (main, workers)." % (
            rest["seconds"], listed(rest["wakeups"], "%d"),
            listed([c * 1e3 for c in rest["cpu"]], "%.1f"))]
    return out


def active_tables(r):
    a, n = r["active"][0], r["options"]["active"]
    first, again = a["up0"], a["up1"]
    out = table("%d gateways in use at once" % n,
                ["", "PSS of dvpnd, kB", "a gateway", "descriptors", "SSH sessions"],
                [[title, s["pss"], "%.1f" % ((s["pss"] - a["before"]["pss"]) / n),
                  s["descriptors"], s["sessions"]]
                 for title, s in (("before", a["before"]), ("one connection to each", first),
                                  ("links closed by idle_timeout", a["down0"]),
                                  ("all of it again", again), ("closed again", a["down1"]))])
    out += ["", "All are up in %.1f s and %.1f s; CPU of dvpnd's threads %s s (%.2f ms a link), "
            "of the far host %.1f s.  Far side, kB a gateway: sshd's monitor %.0f, its session "
            "process %.0f, netcat %.1f.  `dvpnctl status` takes %.1f ms, `links` %.1f ms." % (
                first["seconds"], again["seconds"], listed(first["threads"]["cpu"]),
                1e3 * sum(first["threads"]["cpu"]) / n, first["far_cpu"], first["monitor"] / n,
                first["session"] / n, first["nc"] / n, 1e3 * first["status_seconds"],
                1e3 * first["links_seconds"])]
    idle = first["idle"]
    out += ["", "With all links idle, %.0f s: %s wake-ups (main, workers), %.1f a second in all; "
            "CPU %.2f ms a second.  %d of %d connections alive afterwards." % (
                idle["seconds"], listed(idle["wakeups"], "%d"),
                sum(idle["wakeups"]) / idle["seconds"], 1e3 * sum(idle["cpu"]) / idle["seconds"],
                first["alive"], n)]
    return out


def login_tables(r):
    return table("A login: CPU of dvpnd (ms), hostkey= in the map",
                 ["lines in known_hosts", "CPU"],
                 [[n, median([row for row in r["logins"] if row["lines"] == n], "cpu", 1e3)]
                  for n in sorted({row["lines"] for row in r["logins"]})])


def idle_tables(r):
    rows, rests = [], []
    for mode in ("trunk", "netcat"):
        for one in r.get("idle_" + mode, []):
            n, before, held, after = one["count"], one["before"], one["held"], one["after"]
            rows.append(["%s, %d" % (mode, n)] + [
                "%.2f" % ((held[k] - before[k]) / n)
                for k in ("pss", "nc", "session", "monitor")] + [
                    held["ncs"], held["sessions"], "%.1f" % one["seconds"],
                    "%d → %d → %d" % (before["pss"], held["pss"], after["pss"])])
            rests.append("%s, %d: %d" % (mode, n, sum(one["rest"]["wakeups"])))
    out = table("Connections held through one pair of gateways (kB a connection, PSS)",
                ["mode, connections", "dvpnd", "netcat", "sshd session", "sshd monitor",
                 "netcats", "SSH sessions", "all open in s", "dvpnd before → held → closed"],
                rows)
    return out + ["", "dvpnd's wake-ups in 10 s with them idle: " + "; ".join(rests) + "."]


def thread_tables(r):
    out = table("Uploads for five seconds, two workers",
                ["gateways × streams each", "CPU s: main, workers", "MB/s in all", "SSH sessions"],
                [["%d × %d" % (s["sites"], s["streams"]), listed(s["cpu"]), "%.0f" % s["rate"],
                  s["sessions"]] for s in r["spread"]])
    if "sessions" in r:
        out += ["", "SSH sessions for connections to one gateway, trunk mode: " + ", ".join(
            "%s for %s" % (v, k) for k, v in r["sessions"][0].items()) + "."]
    return out


def text(r):
    facts = r["facts"]
    lines = ["%s; %s; %s; libssh2 %s." % (facts["date"], facts["machine"],
                                          facts["versions"]["OpenSSH"],
                                          facts["versions"]["libssh2"])]
    for name, part in (("start", map_tables), ("active", active_tables), ("logins", login_tables),
                       ("idle_trunk", idle_tables), ("spread", thread_tables)):
        if name in r:
            lines += part(r)
    if r["troubles"]:
        lines += ["", "Failed: " + "; ".join(r["troubles"])]
    return "\n".join(lines)


def write(results, path):
    old = open(path).read() if os.path.exists(path) else ""
    head, _, rest = old.partition(BEGIN)
    tail = rest.partition(END)[2] or "\n"
    with open(path + ".new", "w") as f:
        f.write("%s%s\n%s\n\n%s%s" % (head or "# How dvpnd scales\n\n", BEGIN, text(results), END,
                                      tail))
    os.rename(path + ".new", path)
