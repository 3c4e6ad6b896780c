#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""systemctl and journalctl for the lab's gateways, where no systemd runs.

Called by either name.  It starts what an installed unit says, with the unit's
environment and capabilities, and waits for READY=1 as systemd would.  Of the
daemons that Debian brings with units of their own it knows sshd and dnsmasq.
Logs are files in /run/lab, which is the lab's directory of logs.
"""
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time

UNITS = "/usr/lib/systemd/system/"
LOGS = "/run/lab/"
DNSMASQ = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root",
           "--conf-dir=/etc/dnsmasq.d", "--no-resolv", "--no-hosts", "--log-facility=-", "--pid-file="]


def log(unit):
    return LOGS + unit + "-" + os.environ["SITE"] + ".log"


def unit_file(name):
    if "." not in name:
        name += ".service"
    values = {}
    with open(UNITS + name, encoding="utf-8") as file:
        for line in file:
            key, equals, value = line.rstrip("\n").partition("=")
            if equals and not line.startswith("#"):
                values.setdefault(key, []).append(value)
    return values


def wait_for(what, condition):
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"systemctl: no {what} in 20 seconds")
        time.sleep(0.02)


def spawn(unit, words, environment=None):
    with open(log(unit), "ab") as out:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                start_new_session=True, env=environment or os.environ)


def command(values, key):
    """The words of a command line, $NAME from EnvironmentFile= split at blanks."""
    environment = {}
    for path in values.get("EnvironmentFile", []):
        with open(path, encoding="utf-8") as file:
            for line in file:
                name, equals, value = line.strip().partition("=")
                if equals:
                    environment[name] = value.strip("\"'")
    words = []
    for word in shlex.split(values[key][0]):
        words += environment[word[1:]].split() if word.startswith("$") else [word]
    return words


def start_oneshot(unit, values):
    done = subprocess.run(command(values, "ExecStart"), check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"systemctl: {unit} failed with status {done.returncode}")


def start_notify(unit, values):
    path = f"/run/notify-{unit}"
    for directory in values.get("RuntimeDirectory", []):
        os.mkdir("/run/" + directory)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(path)
        ready.settimeout(0.1)
        capabilities = values["CapabilityBoundingSet"][0].lower().replace("cap_", "+").split()
        child = spawn(unit, ["setpriv", "--no-new-privs", "--bounding-set",
                             ",".join(["-all"] + capabilities)] + command(values, "ExecStart"),
                      dict(os.environ, NOTIFY_SOCKET=path))
        said = []

        def is_ready():
            try:
                said.append(ready.recv(4096))
            except socket.timeout:
                pass
            if child.poll() is not None:
                sys.exit(f"systemctl: {unit} ended with status {child.returncode}: "
                         + subprocess.getoutput(f"tail -n 5 {log(unit)}"))
            return any(b"READY=1" in text for text in said)

        wait_for(f"READY=1 from {unit}", is_ready)
    with open(f"/run/{unit}.pid", "w", encoding="utf-8") as file:
        file.write(str(child.pid))


def start(unit):
    values = unit_file(unit)
    kind = values.get("Type", ["none"])[0]
    if kind == "oneshot":
        start_oneshot(unit, values)
    elif kind == "notify":
        start_notify(unit, values)
    elif not unit.endswith(".path") or "PathChanged" not in values:
        sys.exit(f"systemctl: can't start {unit}")


def ended(pid):
    """Nobody may have waited for it yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def kill(unit):
    with open(f"/run/{unit}.pid", encoding="utf-8") as file:
        pid = int(file.read())
    os.kill(pid, 15)
    wait_for(f"end of {unit}", lambda: ended(pid))
    os.unlink(f"/run/{unit}.pid")


def stop(unit):
    values = unit_file(unit)
    if "ExecStop" in values:
        subprocess.run(command(values, "ExecStop"), check=True, stdin=subprocess.DEVNULL)
    elif not unit.endswith(".path"):
        kill(unit)
    for directory in values.get("RuntimeDirectory", []):
        shutil.rmtree("/run/" + directory)


def reload_ssh():
    """sshd starts itself anew and writes its process id last but one."""
    path = "/run/sshd.pid"
    before = os.stat(path).st_mtime_ns
    with open(path, encoding="utf-8") as file:
        os.kill(int(file.read()), 1)
    wait_for("sshd", lambda: os.path.exists(path) and os.stat(path).st_mtime_ns != before)
    wait_for("port 22", lambda: subprocess.getoutput("ss -Hltn 'sport = :22'"))


def restart_dnsmasq():
    if os.path.exists("/run/dnsmasq.pid"):
        kill("dnsmasq")
    child = spawn("dnsmasq", DNSMASQ)
    with open("/run/dnsmasq.pid", "w", encoding="utf-8") as file:
        file.write(str(child.pid))
    wait_for("port 53", lambda: subprocess.getoutput("ss -Hltn 'sport = :53'"))


def status(unit):
    with open(f"/run/{unit}.pid", encoding="utf-8") as file:
        os.kill(int(file.read()), 0)


def main():
    words = sys.argv[1:]
    if os.path.basename(sys.argv[0]) == "journalctl":
        unit, count = words[1], words[3]
        os.execvp("tail", ["tail", "-n", count, log(unit)])
    verb = " ".join(words[:2])
    if verb in ("enable --now", "disable --now"):
        for unit in words[2:]:
            (start if words[0] == "enable" else stop)(unit)
    elif words == ["reload", "ssh"]:
        reload_ssh()
    elif words == ["restart", "dnsmasq"]:
        restart_dnsmasq()
    elif words[0] == "status":
        status(words[1])
    elif words != ["daemon-reload"]:
        sys.exit(f"systemctl: the lab knows no '{' '.join(words)}'")


main()
