#!/usr/bin/python3
"""Everything dies at every step of a two-phase commit, and what must hold afterwards.

A tap in front of each server (tap.py) stops at a chosen message, and then: pgbraid or the server, or both, or all are killed,
or stopped for a while, or the connection is cut with the message in it. Afterwards, when what died is back:
  - the money is as much as before, and fits the lines about the transfers
  - every transfer whose COMMIT was answered is there, once
  - no server has a prepared transaction left, nor a lock of one

First each step with each of these (`few`: with one of them), one transfer at a time; then runs by seed with several clients at work and the step chosen
by chance, by turns with one pgbraid and with two before the same servers. `--ledger both`: all of it with either ledger.

    kill_steps.py [--steps all|few|none] [--count 20] [--seed N] [--ledger local|shard|both]
"""

import argparse
import os
import random
import resource
import signal
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import psycopg2  # noqa: E402

import pg  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from report import Report, expect, expect_that  # noqa: E402
from tap import Tap, Trap  # noqa: E402

ACCOUNTS = 60
START = 1000
TABLES = {"accounts": {"hash": ["id"]}, "transfers": {"hash": ["id"]}, "moves": {"hash": ["account"]}}
STEPS = {
    "local": [(verb, side, skip) for verb in ("BEGIN", "PREPARE TRANSACTION", "COMMIT PREPARED")
              for side in ("request", "answer") for skip in (0, 1)],
    "shard": [(verb, side, 0) for verb in ("BEGIN", "PREPARE TRANSACTION", "SELECT braid.decide", "COMMIT", "COMMIT PREPARED")
              for side in ("request", "answer")],
}
ACTIONS = ("kill proxy", "cut", "kill server", "kill proxy and server", "kill all", "freeze server", "freeze proxy")
FREEZE_S = 1.2  # longer than prepare_timeout_ms


class Client(threading.Thread):
    """Transfers until it is told to stop; connects again when it has to. `whole`: each is one statement, whose PREPARE goes
    out with it; None: by turns."""

    def __init__(self, world, braid, seed, count=None, whole=False):
        super().__init__(daemon=True)
        self.world, self.braid, self.count = world, braid, count
        self.random = random.Random(seed)
        self.whole = whole
        self.stop = False
        self.seen = []

    def run(self):
        c = None
        while not self.stop and self.count != 0:
            try:
                c = c or self.braid.connect(autocommit=False)
                self.transfer(c)
            except psycopg2.Error:
                try:
                    c.rollback()
                except (psycopg2.Error, AttributeError):
                    c = None
                    time.sleep(0.05)
            if self.count is not None:
                self.count -= 1
        if c is not None:
            c.close()

    def transfer(self, c):
        one, two = self.world.pair(self.random)
        amount, number = self.random.randrange(1, 50), self.world.next_number()
        if self.whole or (self.whole is None and number % 2):
            c.rollback()
            c.autocommit = True
            try:
                with c.cursor() as cursor:
                    cursor.execute("INSERT INTO moves (account, number, amount) VALUES (%s, %s, %s), (%s, %s, %s)",
                                   (one, number, -amount, two, number, amount))
                self.seen.append(number)
            finally:
                if not c.closed:
                    c.autocommit = False
            return
        with c.cursor() as cursor:
            # in the order of ids, so that two of them seldom wait for each other over shards
            for account, change in sorted(((one, -amount), (two, amount))):
                cursor.execute("UPDATE accounts SET balance = balance + %s WHERE id = %s", (change, account))
            cursor.execute("INSERT INTO transfers (id, one, two, amount) VALUES (%s, %s, %s, %s)", (number, one, two, amount))
        c.commit()
        self.seen.append(number)


class World:
    def __init__(self, fleet, args, ledger):
        self.ledger = ledger
        self.servers = fleet.start(3, options=("synchronous_commit = on", "deadlock_timeout = 100ms",
                                               "restart_after_crash = off"))
        for server in self.servers:
            pg.prepare(server)
        self.taps = [Tap(server, i) for i, server in enumerate(self.servers)]
        self.braids = [self.braid(fleet, args, i) for i in range(2)]
        self.numbers = iter(range(1, 1 << 40))
        self.lock = threading.Lock()
        self.seen = []
        self.in_doubt = 0
        self.struck = 0
        self.dead = set()

    def braid(self, fleet, args, number):
        config = config_for(self.taps, TABLES, ledger=self.ledger, log={"level": "warn"}, workers=1,
                            txn={"recover_interval_ms": 100, "prepare_timeout_ms": 600, "adopt_after_ms": 400},
                            pool={"connect_timeout_ms": 800})
        braid = Braid(os.path.join(fleet.folder, f"braid_{self.ledger}_{number}"), config, build=args.build)
        fleet.at_end.append(braid.kill)
        return braid

    def load(self):
        for braid in self.braids:
            braid.start()
        braid = self.braids[0]
        braid.sql("CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)")
        braid.sql("CREATE TABLE transfers (id bigint PRIMARY KEY, one bigint NOT NULL, two bigint NOT NULL, amount bigint NOT NULL)")
        braid.sql("CREATE TABLE moves (account bigint, number bigint, amount bigint NOT NULL, PRIMARY KEY (account, number))")
        braid.sql("INSERT INTO accounts VALUES " + ", ".join(f"({i}, {START})" for i in range(1, ACCOUNTS + 1)))
        self.places = {i: n for n, s in enumerate(self.servers) for (i,) in s.sql("SELECT id FROM accounts", "app")}
        self.braids[1].stop()
        self.braids[1].start()  # it has not seen the tables being made

    def next_number(self):
        with self.lock:
            return next(self.numbers)

    def pair(self, rng):
        """Two accounts of two shards."""
        while True:
            one, two = rng.randrange(1, ACCOUNTS + 1), rng.randrange(1, ACCOUNTS + 1)
            if self.places[one] != self.places[two]:
                return one, two

    # ---- what happens ----

    def strike(self, action, braid):
        def do(tap):
            self.struck += 1
            if "server" in action and "kill" in action:
                self.kill_server(tap.server)
            if action == "kill all":
                for server in self.servers:
                    self.kill_server(server)
            if "proxy" in action and "kill" in action or action == "kill all":
                braid.process.kill()
                braid.process.wait()
            if action.startswith("freeze"):
                pids = [braid.process.pid] if "proxy" in action else tap.server.children()
                signal_all(pids, signal.SIGSTOP)
                timer = threading.Timer(FREEZE_S, signal_all, (pids, signal.SIGCONT))
                timer.start()
                self.timers.append(timer)
            return "cut" if action == "cut" else None
        return do

    def kill_server(self, server):
        self.dead.add(server)
        signal_all(server.children(), signal.SIGKILL)

    def revive(self):
        for timer in self.timers:
            timer.join()
        for server in list(self.dead):
            until = time.monotonic() + 20
            while server.pid() is not None and time.monotonic() < until:
                time.sleep(0.01)
            while True:
                try:
                    server.start()
                    break
                except RuntimeError:  # a child that was just being made still has the port
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.2)
        self.dead.clear()
        self.in_doubt += len(self.prepared())
        for braid in self.braids:
            if not braid.alive():
                braid.start(wait=False)
        for braid in self.braids:
            braid.wait_healthy(60)

    def prepared(self):
        return [gid for s in self.servers for (gid,) in s.sql("SELECT gid FROM pg_prepared_xacts WHERE database = 'app'")]

    # ---- one run ----

    def run(self, trap, clients, braid, seconds):
        self.timers = []
        Tap.set(trap, self.taps)
        for client in clients:
            client.start()
        trap.struck.wait(seconds)
        if clients[0].count is None:
            time.sleep(0.05)
        for client in clients:
            client.stop = True
        while any(c.is_alive() for c in clients) and trap.struck.is_set() and not self.dead and braid.alive() and seconds > 0:
            time.sleep(0.02)
            seconds -= 0.02
        self.revive()
        Tap.set(None, self.taps)
        for client in clients:
            client.join(20)
            expect_that("a client hangs", not client.is_alive())
            self.seen += client.seen
        self.verify()

    def verify(self):
        until = time.monotonic() + 25
        while self.prepared() and time.monotonic() < until:
            time.sleep(0.03)
        expect("prepared transactions left", [], self.prepared())
        balances, transfers, moves = {}, {}, {}
        for s in self.servers:
            c = s.connect("app")
            with c.cursor() as cur:
                cur.execute("SELECT id, balance FROM accounts")
                balances.update(dict(cur.fetchall()))
                cur.execute("SELECT id, one, two, amount FROM transfers")
                for number, *rest in cur.fetchall():
                    expect_that(f"transfer {number} is there twice", number not in transfers)
                    transfers[number] = rest
                cur.execute("SELECT account, number, amount FROM moves")
                for account, number, amount in cur.fetchall():
                    moves.setdefault(number, []).append(amount)
                cur.execute("SELECT count(*) FROM pg_locks WHERE pid IS NULL")
                expect("locks of prepared transactions", 0, cur.fetchone()[0])
            c.close()
        expect("all money", ACCOUNTS * START, sum(balances.values()))
        expect("half a move", [], [n for n, amounts in moves.items() if len(amounts) != 2 or sum(amounts) != 0][:5])
        expect("acknowledged and lost", [], [n for n in self.seen if n not in transfers and n not in moves][:5])
        want = {i: START for i in range(1, ACCOUNTS + 1)}
        for one, two, amount in transfers.values():
            want[one] -= amount
            want[two] += amount
        expect("accounts that do not fit the transfers", [], [i for i in want if want[i] != balances[i]][:5])

    def step(self, verb, side, skip, action, whole):
        braid = self.braids[0]
        trap = Trap(verb, side, skip, self.strike(action, braid))
        self.run(trap, [Client(self, braid, 7, count=1, whole=whole)], braid, 5)
        expect_that("the step was not met", trap.struck.is_set())

    def chance(self, seed):
        rng = random.Random(seed)
        victim = self.braids[0]
        verbs = ("BEGIN", "PREPARE TRANSACTION", "COMMIT PREPARED") + \
            (("SELECT braid.decide", "COMMIT") if self.ledger == "shard" else ())
        trap = Trap(rng.choice(verbs), rng.choice(("request", "answer")), rng.randrange(0, 30),
                    self.strike(rng.choice(ACTIONS), victim))
        braids = self.braids if seed % 2 else self.braids[:1]
        self.run(trap, [Client(self, b, rng.random(), whole=None) for b in braids for _ in range(6 // len(braids))], victim, 5)

    def nothing_kept(self):
        """What shards remember goes when nobody needs it any more."""
        if self.ledger != "shard":
            return
        until = time.monotonic() + 90
        while time.monotonic() < until:
            left = sum(s.sql("SELECT count(*) FROM braid.ledger WHERE outcome = 'c'", "app")[0][0] for s in self.servers)
            if left == 0:
                return
            time.sleep(0.3)
        expect("decisions kept", 0, left)

    def disk_full(self):
        """The ledger's file may not grow: commits over shards end there, everything else goes on, a restart heals it."""
        braid = self.braids[0]
        soft, hard = resource.prlimit(braid.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(braid.process.pid, resource.RLIMIT_FSIZE, (1024, hard))
        # One, and later one of other accounts: what is in doubt keeps its locks until the restart.
        client = Client(self, braid, 11, count=1 if self.ledger == "local" else 6)
        client.start()
        client.join(30)
        expect_that("a client hangs", not client.is_alive())
        self.seen += client.seen
        if self.ledger == "local":
            expect("commits with a full disk", [], client.seen)
            e = None
            try:
                self.one_transfer(braid)
            except psycopg2.Error as error:
                e = error
            expect_that(f"told so: {e}", e is not None and "ledger" in str(e))
        else:
            expect_that("shards keep the decisions: nothing is felt", len(client.seen) > 0)
        expect("one shard", [(START,)], [(braid.sql("SELECT 1000"))[0]])
        braid.kill()
        braid.start()
        self.verify()
        self.one_transfer(braid)
        self.verify()

    def one_transfer(self, braid):
        c = braid.connect(autocommit=False)
        try:
            client = Client(self, braid, 13)
            client.transfer(c)
            self.seen += client.seen
        finally:
            c.close()


def signal_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def run_ledger(fleet, args, ledger, report):
    world = World(fleet, args, ledger)
    if not report.run(f"{ledger}: loading", world.load):
        return
    begin = time.monotonic()
    actions = ACTIONS if args.steps == "all" else None
    runs = 0
    for verb, side, skip in STEPS[ledger] if args.steps != "none" else ():
        few = [(ACTIONS[(args.seed + runs) % len(ACTIONS)], (args.seed + runs) % 2 == 1)]
        for action, whole in [(a, w) for a in actions for w in (False, True)] if actions else few:
            runs += 1
            if not report.run(f"{ledger}: {action} at {verb} {side} {skip}{' of one statement' if whole else ''}", world.step,
                              verb, side, skip, action, whole):
                print("\n".join(b.tail() for b in world.braids), flush=True)
                return
    for i in range(args.count):
        runs += 1
        if not report.run(f"{ledger}: seed {args.seed + i}", world.chance, args.seed + i):
            print("\n".join(b.tail() for b in world.braids), flush=True)
            return
    report.run(f"{ledger}: disk full under the ledger", world.disk_full)
    report.run(f"{ledger}: nothing is kept", world.nothing_kept)
    for braid in world.braids:
        report.run("sanitizers and checks", expect, "complaints", [], braid.complaints())
        braid.stop()
    print(f"kill_steps: {ledger}: {runs} runs in {time.monotonic() - begin:.0f} s, {world.struck} struck, {len(world.seen)} commits "
          f"acknowledged, {world.in_doubt} prepared transactions found", flush=True)
    for server in world.servers:
        server.stop("immediate")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", choices=["all", "few", "none"], default="few")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--ledger", choices=["local", "shard", "both"], default="both")
    parser.add_argument("--build")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="failures and counts only")
    args = parser.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(10**9)
    print(f"kill_steps: seed {args.seed}", flush=True)
    pg.stop_on_signals()
    report = Report(verbose=not args.quiet)
    with pg.Fleet(keep=args.keep) as fleet:
        for ledger in ("local", "shard") if args.ledger == "both" else (args.ledger,):
            run_ledger(fleet, args, ledger, report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
