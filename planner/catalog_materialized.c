/*
 * Materialized views over sharded tables: what they are made of on the home shard.
 *
 * The servers' own would see one shard's rows. So the view reads what a function gives, and the
 * function gives the rows that pgbraid has read and left in a table that is there while the view is
 * filled, and not longer; the query stands in the view, as an argument that nobody evaluates:
 *
 *     CREATE MATERIALIZED VIEW v AS SELECT * FROM (SELECT * FROM braid.materialized(
 *         'SELECT ... FROM public.users ...', 'public.braid_rows_7f..') AS q(name text, n bigint))
 *
 *     braid.materialized(query, kept)       the rows of `kept`; without it an error, so that a
 *                                           REFRESH past pgbraid fails
 *     braid.materialize(query, kept, ...)   makes the view out of a view and a table made by its
 *                                           query, of which PostgreSQL tells the query with all
 *                                           names qualified, and the types; then drops both
 *     braid.may_refresh(view)               an error, unless its owner asks: PostgreSQL would run
 *                                           the query with the owner's rights and no others, here
 *                                           it runs with the rights of who sends REFRESH
 *
 * All run with the rights of who calls them.
 */

#include "planner/catalog.h"

static const char install_sql[] =
    "DO $made$ BEGIN\n"
    "PERFORM pg_catalog.pg_advisory_xact_lock(1651663204, 1);\n" /* several of us start at once */
    "IF EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n "
    "ON n.oid = p.pronamespace WHERE n.nspname = 'braid' AND p.proname = 'materialize' "
    "AND pg_catalog.obj_description(p.oid, 'pg_proc') = 'pgbraid materialized 2') THEN RETURN; "
    "END IF;\n"
    "CREATE OR REPLACE FUNCTION braid.materialized(query text, kept text) RETURNS SETOF record "
    "LANGUAGE plpgsql AS $braid$\n"
    "BEGIN\n"
    "  IF pg_catalog.to_regclass(kept) IS NULL THEN\n"
    "    RAISE EXCEPTION 'a materialized view over sharded tables can only be filled by pgbraid' "
    "USING ERRCODE = '0A000', HINT = 'Send REFRESH MATERIALIZED VIEW by itself, through pgbraid.';\n"
    "  END IF;\n"
    "  RETURN QUERY EXECUTE 'SELECT * FROM ' || kept;\n"
    "END $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.materialize(query text, kept text, head text, tail text) "
    "RETURNS void LANGUAGE plpgsql AS $braid$\n"
    "DECLARE path text := pg_catalog.current_setting('search_path'); cols text; def text;\n"
    "  v pg_catalog.oid := query::pg_catalog.regclass; r pg_catalog.oid := kept::pg_catalog.regclass;\n"
    "BEGIN\n"
    "  PERFORM pg_catalog.set_config('search_path', '', true);\n"
    "  IF (SELECT c.relpersistence FROM pg_catalog.pg_class c WHERE c.oid = v) = 't' THEN\n"
    "    RAISE EXCEPTION 'materialized views must not use temporary tables or views' "
    "USING ERRCODE = '0A000';\n"
    "  END IF;\n"
    "  SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod) || "
    "CASE WHEN a.attcollation <> t.typcollation THEN ' COLLATE ' || a.attcollation::regcollation "
    "ELSE '' END, ', ' ORDER BY a.attnum) INTO cols FROM pg_attribute a JOIN pg_type t "
    "ON t.oid = a.atttypid WHERE a.attrelid = r AND a.attnum > 0;\n"
    "  def := head || format('(SELECT * FROM braid.materialized(%L, %L) AS q(%s))', "
    "rtrim(pg_get_viewdef(v), '; '), r::regclass, cols) || tail;\n"
    "  PERFORM set_config('search_path', path, true);\n"
    "  EXECUTE def;\n"
    "  EXECUTE 'DROP VIEW ' || v::pg_catalog.regclass;\n"
    "  EXECUTE 'DROP TABLE ' || r::pg_catalog.regclass;\n"
    "END $braid$;\n"
    "CREATE OR REPLACE FUNCTION braid.may_refresh(v text) RETURNS void LANGUAGE plpgsql AS $braid$\n"
    "DECLARE o pg_catalog.oid := (SELECT c.relowner FROM pg_catalog.pg_class c "
    "WHERE c.oid = v::pg_catalog.regclass);\n"
    "BEGIN\n"
    "  IF pg_catalog.pg_get_userbyid(o) = current_user THEN RETURN; END IF;\n"
    "  IF NOT pg_catalog.pg_has_role(o, 'USAGE') THEN\n"
    "    RAISE EXCEPTION 'must be owner of materialized view %', v USING ERRCODE = '42501';\n"
    "  END IF;\n"
    "  RAISE EXCEPTION 'materialized view % over sharded tables can only be refreshed by its owner', v "
    "USING ERRCODE = '0A000', HINT = 'Its query runs with the rights of who sends REFRESH. Connect "
    "as ' || pg_catalog.pg_get_userbyid(o) || '.';\n"
    "END $braid$;\n"
    "COMMENT ON FUNCTION braid.materialize(text, text, text, text) IS 'pgbraid materialized 2';\n"
    "END $made$;\n";

void catalog_materialized_print(struct buf *out)
{
    buf_text(out, install_sql);
}
