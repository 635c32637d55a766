"""What psql, its completion and ORMs ask of the catalog: answered by the home shard, as one PostgreSQL with the
same schema answers. Sizes and estimates of rows are those of the home shard (docs/SQL.md says so), so they are
left out of the comparison.
"""

import os
import re
import subprocess

from pg import BIN
from report import Failed, expect, expect_that

SCHEMA = [
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE DOMAIN nick AS text CHECK (VALUE <> '')",
    "CREATE TABLE users (id bigint PRIMARY KEY, name nick NOT NULL, m mood DEFAULT 'ok', score numeric(10,2), tags text[], "
    "at timestamptz(3), CHECK (score > 0)){0}",
    "CREATE TABLE orders (user_id bigint REFERENCES users ON DELETE CASCADE, id int, note varchar(20), PRIMARY KEY (user_id, id)){1}",
    "CREATE INDEX orders_note ON orders (lower(note)) WHERE id > 0",
    "CREATE TABLE countries (code char(2) PRIMARY KEY, name text UNIQUE){2}",
    "CREATE TABLE settings (id serial PRIMARY KEY, name text)",
    "CREATE VIEW named AS SELECT name FROM settings",
    "CREATE SEQUENCE numbers",
    "CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1'",
    "COMMENT ON TABLE users IS 'people'",
    "COMMENT ON COLUMN users.name IS 'what they are called'",
    "GRANT SELECT ON orders TO PUBLIC",
]
SUFFIXES = (" SHARD BY HASH (id)", " SHARD BY HASH (user_id) COLOCATE WITH users", " REFERENCE")
COMMANDS = ["\\d", "\\d users", "\\d+ users", "\\d orders", "\\d+ orders", "\\d countries", "\\d settings", "\\dt", "\\dt+", "\\di", "\\di+",
            "\\d orders_note", "\\dv", "\\ds", "\\df", "\\df+ twice", "\\dn", "\\dT", "\\dT+ mood", "\\dD", "\\dp", "\\dd", "\\l", "\\l+", "\\du",
            "\\dconfig+ work_mem", "\\sf twice", "\\sv named", "\\ddp", "\\dC mood", "\\do", "\\dx", "\\drds", "\\db", "\\z users", "\\dti+ public.*"]
QUERIES = [
    "SELECT table_name, column_name, ordinal_position, column_default, is_nullable, data_type, character_maximum_length, numeric_precision, "
    "numeric_scale, udt_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 3",
    "SELECT tc.table_name, tc.constraint_name, tc.constraint_type, kcu.column_name FROM information_schema.table_constraints tc "
    "LEFT JOIN information_schema.key_column_usage kcu USING (constraint_schema, constraint_name) WHERE tc.table_schema = 'public' "
    "AND tc.constraint_name !~ '_not_null$' ORDER BY 1, 2, 4",
    "SELECT relname, relkind, relnatts, pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
    "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, col_description(c.oid, a.attnum) FROM pg_attribute a "
    "JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname IN ('users', 'orders', 'named') AND a.attnum > 0 ORDER BY 1, a.attnum",
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'orders'::regclass ORDER BY 1",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    # as psql completes: DROP TABLE us<TAB>
    "SELECT pg_catalog.quote_ident(c.relname), NULL::pg_catalog.text FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND "
    "(c.relname) LIKE 'us%' AND pg_catalog.pg_table_is_visible(c.oid) AND c.relnamespace <> (SELECT oid FROM pg_catalog.pg_namespace "
    "WHERE nspname = 'pg_catalog') LIMIT 1000",
    # as Django's inspectdb
    "SELECT c.relname, CASE WHEN c.relispartition THEN 'p' WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END, obj_description(c.oid, 'pg_class') "
    "FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v') "
    "AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1",
]
SIZES = re.compile(r"\b\d+ (bytes|kB|MB|GB)\b")


def psql(dsn, command):
    done = subprocess.run([f"{BIN}/psql", "-X", "-q", dsn, "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, timeout=60, env={**os.environ, "PGOPTIONS": "", "LC_ALL": "C.UTF-8", "PAGER": "cat"})
    # What is pgbraid's own, sizes, and the widths of columns that follow from them.
    lines = [SIZES.sub("SIZE", line) for line in done.stdout.splitlines() if not re.match(r" *braid *\|| *(app|plain) ", line)]
    return [re.sub(r"\s+", " ", re.sub(r"-{3,}", "---", line)).replace('"app"', '"DB"').replace('"plain"', '"DB"') for line in lines
            if not re.match(r"\(\d+ rows?\)", line)]


def fill(place):
    place.fresh()
    for c, suffixes in ((place.direct(), ("", "", "")), (place.braid.connect("app"), SUFFIXES)):
        with c.cursor() as cur:
            for statement in SCHEMA:
                cur.execute(statement.replace("{0}", suffixes[0]).replace("{1}", suffixes[1]).replace("{2}", suffixes[2]))
        c.close()


def meta_commands(place):
    wrong = []
    for command in COMMANDS:
        want, got = psql(place.direct_dsn(), command), psql(place.braid.dsn("app"), command)
        if want != got:
            wrong.append(f"{command}:\n" + "\n".join(f"  - {a}" for a in want if a not in got) + "\n" + "\n".join(f"  + {b}" for b in got if b not in want))
    if wrong:
        raise Failed("\n".join(wrong)[:6000])


def queries(place):
    plain, braid = place.direct(), place.braid.connect("app")
    for query in QUERIES:
        rows = []
        for c in (plain, braid):
            with c.cursor() as cur:
                cur.execute(query)
                rows.append(cur.fetchall())
        expect(query, rows[0], rows[1])


def sqlalchemy_inspects(place):
    import warnings

    import sqlalchemy
    warnings.simplefilter("ignore")  # an index on an expression is no column's
    out = []
    for dsn in (f"postgresql+psycopg2://app@127.0.0.1:{place.servers[0].port}/plain", f"postgresql+psycopg2://app@127.0.0.1:{place.braid.port}/app"):
        engine = sqlalchemy.create_engine(dsn)
        inspector = sqlalchemy.inspect(engine)
        seen = {"tables": sorted(inspector.get_table_names()), "views": inspector.get_view_names(), "sequences": sorted(inspector.get_sequence_names())}
        for table in seen["tables"]:
            seen[table] = repr((inspector.get_columns(table), inspector.get_pk_constraint(table), inspector.get_foreign_keys(table),
                                sorted(map(repr, inspector.get_indexes(table))), inspector.get_check_constraints(table)))
            seen[table] = re.sub(r"<sqlalchemy\S+ object at 0x\w+>", "", seen[table])
        metadata = sqlalchemy.MetaData()
        metadata.reflect(engine)
        seen["reflected"] = sorted(metadata.tables)
        engine.dispose()
        out.append(seen)
    for name in out[0]:
        expect(name, out[0][name], out[1][name])


def sizes(place):
    """They are the home shard's; the functions work on names that are sharded."""
    c = place.braid.connect("app")
    with c.cursor() as cur:
        cur.execute("SELECT pg_total_relation_size('users'), pg_relation_size('users'::regclass), pg_size_pretty(pg_table_size('users'))")
        expect_that("sizes", cur.fetchone()[0] >= 0)
        cur.execute("SELECT reltuples FROM pg_class WHERE relname = 'users'")
        expect("one row", 1, len(cur.fetchall()))
    c.close()


SUBJECT = "catalog"
TESTS = [
    ("psql's commands", meta_commands),
    ("queries of programs", queries),
    ("SQLAlchemy", sqlalchemy_inspects),
    ("sizes", sizes),
]
