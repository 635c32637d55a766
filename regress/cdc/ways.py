#!/usr/bin/env python3
"""The ways out of the change log, with the drivers that people use: SQL with parameters, server-sent events, long polls.

usage: ways.py [--build DIR] [--only CASE]

Rows go in through pgbraid over two shards; each case reads them its own way.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "regress"))

import asyncpg  # noqa: E402
import psycopg  # noqa: E402
import psycopg2  # noqa: E402

import pg  # noqa: E402
from braid import Braid, config_for  # noqa: E402
from report import Report, expect, expect_that  # noqa: E402

LOGICAL = ["wal_level = logical", "max_replication_slots = 10", "max_wal_senders = 10", "max_prepared_transactions = 20"]
CASES = []
ROWS = 40
WAIT_MS = 30000


def case(function):
    CASES.append(function)
    return function


class Place:
    def __init__(self, fleet, args):
        self.servers = fleet.start(2, options=LOGICAL)
        for server in self.servers:
            with psycopg2.connect(host="127.0.0.1", port=server.port, dbname="postgres", user=pg.SUPERUSER) as conn:
                with conn.cursor() as cur:
                    cur.execute("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'secret'; CREATE ROLE other LOGIN PASSWORD 'word'")
            conn = psycopg2.connect(host="127.0.0.1", port=server.port, dbname="postgres", user=pg.SUPERUSER)
            conn.autocommit = True
            for name in ("app", "plain"):
                conn.cursor().execute(f"CREATE DATABASE {name} OWNER app")
            conn.close()
        config = config_for(self.servers, {"users": {"hash": ["id"]}}, service={"user": "app"},
                            cdc={"enabled": "on", "http_user": "reader", "databases": "app"})
        self.braid = Braid(os.path.join(fleet.folder, "braid"), config, build=args.build,
                           users={"app": "secret", "reader": "t0ken", "other": "word"})
        self.braid.start()
        self.wait_attached()
        self.sql("CREATE TABLE users (id int PRIMARY KEY, name text)")
        self.sql(f"INSERT INTO users SELECT i, 'n' || i FROM generate_series(1, {ROWS}) i")
        self.wait_for("users", ROWS)

    def dsn(self, user="app", dbname="app"):
        return f"host=127.0.0.1 port={self.braid.port} dbname={dbname} user={user} password=secret"

    def sql(self, sql, values=None):
        conn = psycopg2.connect(self.dsn())
        conn.autocommit = True
        try:
            with conn.cursor() as cur:
                cur.execute(sql, values)
                return cur.fetchall() if cur.description else []
        finally:
            conn.close()

    def console(self, sql):
        conn = psycopg2.connect(self.dsn(dbname="pgbraid"))
        conn.autocommit = True
        try:
            with conn.cursor() as cur:
                cur.execute(sql)
                return [dict(zip([c[0] for c in cur.description], row)) for row in cur.fetchall()] if cur.description else []
        finally:
            conn.close()

    def wait_attached(self):
        """Tables that are made before have a first copy, too, and its records."""
        for _ in range(600):
            rows = self.console("SHOW CDC")
            if len(rows) == len(self.servers) and all(row["state"] == "reading" for row in rows):
                return
            time.sleep(0.1)
        raise RuntimeError(f"not attached: {rows}; {self.braid.tail()}")

    def wait_for(self, table, count):
        """The log is behind the servers: look again until so many records are there."""
        for _ in range(600):
            try:
                if len(rows := self.sql(f"SELECT * FROM braid.changes('{table}', limit => 10000)")) >= count:
                    return rows
            except psycopg2.errors.UndefinedTable:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"{table}: no {count} records; {self.braid.tail()}")


def places(rows):
    return [(row[1], row[2]) for row in rows]


# ---- SQL -------------------------------------------------------------------------------------------------------------

@case
def psycopg3_with_parameters(place):
    sql = "SELECT * FROM braid.changes(%s, group => %s, member => %s, limit => %s, wait_ms => %s)"
    everything = place.sql(f"SELECT * FROM braid.changes('users', limit => {ROWS})")
    for binary in (False, True):
        seen = []
        with psycopg.connect(place.dsn(), autocommit=True) as conn:
            while len(seen) < ROWS:
                with conn.cursor(binary=binary) as cur:
                    rows = cur.execute(sql, ("users", f"p3-{binary}", "m", 7, WAIT_MS), prepare=True).fetchall()
                expect_that("rows come", len(rows) > 0)
                seen += rows
        expect("each once, as by a simple query", sorted(places(everything)), sorted(places(seen)))
        expect("values are JSON", {f"n{i}" for i in range(1, ROWS + 1)}, {row[6]["after"]["name"] for row in seen})


@case
def asyncpg_reads_in_portions(place):
    async def run():
        conn = await asyncpg.connect(host="127.0.0.1", port=place.braid.port, user="app", password="secret", database="app")
        try:
            statement = await conn.prepare("SELECT * FROM braid.changes($1, limit => $2, partition => $3::int4)")
            types = [t.name for t in statement.get_parameters()]
            expect("types of the parameters", ["text", "int8", "int8"], types)
            expect("columns", ["topic", "partition", "offset", "op", "shard", "key", "value"],
                   [a.name for a in statement.get_attributes()])
            rows = await statement.fetch("users", 1000, None)
            expect("all rows", ROWS, len(rows))
            async with conn.transaction():
                portions = [tuple(row) async for row in statement.cursor("users", 1000, None, prefetch=7)]
            expect("the same in portions", [tuple(row) for row in rows], portions)
            async with conn.transaction():
                cursor = await statement.cursor("users", 1000, None)
                expect("a part", 3, len(await cursor.fetch(3)))
            try:
                await conn.fetch("SELECT * FROM braid.changes($1, limit => $2)", "users", 0)
                expect_that("limit 0 is refused", False)
            except asyncpg.PostgresError as e:
                expect("sqlstate", "22023", e.sqlstate)
            expect("and goes on", 1, await conn.fetchval("SELECT 1"))
        finally:
            await conn.close()
    asyncio.run(run())


@case
def what_a_materialized_view_needs_is_no_topic(place):
    """Its rows go through a table of pgbraid's own, which is gone with the statement."""
    place.sql("CREATE MATERIALIZED VIEW names AS SELECT name, count(*) FROM users GROUP BY name")
    place.sql("REFRESH MATERIALIZED VIEW names")
    expect("its rows", [(ROWS,)], place.sql("SELECT count(*) FROM names"))
    place.sql("DROP MATERIALIZED VIEW names")
    place.sql("CREATE TABLE behind (id int PRIMARY KEY)")
    place.sql("INSERT INTO behind VALUES (1)")
    place.wait_for("behind", 1)
    expect("topics", [], [t["topic"] for t in place.console("SHOW CDC_TOPICS") if "braid_" in t["topic"]])


@case
def what_was_not_received_comes_again(place):
    """A member of the same name on a new connection: what the one before got may never have reached it."""
    sql = "SELECT * FROM braid.changes('users', group => 'again', member => 'm', limit => 5)"
    first = place.sql(sql)
    expect("five", 5, len(first))
    expect("the same five", places(first), places(place.sql(sql)))


@case
def a_session_that_has_ended_is_no_member(place):
    """Without a member's name a session is somebody of its own: nobody can come back as it, so the next one need not wait."""
    sql = "SELECT * FROM braid.changes('users', group => 'visits', limit => 5, wait_ms => 5000)"
    first = place.sql(sql)
    expect("five", 5, len(first))
    expect("the same five", places(first), places(place.sql(sql)))


@case
def a_cancelled_call_loses_nothing(place):
    with psycopg.connect(place.dsn(), autocommit=True) as conn:
        call = "SELECT * FROM braid.changes('users', group => 'cancel', member => 'm', limit => 1000, wait_ms => %s)"
        expect("all", ROWS, len(conn.execute(call, (0,)).fetchall()))

        async def cancelled():
            other = await psycopg.AsyncConnection.connect(place.dsn(), autocommit=True)
            task = asyncio.create_task(other.execute(call.replace("'m'", "'n'").replace("'cancel'", "'cancel2'"), (0,)))
            expect("all for it", ROWS, len(await (await task).fetchall()))
            task = asyncio.create_task(other.execute(call.replace("'m'", "'n'").replace("'cancel'", "'cancel2'"), (50000,)))
            await asyncio.sleep(0.3)
            other.cancel()
            try:
                await task
                expect_that("it is cancelled", False)
            except psycopg.errors.QueryCanceled:
                pass
            expect("and goes on", (1,), await (await other.execute("SELECT 1")).fetchone())
            await other.close()
        asyncio.run(cancelled())


@case
def clumsy_calls_are_refused(place):
    """What an argument says is never left aside silently; the text may be laid out as one likes."""
    for call, state in (("'users', offset => 3", "22023"), ("'users', group => ''", "22023"), ("'users', member => 'm'", "22023"),
                        ("'users', ack => now", "22023"), ("'users', group => 'c', partition => 1", "22023"),
                        ("'users', group => 'c', offset => 1", "22023"), ("'users', limit => 1, limit => 2", "42601"),
                        ("'users', start => 'lsn:shard0:15'", "22023"), ("'users', start => 'lsn:nothing:0/15'", "22023"),
                        ("'users', partition => 99", "42P01"), ("'none'", "42P01"), ("'users', partition => 0, offset => 99999", "55000")):
        try:
            place.sql(f"SELECT * FROM braid.changes({call})")
            expect_that(f"{call} is refused", False)
        except psycopg2.Error as e:
            expect(call, state, e.pgcode)
    wanted = place.sql("SELECT * FROM braid.changes('users', partition => 0)")
    expect("with line ends and comments", wanted,
           place.sql("/* mine */ SELECT *\n  FROM braid.changes( -- all of it\n  'users', partition => 0\n) /*traceparent='1'*/"))
    expect("of a topic of one partition", 1, len(place.sql("SELECT * FROM braid.changes('braid.transactions', offset => 1, limit => 1)")))
    try:
        place.sql("SELECT topic FROM braid.changes('users')")
        expect_that("a part of a statement is refused", False)
    except psycopg2.Error as e:
        expect("as what it is", "0A000", e.pgcode)
        expect_that(f"with what to do: {e}", "statement of its own" in str(e))


@case
def strangers_are_refused(place):
    with psycopg.connect(place.dsn(user="other"), autocommit=True) as conn:
        try:
            conn.execute("SELECT * FROM braid.changes(%s)", ("users",))
            expect_that("it is refused", False)
        except psycopg.errors.InsufficientPrivilege:
            pass


@case
def a_table_is_copied_again(place):
    def run(*words):
        done = subprocess.run([os.path.join(os.path.dirname(place.braid.binary), "braidctl"), "-c", place.braid.path, "cdc", *words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=place.braid.folder, check=False)
        return done.returncode, done.stdout
    status, text = run("snapshot", "users")
    expect(text, 0, status)
    status, text = run("snapshot", "public.user")
    expect(text, 2, status)
    expect_that("it says which", 'has no table "public.user"' in text)
    for _ in range(600):
        rows = place.sql("SELECT * FROM braid.changes('users', limit => 10000)")
        if len({row[6]["after"]["id"] for row in rows if row[3] == "r"}) == ROWS:
            return
        time.sleep(0.1)
    raise RuntimeError(f"not every row was copied: {rows[-3:]}")


@case
def tail_gives_each_once_and_leaves_nothing(place):
    wanted = sorted(json.dumps(row[6], sort_keys=True) for row in place.sql("SELECT * FROM braid.changes('users', limit => 10000)"))
    seen = []
    with subprocess.Popen([os.path.join(os.path.dirname(place.braid.binary), "braidctl"), "-c", place.braid.path, "cdc", "tail", "users"],
                          stdout=subprocess.PIPE, text=True, cwd=place.braid.folder) as tail:
        while len(seen) < len(wanted):
            seen.append(json.dumps(json.loads(tail.stdout.readline()), sort_keys=True))
        place.sql("INSERT INTO users VALUES (9999, 'the last')")  # the next one, some calls later, is this
        last = json.loads(tail.stdout.readline())
        tail.kill()
    expect("each once", wanted, sorted(seen))
    expect("and what comes later", "the last", last["after"]["name"])
    expect_that("no group is left", not any(g["group"].startswith("braidctl") for g in place.console("SHOW CDC_GROUPS")))


# ---- HTTP ------------------------------------------------------------------------------------------------------------

def url(place, **words):
    return f"http://127.0.0.1:{place.braid.http_port}/changes?" + urllib.parse.urlencode({"topic": "app.public.users", **words})


def poll(place, method="GET", path="", **words):
    request = urllib.request.Request(url(place, **words).replace("/changes", "/changes" + path), method=method,
                                     headers={"Authorization": "Bearer t0ken"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def found(events):
    return [(e["partition"], e["offset"]) for e in events]


class Stream:
    """Server-sent events by curl; what a thread has read of them so far."""

    def __init__(self, place, last_id=None, **words):
        more = ["-H", f"Last-Event-ID: {last_id}"] if last_id else []
        self.process = subprocess.Popen(["curl", "-sN", "-H", "Authorization: Bearer t0ken", "-H", "Accept: text/event-stream",
                                         *more, url(place, **words)], stdout=subprocess.PIPE, text=True)
        self.events, self.last_id = [], None

    def read(self, count):
        """Until there are so many, and the batch is whole; False: the stream has ended."""
        for line in self.process.stdout:
            if line.startswith("data: "):
                self.events.append(json.loads(line[6:]))
            if line.startswith("id: "):
                self.last_id = line[4:].strip()
                if len(self.events) >= count:
                    return True
        return False

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@case
def a_stream_of_events_is_killed_and_goes_on(place):
    words = {"group": "sse", "member": "m", "limit": 7}
    everything = sorted(places(place.sql("SELECT * FROM braid.changes('users', limit => 10000)")))
    first = Stream(place, **words)
    expect_that("events come", first.read(10))
    first.kill()  # without a word
    again = Stream(place, **words)
    expect_that("events come", again.read(20))
    expect("nothing was committed, so all comes again", found(first.events), found(again.events)[:len(first.events)])
    had = len(again.events)
    again.kill()
    rest = Stream(place, last_id=again.last_id, **words)
    expect_that("the rest", rest.read(len(everything) - had))
    expect("each once from there on", everything, sorted(found(again.events + rest.events)))
    poll(place, "POST", "/commit", group="sse", member="m", id=rest.last_id)
    expect("all is committed", 0, next(g["lag"] for g in place.console("SHOW CDC_GROUPS") if g["group"] == "sse"))
    newest = Stream(place, **words)
    expect_that("the newest stream of a member ends the one before", not rest.read(10**6))
    expect("with nothing more", len(everything) - had, len(rest.events))
    newest.kill()
    rest.kill()


@case
def a_stream_that_is_not_read_costs_little(place):
    """What is not read waits in the log; when it is read all of it comes."""
    place.sql("CREATE TABLE IF NOT EXISTS wide (id int PRIMARY KEY, t text)")
    sizes, count = [], 0
    stream = None
    for round_ in range(3):  # the first one fills what is kept anyway
        for i in range(3):
            place.sql("INSERT INTO wide SELECT i, repeat('x', 4000) FROM generate_series(%s, %s) i", (count, count + 999))
            count += 1000
        for _ in range(600):
            if sum(t["records"] for t in place.console("SHOW CDC_TOPICS") if t["topic"] == "app.public.wide") >= count:
                break
            time.sleep(0.1)
        if stream is None:
            stream = Stream(place, topic="app.public.wide", group="slow", member="m", limit=1000)
            time.sleep(1)
        sizes.append(place.braid.memory_kb())
    most = 15000 * (10 if "address" in place.braid.binary else 1)  # a sanitizer keeps what was freed
    expect_that(f"24 MB wait outside of memory: {sizes} kB", sizes[2] - sizes[0] < most)
    expect_that("all come", stream.read(count))
    expect("each once", count, len(set(found(stream.events))))
    stream.kill()


@case
def who_gives_up_waiting_takes_no_place(place):
    """More polls than there may be readers, all given up at once: others read a second later, and not only when their time is over."""
    polls = []
    for i in range(130):
        polls.append(socket.create_connection(("127.0.0.1", place.braid.http_port)))
        path = f"/changes?topic=app.public.users&group=gone{i}&member=m&from=latest&wait_ms=60000"
        polls[-1].sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t0ken\r\n\r\n".encode())
    time.sleep(0.3)
    try:
        poll(place, wait_ms=1)
        expect_that("there are too many", False)
    except urllib.error.HTTPError as e:
        expect("there are too many", 503, e.code)
    expect_that("but for those that do not wait", len(poll(place, limit=5)["events"]) == 5)
    for one in polls:
        one.close()
    for _ in range(150):  # of the 60 s that they asked for
        threads = len(os.listdir(f"/proc/{place.braid.process.pid}/task"))
        if threads < 64:
            break
        time.sleep(0.1)
    expect_that(f"nobody is waited for any more ({threads} threads)", threads < 64)
    expect_that("all places are free", len(poll(place, limit=5, wait_ms=1)["events"]) == 5)


@case
def clumsy_requests_are_refused(place):
    for words, method, path in (({"group": "c"}, "GET", ""), ({"group": "", "member": "m"}, "GET", ""), ({"grp": "c"}, "GET", ""),
                                ({"id": "1-0:1"}, "GET", ""), ({}, "POST", "/commit"), ({"offset": 3}, "GET", "")):
        try:
            poll(place, method, path, **words)
            expect_that(f"{words} is refused", False)
        except urllib.error.HTTPError as e:
            expect(f"{words}", 400, e.code)
            text = json.loads(e.read())["message"]
            expect_that(text, "grp" not in words or text.endswith("ack, id"))


@case
def groups_and_topics_are_seen(place):
    place.sql("SELECT * FROM braid.changes('users', group => 'seen', member => 'm', limit => 5, ack => now)")
    [group] = [g for g in place.console("SHOW CDC_GROUPS") if g["group"] == "seen"]
    expect_that(f"behind: {group}", group["lag"] >= ROWS - 5 and group["lag_bytes"] > 1000 and group["lag_ms"] > 0)
    stats = place.braid.stats()
    [seen] = [g for g in stats["cdc_groups"] if g["group"] == "seen"]
    expect("in /stats", [group["lag"], group["lag_bytes"], group["members"]], [seen["lag_records"], seen["lag_bytes"], seen["members"]])
    [topic] = [t for t in stats["cdc_topics"] if t["topic"] == "app.public.users"]
    text = place.braid.http("/metrics")[1]
    for line in (f'pgbraid_group_lag_records{{group="seen",topic="app.public.users"}} {group["lag"]}',
                 f'pgbraid_topic_records_total{{topic="app.public.users"}} {int(topic["records"])}'):
        expect_that(line, line in text)


@case
def polls_go_on_by_their_ids(place):
    words = {"group": "poll", "member": "m", "limit": 9}
    first = poll(place, **words)
    expect("nine", 9, len(first["events"]))
    expect("who does not give the id back gets them again", found(first["events"]), found(poll(place, **words)["events"]))
    try:
        poll(place, id="nonsense", **words)
        expect_that("no such id", False)
    except urllib.error.HTTPError as e:
        expect("no such id", 400, e.code)
    answer, seen = poll(place, **words), []
    while answer["events"]:
        seen += answer["events"]
        answer = poll(place, id=answer["id"], **words)
    everything = sorted(places(place.sql("SELECT * FROM braid.changes('users', limit => 10000)")))
    expect("each once", everything, sorted(found(seen)))
    expect("another begins where that one was", [], poll(place, group="poll", member="n", wait_ms=0)["events"])
    stale = poll(place, group="stale", member="m", limit=5)
    fresh = poll(place, group="stale", member="m", limit=5)
    expect("an id of somebody who is no more commits nothing", found(fresh["events"]),
           found(poll(place, group="stale", member="m", limit=5, id=stale["id"])["events"]))


def main(description, cases):
    """Each case in turn with one place for all; also what streams.py does."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--only")
    args = parser.parse_args()
    report = Report(verbose=True, only=args.only)
    with pg.Fleet() as fleet:
        place = Place(fleet, args)
        report.run_all(place.braid, cases, place)
        report.run("no complaints", lambda: expect("complaints", [], place.braid.complaints()))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main(__doc__, CASES))
