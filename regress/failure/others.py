"""Two pgbraids in front of the same shards: what one does to the schema is never taken for something else by the other."""

import io
import threading

import psycopg
import psycopg2

from place import wait_for
from report import expect, expect_that
from workspace import Calm, auto

ROWS = 20


def plain(braid, **words):
    return psycopg2.connect(host="127.0.0.1", port=braid.port, dbname="app", user="app", password="secret", **words)


def spread(place, table):
    """Rows on each shard: each has some, for nobody thought that the table is local."""
    counts = [s.sql(f"SELECT count(*) FROM {table}", "app")[0][0] for s in place.servers]
    expect_that(f"{table}: rows on each shard {counts}", all(0 < n < ROWS for n in counts) and sum(counts) == ROWS)


def test_new_table(place):
    """A table that was made through the other one is written to its shards at once, in every way."""
    with Calm(place) as one:
        two = place.braid()
        a, b = auto(one), auto(two)
        k = psycopg.connect(f"host=127.0.0.1 port={two.port} user=app password=secret dbname=app", autocommit=True, prepare_threshold=0)

        def simple(table):
            with b.cursor() as cur:
                for i in range(ROWS):
                    cur.execute(f"INSERT INTO {table} VALUES ({i})")

        def extended(table):
            for i in range(ROWS):
                k.execute(f"INSERT INTO {table} VALUES (%s)", (i,))

        def copy(table):
            with b.cursor() as cur:
                cur.copy_expert(f"COPY {table} FROM STDIN", io.StringIO("".join(f"{i}\n" for i in range(ROWS))))

        def several(table):
            with b.cursor() as cur:
                cur.execute("; ".join(f"INSERT INTO {table} VALUES ({i})" for i in range(ROWS)))
        for number, write in enumerate((simple, extended, copy, several)):
            with a.cursor() as cur:
                cur.execute(f"CREATE TABLE fresh{number} (id bigint PRIMARY KEY) SHARD BY HASH (id)")
            write(f"fresh{number}")
            spread(place, f"fresh{number}")
            with a.cursor() as cur:
                cur.execute(f"DROP TABLE fresh{number}")
        for c in (a, b, k):
            c.close()
        place.end(two)


def test_pipeline(place):
    """A table that is new in the middle of a pipeline, whose first statement still runs."""
    with Calm(place) as one:
        two = place.braid()
        a = auto(one)
        k = psycopg.connect(f"host=127.0.0.1 port={two.port} user=app password=secret dbname=app", autocommit=True, prepare_threshold=None)
        with a.cursor() as cur:
            cur.execute("CREATE TABLE fresh (id bigint PRIMARY KEY) SHARD BY HASH (id)")
            cur.execute("CREATE TABLE later (id bigint PRIMARY KEY) SHARD BY HASH (id)")
        with k.pipeline():
            k.execute("SELECT pg_sleep(0.3), count(*) FROM items WHERE id = %s", (place.row_on(0),))
            for table in ("fresh", "later"):
                for i in range(ROWS):
                    k.execute(f"INSERT INTO {table} VALUES (%s)", (i,))
        spread(place, "fresh")
        spread(place, "later")
        with a.cursor() as cur:
            cur.execute("DROP TABLE fresh, later")
        a.close()
        k.close()
        place.end(two)


def test_prepared(place):
    """Statements that were prepared before the table was made, in the protocol and by PREPARE."""
    with Calm(place) as one:
        two = place.braid()
        a, b = auto(one), auto(two)
        k = psycopg.connect(f"host=127.0.0.1 port={two.port} user=app password=secret dbname=app", autocommit=True, prepare_threshold=0)
        make = "CREATE TABLE fresh (id bigint PRIMARY KEY) SHARD BY HASH (id)"
        with a.cursor() as mine, b.cursor() as cur:
            def anew():
                """Made again, when the other pgbraid knows that it was dropped."""
                mine.execute("DROP TABLE fresh")
                try:
                    cur.execute("SELECT * FROM nowhere")
                except psycopg2.Error:
                    pass
                mine.execute(make)
            mine.execute(make)
            k.execute("INSERT INTO fresh VALUES (%s)", (0,))
            cur.execute("PREPARE put (bigint) AS INSERT INTO fresh VALUES ($1)")
            anew()
            for i in range(ROWS):
                k.execute("INSERT INTO fresh VALUES (%s)", (i,))
            spread(place, "fresh")
            anew()
            for i in range(ROWS):
                for _ in range(2):
                    try:
                        cur.execute(f"EXECUTE put ({i})")
                        break
                    except psycopg2.errors.SerializationFailure:
                        pass
            spread(place, "fresh")
            mine.execute("DROP TABLE fresh")
        for c in (a, b, k):
            c.close()
        place.end(two)


def test_start(place):
    """One starts while another makes schema braid what it should be: it waits for that, and has nothing to complain of."""
    with Calm(place) as one:
        home = place.servers[0].connect("app")
        home.autocommit = False
        with home.cursor() as cur:
            cur.execute("SELECT pg_advisory_xact_lock(1651663204, 1), pg_get_functiondef('braid.check_owner'::regproc)")
            cur.execute(cur.fetchone()[1])
            two = place.braid(start=False)
            starting = threading.Thread(target=two.start)
            starting.start()
            wait_for("the other one waits", lambda: place.servers[0].sql(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%SCHEMA IF NOT EXISTS braid%'", "app"), 60)
        home.commit()
        home.close()
        starting.join(60)
        expect("rows", [(1,)], two.sql("SELECT count(*) FROM items WHERE id = 7"))
        expect_that(f"it has read the catalog: {two.tail(10)}", "CATALOG_FAILED" not in two.log())
        one.sql("SELECT 1")
        place.end(two)


def test_transaction(place):
    """One that began before is told to repeat; who has a temporary table is not slowed down; a name of nothing is an error."""
    with Calm(place) as one:
        two = place.braid()
        a, c = auto(one), plain(two)
        with a.cursor() as mine, c.cursor() as cur:
            cur.execute("SELECT * FROM items WHERE id = 1")
            mine.execute("CREATE TABLE fresh (id bigint PRIMARY KEY) SHARD BY HASH (id)")
            try:
                cur.execute("INSERT INTO fresh VALUES (1)")
                expect("refused", "40001", None)
            except psycopg2.Error as e:
                expect("refused", "40001", e.pgcode)
            c.rollback()
            for i in range(ROWS):
                cur.execute("INSERT INTO fresh VALUES (%s)", (i,))
            c.commit()
            spread(place, "fresh")
            cur.execute("CREATE TEMP TABLE mine (id int)")
            cur.execute("INSERT INTO mine VALUES (1)")
            cur.execute("SELECT * FROM mine")
            expect("temporary", [(1,)], cur.fetchall())
            c.commit()
            try:
                cur.execute("SELECT * FROM nowhere")
                expect("an error", "42P01", None)
            except psycopg2.Error as e:
                expect("an error", "42P01", e.pgcode)
            mine.execute("DROP TABLE fresh")
        a.close()
        c.close()
        place.end(two)


def test_reload(place):
    """A local table is spread through the other one; RELOAD tells."""
    with Calm(place) as one:
        a = auto(one)
        with a.cursor() as cur:
            cur.execute("CREATE TABLE settled (id bigint PRIMARY KEY)")
        two = place.braid()
        b = auto(two)
        with a.cursor() as mine, b.cursor() as cur:
            cur.execute("SELECT * FROM settled")
            mine.execute("ALTER TABLE settled SHARD BY HASH (id)")
            console = psycopg2.connect(host="127.0.0.1", port=two.port, dbname="pgbraid", user="app", password="secret")
            console.autocommit = True
            with console.cursor() as admin:
                admin.execute("RELOAD")

            def follows():
                cur.execute("EXPLAIN SELECT * FROM settled")
                return "settled" in str(cur.fetchall()) and two.tail(200).count("MAP database=app") > 1
            wait_for("the map is read again", follows, 30)
            for i in range(ROWS):
                cur.execute("INSERT INTO settled VALUES (%s)", (i,))
            spread(place, "settled")
            mine.execute("DROP TABLE settled")
            console.close()
        a.close()
        b.close()
        place.end(two)


TESTS = (test_new_table, test_pipeline, test_prepared, test_start, test_transaction, test_reload)


def run(place, report):
    for test in TESTS:
        report.run(f"others: {test.__name__[5:]}", test, place)
