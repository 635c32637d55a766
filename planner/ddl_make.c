/* Statements that make a table anew, read from the catalog; see ddl_make.h. */

#include "planner/ddl_make.h"

/* The table and its quoted name. Everything else is qualified, for search_path is pg_catalog. */
#define TABLE                                                                               \
    "WITH t AS (SELECT c.*, pg_catalog.format('%I.%I', n.nspname, c.relname) AS q FROM "    \
    "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE " \
    "c.oid = "

/* Sequences are on the home shard: elsewhere a default that never works stands for them. */
#define COLUMN_DEFAULT                                                                             \
    "CASE WHEN a.attgenerated = 's' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, "        \
    "d.adrelid) || ') STORED' WHEN a.attidentity <> '' THEN format(' DEFAULT nextval(%L::text)', " \
    "pg_get_serial_sequence(t.q, a.attname)) WHEN d.adbin IS NOT NULL THEN ' DEFAULT ' || "        \
    "replace(pg_get_expr(d.adbin, d.adrelid), '::regclass)', '::text)') ELSE '' END"

#define COLUMNS                                                                                  \
    "(SELECT string_agg(format('%I %s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod), " \
    "CASE WHEN a.attcollation <> y.typcollation THEN format(' COLLATE %I.%I', cn.nspname, "      \
    "co.collname) ELSE '' END, " COLUMN_DEFAULT ", CASE WHEN a.attnotnull THEN ' NOT NULL' "     \
    "ELSE '' END), ', ' ORDER BY a.attnum) FROM pg_attribute a JOIN pg_type y ON y.oid = "       \
    "a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum "        \
    "LEFT JOIN pg_collation co ON co.oid = a.attcollation LEFT JOIN pg_namespace cn ON "         \
    "cn.oid = co.collnamespace WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped)"

/* Of each column: storage, statistics, options. */
#define COLUMN_DETAILS                                                                           \
    "SELECT 30, a.attnum::bigint, format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE %s', t.q, " \
    "a.attname, CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN " \
    "'MAIN' ELSE 'EXTENDED' END) FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND "          \
    "a.attnum > 0 AND NOT a.attisdropped JOIN pg_type y ON y.oid = a.atttypid WHERE "            \
    "a.attstorage <> y.typstorage UNION ALL "                                                    \
    "SELECT 31, a.attnum, format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', t.q, "      \
    "a.attname, a.attstattarget) FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND "          \
    "a.attnum > 0 AND NOT a.attisdropped WHERE a.attstattarget >= 0 UNION ALL "                  \
    "SELECT 32, a.attnum, format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', t.q, a.attname, "    \
    "array_to_string(a.attoptions, ', ')) FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND " \
    "NOT a.attisdropped WHERE a.attoptions IS NOT NULL UNION ALL "

void ddl_make_table(const char *literal, struct buf *out)
{
    buf_text(out, TABLE);
    buf_text(out, literal);
    buf_text(
        out,
        "::regclass) SELECT s FROM ("
        "SELECT 10 AS o, 0::bigint AS i, format('CREATE %sTABLE %s (%s)%s%s', CASE t.relpersistence "
        "WHEN 'u' THEN 'UNLOGGED ' ELSE '' END, t.q, " COLUMNS ", (SELECT format(' USING %I', "
        "m.amname) FROM pg_am m WHERE m.oid = t.relam AND m.amname <> 'heap'), CASE WHEN "
        "t.reloptions IS NULL THEN '' ELSE ' WITH (' || array_to_string(t.reloptions, ', ') || ')' "
        "END) AS s FROM t UNION ALL " COLUMN_DETAILS
        "SELECT 40, k.oid::bigint, format('ALTER TABLE %s ADD CONSTRAINT %I %s', t.q, k.conname, "
        "pg_get_constraintdef(k.oid)) FROM t JOIN pg_constraint k ON k.conrelid = t.oid WHERE "
        "k.contype IN ('p', 'u', 'x', 'c') UNION ALL "
        "SELECT 41, x.indexrelid::bigint, pg_get_indexdef(x.indexrelid) FROM t JOIN pg_index x ON "
        "x.indrelid = t.oid WHERE x.indisvalid AND NOT EXISTS (SELECT FROM pg_constraint k WHERE "
        "k.conindid = x.indexrelid AND k.conrelid = t.oid AND k.contype IN ('p', 'u', 'x')) "
        "UNION ALL SELECT 42, x.indexrelid::bigint, format('ALTER TABLE %s CLUSTER ON %I', t.q, "
        "c.relname) FROM t JOIN pg_index x ON x.indrelid = t.oid AND x.indisclustered JOIN "
        "pg_class c ON c.oid = x.indexrelid UNION ALL "
        "SELECT 43, 0, format('ALTER TABLE %s REPLICA IDENTITY %s', t.q, CASE t.relreplident WHEN "
        "'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' ELSE (SELECT format('USING INDEX %I', c.relname) "
        "FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid WHERE x.indrelid = t.oid AND "
        "x.indisreplident) END) FROM t WHERE t.relreplident <> 'd') r ORDER BY o, i");
}

#define COMMENTS                                                                                 \
    "SELECT 80, 0::bigint, format('COMMENT ON TABLE %s IS %L', t.q, d.description) FROM t JOIN " \
    "pg_description d ON d.objoid = t.oid AND d.classoid = 'pg_class'::regclass AND "            \
    "d.objsubid = 0 UNION ALL "                                                                  \
    "SELECT 81, a.attnum, format('COMMENT ON COLUMN %s.%I IS %L', t.q, a.attname, "              \
    "d.description) FROM t JOIN pg_attribute a ON a.attrelid = t.oid JOIN pg_description d ON "  \
    "d.objoid = t.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = a.attnum WHERE "    \
    "a.attnum > 0 UNION ALL "                                                                    \
    "SELECT 82, k.oid::bigint, format('COMMENT ON CONSTRAINT %I ON %s IS %L', k.conname, t.q, "  \
    "d.description) FROM t JOIN pg_constraint k ON k.conrelid = t.oid JOIN pg_description d ON " \
    "d.objoid = k.oid AND d.classoid = 'pg_constraint'::regclass UNION ALL "                     \
    "SELECT 83, c.oid::bigint, format('COMMENT ON INDEX %I.%I IS %L', n.nspname, c.relname, "    \
    "d.description) FROM t JOIN pg_index x ON x.indrelid = t.oid JOIN pg_class c ON c.oid = "    \
    "x.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_description d ON "       \
    "d.objoid = c.oid AND d.classoid = 'pg_class'::regclass UNION ALL "                          \
    "SELECT 84, g.oid::bigint, format('COMMENT ON TRIGGER %I ON %s IS %L', g.tgname, t.q, "      \
    "d.description) FROM t JOIN pg_trigger g ON g.tgrelid = t.oid JOIN pg_description d ON "     \
    "d.objoid = g.oid AND d.classoid = 'pg_trigger'::regclass UNION ALL "                        \
    "SELECT 85, p.oid::bigint, format('COMMENT ON POLICY %I ON %s IS %L', p.polname, t.q, "      \
    "d.description) FROM t JOIN pg_policy p ON p.polrelid = t.oid JOIN pg_description d ON "     \
    "d.objoid = p.oid AND d.classoid = 'pg_policy'::regclass "

#define GRANTEE "CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END"

void ddl_make_rest(const char *literal, struct buf *out)
{
    buf_text(out, TABLE);
    buf_text(out, literal);
    buf_text(
        out,
        "::regclass) SELECT s FROM ("
        "SELECT 50 AS o, k.oid::bigint AS i, format('ALTER TABLE %s ADD CONSTRAINT %I %s', t.q, "
        "k.conname, pg_get_constraintdef(k.oid)) AS s FROM t JOIN pg_constraint k ON k.conrelid = "
        "t.oid WHERE k.contype = 'f' UNION ALL "
        "SELECT 51, g.oid::bigint, pg_get_triggerdef(g.oid) FROM t JOIN pg_trigger g ON g.tgrelid "
        "= t.oid WHERE NOT g.tgisinternal UNION ALL "
        "SELECT 52, g.oid::bigint, format('ALTER TABLE %s %s TRIGGER %I', t.q, CASE g.tgenabled "
        "WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, "
        "g.tgname) FROM t JOIN pg_trigger g ON g.tgrelid = t.oid WHERE NOT g.tgisinternal AND "
        "g.tgenabled <> 'O' UNION ALL "
        "SELECT 53, p.oid::bigint, format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', "
        "p.polname, t.q, CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, "
        "CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN "
        "'d' THEN 'DELETE' ELSE 'ALL' END, (SELECT string_agg(CASE WHEN x = 0 THEN 'PUBLIC' ELSE "
        "x::regrole::text END, ', ') FROM unnest(p.polroles) AS x), coalesce(' USING "
        "(' || pg_get_expr(p.polqual, p.polrelid) || ')', ''), coalesce(' WITH CHECK (' || "
        "pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')) FROM t JOIN pg_policy p ON "
        "p.polrelid = t.oid UNION ALL "
        "SELECT 54, 0, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t.q) FROM t WHERE "
        "t.relrowsecurity UNION ALL "
        "SELECT 55, 0, format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t.q) FROM t WHERE "
        "t.relforcerowsecurity UNION ALL "
        "SELECT 56, e.oid::bigint, pg_get_statisticsobjdef(e.oid) FROM t JOIN pg_statistic_ext e "
        "ON e.stxrelid = t.oid UNION ALL "
        "SELECT 57, p.oid::bigint, format('ALTER PUBLICATION %I ADD TABLE %s', p.pubname, t.q) "
        "FROM t JOIN pg_publication_rel r ON r.prrelid = t.oid JOIN pg_publication p ON p.oid = "
        "r.prpubid UNION ALL "
        "SELECT 60, 0, format('ALTER TABLE %s OWNER TO %s', t.q, t.relowner::regrole::text) FROM t "
        "WHERE t.relowner <> (SELECT oid FROM pg_roles WHERE rolname = current_user) UNION ALL "
        "SELECT 70, 0, format('GRANT %s ON %s TO %s%s', x.privilege_type, t.q, " GRANTEE
        ", CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM t, LATERAL "
        "aclexplode(t.relacl) AS x WHERE x.grantee <> t.relowner UNION ALL "
        "SELECT 71, a.attnum, format('GRANT %s (%I) ON %s TO %s%s', x.privilege_type, a.attname, "
        "t.q, " GRANTEE ", CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM t "
        "JOIN pg_attribute a ON a.attrelid = t.oid AND a.attacl IS NOT NULL, LATERAL "
        "aclexplode(a.attacl) AS x UNION ALL " COMMENTS ") r ORDER BY o, i");
}

void ddl_make_quiet(const char *name, const char *literal, struct buf *out)
{
    buf_printf(
        out,
        "DO $braid$ DECLARE s text; back text[]; BEGIN SELECT pg_catalog.array_agg("
        "pg_catalog.format('ALTER TABLE %%s ENABLE %%s TRIGGER %%I', %s, CASE g.tgenabled WHEN 'R' "
        "THEN 'REPLICA' WHEN 'A' THEN 'ALWAYS' ELSE '' END, g.tgname)) INTO back FROM "
        "pg_catalog.pg_trigger g WHERE g.tgrelid = %s::pg_catalog.regclass AND NOT g.tgisinternal "
        "AND g.tgenabled <> 'D'; ALTER TABLE %s DISABLE TRIGGER USER;",
        literal, literal, name);
}

void ddl_make_loud(struct buf *out)
{
    buf_text(out, "FOREACH s IN ARRAY coalesce(back, '{}') LOOP EXECUTE s; END LOOP; "
                  "END $braid$");
}
