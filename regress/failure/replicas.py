"""Replicas: who reads where, lag, read-your-writes, failover. Real streaming replicas.

Servers: s0 (primary), s1 and s2 (its replicas), s3 (alone). Database "app" is one shard on s0, s1,
s2; database "wide" has two, shard0 on s0, s1, s2 and shard1 on s3. Tests that promote make a
cluster of their own.
"""

import os
import subprocess
import threading
import time

import psycopg
import psycopg2

import pg
from braid import Braid
from place import expect_error, wait_for
from report import Failed, expect, expect_that

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
                                              "wal_receiver_status_interval = 1s", "wal_log_hints = on", "full_page_writes = on",
                                              "wal_retrieve_retry_interval = 200ms"])
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
        position = self.primary.sql("SELECT pg_current_wal_flush_lsn()")[0][0]
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
            "replicas": {"read_wait_ms": 1000, **(replicas or {})},
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


def all_of(connection, want, statement=f"SELECT {PORT}", seconds=15):
    """Ports that reads come to until each of `want` was seen: one of them may lag behind for a moment."""
    got = set()
    end = time.monotonic() + seconds
    while got != want and got <= want and time.monotonic() < end:
        got |= ports_of(connection, statement)
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
    expect("reads by turns", {s1, s2}, all_of(c, {s1, s2}))
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
    expect("afterwards", {s1, s2}, all_of(c, {s1, s2}))
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
        expect("to replicas", {s1, s2}, all_of(c, {s1, s2}, f"/* braid: role=replica */ SELECT {PORT}, wild()"))
        expect_error("a write there is PostgreSQL's to refuse", "25006",
                     lambda: cur.execute("/* braid: role=replica */ INSERT INTO t VALUES (-1, 'x')"))
        expect("default", "auto", show())
        cur.execute("SET braid.role = 'primary'")
        expect("set", ("primary", {s0}), (show(), ports_of(c)))
        expect("the hint is stronger", {s1, s2}, all_of(c, {s1, s2}, f"/* braid: role=replica */ SELECT {PORT}"))
        cur.execute("SET braid.role TO replica")
        expect("replica", ("replica", {s1, s2}), (show(), all_of(c, {s1, s2}, f"SELECT {PORT}, wild()")))
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


# ---- behind ----------------------------------------------------------------------------------------


def test_read_your_writes(place):
    cluster = place.shared()
    s0, s1, s2 = (s.port for s in cluster.servers)
    braid = ready(place, cluster)
    hasty = ready(place, cluster, replicas={"read_wait_ms": 0})
    c, h, other = braid.connect(), hasty.connect(), braid.connect()
    with c.cursor() as cur:
        for i in range(20):
            cur.execute("UPDATE t SET v = %s WHERE id = 3", (f"round {i}",))
            cur.execute(f"SELECT v, {PORT} FROM t WHERE id = 3")
            v, port = cur.fetchone()
            expect("what was written", f"round {i}", v)
            expect_that("read on a replica that has it", port in (s1, s2))
        for server in cluster.servers[1:]:
            server.sql("SELECT pg_wal_replay_pause()")
        try:
            for connection, limit in ((h, 1), (c, 4)):
                with connection.cursor() as cur2:
                    cur2.execute("UPDATE t SET v = 'paused' WHERE id = 3")
                    begin = time.monotonic()
                    cur2.execute(f"SELECT v, {PORT} FROM t WHERE id = 3")
                    expect("from the primary", ("paused", s0), cur2.fetchone())
                    expect_that("within the limit", time.monotonic() - begin < limit)
            cur.execute("BEGIN; INSERT INTO t VALUES (2000, 'block'); COMMIT")
            cur.execute(f"SELECT v, {PORT} FROM t WHERE id = 2000")
            expect("a block counts, too", ("block", s0), cur.fetchone())
            with other.cursor() as cur2:
                cur2.execute(f"SELECT v, {PORT} FROM t WHERE id = 3")
                v, port = cur2.fetchone()
                expect_that("others read what replicas have", v != "paused" and port in (s1, s2))
        finally:
            for server in cluster.servers[1:]:
                server.sql("SELECT pg_wal_replay_resume()")
        cluster.caught_up()
        wait_for("replicas again", lambda: ports_of(c, times=2) <= {s1, s2})
        cur.execute("DELETE FROM t WHERE id = 2000")
    for connection in (c, h, other):
        connection.close()
    place.end(hasty)
    place.end(braid)


def test_lag_limits(place):
    cluster = place.shared()
    s0, s1, s2 = (s.port for s in cluster.servers)
    braid = ready(place, cluster, servers={1: {"max_lag_bytes": 1000}, 2: {"max_lag_ms": 700}})
    writer = cluster.servers[0].connect("app")
    c = braid.connect()
    for server in cluster.servers[1:]:
        server.sql("SELECT pg_wal_replay_pause()")
    try:
        with writer.cursor() as cur:
            for i in range(3):
                cur.execute("UPDATE t SET v = repeat('x', 500) WHERE id BETWEEN 10 AND 20")
            wait_for("too many bytes", lambda: ports_of(c, times=4) == {s2} or ports_of(c, times=4) == {s0}, 10)
            wait_for("too late", lambda: ports_of(c, times=4) == {s0}, 10)
        row = shards(braid)["s1"]
        expect_that(f"SHOW SHARDS says how far: {row}", int(row["lag_bytes"]) > 1000 and int(row["lag_ms"]) > 500)
    finally:
        for server in cluster.servers[1:]:
            server.sql("SELECT pg_wal_replay_resume()")
    wait_for("both read again", lambda: ports_of(c, times=6) == {s1, s2})
    c.close()
    writer.close()
    place.end(braid)


def test_weights_and_shares(place):
    cluster = place.shared()
    s0, s1, s2 = (s.port for s in cluster.servers)
    braid = place.braid(cluster, servers={1: {"weight": 0}}, replicas={"primary_reads": "share"})
    wait_readers(braid, 1)
    c = braid.connect()
    expect("the primary takes part, weight 0 does not", {s0, s2}, all_of(c, {s0, s2}))
    c.close()
    place.end(braid)


# ---- replicas that fail ----------------------------------------------------------------------------


def in_thread(call):
    """Run it beside; .join() gives its result or raises its error."""
    class Run(threading.Thread):
        def run(self):
            try:
                self.got, self.error = call(), None
            except Exception as e:  # pylint: disable=broad-except
                self.got, self.error = None, e

        def result(self, seconds=20):
            self.join(seconds)
            expect_that("it ended in time", not self.is_alive())
            if self.error is not None:
                raise self.error
            return self.got
    run = Run(daemon=True)
    run.start()
    return run


def test_replicas_killed_and_frozen(place):
    cluster = place.shared()
    s0, s1, s2 = (s.port for s in cluster.servers)
    braid = ready(place, cluster, service={"health_timeout_ms": 300})
    c = braid.connect()
    slow = "/* braid: role=replica */ SELECT count(*), pg_sleep(30)"

    def kill(server):
        ports_of(c)
        runs = [in_thread(lambda: braid.sql(slow)) for _ in range(4)]
        wait_for("they run", lambda: len(server.sql(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()")) >= 1)
        return runs

    dead = cluster.servers[1]
    runs = kill(dead)
    dead.stop("immediate")
    try:
        wait_for("one of them fails", lambda: any(not r.is_alive() for r in runs))
        for r in runs:
            if not r.is_alive():
                expect("nothing was changed: repeat", "40001", r.error.pgcode)
        expect("the other one reads on", {s2}, ports_of(c))
        frozen = cluster.servers[2]
        frozen.freeze()
        try:
            wait_for("all fail when the last one hangs", lambda: all(not r.is_alive() for r in runs), 20)
            expect("reads go to the primary", {s0}, ports_of(c))
            row = shards(braid)
            expect("SHOW SHARDS", ("down", "down"), (row["s1"]["state"], row["s2"]["state"]))
        finally:
            frozen.resume()
    finally:
        dead.start()
    wait_readers(braid, 2)
    expect("both are back", {s1, s2}, all_of(c, {s1, s2}))
    c.close()
    place.end(braid)


# ---- failover --------------------------------------------------------------------------------------


def test_promotion(place):
    """pg_ctl promote after a crash: writes wait and go on; the old primary comes back and is fenced."""
    cluster = Cluster(place.fleet, replicas=2)
    old, new, third = cluster.servers
    braid = ready(place, cluster)
    c = braid.connect()
    idle = braid.connect()
    block = braid.connect(autocommit=False)
    with c.cursor() as cur, block.cursor() as in_block, idle.cursor() as other:
        other.execute("UPDATE t SET v = 'warm' WHERE id = 5")
        in_block.execute("UPDATE t SET v = 'lost' WHERE id = 6")
        cluster.caught_up()
        running = in_thread(lambda: braid.sql("UPDATE t SET v = pg_sleep(30)::text WHERE id = 7"))
        wait_for("it runs", lambda: old.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'UPDATE t SET v = pg_sleep%'"))
        old.stop("immediate")
        e = expect_error("in the middle of a write", "08006", running.result)
        expect_that(f"it says so: {e}", "outcome" in str(e) or "known" in str(e) or "whether" in str(e))
        wait_for("the primary is gone", lambda: shards(braid)["s0"]["role"] != "primary")
        cur.execute(f"SELECT {PORT}")
        expect_that("reads go on", cur.fetchone()[0] in (new.port, third.port))
        write = in_thread(lambda: braid.sql(f"UPDATE t SET v = 'after' WHERE id = 5 RETURNING v, {PORT}"))
        time.sleep(0.5)
        expect_that("writes wait", write.is_alive())
        cluster.promote(new)
        new.wait_sql("SELECT pg_is_in_recovery()", lambda rows: not rows[0][0])
        promoted = time.monotonic()
        expect("the write goes on", [("after", new.port)], write.result())
        took = time.monotonic() - promoted
        expect_that(f"within a second: {took:.2f} s", took < 1.0)
        expect_error("the block is lost, told as such", "40001", lambda: in_block.execute("SELECT 1"))
        block.rollback()
        in_block.execute(f"SELECT {PORT} FROM t WHERE id = 6 AND v <> 'lost'")
        expect("the block's change is not there", (new.port,), in_block.fetchone())
        block.rollback()
        old.start()
        wait_for("the old one is fenced", lambda: shards(braid)["s0"]["role"] == "fenced")
        expect("state", "fenced", shards(braid)["s0"]["state"])
        expect_that("and shouted about", braid.count("SHARD_SPLIT") >= 1)
        for _ in range(10):
            other.execute(f"UPDATE t SET v = v WHERE id = 5 RETURNING {PORT}")
            expect("writes go to the new one", new.port, other.fetchone()[0])
        expect_that("/stats tells", '"fenced"' in braid.http("/stats")[1])
        expect_that("/metrics tells", 'role="fenced"' in braid.http("/metrics")[1])
        failback(cluster, braid, old, new, third, other)
    for connection in (c, idle, block):
        connection.close()
    place.end(braid)


def failback(cluster, braid, old, new, third, cursor):
    """The old primary becomes a replica of the new one, and then primary again."""
    pg.run_quiet(pg.as_server("psql", "-h", new.socket_dir, "-p", str(new.port), "-U", "postgres", "-c", "CHECKPOINT"), "checkpoint")
    for server in (old, third):  # the third one may have received what the new one has not
        server.stop()
        pg.run_quiet(pg.as_server(f"{pg.BIN}/pg_rewind", "-D", server.folder, "--source-server",
                                  f"host={new.socket_dir} port={new.port} user=postgres dbname=postgres"), "pg_rewind")
        cluster.follow(server, new)
        server.start()
    try:
        wait_for("both follow the new one", lambda: all(
            shards(braid)[s]["reads"] == "yes" for s in ("s0", "s2")), 20)
    except Failed as e:
        raise Failed(f"{e}\n{shards(braid)}\n{old.tail(5)}\n{third.tail(5)}") from None
    expect("the timeline", "2", str(shards(braid)["s0"]["timeline"]))
    cursor.execute("UPDATE t SET v = 'again' WHERE id = 5")
    cursor.execute(f"SELECT v, {PORT} FROM t WHERE id = 5")
    v, port = cursor.fetchone()
    expect_that("read from a replica", v == "again" and port in (old.port, third.port))
    new.stop()
    cluster.promote(old)
    cursor.execute(f"UPDATE t SET v = v WHERE id = 5 RETURNING {PORT}")
    expect("back where it was", old.port, cursor.fetchone()[0])


def test_failover_by_command(place):
    cluster = Cluster(place.fleet, replicas=2)
    old, ahead, behind = cluster.servers
    fence = os.path.join(place.fleet.folder, "fence.sh")
    told = os.path.join(place.fleet.folder, "fenced")
    stop = " ".join(pg.as_server(f"{pg.BIN}/pg_ctl", "-D", old.folder, "-m", "fast", "-w", "stop"))
    with open(fence, "w", encoding="utf-8") as f:
        f.write(f"#!/bin/sh\necho $BRAID_SHARD $BRAID_SERVER $BRAID_PORT >> {told}\n[ -n \"$1\" ] && exit $1\n{stop} > /dev/null\n")
    os.chmod(fence, 0o755)

    def command(braid, text):
        c = braid.connect("pgbraid")
        try:
            with c.cursor() as cur:
                cur.execute(text)
                return " ".join(c.notices)
        finally:
            c.close()

    braid = ready(place, cluster)
    expect_error("not allowed", None, lambda: command(braid, "FAILOVER only"), "service.failover")
    place.end(braid)
    braid = ready(place, cluster, service={"failover": "on"})
    expect_error("no fence", None, lambda: command(braid, "FAILOVER only"), "FORCE")
    expect_error("no shard", None, lambda: command(braid, "FAILOVER nowhere"), "nowhere")
    place.end(braid)
    braid = ready(place, cluster, service={"failover": "on", "fence_command": f"{fence} 3"})
    expect_error("the fence fails", None, lambda: command(braid, "FAILOVER app only"), "exit status 3")
    expect("nothing has changed", [(old.port,)], braid.sql(f"UPDATE t SET v = v WHERE id = 1 RETURNING {PORT}"))
    place.end(braid)
    braid = ready(place, cluster, service={"failover": "on", "fence_command": fence})
    expect_error("not permitted", None, lambda: command(braid, "FAILOVER only"), "GRANT EXECUTE")
    old.start()
    old.sql("GRANT EXECUTE ON FUNCTION pg_promote TO app", "app")
    wait_for("the old one again", lambda: shards(braid)["s0"]["role"] == "primary")
    cluster.caught_up()
    behind.ctl("stop", "-m", "fast")
    c = braid.connect()
    with c.cursor() as cur:
        cur.execute("UPDATE t SET v = 'newest' WHERE id = 9")
        cluster.caught_up()
        behind.write("recovery_hold", "")
        cluster.follow(behind, behind)  # it follows nobody: it stays behind
        behind.start()
        wait_for("it is seen", lambda: shards(braid)["s2"]["role"] == "replica")
        write = in_thread(lambda: [braid.sql(f"UPDATE t SET v = v WHERE id = 9 RETURNING v, {PORT}") for _ in range(200)])
        text = run_braidctl(braid, "failover", "only")
        expect_that(f"it says what it did: {text}", "s1 is primary" in text)
        try:
            got = write.result()
            expect("writes go on", [("newest", ahead.port)], got[-1])
        except psycopg2.Error as e:
            expect_that(f"the one that ran is told: {e.pgcode} {e}", e.pgcode in ("08006", "40001"))
        cur.execute(f"UPDATE t SET v = v WHERE id = 9 RETURNING v, {PORT}")
        expect("on the one that was ahead", ("newest", ahead.port), cur.fetchone())
    with open(told, encoding="utf-8") as f:
        expect("the program was told", f"only s0 {old.port}", f.read().splitlines()[-1])
    c.close()
    place.end(braid)


def run_braidctl(braid, *words):
    binary = os.path.join(os.path.dirname(braid.binary), "braidctl")
    done = subprocess.run([binary, "-c", braid.path, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    return done.stdout


def test_schema_changes(place):
    """What is made through pgbraid is known at once, with what it calls."""
    cluster = place.shared()
    s0, s1, s2 = (s.port for s in cluster.servers)
    braid = ready(place, cluster)
    c = braid.connect()
    with c.cursor() as cur:
        cur.execute("CREATE TABLE made (id int)")
        cur.execute("CREATE FUNCTION made_fn() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'")
        cur.execute(f"SELECT {PORT}, made_fn() FROM t LIMIT 1")
        expect_that("a new stable function", cur.fetchone()[0] in (s1, s2))
        cur.execute(f"SELECT {PORT}, count(*) FROM made")
        expect_that("a new table", cur.fetchone()[0] in (s1, s2))
        cur.execute("BEGIN; CREATE OR REPLACE FUNCTION made_fn() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 2'; COMMIT")
        cur.execute(f"SELECT {PORT}, made_fn()")
        expect("volatile now", (s0, 2), cur.fetchone())
        cur.execute("DROP FUNCTION made_fn(); DROP TABLE made")
    c.close()
    place.end(braid)


def test_two_shards(place):
    """Over shards: reads of a key and gathered reads go to replicas where there are some."""
    cluster = place.shared()
    servers = {f"s{i}": {"host": "127.0.0.1", "port": s.port} for i, s in enumerate(cluster.servers)}
    servers["s3"] = {"host": "127.0.0.1", "port": place._alone.port}
    place._alone.sql("GRANT pg_monitor TO app")
    database = {"dbname": "app", "shards": {"shard0": {"servers": ["s0", "s1", "s2"]}, "shard1": {"primary": "s3"}},
                "tables": {"items": {"hash": ["id"]}}}
    braid = place.braid(cluster, start=False)
    braid.config["servers"] = servers
    braid.config["databases"] = {"wide": database}
    braid.write_files()
    braid.start()
    wait_readers(braid, 2)
    c = braid.connect("wide")
    with c.cursor() as cur:
        cur.execute("CREATE TABLE items (id int PRIMARY KEY, v text)")
        for i in range(1, 41):
            cur.execute("INSERT INTO items VALUES (%s, 'x')", (i,))
        reads = int(shards(braid)["s1"]["replica_reads"]) + int(shards(braid)["s2"]["replica_reads"])
        cur.execute("SELECT count(*) FROM items")
        expect("gathered", (40,), cur.fetchone())
        for i in range(1, 41):
            cur.execute("SELECT v FROM items WHERE id = %s", (i,))
            expect("a row", ("x",), cur.fetchone())
        cur.execute("BEGIN; UPDATE items SET v = 'y'; COMMIT")
        cur.execute("SELECT count(*) FROM items WHERE v = 'y'")
        expect("two-phase commit, then read your writes", (40,), cur.fetchone())
        now = int(shards(braid)["s1"]["replica_reads"]) + int(shards(braid)["s2"]["replica_reads"])
        expect_that(f"replicas served them: {now - reads}", now - reads > 10)
        cur.execute("DROP TABLE items")
    c.close()
    place.end(braid)


TESTS = [test_reads_go_to_replicas, test_the_rest_goes_to_the_primary, test_transactions_that_only_read,
         test_hints_and_the_setting, test_schema_changes, test_two_shards, test_read_your_writes, test_lag_limits,
         test_weights_and_shares, test_replicas_killed_and_frozen, test_promotion, test_failover_by_command]


def run(place, report):
    """All of it in servers of its own beside those of the schedule."""
    mine = Place(place.fleet, place.build)
    before = len(place.fleet.servers)
    for test in TESTS:
        report.run("replicas: " + test.__name__[5:].replace("_", " "), test, mine)
    for server in place.fleet.servers[before:]:
        server.stop("immediate")
