"""Replication connections pass through: walsender commands, slots, streams in both directions."""

import os
import random
import shutil
import subprocess
import time

import psycopg2
import psycopg2.extras

import pg
import raw
from report import expect, expect_that
from place import expect_error, wait_for

SLOT = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'braid_test'"


def run_tool(words, **more):
    """As the server's user: these programs refuse to run as root in places."""
    return subprocess.run(pg.as_server(*words), capture_output=True, text=True, timeout=60, **more)


def test_walsender(place, braid):
    with raw.Raw(braid.port) as r:
        got = r.login(database="plain", replication="database")
        expect_that("it is greeted with parameters and a key", {"S", "K"} <= set(raw.letters(got)))
        rows = raw.rows_of(r.ask(raw.query("IDENTIFY_SYSTEM")))
        expect("IDENTIFY_SYSTEM names the database", "plain", rows[0][3])
        expect("SQL works, too", [["1"]], raw.rows_of(r.ask(raw.query("SELECT 1"))))
        expect("bad commands are the server's", ["42601"], raw.codes_of(r.ask(raw.query("START_NONSENSE"))))
        expect("the extended protocol is refused by the server", ["08P01"],
               raw.codes_of(r.ask(raw.parse("SELECT 1"), raw.SYNC)))
    with raw.Raw(braid.port) as r:
        r.login(database="plain", replication="true")
        expect("physical", None, raw.rows_of(r.ask(raw.query("IDENTIFY_SYSTEM")))[0][3])
        expect("SHOW", "replica", raw.rows_of(r.ask(raw.query("SHOW wal_level")))[0][0])
    for words, code in (({"replication": "maybe"}, "22023"), ({"database": "app"}, "0A000"),
                        ({"database": "app", "options": "-c braid.shard=nowhere"}, "22023"),
                        ({"database": "pgbraid"}, "0A000"), ({"work_mem": "x"}, None),
                        ({"options": "-c user=postgres"}, "22023"), ({"options": "--user=postgres"}, "22023"),
                        ({"options": "-c database=app"}, "22023"), ({"options": "-c replication=true"}, "22023"),
                        ({"options": r"-c options=-cuser\=postgres"}, "22023")):
        with raw.Raw(braid.port) as r:
            r.send(raw.startup(**{"database": "plain", "replication": "database", **words}))
            got = r.until("ZE")
            expect(f"{words} refuses", "E", got[-1][0])
            if code is not None:
                expect(f"{words}", code, raw.fields_of(got[-1][1])["C"])
    for i, server in enumerate(place.servers):
        with raw.Raw(braid.port) as r:
            r.login(database="app", replication="database", options=f"-c braid.shard=shard{i}")
            expect(f"shard{i}", [[str(server.port)]], raw.rows_of(r.ask(raw.query("SHOW port"))))


def test_pool(place, braid):
    """It takes nothing from the pool, and its end closes its server connection."""
    senders = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'"
    rs = [raw.Raw(braid.port) for _ in range(3)]
    for r in rs:
        r.login(database="plain", replication="database")
    expect("server connections", 3, place.servers[0].sql(senders)[0][0])
    expect("others are served", [(1,)], braid.sql("SELECT 1", "plain"))
    rs[0].send(raw.TERMINATE)
    rs[1].socket.close()
    wait_for("two are gone", lambda: place.servers[0].sql(senders)[0][0] == 1)
    place.servers[0].sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                         "WHERE backend_type = 'walsender'")
    expect_that("the client hears why", "57P01" in raw.codes_of(rs[2].rest()))
    for r in rs:
        r.socket.close()


def test_garbage(place, braid):
    """Random bytes through the passage: the server's to judge, and nobody else's trouble."""
    dice = random.Random(3)
    for number in range(40):
        r = raw.Raw(braid.port)
        r.login(database="plain", replication="database")
        if number % 2:
            r.send(raw.query("IDENTIFY_SYSTEM"))
        r.send(dice.randbytes(dice.randrange(1, 3000)))
        if number % 3 == 0:
            time.sleep(0.01)
        r.socket.close()
    wait_for("the servers' ends are gone", lambda: place.servers[0].sql(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'")[0][0] == 0, 20)
    expect("others are served", [(1,)], braid.sql("SELECT 1", "plain"))


def test_stream(place, braid):
    """Logical changes arrive while they are made; confirmations go back; both sides are paced."""
    place.servers[0].sql("CREATE TABLE IF NOT EXISTS changes (i int, t text); "
                         "GRANT ALL ON changes TO app", "plain")
    c = psycopg2.connect(braid.dsn("plain"), connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cur = c.cursor()
    cur.execute("CREATE_REPLICATION_SLOT braid_test LOGICAL test_decoding")
    try:
        cur.start_replication(slot_name="braid_test", decode=True, status_interval=1)
        place.servers[0].sql("INSERT INTO changes SELECT g, repeat('x', 1000) FROM generate_series(1, 5000) g",
                             "plain")
        seen, end = [], 0
        def more():
            nonlocal end
            m = cur.read_message()
            while m is not None:
                if "table public.changes: INSERT" in m.payload:
                    seen.append(m.payload)
                end = m.data_start
                m = cur.read_message()
            return len(seen) == 5000
        wait_for("all changes", more, 30)
        cur.send_feedback(flush_lsn=end, reply=True)
        wait_for("the slot has moved", lambda: place.servers[0].sql(
            "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = 'braid_test'",
            params=(f"{end >> 32:X}/{end & 0xFFFFFFFF:X}",))[0][0])
    finally:
        c.close()
        wait_for("the slot is free", lambda: place.servers[0].sql(
            "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'braid_test'")[0][0])
        place.servers[0].sql("SELECT pg_drop_replication_slot('braid_test')")


def test_basebackup(place, braid):
    """pg_basebackup, WAL streamed beside it, through the proxy."""
    folder = os.path.join(place.fleet.folder, "copy")
    os.mkdir(folder, 0o700)
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    done = run_tool([os.path.join(pg.BIN, "pg_basebackup"), "-d",
                     f"host=127.0.0.1 port={braid.port} user=app options='-c braid.database=plain'",
                     "-D", folder, "-X", "stream", "-c", "fast"])
    expect_that(f"pg_basebackup: {done.stderr}", done.returncode == 0)
    done = run_tool([os.path.join(pg.BIN, "pg_verifybackup"), folder])
    expect_that(f"the copy is whole: {done.stderr}", done.returncode == 0)
    shutil.rmtree(folder)


def run(place, report):
    server = place.servers[0]
    level = server.sql("SHOW wal_level")[0][0]
    for s in place.servers:
        s.sql("ALTER ROLE app REPLICATION")
        with open(os.path.join(s.folder, "pg_hba.conf"), "a", encoding="utf-8") as f:
            f.write("host replication all 127.0.0.1/32 trust\n")
        s.reload()
    braid = place.braid(pool={"size": 1, "query_wait_ms": 5000})
    report.run("replication.walsender", test_walsender, place, braid)
    report.run("replication.pool", test_pool, place, braid)
    report.run("replication.garbage", test_garbage, place, braid)
    report.run("replication.basebackup", test_basebackup, place, braid)
    if level != "logical":
        server.sql("ALTER SYSTEM SET wal_level = logical")
        server.restart()
        braid.wait_healthy()
    report.run("replication.stream", test_stream, place, braid)
    place.end(braid)
    for s in place.servers:
        s.sql("ALTER ROLE app NOREPLICATION")
