"""What a process costs: CPU time, memory, system calls."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
# The groups of the table of system calls; all that is in no group counts as "other".
CALLS = {
    "receive": ("recvfrom", "recvmsg", "recvmmsg", "read", "readv"),
    "send": ("sendto", "sendmsg", "sendmmsg", "write", "writev"),
    "wait": ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "select", "pselect6"),
    "epoll_ctl": ("epoll_ctl",),
}


def cpu_seconds(pid):
    """
    User and system time of all threads of a process, those that have ended too: what
    /proc/PID/stat calls utime + stime, in nanoseconds instead of ticks.
    """
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return sum(stat_ticks(pid)[:2]) / TICK


def stat_ticks(pid):
    """utime, stime, cutime, cstime of /proc/PID/stat."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rpartition(")")[2].split()
    return [int(word) for word in fields[11:15]]


def family_seconds(pid):
    """CPU time of a PostgreSQL server: its processes, and those that have ended."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        children = [int(word) for word in f.read().split()]
    total = sum(stat_ticks(pid)[2:]) / TICK + cpu_seconds(pid)
    for child in children:
        try:
            total += cpu_seconds(child)
        except OSError:
            pass  # it ended just now
    return total


def machine_seconds():
    """CPU time that all processors have spent on anything but idling."""
    with open("/proc/stat", encoding="ascii") as f:
        user, nice, system, _, _, irq, softirq = map(int, f.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / TICK


def memory_kb(pid):
    """Resident memory, counted page by page (the figure in /proc/PID/status lags behind)."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(re.search(r"^Rss:\s+(\d+) kB", f.read(), re.M).group(1))


def can_trace():
    return shutil.which("strace") is not None


def system_calls(pid, work):
    """Run work() while strace counts the calls of all threads: {name: count} and work's result."""
    with tempfile.NamedTemporaryFile(mode="r", prefix="pgbraid_strace.") as out:
        tracer = subprocess.Popen(["strace", "-c", "-f", "-o", out.name, "-p", str(pid)],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True)
        try:
            line = tracer.stderr.readline()
            if "attached" not in line:
                raise RuntimeError(f"strace: {line.strip()}")
            result = work()
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.communicate()
        counts = {}
        for line in out:
            words = line.split()
            if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                counts[words[-1]] = int(words[3])
        return counts, result


def by_group(counts):
    groups = {name: 0 for name in CALLS}
    groups["other"] = 0
    for call, count in counts.items():
        for name, members in CALLS.items():
            if call in members:
                groups[name] += count
                break
        else:
            groups["other"] += count
    return groups
