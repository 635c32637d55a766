-- One moment, one server's view, one meaning of names, over every way to run a statement
SELECT count(DISTINCT now()) FROM facts;
SELECT DISTINCT now() = now() FROM users;
SELECT count(*) FROM (SELECT DISTINCT now() AS t FROM facts) q;
SELECT count(DISTINCT t) FROM (SELECT now() AS t FROM users u JOIN facts f ON f.n = u.age) q;
SELECT min(now()) = max(now()) FROM facts;
SELECT count(DISTINCT current_timestamp), count(DISTINCT current_date) FROM users;
SELECT bool_and(now() = transaction_timestamp()) FROM facts;
SELECT count(*) FROM facts a JOIN facts b ON a.k = b.k AND now() = now();
SELECT count(*) FROM users WHERE now() - now() = interval '0';
SELECT count(*) = count(random()) FROM facts;
SELECT count(*) FROM (SELECT random() AS r, k FROM facts) q WHERE r >= 0;
SELECT count(DISTINCT current_setting('TimeZone')) FROM facts;
SELECT count(DISTINCT current_database()), min(current_user), min(current_schema()) FROM facts;
SELECT count(DISTINCT pg_typeof(k)) FROM facts;
-- whole rows
SELECT f FROM facts f WHERE f.k < 4 ORDER BY f.k, f.seq;
SELECT m, u.id FROM marks m JOIN users u ON u.age = m.w + 20 ORDER BY m.k, m.tag, u.id LIMIT 5;
SELECT m::text FROM marks m JOIN users u ON u.age = m.w + 20 ORDER BY m.k, m.tag, u.id LIMIT 5;
SELECT row_to_json(m) FROM marks m ORDER BY m.k, m.tag LIMIT 3;
SELECT to_jsonb(m) || to_jsonb(u) FROM marks m JOIN users u ON u.age = m.w + 20 ORDER BY m.k, m.tag, u.id LIMIT 3;
SELECT json_agg(m ORDER BY m.k, m.tag) FROM marks m WHERE m.k < 8;
SELECT count(m) FROM marks m LEFT JOIN users u ON u.age = m.w;
SELECT count(u) FROM marks m LEFT JOIN users u ON u.age = m.w;
SELECT count(*) FROM marks m LEFT JOIN users u ON u.age = m.w WHERE u IS NULL;
SELECT count(*) FROM users u LEFT JOIN marks m ON m.w = u.age WHERE m IS NOT NULL;
SELECT (m).tag FROM marks m ORDER BY (m).k, (m).tag LIMIT 3;
SELECT count(DISTINCT m) FROM marks m;
SELECT m.* FROM marks m JOIN users u ON u.id = m.k ORDER BY m LIMIT 4;
SELECT q FROM (SELECT u.id, m.tag FROM users u JOIN marks m ON m.w = u.id) q ORDER BY q LIMIT 4;
SELECT users FROM users ORDER BY id LIMIT 1;
SELECT array_agg(m ORDER BY m.k, m.tag) FROM marks m WHERE m.k < 5;
-- names
SELECT g.grp, q.* FROM groups g LEFT JOIN LATERAL (SELECT m, u.id FROM marks m JOIN users u ON u.age = m.w + 20 ORDER BY m.k, m.tag, u.id LIMIT 5) q ON true WHERE g.grp < 2 ORDER BY 1, 3;
SELECT u.id, o.who, u.name FROM users u JOIN other.users o ON o.id = u.age ORDER BY 1;
SELECT users.id, o.id FROM users, other.users o WHERE o.id = users.age - 20 ORDER BY 1, 2;
SELECT public.users.id FROM public.users JOIN other.users o ON o.id = public.users.age - 20 ORDER BY 1;
SELECT t."Key Col", t."select", t."a""b", u.id FROM "Odd Table" t JOIN users u ON u.age = t."Key Col" ORDER BY 1, 4;
SELECT "select", count(*) FROM "Odd Table" GROUP BY "select" HAVING count(*) > 1 ORDER BY 1;
SELECT sum("a""b") + max("Key Col") FROM "Odd Table";
SELECT count(*) AS "count", sum(n) AS "sum", max(n) AS "select" FROM facts;
SELECT f.n AS "order", u.id AS "group" FROM facts f JOIN users u ON u.age = f.n ORDER BY "order", "group" LIMIT 3;
SELECT u.id AS k, f.k AS id FROM users u JOIN facts f ON f.n = u.age ORDER BY k, id LIMIT 4;
SELECT a.id, a.id, b.id FROM users a JOIN users b ON a.age = b.age AND a.id < b.id ORDER BY 1, 3 LIMIT 3;
SELECT * FROM (SELECT a.id, b.id FROM users a JOIN users b ON a.age = b.age AND a.id < b.id) q(x, y) ORDER BY x, y LIMIT 3;
SELECT * FROM (SELECT a.id, b.id FROM users a JOIN users b ON a.id = b.id) q ORDER BY 1 LIMIT 3;
SELECT id FROM (SELECT a.id, b.id FROM users a JOIN users b ON a.id = b.id) q;
SELECT id FROM users a JOIN users b ON a.age = b.age;
SELECT k FROM facts JOIN marks USING (k) JOIN users ON users.age = marks.w ORDER BY k LIMIT 3;
SELECT * FROM marks NATURAL JOIN (SELECT k, n FROM facts) f ORDER BY k, tag, n LIMIT 5;
SELECT k, tag, grp FROM facts FULL JOIN marks USING (k) WHERE grp = 3 OR grp IS NULL ORDER BY k, tag, grp LIMIT 20;
SELECT x.k FROM (facts JOIN marks USING (k)) AS x ORDER BY 1 LIMIT 3;
SELECT j.k FROM facts JOIN marks USING (k) AS j ORDER BY 1 LIMIT 3;
SELECT n AS k, count(*) FROM facts GROUP BY facts.k, n ORDER BY facts.k, 1 LIMIT 4;
SELECT -n AS n FROM facts ORDER BY n LIMIT 3;
SELECT -n AS n FROM facts ORDER BY n + 0 LIMIT 3;
WITH facts AS (SELECT 1 AS k) SELECT * FROM facts;
WITH facts AS (SELECT * FROM facts WHERE k < 3) SELECT count(*) FROM facts;
WITH a AS (SELECT k FROM facts), b AS (WITH a AS (SELECT 5 AS k) SELECT * FROM a) SELECT (SELECT count(*) FROM a), (SELECT k FROM b);
SELECT (WITH x AS (SELECT max(n) AS m FROM facts) SELECT m FROM x), count(*) FROM users;
-- whose aggregate is it
SELECT (SELECT sum(u.age) FROM groups LIMIT 1) FROM users u;
SELECT (SELECT count(u.id) FROM facts f WHERE f.k = 3 AND f.seq = 0) FROM users u;
SELECT grp, (SELECT max(f.n) FROM groups g WHERE g.grp = f.grp) FROM facts f GROUP BY grp ORDER BY grp;
SELECT u.active, (SELECT count(*) FROM facts f WHERE f.n > max(u.age)) FROM users u GROUP BY u.active ORDER BY 1;
SELECT u.active FROM users u GROUP BY u.active HAVING EXISTS (SELECT 1 FROM facts f WHERE f.n = count(u.id)) ORDER BY 1;
SELECT u.active, count(*) FROM users u GROUP BY u.active ORDER BY (SELECT count(*) FROM facts f WHERE f.flag = u.active), 1;
SELECT sum(n) OVER w, k FROM facts WINDOW w AS (PARTITION BY k) ORDER BY sum(n) OVER w NULLS FIRST, k, seq LIMIT 5;
-- rows out of nothing
SELECT k, generate_series(1, 2) FROM facts ORDER BY 1, 2, seq LIMIT 5;
SELECT generate_series(1, 2), count(*) FROM facts;
SELECT unnest(ARRAY[k, seq]) AS v FROM facts ORDER BY v LIMIT 5;
SELECT DISTINCT unnest(tags) FROM users ORDER BY 1;
SELECT unnest(tags) AS t, count(*) FROM users GROUP BY t ORDER BY t;
SELECT u.id, generate_series(1, f.seq) FROM users u JOIN facts f ON f.n = u.age ORDER BY 1, 2, f.k LIMIT 5;
SELECT (SELECT 1 WHERE false), count(*) FROM facts;
SELECT 1 FROM facts WHERE k = 5 AND k = 6 UNION ALL SELECT 2;
SELECT max(n) FROM facts WHERE false GROUP BY grp;
SELECT count(*) FROM facts WHERE false GROUP BY ();
SELECT count(*) FROM nothing n FULL JOIN users u ON n.id = u.id WHERE u.id IS NULL;
SELECT * FROM nothing a JOIN nothing b ON a.n = b.n;
SELECT avg(n), sum(amount), count(*) + 1, array_agg(t), string_agg(t, ',') FROM nothing;
SELECT rank() OVER (ORDER BY n) FROM nothing;
SELECT n FROM nothing UNION SELECT grp FROM facts WHERE false;
-- what is volatile is not the same twice; functions that give rows may give none
SELECT (SELECT random() FROM users WHERE id < 50 ORDER BY id LIMIT 1) = (SELECT random() FROM users WHERE id < 50 ORDER BY id LIMIT 1);
SELECT count(*) FROM (SELECT random() AS r FROM users LIMIT 9) a JOIN (SELECT random() AS r FROM users LIMIT 9) b ON a.r = b.r;
SELECT sum(random()) = sum(random()) FROM users;
SELECT count(*) FROM marks WHERE EXISTS (SELECT unnest(tags) FROM users WHERE tags = '{}');
SELECT EXISTS (SELECT generate_series(1, 0) FROM users);
-- the clock in the columns of sub-selects
SELECT count(DISTINCT q.n) FROM (SELECT id, now() AS n FROM users) q;
SELECT min(n) = max(n) FROM (SELECT id, now() AS n FROM users) q;
-- rows differ
SELECT n, count(*) FROM (SELECT id, now() AS n FROM users) q GROUP BY n;
-- rows differ
SELECT DISTINCT n FROM (SELECT id, now() AS n FROM users) q;
-- rows differ
SELECT DISTINCT 'now'::timestamptz FROM users;
-- rows differ
SELECT now() FROM users UNION SELECT now() FROM facts;
-- rows differ
SELECT n FROM (SELECT id, now() AS n FROM users) q UNION SELECT n FROM (SELECT k, now() AS n FROM facts) r;
-- rows differ
SELECT current_timestamp AS n FROM users ORDER BY n FETCH FIRST 1 ROW WITH TIES;
WITH q AS (SELECT id, now() AS n FROM users) SELECT count(DISTINCT n) FROM q;
SELECT DISTINCT max(now()) = now() FROM users GROUP BY id;
SELECT count(DISTINCT q.x) FROM (SELECT ('now'::text)::timestamptz AS x FROM users) q;
-- types that must survive being moved
SELECT k.c, length(k.c), k.c || '|', k.v, g.grp FROM kinds k JOIN groups g ON g.m = k.m ORDER BY k.id, g.grp;
SELECT k.c, l.id FROM kinds k JOIN ledger l ON l.m = k.m WHERE k.c = 'a' ORDER BY k.id, l.id LIMIT 5;
SELECT k.money2, k.num, k.f4, k.f8, k.bits, k.iv, u.id FROM kinds k JOIN users u ON u.age = k.id ORDER BY 1, 2, 7;
SELECT k.s, k.m, k.p, k.r, k.ip, k.by, k.jb, k.ta, u.id FROM kinds k JOIN users u ON u.age = k.id ORDER BY u.id, k.id;
SELECT k.j, k.ia, k.tm, k.tz, k.ts, k.d, k.u FROM kinds k JOIN users u ON u.age = k.id ORDER BY u.id, k.id;
SELECT a.si, b.id FROM scripts a JOIN users b ON b.age = a.id + 18 ORDER BY a.si, a.id, b.id;
SELECT a.si FROM scripts a JOIN users b ON b.age = a.id + 18 WHERE a.si < 'm' ORDER BY a.id, b.id;
SELECT max(a.si), min(a.sv) FROM scripts a JOIN users b ON b.age = a.id + 18;
SELECT a.si FROM scripts a JOIN scripts b ON a.si = b.si ORDER BY 1;
SELECT a.id FROM scripts a JOIN scripts b ON a.si < b.sv ORDER BY 1;
SELECT a.sc || a.si FROM scripts a JOIN users u ON u.age = a.id + 18 ORDER BY 1, a.id, u.id;
SELECT si, row_number() OVER (ORDER BY si, id) FROM scripts ORDER BY 2;
SELECT DISTINCT ON (left(si, 1)) si FROM scripts ORDER BY left(si, 1), si, id;
SELECT u.email, u.score, count(*) FROM users u JOIN facts f ON f.n = u.age GROUP BY u.email, u.score ORDER BY 1, 2 LIMIT 4;
SELECT email FROM users UNION ALL SELECT name FROM users ORDER BY 1 LIMIT 4;
SELECT v FROM kinds UNION SELECT email FROM users ORDER BY 1 LIMIT 4;
SELECT score FROM users UNION ALL SELECT val FROM facts ORDER BY 1 LIMIT 4;
SELECT score FROM users UNION ALL SELECT score FROM users ORDER BY 1 LIMIT 4;
SELECT 1 AS x FROM users UNION ALL SELECT 2.5 FROM facts ORDER BY 1 LIMIT 2;
SELECT NULL AS x FROM users UNION SELECT NULL FROM facts;
SELECT '1' AS x FROM users UNION SELECT 'a' FROM facts ORDER BY 1;
SELECT sum(q.x) FROM (SELECT n AS x FROM facts UNION ALL SELECT val FROM facts) q;
SELECT pg_typeof(q.x), count(*) FROM (SELECT n AS x FROM facts UNION ALL SELECT 1.5) q GROUP BY 1;
SELECT pg_typeof(q.x) FROM (SELECT 'a' AS x FROM users u JOIN facts f ON f.n = u.age) q LIMIT 1;
SELECT q.x || 'b' FROM (SELECT 'a' AS x FROM users u JOIN facts f ON f.n = u.age) q LIMIT 1;
SELECT q.x FROM (SELECT NULL AS x, u.id FROM users u JOIN facts f ON f.n = u.age) q LIMIT 1;
-- settings hold wherever a statement is finished
SET TimeZone = 'Asia/Kathmandu';
SELECT f.at::text, date_trunc('day', f.at), u.id FROM facts f JOIN users u ON u.age = f.n ORDER BY f.at, u.id, f.k LIMIT 4;
SELECT f.at::date AS d, count(*) + 1 FROM facts f GROUP BY d ORDER BY d LIMIT 4;
SELECT count(*) FROM facts f JOIN users u ON u.age = f.n WHERE f.at < '2026-03-10 12:00';
SET DateStyle = 'SQL, DMY';
SELECT f.at, f.day, u.joined FROM facts f JOIN users u ON u.age = f.n ORDER BY f.at, u.id, f.k LIMIT 4;
SELECT count(*) FROM facts f JOIN users u ON u.age = f.n WHERE f.day < '05.03.2026';
SELECT max(day)::text || '!' FROM facts;
SET IntervalStyle = 'sql_standard';
SELECT iv, count(*) + 0 FROM kinds GROUP BY iv ORDER BY iv;
SELECT k.iv FROM kinds k JOIN users u ON u.age = k.id ORDER BY k.iv, u.id LIMIT 4;
SET bytea_output = 'escape';
SELECT k.by, u.id FROM kinds k JOIN users u ON u.age = k.id ORDER BY 2, k.id LIMIT 4;
SET extra_float_digits = 0;
SELECT f.x / 3, avg(f.x) OVER () FROM facts f JOIN users u ON u.age = f.n ORDER BY f.k, f.seq, u.id LIMIT 4;
SET search_path = other, public;
SELECT u.who, p.name FROM users u JOIN public.users p ON p.age = u.id + 20 ORDER BY u.id, p.id LIMIT 4;
SELECT count(*) FROM users a JOIN users b ON a.who < b.who;
RESET ALL;
BEGIN;
SET LOCAL TimeZone = 'America/Caracas';
SELECT f.at FROM facts f JOIN users u ON u.age = f.n ORDER BY f.at, u.id, f.k LIMIT 2;
SELECT max(at)::text FROM facts;
COMMIT;
SELECT f.at FROM facts f JOIN users u ON u.age = f.n ORDER BY f.at, u.id, f.k LIMIT 2;
-- errors are PostgreSQL's
SELECT u.id FROM users u JOIN facts f ON f.n = u.age WHERE nothing = 1;
SELECT id FROM users u JOIN kinds k ON k.small = u.age;
SELECT u.id FROM users u JOIN no_table f ON f.n = u.age;
SELECT u.id FROM users u JOIN facts f ON f.n = u.name;
SELECT sum(u.name) FROM users u JOIN facts f ON f.n = u.age;
SELECT u.id, count(*) FROM users u JOIN facts f ON f.n = u.age;
SELECT (SELECT k FROM facts WHERE grp = u.age % 8) FROM users u;
SELECT 1 / (f.n - f.n) FROM users u JOIN facts f ON f.n = u.age;
SELECT u.name::int FROM users u JOIN facts f ON f.n = u.age;
SELECT max(n) / (count(*) - count(*)) FROM facts;
SELECT grp FROM facts GROUP BY grp HAVING 1 / (count(*) - count(*)) > 1;
SELECT DISTINCT u.id FROM users u JOIN facts f ON f.n = u.age ORDER BY f.k;
SELECT u.id FROM users u JOIN facts f ON f.n = u.age ORDER BY 2;
SELECT u.id FROM users u JOIN facts f ON f.n = u.age LIMIT -1;
SELECT u.id FROM users u JOIN facts f ON f.n = u.age AND sum(f.n) > 1;
SELECT id FROM users UNION SELECT name FROM names;
SELECT id, age FROM users EXCEPT SELECT k FROM facts;
SELECT nextval('no_sequence') FROM facts f JOIN users u ON u.age = f.n;
SELECT no_function(u.id) FROM users u JOIN facts f ON f.n = u.age;
-- refused
SELECT u.id FROM users u JOIN facts f ON f.n = u.age FOR UPDATE OF x;
WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r JOIN users u ON u.id = r.i WHERE u.nothing > 1) SELECT * FROM r;
SELECT sum(k::int * 100000000) FROM facts;
SELECT n::smallint * 1000::smallint FROM facts WHERE n > 40;
SELECT row_number() OVER (ORDER BY n) FROM facts WHERE row_number() OVER (ORDER BY n) = 1;
-- params 20, 40
SELECT u.id, f.k FROM users u JOIN facts f ON f.n = u.age WHERE u.age > %s AND f.n < %s ORDER BY 1, 2, f.seq;
-- params 20
SELECT u.id, %s::int + f.n FROM users u JOIN facts f ON f.n = u.age ORDER BY 1, 2, f.k, f.seq LIMIT 3;
-- params 'x', None
SELECT u.id, %s::text, %s::int FROM users u JOIN facts f ON f.n = u.age ORDER BY 1, f.k, f.seq LIMIT 3;
-- params 2
SELECT grp, count(*) + %s FROM facts GROUP BY grp ORDER BY grp;
-- params 10
SELECT grp, sum(n) FROM facts GROUP BY grp HAVING count(*) > %s ORDER BY grp;
-- params 3
SELECT k, sum(n) OVER (ORDER BY k, seq ROWS BETWEEN %s PRECEDING AND CURRENT ROW) FROM facts ORDER BY k, seq;
-- params 4, 2
SELECT u.id FROM users u JOIN facts f ON f.n = u.age ORDER BY 1, f.k, f.seq LIMIT %s OFFSET %s;
-- params [5, 6, 30]
SELECT u.id FROM users u JOIN facts f ON f.n = u.age WHERE u.age = ANY (%s) ORDER BY 1, f.k, f.seq;
-- params 5
WITH RECURSIVE r(i) AS (SELECT %s::bigint UNION SELECT e.b FROM edges e JOIN r ON e.a = r.i) SELECT * FROM r ORDER BY 1;
-- temporary tables
CREATE TEMP TABLE mine (id int, t text);
INSERT INTO mine VALUES (20, 'twenty'), (30, 'thirty');
SELECT m.t, u.id FROM mine m JOIN users u ON u.age = m.id ORDER BY 1, 2;
SELECT count(*) FROM mine;
-- refused
CREATE TEMP TABLE groups (grp int, title text);
SELECT f.k, g.title FROM facts f LEFT JOIN public.groups g ON g.grp = f.grp WHERE f.k < 4 ORDER BY f.k, f.seq;
DROP TABLE mine;
SELECT count(*) FROM groups;
SELECT count(*) FROM pg_class c JOIN users u ON u.name = c.relname;
SELECT count(*) FROM information_schema.tables t JOIN names n ON n.name = t.table_name::text;
SELECT relname FROM pg_class WHERE relname LIKE 'braid_w%';
-- rows of several shards merged for the second of two moves
SELECT t1.m, t1.d FROM kinds t1 JOIN facts t2 ON t1.id = t2.k WHERE t2.m = 'ok' AND t2.grp = 1
UNION ALL SELECT t3.m, t7.day FROM groups t3 JOIN (SELECT array_agg(t5.k ORDER BY t5.k) AS c0, count(*) AS c1 FROM facts t5
JOIN facts t6 ON t5.k = t6.k GROUP BY t5.k ORDER BY 2) t4 ON true JOIN facts t7 ON t3.grp = t7.k;
SELECT count(*) FROM (SELECT k FROM facts ORDER BY n, k, seq LIMIT 20) a FULL JOIN (SELECT id FROM users ORDER BY age DESC, id LIMIT 15) b ON a.k = b.id;
-- one clock, also where a word stands for it
SELECT count(DISTINCT timestamptz(text 'now')), count(DISTINCT '{now}'::timestamptz[]), count(DISTINCT timestamptz_in('now', 0, -1)) FROM facts;
SELECT count(*) FROM facts WHERE at IS NULL GROUP BY coalesce(at, 'now');
SELECT count(*) FROM (SELECT DISTINCT CASE WHEN n > 3 THEN 'now' ELSE at END FROM facts WHERE at IS NULL) q;
SELECT CASE WHEN n > 3 THEN 'today' ELSE 'later' END AS w, count(*) FROM facts GROUP BY 1;
-- the temporary schema of a workspace is not the client's
SELECT u.id, current_schemas(false) FROM users u JOIN facts f ON f.n = u.age WHERE u.id < 5;
-- refused
-- not on one shard
SELECT u.id, current_schemas(true) FROM users u JOIN facts f ON f.n = u.age WHERE u.id < 5;
-- only plain
EXPLAIN SELECT count(*) FROM users WHERE age = $1;
-- only plain
EXPLAIN ANALYZE SELECT u.id FROM users u JOIN facts f ON f.n = u.age WHERE u.id < $1;
-- only plain
EXPLAIN SELECT * FROM users WHERE id = $1;
