-- ORDER BY of every type, LIMIT, OFFSET, WITH TIES
SELECT small, id FROM kinds ORDER BY small, id;
SELECT big, id FROM kinds ORDER BY big DESC, id;
SELECT num, id FROM kinds ORDER BY num, id;
SELECT num, id FROM kinds ORDER BY num DESC NULLS LAST, id LIMIT 9;
SELECT money2, id FROM kinds ORDER BY money2 NULLS FIRST, id;
SELECT f4, id FROM kinds ORDER BY f4, id;
SELECT f8, id FROM kinds ORDER BY f8 DESC, id;
SELECT t, id FROM kinds ORDER BY t, id;
SELECT t, id FROM kinds ORDER BY t COLLATE "C" DESC, id;
SELECT t, id FROM kinds ORDER BY t COLLATE "en-x-icu", id;
SELECT t, id FROM kinds ORDER BY t COLLATE "de-x-icu" DESC NULLS LAST, id LIMIT 11;
SELECT t, id FROM kinds ORDER BY t COLLATE "POSIX", id;
SELECT v, id FROM kinds ORDER BY v, id;
SELECT c, id FROM kinds ORDER BY c, id;
SELECT c || '|', id FROM kinds ORDER BY c || '|', id;
SELECT b, id FROM kinds ORDER BY b DESC, id;
SELECT d, id FROM kinds ORDER BY d, id;
SELECT ts, id FROM kinds ORDER BY ts DESC, id;
SELECT tz, id FROM kinds ORDER BY tz, id;
SELECT tm, id FROM kinds ORDER BY tm, id;
SELECT iv, id FROM kinds ORDER BY iv, id;
SELECT u, id FROM kinds ORDER BY u, id;
SELECT by, id FROM kinds ORDER BY by, id;
SELECT jb, id FROM kinds ORDER BY jb, id;
SELECT j FROM kinds ORDER BY j;
SELECT j, id FROM kinds ORDER BY j::text, id;
SELECT ia, id FROM kinds ORDER BY ia, id;
SELECT ta, id FROM kinds ORDER BY ta DESC, id;
SELECT m, id FROM kinds ORDER BY m, id;
SELECT m, id FROM kinds ORDER BY m DESC NULLS LAST, id LIMIT 7 OFFSET 5;
SELECT r, id FROM kinds ORDER BY r, id;
SELECT ip, id FROM kinds ORDER BY ip, id;
SELECT bits, id FROM kinds ORDER BY bits, id;
SELECT p, id FROM kinds ORDER BY p, id;
SELECT s, id FROM kinds ORDER BY s, id;
SELECT kinds FROM kinds WHERE id IN (1, 2, 3) ORDER BY id;
SELECT id FROM kinds ORDER BY ROW(b, id);
-- refused
SELECT id FROM kinds ORDER BY (b, m, id) DESC LIMIT 5;
SELECT si, id FROM scripts ORDER BY si, id;
SELECT sv, id FROM scripts ORDER BY sv DESC, id;
SELECT sc, id FROM scripts ORDER BY sc, id;
SELECT s, id FROM scripts ORDER BY s, id;
SELECT s, id FROM scripts ORDER BY lower(s), id;
SELECT s, id FROM scripts ORDER BY upper(si), id;
SELECT s, id FROM scripts ORDER BY length(s), octet_length(s), id;
SELECT s, id FROM scripts ORDER BY normalize(s), id;
SELECT id FROM scripts WHERE s = si ORDER BY 1;
SELECT id FROM scripts WHERE si < 'b' ORDER BY id;
SELECT id FROM scripts ORDER BY si || sv;
SELECT id FROM scripts WHERE s LIKE '%é%' OR s LIKE U&'e\0301%' ORDER BY id;
SELECT id, n, val FROM (SELECT k AS id, n, val FROM facts) q ORDER BY val NULLS FIRST, id, n LIMIT 10;
SELECT k, seq FROM facts ORDER BY n + coalesce(grp, 0), k, seq;
SELECT k, seq FROM facts ORDER BY CASE WHEN flag THEN n ELSE -n END NULLS FIRST, k, seq LIMIT 20;
SELECT k, seq FROM facts ORDER BY sub IS NULL, sub, k, seq OFFSET 150;
SELECT k AS seq, seq AS k FROM facts ORDER BY seq, k LIMIT 10;
SELECT k AS seq, seq AS k FROM facts ORDER BY facts.seq, facts.k LIMIT 10;
SELECT -k AS k FROM facts ORDER BY k, seq LIMIT 10;
SELECT -k AS k FROM facts ORDER BY k + 0, seq LIMIT 10;
SELECT k, n FROM facts ORDER BY 2 DESC NULLS LAST, 1, seq LIMIT 10;
SELECT k, n FROM facts ORDER BY 3;
SELECT k, n FROM facts ORDER BY 'n', k, seq LIMIT 3;
SELECT k, n FROM facts ORDER BY 1 + 1, k, seq LIMIT 3;
SELECT k FROM facts ORDER BY n USING >, k, seq LIMIT 5;
SELECT k FROM facts ORDER BY n USING <, k USING >, seq LIMIT 5;
SELECT * FROM facts ORDER BY k, seq LIMIT 5;
SELECT f.*, f.n * 2 AS twice FROM facts f ORDER BY twice NULLS FIRST, k, seq LIMIT 5;
SELECT *, 1 AS one FROM marks ORDER BY tag, k LIMIT 5;
SELECT n, n FROM facts ORDER BY n, k, seq LIMIT 5;
SELECT n AS x, grp AS x FROM facts ORDER BY x;
-- unordered
SELECT n, k, seq FROM facts ORDER BY n FETCH FIRST 5 ROWS WITH TIES;
-- unordered
SELECT grp FROM facts ORDER BY grp FETCH FIRST 3 ROWS WITH TIES;
-- unordered
-- rows differ
SELECT grp, sub FROM facts ORDER BY grp DESC NULLS LAST OFFSET 2 FETCH NEXT 4 ROWS WITH TIES;
SELECT grp, count(*) FROM facts GROUP BY grp ORDER BY grp FETCH FIRST 2 ROWS WITH TIES;
-- unordered
SELECT sub, count(*) FROM facts GROUP BY sub ORDER BY count(*) DESC FETCH FIRST 3 ROWS WITH TIES;
SELECT k FROM facts FETCH FIRST 3 ROWS WITH TIES;
SELECT k, seq FROM facts ORDER BY k, seq LIMIT 2 + 3;
SELECT k, seq FROM facts ORDER BY k, seq LIMIT (SELECT 4);
SELECT k, seq FROM facts ORDER BY k, seq LIMIT (SELECT count(*) FROM countries) OFFSET (SELECT 2);
SELECT k, seq FROM facts ORDER BY k, seq LIMIT (SELECT count(*) / 20 FROM facts);
SELECT k, seq FROM facts ORDER BY k, seq LIMIT length('abc');
SELECT k, seq FROM facts ORDER BY k, seq LIMIT 2.5;
SELECT k, seq FROM facts ORDER BY k, seq LIMIT '3';
SELECT k, seq FROM facts ORDER BY k, seq LIMIT NULL;
SELECT k, seq FROM facts ORDER BY k, seq LIMIT -1;
SELECT k, seq FROM facts ORDER BY k, seq OFFSET -1;
SELECT k, seq FROM facts ORDER BY k, seq LIMIT 9223372036854775807 OFFSET 3;
SELECT k, seq FROM facts ORDER BY k, seq LIMIT 3 OFFSET 9223372036854775807;
SELECT k, seq FROM facts ORDER BY k, seq LIMIT 1e2;
SELECT k, seq FROM facts ORDER BY k, seq LIMIT k;
-- params 3
SELECT k, seq FROM facts ORDER BY k, seq LIMIT %s;
-- params 3, 2
SELECT k, seq FROM facts ORDER BY n NULLS FIRST, k, seq LIMIT %s OFFSET %s;
-- params 3
SELECT k, seq FROM facts ORDER BY k, seq LIMIT %s + 1;
-- params 3
SELECT k, seq FROM facts ORDER BY k, seq LIMIT %s::int;
-- params 5, 3
SELECT k, seq, n + %s AS m FROM facts ORDER BY m, k, seq LIMIT %s::bigint;
-- refused
SELECT k FROM facts ORDER BY k, seq LIMIT 3 FOR UPDATE;
SELECT k, seq FROM facts WHERE k = 5 ORDER BY seq FOR UPDATE;
-- refused
SELECT k, seq FROM facts ORDER BY k, seq FOR SHARE;
SELECT DISTINCT grp FROM facts ORDER BY grp;
SELECT DISTINCT grp, flag FROM facts ORDER BY flag NULLS FIRST, grp DESC;
SELECT DISTINCT grp FROM facts ORDER BY grp DESC NULLS LAST LIMIT 3 OFFSET 1;
SELECT DISTINCT sub FROM facts ORDER BY sub COLLATE "C";
SELECT DISTINCT sub FROM facts ORDER BY lower(sub);
SELECT DISTINCT m FROM facts ORDER BY m DESC;
SELECT DISTINCT date_trunc('month', day) AS mon FROM facts ORDER BY mon;
SELECT DISTINCT n % 3, flag FROM facts ORDER BY n % 3, flag;
SELECT DISTINCT k % 4 FROM facts ORDER BY 1;
SELECT DISTINCT * FROM marks ORDER BY k, tag LIMIT 5;
SELECT DISTINCT ON (grp) grp, k, seq FROM facts ORDER BY grp, k, seq;
SELECT DISTINCT ON (grp) grp, n FROM facts ORDER BY grp, n DESC NULLS LAST, k, seq;
SELECT DISTINCT ON (grp, flag) grp, flag, k, seq FROM facts ORDER BY grp, flag DESC, k DESC, seq;
SELECT DISTINCT ON (k) k, seq, val FROM facts ORDER BY k, val NULLS LAST, seq;
SELECT DISTINCT ON (n % 5) n % 5 AS five, k FROM facts ORDER BY n % 5, k DESC, seq DESC LIMIT 4;
SELECT DISTINCT ON (1) k % 3, seq, k FROM facts ORDER BY 1, 2, 3;
SELECT DISTINCT ON (lower(sub)) sub, k FROM facts ORDER BY lower(sub), sub, k, seq;
SELECT DISTINCT ON (sub COLLATE "C") sub FROM facts ORDER BY sub COLLATE "C", k, seq;
SELECT DISTINCT ON (grp) grp, count(*) OVER (PARTITION BY grp) FROM facts ORDER BY grp, k, seq;
SELECT DISTINCT ON (c) count(*) AS c, k FROM facts GROUP BY k ORDER BY c, k;
SELECT DISTINCT count(*) FROM facts GROUP BY k ORDER BY 1;
SELECT DISTINCT grp, count(*) FROM facts GROUP BY grp, flag ORDER BY 1, 2;
SELECT DISTINCT max(n) FROM facts GROUP BY grp ORDER BY 1 LIMIT 3;
SELECT DISTINCT sum(n) OVER (PARTITION BY grp) FROM facts ORDER BY 1;
SELECT DISTINCT j FROM kinds;
SELECT DISTINCT jb FROM kinds ORDER BY jb;
SELECT DISTINCT ta FROM kinds ORDER BY ta;
SELECT DISTINCT m, b FROM kinds ORDER BY m DESC, b;
SELECT DISTINCT si COLLATE "C" FROM scripts ORDER BY 1;
SELECT DISTINCT lower(si) FROM scripts ORDER BY 1;
SELECT DISTINCT f8 FROM kinds ORDER BY f8;
SELECT DISTINCT r, ip FROM kinds ORDER BY r, ip;
SELECT DISTINCT u IS NULL FROM kinds ORDER BY 1;
SELECT ALL k FROM facts ORDER BY k, seq LIMIT 2;
