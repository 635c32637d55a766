/*
 * Global unique indexes: what they are made of on the servers, and how the catalog knows them.
 *
 * Index i of a sharded table is a unique index on every shard, and a lookup table braid.unique_i
 * (the indexed columns, then the sharding key) over all of them, sharded by the indexed columns,
 * whose primary key does what one shard's index cannot. Triggers of the table note what a statement
 * changed in braid.unique_changes of the same shard, in its transaction; behind each statement
 * pgbraid takes these notes (braid.unique_take) and applies them to the lookup table, on the shards
 * that the values belong to. A transaction that would end with a note left is refused by a deferred
 * trigger: so no row gets past the lookup table, whatever wrote it.
 *
 *     braid.unique_create(s, t, i, keys)   makes braid.unique_i: table and functions of that name:
 *         unique_i()                       trigger function
 *         unique_i(columns)                bucket of the indexed values, as PARTITION BY HASH
 *         unique_i(gone, come, building)   applies notes, rows as JSON arrays (unique_applier(i))
 *     braid.find_i(columns)                the row of the lookup table, for who may read the table
 *     braid.global_i                       a domain, so that a dump says which index was a global
 * one braid.unique_note(i, buckets, lines) notes rows that are there before the index
 *     braid.unique_sum(i)                  compares table and lookup table
 *     braid.unique_drop(i)                 the reverse of unique_create()
 *
 * What a statement does to one row several times (triggers, cascades) is taken as its sum.
 * Notes travel as JSON because that reads back the same under all settings. Rows in which an
 * indexed column is NULL are not there: NULLs are distinct. A dump that is restored elsewhere has
 * tables with other OIDs than the comment of unique_changes says: then the triggers do nothing.
 */

#include "planner/catalog.h"
#include "planner/catalog_inner.h"

static const char install_sql[] =
    "DO $unique$ BEGIN\n"
    "PERFORM pg_catalog.pg_advisory_xact_lock(1651663204, 1);\n" /* several of us start at once */
    "IF EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n "
    "ON n.oid = p.pronamespace WHERE n.nspname = 'braid' AND p.proname = 'unique_take' "
    "AND pg_catalog.obj_description(p.oid, 'pg_proc') = 'pgbraid unique 3') THEN RETURN; END IF;\n"
    "CREATE SCHEMA IF NOT EXISTS braid;\n"
    "GRANT USAGE ON SCHEMA braid TO PUBLIC;\n"
    "CREATE OR REPLACE FUNCTION braid.unique_check() RETURNS trigger LANGUAGE plpgsql "
    "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $braid$\n"
    "BEGIN\n"
    "  IF EXISTS (SELECT FROM braid.unique_changes c WHERE c.tx = NEW.tx AND c.id = NEW.id) THEN\n"
    "    RAISE EXCEPTION 'rows of global unique index \"%\" were changed in a way that pgbraid does "
    "not see', NEW.name USING ERRCODE = '0A000', HINT = 'Write the table by a statement through "
    "pgbraid, not by a function or past it, and without SET CONSTRAINTS ALL IMMEDIATE.';\n"
    "  END IF;\n"
    "  RETURN NULL;\n"
    "END $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.unique_is_here() RETURNS boolean LANGUAGE sql STABLE "
    "SET search_path = pg_catalog, pg_temp AS $braid$ SELECT coalesce(obj_description(r.o, "
    "'pg_class') = 'pgbraid unique ' || r.o, false) "
    "FROM (SELECT to_regclass('braid.unique_changes')::oid AS o) r $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.unique_begin() RETURNS void LANGUAGE plpgsql SECURITY DEFINER "
    "SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $braid$\n"
    "BEGIN\n"
    "  PERFORM pg_advisory_xact_lock(1651663204, 1);\n"
    "  IF braid.unique_is_here() THEN RETURN; END IF;\n"
    "  DROP TABLE IF EXISTS braid.unique_changes;\n" /* out of a dump */
    "  CREATE UNLOGGED TABLE braid.unique_changes (tx xid8 NOT NULL, id bigint GENERATED ALWAYS AS "
    "IDENTITY, name text NOT NULL, gone boolean NOT NULL, buckets int[] NOT NULL, lines text[] NOT "
    "NULL, PRIMARY KEY (tx, id));\n"
    /* for pg_dump; nobody sees others' notes */
    "  GRANT SELECT ON braid.unique_changes, braid.unique_changes_id_seq TO PUBLIC;\n"
    "  EXECUTE format('COMMENT ON TABLE braid.unique_changes IS %L', "
    "'pgbraid unique ' || 'braid.unique_changes'::regclass::oid);\n"
    "  CREATE CONSTRAINT TRIGGER unique_check AFTER INSERT ON braid.unique_changes DEFERRABLE "
    "INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION braid.unique_check();\n"
    "  ALTER TABLE braid.unique_changes ENABLE ALWAYS TRIGGER unique_check;\n"
    "END $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.unique_note(i text, b int[], l text[]) RETURNS void "
    "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $braid$\n"
    "BEGIN\n"
    "  INSERT INTO braid.unique_changes (tx, name, gone, buckets, lines) "
    "VALUES (pg_current_xact_id(), i, false, b, l);\n"
    "END $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.unique_owner(i text) RETURNS oid LANGUAGE sql STABLE "
    "SET search_path = pg_catalog, pg_temp AS $braid$ SELECT c.relowner FROM pg_trigger g "
    "JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_proc p ON p.oid = g.tgfoid "
    "JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'braid' AND "
    "p.proname = 'unique_' || i LIMIT 1 $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.unique_drop(i text) RETURNS void LANGUAGE plpgsql "
    "SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning "
    "AS $braid$\n"
    "DECLARE f record; o oid := braid.unique_owner(i);\n"
    "BEGIN\n"
    "  IF o IS NOT NULL AND NOT pg_has_role(session_user, o, 'USAGE') THEN\n"
    "    RAISE EXCEPTION 'must be owner of index %', i USING ERRCODE = '42501';\n"
    "  END IF;\n"
    "  FOR f IN SELECT p.oid::regprocedure AS name FROM pg_proc p JOIN pg_namespace n "
    "ON n.oid = p.pronamespace WHERE n.nspname = 'braid' AND p.proname IN ('unique_' || i, 'find_' || "
    "i) LOOP\n"
    "    EXECUTE format('DROP FUNCTION %s CASCADE', f.name);\n"
    "  END LOOP;\n"
    "  EXECUTE format('DROP TABLE IF EXISTS braid.%I', 'unique_' || i);\n"
    "  EXECUTE format('DROP DOMAIN IF EXISTS braid.%I', 'global_' || i);\n"
    "END $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.unique_applier(i text) RETURNS void LANGUAGE plpgsql "
    "SET search_path = pg_catalog, pg_temp AS $braid$\n"
    "DECLARE me text := format('braid.%I', 'unique_' || i);\n"
    "BEGIN\n"
    "  EXECUTE format('CREATE OR REPLACE FUNCTION %s(gone text, come text, building boolean) RETURNS void "
    "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L', me, format($body$\n"
    "DECLARE d text; r record; n bigint;\n"
    "BEGIN\n"
    "  IF gone <> '' THEN\n"
    "    DELETE FROM %1$s t USING json_populate_recordset(NULL::%1$s, gone::json) g WHERE %3$s;\n"
    "    GET DIAGNOSTICS n = ROW_COUNT;\n"
    /* A value whose transaction has committed where its row is, and here not yet, is not seen: the
     * primary key waits for it. */
    "    IF n < json_array_length(gone::json) THEN\n"
    "      INSERT INTO %1$s SELECT * FROM json_populate_recordset(NULL::%1$s, gone::json) "
    "ON CONFLICT DO NOTHING;\n"
    "      DELETE FROM %1$s t USING json_populate_recordset(NULL::%1$s, gone::json) g WHERE %3$s;\n"
    "    END IF;\n"
    "  END IF;\n"
    "  IF come <> '' THEN\n"
    "    INSERT INTO %1$s SELECT * FROM json_populate_recordset(NULL::%1$s, come::json);\n"
    "  END IF;\n"
    "EXCEPTION WHEN unique_violation THEN\n"
    "  GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;\n"
    "  SELECT a.nspname AS s, c.relname AS t INTO r FROM pg_trigger g JOIN pg_class c "
    "ON c.oid = g.tgrelid JOIN pg_namespace a ON a.oid = c.relnamespace JOIN pg_proc p "
    "ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'braid' "
    "AND p.proname = 'unique_' || %2$L LIMIT 1;\n"
    "  IF building THEN\n"
    "    RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = format('could not create unique index "
    "\"%%s\"', %2$L), DETAIL = replace(d, ' already exists.', ' is duplicated.'), SCHEMA = r.s, "
    "TABLE = r.t, CONSTRAINT = %2$L;\n"
    "  END IF;\n"
    "  RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = format('duplicate key value violates "
    "unique constraint \"%%s\"', %2$L), DETAIL = d, SCHEMA = r.s, TABLE = r.t, CONSTRAINT = %2$L;\n"
    "END $body$, me, i, (SELECT string_agg(format('t.%1$I = g.%1$I', a.attname), ' AND ') "
    "FROM pg_attribute a WHERE a.attrelid = me::regclass AND a.attnum > 0 AND NOT a.attisdropped)));\n"
    "END $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.unique_create(s text, t text, i text, keys text[]) "
    "RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp "
    "AS $braid$\n"
    "DECLARE\n"
    "  me text := format('braid.%I', 'unique_' || i);\n"
    "  k constant bigint := 5305509591434766563;\n" /* of hash_combine64() */
    "  rel record; x record; m bigint; h text; e text;\n"
    "  count int := 0; n int;\n"
    "  names text[] := '{}'; kinds text[] := '{}'; defs text := ''; every text[] := '{}';\n"
    "BEGIN\n"
    "  SELECT c.oid, c.relowner INTO STRICT rel FROM pg_class c JOIN pg_namespace a "
    "ON a.oid = c.relnamespace WHERE a.nspname = s AND c.relname = t AND c.relkind = 'r';\n"
    "  IF NOT pg_has_role(session_user, rel.relowner, 'USAGE') THEN\n"
    "    RAISE EXCEPTION 'must be owner of table %', t USING ERRCODE = '42501';\n"
    "  END IF;\n"
    "  IF braid.unique_owner(i) IS NOT NULL THEN\n"
    "    RAISE EXCEPTION 'there is a global unique index \"%\" already', i USING "
    "ERRCODE = '42P07', HINT = 'Their names are unique in the database: choose another one.';\n"
    "  END IF;\n"
    "  PERFORM braid.unique_drop(i);\n" /* of a table that is gone, or out of a dump */
    "  PERFORM braid.unique_begin();\n"
    "  EXECUTE format('CREATE DOMAIN braid.%I AS text', 'global_' || i);\n"
    "  SELECT d.indnkeyatts INTO STRICT n FROM pg_index d JOIN pg_class c ON c.oid = d.indexrelid "
    "WHERE d.indrelid = rel.oid AND c.relname = i;\n"
    "  FOR x IN SELECT a.attname, a.atttypid, format_type(a.atttypid, a.atttypmod) AS type, "
    "o.n IS NOT NULL AS indexed FROM pg_attribute a LEFT JOIN (SELECT u.no, u.n FROM pg_index d "
    "JOIN pg_class c ON c.oid = d.indexrelid CROSS JOIN unnest(d.indkey) WITH ORDINALITY u(no, n) "
    "WHERE d.indrelid = rel.oid AND c.relname = i AND u.n <= d.indnkeyatts) o ON o.no = a.attnum "
    "WHERE a.attrelid = rel.oid AND (o.n IS NOT NULL OR a.attname::text = ANY (keys)) "
    "ORDER BY o.n, array_position(keys, a.attname::text) LOOP\n"
    "    every := every || quote_ident(x.attname);\n"
    "    defs := defs || format('%s%I %s%s NOT NULL', CASE WHEN defs = '' THEN '' ELSE ', ' END, "
    "x.attname, x.type, CASE WHEN x.atttypid IN (25, 1043) THEN ' COLLATE \"C\"' ELSE '' END);\n"
    "    CONTINUE WHEN NOT x.indexed;\n"
    "    names := names || quote_ident(x.attname);\n"
    "    kinds := kinds || CASE WHEN x.atttypid IN (25, 1043) THEN 'text' WHEN x.atttypid = 2950 "
    "THEN 'uuid' ELSE 'bigint' END;\n"
    "    count := count + 1;\n"
    "    h := CASE WHEN x.atttypid IN (25, 1043) THEN format("
    "'pg_catalog.hashtextextended($%s COLLATE pg_catalog.\"C\", 8816678312871386365)', count) WHEN x.atttypid = 2950 THEN format("
    "'pg_catalog.uuid_hash_extended($%s, "
    "8816678312871386365)', count) ELSE format("
    "'pg_catalog.hashint8extended($%s, 8816678312871386365)', count) "
    "END;\n"
    "    m := (1::bigint << (12 + 7 * (n - count))) - 1;\n"
    "    e := CASE WHEN count = 1 THEN format('(((%1$s & %2$s) + %3$s) & %2$s)', h, m, k & m) ELSE "
    "format('((%1$s & %2$s) # (((%3$s & %2$s) + %4$s + (%1$s >> 7)) & %2$s))', e, m, h, k & m) END;\n"
    "  END LOOP;\n"
    "  EXECUTE format('CREATE TABLE %s (%s, CONSTRAINT %I PRIMARY KEY (%s))', me, defs, i, "
    "array_to_string(names, ', '));\n"
    "  EXECUTE format('COMMENT ON TABLE %s IS %L', me, 'pgbraid: lookup table of global unique "
    "index ' || i);\n"
    "  EXECUTE format('GRANT SELECT ON %s TO %s', me, rel.relowner::regrole);\n" /* for pg_dump */
    "  EXECUTE format('CREATE FUNCTION %s(%s) RETURNS int LANGUAGE sql IMMUTABLE AS %L', me, "
    "array_to_string(kinds, ', '), format('SELECT (%s)::pg_catalog.int4', e));\n"
    "  EXECUTE format('CREATE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
    "SET search_path = pg_catalog, pg_temp AS %L', me, format($body$\n"
    "BEGIN\n"
    "  IF NOT braid.unique_is_here() THEN\n"
    "    RETURN NULL;\n"
    "  ELSIF TG_OP = 'TRUNCATE' THEN\n"
    "    TRUNCATE %1$s;\n"
    "  ELSIF TG_OP = 'INSERT' THEN\n"
    "    INSERT INTO braid.unique_changes (tx, name, gone, buckets, lines) SELECT "
    "pg_current_xact_id(), %2$L, false, array_agg(q.b), array_agg(q.l) FROM (SELECT %1$s(%3$s) AS b, "
    "row_to_json(ROW(%4$s)::%1$s)::text AS l, (row_number() OVER () - 1) / 5000 AS part "
    "FROM braid_new v WHERE %5$s) q GROUP BY q.part;\n"
    "  ELSIF TG_OP = 'DELETE' THEN\n"
    "    INSERT INTO braid.unique_changes (tx, name, gone, buckets, lines) SELECT "
    "pg_current_xact_id(), %2$L, true, array_agg(q.b), array_agg(q.l) FROM (SELECT %1$s(%3$s) AS b, "
    "row_to_json(ROW(%4$s)::%1$s)::text AS l, (row_number() OVER () - 1) / 5000 AS part "
    "FROM braid_old v WHERE %5$s) q GROUP BY q.part;\n"
    "  ELSE\n"
    "    IF %8$s THEN\n"
    "      INSERT INTO braid.unique_changes (tx, name, gone, buckets, lines) VALUES "
    "(pg_current_xact_id(), %2$L, true, ARRAY[%1$s(%6$s)], "
    "ARRAY[row_to_json(ROW(%7$s)::%1$s)::text]);\n"
    "    END IF;\n"
    "    IF %11$s THEN\n"
    "      INSERT INTO braid.unique_changes (tx, name, gone, buckets, lines) VALUES "
    "(pg_current_xact_id(), %2$L, false, ARRAY[%1$s(%9$s)], "
    "ARRAY[row_to_json(ROW(%10$s)::%1$s)::text]);\n"
    "    END IF;\n"
    "  END IF;\n"
    "  RETURN NULL;\n"
    "END $body$, me, i, "
    "(SELECT string_agg('v.' || u, ', ' ORDER BY o) FROM unnest(names) WITH ORDINALITY z(u, o)), "
    "(SELECT string_agg('v.' || u, ', ' ORDER BY o) FROM unnest(every) WITH ORDINALITY z(u, o)), "
    "(SELECT string_agg('v.' || u || ' IS NOT NULL', ' AND ' ORDER BY o) FROM unnest(names) WITH ORDINALITY z(u, o)), "
    "(SELECT string_agg('OLD.' || u, ', ' ORDER BY o) FROM unnest(names) WITH ORDINALITY z(u, o)), "
    "(SELECT string_agg('OLD.' || u, ', ' ORDER BY o) FROM unnest(every) WITH ORDINALITY z(u, o)), "
    "(SELECT string_agg('OLD.' || u || ' IS NOT NULL', ' AND ' ORDER BY o) FROM unnest(names) WITH ORDINALITY z(u, o)), "
    "(SELECT string_agg('NEW.' || u, ', ' ORDER BY o) FROM unnest(names) WITH ORDINALITY z(u, o)), "
    "(SELECT string_agg('NEW.' || u, ', ' ORDER BY o) FROM unnest(every) WITH ORDINALITY z(u, o)), "
    "(SELECT string_agg('NEW.' || u || ' IS NOT NULL', ' AND ' ORDER BY o) FROM unnest(names) WITH ORDINALITY z(u, o))));\n"
    "  PERFORM braid.unique_applier(i);\n"
    "  EXECUTE format('CREATE FUNCTION braid.%I(%s) RETURNS SETOF %s LANGUAGE sql STABLE "
    "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L', 'find_' || i, "
    "array_to_string(kinds, ', '), me, format($body$ SELECT u.* FROM %s u WHERE %s AND "
    "has_table_privilege(CASE current_setting('role') WHEN 'none' THEN session_user ELSE "
    "current_setting('role')::name END, %s::oid, 'SELECT') AND NOT (SELECT c.relrowsecurity FROM "
    "pg_class c WHERE c.oid = %s::oid) $body$, me, (SELECT string_agg(format('u.%s = $%s', u, o), "
    "' AND ') FROM unnest(names) WITH ORDINALITY z(u, o)), rel.oid, rel.oid));\n"
    "END $braid$;\n"
    /* For `braidctl verify`: what the lookup table has on this server less what the table has, as a
     * sum of hashes; over all servers it is 0 modulo this prime. */
    "CREATE OR REPLACE FUNCTION braid.unique_sum(i text) RETURNS bigint LANGUAGE plpgsql STABLE "
    "SET search_path = pg_catalog, pg_temp AS $braid$\n"
    "DECLARE me text := format('braid.%I', 'unique_' || i); cols text; there text; t text; r bigint;\n"
    "BEGIN\n"
    "  SELECT string_agg('v.' || quote_ident(a.attname), ', ' ORDER BY a.attnum), "
    "string_agg('v.' || quote_ident(a.attname) || ' IS NOT NULL', ' AND ') INTO cols, there "
    "FROM pg_attribute a WHERE a.attrelid = me::regclass AND a.attnum > 0 AND NOT a.attisdropped;\n"
    "  SELECT g.tgrelid::regclass INTO STRICT t FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid "
    "JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'braid' AND "
    "p.proname = 'unique_' || i LIMIT 1;\n"
    "  EXECUTE format('SELECT mod(coalesce(sum(q.s * hashtextextended(q.l, 0)::numeric), 0), "
    "2305843009213693951)::bigint FROM (SELECT 1 AS s, row_to_json(ROW(%1$s)::%2$s)::text AS l "
    "FROM %2$s v UNION ALL SELECT -1, row_to_json(ROW(%1$s)::%2$s)::text FROM ONLY %3$s v "
    "WHERE %4$s) q', cols, me, t, there) INTO r;\n"
    "  RETURN r;\n"
    "END $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.unique_take() RETURNS TABLE (name text, gone boolean, "
    "bucket int, line text) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp "
    "AS $braid$\n"
    "BEGIN\n"
    "  RETURN QUERY WITH d AS (DELETE FROM braid.unique_changes c WHERE "
    "c.tx = pg_current_xact_id_if_assigned() RETURNING c.*) SELECT q.name, q.n < 0, q.b, q.l FROM "
    "(SELECT d.name, u.b, u.l, sum(CASE WHEN d.gone THEN -1 ELSE 1 END) AS n, min(d.id) AS id, "
    "min(u.o) AS o FROM d, unnest(d.buckets, d.lines) WITH ORDINALITY AS u(b, l, o) "
    "GROUP BY d.name, u.b, u.l) q WHERE q.n <> 0 ORDER BY q.id, q.o;\n"
    "END $braid$;\n"
    "COMMENT ON FUNCTION braid.unique_take() IS 'pgbraid unique 3';\n"
    /* indexes made by an earlier pgbraid */
    "PERFORM braid.unique_applier(substr(p.proname, 8)) FROM pg_catalog.pg_proc p "
    "JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'braid' "
    "AND p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype AND p.proname LIKE 'unique\\_%' "
    "AND pg_catalog.to_regclass(pg_catalog.format('braid.%I', p.proname)) IS NOT NULL;\n"
    "END $unique$;\n";

void catalog_unique_print(struct buf *out)
{
    buf_text(out, install_sql);
}

void catalog_add_global(struct catalog *c, const struct slice *v)
{
    const struct catalog_table *t = catalog_find_oid(c, catalog_number(v[0]));
    if (v[0].n == 1) { /* 0: the name alone, as a dump says it */
        c->global_names = catalog_grown(c, c->global_names, c->global_names_count, sizeof(char *));
        c->global_names[c->global_names_count++] = arena_strndup(&c->memory, v[1].p, v[1].n);
    }
    for (size_t i = 0; t != NULL && i < t->uniques_count; i++) {
        if (slice_is(v[1], t->uniques[i].name)) {
            t->uniques[i].global = 1;
            c->globals_count++;
        }
    }
}

/* A foreign key may have its table changed by a change of the one that it refers to; so may a
 * trigger. */
static int spreads_to(const struct catalog_table *t)
{
    for (size_t i = 0; i < t->calls_count; i++) {
        if (t->calls[i].kind == 't' || t->calls[i].kind == 'b') {
            return 1;
        }
    }
    for (size_t i = 0; i < t->uniques_count; i++) {
        if (t->uniques[i].global) {
            return 1;
        }
    }
    return 0;
}

void catalog_mark_globals(struct catalog *c)
{
    int more = c->globals_count > 0;
    while (more) {
        more = 0;
        for (struct hnode *n = hmap_each(&c->tables, NULL); n != NULL;
             n = hmap_each(&c->tables, n)) {
            struct catalog_table *t = container_of(n, struct catalog_table, node);
            if (!t->keeps_global && spreads_to(t)) {
                t->keeps_global = 1;
                more = 1;
            }
            for (size_t i = 0; t->keeps_global && i < t->foreigns_count; i++) {
                struct catalog_table *target = catalog_table_of(c, t->foreigns[i].target_oid);
                if (target != NULL && !target->keeps_global) {
                    target->keeps_global = 1;
                    more = 1;
                }
            }
        }
    }
}

static const char *column_name(const struct catalog_table *t, int16_t number)
{
    for (size_t i = 0; i < t->columns_count; i++) {
        if (t->columns[i].number == number) {
            return t->columns[i].name;
        }
    }
    return "";
}

/* The lookup tables as the map knows them, in room for c->globals_count more. */
size_t catalog_global_decls(const struct catalog *c, struct arena *arena, struct map_decl *out)
{
    size_t count = 0;
    for (struct hnode *n = c->globals_count == 0 ? NULL : hmap_each(&c->tables, NULL); n != NULL;
         n = hmap_each(&c->tables, n)) {
        const struct catalog_table *t = container_of(n, struct catalog_table, node);
        for (size_t i = 0; i < t->uniques_count; i++) {
            const struct catalog_unique *u = &t->uniques[i];
            const char *name = u->global ? arena_printf(arena, "unique_%s", u->name) : "";
            if (!u->global || catalog_find(c, "braid", name) == NULL) {
                continue;
            }
            const char **keys = arena_zero(arena, (u->columns_count + 1u) * sizeof(char *));
            for (size_t k = 0; k < u->columns_count; k++) {
                keys[k] = arena_strdup(arena, column_name(t, u->columns[k]));
            }
            out[count++] = (struct map_decl){.schema = "braid",
                                             .name = name,
                                             .kind = MAP_HASH,
                                             .keys = keys,
                                             .keys_count = u->columns_count,
                                             .from_sql = 1};
        }
    }
    return count;
}
