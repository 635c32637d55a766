"""Every class of planner/statements.def for real: each statement is run through the proxy by a superuser,
and then each server is asked what it has.

A row is (statement, question, where): the question is an SQL expression that is true where the
statement took effect; where: ALL, HOME, NONE, or the SQLSTATE it is refused with.
"""

import psycopg2

from report import Failed, expect

ALL, HOME, NONE = [True] * 3, [True, False, False], [False] * 3
REFUSED = "0A000"


def made(catalog, column, name):
    return f"EXISTS (SELECT FROM {catalog} WHERE {column} = '{name}')"


def relation(name):
    return f"to_regclass('{name}') IS NOT NULL"


def comment(catalog, name, column=None):
    column = column or {"pg_class": "relname", "pg_type": "typname", "pg_proc": "proname"}[catalog]
    return (f"EXISTS (SELECT FROM pg_description d JOIN {catalog} c ON c.oid = d.objoid WHERE c.{column} = '{name}' "
            f"AND d.classoid = '{catalog}'::regclass AND d.description = 'said')")


def owner(catalog, column, name, owner_column):
    return f"EXISTS (SELECT FROM {catalog} WHERE {column} = '{name}' AND {owner_column} = 'joe'::regrole)"


ROWS = [
    # roles
    ("CREATE ROLE joe LOGIN PASSWORD 'x'", made("pg_roles", "rolname", "joe"), ALL),
    ("CREATE ROLE team", made("pg_roles", "rolname", "team"), ALL),
    ("ALTER ROLE joe CONNECTION LIMIT 7", "(SELECT rolconnlimit FROM pg_roles WHERE rolname = 'joe') = 7", ALL),
    ("ALTER ROLE joe SET work_mem = '8MB'", "EXISTS (SELECT FROM pg_db_role_setting WHERE setrole = 'joe'::regrole AND setdatabase = 0)", ALL),
    ("ALTER ROLE joe IN DATABASE app SET work_mem = '9MB'",
     "EXISTS (SELECT FROM pg_db_role_setting WHERE setrole = 'joe'::regrole AND setdatabase <> 0)", ALL),
    ("GRANT team TO joe", "pg_has_role('joe', 'team', 'member')", ALL),
    ("REVOKE team FROM joe", "pg_has_role('joe', 'team', 'member')", NONE),
    ("COMMENT ON ROLE joe IS 'said'", "shobj_description('joe'::regrole, 'pg_authid') = 'said'", ALL),
    ("ALTER DEFAULT PRIVILEGES FOR ROLE joe GRANT SELECT ON TABLES TO team", "EXISTS (SELECT FROM pg_default_acl)", ALL),
    ("GRANT CREATE ON DATABASE app TO joe", "has_database_privilege('joe', 'app', 'create')", ALL),
    ("GRANT CREATE ON SCHEMA public TO joe", "has_schema_privilege('joe', 'public', 'create')", ALL),
    ("ALTER DATABASE app SET lock_timeout = '1min'", "EXISTS (SELECT FROM pg_db_role_setting WHERE setrole = 0 AND setdatabase <> 0)", ALL),
    ("ALTER DATABASE app CONNECTION LIMIT 500", "(SELECT datconnlimit FROM pg_database WHERE datname = 'app') = 500", ALL),
    ("ALTER DATABASE app CONNECTION LIMIT -1", "(SELECT datconnlimit FROM pg_database WHERE datname = 'app') = -1", ALL),
    ("ALTER DATABASE app REFRESH COLLATION VERSION", "true", ALL),
    ("ALTER DATABASE plain SET lock_timeout = 1", "false", REFUSED),
    ("COMMENT ON DATABASE app IS 'said'",
     "shobj_description((SELECT oid FROM pg_database WHERE datname = 'app'), 'pg_database') = 'said'", ALL),
    # tables and what belongs to them
    ("CREATE TABLE t (id bigint PRIMARY KEY, a int, b text CHECK (b <> 'x'), g int GENERATED ALWAYS AS (a + 1) STORED) SHARD BY HASH (id)",
     relation("t"), ALL),
    ("CREATE TABLE r (id int PRIMARY KEY, a int) REFERENCE", relation("r"), ALL),
    ("CREATE TABLE l (id int PRIMARY KEY, a int, b int)", relation("l"), HOME),
    ("CREATE TABLE parts (id bigint, day date) PARTITION BY RANGE (day) SHARD BY HASH (id)", relation("parts"), ALL),
    ("CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')", relation("parts_1"), ALL),
    ("CREATE TABLE copied AS SELECT 1 AS a", relation("copied"), HOME),
    ("CREATE INDEX t_a ON t (a)", relation("t_a"), ALL),
    ("CREATE INDEX l_a ON l (a)", relation("l_a"), HOME),
    ("CREATE UNIQUE INDEX t_u ON t (a)", relation("t_u"), REFUSED),
    ("ALTER TABLE t ADD COLUMN c int DEFAULT 5", "EXISTS (SELECT FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'c')", ALL),
    ("ALTER TABLE l ADD CONSTRAINT l_c CHECK (a > 0)", made("pg_constraint", "conname", "l_c"), HOME),
    ("ALTER TABLE t ADD CONSTRAINT t_c CHECK (a > 0)", made("pg_constraint", "conname", "t_c"), ALL),
    ("ALTER TABLE t ADD CONSTRAINT t_r FOREIGN KEY (a) REFERENCES r", made("pg_constraint", "conname", "t_r"), ALL),
    ("ALTER TABLE t ADD CONSTRAINT t_l FOREIGN KEY (a) REFERENCES l", "false", REFUSED),
    ("ALTER TABLE t ALTER CONSTRAINT t_r DEFERRABLE INITIALLY DEFERRED", "(SELECT condeferrable FROM pg_constraint WHERE conname = 't_r')", ALL),
    ("ALTER TABLE t RENAME CONSTRAINT t_c TO t_d", made("pg_constraint", "conname", "t_d"), ALL),
    ("COMMENT ON CONSTRAINT t_d ON t IS 'said'", comment("pg_constraint", "t_d", "conname"), ALL),
    ("COMMENT ON TABLE t IS 'said'", comment("pg_class", "t"), ALL),
    ("COMMENT ON COLUMN l.a IS 'said'", "col_description(to_regclass('l'), 2) = 'said'", [True, None, None]),
    ("COMMENT ON INDEX t_a IS 'said'", comment("pg_class", "t_a"), ALL),
    ("ALTER INDEX t_a RENAME TO t_aa", relation("t_aa"), ALL),
    ("ALTER TABLE t OWNER TO joe", owner("pg_class", "relname", "t", "relowner"), ALL),
    ("GRANT SELECT ON t, l TO team", "has_table_privilege('team', 't', 'select')", ALL),
    ("GRANT SELECT ON ALL TABLES IN SCHEMA public TO team", "has_table_privilege('team', 'r', 'select')", ALL),
    ("CREATE STATISTICS ts (dependencies) ON a, c FROM t", made("pg_statistic_ext", "stxname", "ts"), ALL),
    ("CREATE STATISTICS ls (dependencies) ON a, b FROM l", made("pg_statistic_ext", "stxname", "ls"), HOME),
    ("ALTER STATISTICS ts SET STATISTICS 7", "(SELECT stxstattarget FROM pg_statistic_ext WHERE stxname = 'ts') = 7", ALL),
    ("ALTER STATISTICS ls RENAME TO ls2", made("pg_statistic_ext", "stxname", "ls2"), HOME),
    ("COMMENT ON STATISTICS ts IS 'said'", comment("pg_statistic_ext", "ts", "stxname"), ALL),
    ("DROP STATISTICS ls2", made("pg_statistic_ext", "stxname", "ls2"), NONE),
    ("DROP STATISTICS nothing", "false", "42704"),
    ("CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.c = 1; RETURN NEW; END'", made("pg_proc", "proname", "touch"), ALL),
    ("CREATE TRIGGER tt BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION touch()", made("pg_trigger", "tgname", "tt"), ALL),
    ("ALTER TRIGGER tt ON t RENAME TO tu", made("pg_trigger", "tgname", "tu"), ALL),
    ("COMMENT ON TRIGGER tu ON t IS 'said'", comment("pg_trigger", "tu", "tgname"), ALL),
    ("ALTER TABLE t DISABLE TRIGGER tu", "(SELECT tgenabled FROM pg_trigger WHERE tgname = 'tu') = 'D'", ALL),
    ("CREATE POLICY tp ON t USING (a > 0)", made("pg_policy", "polname", "tp"), ALL),
    ("ALTER POLICY tp ON t USING (a > 1)", made("pg_policy", "polname", "tp"), ALL),
    ("ALTER POLICY tp ON t RENAME TO tq", made("pg_policy", "polname", "tq"), ALL),
    ("CREATE POLICY lp ON l USING (a > 0)", made("pg_policy", "polname", "lp"), HOME),
    ("DROP POLICY tq ON t", made("pg_policy", "polname", "tq"), NONE),
    ("DROP TRIGGER tu ON t", made("pg_trigger", "tgname", "tu"), NONE),
    ("CREATE RULE rr AS ON INSERT TO l DO INSTEAD NOTHING", "false", REFUSED),
    ("CREATE VIEW tv AS SELECT id, a FROM t", relation("tv"), ALL),
    ("CREATE VIEW lv AS SELECT id, a FROM l", relation("lv"), HOME),
    ("ALTER VIEW tv RENAME TO tw", relation("tw"), ALL),
    ("ALTER VIEW tw OWNER TO joe", owner("pg_class", "relname", "tw", "relowner"), ALL),
    ("CREATE MATERIALIZED VIEW lm AS SELECT a FROM l", relation("lm"), HOME),
    ("REFRESH MATERIALIZED VIEW lm", "true", ALL),
    ("ALTER MATERIALIZED VIEW lm RENAME TO ln", relation("ln"), HOME),
    ("CREATE SEQUENCE s", relation("s"), HOME),
    ("ALTER SEQUENCE s INCREMENT 2", "(SELECT seqincrement FROM pg_sequence WHERE seqrelid = to_regclass('s')) = 2", [True, None, None]),
    ("ALTER SEQUENCE s OWNER TO joe", owner("pg_class", "relname", "s", "relowner"), HOME),
    ("GRANT USAGE ON SEQUENCE s TO team", "true", ALL),
    ("COMMENT ON SEQUENCE s IS 'said'", comment("pg_class", "s"), HOME),
    ("ALTER INDEX l_a SET (fillfactor = 50)", "true", ALL),
    # schemas
    ("CREATE SCHEMA other", made("pg_namespace", "nspname", "other"), ALL),
    ("CREATE SCHEMA filled CREATE TABLE inside (a int)", "false", REFUSED),
    ("ALTER TABLE t SET SCHEMA other", relation("other.t"), ALL),
    ("ALTER TABLE l SET SCHEMA other", relation("other.l"), HOME),
    ("SELECT count(*) FROM other.t", "true", ALL),
    ("ALTER TABLE other.t SET SCHEMA public", relation("public.t"), ALL),
    ("ALTER TABLE other.l SET SCHEMA public", relation("public.l"), HOME),
    ("CREATE TABLE other.o (id int PRIMARY KEY) SHARD BY HASH (id)", relation("other.o"), ALL),
    ("ALTER SCHEMA other OWNER TO joe", owner("pg_namespace", "nspname", "other", "nspowner"), ALL),
    ("COMMENT ON SCHEMA other IS 'said'", comment("pg_namespace", "other", "nspname"), ALL),
    ("DROP SCHEMA other", "false", "2BP01"),
    ("DROP SCHEMA other CASCADE", made("pg_namespace", "nspname", "other"), NONE),
    ("CREATE SCHEMA other", made("pg_namespace", "nspname", "other"), ALL),
    ("CREATE TABLE other.o (id int PRIMARY KEY)", relation("other.o"), HOME),
    ("DROP SCHEMA braid CASCADE", "false", REFUSED),
    # types
    ("CREATE TYPE mood AS ENUM ('sad')", made("pg_type", "typname", "mood"), ALL),
    ("ALTER TYPE mood ADD VALUE 'ok'", made("pg_enum", "enumlabel", "ok"), ALL),
    ("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'", made("pg_enum", "enumlabel", "fine"), ALL),
    ("CREATE TYPE pair AS (a int)", made("pg_type", "typname", "pair"), ALL),
    ("ALTER TYPE pair ADD ATTRIBUTE b int", "(SELECT relnatts FROM pg_class WHERE relname = 'pair') = 2", ALL),
    ("ALTER TYPE pair RENAME ATTRIBUTE b TO c", "EXISTS (SELECT FROM pg_attribute WHERE attrelid = (SELECT typrelid FROM pg_type WHERE typname = 'pair') AND attname = 'c')", ALL),
    ("CREATE TYPE span AS RANGE (subtype = float8)", made("pg_type", "typname", "span"), ALL),
    ("CREATE DOMAIN small AS int CHECK (VALUE < 9)", made("pg_type", "typname", "small"), ALL),
    ("ALTER DOMAIN small SET DEFAULT 1", "(SELECT typdefault FROM pg_type WHERE typname = 'small') = '1'", ALL),
    ("COMMENT ON CONSTRAINT small_check ON DOMAIN small IS 'said'", comment("pg_constraint", "small_check", "conname"), ALL),
    ("ALTER TYPE mood OWNER TO joe", owner("pg_type", "typname", "mood", "typowner"), ALL),
    ("ALTER TYPE mood SET SCHEMA other", "to_regtype('other.mood') IS NOT NULL", ALL),
    ("COMMENT ON TYPE pair IS 'said'", comment("pg_type", "pair"), ALL),
    ("CREATE COLLATION deutsch (provider = libc, locale = 'C')", made("pg_collation", "collname", "deutsch"), ALL),
    ("DROP COLLATION deutsch", made("pg_collation", "collname", "deutsch"), NONE),
    # code
    ("CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1'", made("pg_proc", "proname", "twice"), ALL),
    ("ALTER FUNCTION twice(int) COST 7", "(SELECT procost FROM pg_proc WHERE proname = 'twice') = 7", ALL),
    ("ALTER FUNCTION twice(int) DEPENDS ON EXTENSION plpgsql", "EXISTS (SELECT FROM pg_depend WHERE deptype = 'x')", ALL),
    ("ALTER FUNCTION twice(int) NO DEPENDS ON EXTENSION plpgsql", "EXISTS (SELECT FROM pg_depend WHERE deptype = 'x')", NONE),
    ("CREATE PROCEDURE nop() LANGUAGE sql AS 'SELECT 1'", made("pg_proc", "proname", "nop"), ALL),
    ("CREATE AGGREGATE total (int) (sfunc = int4pl, stype = int)", made("pg_proc", "proname", "total"), ALL),
    ("ALTER AGGREGATE total(int) RENAME TO total2", made("pg_proc", "proname", "total2"), ALL),
    ("CREATE OPERATOR %+% (leftarg = int, rightarg = int, function = int4pl)", made("pg_operator", "oprname", "%+%"), ALL),
    ("ALTER OPERATOR %+% (int, int) SET (RESTRICT = NONE)", "true", ALL),
    ("DROP OPERATOR %+% (int, int)", made("pg_operator", "oprname", "%+%"), NONE),
    ("CREATE OPERATOR FAMILY fam USING btree", made("pg_opfamily", "opfname", "fam"), ALL),
    ("ALTER OPERATOR FAMILY fam USING btree ADD OPERATOR 1 <(int, int)", "true", ALL),
    ("CREATE OPERATOR CLASS cls FOR TYPE int USING btree FAMILY fam AS OPERATOR 3 =, FUNCTION 1 btint4cmp(int, int)",
     made("pg_opclass", "opcname", "cls"), ALL),
    ("DROP OPERATOR FAMILY fam USING btree CASCADE", made("pg_opclass", "opcname", "cls"), NONE),
    ("CREATE CAST (pair AS text) WITH INOUT", "EXISTS (SELECT FROM pg_cast WHERE castsource = 'pair'::regtype)", ALL),
    ("COMMENT ON CAST (pair AS text) IS 'said'", "EXISTS (SELECT FROM pg_description WHERE classoid = 'pg_cast'::regclass AND description = 'said')", ALL),
    ("DROP CAST (pair AS text)", "EXISTS (SELECT FROM pg_cast WHERE castsource = 'pair'::regtype)", NONE),
    ("CREATE CONVERSION conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8", made("pg_conversion", "conname", "conv"), ALL),
    ("CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal))", "EXISTS (SELECT FROM pg_transform)", ALL),
    ("DROP TRANSFORM FOR int LANGUAGE sql", "EXISTS (SELECT FROM pg_transform)", NONE),
    ("CREATE ACCESS METHOD mine TYPE TABLE HANDLER heap_tableam_handler", made("pg_am", "amname", "mine"), ALL),
    ("CREATE LANGUAGE talk HANDLER plpgsql_call_handler", made("pg_language", "lanname", "talk"), ALL),
    ("COMMENT ON LANGUAGE talk IS 'said'", comment("pg_language", "talk", "lanname"), ALL),
    ("CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'", made("pg_proc", "proname", "watch"), ALL),
    ("CREATE EVENT TRIGGER ev ON ddl_command_end EXECUTE FUNCTION watch()", made("pg_event_trigger", "evtname", "ev"), ALL),
    ("ALTER EVENT TRIGGER ev DISABLE", "(SELECT evtenabled FROM pg_event_trigger) = 'D'", ALL),
    ("DROP EVENT TRIGGER ev", made("pg_event_trigger", "evtname", "ev"), NONE),
    ("CREATE FUNCTION noter() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO l VALUES (1, 1); END'",
     made("pg_proc", "proname", "noter"), ALL),
    ("CREATE EVENT TRIGGER ew ON ddl_command_end EXECUTE FUNCTION noter()", "false", REFUSED),
    ("CREATE TEXT SEARCH DICTIONARY td (template = simple)", made("pg_ts_dict", "dictname", "td"), ALL),
    ("ALTER TEXT SEARCH DICTIONARY td (accept = false)", "(SELECT dictinitoption FROM pg_ts_dict WHERE dictname = 'td') IS NOT NULL", ALL),
    ("CREATE TEXT SEARCH CONFIGURATION tc (copy = simple)", made("pg_ts_config", "cfgname", "tc"), ALL),
    ("ALTER TEXT SEARCH CONFIGURATION tc ALTER MAPPING FOR word WITH td", "true", ALL),
    ("CREATE TEXT SEARCH TEMPLATE tm (lexize = dsimple_lexize)", made("pg_ts_template", "tmplname", "tm"), ALL),
    ("DROP TEXT SEARCH TEMPLATE tm", made("pg_ts_template", "tmplname", "tm"), NONE),
    # extensions
    ("CREATE EXTENSION citext", made("pg_extension", "extname", "citext"), ALL),
    ("ALTER EXTENSION citext UPDATE", made("pg_extension", "extname", "citext"), ALL),
    ("ALTER EXTENSION citext ADD FUNCTION twice(int)", "EXISTS (SELECT FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid WHERE deptype = 'e' AND proname = 'twice')", ALL),
    ("ALTER EXTENSION citext DROP FUNCTION twice(int)", "EXISTS (SELECT FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid WHERE deptype = 'e' AND proname = 'twice')", NONE),
    ("ALTER EXTENSION citext ADD TABLE l", "false", REFUSED),
    ("ALTER EXTENSION citext SET SCHEMA other", "to_regtype('other.citext') IS NOT NULL", ALL),
    ("DROP EXTENSION citext", made("pg_extension", "extname", "citext"), NONE),
    # foreign data
    ("CREATE EXTENSION file_fdw", made("pg_extension", "extname", "file_fdw"), ALL),
    ("CREATE FOREIGN DATA WRAPPER mywrap", made("pg_foreign_data_wrapper", "fdwname", "mywrap"), HOME),
    ("ALTER FOREIGN DATA WRAPPER mywrap OPTIONS (a 'b')", "true", ALL),
    ("CREATE SERVER files FOREIGN DATA WRAPPER file_fdw", made("pg_foreign_server", "srvname", "files"), HOME),
    ("ALTER SERVER files VERSION '2'", "true", ALL),
    ("GRANT USAGE ON FOREIGN SERVER files TO joe", "true", ALL),
    ("CREATE USER MAPPING FOR joe SERVER files", "EXISTS (SELECT FROM pg_user_mapping)", HOME),
    ("ALTER USER MAPPING FOR joe SERVER files OPTIONS (a 'b')", "true", "HV00D"),
    ("DROP USER MAPPING FOR joe SERVER files", "EXISTS (SELECT FROM pg_user_mapping)", NONE),
    ("CREATE FOREIGN TABLE ft (a int) SERVER files OPTIONS (filename '/dev/null')", relation("ft"), HOME),
    ("CREATE FOREIGN TABLE t (a int) SERVER files OPTIONS (filename '/dev/null')", "false", REFUSED),
    ("IMPORT FOREIGN SCHEMA x FROM SERVER files INTO other", "false", "HV00P"),
    ("DROP FOREIGN TABLE ft", relation("ft"), NONE),
    ("DROP SERVER files", made("pg_foreign_server", "srvname", "files"), NONE),
    ("DROP FOREIGN DATA WRAPPER mywrap", made("pg_foreign_data_wrapper", "fdwname", "mywrap"), NONE),
    # publications and subscriptions
    ("CREATE PUBLICATION pt FOR TABLE t", made("pg_publication", "pubname", "pt"), ALL),
    ("CREATE PUBLICATION pl FOR TABLE l", made("pg_publication", "pubname", "pl"), HOME),
    ("CREATE PUBLICATION pm FOR TABLE t, l", "false", REFUSED),
    ("CREATE PUBLICATION pa FOR ALL TABLES", made("pg_publication", "pubname", "pa"), ALL),
    ("ALTER PUBLICATION pt ADD TABLE r", "EXISTS (SELECT FROM pg_publication_rel WHERE prrelid = 'r'::regclass)", ALL),
    ("ALTER PUBLICATION pl SET (publish = 'insert')", "EXISTS (SELECT FROM pg_publication WHERE pubname = 'pl' AND NOT pubdelete)", HOME),
    ("ALTER PUBLICATION pt RENAME TO pu", made("pg_publication", "pubname", "pu"), ALL),
    ("COMMENT ON PUBLICATION pu IS 'said'", comment("pg_publication", "pu", "pubname"), ALL),
    ("DROP PUBLICATION pu, pa", made("pg_publication", "pubname", "pu"), NONE),
    ("DROP PUBLICATION pl", made("pg_publication", "pubname", "pl"), NONE),
    ("CREATE SUBSCRIPTION sub CONNECTION 'x' PUBLICATION y", "false", REFUSED),
    ("ALTER SUBSCRIPTION sub DISABLE", "false", REFUSED),
    ("DROP SUBSCRIPTION sub", "false", REFUSED),
    ("COMMENT ON SUBSCRIPTION sub IS 'x'", "false", REFUSED),
    # servers
    ("CREATE DATABASE d", "false", REFUSED),
    ("DROP DATABASE d", "false", REFUSED),
    ("ALTER DATABASE app RENAME TO d", "false", REFUSED),
    ("CREATE TABLESPACE sp LOCATION '/nowhere'", "false", REFUSED),
    ("DROP TABLESPACE sp", "false", REFUSED),
    ("ALTER TABLESPACE pg_default SET (seq_page_cost = 2)", "(SELECT spcoptions FROM pg_tablespace WHERE spcname = 'pg_default') IS NOT NULL", ALL),
    ("ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE pg_default", "true", ALL),
    ("ALTER SYSTEM SET work_mem = '1MB'", "false", REFUSED),
    ("CHECKPOINT", "true", ALL),
    ("LOAD 'plpgsql'", "false", REFUSED),
    ("SECURITY LABEL ON TABLE t IS 'x'", "false", "22023"),
    ("GRANT SET ON PARAMETER log_duration TO joe", "has_parameter_privilege('joe', 'log_duration', 'set')", ALL),
    # shard by shard
    ("VACUUM t", "true", ALL),
    ("VACUUM (ANALYZE) t, l", "true", ALL),
    ("ANALYZE t", "true", ALL),
    ("CREATE INDEX CONCURRENTLY t_b ON t (b)", relation("t_b"), ALL),
    ("CREATE INDEX CONCURRENTLY ON t (a, b)", relation("t_a_b_idx"), ALL),
    ("REINDEX INDEX CONCURRENTLY t_b", relation("t_b"), ALL),
    ("REINDEX TABLE t", "true", ALL),
    ("REINDEX TABLE parts", "true", ALL),
    ("REINDEX SCHEMA other", "true", ALL),
    ("REINDEX (VERBOSE) DATABASE app", "true", ALL),
    ("REINDEX DATABASE plain", "false", REFUSED),
    ("CLUSTER t USING t_pkey", "(SELECT indisclustered FROM pg_index WHERE indexrelid = 't_pkey'::regclass)", ALL),
    ("CLUSTER", "true", ALL),
    ("DROP INDEX CONCURRENTLY t_b", relation("t_b"), NONE),
    ("DROP INDEX CONCURRENTLY l_a", relation("l_a"), NONE),
    ("CREATE INDEX CONCURRENTLY l_a ON l (a)", relation("l_a"), HOME),
    # the rest goes
    ("LOCK TABLE t", "true", "25P01"),
    ("TRUNCATE t, l", "true", ALL),
    ("DROP OWNED BY joe", "true", REFUSED),
    ("REASSIGN OWNED BY joe TO postgres", owner("pg_class", "relname", "t", "relowner"), NONE),
    ("DROP OWNED BY joe", "EXISTS (SELECT FROM pg_default_acl)", NONE),
    ("DROP TABLE parts, t, l CASCADE", relation("t"), NONE),
    ("DROP TABLE r", relation("r"), NONE),
    ("DROP SCHEMA other CASCADE", made("pg_namespace", "nspname", "other"), NONE),
    ("DROP OWNED BY team", "true", ALL),
    ("DROP ROLE joe, team", made("pg_roles", "rolname", "joe"), NONE),
]


def run_row(place, c, statement, question, where):
    try:
        with c.cursor() as cur:
            cur.execute(statement)
    except psycopg2.Error as e:
        if e.pgcode != where:
            raise Failed(f"{statement}: {e.pgcode} {e}") from None
        if where == REFUSED and not e.diag.message_hint:
            raise Failed(f"{statement}: refused without a hint: {e}") from None
        return
    if isinstance(where, str):
        raise Failed(f"{statement}: should fail with {where}")
    if question != "true":
        expect(statement, where, place.each(question))


def tags(place):
    """The command tags are PostgreSQL's."""
    c, one = place.root(), place.servers[0].connect("plain")
    for statement in ["CREATE ROLE tagged", "ALTER ROLE tagged NOLOGIN", "GRANT tagged TO app", "REVOKE tagged FROM app",
                      "CREATE TYPE tag1 AS (a int)", "ALTER TYPE tag1 ADD ATTRIBUTE b int", "CREATE SEQUENCE tag2", "ALTER SEQUENCE tag2 OWNER TO app",
                      "CREATE TEXT SEARCH CONFIGURATION tag3 (copy = simple)", "ALTER TEXT SEARCH CONFIGURATION tag3 RENAME TO tag4",
                      "DROP TEXT SEARCH CONFIGURATION tag4", "CREATE TABLE tag5 (a int)", "CREATE INDEX tag6 ON tag5 (a)",
                      "ALTER INDEX tag6 SET (fillfactor = 50)", "CREATE VIEW tag7 AS SELECT 1 AS a", "ALTER VIEW tag7 ALTER a SET DEFAULT 1",
                      "ALTER VIEW tag7 RENAME a TO b", "ALTER VIEW tag7 SET SCHEMA public", "CREATE STATISTICS tag8 ON (a + 1) FROM tag5",
                      "ALTER STATISTICS tag8 SET STATISTICS 5", "DROP STATISTICS tag8", "REINDEX TABLE tag5", "CLUSTER tag5 USING tag6",
                      "DROP TYPE tag1", "DROP TABLE tag5", "DROP SEQUENCE tag2", "DROP VIEW tag7", "DROP OWNED BY tagged",
                      "REASSIGN OWNED BY tagged TO app", "DROP ROLE tagged", "CHECKPOINT"]:
        got = []
        for connection in (c, one):
            with connection.cursor() as cur:
                cur.execute(statement)
                got.append(cur.statusmessage)
            if "ROLE" in statement or "tagged" in statement:  # the servers are the same ones
                got.append(got[0])
                break
        if statement.startswith("GRANT") or statement.startswith("REVOKE"):
            expect(statement, statement.split()[0] + " ROLE", got[0])
        expect(statement, got[1], got[0])
    c.close()
    one.close()


def two_workers(place):
    """What one client changed, all others see at once, whichever worker they are on."""
    one = place.connect()
    others = [place.connect() for _ in range(8)]
    with one.cursor() as cur:
        cur.execute("CREATE TABLE seen (id int PRIMARY KEY, a int) SHARD BY HASH (id)")
        for i in range(20):
            cur.execute(f"ALTER TABLE seen ADD COLUMN c{i} int DEFAULT {i}")
            cur.execute("INSERT INTO seen (id) VALUES (%s)", (i,))
            for other in others:
                with other.cursor() as check:
                    check.execute("SELECT * FROM seen WHERE id = %s", (i,))
                    expect("columns", 3 + i, len(check.fetchone()))
                    check.execute(f"SELECT sum(c{i}) FROM seen")
                    expect("sum", i * (i + 1), check.fetchone()[0])
        cur.execute("DROP TABLE seen")
    for other in others:
        try:
            with other.cursor() as check:
                check.execute("SELECT * FROM seen")
            raise Failed("the table is still there")
        except psycopg2.Error as e:
            expect("dropped", "42P01", e.pgcode)
        other.close()
    one.close()


def base_is_dropped(place):
    """A table that others are declared COLOCATE WITH goes, or comes back as another: they live on."""
    c = place.connect()
    with c.cursor() as cur:
        for statement in ["CREATE TABLE base (id bigint PRIMARY KEY) SHARD BY HASH (id)",
                          "CREATE TABLE one (id bigint PRIMARY KEY) SHARD BY HASH (id) COLOCATE WITH base",
                          "CREATE TABLE two (id bigint PRIMARY KEY) SHARD BY HASH (id) COLOCATE WITH base", "INSERT INTO one VALUES (1), (2), (3)",
                          "INSERT INTO two VALUES (1), (2), (3)", "DROP TABLE base"]:
            cur.execute(statement)
        for again in ["SELECT 1", "CREATE TABLE base (id text PRIMARY KEY) SHARD BY HASH (id)", "DROP TABLE base",
                      "CREATE TABLE base (id int PRIMARY KEY) REFERENCE", "DROP TABLE base"]:
            cur.execute(again)
            cur.execute("SELECT count(*) FROM one JOIN two USING (id)")
            expect(again, 3, cur.fetchone()[0])
        cur.execute("DROP TABLE one, two")
    c.close()


# What may stand in a table SHARD BY HASH (k), and what may not.
GOOD = ["PRIMARY KEY (k, a)", "UNIQUE (a, k)", "CHECK (a > k)", "EXCLUDE USING btree (k WITH =, a WITH =)", "UNIQUE NULLS NOT DISTINCT (k)",
        "FOREIGN KEY (a) REFERENCES ref", "FOREIGN KEY (k) REFERENCES base", "FOREIGN KEY (k, a) REFERENCES twos (k, a) ON DELETE CASCADE"]
BAD = ["PRIMARY KEY (a)", "UNIQUE (a)", "EXCLUDE USING btree (a WITH =)", "FOREIGN KEY (a) REFERENCES base", "FOREIGN KEY (a) REFERENCES local",
       "FOREIGN KEY (k) REFERENCES ref ON UPDATE CASCADE", "FOREIGN KEY (k) REFERENCES base ON DELETE SET NULL"]


def constraints(place):
    """Refused with a hint, in CREATE TABLE, ALTER TABLE and CREATE INDEX, also for partitions; the rest passes."""
    c = place.connect()

    def good(statement):
        with c.cursor() as cur:
            cur.execute(statement)

    def bad(statement):
        try:
            good(statement)
        except psycopg2.Error as e:
            if e.pgcode != REFUSED or not e.diag.message_hint:
                raise Failed(f"{statement}: {e.pgcode} {e}") from None
            return
        raise Failed(f"{statement}: is not refused")
    good("CREATE TABLE base (k bigint PRIMARY KEY) SHARD BY HASH (k)")
    good("CREATE TABLE twos (k bigint, a int, PRIMARY KEY (k, a)) SHARD BY HASH (k) COLOCATE WITH base")
    good("CREATE TABLE ref (a int PRIMARY KEY) REFERENCE")
    good("CREATE TABLE local (a int PRIMARY KEY)")
    for constraint in GOOD:
        good(f"CREATE TABLE t (k bigint, a int, {constraint}) SHARD BY HASH (k) COLOCATE WITH base")
        good("DROP TABLE t")
    for constraint in BAD:
        bad(f"CREATE TABLE t (k bigint, a int, {constraint}) SHARD BY HASH (k) COLOCATE WITH base")
    good("CREATE TABLE t (k bigint, a int NOT NULL) PARTITION BY RANGE (a) SHARD BY HASH (k) COLOCATE WITH base")
    good("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    for constraint in BAD:
        bad(f"ALTER TABLE t ADD {constraint}")
        bad(f"ALTER TABLE t1 ADD {constraint}")
        bad(f"CREATE TABLE t2 PARTITION OF t ({constraint}) FOR VALUES FROM (10) TO (20)")
    for table in ("t", "t1"):
        bad(f"CREATE UNIQUE INDEX ON {table} (a)")
        good(f"CREATE UNIQUE INDEX ON {table} (k, a)")
    bad("CREATE UNIQUE INDEX CONCURRENTLY ON t1 (a)")
    bad("ALTER TABLE local ADD FOREIGN KEY (a) REFERENCES ref")
    good("DROP TABLE t, twos, base, ref, local")
    c.close()


def run(place, report):
    c = place.root()
    for statement, question, where in ROWS:
        report.run(statement[:90], run_row, place, c, statement, question, where)
    c.close()
    report.run("command tags", tags, place)
    report.run("all workers see a change at once", two_workers, place)
    report.run("constraints", constraints, place)
    report.run("a table that others are colocated with is dropped", base_is_dropped, place)
