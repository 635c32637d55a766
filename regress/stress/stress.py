#!/usr/bin/python3
"""Many clients of all kinds at once, with everything around them failing; every answer is checked.

    stress.py [--build DIR] [--seconds N] [--seed N] [--clients N] [--workers N] [--shards N]
              [--pool N] [--mode transaction|session] [--prepared N] [--ddl N] [--calm]
              [--crash] [--only WORD] [--ports N,N,...] [--keep] [--verbose]

--calm kills no backends and reloads nothing. --crash restarts a server as after a crash, now and then.
With 120 seconds and more, memory is looked at in every quiet moment and must stay flat. The seed decides what each client does, not how the
threads interleave. Exit status 0: every answer was right, nobody waited too long, nothing was left.
"""

import argparse
import io
import os
import random
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import chaos  # noqa: E402
import pg  # noqa: E402
import raw  # noqa: E402
import work  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from model import Client, Own, Wrong, pick  # noqa: E402

TABLES = {"items": {"hash": ["id"]}, "accounts": {"hash": ["id"]}, "own": {"hash": ["id"]},
          "bulk": {"hash": ["id"]}}
PATIENCE = 10  # seconds that nobody may wait


class Place:
    """The servers, the proxy, and what went wrong so far."""

    def __init__(self, args, fleet):
        self.args, self.accounts, self.patience = args, 60, PATIENCE * 6
        self.errors, self.done, self.wrong = Counter(), Counter(), []
        self.ends, self.pause = threading.Event(), threading.Event()
        self.doing, self.resting = {}, set()
        self.memory = []  # (seconds since the start, kB resident) of quiet moments
        self.started = time.monotonic()
        ports = [int(p) for p in args.ports.split(",")] if args.ports else None
        options = ["max_connections = 300", "max_prepared_transactions = 200",
                   "lock_timeout = '1500ms'", "deadlock_timeout = '200ms'", "shared_buffers = 32MB"]
        if args.crash:  # the tests' servers may forget commits in a crash, otherwise
            options.append("synchronous_commit = on")
        self.servers = fleet.start(args.shards, ports=ports, options=options)
        for server in self.servers:
            pg.prepare(server)
        # Half of the seeds have clients change workers at the least load.
        config = config_for(self.servers, TABLES, workers=args.workers,
                            worker_fill=1 if args.seed % 2 else 60,
                            pool={"size": args.pool, "mode": args.mode,
                                  "prepared_statements": args.prepared, "shutdown_wait_ms": 2000},
                            service={"health_interval_ms": 500, "health_timeout_ms": 2000},
                            txn={"recover_interval_ms": 300})
        self.braid = Braid(os.path.join(fleet.folder, "braid"), config, build=args.build)
        fleet.at_end.append(self.braid.kill)
        self.braid.start()
        self.port = self.braid.port
        self.fill()

    def fill(self):
        c = self.braid.connect()
        with c.cursor() as cur:
            for sql in ("items (id bigint PRIMARY KEY, v text)", "bulk (id bigint, v text)",
                        "accounts (id bigint PRIMARY KEY, balance bigint)",
                        "own (id bigint PRIMARY KEY, n bigint, t text)"):
                cur.execute(f"CREATE TABLE {sql}")
            def fill(table, lines):
                cur.copy_expert(f"COPY {table} FROM STDIN", io.StringIO("\n".join(lines) + "\n"))
            fill("items (id, v)", [f"{i}\tv{i}" for i in range(1, work.ITEMS + 1)])
            fill("accounts (id, balance)", [f"{i}\t1000" for i in range(1, self.accounts + 1)])
            fill("own (id, n)", [f"{i}\t0" for n in range(self.args.clients) for i in Own(n).ids()])
        c.close()

    def over(self):
        return self.ends.is_set()

    def breathe(self, seconds):
        self.ends.wait(seconds)

    def note_error(self, error, what):
        self.errors[error["C"]] += 1
        if self.args.verbose and self.errors[error["C"]] <= 3:
            print(f"        {error['C']} {error['M'][:150]} <- {str(what)[:100]}", flush=True)

    def fails(self, who, why):
        self.wrong.append(f"{who}: {why}")
        self.ends.set()


def client_loop(place, number):
    rng = random.Random(f"{place.args.seed}/{number}")
    own, c, name = Own(number), None, f"client {number}"
    only = place.args.only or ""
    mix = {f: w for f, w in work.MIX.items() if only in f.__name__}
    while not place.over():
        if place.pause.is_set():
            place.doing.pop(name, None)
            place.resting.add(name)
            place.breathe(0.01)
            continue
        place.resting.discard(name)
        job = pick(rng, mix)
        place.doing[name] = (time.monotonic(), job.__name__, c.token if c else "")
        try:
            if c is None:
                c = Client(place, rng, number)
                c.own = own
            if job(c):
                c = None
            place.done[job.__name__] += 1
        except Wrong as e:
            return place.fails(f"{name} {job.__name__}", e)
        except (raw.Closed, OSError) as e:
            if place.over():
                break
            if not place.braid.alive() or place.args.calm or isinstance(e, TimeoutError):
                return place.fails(f"{name} {job.__name__}", f"connection closed {e!r}")
            place.errors[f"closed in {job.__name__}" if c else "login refused"] += 1
            for key in own.ids() if c else ():
                own.known[key] |= {n + i for n in own.known[key] for i in range(8)}
            c = None
        except Exception:
            return place.fails(f"{name} {job.__name__}", traceback.format_exc(limit=-4))
    place.doing.pop(name, None)
    if c:
        c.leave(rng.random() < 0.5)


def beside(place, name, function, *args, every=0.0):
    """Runs something again and again, as a client that is watched, too."""
    rng = random.Random(f"{place.args.seed}/{name}")
    while not place.over():
        if place.pause.is_set():
            place.doing.pop(name, None)
            place.resting.add(name)
            place.breathe(0.01)
            continue
        place.resting.discard(name)
        place.doing[name] = (time.monotonic(), name, "")
        try:
            function(place, rng, *args)
            place.done[name] += 1
        except Wrong as e:
            return place.fails(name, e)
        except Exception as e:
            if place.over():
                break
            if place.args.calm or not place.braid.alive():
                return place.fails(name, traceback.format_exc(limit=-4))
            place.errors[type(e).__name__] += 1
        place.breathe(every)
    place.doing.pop(name, None)


def dump(place):
    """Everything that tells why somebody waits."""
    out = []
    for what in ("CLIENTS", "SERVERS", "POOLS"):
        try:
            c = raw.Raw(place.port, 5)
            c.login(database="pgbraid")
            rows = raw.rows_of(c.ask(raw.query(f"SHOW {what}")))
            out.append(f"SHOW {what}\n" + "\n".join(" | ".join(map(str, r)) for r in rows))
        except (OSError, RuntimeError, raw.Closed) as e:
            out.append(f"SHOW {what}: {e!r}")
    for server in place.servers:
        rows = server.sql("SELECT pid, state, wait_event_type, wait_event, pg_blocking_pids(pid), "
                          "now() - state_change, left(query, 120), application_name "
                          "FROM pg_stat_activity WHERE datname = 'app' ORDER BY 1")
        out.append(f"port {server.port}\n" + "\n".join(map(str, rows)))
    try:
        gdb = subprocess.run(["gdb", "-p", str(place.braid.process.pid), "-batch", "-ex",
                              "thread apply all bt 12"], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, timeout=60, check=False)
        out.append(gdb.stdout[-6000:])
    except (OSError, subprocess.TimeoutExpired) as e:
        out.append(repr(e))
    return "\n\n".join(out)


def watch(place, seconds):
    """Until the time is over; hangs and a dead proxy end it sooner. Now and then all rest."""
    until = time.monotonic() + seconds
    next_rest = time.monotonic() + min(10, seconds / 2)
    while time.monotonic() < until and not place.over():
        place.breathe(0.2)
        now = time.monotonic()
        if not place.braid.alive():
            place.fails("pgbraid", f"ended with {place.braid.process.poll()}")
            return
        late = [(n, d) for n, d in list(place.doing.items()) if now - d[0] > PATIENCE]
        if late:
            place.fails("hang", f"{late}\n{dump(place)}")
            return
        if now > next_rest:
            rest(place)
            next_rest = time.monotonic() + 10


def rest(place):
    """A quiet moment: the sum is what it was."""
    place.pause.set()
    until = time.monotonic() + PATIENCE
    while place.doing and time.monotonic() < until and not place.over():
        time.sleep(0.02)
    if not place.over():
        if place.doing:
            place.fails("hang", f"{place.doing}\n{dump(place)}")
        else:
            check_sum(place)
            place.memory.append((time.monotonic() - place.started, place.braid.memory_kb()))
    place.pause.clear()


def check_memory(place):
    """The last third of the time needs no more than the middle third: caches are full by then."""
    if place.args.seconds < 120 or len(place.memory) < 9:
        return
    third = len(place.memory) // 3
    middle, last = (sorted(kb for _, kb in part)[third // 2] for part in
                    (place.memory[third:2 * third], place.memory[2 * third:]))
    print(f"memory: {place.memory[0][1]} kB at first, {middle} kB in the middle, {last} kB at the end")
    if last > middle * 1.05 + 2048:
        place.fails("memory", f"grows: {[kb for _, kb in place.memory]}")


def check_sum(place):
    total, until = None, time.monotonic() + 8
    while time.monotonic() < until:
        try:
            total = int(place.braid.sql("SELECT sum(balance) FROM accounts")[0][0])
        except Exception as e:  # a backend killed a moment ago
            total = e
        if total == place.accounts * 1000:
            return
        time.sleep(0.2)  # prepared transactions are being recovered
    place.fails("sum", f"{total}, must be {place.accounts * 1000}")


def check_end(place):
    """Nothing is left behind."""
    deadline = time.monotonic() + 8
    left = "?"
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = []
        for server in place.servers:
            left += server.sql("SELECT gid FROM pg_prepared_xacts", "app")
            left += server.sql("SELECT pid, state, query FROM pg_stat_activity WHERE datname = "
                               "'app' AND pid <> pg_backend_pid() AND (state LIKE 'idle in tr%' "
                               "OR state = 'active')", "app")
        stats = place.braid.stats()
        bad = {k: stats["connections"][k] for k in ("active", "waiting", "login", "idle")
               if stats["connections"][k]}
        left += [bad] if bad else []
        left += [stats["transactions"]] if stats["transactions"]["in_flight"] else []
        left += [b for b in stats["backends"].items()
                 if isinstance(b[1], dict) and b[1].get("active")]
    if left:
        place.fails("left behind", f"{left}\n{dump(place)}")


def stop(place):
    begin = time.monotonic()
    try:
        status = place.braid.stop(seconds=15)
    except RuntimeError as e:
        return place.fails("SIGTERM", f"{e}")
    took = time.monotonic() - begin
    if status != 0 or took > 5:
        place.fails("SIGTERM", f"status {status} after {took:.1f} s\n{place.braid.tail(20)}")
    if place.braid.complaints():
        place.fails("sanitizer", "\n".join(place.braid.complaints()[:5]))
    return None


def hung(place):
    return any(why.startswith("hang") for why in place.wrong)


def run(args, fleet):
    place = Place(args, fleet)
    threads = [threading.Thread(target=client_loop, args=(place, n), daemon=True)
               for n in range(args.clients)]
    extra = []
    if not args.only:
        extra += [("psycopg2", chaos.psycopg2_client, 1), ("psycopg3", chaos.psycopg3_client, 1),
                  ("asyncpg", chaos.asyncpg_client, 1)]
        extra += [(f"ddl{n}", chaos.schema_changes, n) for n in range(args.ddl)]
    if not args.calm:
        extra += [("kills", chaos.kill_backends), ("reload", chaos.reload)]
    if args.crash:
        extra += [("crash", chaos.crash_server)]
    threads += [threading.Thread(target=beside, args=(place, name, function, *more), daemon=True)
                for name, function, *more in extra]
    for t in threads:
        t.start()
    watch(place, args.seconds)
    place.ends.set()
    until = time.monotonic() + PATIENCE
    for t in threads:
        t.join(max(0.0, until - time.monotonic()))
    if any(t.is_alive() for t in threads) and place.braid.alive() and not hung(place):
        place.fails("hang", f"{place.doing}\n{dump(place)}")
    if not place.wrong:
        check_sum(place)
        check_end(place)
        check_memory(place)
    if place.braid.alive() and not hung(place):
        stop(place)
    return place


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--build")
    p.add_argument("--ports")
    p.add_argument("--only")
    p.add_argument("--mode", default="transaction")
    for name, value in (("seconds", 20), ("seed", 1), ("clients", 12), ("workers", 2),
                        ("shards", 3), ("pool", 3), ("ddl", 2), ("prepared", 5), ("tail", 40)):
        p.add_argument(f"--{name}", type=int, default=value)
    for name in ("calm", "crash", "keep", "verbose"):
        p.add_argument(f"--{name}", action="store_true")
    args = p.parse_args()
    pg.stop_on_signals()
    with pg.Fleet(keep=args.keep) as fleet:
        place = run(args, fleet)
        for why in place.wrong:
            print(f"FAILED  {why}", flush=True)
        if place.wrong:
            print(place.braid.tail(args.tail))
    print(f"seed {args.seed}: {sum(place.done.values())} jobs, errors {dict(place.errors)}")
    if args.verbose:
        print(dict(place.done))
    print("0 failed" if not place.wrong else f"{len(place.wrong)} failed")
    return 1 if place.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
