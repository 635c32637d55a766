"""Statements that clients parse without a name are kept on servers, and nobody sees a difference.

Every step is done twice: through pgbraid, and on the server itself; the messages must be the same.
"""

import raw
from report import Failed, expect

KEPT = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'pgbraid%'"
# What differs between connections: where an error was raised, and by which line of the server.
DROPPED = "FLR"


def seen(messages):
    """Messages as a client sees them, comparable between two connections; ParameterStatus may come
    at another place."""
    out = []
    for kind, body in messages:
        if kind == "S":
            continue
        if kind in "EN":
            body = {k: v for k, v in raw.fields_of(body).items() if k not in DROPPED}
        out.append((kind, body))
    return out


class Pair:
    """A client of pgbraid and one of its server, which do the same."""

    def __init__(self, place, braid, **words):
        self.ends = []
        for port, database in ((braid.port, "plain"), (place.servers[0].port, "plain")):
            end = raw.Raw(port)
            end.login(database=database, **words)
            self.ends.append(end)

    def ask(self, *parts):
        """The answers, up to the last of as many ReadyForQuery as there were Sync and Query."""
        count = sum(part[:1] in (b"S", b"Q") for part in parts)
        answers = []
        for end in self.ends:
            end.send(*parts)
            got = []
            for _ in range(count):
                got += end.until("Z")
            answers.append(seen(got))
        if answers[0] != answers[1]:
            raise Failed(f"{parts}: through pgbraid\n{answers[0]}\ndirectly\n{answers[1]}")
        return answers[0]

    def unit(self, sql, values=(), describe=True, types=()):
        return self.ask(*unit(sql, values, describe, types))

    def close(self):
        for end in self.ends:
            end.socket.close()


def unit(sql, values=(), describe=True, types=()):
    parts = [raw.parse(sql, types=types), raw.bind(values), raw.describe("P"), raw.execute(), raw.SYNC]
    return parts if describe else parts[:2] + parts[3:]


def kept(braid):
    return braid.sql(KEPT, "plain")[0][0]


def prepare(place, which="all"):
    braid = place.braid(pool={"size": 1, "mode": "transaction", "prepare_unnamed": which}, workers=1)
    place.servers[0].sql("DROP TABLE IF EXISTS u1, s1.u1", "plain")
    place.servers[0].sql("DROP TYPE IF EXISTS mood", "plain")
    place.servers[0].sql("CREATE TABLE u1 (id int PRIMARY KEY, v text)", "plain")
    place.servers[0].sql("INSERT INTO u1 SELECT i, 'v' || i FROM generate_series(1, 9) i", "plain")
    place.servers[0].sql("GRANT ALL ON u1 TO app", "plain")
    return braid


def test_kept(place):
    """From the second time on a text is prepared once, whoever sends it."""
    braid = prepare(place)
    one, two = Pair(place, braid), Pair(place, braid)
    one.unit("SELECT v FROM u1 WHERE id = 1")
    expect("after one Parse", 0, kept(braid))
    for i in range(1, 6):
        one.unit("SELECT v FROM u1 WHERE id = $1", (i,))
        two.unit("SELECT v FROM u1 WHERE id = $1", (i,), describe=False)
    one.unit("UPDATE u1 SET v = v WHERE id = $1", (1,))
    one.unit("UPDATE u1 SET v = v WHERE id = $1", (2,))
    expect("after many", 2, kept(braid))
    one.unit("SET work_mem TO '5MB'")
    one.unit("SET work_mem TO '5MB'")
    expect("utility statements are not kept", 2, kept(braid))
    one.close()
    two.close()
    place.end(braid)


def test_errors(place):
    """Errors at Parse, at Bind and at Execute are the server's own, and the next request works."""
    braid = prepare(place)
    pair = Pair(place, braid)
    good = "SELECT v FROM u1 WHERE id = $1"
    for _ in range(3):
        pair.unit(good, (3,))
        pair.unit(good, ("three",))              # 22P02 at Bind
        pair.unit(good, (1, 2))                  # 08P01 at Bind: too many values
        pair.unit("SELECT 1 / (id - $1) FROM u1", (3,))  # 22012 at Execute
        pair.unit("SELECT nothing FROM u1")      # 42703 at Parse
        pair.unit("SELECT $1 IS NULL", (1,))     # 42P18 at Parse
        pair.unit("SELECT FROM WHERE")           # 42601 at Parse
        pair.unit(good, (4,), types=(20,))
        pair.unit("")
    pair.close()
    place.end(braid)


def test_schema_changes(place):
    """A result of another type is answered like any other, not with 0A000."""
    braid = prepare(place)
    pair = Pair(place, braid)
    owner = place.servers[0]
    text = "SELECT * FROM u1 WHERE id = $1"
    for change in ("SELECT", "ALTER TABLE u1 ADD COLUMN w int DEFAULT 7", "ALTER TABLE u1 ALTER v TYPE varchar",
                   "ALTER TABLE u1 DROP COLUMN w", "ALTER TABLE u1 ALTER id TYPE bigint"):
        owner.sql(change, "plain")
        for describe in (True, False, True):
            pair.unit(text, (5,), describe=describe)
    owner.sql("CREATE TYPE mood AS ENUM ('good')", "plain")
    for _ in range(3):
        pair.unit("SELECT $1::mood", ("good",))
    owner.sql("DROP TYPE mood", "plain")
    pair.unit("SELECT $1::mood", ("good",))
    owner.sql("CREATE TYPE mood AS ENUM ('bad')", "plain")
    pair.unit("SELECT $1::mood", ("bad",))
    pair.unit("SELECT $1::mood", ("good",))
    owner.sql("DROP TABLE u1", "plain")
    pair.unit(text, (5,))
    owner.sql("CREATE TABLE u1 (id int, a int, b int, c int)", "plain")
    owner.sql("GRANT ALL ON u1 TO app", "plain")
    pair.unit(text, (5,))
    pair.close()
    place.end(braid)


def test_settings(place):
    """A literal is read under the settings of whoever sends it."""
    braid = prepare(place)
    pairs = [Pair(place, braid, TimeZone=zone) for zone in ("UTC", "Asia/Tokyo", "America/New_York")]
    for _ in range(3):
        for pair in pairs:
            pair.unit("SELECT '2020-01-01 00:00'::timestamptz AT TIME ZONE 'UTC'")
    month = "SELECT extract(month FROM '01/02/2020'::date)"
    for _ in range(2):
        pairs[0].ask(raw.query("SET DateStyle TO 'SQL, DMY'"))
        for pair in pairs:
            pair.unit(month)
            pair.unit(month)
        pairs[0].ask(raw.query("RESET DateStyle"))
        pairs[1].ask(raw.query("BEGIN"), raw.query("SET LOCAL DateStyle TO 'SQL, DMY'"))
        pairs[1].unit(month)
        pairs[1].ask(raw.query("ROLLBACK"))
        pairs[1].unit(month)
    for pair in pairs:
        pair.close()
    place.end(braid)


def test_types(place):
    """Parameters whose types are left to the server have those of the table as it is now."""
    braid = prepare(place, "on")
    owner = place.servers[0]
    owner.sql("DROP TABLE IF EXISTS u2", "plain")
    owner.sql("CREATE TABLE u2 (c int); GRANT ALL ON u2 TO app", "plain")
    pair = Pair(place, braid)
    for _ in range(3):
        pair.unit("INSERT INTO u2 VALUES ($1) RETURNING c", ("007",))
    owner.sql("ALTER TABLE u2 ALTER c TYPE text", "plain")
    for _ in range(3):
        pair.unit("INSERT INTO u2 VALUES ($1) RETURNING c", ("007",))
    expect("so they are not kept", 0, kept(braid))
    for _ in range(3):
        pair.unit("SELECT count(*) FROM u2 WHERE c = $1", ("007",), types=(25,))
        pair.unit("SELECT count(*) FROM u2")
    expect("others are", 2, kept(braid))
    pair.close()
    place.end(braid)


def test_clock(place):
    """'now' is the time of each Parse, also of named statements."""
    braid = prepare(place)
    times = []
    with raw.Raw(braid.port) as one, raw.Raw(braid.port) as two:
        for r in (one, two):
            r.login(database="plain")
        for i in range(6):
            r = (one, two)[i % 2]
            r.send(*unit("SELECT 'now'::timestamptz"))
            times += [body for kind, body in r.until("Z") if kind == "D"]
        for r in (one, two):
            r.send(raw.parse("SELECT 'now'::timestamptz", name="q"), raw.SYNC)
            r.until("Z")
            r.send(raw.bind(statement="q"), raw.execute(), raw.SYNC)
            times += [body for kind, body in r.until("Z") if kind == "D"]
    expect("different times", 8, len(set(times)))
    place.end(braid)


def test_search_path(place):
    """Two tables of one name: each client is told the types of its own."""
    braid = prepare(place)
    owner = place.servers[0]
    for name, kind in (("sa", "timestamp"), ("sb", "timestamptz")):
        owner.sql(f"DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}; "
                  f"CREATE TABLE {name}.t AS SELECT '2020-01-01 00:00+05'::{kind} x; "
                  f"GRANT ALL ON SCHEMA {name} TO app; GRANT ALL ON {name}.t TO app", "plain")
    owner.sql("ALTER TABLE sb.t ADD y int", "plain")
    text = "SELECT * FROM t WHERE x = $1"
    for name in ("sa", "sb", "sa"):
        pair = Pair(place, braid, options=f"-c search_path={name} -c timezone=UTC")
        pair.ask(raw.parse(text, name="q"), raw.describe("S", "q"), raw.SYNC)
        pair.ask(raw.bind(("2020-01-01 00:00+05",), statement="q"), raw.execute(), raw.SYNC)
        pair.close()
    for name in ("sa", "sb"):
        owner.sql(f"DROP SCHEMA {name} CASCADE", "plain")
    place.end(braid)


def test_pipelines(place):
    """Requests behind one another, and messages that belong to none."""
    braid = prepare(place)
    pair = Pair(place, braid)
    good = "SELECT v FROM u1 WHERE id = $1"
    for _ in range(3):
        pair.ask(*unit(good, (1,)), *unit(good, ("x",)), *unit(good, (2,)))
        pair.ask(raw.parse(good), raw.describe("S"), raw.SYNC, raw.bind((3,)), raw.execute(), raw.SYNC)
        pair.ask(raw.query("BEGIN"), *unit(good, (1,)), *unit("SELECT 1/0"), *unit(good, (2,)), raw.query("ROLLBACK"))
        pair.ask(*unit(good, (1,)), raw.query("SELECT 1"), raw.bind((3,)), raw.execute(), raw.SYNC)
    # the second one comes while the first is still being answered
    sleep = "SELECT pg_sleep($1)"
    for _ in range(3):
        pair.unit(sleep, (0,))
    for end in pair.ends:
        end.send(*unit(sleep, (0.2,)))
    pair.ask(raw.SYNC, *unit(good, (4,)))
    pair.close()
    place.end(braid)


def run(place, report):
    report.run("unnamed: kept from the second time on", test_kept, place)
    report.run("unnamed: errors", test_errors, place)
    report.run("unnamed: schema changes", test_schema_changes, place)
    report.run("unnamed: settings", test_settings, place)
    report.run("unnamed: types of parameters", test_types, place)
    report.run("unnamed: the clock", test_clock, place)
    report.run("unnamed: search_path", test_search_path, place)
    report.run("unnamed: pipelines", test_pipelines, place)
