"""Statements that go shard by shard: progress, and what is left when one shard fails."""

import threading
import time

import psycopg2

from report import Failed, expect, expect_that


def setup(place):
    place.fresh()
    c = place.connect()
    with c.cursor() as cur:
        cur.execute("CREATE TABLE steps (id bigint PRIMARY KEY, a int) SHARD BY HASH (id)")
        cur.execute("INSERT INTO steps VALUES " + ", ".join(f"({i}, {i})" for i in range(1, 61)))
    return c


def changes(place):
    c = place.braid.connect("pgbraid")
    with c.cursor() as cur:
        cur.execute("SHOW SCHEMA_CHANGES")
        names = [d[0] for d in cur.description]
        rows = [dict(zip(names, row)) for row in cur.fetchall()]
    c.close()
    return rows


def fails(c, statement, code):
    try:
        with c.cursor() as cur:
            cur.execute(statement)
    except psycopg2.Error as e:
        expect(statement, code, e.pgcode)
        return e
    raise Failed(f"{statement}: should fail with {code}")


INDEX = "to_regclass('steps_i') IS NOT NULL"


def undone(place):
    """An index that the third shard refuses is dropped from the others, and what is not valid there, too."""
    c = setup(place)
    # directly: rows that are not unique
    place.servers[2].sql("ALTER TABLE steps DROP CONSTRAINT steps_pkey; UPDATE steps SET id = 4, a = 5", "app")
    e = fails(c, "CREATE UNIQUE INDEX CONCURRENTLY steps_i ON steps (id, a)", "23505")
    expect_that(f"the shard is named: {e.diag.context}", "shard2" in (e.diag.context or ""))
    place.expect_each("index", INDEX, [False] * 3)
    row = changes(place)[-1]
    expect("state", "UNDONE", row["state"])
    expect("shard", "shard2", row["shard"])
    expect("done", "", row["done"])
    expect_that(row["error"], "steps_i" in row["error"])
    c.close()


def not_ours(place):
    """An index of that name that was there before stays where it was."""
    c = setup(place)
    place.servers[1].sql("CREATE INDEX steps_i ON steps (a)", "app")
    fails(c, "CREATE INDEX CONCURRENTLY steps_i ON steps (a)", "42P07")
    place.expect_each("index", INDEX, [False, True, False])
    with c.cursor() as cur:
        cur.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS steps_i ON steps (a)")
    place.expect_each("index", INDEX, [True] * 3)
    expect("state", "DONE", changes(place)[-1]["state"])
    with c.cursor() as cur:
        cur.execute("DROP INDEX CONCURRENTLY steps_i")
    place.expect_each("index", INDEX, [False] * 3)
    c.close()


def resumed(place):
    """DROP INDEX CONCURRENTLY that one shard refused goes on where it stopped."""
    c = setup(place)
    with c.cursor() as cur:
        cur.execute("CREATE INDEX CONCURRENTLY steps_i ON steps (a)")
    holder = place.servers[2].connect("app")
    holder.autocommit = False
    with holder.cursor() as cur:
        cur.execute("LOCK TABLE steps IN SHARE UPDATE EXCLUSIVE MODE")
    with c.cursor() as cur:
        cur.execute("SET lock_timeout = '300ms'")
    fails(c, "DROP INDEX CONCURRENTLY steps_i", "55P03")
    place.expect_each("index", INDEX, [True, False, True])
    row = changes(place)[-1]
    expect("state", "FAILED", row["state"])
    expect("done", "shard1", row["done"])
    holder.rollback()
    holder.close()
    with c.cursor() as cur:
        cur.execute("DROP INDEX CONCURRENTLY steps_i")
    place.expect_each("index", INDEX, [False] * 3)
    c.close()


def progress(place):
    """While one shard is waited for, the console says so; cancelled, it is undone."""
    c = setup(place)
    holder = place.servers[1].connect("app")
    holder.autocommit = False
    with holder.cursor() as cur:
        cur.execute("LOCK TABLE steps IN SHARE UPDATE EXCLUSIVE MODE")
    result = []

    def create():
        try:
            fails(c, "CREATE INDEX CONCURRENTLY steps_i ON steps (a)", "57014")
            result.append("canceled")
        except Failed as e:
            result.append(str(e))
    thread = threading.Thread(target=create)
    thread.start()
    until = time.monotonic() + 20
    row = {}
    while time.monotonic() < until:
        row = (changes(place) or [{}])[-1]
        if row.get("state") == "RUNNING" and row.get("shard") == "shard1":
            break
        time.sleep(0.05)
    expect("progress", ("RUNNING", "shard0", "shard1"), (row.get("state"), row.get("done"), row.get("shard")))
    c.cancel()
    time.sleep(0.2)
    holder.rollback()
    holder.close()
    thread.join(30)
    expect("answer", ["canceled"], result)
    place.expect_each("index", INDEX, [False] * 3)
    c.close()


def in_transaction(place):
    c = setup(place)
    with c.cursor() as cur:
        cur.execute("BEGIN")
        try:
            cur.execute("CREATE INDEX CONCURRENTLY steps_i ON steps (a)")
            raise Failed("runs in a transaction")
        except psycopg2.Error as e:
            expect("in a transaction", "25001", e.pgcode)
        cur.execute("ROLLBACK")
    c.close()


def run(place, report):
    report.run("shard by shard: undone", undone, place)
    report.run("shard by shard: what was there before stays", not_ours, place)
    report.run("shard by shard: resumed", resumed, place)
    report.run("shard by shard: progress, and a cancel request", progress, place)
    report.run("shard by shard: not in a transaction", in_transaction, place)
