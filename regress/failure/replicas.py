#!/usr/bin/python3
"""Replicas: who reads where, lag, read-your-writes, failover. Real streaming replicas.

    replicas.py [--build DIR] [--only WORD] [--verbose] [--keep]

Servers: s0 (primary), s1 and s2 (its replicas), s3 (alone). Database "app" is one shard on s0, s1,
s2; database "wide" has two, shard0 on s0, s1, s2 and shard1 on s3. Tests that promote make a
cluster of their own.
"""

import argparse
import os
import signal
import sys
import threading
import time

import psycopg
import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import pg  # noqa: E402
from braid import Braid  # noqa: E402
from place import expect_error, wait_for  # noqa: E402
from report import Failed, Report, expect, expect_that  # noqa: E402

HBA = ("host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust",
       "local replication all trust")
PORT = "current_setting('port')::int"
SCHEMA = """
CREATE TABLE t (id bigint PRIMARY KEY, v text);
INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 100) i;
CREATE SEQUENCE seq;
CREATE UNLOGGED TABLE scratch (id int);
CREATE FUNCTION wild() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE FUNCTION calm() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE FUNCTION wild_default(a int DEFAULT wild()) RETURNS int LANGUAGE sql STABLE AS 'SELECT a';
CREATE VIEW calm_view AS SELECT id, calm() FROM t;
CREATE VIEW wild_view AS SELECT id, wild() FROM t;
CREATE VIEW over_wild AS SELECT * FROM wild_view;
CREATE VIEW activity AS SELECT pid FROM pg_stat_activity;
CREATE FUNCTION wild_op(a int, b int) RETURNS bool LANGUAGE sql VOLATILE AS 'SELECT a = b';
CREATE OPERATOR <~> (LEFTARG = int, RIGHTARG = int, FUNCTION = wild_op);
"""


class Cluster:
    """A primary and its streaming replicas: servers[0] is the primary at first."""

    def __init__(self, fleet, replicas=2):
        self.fleet = fleet
        primary = fleet.add(hba=HBA, options=["wal_level = replica", "max_wal_senders = 10",
                                              "wal_keep_size = 64MB", "hot_standby = on",
                                              "wal_receiver_status_interval = 1s"])
        primary.start()
        pg.prepare(primary, databases=("app",))
        primary.sql("GRANT pg_monitor TO app")
        self.servers = [primary]
        self.all_sql(SCHEMA)
        primary.stop()
        for _ in range(replicas):
            self.servers.append(self.copy_of(primary))
        for server in self.servers:
            server.start()
        self.primary = primary

    def all_sql(self, text):
        c = self.servers[0].connect("app")
        with c.cursor() as cur:
            cur.execute("SET ROLE app")
            cur.execute(text)
        c.close()

    def copy_of(self, source):
        """A replica made of the folder of a server that was stopped; not started yet."""
        server = pg.Server(os.path.join(self.fleet.pg, f"s{len(self.fleet.servers)}"), pg.free_ports(1)[0])
        pg.run_quiet(pg.as_server("cp", "-a", source.folder, server.folder), "cp")
        self.fleet.servers.append(server)
        self.follow(server, source)
        return server

    def follow(self, server, source):
        """Make it a replica of `source` at its next start."""
        with open(f"{server.folder}/postgresql.auto.conf", encoding="utf-8") as f:
            lines = [line for line in f if not line.startswith(("port", "primary_conninfo"))]
        lines += [f"port = {server.port}\n",
                  f"primary_conninfo = 'host={source.socket_dir} port={source.port} user=postgres'\n"]
        server.write("postgresql.auto.conf", "".join(lines))
        server.write("standby.signal", "")


    def caught_up(self):
        """Every replica that runs has replayed what the primary has."""
        position = self.primary.sql("SELECT pg_current_wal_insert_lsn()")[0][0]
        for server in self.servers:
            if server is not self.primary and server.pid() is not None:
                server.wait_sql("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn" % repr(position),
                                lambda rows: rows[0][0])

    def promote(self, server):
        server.ctl("promote", "-W")
        self.primary = server


class Place:
    def __init__(self, fleet, build):
        self.fleet = fleet
        self.build = build
        self.count = 0
        self._shared = None
        self._alone = None

    def shared(self):
        if self._shared is None:
            self._shared = Cluster(self.fleet)
            self._alone = self.fleet.start(1)[0]
            pg.prepare(self._alone, databases=("app",))
        return self._shared

    def braid(self, cluster, start=True, order=None, servers=None, service=None, replicas=None,
              **sections):
        self.count += 1
        members = [f"s{i}" for i in range(len(cluster.servers))]
        config = {
            "workers": 2,
            "auth": {"method": "trust", "users_file": "users.txt"},
            "replicas": {"read_wait_ms": 2000, **(replicas or {})},
            "service": {"health_interval_ms": 200, "health_timeout_ms": 1000, **(service or {})},
            "servers": {f"s{i}": {"host": "127.0.0.1", "port": s.port, **((servers or {}).get(i) or {})}
                        for i, s in enumerate(cluster.servers)},
            "databases": {"app": {"dbname": "app", "shards": {"only": {"servers": order or members}}}},
            **sections,
        }
        braid = Braid(os.path.join(self.fleet.folder, f"braid{self.count}"), config, build=self.build)
        self.fleet.at_end.append(braid.kill)
        return braid.start() if start else braid

    def end(self, braid):
        got = braid.stop()
        if got != 0 or braid.complaints():
            raise Failed(f"pgbraid ended with {got}; {braid.complaints()[:3]}\n" + braid.tail(40))


def shards(braid):
    """SHOW SHARDS as {server: row}."""
    c = braid.connect("pgbraid")
    try:
        with c.cursor() as cur:
            cur.execute("SHOW SHARDS")
            names = [d.name for d in cur.description]
            return {row[names.index("server")]: dict(zip(names, row)) for row in cur.fetchall()}
    finally:
        c.close()


def ports_of(connection, statement=f"SELECT {PORT}", times=8):
    got = set()
    with connection.cursor() as cur:
        for _ in range(times):
            cur.execute(statement)
            got.add(cur.fetchone()[0])
    return got


def wait_readers(braid, count, seconds=15):
    """Until so many replicas take reads."""
    wait_for(f"{count} readers", lambda: sum(
        1 for row in shards(braid).values() if row["reads"] == "yes") == count, seconds)


def ready(place, cluster, **more):
    braid = place.braid(cluster, **more)
    wait_readers(braid, len(cluster.servers) - 1)
    return braid


# ---- where statements run --------------------------------------------------------------------------


def test_reads_go_to_replicas(place):
    cluster = place.shared()
    s0, s1, s2 = (s.port for s in cluster.servers)
    braid = ready(place, cluster)
    c = braid.connect()
    expect("reads by turns", {s1, s2}, ports_of(c))
    for statement in ("SELECT count(*), {p} FROM t", "SELECT calm(), {p}", "SELECT *, {p} FROM calm_view LIMIT 1",
                      "WITH q AS (SELECT max(id) FROM t) SELECT *, {p} FROM q", "SELECT relname, {p} FROM pg_class LIMIT 1",
                      "SELECT now(), {p}; SELECT {p}"):
        with c.cursor() as cur:
            cur.execute(statement.format(p=PORT))
            expect_that(statement, cur.fetchone()[-1] in (s1, s2))
    with psycopg.connect(braid.dsn(), autocommit=True) as p3:
        for prepare in (False, True):
            got = {p3.execute(f"SELECT {PORT} WHERE %s::int = 1", (1,), prepare=prepare).fetchone()[0] for _ in range(6)}
            expect(f"extended, prepare={prepare}", {s1, s2}, got)
    stats = shards(braid)
    expect("roles", ["primary", "replica", "replica"], [stats[f"s{i}"]["role"] for i in range(3)])
    expect("reads are counted", True, int(stats["s1"]["replica_reads"]) > 5)
    c.close()
    place.end(braid)


def test_the_rest_goes_to_the_primary(place):
    cluster = place.shared()
    s0 = cluster.servers[0].port
    braid = ready(place, cluster)
    c = braid.connect()
    cases = [
        f"SELECT {PORT}, nextval('seq')", f"SELECT {PORT}, wild()", f"SELECT {PORT} FROM t WHERE id = 1 FOR UPDATE",
        f"WITH q AS (INSERT INTO t VALUES (1000, 'x') ON CONFLICT (id) DO UPDATE SET v = 'y' RETURNING 1) SELECT {PORT} FROM q",
        f"SELECT {PORT}, pg_is_in_recovery()", f"SELECT {PORT} FROM wild_view LIMIT 1", f"SELECT {PORT} FROM over_wild LIMIT 1",
        f"SELECT {PORT}, last_value FROM seq", f"SELECT {PORT}, count(*) FROM scratch", f"SELECT {PORT} FROM activity LIMIT 1",
        f"SELECT {PORT}, 1 <~> 1", f"SELECT {PORT}, wild_default()", f"SELECT {PORT}, random()",
        f"SELECT {PORT}, pg_advisory_unlock_all()", f"SELECT {PORT} FROM pg_stat_activity LIMIT 1",
        f"SELECT {PORT} FROM t TABLESAMPLE system (100) LIMIT 1", f"UPDATE t SET v = v WHERE id = 2 RETURNING {PORT}",
        f"SELECT {PORT}; INSERT INTO t VALUES (1001, 'a') ON CONFLICT DO NOTHING; SELECT {PORT}",
    ]
    with psycopg.connect(braid.dsn(), autocommit=True) as p3:
        for statement in cases:
            with c.cursor() as cur:
                cur.execute(statement)
                expect(statement, s0, cur.fetchone()[0])
            if ";" not in statement:
                expect(f"{statement} (extended)", s0, p3.execute(statement, (), prepare=True).fetchone()[0])
    c.autocommit = False
    expect("a block that may write", {s0}, ports_of(c))
    c.rollback()
    c.autocommit = True
    with c.cursor() as cur:
        cur.execute("CREATE TEMP TABLE mine (id int)")
        cur.execute(f"SELECT {PORT}, count(*) FROM mine")
        expect("a temporary table", s0, cur.fetchone()[0])
        cur.execute(f"SELECT {PORT}")
        expect("pinned to it", s0, cur.fetchone()[0])
    c.close()
    place.end(braid)


def test_transactions_that_only_read(place):
    cluster = place.shared()
    s0, s1, s2 = (s.port for s in cluster.servers)
    braid = ready(place, cluster)
    c = braid.connect()
    with c.cursor() as cur:
        for begin in ("BEGIN READ ONLY", "BEGIN; SET TRANSACTION READ ONLY",
                      "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
            for statement in begin.split("; "):
                cur.execute(statement)
            expect(begin, 1, len(got := ports_of(c)))
            expect_that(f"{begin}: on a replica", got <= {s1, s2})
            cur.execute("COMMIT")
        cur.execute("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY")
        expect("serializable", {s0}, ports_of(c))
        cur.execute("COMMIT")
        cur.execute("BEGIN READ ONLY")
        expect_that("begins on a replica", ports_of(c) <= {s1, s2})
        cur.execute("SAVEPOINT a")
        cur.execute(f"SELECT {PORT}, wild()")
        expect("what is not provable moves to the primary", s0, cur.fetchone()[0])
        expect("and stays there", {s0}, ports_of(c))
        cur.execute("ROLLBACK TO SAVEPOINT a")
        cur.execute("COMMIT")
        cur.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        ports_of(c)
        expect_error("a snapshot cannot move", "0A000", lambda: cur.execute("SELECT wild()"))
        cur.execute("ROLLBACK")
        cur.execute("BEGIN READ ONLY; SELECT 1")
        cur.execute("COMMIT")
    expect("afterwards", {s1, s2}, ports_of(c))
    c.close()
    place.end(braid)


def test_hints_and_the_setting(place):
    cluster = place.shared()
    s0, s1, s2 = (s.port for s in cluster.servers)
    braid = ready(place, cluster)
    c = braid.connect()
    with c.cursor() as cur:
        def show():
            cur.execute("SHOW braid.role")
            return cur.fetchone()[0]
        expect("to the primary", {s0}, ports_of(c, f"/* braid: role=primary */ SELECT {PORT}"))
        expect("to replicas", {s1, s2}, ports_of(c, f"/* braid: role=replica */ SELECT {PORT}, wild()"))
        expect_error("a write there is PostgreSQL's to refuse", "25006",
                     lambda: cur.execute("/* braid: role=replica */ INSERT INTO t VALUES (-1, 'x')"))
        expect("default", "auto", show())
        cur.execute("SET braid.role = 'primary'")
        expect("set", ("primary", {s0}), (show(), ports_of(c)))
        expect("the hint is stronger", {s1, s2}, ports_of(c, f"/* braid: role=replica */ SELECT {PORT}"))
        cur.execute("SET braid.role TO replica")
        expect("replica", ("replica", {s1, s2}), (show(), ports_of(c, f"SELECT {PORT}, wild()")))
        cur.execute("BEGIN")
        cur.execute("SET LOCAL braid.role = 'primary'")
        expect("local", ("primary", {s0}), (show(), ports_of(c)))
        cur.execute("ROLLBACK")
        expect("after it", "replica", show())
        cur.execute("BEGIN")
        cur.execute("SET braid.role = 'auto'")
        cur.execute("ROLLBACK")
        expect("rolled back", "replica", show())
        cur.execute("RESET braid.role")
        expect("reset", "auto", show())
        expect_error("a bad value", "22023", lambda: cur.execute("SET braid.role = 'elsewhere'"))
        expect_error("a bad name", "42704", lambda: cur.execute("SET braid.rule = 'primary'"))
        expect_error("a bad name", "42704", lambda: cur.execute("SHOW braid.rule"))
    with psycopg.connect(braid.dsn(), autocommit=True) as p3:
        p3.execute("SET braid.role = 'primary'", prepare=True)
        expect("extended", ("primary",), p3.execute("SHOW braid.role", prepare=True).fetchone())
    c.close()
    place.end(braid)


TESTS = [test_reads_go_to_replicas, test_the_rest_goes_to_the_primary, test_transactions_that_only_read,
         test_hints_and_the_setting]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build")
    parser.add_argument("--only")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    pg.stop_on_signals()
    report = Report(args.verbose, args.only)
    with pg.Fleet(keep=args.keep) as fleet:
        place = Place(fleet, args.build)
        for test in TESTS:
            report.run(test.__name__[5:].replace("_", " "), test, place)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
