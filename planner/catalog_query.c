/*
 * The queries whose rows make a catalog, in the order they run: all in one transaction, without
 * superuser, on PostgreSQL 13 to 18 and in databases that never heard of us. What differs between
 * versions is read through to_jsonb(row).
 */

#include "base/check.h"
#include "planner/catalog_inner.h"
#include "planner/planner.h"

/* Whether the text `sql` of an expression or view calls a function whose name some volatile
 * function has: PostgreSQL prints every call as name(...). */
#define CALLS_VOLATILE(sql)                                                             \
    "EXISTS (SELECT FROM pg_catalog.regexp_matches(" sql ", "                           \
    "'([[:alnum:]_$]+)\"?[[:space:]]*\\(', 'g') AS m(m) JOIN pg_catalog.pg_proc vp ON " \
    "vp.proname = m.m[1] WHERE vp.provolatile = 'v')"
/* Volatile functions that something depends on: `class` is the table of the dependent. */
#define DEPENDS_ON_VOLATILE(class)                                                            \
    "pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.refobjid AND "             \
    "p.provolatile = 'v' WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND " \
    "d.classid = 'pg_catalog." class "'::pg_catalog.regclass"

/* Not the relations of other sessions' temporary schemas, nor toast. */
#define USER_SCHEMAS "n.nspname !~ '^pg_(toast|temp)' "
/* Trigger `g` keeps a global unique index: a statement need not know of it. */
#define OUR_TRIGGER                                                                  \
    "EXISTS (SELECT FROM pg_catalog.pg_proc gp JOIN pg_catalog.pg_namespace gn ON "  \
    "gn.oid = gp.pronamespace WHERE gp.oid = g.tgfoid AND gn.nspname = 'braid' AND " \
    "gp.proname LIKE 'unique\\_%')"
/* Relations whose rules call braid.materialized(). */
#define FILLED_BY_US                                                                        \
    "SELECT w.ev_class FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend wd ON "       \
    "wd.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND wd.objid = w.oid AND "   \
    "wd.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass JOIN pg_catalog.pg_proc wp " \
    "ON wp.oid = wd.refobjid JOIN pg_catalog.pg_namespace wn ON wn.oid = wp.pronamespace "  \
    "WHERE wn.nspname = 'braid' AND wp.proname = 'materialized'"
/* Whether collation `co` of provider, name and locale compares as memcmp does. */
#define BYTEWISE(j)                                              \
    "(coalesce(" j "->>'collprovider', 'c') IN ('c', 'b') AND "  \
    "coalesce(" j "->>'colllocale', " j "->>'collcollate', '') " \
    "IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8'))"

const struct catalog_query_row catalog_query_rows[] = {
    [Q_DATABASE] = {"SELECT (coalesce(j->>'datlocprovider', 'c') = 'c' AND j->>'datcollate' IN "
                    "('C', 'POSIX', 'C.UTF-8', 'C.utf8') OR j->>'datlocprovider' = 'b' AND "
                    "j->>'datlocale' IN ('C', 'C.UTF-8'))::int "
                    "FROM (SELECT pg_catalog.to_jsonb(d) AS j FROM pg_catalog.pg_database d "
                    "WHERE d.datname = pg_catalog.current_database()) q",
                    1},
    [Q_RELATIONS] =
        {"SELECT c.oid, n.nspname, c.relname, c.relkind, c.relrowsecurity::int, "
         "(c.relhastriggers AND EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE "
         "g.tgrelid = c.oid AND NOT g.tgisinternal AND NOT " OUR_TRIGGER
         "))::int, c.relhasrules::int, x.indrelid "
         "FROM pg_catalog.pg_class c "
         "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
         "LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid "
         "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I') AND " USER_SCHEMAS
         "AND (c.relkind NOT IN ('i', 'I') OR n.nspname !~ '^(pg_|information_schema)')",
         8},
    [Q_COLUMNS] =
        {"SELECT a.attrelid, a.attname, a.attnum, a.atttypid, a.atttypmod, "
         "CASE WHEN a.attcollation = 0 THEN 1 WHEN co.collname = 'default' AND "
         "co.collnamespace = 'pg_catalog'::pg_catalog.regnamespace THEN 2 "
         "WHEN " BYTEWISE(
             "pg_catalog.to_jsonb(co)") " THEN 1 ELSE 0 END, "
                                        "coalesce(co.collisdeterministic, true)::int, a.attnotnull::int, "
                                        "(a.attgenerated <> '')::int, "
                                        "CASE WHEN a.attidentity <> '' THEN 'q' WHEN d.adbin IS NULL THEN 'n' "
                                        "WHEN d.adbin::text LIKE '{CONST%' THEN 'c' "
                                        "WHEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE '%nextval(%' THEN 'q' "
                                        "ELSE 'e' END "
                                        "FROM pg_catalog.pg_attribute a "
                                        "JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
                                        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                                        "LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation "
                                        "LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND "
                                        "d.adnum = a.attnum AND a.atthasdef "
                                        "WHERE a.attnum > 0 AND NOT a.attisdropped AND " USER_SCHEMAS
                                        "AND n.nspname NOT IN ('pg_catalog', 'information_schema') "
                                        "AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY a.attrelid, a.attnum",
         10},
    [Q_DEPENDS] = {"SELECT DISTINCT r.ev_class, d.refobjid FROM pg_catalog.pg_rewrite r "
                   "JOIN pg_catalog.pg_depend d ON d.objid = r.oid AND "
                   "d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND "
                   "d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass "
                   "WHERE r.ev_class <> d.refobjid AND r.ev_class >= 16384",
                   2},
    [Q_INHERITS] = {"SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits", 2},
    [Q_UNIQUES] =
        {"SELECT x.indrelid, x.indkey::text, x.indisprimary::int, c.relname, "
         "x.indnatts, coalesce((pg_catalog.to_jsonb(x)->>'indnkeyatts')::int, x.indnatts) "
         "FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid "
         "WHERE (x.indisunique OR x.indisexclusion) AND x.indrelid >= 16384",
         6},
    [Q_FOREIGNS] = {"SELECT conrelid, confrelid, conname FROM pg_catalog.pg_constraint "
                    "WHERE contype = 'f'",
                    3},
    /* A default argument is evaluated by the caller; an aggregate is as volatile as what it calls.
     */
    [Q_FUNCTIONS] =
        {"SELECT n.nspname, p.proname, "
         "CASE WHEN p.prokind = 'a' AND EXISTS (SELECT FROM pg_catalog.pg_aggregate a "
         "JOIN pg_catalog.pg_proc f ON f.oid IN (a.aggtransfn, a.aggfinalfn, "
         "a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, "
         "a.aggminvtransfn, a.aggmfinalfn) WHERE a.aggfnoid = p.oid AND "
         "f.provolatile = 'v') THEN 'v' "
         "WHEN p.pronargdefaults > 0 AND " CALLS_VOLATILE(
             "pg_catalog.pg_get_function_arguments(p.oid)") " THEN 'v' ELSE p.provolatile END, p.prokind, "
                                                            "(l.lanname IN ('c', 'internal'))::int FROM pg_catalog.pg_proc p "
                                                            "JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
                                                            "JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.oid >= 16384",
         5},
    [Q_OPERATORS] = {"SELECT count(*) FROM pg_catalog.pg_operator WHERE oid >= 16384 AND "
                     "oprname IN ('=', '<', '>', '<=', '>=', '<>') AND "
                     "oprleft < 16384 AND oprright < 16384",
                     1},
    /* What sessions start with, where the planner or the mergers must know it. */
    [Q_SETTINGS] =
        {"SELECT coalesce(r.rolname, ''), CASE WHEN s.setrole <> 0 THEN 2 ELSE 0 END + "
         "CASE WHEN s.setdatabase <> 0 THEN 1 ELSE 0 END, "
         "pg_catalog.split_part(v.v, '=', 1), "
         "pg_catalog.substr(v.v, pg_catalog.strpos(v.v, '=') + 1) "
         "FROM pg_catalog.pg_db_role_setting s "
         "LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole "
         "LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase "
         "CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS v(v) "
         "WHERE pg_catalog.split_part(v.v, '=', 1) IN ('search_path', 'extra_float_digits') AND "
         "(s.setdatabase = 0 OR d.datname = pg_catalog.current_database()) "
         "UNION ALL SELECT '', 0, name, setting FROM pg_catalog.pg_settings WHERE "
         "name IN ('search_path', 'extra_float_digits') AND "
         "source IN ('default', 'configuration file')",
         4},
    [Q_DECLARED] = {"SELECT d.description FROM pg_catalog.pg_type t "
                    "JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
                    "JOIN pg_catalog.pg_description d ON d.objoid = t.oid AND "
                    "d.classoid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objsubid = 0 "
                    "WHERE n.nspname = 'braid' AND t.typname LIKE 'table\\_%' ORDER BY t.oid",
                    1},
    [Q_PLACEMENT] = {"SELECT pg_catalog.obj_description(n.oid, 'pg_namespace') "
                     "FROM pg_catalog.pg_namespace n WHERE n.nspname = 'braid' AND "
                     "pg_catalog.obj_description(n.oid, 'pg_namespace') LIKE 'pgbraid shards:%'",
                     1},
    /*
     * What a replica must not be asked: views, row security and checks of domains that call
     * volatile functions, views over what the server counts for itself, unlogged tables; casts,
     * types and operators that are volatile, which may be called where no name of theirs stands.
     */
    [Q_ON_PRIMARY] =
        {"WITH t AS (SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid) AS sql, 'r' AS kind "
         "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
         "WHERE c.relkind = 'v' AND n.nspname !~ '^(pg_|information_schema)' "
         "UNION ALL SELECT polrelid, pg_catalog.concat(pg_catalog.pg_get_expr(polqual, polrelid)), "
         "'r' FROM pg_catalog.pg_policy "
         "UNION ALL SELECT oid, pg_catalog.pg_get_constraintdef(oid), 'x' "
         "FROM pg_catalog.pg_constraint WHERE contypid >= 16384) "
         "SELECT kind, CASE kind WHEN 'r' THEN oid END, CASE kind WHEN 'x' THEN "
         "'a domain checks with a volatile function' END FROM t WHERE "
         "kind = 'r' AND sql ~ '\\m(pg_|information_schema)' OR " CALLS_VOLATILE(
             "sql") " UNION ALL SELECT 'r', r.ev_class, NULL FROM pg_catalog.pg_rewrite r WHERE r.oid IN "
                    "(SELECT d.objid FROM " DEPENDS_ON_VOLATILE(
                        "pg_rewrite") ") "
                                      "UNION ALL SELECT 'r', r.polrelid, NULL FROM pg_catalog.pg_policy r WHERE r.oid IN "
                                      "(SELECT d.objid FROM " DEPENDS_ON_VOLATILE(
                                          "pg_policy") ") "
                                                       "UNION ALL SELECT 'x', NULL, 'a domain checks with a volatile function' "
                                                       "FROM pg_catalog.pg_constraint r WHERE r.contypid >= 16384 AND r.oid IN "
                                                       "(SELECT d.objid FROM " DEPENDS_ON_VOLATILE(
                                                           "pg_constraint") ") "
                                                                            "UNION ALL SELECT 'r', oid, NULL FROM pg_catalog.pg_class WHERE relpersistence = 'u' AND "
                                                                            "relkind IN ('r', 'p', 'm') "
                                                                            "UNION ALL SELECT CASE WHEN o.oprname IN ('=', '<', '>', '<=', '>=', '<>') THEN 'x' "
                                                                            "ELSE 'o' END, NULL, CASE WHEN o.oprname IN ('=', '<', '>', '<=', '>=', '<>') THEN "
                                                                            "'a comparison operator is volatile' ELSE o.oprname::text END "
                                                                            "FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode "
                                                                            "WHERE o.oid >= 16384 AND p.provolatile = 'v' "
                                                                            "UNION ALL SELECT 'x', NULL, 'a cast function is volatile: ' || p.proname "
                                                                            "FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc "
                                                                            "WHERE c.oid >= 16384 AND p.provolatile = 'v' "
                                                                            "UNION ALL SELECT 'x', NULL, 'functions of a type are volatile: ' || t.typname "
                                                                            "FROM pg_catalog.pg_type t JOIN pg_catalog.pg_proc p ON p.oid IN "
                                                                            "(t.typinput, t.typoutput, t.typreceive, t.typsend) "
                                                                            "WHERE t.oid >= 16384 AND p.oid >= 16384 AND p.provolatile = 'v'",
         3},
    /* From here on whatever PostgreSQL prints names everything with its schema. */
    [Q_QUALIFY] = {"SELECT pg_catalog.set_config('search_path', '', true)", 1},
    [Q_VIEWS] = {"SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.pg_class c "
                 "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE (c.relkind = 'v' "
                 "OR c.relkind = 'm' AND c.oid IN (" FILLED_BY_US ")) "
                 "AND c.oid >= 16384 AND " USER_SCHEMAS,
                 2},
    [Q_BODIES] = {"SELECT n.nspname, p.proname, pg_catalog.pg_get_functiondef(p.oid) "
                  "FROM pg_catalog.pg_proc p "
                  "JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
                  "JOIN pg_catalog.pg_language l ON l.oid = p.prolang "
                  "WHERE p.oid >= 16384 AND p.provolatile <> 'i' AND p.prokind IN ('f', 'p') AND "
                  "l.lanname IN ('sql', 'plpgsql') AND pg_catalog.octet_length(p.prosrc) < 65536",
                  3},
    [Q_CALLS] =
        {"WITH f AS (SELECT p.oid, n.nspname, p.proname FROM pg_catalog.pg_proc p "
         "JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
         "JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.oid >= 16384 AND "
         "p.provolatile <> 'i' AND l.lanname NOT IN ('c', 'internal')), "
         "u AS (SELECT d.classid, d.objid, f.* FROM f JOIN pg_catalog.pg_depend d ON "
         "d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid = f.oid) "
         "SELECT 'd', a.adrelid, '', u.nspname, u.proname FROM u JOIN pg_catalog.pg_attrdef a ON "
         "a.oid = u.objid AND u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass "
         "UNION ALL SELECT 'c', c.conrelid, '', u.nspname, u.proname FROM u "
         "JOIN pg_catalog.pg_constraint c ON c.oid = u.objid AND c.conrelid <> 0 AND "
         "u.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass "
         "UNION ALL SELECT 'p', y.polrelid, '', u.nspname, u.proname FROM u "
         "JOIN pg_catalog.pg_policy y ON y.oid = u.objid AND "
         "u.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass "
         "UNION ALL SELECT CASE WHEN g.tgtype & 3 = 3 THEN 'b' ELSE 't' END, g.tgrelid, '', f.nspname, f.proname FROM f "
         "JOIN pg_catalog.pg_trigger g ON g.tgfoid = f.oid AND NOT g.tgisinternal AND "
         "NOT (f.nspname = 'braid' AND f.proname LIKE 'unique\\_%') "
         "UNION ALL SELECT 'o', NULL, o.oprname, f.nspname, f.proname FROM f "
         "JOIN pg_catalog.pg_operator o ON o.oprcode = f.oid "
         "UNION ALL SELECT 'a', NULL, p.proname, f.nspname, f.proname FROM f "
         "JOIN pg_catalog.pg_aggregate a ON f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, "
         "a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn) "
         "JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid "
         "UNION ALL SELECT 'k', NULL, '', f.nspname, f.proname FROM f "
         "JOIN pg_catalog.pg_cast k ON k.castfunc = f.oid "
         "UNION ALL SELECT 'k', NULL, '', u.nspname, u.proname FROM u "
         "JOIN pg_catalog.pg_constraint c ON c.oid = u.objid AND c.contypid <> 0 AND "
         "u.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass",
         5},
    [Q_POLICIES] = {"SELECT polrelid, pg_catalog.pg_get_expr(polqual, polrelid), "
                    "pg_catalog.pg_get_expr(polwithcheck, polrelid) FROM pg_catalog.pg_policy",
                    3},
    [Q_SIZES] = {"SELECT c.oid, c.reltuples::bigint FROM pg_catalog.pg_class c "
                 "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                 "WHERE c.reltuples > 0 AND c.oid >= 16384 AND c.relkind IN ('r', 'p', 'm', 'f') "
                 "AND " USER_SCHEMAS,
                 2},
    [Q_ENUMS] = {"SELECT t.oid, e.enumlabel FROM pg_catalog.pg_enum e "
                 "JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid OR (t.typtype = 'd' AND "
                 "t.typbasetype = e.enumtypid) ORDER BY 1, e.enumsortorder",
                 2},
    /* Table 0 is the database itself. Collations of the C library are all of one version. */
    [Q_LOCALES] =
        {"SELECT 0, 0, j->>'datcollate', pg_catalog.current_setting('server_encoding'), "
         "coalesce((SELECT max(pg_catalog.pg_collation_actual_version(co.oid)) "
         "FROM pg_catalog.pg_collation co WHERE co.collprovider = 'c'), j->>'datcollversion') "
         "FROM (SELECT pg_catalog.to_jsonb(d) AS j FROM pg_catalog.pg_database d "
         "WHERE d.datname = pg_catalog.current_database()) q "
         "WHERE coalesce(j->>'datlocprovider', 'c') = 'c' "
         "UNION ALL SELECT a.attrelid::bigint, a.attnum, "
         "CASE WHEN co.oid = 100 THEN NULL ELSE co.collcollate END, "
         "CASE WHEN co.oid = 100 THEN 'default' ELSE "
         "pg_catalog.current_setting('server_encoding') END, "
         "pg_catalog.pg_collation_actual_version(co.oid) "
         "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
         "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
         "JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation "
         "WHERE a.attnum > 0 AND NOT a.attisdropped AND " USER_SCHEMAS
         "AND n.nspname NOT IN ('pg_catalog', 'information_schema') "
         "AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND (co.oid = 100 OR "
         "co.collprovider IN ('c', 'b') AND co.collisdeterministic)",
         5},
    /* What a column holds that INSERT does not name, and types that only have a name; names outside
     * of pg_catalog come with their schema. The types left out are those that column_cast() knows
     * by their OIDs. */
    [Q_DEFAULTS] =
        {"SELECT a.attrelid, a.attnum, a.attidentity, tn.nspname, t.typname, "
         "CASE WHEN a.attidentity <> '' THEN (SELECT 'nextval(' || pg_catalog.quote_literal("
         "pg_catalog.quote_ident(sn.nspname) || '.' || pg_catalog.quote_ident(s.relname)) || "
         "'::regclass)' FROM pg_catalog.pg_depend i JOIN pg_catalog.pg_class s ON s.oid = i.objid "
         "AND s.relkind = 'S' JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace "
         "WHERE i.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND "
         "i.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.refobjid = a.attrelid "
         "AND i.refobjsubid = a.attnum AND i.deptype = 'i') "
         "WHEN a.attgenerated = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END "
         "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
         "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
         "JOIN pg_catalog.pg_type t ON t.oid = a.atttypid "
         "JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace "
         "LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND "
         "a.atthasdef WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND "
         "n.nspname NOT IN ('pg_catalog', 'information_schema') AND " USER_SCHEMAS
         "AND (a.atthasdef OR a.attidentity <> '' OR a.atttypid NOT IN (16, 17, 20, 21, 23, 25, "
         "700, 701, 1042, 1043, 1082, 1083, 1114, 1184, 1186, 1700, 2950, 3802))",
         6},
    [Q_GLOBALS] = {"SELECT DISTINCT g.tgrelid, pg_catalog.substr(p.proname, 8) "
                   "FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid "
                   "JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace "
                   "WHERE n.nspname = 'braid' AND p.proname LIKE 'unique\\_%' AND "
                   "p.proname <> 'unique_check' AND NOT g.tgisinternal UNION ALL "
                   "SELECT 0, pg_catalog.substr(t.typname, 8) FROM pg_catalog.pg_type t "
                   "JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace "
                   "WHERE n.nspname = 'braid' AND t.typtype = 'd' AND t.typname LIKE 'global\\_%'",
                   2},
    /* Triggers of users; foreign keys that do something ON UPDATE or ON DELETE, by what they refer
     * to; tables with rights on columns; tables with policies that are not for all commands. */
    [Q_TRAITS] = {"SELECT g.tgrelid, 't', g.tgtype FROM pg_catalog.pg_trigger g WHERE "
                  "NOT g.tgisinternal AND NOT " OUR_TRIGGER " UNION ALL "
                  "SELECT confrelid, 'u', 0 FROM pg_catalog.pg_constraint WHERE contype = 'f' AND "
                  "(confupdtype NOT IN ('a', 'r') OR confdeltype NOT IN ('a', 'r')) UNION ALL "
                  "SELECT DISTINCT attrelid, 'g', 0 FROM pg_catalog.pg_attribute WHERE "
                  "attrelid >= 16384 AND attacl IS NOT NULL UNION ALL "
                  "SELECT polrelid, 'p', 0 FROM pg_catalog.pg_policy WHERE polcmd <> '*'",
                  3},
};

const size_t catalog_queries_count = Q_COUNT;
_Static_assert((int)Q_COUNT <= (int)CATALOG_QUERIES_MAX, "the loader has room for so many");

const char *catalog_query(size_t index)
{
    check(index < Q_COUNT);
    return catalog_query_rows[index].sql;
}
