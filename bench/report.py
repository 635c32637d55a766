"""The tables of the bench, as text for people and for docs/BENCHMARKS.md (Markdown reads well as both)."""

import os
import platform
import re
import subprocess

import goals

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "BENCHMARKS.md")
BEGIN, END = "<!-- written by bench/run.py --write: begin -->", "<!-- end -->"


class Line:
    """A row of the table: medians, None where something did not work."""

    def __init__(self, workload, clients, name, has_proxy):
        self.workload = workload
        self.clients = clients
        self.name = name
        self.has_proxy = has_proxy
        self.tps = self.server_us = self.latency_ms = self.proxy_us = None
        self.proxy_us_all = []
        self.of_direct = self.of_peer = self.of_peer_total = None


def ratio(a, b):
    return None if a is None or not b else a / b


def compare(lines):
    """Ratios to the direct connection and to PgBouncer among the lines of one workload."""
    direct = next((line for line in lines if line.name == "direct"), None)
    peer = next((line for line in lines if line.name.startswith("PgBouncer")), None)
    for line in lines:
        if direct is not None and line is not direct:
            line.of_direct = ratio(line.tps, direct.tps)
        if peer is not None and line.has_proxy and line is not peer:
            line.of_peer = ratio(line.proxy_us, peer.proxy_us)
            if line.proxy_us is not None and peer.proxy_us is not None:
                line.of_peer_total = ratio(line.proxy_us + line.server_us,
                                           peer.proxy_us + peer.server_us)


def show(value, form):
    return "-" if value is None else form.format(value)


def table(heads, rows):
    """A Markdown table with its columns in line; figures to the right."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(head), *(len(row[i]) for row in rows)) for i, head in enumerate(heads)]
    left = [not any(row[i][:1].isdigit() for row in rows) for i in range(len(heads))]
    left[0] = True
    out = []

    def put(cells):
        padded = (c.ljust(w) if is_left else c.rjust(w) for c, w, is_left in zip(cells, widths, left))
        out.append("| " + " | ".join(padded) + " |")
    put(heads)
    out.append("|" + "|".join("-" * (w + 2) if is_left else "-" * (w + 1) + ":"
                              for w, is_left in zip(widths, left)) + "|")
    for row in rows:
        put(row)
    return "\n".join(out)


def word(command, pattern):
    """What the pattern finds in the command's output."""
    try:
        text = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, cwd=ROOT).stdout
    except OSError:
        return "unknown"
    found = re.search(pattern, text, re.M)
    return found.group(1).strip() if found else "unknown"


def machine(pg_bin, stage):
    """[(what, value)]: enough to know what the figures are worth."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = re.search(r"^model name\s*:\s*(.+)$", f.read(), re.M)
    with open("/proc/meminfo", encoding="ascii") as f:
        memory = int(re.search(r"^MemTotal:\s+(\d+)", f.read(), re.M).group(1)) / 1048576
    virtual = word(["systemd-detect-virt"], r"^(\S+)$")
    commit = word(["git", "rev-parse", "--short=10", "HEAD"], r"^([0-9a-f]+)$")
    changed = word(["git", "status", "--porcelain", "--untracked-files=no"], r"^(..? \S+)$")
    binary = stage.braids["trust"].binary
    return [
        ("Machine", f"{os.cpu_count()} x {model.group(1) if model else platform.machine()}"
                    + ("" if virtual in ("none", "unknown") else f" ({virtual})")
                    + f", {memory:.0f} GB, Linux {platform.release()}"),
        ("pgbraid", f"{word([binary, '--version'], r'([0-9][0-9a-z.]*)')}, commit {commit}"
                    + ("" if changed == "unknown" else " with changes")),
        ("PgBouncer", word([stage.bouncers["trust"].path, "--version"], r"^PgBouncer (\S+)")),
        ("PostgreSQL", word([f"{pg_bin}/postgres", "--version"], r"PostgreSQL\) ([0-9.]+)")),
    ]


class Results:
    def __init__(self, shards, pool, seconds, rounds, workers, scale):
        self.shards, self.pool, self.seconds, self.rounds = shards, pool, seconds, rounds
        self.workers, self.scale = workers, scale
        self.lines, self.tpcb, self.scatter, self.memory, self.calls = [], [], [], [], []
        self.commits = {}
        self.machine = []
        self.others = None
        self.failures = []
        self.day = ""

    def text(self):
        parts = [self._head(), self._targets(), self._main(), self._calls(), self._memory(), self._tpcb(),
                 self._scatter(), self._failures()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _head(self):
        lines = [f"- {what}: {value}" for what, value in self.machine]
        lines.append(f"- {self.day}; medians of {self.rounds} x {self.seconds} s; pools of {self.pool}; "
                     f"pgbraid with {self.workers} workers where nothing else is said; "
                     f"{self.scale * 100000} accounts")
        if self.others is not None:
            lines.append(f"- other processes took {self.others * 100:.0f}% of the machine meanwhile (median)")
        return "\n".join(lines)

    def _main(self):
        if not self.lines:
            return ""
        rows = [[line.workload, line.clients, line.name, show(line.tps, "{:.0f}"),
                 show(line.of_direct, "{:.2f}"), show(line.proxy_us, "{:.1f}"),
                 show(line.of_peer, "{:.2f}"), show(line.server_us, "{:.1f}"),
                 show(line.of_peer_total, "{:.2f}"), show(line.latency_ms, "{:.2f}")]
                for line in self.lines]
        return table(["workload", "clients", "through", "tps", "of direct", "proxy us", "of PgBouncer",
                      "servers us", "both, of PgBouncer", "ms"], rows)

    def _calls(self):
        if not self.calls:
            return ""
        groups = list(self.calls[0][2])
        rows = [[workload, name, *(f"{by[g]:.2f}" for g in groups), f"{sum(by.values()):.2f}"]
                for workload, name, by in self.calls]
        return "System calls per transaction, 16 clients:\n\n" + table(
            ["workload", "proxy", *groups, "all"], rows)

    def _memory(self):
        if not self.memory:
            return ""
        rows = [[name, clients, before, after, f"{each:.1f}"] for name, clients, before, after, each in self.memory]
        return "Resident memory with idle clients that have all asked once, together:\n\n" + table(
            ["proxy", "clients", "kB before", "kB with them", "kB per client"], rows)

    def _targets(self):
        rows = goals.rows_of(self)
        if not rows:
            return ""
        missed = sum(row[-1] == "missed" for row in rows)
        return (f"What was aimed at, against PgBouncer in this run ({len(rows) - missed} met, {missed} missed):\n\n"
                + table(["what", "clients", "pgbraid", "ratio", "at most", ""], rows))

    def _tpcb(self):
        if not self.tpcb:
            return ""
        rows = [[line.name, show(line.tps, "{:.0f}"), show(line.proxy_us, "{:.1f}"),
                 show(line.server_us, "{:.1f}"), show(line.latency_ms, "{:.2f}")] for line in self.tpcb]
        kinds = ", ".join(f"{count} {kind.replace('_', '-')}" for kind, count in self.commits.items())
        return (f"TPC-B (7 statements a transaction, {self.tpcb[0].clients} clients), which PgBouncer cannot "
                f"spread over servers; commits of pgbraid: {kinds}:\n\n"
                + table(["through", "tps", "proxy us", "servers us", "ms"], rows))

    def _scatter(self):
        if not self.scatter:
            return ""
        rows = [[name, f"{one:.2f}", f"{many:.2f}", f"{many / one:.2f}"] for name, one, many in self.scatter]
        return (f"Milliseconds of a statement over all rows, one client: one server that has them all, and "
                f"{self.shards} shards (all on this machine) through pgbraid:\n\n"
                + table(["statement", "one server", "shards", "ratio"], rows))

    def _failures(self):
        return "" if not self.failures else "Did not work:\n\n" + "\n".join(f"- {f}" for f in self.failures)


def put_between(begin, end, text):
    """The text into docs/BENCHMARKS.md, in the place of what stood between the two marks."""
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    head, found, rest = page.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found or not found_end:
        raise SystemExit(f"bench: {PAGE} has no place for the result ({begin} ... {end})")
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(f"{head}{begin}\n\n{text.strip()}\n\n{end}{tail}")


def write_page(results):
    put_between(BEGIN, END, results.text())
