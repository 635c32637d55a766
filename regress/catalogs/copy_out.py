"""COPY TO STDOUT over several shards, byte for byte what one PostgreSQL writes.

Rows come in any order without ORDER BY, so data is compared row by row as a multiset then; headers and
trailers must be there once.
"""

import io
import struct

import psycopg2

from report import Failed, expect, expect_that

ODD = ["plain", "", "tab\there", "new\nline", "car\rriage", "back\\slash", 'quo"te', "it's", "a,b;c|d", "\\.", "\\N",
       "NULL", " space ", "\v\f\b\x01\x7f", "é漢字😀", "'", "x" * 3000, "\\", '"', '""', ","]
SIGNATURE = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)

OPTIONS = ["", "(FORMAT text, DELIMITER '|', NULL 'nil')", "(FORMAT text, HEADER)", "(FORMAT csv)",
           "(FORMAT csv, HEADER)", "(FORMAT csv, HEADER true, DELIMITER ';', QUOTE '''', ESCAPE '\\', NULL 'NULL')",
           "(FORMAT csv, FORCE_QUOTE *)", "(FORMAT csv, FORCE_QUOTE (word), HEADER on)", "(FORMAT csv, ESCAPE '\\')",
           "(FORMAT binary)", "CSV HEADER", "BINARY", "(FORMAT text, DELIMITER E'\\x01')", "(ENCODING 'UTF8')"]
QUERIES = [
    ("SELECT id, word, n FROM words ORDER BY id", True),
    ("SELECT id, word, n FROM words", False),
    ("SELECT word FROM words ORDER BY id DESC LIMIT 7 OFFSET 3", True),
    ("SELECT n AS \"Odd, \"\"name\", count(*), sum(id), avg(id), min(word) AS word FROM words GROUP BY n ORDER BY n", True),
    ("SELECT count(*) AS word FROM words", True),
    ("SELECT DISTINCT n, 'x' AS word FROM words ORDER BY n", True),
    ("SELECT word FROM words WHERE id = 5", True),
    ("SELECT id, word FROM words WHERE id IN (1, 2, 3, 4) ORDER BY 1", True),
    ("SELECT word FROM words WHERE id < 0", True),
    ("SELECT word, payload, flags, stamp FROM words ORDER BY id", True),
    ("SELECT * FROM words", False),
    # by way of the workspace
    ("SELECT w.id, w.word, row_number() OVER (ORDER BY w.id) AS n FROM words w ORDER BY 3", True),
    ("SELECT a.id, b.word, b.flags AS n FROM words a JOIN words b ON a.n = b.id ORDER BY a.id", True),
    ("SELECT word, flags FROM words UNION ALL SELECT 'more', '{}' ORDER BY 1, 2", True),
    ("SELECT flags, count(*) AS word FROM words GROUP BY flags ORDER BY 2", True),
]


def fill(place):
    place.fresh()
    table = "CREATE TABLE words (id int PRIMARY KEY, word text, n int, payload bytea, flags bool[], stamp timestamptz"
    for c, suffix in ((place.direct(), ""), (place.braid.connect("app"), " SHARD BY HASH (id)")):
        with c.cursor() as cur:
            cur.execute(f"{table}, twice int GENERATED ALWAYS AS (id * 2) STORED){suffix}")
            for i, word in enumerate(ODD * 3):
                cur.execute("INSERT INTO words VALUES (%s, %s, %s, %s, %s, %s)", (
                    i, word, i % 5 if i % 7 else None, psycopg2.Binary(bytes([i, 0, 255])), [True, None, False],
                    "2026-01-02 03:04:05.678+02"))
            cur.execute("INSERT INTO words (id) VALUES (1000), (1001)")
        c.close()


def copy(c, statement):
    """(SQLSTATE or None, data)"""
    out = io.BytesIO()
    try:
        with c.cursor() as cur:
            cur.copy_expert(statement, out)
            return None, out.getvalue(), cur.rowcount
    except psycopg2.Error as e:
        return e.pgcode, out.getvalue(), str(e)


def binary_rows(data):
    expect("begins with one header", SIGNATURE, data[:19])
    at, rows = 19, []
    while True:
        (fields,) = struct.unpack_from("!h", data, at)
        if fields < 0:
            expect("ends with one trailer", len(data), at + 2)
            return rows
        begin = at
        at += 2
        for _ in range(fields):
            (size,) = struct.unpack_from("!i", data, at)
            at += 4 + max(size, 0)
        rows.append(data[begin:at])


def rows_of(data, options):
    if "binary" in options.lower():
        return binary_rows(data)
    return data.splitlines(keepends=True)


def same(statement, options, ordered, want, got):
    expect(f"{statement} {options}: SQLSTATE ({got[2]})", want[0], got[0])
    if want[0] is None:
        expect(f"{statement} {options}: count in the tag", want[2], got[2])
    if ordered and "binary" not in options.lower():
        if want[1] != got[1]:
            raise Failed(f"{statement} {options}: wanted {want[1][:300]!r}, got {got[1][:300]!r}")
        return
    a, b = rows_of(want[1], options) if want[1] else [], rows_of(got[1], options) if got[1] else []
    if "header" in options.lower() and a:
        expect(f"{statement} {options}: header", a[0], b[0])
    expect(f"{statement} {options}: rows", a if ordered else sorted(a), b if ordered else sorted(b))


def queries(place):
    plain, braid = place.direct(), place.braid.connect("app")
    for c in (plain, braid):
        c.cursor().execute("SET timezone = 'UTC'")
    for query, ordered in QUERIES:
        for options in OPTIONS:
            statement = f"COPY ({query}) TO STDOUT {options}"
            same(query, options, ordered, copy(plain, statement), copy(braid, statement))


def tables(place):
    plain, braid = place.direct(), place.braid.connect("app")
    for c in (plain, braid):
        c.cursor().execute("SET timezone = 'UTC'")
    for what in ("words", "words (id, word)", "public.words (word, stamp)", "words (id, twice)"):
        for options in OPTIONS:
            statement = f"COPY {what} TO STDOUT {options}"
            same(what, options, False, copy(plain, statement), copy(braid, statement))


def mistakes(place):
    """What the server would refuse is refused, with its SQLSTATE, whoever makes the data."""
    plain, braid = place.direct(), place.braid.connect("app")
    query = "(SELECT id, word FROM words ORDER BY id)"
    for options in ("(FORMAT odd)", "(DELIMITER 'ab')", "(DELIMITER 'a')", "(FORMAT binary, DELIMITER ',')",
                    "(FORMAT binary, NULL '')", "(FORMAT binary, HEADER)", "(QUOTE 'x')", "(ESCAPE 'x')", "(HEADER match)",
                    "(FORMAT csv, QUOTE ',')", "(FORCE_QUOTE *)", "(FORMAT csv, FORCE_QUOTE (nothing))", "(NULL E'a\\nb')",
                    "(FORMAT csv, FORCE_NULL (word))", "(FORMAT csv, FORMAT text)", "(FORMAT csv, NULL ',')"):
        want, got = copy(plain, f"COPY {query} TO STDOUT {options}"), copy(braid, f"COPY {query} TO STDOUT {options}")
        if options == "(FORMAT csv, FORCE_QUOTE (nothing))":
            expect_that(f"{options}: refused", got[0] is not None)
            continue
        expect(f"{options}: SQLSTATE ({got[2]})", want[0], got[0])
        with braid.cursor() as cur:
            cur.execute("SELECT count(*) FROM words")
            expect("goes on", 65, cur.fetchone()[0])


def in_transactions(place):
    """It sees what the transaction wrote, an error aborts the transaction, COPY of a write writes."""
    braid = place.braid.connect("app", autocommit=False)
    with braid.cursor() as cur:
        cur.execute("INSERT INTO words (id, word) VALUES (2000, 'new'), (2001, 'newer'), (2002, 'newest')")
        expect("own writes", b"new\nnewer\nnewest\n",
               copy(braid, "COPY (SELECT word FROM words WHERE id >= 2000 ORDER BY id) TO STDOUT")[1])
        expect("division by zero", "22012", copy(braid, "COPY (SELECT 1 / (id - 2001) FROM words ORDER BY 1) TO STDOUT")[0])
        braid.rollback()
        code, data, tag = copy(braid, "COPY (UPDATE words SET n = -1 WHERE id < 10 RETURNING id) TO STDOUT")
        expect("COPY of an UPDATE", (None, 10), (code, tag))
        expect("its rows", list(range(10)), sorted(int(x) for x in data.split()))
        cur.execute("SELECT count(*) FROM words WHERE n = -1")
        expect("it wrote", 10, cur.fetchone()[0])
        braid.rollback()


def big(place):
    """More data than fits into any buffer, to a client that takes its time."""
    braid = place.braid.connect("app")
    with braid.cursor() as cur:
        cur.execute("CREATE TABLE big (id int PRIMARY KEY, pad text) SHARD BY HASH (id)")
        data = "".join(f"{i}\t{'p' * 400}\n" for i in range(30000))
        cur.copy_expert("COPY big FROM STDIN", io.StringIO(data))
    for statement in ("COPY (SELECT * FROM big ORDER BY id) TO STDOUT", "COPY (SELECT * FROM big ORDER BY id) TO STDOUT BINARY",
                      "COPY big TO STDOUT", "COPY big TO STDOUT BINARY"):
        code, got, tag = copy(braid, statement)
        expect(statement, (None, 30000), (code, tag))
        if "BINARY" in statement:
            expect(statement, 30000, len(binary_rows(got)))
        elif "ORDER" in statement:
            expect(statement, data.encode(), got)
        else:
            expect(statement, sorted(data.encode().splitlines()), sorted(got.splitlines()))


def psycopg3(place):
    import psycopg
    with psycopg.connect(place.braid.dsn("app"), autocommit=True) as c, c.cursor() as cur:
        with cur.copy("COPY (SELECT id, word, stamp FROM words WHERE id < 1000 ORDER BY id) TO STDOUT (FORMAT binary)") as k:
            k.set_types(["int4", "text", "timestamptz"])
            rows = list(k.rows())
        expect("rows", len(ODD) * 3, len(rows))
        expect("words", ODD * 3, [r[1] for r in rows])
        with cur.copy("COPY words (id) TO STDOUT") as k:
            expect("text rows", 65, len(list(k.rows())))
        # COPY through the extended protocol
        for statement, count in (("COPY words TO STDOUT", 65), ("COPY (SELECT n FROM words ORDER BY id LIMIT 4) TO STDOUT", 4),
                                 ("COPY (SELECT word FROM words WHERE id = 5) TO STDOUT", 1)):
            pgc = c.pgconn
            pgc.send_query_params(statement.encode(), None)
            c.wait(iter_copy(pgc, result := []))
            expect(statement, count, len(result))


def iter_copy(pgc, out):
    """psycopg's generator protocol: wait until everything has come."""
    from psycopg import pq, waiting
    while True:
        while pgc.is_busy():
            yield waiting.Wait.R
            pgc.consume_input()
        res = pgc.get_result()
        if res is None:
            return
        if res.status == pq.ExecStatus.FATAL_ERROR:
            raise Failed(res.error_message.decode())
        if res.status == pq.ExecStatus.COPY_OUT:
            while True:
                n, data = pgc.get_copy_data(1)
                if n == 0:
                    yield waiting.Wait.R
                    pgc.consume_input()
                elif n < 0:
                    break
                else:
                    out.append(bytes(data))


def asyncpg_copies(place):
    import asyncio

    import asyncpg

    async def work():
        c = await asyncpg.connect(host="127.0.0.1", port=place.braid.port, user="app", database="app")
        out = io.BytesIO()
        tag = await c.copy_from_query("SELECT id, word FROM words ORDER BY id", output=out, format="csv", header=True)
        expect("tag", "COPY 65", tag)
        expect_that("header", out.getvalue().startswith(b"id,word\n0,plain\n"))
        out = io.BytesIO()
        tag = await c.copy_from_table("words", output=out, format="binary")
        expect("binary rows", 65, len(binary_rows(out.getvalue())))
        await c.close()

    asyncio.run(work())


def wrong_line(c, statement, data):
    """Code and context of the error that the data gives; by the simple protocol."""
    import psycopg2
    try:
        with c.cursor() as cur:
            cur.copy_expert(statement, io.BytesIO(data))
    except psycopg2.Error as e:
        return e.pgcode, e.diag.context
    raise Failed(f"{statement}: no error")


def wrong_line_extended(port, statement, data):
    from raw import Raw, SYNC, bind, execute, fields_of, message, parse
    with Raw(port) as r:
        r.login()
        r.send(parse(statement) + bind() + execute() + message("d", data) + message("c") + SYNC)
        got = r.until("Z")
        return next((fields_of(body)["C"], fields_of(body).get("W", "").split("\nshard ")[0]) for kind, body in got if kind == "E")


def lines_of_errors(place):
    """A server counts the lines it was sent; what the client reads is a line of its own."""
    braid, plain = place.braid.connect("app"), place.direct()
    for c, more in ((braid, " SHARD BY HASH (id)"), (plain, "")):
        with c.cursor() as cur:
            cur.execute("CREATE TABLE rows_in (id bigint PRIMARY KEY, n int NOT NULL CHECK (n <> 13), note text)" + more)
            cur.execute("INSERT INTO rows_in VALUES (100000, 1, 'there')")
    for wrong in ("{i},x{i},a", "{i},,a", "{i},13,a", "100000,5,a", "{i},5", "{i},5,a,b"):
        for end in ("\n", "\r\n"):
            for form in ("text", "csv", "csv, header"):
                note = "x" if form == "text" else f'"a{end}b{end}c ""q"""'
                lines = ["id,n,note"] if "header" in form else []
                lines += [f"{i},{i % 9},{note if i % 3 == 1 else i}" for i in range(1000)]
                lines[777] = wrong.replace("{i}", "7777")
                data = end.join(lines) + end
                statement = f"COPY rows_in FROM STDIN (FORMAT {form}" + (", DELIMITER ',', NULL '')" if form == "text" else ")")
                want, got = wrong_line(plain, statement, data.encode()), wrong_line(braid, statement, data.encode())
                got = (got[0], (got[1] or "").split("\nshard ")[0])
                expect(f"{statement}, {wrong} {end!r}", want, got)
                if end == "\r\n" and wrong[0] == "{":
                    expect(f"extended: {statement}, {wrong}", want, wrong_line_extended(place.braid.port, statement, data.encode()))
    with braid.cursor() as cur:
        cur.execute("SELECT count(*) FROM rows_in")
        expect("nothing is kept", 1, cur.fetchone()[0])


SUBJECT = "COPY TO"
TESTS = [
    ("errors of COPY FROM name the client's line", lines_of_errors),
    ("every kind of SELECT in every format", queries),
    ("tables in every format", tables),
    ("wrong options", mistakes),
    ("in transactions", in_transactions),
    ("much data", big),
    ("psycopg 3, and the extended protocol", psycopg3),
    ("asyncpg", asyncpg_copies),
]
