"""Settings that a session starts with, because its role or database has them: seen where pgbraid prints itself."""

from report import expect, expect_that

QUERIES = [
    "SELECT sum(x), avg(x), stddev(x) FROM f",
    "SELECT sum(y) FROM f",
    "SELECT n, avg(x) FROM f GROUP BY n ORDER BY n",
    "SELECT x FROM f ORDER BY x",
]
FEWER = ["ALTER ROLE app SET extra_float_digits = -3", "ALTER ROLE app RESET extra_float_digits; ALTER DATABASE {0} SET extra_float_digits = 0"]
RESET = "ALTER ROLE app RESET extra_float_digits; ALTER DATABASE {0} RESET extra_float_digits"


def alter(place, statement):
    for server in place.servers:
        for dbname in ("app", "plain"):
            server.sql(statement.replace("{0}", dbname))


def fill(place):
    place.fresh()
    for c, suffix in ((place.direct(), ""), (place.braid.connect("app"), " SHARD BY HASH (id)")):
        with c.cursor() as cur:
            cur.execute(f"CREATE TABLE f (id int PRIMARY KEY, x float8, y real, n int){suffix}")
            cur.execute("INSERT INTO f VALUES " + ", ".join(f"({i}, {i} / 7.0, {i} / 3.0, {i % 3})" for i in range(1, 30)))
        c.close()


def answers(c, statements):
    out = []
    with c.cursor() as cur:
        for statement in statements:
            cur.execute(statement)
            out += [tuple(map(str, row)) for row in cur.fetchall()] if cur.description else []
    c.close()
    return out


def digits_of_floats(place):
    try:
        for statement in FEWER:
            alter(place, statement)
            place.end()
            place.braid.start()  # the catalog is read at the start
            both = [answers(c, QUERIES) for c in (place.direct(), place.braid.connect("app"))]
            expect(statement, *both)
            own = answers(place.braid.connect("app"), ["SET extra_float_digits = 1", *QUERIES])
            expect_that("the session's own has more digits", own != both[1])
    finally:
        alter(place, RESET)
        place.end()
        place.braid.start()


SUBJECT = "start settings"
TESTS = [("digits of floats, of a role and of a database", digits_of_floats)]
