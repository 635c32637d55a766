#!/usr/bin/python3
"""kill -9 of pgbraid at random instants of two-phase commits, and what must hold afterwards.

Clients move money between accounts on different shards and write a line about it into `transfers`,
all in one transaction. Then the proxy is killed and started again, and when it has recovered:
  - no server has a prepared transaction left
  - the money is as much as before, and every balance is what `transfers` says it must be
  - every transfer whose COMMIT a client saw is there

    kill_2pc.py [--kills 20] [--seed N] [--fsync] [--who proxy|server|both] [--ledger local|shard]

The instants come from the seed; what the threads do in them is up to the machine.
"""

import argparse
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import psycopg2  # noqa: E402

import pg  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from report import Report, expect, expect_that  # noqa: E402

ACCOUNTS = 200
START = 10_000
CLIENTS = 8
TABLES = {"accounts": {"hash": ["id"]}, "transfers": {"hash": ["id"]}}


class Client(threading.Thread):
    """Transfers until the connection breaks. `seen` are ids whose COMMIT was answered."""

    def __init__(self, braid, number, seed):
        super().__init__(daemon=True)
        self.braid = braid
        self.number = number
        self.random = random.Random(seed)
        self.seen = []
        self.tried = 0
        self.refused = []
        self.stop = False

    def run(self):
        try:
            connection = self.braid.connect(autocommit=False)
        except psycopg2.Error:
            return
        while not self.stop:
            try:
                self.transfer(connection)
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as e:
                if connection.closed:
                    return
                self.undo(connection, e)
            except psycopg2.Error as e:
                self.undo(connection, e)
        connection.close()

    def undo(self, connection, error):
        """A deadlock or a refusal; a line of it is kept."""
        if len(self.refused) < 20:
            self.refused.append(f"{error.pgcode} {str(error).splitlines()[0]}")
        try:
            connection.rollback()
        except psycopg2.Error:
            self.stop = True

    def transfer(self, connection):
        one, two = sorted(self.random.sample(range(1, ACCOUNTS + 1), 2))
        amount = self.random.randrange(-50, 51)
        self.tried += 1
        number = self.number * 1_000_000 + self.tried
        with connection.cursor() as cursor:
            cursor.execute("UPDATE accounts SET balance = balance - %s WHERE id = %s", (amount, one))
            cursor.execute("UPDATE accounts SET balance = balance + %s WHERE id = %s", (amount, two))
            cursor.execute("INSERT INTO transfers (id, one, two, amount) VALUES (%s, %s, %s, %s)",
                           (number, one, two, amount))
        connection.commit()
        self.seen.append(number)


def prepared_left(servers):
    return [row[0] for s in servers
            for row in s.sql("SELECT gid FROM pg_prepared_xacts WHERE database = 'app'")]


def wait_recovered(servers, seconds=30):
    until = time.monotonic() + seconds
    while True:
        left = prepared_left(servers)
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.05)


def verify(servers, seen):
    """Straight from the servers, so that nothing but them is believed."""
    balances = {}
    transfers = {}
    for s in servers:
        balances.update(dict(s.sql("SELECT id, balance FROM accounts", "app")))
        for number, one, two, amount in s.sql("SELECT id, one, two, amount FROM transfers", "app"):
            transfers[number] = (one, two, amount)
    expect("accounts", ACCOUNTS, len(balances))
    expect("all money", ACCOUNTS * START, sum(balances.values()))
    lost = [number for number in seen if number not in transfers]
    expect("committed transfers that are lost", [], lost[:5])
    want = {i: START for i in range(1, ACCOUNTS + 1)}
    for one, two, amount in transfers.values():
        want[one] -= amount
        want[two] += amount
    expect("accounts that do not fit the transfers", [],
           [i for i in want if want[i] != balances[i]][:5])


class Run:
    def __init__(self, fleet, args):
        self.random = random.Random(args.seed)
        self.who = args.who
        self.servers = fleet.start(3, fsync=args.fsync,
                                   options=() if args.fsync else ("synchronous_commit = on",))
        for server in self.servers:
            pg.prepare(server)
        config = config_for(self.servers, TABLES, txn={"recover_interval_ms": 200}, ledger=args.ledger)
        self.braid = Braid(os.path.join(fleet.folder, "braid"), config, build=args.build)
        fleet.at_end.append(self.braid.kill)
        self.seen = set()
        self.in_doubt = 0
        self.numbers = 0
        self.refused = []

    def load(self):
        self.braid.start()
        self.braid.sql("CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)")
        self.braid.sql("CREATE TABLE transfers (id bigint PRIMARY KEY, one bigint NOT NULL, "
                       "two bigint NOT NULL, amount bigint NOT NULL)")
        connection = self.braid.connect()
        with connection.cursor() as cursor:
            for i in range(1, ACCOUNTS + 1):
                cursor.execute("INSERT INTO accounts VALUES (%s, %s)", (i, START))
        connection.close()

    def strike(self):
        """Kill what this run kills; start it again."""
        victim = self.who if self.who != "both" else self.random.choice(("proxy", "server"))
        if victim == "proxy":
            self.braid.process.kill()
            self.braid.process.wait()
            self.in_doubt += len(prepared_left(self.servers))
            self.braid.start(seconds=60)
        else:
            server = self.random.choice(self.servers)
            server.signal_all(signal.SIGKILL)
            while server.pid() is not None:
                time.sleep(0.01)
            server.start()
            self.in_doubt += len(prepared_left(self.servers))
            self.braid.wait_healthy(60)

    def round(self):
        clients = []
        for _ in range(CLIENTS):
            self.numbers += 1
            clients.append(Client(self.braid, self.numbers, self.random.random()))
        for client in clients:
            client.start()
        time.sleep(self.random.uniform(0.1, 0.6))
        self.strike()
        for client in clients:
            client.stop = True
        for client in clients:
            client.join(30)
            expect_that("a client hangs after the kill", not client.is_alive())
            self.seen.update(client.seen)
            self.refused += client.refused
        expect("prepared transactions left", [], wait_recovered(self.servers))
        verify(self.servers, self.seen)
        expect("accounts through the proxy", [ACCOUNTS, ACCOUNTS * START], self.ask_proxy())

    def ask_proxy(self, seconds=15):
        """Right after a server's return the proxy may still wait with its next attempt to connect."""
        until = time.monotonic() + seconds
        while True:
            try:
                return [int(v) for v in self.braid.sql("SELECT count(*), sum(balance) FROM accounts")[0]]
            except psycopg2.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--fsync", action="store_true")
    parser.add_argument("--who", choices=["proxy", "server", "both"], default="proxy")
    parser.add_argument("--ledger", choices=["local", "shard"], default="local")
    parser.add_argument("--build")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(10**9)
    print(f"kill_2pc: seed {args.seed}, {args.kills} kills of the {args.who}", flush=True)
    pg.stop_on_signals()
    report = Report(verbose=True)
    with pg.Fleet(keep=args.keep) as fleet:
        run = Run(fleet, args)
        if report.run("loading", run.load):
            for i in range(args.kills):
                if not report.run(f"kill {i + 1}", run.round):
                    print(run.braid.tail(), flush=True)
                    break
        print(f"kill_2pc: {len(run.seen)} transfers committed, {run.in_doubt} prepared transactions "
              "found at the kills", flush=True)
        for line in sorted(set(run.refused))[:5]:
            print(f"kill_2pc: clients were told: {line}")
        if args.kills >= 20 and args.who == "proxy":
            report.run("some kills hit a two-phase commit", expect_that, "none did", run.in_doubt > 0)
        report.run("sanitizers and checks", expect, "complaints", [], run.braid.complaints())
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
