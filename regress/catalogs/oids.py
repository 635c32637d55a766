"""Types of users have another OID on every server. Clients look OIDs up in the home shard's catalog, so
that is what they must be told, and what they may say, whichever shard a statement runs on, in text and in
binary format, as parameters and as results.
"""

import asyncio
import io
import struct
import time

from raw import Raw, SYNC, bind, describe, execute, parse, query
from report import expect, expect_that

TYPES = [
    "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
    "CREATE DOMAIN nick AS text CHECK (VALUE <> '')",
    "CREATE DOMAIN moods AS mood[]",
    "CREATE TYPE place AS (street text, mood mood, past mood[])",
    "CREATE TYPE trip AS (title nick, stops place[])",
    "CREATE TYPE span AS RANGE (subtype = mood)",
    "CREATE TABLE t (id int PRIMARY KEY, m mood, ms mood[], n nick, d moods, p place, ps place[], tr trip, s span) "
    "SHARD BY HASH (id)",
    "CREATE TABLE grid (id int, m mood) SHARD BY HASH (id)",
]
COLUMNS = "id, m, ms, n, d, p, ps, tr, s"
IDS = list(range(1, 13))


def fill(place):
    place.fresh()
    # Every server has its own numbers: types are made and dropped on some of them.
    for i, server in enumerate(place.servers):
        c = server.connect("app")
        for k in range(i * 7):
            c.cursor().execute(f"CREATE TYPE junk{k} AS ENUM ('x'); DROP TYPE junk{k}")
        c.close()
    c = place.braid.connect("app")
    with c.cursor() as cur:
        for statement in TYPES:
            cur.execute(statement)
        for i in IDS:
            cur.execute(f"""INSERT INTO t VALUES ({i}, 'happy', '{{sad,happy,NULL}}', 'nick{i}', '{{ok}}', ROW('street {i}', 'ok',
                ARRAY['sad'::mood]), ARRAY[ROW('a', 'sad', NULL)::place, NULL], ROW('t', ARRAY[ROW('b', 'ok', '{{}}')::place])::trip,
                '[sad,happy)')""")
    c.close()
    seen = [dict(s.sql("SELECT typname::text, oid::bigint FROM pg_type WHERE typname IN ('mood', '_mood', 'place', 'trip')", "app"))
            for s in place.servers]
    expect_that("the OIDs differ between servers", all(seen[0][n] != seen[i][n] for n in seen[0] for i in (1, 2)))


def home(place):
    """What a client finds when it asks: name -> OID, through the proxy."""
    c = place.braid.connect("app")
    with c.cursor() as cur:
        cur.execute("SELECT typname::text, oid::bigint FROM pg_type")
        types = dict(cur.fetchall())
        cur.execute("SELECT 't'::regclass::oid::bigint")
        types["table t"] = cur.fetchone()[0]
    c.close()
    return types


def columns_of(body):
    out, at = [], 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        end = body.index(b"\0", at)
        table, number, oid, size, mod, fmt = struct.unpack_from("!IhIhih", body, end + 1)
        out.append({"name": body[at:end].decode(), "table": table, "number": number, "type": oid, "mod": mod, "format": fmt})
        at = end + 19
    return out


def row_of(body):
    out, at = [], 2
    for _ in range(struct.unpack_from("!H", body)[0]):
        (n,) = struct.unpack_from("!i", body, at)
        out.append(None if n < 0 else body[at + 4:at + 4 + n])
        at += 4 + max(n, 0)
    return out


STATEMENTS = ["SELECT {c} FROM t WHERE id = {i}", "SELECT {c} FROM t ORDER BY id", "SELECT {c} FROM t WHERE id IN (1, 2, 3, 4, 5)",
              "UPDATE t SET n = 'x' WHERE id = {i} RETURNING {c}", "UPDATE t SET n = 'x' RETURNING {c}",
              "SELECT {c} FROM t ORDER BY id LIMIT 5"]
NAMES = ["int4", "mood", "_mood", "nick", "moods", "place", "_place", "trip", "span"]


def descriptions(place):
    types = home(place)
    want = [types[{"nick": "text", "moods": "_mood"}.get(n, n)] for n in NAMES]  # domains are told by their base
    with Raw(place.braid.port) as raw:
        raw.login()
        for statement in STATEMENTS:
            for i in IDS[:6] if "{i}" in statement else [0]:
                text = statement.format(c=COLUMNS, i=i)
                for parts in ([query(text)], [parse(text), describe("S"), SYNC],
                              [parse(text), bind(), describe("P"), execute(), SYNC],
                              [parse(text), bind(results=[1]), describe("P"), execute(), SYNC]):
                    got = raw.ask(*parts)
                    columns = [columns_of(b) for k, b in got if k == "T"]
                    expect(f"{text}: descriptions", 1, len(columns))
                    expect(f"{text}: types", want, [c["type"] for c in columns[0]])
                    expect(f"{text}: table", {types["table t"]}, {c["table"] for c in columns[0]})
        # parameters
        for i in IDS[:6]:
            for text in (f"UPDATE t SET m = $1, ms = $2, p = $3 WHERE id = {i}", "UPDATE t SET m = $1, ms = $2, p = $3"):
                got = raw.ask(parse(text), describe("S"), SYNC)
                want_parameters = struct.pack("!HIII", 3, types["mood"], types["_mood"], types["place"])
                expect(text, [want_parameters], [b for k, b in got if k == "t"])


def oids_in(value, kind, types):
    """OIDs inside of a binary value, checked on the way."""
    if value is None:
        return
    if kind.startswith("_") or kind == "moods":
        element = "mood" if kind == "moods" else kind[1:]
        dims, _, oid = struct.unpack_from("!iiI", value)
        expect(f"element of {kind}", types[element], oid)
        at = 12 + 8 * dims
        while at < len(value):
            (n,) = struct.unpack_from("!i", value, at)
            oids_in(None if n < 0 else value[at + 4:at + 4 + n], element, types)
            at += 4 + max(n, 0)
    elif kind in ("place", "trip"):
        fields = {"place": ["text", "mood", "_mood"], "trip": ["nick", "_place"]}[kind]
        (count,) = struct.unpack_from("!i", value)
        expect(kind, len(fields), count)
        at = 4
        for field in fields:
            oid, n = struct.unpack_from("!Ii", value, at)
            expect(f"field of {kind}", types[field], oid)
            oids_in(None if n < 0 else value[at + 8:at + 8 + n], field, types)
            at += 8 + max(n, 0)


def binary_results(place):
    types = home(place)
    with Raw(place.braid.port) as raw:
        raw.login()
        for statement in STATEMENTS:
            for i in IDS if "{i}" in statement else [0]:
                text = statement.format(c=COLUMNS, i=i)
                for parts in ([parse(text), bind(results=[1]), describe("P"), execute(), SYNC], [parse(text), bind(results=[1]), execute(), SYNC],
                              [parse(text), bind(results=[0, 1, 1, 0, 1, 1, 1, 1, 1]), execute(), SYNC],
                              [parse(text), bind(results=[1]), execute(), bind(results=[1]), execute(), SYNC],
                              [parse(text), describe("S"), bind(results=[1]), execute("", 1), execute(), SYNC][:6 if "id = " in text and "SELECT" in text else 0] or [SYNC]):
                    got = raw.ask(*parts)
                    rows = [row_of(b) for k, b in got if k == "D"]
                    expect_that(f"{text}: rows {got[:2]}", rows or parts == [SYNC])
                    for row in rows:
                        for value, kind in zip(row, NAMES):
                            oids_in(value, kind, types)
        for text in ("SELECT ROW(m, p), ARRAY[ROW(m)] FROM t WHERE id = {i}", "SELECT ROW(m, p), ARRAY[ROW(m)] FROM t"):
            for i in IDS:
                got = raw.ask(parse(text.format(i=i)), bind(results=[1]), execute(), SYNC)
                for row in [row_of(b) for k, b in got if k == "D"]:
                    count, oid, n = struct.unpack_from("!iIi", row[0])
                    expect("record", (2, types["mood"]), (count, oid))
                    expect("second field", types["place"], struct.unpack_from("!I", row[0], 12 + n)[0])
                    oids_in(row[0][12 + n + 8:], "place", types)
                    expect("in an array of records", types["mood"], struct.unpack_from("!I", row[1], 12 + 8 + 4 + 4)[0])


def enum_array(types, *labels):
    out = struct.pack("!iiIii", 1, 0, types["mood"], len(labels), 1)
    for label in labels:
        out += struct.pack("!i", len(label)) + label.encode()
    return out


def place_value(types, street, mood):
    past = enum_array(types, "ok", mood)
    return (struct.pack("!i", 3) + struct.pack("!Ii", types["text"], len(street)) + street.encode()
            + struct.pack("!Ii", types["mood"], len(mood)) + mood.encode() + struct.pack("!Ii", types["_mood"], len(past)) + past)


def binary_parameters(place):
    types = home(place)
    with Raw(place.braid.port) as raw:
        raw.login()
        for declared in ((), (types["_mood"], types["place"], 23), (0, types["place"], 0), (types["_mood"], 0, 0)):
            for n, i in enumerate(IDS):
                label = ("sad", "happy", "ok")[n % 3]
                values = [enum_array(types, label, "ok"), place_value(types, f"new {i}", label), struct.pack("!i", i)]
                got = raw.ask(parse("UPDATE t SET ms = $1, p = $2 WHERE id = $3", types=declared), bind(values, formats=[1]),
                              execute(), SYNC)
                expect(f"{declared}: {got}", ["1", "2", "C", "Z"], [k for k, _ in got])
                got = raw.ask(query(f"SELECT ms, p FROM t WHERE id = {i}"))
                expect("written", [[f"{{{label},ok}}".encode(), f'("new {i}",{label},"{{ok,{label}}}")'.encode()]],
                       [row_of(b) for k, b in got if k == "D"])
            values = [enum_array(types, "happy"), place_value(types, "all", "sad")]
            got = raw.ask(parse("UPDATE t SET ms = $1, p = $2", types=declared[:2]), bind(values, formats=[1]), execute(), SYNC)
            expect(f"all shards {got}", ["1", "2", "C", "Z"], [k for k, _ in got])
            got = raw.ask(parse("SELECT count(*) FROM t WHERE ms = $1 AND p = $2::place", types=declared[:2]), bind(values, formats=[1]),
                          execute(), SYNC)
            expect(f"found {got}", [[b"12"]], [row_of(b) for k, b in got if k == "D"])
            # an INSERT that is split
            values = [enum_array(types, "happy"), place_value(types, "all", "sad")]
            text = "INSERT INTO t (id, ms, p) VALUES (101, $1, $2), (102, $1, $2), (103, $1, $2), (104, $1, $2) RETURNING ms, p, id"
            got = raw.ask(parse(text, types=declared[:2]), bind(values, formats=[1], results=[1]), execute(), SYNC)
            rows = [row_of(b) for k, b in got if k == "D"]
            expect(f"RETURNING of a split INSERT {got[:3]}", [[*values, struct.pack("!i", 100 + i)] for i in (1, 2, 3, 4)], rows)
            raw.ask(query("DELETE FROM t WHERE id > 100"))
        # one and the same named statement on all shards, over and over
        raw.ask(parse("SELECT ms, id FROM t WHERE id = $1 AND m = $2", "s1", types=(23, types["mood"])), SYNC)
        for i in IDS * 3:
            got = raw.ask(bind([struct.pack("!i", i), b"happy"], "s1", formats=[1], results=[1]), execute(), SYNC)
            rows = [row_of(b) for k, b in got if k == "D"]
            expect(f"named statement {got}", [[enum_array(types, "happy"), struct.pack("!i", i)]], rows)


def workspaces(place):
    """What a workspace gives, on the home shard and on another one; its temporary tables have row types of their own."""
    try:
        for name in ("home", "shard1", "shard2"):
            place.end()
            place.braid.config["workspace"] = {"place": name}
            place.braid.write_files()
            place.braid.start()
            types = home(place)
            with Raw(place.braid.port) as raw:
                raw.login()
                for text, kinds in (("SELECT a.m, b.ms, b.p, a.ps FROM t a JOIN t b ON a.id = b.id % 7 + 1", ["mood", "_mood", "place", "_place"]),
                                    ("SELECT array_agg(ms ORDER BY id), array_agg(p ORDER BY id) FROM t", ["_mood", "_place"]),
                                    ("SELECT array_agg(x ORDER BY x.id) FROM t x", ["_t"])):
                    got = raw.ask(parse(text), bind(results=[1]), describe("P"), execute(), SYNC)
                    rows = [row_of(b) for k, b in got if k == "D"]
                    expect_that(f"{text} on {name}: rows {got[:3]}", rows)
                    expect(f"{text} on {name}: types", [types[k] for k in kinds], [c["type"] for c in columns_of([b for k, b in got if k == "T"][0])])
                    for row in rows:
                        for value, kind in zip(row, kinds):
                            if kind == "_t":
                                expect(f"{text} on {name}: element", types["t"], struct.unpack_from("!I", value, 8)[0])
                            else:
                                oids_in(value, kind, types)
    finally:
        place.end()
        del place.braid.config["workspace"]
        place.braid.write_files()
        place.braid.start()


def big_rows(place):
    """A row that is larger than any buffer, edited all the same."""
    types = home(place)
    with Raw(place.braid.port) as raw:
        raw.login()
        for i in IDS[:6]:
            raw.ask(query(f"UPDATE t SET p = ROW(repeat('x', 3000000), 'ok', ARRAY['sad'::mood]) WHERE id = {i}"))
            for text in (f"SELECT p FROM t WHERE id = {i}", f"SELECT p FROM t WHERE id IN ({i}, {i})"):
                got = raw.ask(parse(text), bind(results=[1]), execute(), SYNC)
                (value,) = row_of([b for k, b in got if k == "D"][0])
                oids_in(value, "place", types)
        raw.ask(query("UPDATE t SET p = NULL"))


def psycopg3(place):
    import psycopg
    from psycopg.types.composite import CompositeInfo, register_composite
    from psycopg.types.enum import EnumInfo, register_enum
    from enum import Enum

    class Mood(Enum):
        sad = "sad"
        ok = "ok"
        happy = "happy"

    with psycopg.connect(place.braid.dsn("app"), autocommit=True) as c:
        register_enum(EnumInfo.fetch(c, "mood"), c, Mood)
        info = CompositeInfo.fetch(c, "place")
        register_composite(info, c)
        cur = c.cursor(binary=True)
        for i in IDS:
            cur.execute("UPDATE t SET m = %b, ms = %b, p = %b WHERE id = %b", (
                Mood.sad, [Mood.sad, Mood.happy], info.python_type(f"s{i}", Mood.ok, [Mood.ok, Mood.sad]), i))
            cur.execute("SELECT m, ms, p FROM t WHERE id = %b", (i,))
            want = (Mood.sad, [Mood.sad, Mood.happy], info.python_type(f"s{i}", Mood.ok, [Mood.ok, Mood.sad]))
            expect("one row", want, cur.fetchone())
        cur.execute("SELECT id, m, ms, p FROM t WHERE ms = %b AND m = ANY(%b) ORDER BY id", ([Mood.sad, Mood.happy], [Mood.sad, Mood.ok]))
        expect("all rows", [(i, Mood.sad, [Mood.sad, Mood.happy], info.python_type(f"s{i}", Mood.ok, [Mood.ok, Mood.sad])) for i in IDS],
               cur.fetchall())
        text = c.cursor()
        text.execute("SELECT ms, p FROM t WHERE id = 7 AND m = %s", (Mood.sad,))
        expect("text", ([Mood.sad, Mood.happy], info.python_type("s7", Mood.ok, [Mood.ok, Mood.sad])), text.fetchone())
        cur.execute("SELECT ms FROM t WHERE p IS NOT NULL AND id > 3 GROUP BY id, ms ORDER BY id LIMIT 2")
        expect("groups", [([Mood.sad, Mood.happy],)] * 2, cur.fetchall())


def asyncpg_types(place):
    import asyncpg

    async def work():
        c = await asyncpg.connect(host="127.0.0.1", port=place.braid.port, user="app", database="app")
        await c.execute("DELETE FROM grid")
        for i in IDS:
            await c.execute("UPDATE t SET m = $2, ms = $3, p = $4, ps = $5, d = $3::mood[] WHERE id = $1", i, "ok", ["ok", None, "sad"],
                            (f"s{i}", "sad", ["ok"]), [("x", "ok", []), None])
            row = await c.fetchrow("SELECT m, ms, p, ps, d, tr, n FROM t WHERE id = $1", i)
            expect("one row", ("ok", ["ok", None, "sad"], (f"s{i}", "sad", ["ok"]), [("x", "ok", []), None], ["ok", None, "sad"]),
                   (row[0], row[1], tuple(row[2]), [r and tuple(r) for r in row[3]], row[4]))
            expect("nested", [("b", "ok", [])], [tuple(r) for r in row["tr"]["stops"]])
        rows = await c.fetch("SELECT id, ms, p FROM t WHERE ms = $1 ORDER BY id", ["ok", None, "sad"])
        expect("all rows", [(i, ["ok", None, "sad"], (f"s{i}", "sad", ["ok"])) for i in IDS], [(r[0], r[1], tuple(r[2])) for r in rows])
        await c.executemany("INSERT INTO grid VALUES ($1, $2)", [(i, "happy") for i in range(50)])
        expect("executemany", 50, await c.fetchval("SELECT count(*) FROM grid WHERE m = $1", "happy"))
        async with c.transaction():
            got = [tuple(r) async for r in c.cursor("SELECT id, ms FROM t WHERE id = $1", 5)]
            expect("a cursor", [(5, ["ok", None, "sad"])], got)
        await c.close()

    asyncio.run(work())


def copies(place):
    """COPY in binary, out of one database and into the other, through psycopg."""
    types = home(place)
    c = place.braid.connect("app")
    with c.cursor() as cur:
        cur.execute("UPDATE t SET p = ROW('x', 'ok', '{sad}'), m = 'ok'")
        cur.execute("SELECT * FROM t ORDER BY id")
        want = cur.fetchall()
        all_rows, some = io.BytesIO(), io.BytesIO()
        cur.copy_expert("COPY t TO STDOUT BINARY", all_rows)
        for i in IDS:
            cur.copy_expert(f"COPY (SELECT * FROM t WHERE id = {i}) TO STDOUT BINARY", some)
        expect("COPY of each key gives a header, the row, a trailer", len(all_rows.getvalue()) + 11 * 21, len(some.getvalue()))
        for data in (all_rows.getvalue(), some.getvalue()):
            expect("arrays of other types", 0, sum(data.count(struct.pack("!iiI", 1, flag, oid)) for flag in (0, 1)
                                                   for oid in range(16384, 17384) if oid not in (types["mood"], types["place"])))
        cur.execute("DELETE FROM t")
        cur.copy_expert("COPY t FROM STDIN BINARY", io.BytesIO(all_rows.getvalue()))
        cur.execute("SELECT * FROM t ORDER BY id")
        expect("rows after COPY BINARY out and in", want, cur.fetchall())
        cur.execute("DELETE FROM t")
        rows = b"".join(struct.pack("!hii", 3, 4, i) + b"".join(struct.pack("!i", len(v)) + v for v in
                        (enum_array(types, "ok"), place_value(types, "y", "sad"))) for i in IDS)
        cur.copy_expert("COPY t (id, ms, p) FROM STDIN BINARY", io.BytesIO(b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows + b"\xff\xff"))
        cur.execute("SELECT count(*) FROM t WHERE ms = '{ok}' AND p = ROW('y', 'sad', '{ok,sad}')::place")
        expect("rows of columns", 12, cur.fetchone()[0])
        cur.execute("DELETE FROM t")
        cur.copy_expert("COPY t FROM STDIN BINARY", io.BytesIO(all_rows.getvalue()))
    c.close()


def new_types(place):
    """A type made, dropped and made anew, through the proxy: OIDs are read again."""
    for turn in range(3):
        c = place.braid.connect("app")
        with c.cursor() as cur:
            cur.execute("CREATE TYPE fresh AS ENUM ('a', 'b')")
            cur.execute("CREATE TABLE f (id int PRIMARY KEY, x fresh[]) SHARD BY HASH (id)")
            cur.execute("INSERT INTO f VALUES (1, '{a}'), (2, '{b}'), (3, '{a,b}'), (4, '{}')")
        types = home(place)
        with Raw(place.braid.port) as raw:
            raw.login()
            for i in (1, 2, 3, 4):
                got = raw.ask(parse(f"SELECT x FROM f WHERE id = {i}"), bind(results=[1]), describe("P"), execute(), SYNC)
                expect(f"turn {turn}", types["_fresh"], columns_of([b for k, b in got if k == "T"][0])[0]["type"])
                (value,) = row_of([b for k, b in got if k == "D"][0])
                expect(f"turn {turn}", types["fresh"], struct.unpack_from("!I", value, 8)[0])
                got = raw.ask(parse("SELECT id FROM f WHERE x = $1 AND id = $2"), bind([value, struct.pack("!i", i)], formats=[1]), execute(), SYNC)
                expect(f"turn {turn}: {got}", 1, len([1 for k, _ in got if k == "D"]))
        with c.cursor() as cur:
            cur.execute("DROP TABLE f")
            cur.execute("DROP TYPE fresh")
        c.close()


def shard_away(place):
    """A shard whose types could not be read at the start is asked when it is there again."""
    place.end()
    place.servers[2].stop()
    place.braid.start()
    try:
        types = home(place)
        with Raw(place.braid.port) as raw:
            raw.login()
            for i in IDS:
                raw.ask(parse(f"SELECT ms FROM t WHERE id = {i}"), bind(results=[1]), describe("P"), execute(), SYNC)
    finally:
        place.servers[2].start()
    place.braid.wait_healthy()
    until = time.monotonic() + 20
    wrong = IDS
    while wrong and time.monotonic() < until:
        time.sleep(0.2)
        with Raw(place.braid.port) as raw:
            raw.login()
            wrong = []
            for i in IDS:
                got = raw.ask(parse(f"SELECT ms FROM t WHERE id = {i}"), bind(results=[1]), describe("P"), execute(), SYNC)
                columns = [columns_of(b) for k, b in got if k == "T"]
                if not columns or columns[0][0]["type"] != types["_mood"]:
                    wrong.append(i)
    expect("keys whose types are still unknown", [], wrong)


SUBJECT = "OIDs"
TESTS = [
    ("descriptions of results and parameters", descriptions),
    ("binary results", binary_results),
    ("binary parameters", binary_parameters),
    ("by way of a workspace", workspaces),
    ("rows larger than buffers", big_rows),
    ("psycopg 3", psycopg3),
    ("asyncpg", asyncpg_types),
    ("COPY BINARY", copies),
    ("types made anew", new_types),
    ("a shard is away at the start", shard_away),
]
