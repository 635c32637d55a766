"""braid.next_id(): distinct over shards and sessions, rising in each, whatever the clock of the server says."""

import threading
import time

import psycopg
import psycopg2

from place import wait_for
from report import expect, expect_that
from workspace import Calm, auto

EPOCH_MS = 1704067200000
DRAWS = 10000
SESSIONS = 8
HOME = "SELECT braid.next_id() FROM (SELECT count(*) FROM pg_class) home" # the catalog is that of the home shard


def ask(c, sql):
    with c.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()] if cursor.description else cursor.rowcount


def place_of(an_id):
    return an_id >> 12 & 1023


def rises(what, ids):
    """Strictly on each shard; between those of one machine by the millisecond."""
    for before, after in zip(ids, ids[1:]):
        expect_that(f"{what}: {after} comes after {before}", before >> 22 <= after >> 22)
    for place in {place_of(an_id) for an_id in ids}:
        here = [an_id for an_id in ids if place_of(an_id) == place]
        expect_that(f"{what}: they rise", all(before < after for before, after in zip(here, here[1:])))


def installed(place):
    wait_for("every shard has it", lambda: all(
        s.sql("SELECT to_regprocedure('braid.next_id()')::text", "app") == [("braid.next_id()",)] for s in place.servers), 30)


def together(work):
    """work(number) in several sessions at once; what each gives."""
    given, failed = [None] * SESSIONS, []

    def one(number):
        try:
            given[number] = work(number)
        except psycopg2.Error as e:
            failed.append(e)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(SESSIONS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    expect("no errors", [], failed)
    return given


def test_what_it_is(place):
    """41 bits of milliseconds, the place of the shard, a sequence; for every role, past pgbraid, too."""
    with Calm(place) as braid:
        installed(place)
        c = auto(braid)
        before = time.time() * 1000 - EPOCH_MS - 1000
        one = ask(c, "SELECT braid.next_id()")[0]
        expect_that(f"{one} is of now", before <= one >> 22 <= before + 60000)
        past = [s.connect("app", user="app", host="127.0.0.1", password="secret") for s in place.servers]
        expect("places", [0, 1, 2], sorted(place_of(ask(p, "SELECT braid.next_id()")[0]) for p in past))
        for p in past:
            p.rollback()
            p.close()
        c.close()


def test_never_back(place):
    """A clock that went back, a rollback, a crash of the server: the next one is higher. A cancelled call holds up nobody."""
    with Calm(place) as braid:
        installed(place)
        home = place.servers[0]
        ahead = (int(time.time() * 1000) - EPOCH_MS + 3600000) << 12 | 4090
        for server in place.servers: # as after a clock that was an hour ahead
            server.sql(f"SELECT setval('braid.next_id_seq', {ahead})", "app")
        c = auto(braid)
        ask(c, "SET synchronous_commit = on")
        ids = ask(c, f"{HOME}, generate_series(1, 20)")
        ask(c, "BEGIN")
        ids += ask(c, HOME)
        ask(c, "ROLLBACK")
        ids += ask(c, HOME)
        rises("an hour ahead", ids)
        expect("from there", (ahead + 1) >> 12, ids[0] >> 22)
        home.restart()
        wait_for("served again", lambda: answers(braid))
        after = ask(auto(braid), HOME)
        rises("after a crash", ids[-1:] + after)
        c.close()
        # somebody holds the lock: a call that waits is cancelled, the next works
        holder = home.connect("app")
        ask(holder, "SELECT pg_advisory_lock(1651663204, 2)")
        c = auto(braid)
        ask(c, "SET statement_timeout = '200ms'")
        try:
            ask(c, HOME)
            expect_that("it is cancelled", False)
        except psycopg2.errors.QueryCanceled:
            pass
        holder.close()
        ask(c, "RESET statement_timeout")
        rises("after a cancel", after + ask(c, HOME))
        c.close()
        expect("no lock is left", [(0,)], home.sql("SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND "
                                                   "classid = 1651663204", "app"))
        for server in place.servers:
            server.sql("SELECT setval('braid.next_id_seq', 1)", "app")


def answers(braid):
    try:
        return braid.sql("SELECT count(*) FROM items") == [(300,)]
    except psycopg2.Error:
        return False


def test_sessions(place):
    """Eight sessions at once, pgbraid's and the servers' own."""
    with Calm(place) as braid:
        installed(place)

        def draw(number):
            server = place.servers[number % 3]
            c = auto(braid) if number < 4 else server.connect("app", user="app", host="127.0.0.1", password="secret")
            c.autocommit = True
            ids = []
            for _ in range(10):
                ids += ask(c, f"SELECT braid.next_id() FROM generate_series(1, {DRAWS // 10})")
            c.close()
            return ids
        given = together(draw)
        for number, ids in enumerate(given):
            expect("drawn", DRAWS, len(ids))
            rises(f"session {number}", ids)
        expect("distinct", SESSIONS * DRAWS, len({an_id for ids in given for an_id in ids}))


def test_keys(place):
    """As the sharding key: drawn once, then routed; by default, in VALUES, by SELECT, prepared."""
    with Calm(place) as braid:
        installed(place)
        c = auto(braid)
        ask(c, "CREATE TABLE post (id bigint PRIMARY KEY DEFAULT braid.next_id(), v int) SHARD BY HASH (id)")
        ask(c, "CREATE TABLE mark (v int, mark bigint DEFAULT braid.next_id()) SHARD BY HASH (v)")
        ask(c, "CREATE TABLE kind (v int PRIMARY KEY, mark bigint DEFAULT braid.next_id()) REFERENCE")
        ids = ask(c, "INSERT INTO post (v) VALUES (1) RETURNING id")
        ids += ask(c, "INSERT INTO post VALUES (braid.next_id(), 2) RETURNING id")
        ids += ask(c, "INSERT INTO post (v) VALUES (3), (4), (5) RETURNING id")
        ids += ask(c, "INSERT INTO post VALUES (braid.next_id(), 6), (braid.next_id(), 7) RETURNING id")
        ids += ask(c, "INSERT INTO post SELECT braid.next_id(), g FROM generate_series(1, 1000) g RETURNING id")
        rises("ids", ids)
        expect("rows", (1007, 1007), tuple(braid.sql("SELECT count(*), count(DISTINCT id) FROM post")[0]))
        expect("they are where they are looked for", [[an_id] for an_id in ids[::100]],
               [ask(c, f"SELECT id FROM post WHERE id = {an_id}") for an_id in ids[::100]])
        expect_that("on all shards", all(s.sql("SELECT count(*) FROM post", "app")[0][0] > 0 for s in place.servers))
        ask(c, "INSERT INTO mark (v) SELECT v FROM post")
        ask(c, "INSERT INTO kind (v) SELECT g FROM generate_series(1, 10) g")
        expect("another column", [(1007, 1007)], braid.sql("SELECT count(*), count(DISTINCT mark) FROM mark"))
        copies = [s.sql("SELECT v, mark FROM kind ORDER BY v", "app") for s in place.servers]
        expect("a reference table is the same everywhere", [copies[0]] * 2, copies[1:])
        expect("and distinct", 10, len({mark for _, mark in copies[0]}))
        with psycopg.connect(host="127.0.0.1", port=braid.port, dbname="app", user="app", password="secret",
                             autocommit=True) as p:
            more = [p.execute("INSERT INTO post (v) VALUES (%s) RETURNING id", (i,), prepare=True).fetchone()[0] for i in range(20)]
            more += [p.execute("SELECT braid.next_id() WHERE %s > 0", (1,), prepare=True).fetchone()[0] for _ in range(20)]
        rises("prepared", ids[-1:] + more)
        given = together(lambda n: [row for _ in range(20) for row in ask_once(braid, "INSERT INTO post (v) VALUES (1), (2) RETURNING id")])
        expect("no key is there twice", SESSIONS * 40, len({an_id for ids in given for an_id in ids}))
        for table in ("post", "mark", "kind"):
            ask(c, f"DROP TABLE {table}")
        c.close()


def ask_once(braid, sql):
    c = auto(braid)
    try:
        return ask(c, sql)
    finally:
        c.close()


TESTS = (test_what_it_is, test_never_back, test_sessions, test_keys)


def run(place, report):
    for test in TESTS:
        report.run(f"ids: {test.__name__[5:]}", test, place)
