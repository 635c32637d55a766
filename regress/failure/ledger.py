"""The ledger as an operator sees it: `braidctl tx`, servers that cannot prepare, decisions kept by shards, what another one left."""

import os
import subprocess

import pg
from braid import Braid, config_for
from place import expect_error, wait_for
from report import expect, expect_that

TABLE = {"t": {"hash": ["id"]}}


def fleet_of(place, name, count, options=()):
    """Servers of this test's own, and a way to make proxies before them."""
    servers = place.fleet.start(count, options=("synchronous_commit = off", *options))
    for server in servers:
        pg.prepare(server)

    def braid(number=0, **sections):
        sections = {"txn": {"recover_interval_ms": 100, "adopt_after_ms": 300}, **sections}
        one = Braid(os.path.join(place.fleet.folder, f"{name}{number}"), config_for(servers, TABLE, **sections),
                    build=place.build)
        place.fleet.at_end.append(one.kill)
        return one.start()
    return servers, braid


def ctl(braid, *words, status=0):
    done = subprocess.run([os.path.join(os.path.dirname(braid.binary), "braidctl"), "-c", braid.path, *words],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    expect(f"braidctl {' '.join(words)}: {done.stdout}", status, done.returncode)
    return done.stdout


def rows_of(servers):
    return sorted(row for s in servers for row in s.sql("SELECT id, v FROM t", "app"))


def kept(servers):
    return [row for s in servers for row in s.sql("SELECT outcome, seq FROM braid.ledger", "app")]


def keeps_decisions(braid):
    wait_for("every shard keeps decisions", lambda: ctl(braid, "show", "shards").count("keeps decisions") == 3)


def left_behind(servers, name, sql, place=None):
    """A transaction of app's, prepared under the name of another pgbraid."""
    c = servers[0].connect("app", user="app", host="127.0.0.1")
    with c.cursor() as cur:
        cur.execute("BEGIN")
        cur.execute(sql)
        cur.execute(f"PREPARE TRANSACTION '{name}" + (f"_{place:08x}'" if place else "'"))
    c.close()


def prepared(servers):
    return [gid for s in servers for (gid,) in s.sql("SELECT gid FROM pg_prepared_xacts")]


def test_cannot_prepare(place):
    """max_prepared_transactions = 0: told at the start, refused over shards, fine on one."""
    servers, make = fleet_of(place, "unprepared", 2, ("max_prepared_transactions = 0",))
    for ledger in ("local", "shard"):
        braid = make(ledger=ledger)
        wait_for("it is told", lambda: "TX_CANNOT_PREPARE" in braid.tail(200))
        if ledger == "local":
            for server in servers:
                server.sql("CREATE TABLE t (id bigint PRIMARY KEY, v int)", "app")
                server.sql("ALTER TABLE t OWNER TO app", "app")
            place.end(braid)
            braid = make(ledger=ledger)
            wait_for("it is told again", lambda: "TX_CANNOT_PREPARE" in braid.tail(200))
        expect_that("and shown", "max_prepared_transactions is 0" in ctl(braid, "show", "shards"))
        e = expect_error("over shards", "55000",
                         lambda: braid.sql("INSERT INTO t VALUES " + ", ".join(f"({i}, 1)" for i in range(100, 120))))
        expect_that(f"with what to set: {e}", "Set max_prepared_transactions" in str(e))
        expect("nothing of it", [], rows_of(servers))
        braid.sql("INSERT INTO t VALUES (1, 1)")
        braid.sql("DELETE FROM t WHERE id = 1")
        place.end(braid)


def test_other_ones_names(place):
    """With a ledger of its own each, what another one prepared is left alone, and shown."""
    servers, make = fleet_of(place, "names", 3)
    braid = make()
    braid.sql("CREATE TABLE t (id bigint PRIMARY KEY, v int)")
    braid.sql("INSERT INTO t VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)")
    log = ctl(braid, "tx", "log")
    expect_that(f"the log says what was decided: {log}", "COMMIT" in log and "shards=shard0" in log and "duration_ms=" in log)
    braid.stop()
    expect("and without pgbraid, but for the end of the last one", log, ctl(braid, "tx", "log")[:len(log)])
    braid.start()
    name = "0123456789abcdef_1_4d"
    left_behind(servers, f"pgbraid_{name}_0", "DELETE FROM t")
    listed = ctl(braid, "tx", "list")
    expect_that(f"it is listed: {listed}", name in listed and "decision=unknown kept_by=another ledger" in listed)
    ctl(braid, "tx", "resolve", name, status=2)
    ctl(braid, "tx", "resolve", "0123456789abcdef_1_4e", "--abort", status=2)
    expect("it is still there", 1, len(prepared(servers)))
    expect_that("ended by hand", "rolled back on shard0" in ctl(braid, "tx", "resolve", name, "--abort"))
    expect("it is gone", [], prepared(servers))
    place.end(braid)


def test_shards_keep_decisions(place):
    """One sync fewer; what is decided is forgotten when all have it; what another one left is finished by the rows."""
    servers, make = fleet_of(place, "kept", 3)
    braid = make(ledger="shard")
    keeps_decisions(braid)
    braid.sql("CREATE TABLE t (id bigint PRIMARY KEY, v int)")
    braid.sql("INSERT INTO t VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)")
    c = braid.connect(autocommit=False)
    with c.cursor() as cur:
        for i in range(20):
            cur.execute("UPDATE t SET v = v + 1")
            c.commit()
    c.close()
    expect("committed on all", {20}, {v for _, v in rows_of(servers)})
    log = ctl(braid, "tx", "log")
    expect_that(f"nothing of it is in the log: {log}", "COMMIT" not in log)
    wait_for("and forgotten", lambda: kept(servers) == [])
    braid.kill()

    place_of = servers[1].sql("SELECT place FROM braid.ledger_place", "app")[0][0]
    committed, never = "0123456789abcdef_1_4d", "0123456789abcdef_1_4e"
    left_behind(servers, f"pgbraid_{committed}_0", "UPDATE t SET v = v + 100 WHERE id = (SELECT min(id) FROM t)", place_of)
    left_behind(servers, f"pgbraid_{never}_0", "INSERT INTO t VALUES (99, 99)", place_of)
    at = servers[0].sql("SELECT place FROM braid.ledger_place", "app")[0][0]
    c = servers[1].connect("app", user="app", host="127.0.0.1")
    with c.cursor() as cur:
        cur.execute(f"SELECT braid.decide({0x0123456789abcdef}, 1, {0x4d}, {place_of}, '{{{at}}}')")
    c.close()
    listed = ctl(braid, "tx", "list")
    expect_that(f"both are known: {listed}", "decision=committed kept_by=shard" in listed and "decision=not decided" in listed)
    ctl(braid, "tx", "resolve", committed, "--abort", status=2)
    ctl(braid, "tx", "resolve", never, "--commit", status=2)
    braid.start()
    wait_for("both are ended", lambda: prepared(servers) == [])
    expect("by what the shard said", [20, 20, 20, 20, 20, 20, 20, 120], sorted(v for _, v in rows_of(servers)))
    c = servers[1].connect("app", user="app", host="127.0.0.1")
    with c.cursor() as cur:
        expect_error("a decision behind the marker", "40001", lambda: cur.execute(
            f"SELECT braid.decide({0x0123456789abcdef}, 1, {0x4e}, {place_of}, '{{{at}}}')"))
        expect_error("a decision for another shard", "40001", lambda: cur.execute(
            f"SELECT braid.decide({0x0123456789abcdef}, 1, {0x4f}, {place_of - 1}, '{{{at}}}')"))
    c.close()
    place.end(braid)


def test_decision_reaches_the_disk(place):
    """synchronous_commit = off does not hold for the commit that decides."""
    servers, make = fleet_of(place, "synced", 3)
    braid = make(ledger="shard")
    braid.sql("CREATE TABLE t (id bigint PRIMARY KEY, v int)")
    keeps_decisions(braid)
    here = servers[0].sql("SELECT place FROM braid.ledger_place", "app")[0][0]
    c = servers[0].connect("app", user="app", host="127.0.0.1")
    with c.cursor() as cur:
        cur.execute("BEGIN")
        cur.execute("SHOW synchronous_commit")
        expect("before", "off", cur.fetchone()[0])
        cur.execute(f"SELECT braid.decide(1, 1, 1, {here}, '{{}}')")
        cur.execute("SHOW synchronous_commit")
        expect("in the transaction", "on", cur.fetchone()[0])
        cur.execute("ROLLBACK")
    c.close()
    place.end(braid)


def run(place, report):
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            report.run(f"ledger: {name[5:].replace('_', ' ')}", test, place)
