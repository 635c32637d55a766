"""Time limits over shards: those of PostgreSQL and those of pgbraid, in the middle of statements and transactions
that hold several servers. Whatever ends them, all shards give back what was held, and nothing is half done."""

import struct
import time

import psycopg2

import raw
from place import ROWS, expect_error, wait_for
from report import Failed, expect, expect_that
from transactions import Stage, play, say, set_v

# Writes over all shards, in every way there is.
WRITES = (
    "UPDATE items SET v = 'late'",
    "UPDATE items SET v = b.v FROM items b WHERE b.v = items.v",
    "UPDATE items SET id = id + 10000",
    "DELETE FROM items WHERE v <> 'none'",
    "INSERT INTO items SELECT id, 'late' FROM items i WHERE i.v <> '' ON CONFLICT (id) DO UPDATE SET v = 'late'",
    "WITH w AS (UPDATE items SET v = 'late' RETURNING id) SELECT count(*) FROM w JOIN notes n ON n.id <> w.id",
    "WITH a AS (INSERT INTO notes VALUES (91001, 'a'), (91002, 'b'), (91003, 'c') RETURNING id), b AS (UPDATE items SET v = "
    "'late' RETURNING id) SELECT count(*) FROM a, b",
    "SELECT count(*) FROM (SELECT id FROM items FOR UPDATE) x",
    "TRUNCATE items",
)


def free_everywhere(stage, what):
    """Nobody holds a lock of the table's rows, on any server."""
    for i, server in enumerate(stage.place.servers):
        def is_free(server=server):
            try:
                return server.sql("SELECT count(*) FROM (SELECT id FROM items FOR UPDATE NOWAIT) x", "app") is not None
            except psycopg2.Error:
                return False
        wait_for(f"{what}: rows of server {i} are free", is_free)


def untouched(stage, what):
    expect(f"{what}: rows", [(ROWS, 0, 0)], stage.braid.sql(
        "SELECT count(*), (SELECT count(*) FROM items WHERE v = 'late' OR id > 10000), (SELECT count(*) FROM notes) FROM items"))


class Held:
    """Somebody on one server, beside pgbraid, who has locked a row of it."""

    def __init__(self, stage, shard):
        self.connection = stage.place.servers[shard].connect("app")
        self.connection.autocommit = False
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT v FROM items WHERE id = %s FOR UPDATE", (stage.rows[shard],))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.rollback()
        self.connection.close()


def test_lock_timeout(place):
    """A lock that one server does not get in time undoes the statement on all of them."""
    with Stage(place) as stage:
        c = stage.braid.connect()
        play(c, ("SET lock_timeout = '100ms'", None))
        for shard in (0, 2):
            with Held(stage, shard):
                for sql in WRITES:
                    e = expect_error(sql, "55P03", lambda sql=sql: play_one(c, sql), "lock timeout")
                    expect_that(f"{sql}: the shard is named: {e}", f'shard "shard{shard}"' in str(e))
                with place.servers[1].connect("app") as other, other.cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM (SELECT id FROM items FOR UPDATE NOWAIT) x")
                    other.rollback()
        untouched(stage, "lock_timeout")
        free_everywhere(stage, "lock_timeout")
        with Held(stage, 1):  # a savepoint keeps what came before
            play(c, ("BEGIN", None), (set_v(stage.rows[0], "kept"), "UPDATE 1"), ("SAVEPOINT a", None),
                 ("UPDATE items SET v = 'late'", "55P03"), ("ROLLBACK TO a", None),
                 (set_v(stage.rows[2], "kept"), "UPDATE 1"), ("COMMIT", "COMMIT"))
        expect("both", [(2,)], stage.braid.sql("SELECT count(*) FROM items WHERE v = 'kept'"))
        c.close()


def play_one(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.statusmessage


def test_statement_timeout(place):
    """A statement that is slow on one shard ends on all, and undoes what the others did."""
    slow = ("CREATE OR REPLACE FUNCTION slow_on(bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS "
            "'SELECT CASE WHEN $1 = $2 THEN length(pg_sleep(20)::text) ELSE 0 END + $1'")
    with Stage(place) as stage:
        stage.braid.sql(slow)
        for limit, text in (("SET statement_timeout = '150ms'", "statement timeout"), (None, "query timeout")):
            braid = stage.braid if limit else place.braid(pool={"query_timeout_ms": 150})
            c = braid.connect()
            if limit:
                play(c, (limit, None))
            for row in (stage.rows[0], stage.rows[2])[not limit:]:
                for sql in (f"UPDATE items SET v = 'late' WHERE slow_on(id, {row}) > 0",
                            f"SELECT count(*) FROM items WHERE slow_on(id, {row}) > 0",
                            f"SELECT id FROM items WHERE slow_on(id, {row}) > 0 ORDER BY id",
                            f"INSERT INTO notes SELECT id + 95000, v FROM items WHERE slow_on(id, {row}) > 0",
                            f"WITH w AS (UPDATE items SET v = 'late' WHERE slow_on(id, {row}) > 0 RETURNING id) "
                            "SELECT count(*) FROM w JOIN notes n ON n.id <> w.id"):
                    expect_error(sql, "57014", lambda c=c, sql=sql: play_one(c, sql), text)
                expect("goes on", [(ROWS,)], say(c, "SELECT count(*) FROM items"))
                play(c, ("BEGIN", None), (set_v(stage.rows[1], "late"), "UPDATE 1"),
                     (f"SELECT slow_on(id, {row}) FROM items WHERE id = {row}", "57014"),
                     ("SELECT 1", "25P02"), ("COMMIT", "ROLLBACK"))
            c.close()
            if not limit:
                place.end(braid)
        untouched(stage, "statement_timeout")
        free_everywhere(stage, "statement_timeout")
        stage.braid.sql("DROP FUNCTION slow_on(bigint, bigint)")


def test_timeout_of_commit(place):
    """statement_timeout of a few milliseconds strikes anywhere in a commit over shards: all shards or none, and an
    acknowledged one stays, also when it was COMMIT PREPARED that was cancelled."""
    with Stage(place, txn={"recover_interval_ms": 100}) as stage:
        c, reader = stage.braid.connect(), stage.braid.connect()
        play(c, *[(set_v(row, "t"), "UPDATE 1") for row in stage.rows])
        for n in range(36):
            tag = f"t{n}"
            wait_for("SET", lambda n=n: say(c, f"SET statement_timeout = {n % 12 + 1}") == "SET")
            told = say(c, "BEGIN; " + "; ".join(set_v(row, tag) for row in stage.rows) + "; COMMIT")
            play(c, ("ROLLBACK", None))
            wait_for("it is over", lambda: say(c, "SET statement_timeout = 0") == "SET")  # may be struck itself
            wait_for("nothing is in doubt", lambda: not any(
                server.sql("SELECT gid FROM pg_prepared_xacts WHERE database = 'app'", "app") for server in place.servers))
            seen = {say(reader, f"SELECT v FROM items WHERE id = {row}")[0][0] for row in stage.rows}
            if len(seen) != 1 or (told == "COMMIT") != (seen == {tag}) and told != "08007":
                raise Failed(f"{tag} was told {told}, rows say {seen}")
        c.close()
        reader.close()


def test_our_limits(place):
    """idle_transaction_timeout_ms, transaction_timeout_ms: the client is told and closed, and every shard is free."""
    for setting, code in (("idle_transaction_timeout_ms", "25P03"), ("transaction_timeout_ms", "25P04")):
        with Stage(place, pool={setting: 250}) as stage:
            for way in ("writes", "cursor", "savepoints", "reads")[:4 if code == "25P03" else 2]:
                with raw.Raw(stage.braid.port) as c:
                    c.login(user="app", database="app")
                    for sql in {"writes": ["BEGIN", "UPDATE items SET v = 'late'"],
                                "cursor": ["BEGIN", "DECLARE c CURSOR FOR SELECT id FROM items FOR UPDATE", "FETCH 3 FROM c"],
                                "savepoints": ["BEGIN", set_v(stage.rows[0], "late"), "SAVEPOINT a", set_v(stage.rows[1], "late"),
                                               "INSERT INTO notes VALUES (96001, 'a'), (96002, 'b'), (96003, 'c')"],
                                "reads": ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT id FROM items FOR UPDATE"]}[way]:
                        expect(f"{setting}: {sql}", [], raw.codes_of(c.ask(raw.query(sql))))
                    got = c.rest()
                expect(f"{setting}, {way}", [code], raw.codes_of(got))
                expect_that(f"it is named: {got}", setting in str(got))
                free_everywhere(stage, f"{setting}, {way}")
            untouched(stage, setting)


def test_servers_idle_limit(place):
    """idle_in_transaction_session_timeout of the servers: the transaction is lost as a whole, and told."""
    with Stage(place) as stage:
        c = stage.braid.connect()
        play(c, ("SET idle_in_transaction_session_timeout = '300ms'", None), ("BEGIN", None),
             ("UPDATE items SET v = 'late'", f"UPDATE {ROWS}"))
        free_everywhere(stage, "idle")
        expect_that("the transaction is over", say(c, "SELECT count(*) FROM items") in ("25P03", "25P02", "08006"))
        play(c, ("ROLLBACK", None), ("RESET idle_in_transaction_session_timeout", None))
        untouched(stage, "idle")
        c.close()


def test_copy_that_waits(place):
    """A COPY whose rows wait for ids while the client sends none: no server runs anything, and it can be stopped all the same."""
    with Stage(place) as stage:
        stage.braid.sql("CREATE TABLE seq_notes (id bigserial PRIMARY KEY, v text) SHARD BY HASH (id)")
        limited = place.braid(pool={"query_timeout_ms": 300})
        for braid, text in ((stage.braid, "user request"), (limited, "query timeout")):
            with raw.Raw(braid.port) as c:
                c.login(user="app", database="app")
                c.send(raw.query("COPY seq_notes (v) FROM STDIN"))
                c.until("G")
                c.send(raw.message("d", b"one\n"))
                if braid is stage.braid:
                    other = raw.Raw(braid.port)
                    other.send(raw.request(raw.CANCEL_REQUEST, struct.pack("!I", c.pid) + c.key))
                    other.socket.close()
                got = c.until("Z")
                expect(f"{text}: the code", ["57014"], raw.codes_of(got))
                expect_that(f"the words: {got}", text in str(got))
                c.send(raw.message("d", b"two\n"), raw.message("c"))  # already on its way
                expect("goes on", [["0"]], raw.rows_of(c.ask(raw.query("SELECT count(*) FROM seq_notes"))))
        place.end(limited)
        stage.braid.sql("DROP TABLE seq_notes")


TESTS = [test_lock_timeout, test_statement_timeout, test_copy_that_waits, test_timeout_of_commit, test_our_limits, test_servers_idle_limit]


def run(place, report):
    for test in TESTS:
        report.run(f"timeouts: {test.__name__[5:]}", test, place)
