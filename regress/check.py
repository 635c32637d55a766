#!/usr/bin/python3
"""`make check`: every test there is, two steps at a time, and one line of counts at the end.

    check.py [--jobs N] [--only WORD] [--sanitized] [--regress]

One lane builds and tidies, the other builds and runs the unit tests under sanitizers; then both take
schedules against real servers until none is left, the long ones first. What a step printed is in
build/check/STEP.log; a failed step's end is shown. --regress leaves the unit tests out; --sanitized
runs the schedules with the binary built with address and undefined sanitizers.
"""

import argparse
import collections
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from braid import ROOT  # noqa: E402
from pg import BIN, free_port_run, free_ports, stop_on_signals  # noqa: E402

LOGS = os.path.join(ROOT, "build", "check")
PYTHON = sys.executable
COUNTS = [
    re.compile(r"^(?P<passed>\d+) passed, (?P<failed>\d+) failed$", re.M),
    re.compile(r"^\[====\] Synthesis: Tested: (?P<all>\d+) \| Passing: (?P<passed>\d+) \| Failing: (?P<failed>\d+)"
               r" \| Crashing: (?P<crashed>\d+)", re.M),
    re.compile(r"^\[====\] plain runner: Tested: (?P<all>\d+) \| Failing: (?P<failed>\d+)", re.M),
]
STEP_SECONDS_MAX = 1500
LANE_PORTS = ["12000-21000", "21000-30000"]
OTHER_PORTS = range(30_000, 32_000)  # chosen before the lanes begin


class Step:
    """A command; `counts` says that it prints how many tests passed and failed."""

    def __init__(self, name, *words, counts=True, env=None):
        self.name, self.words, self.counts, self.env = name, list(words), counts, env or {}
        self.passed = self.failed = 0
        self.seconds = 0.0
        self.process = None

    def run(self, ports):
        log = os.path.join(LOGS, self.name.replace(" ", "_") + ".log")
        begin = time.monotonic()
        with open(log, "w", encoding="utf-8") as f:
            self.process = subprocess.Popen(self.words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                                            env={**os.environ, "REGRESS_PORTS": ports, **self.env})
            try:
                status = self.process.wait(STEP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.terminate()
                status = -1
        self.seconds = time.monotonic() - begin
        with open(log, encoding="utf-8", errors="replace") as f:
            text = f.read()
        if self.counts:
            self.count(text)
        if status != 0 and self.failed == 0:
            self.failed += 1
        elif status == 0 and not self.counts:
            self.passed += 1
        elif status == 0 and self.passed == 0:
            self.failed += 1  # a step that tests nothing is broken
        return text

    def count(self, text):
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
        for pattern in COUNTS:
            for m in pattern.finditer(text):
                words = m.groupdict()
                failed = int(words["failed"]) + int(words.get("crashed") or 0)
                self.failed += failed
                self.passed += int(words["passed"]) if words.get("passed") else int(words["all"]) - failed


def make(jobs, *words):
    return ["make", "--no-print-directory", "-s", "-k", f"-j{jobs}", *words]


def unit_lane(jobs):
    asan, tsan = "SAN=address,undefined", "SAN=thread"
    return [
        Step("format", *make(1, "check-format"), counts=False),
        Step("build for address,undefined", *make(jobs, asan, "build-tests"), counts=False),
        Step("unit tests under address,undefined", *make(1, asan, "test")),
        Step("build for thread", *make(jobs, tsan, "build-tests"), counts=False),
        Step("unit tests under thread", *make(1, tsan, "test")),
    ]


def schedules(build):
    def python(path, *more):
        return [PYTHON, os.path.join("regress", *path.split("/")), *more]
    return [
        Step("failure schedule", *python("failure/schedule.py", "--build", build)),
        Step("comparison with PostgreSQL", *python("compare/compare.py", "--build", build)),
        Step("random statements against PostgreSQL", *python("compare/random_queries.py", "--build", build, "--count", "1500")),
        Step("random writes against PostgreSQL", *python("compare/random_writes.py", "--build", build, "--count", "300")),
        Step("random writes under global unique indexes", *python("compare/random_writes.py", "--build", build, "--unique", "--count", "60")),
        Step("TPC-H against PostgreSQL", *python("tpch/tpch.py", "--build", build, "--scale", "0.005")),
        Step("SQL schedule", *python("sql.py", "--build", build)),
        Step("drivers", *python("drivers/schedule.py", "--build", build)),
        Step("schema changes", *python("schema/schedule.py", "--build", build)),
        Step("catalogs, COPY TO, dumps", *python("catalogs/schedule.py", "--build", build)),
        Step("kill -9 in two-phase commits", *python("failure/kill_2pc.py", "--build", build, "--kills", "12")),
        Step("steps of two-phase commits", *python("failure/kill_steps.py", "--build", build, "--count", "4", "--seed", "7", "--quiet")),
        Step("change capture's ways out", *python("cdc/ways.py", "--build", build)),
        Step("consistent cuts of the change log", *python("cdc/cuts.py", "--build", build)),
        Step("change capture as a replication stream", *python("cdc/streams.py", "--build", build)),
        Step("sinks of the change log", *python("cdc/sinks.py", "--build", build)),
        Step("change capture and what people do by hand", *python("cdc/by_hand.py", "--build", build)),
        Step("change capture's source", *python("cdc/source.py", "--build", build, "--rounds", "0", "--short")),
    ]


def beside_server(script):
    return [PYTHON, "regress/with_server.py", PYTHON, f"regress/wire/{script}", "--build", "build/release",
            "--psql", "{psql}"]


def build_lane(jobs):
    return [Step("build", *make(jobs, "all"), counts=False), Step("tidy", *make(1, "tidy"))]


def regress_steps():
    ports = [str(p) for p in free_ports(3, OTHER_PORTS)]
    demo = {"DEMO_SHARD_PORT": str(free_port_run(3, OTHER_PORTS)), "DEMO_PORT": ports[0], "DEMO_HTTP_PORT": ports[1]}
    return [
        *schedules("build/release"),
        Step("keys against PostgreSQL", "sh", "regress/shardmap/run.sh", "build/release", counts=False),
        Step("SCRAM against PostgreSQL", "sh", "regress/net/scram.sh", counts=False, env={"PORT": ports[2], "PGBIN": BIN}),
        Step("values against PostgreSQL", *beside_server("value_check.py"), counts=False),
        Step("COPY data against PostgreSQL", *beside_server("copy_check.py"), counts=False),
        Step("demo", PYTHON, "regress/demo/demo.py", "start", "--exit", counts=False, env=demo),
    ]


def sanitized_build(jobs):
    return [Step("build for address,undefined", *make(jobs, "SAN=address,undefined", "all"), counts=False)]


class Check:
    """`shared` steps need what `builds` makes; nothing needs `units`."""

    def __init__(self, only, builds, units, shared):
        self.only = only
        self.lanes = [builds, units]
        self.shared = collections.deque(shared)
        self.built = threading.Event()
        self.all = [*builds, *units, *shared]
        self.steps = []
        self.lock = threading.Lock()

    def run_lane(self, steps, ports):
        for step in steps:
            self.run(step, ports)
        if steps is self.lanes[0]:
            self.built.set()
        self.built.wait()
        while self.shared:
            try:
                step = self.shared.popleft()
            except IndexError:  # the other lane took the last one
                return
            self.run(step, ports)

    def run(self, step, ports):
        if self.only and self.only not in step.name and not step.name.startswith("build"):
            return
        text = step.run(ports)
        with self.lock:
            self.steps.append(step)
            words = "ok    " if step.failed == 0 else "FAILED"
            counts = f"{step.passed} passed" if step.failed == 0 else f"{step.passed} passed, {step.failed} failed"
            print(f"  {words}  {step.name:<36} {counts:<26} {step.seconds:6.1f} s", flush=True)
            if step.failed:
                self.show(text)

    @staticmethod
    def show(text):
        lines = text.rstrip().split("\n")
        bad = [i for i, line in enumerate(lines) if "FAIL" in line]
        chosen = lines[-60:] if not bad else [line for i in bad[:15] for line in lines[i:i + 6]]
        print("\n".join(f"      | {line[:200]}" for line in chosen), flush=True)


def stop_all(check):
    """After Ctrl-C or SIGTERM: the steps clean up after themselves, given the time."""
    check.shared.clear()
    running = [step.process for step in check.all if step.process and step.process.poll() is None]
    for process in running:
        process.terminate()
    for process in running:
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--only")
    parser.add_argument("--sanitized", action="store_true")
    parser.add_argument("--regress", action="store_true")
    args = parser.parse_args()
    stop_on_signals()
    os.makedirs(LOGS, exist_ok=True)
    begin = time.monotonic()
    if args.sanitized:
        check = Check(args.only, sanitized_build(args.jobs), [], schedules("build/address-undefined"))
    else:
        check = Check(args.only, build_lane(args.jobs), [] if args.regress else unit_lane(args.jobs), regress_steps())
    threads = [threading.Thread(target=check.run_lane, args=lane, daemon=True)
               for lane in zip(check.lanes, LANE_PORTS)]
    for t in threads:
        t.start()
    try:
        for t in threads:
            while t.is_alive():
                t.join(1)
    finally:
        stop_all(check)
    passed = sum(step.passed for step in check.steps)
    failed = sum(step.failed for step in check.steps)
    print(f"  {time.monotonic() - begin:.0f} s")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
