-- Aggregates, GROUP BY, HAVING, GROUPING SETS
SELECT count(*), count(n), count(k), sum(n), sum(k), sum(val), sum(seq) FROM facts;
SELECT avg(n), avg(k), avg(val), avg(seq), avg(n::smallint) FROM facts;
SELECT avg(val), avg(n) FROM facts WHERE k < 3;
SELECT avg(val) FROM facts WHERE false;
SELECT sum(x), avg(x), min(x), max(x) FROM facts;
-- refused
SELECT min(val), max(val), min(day), max(day), min(at), max(at), min(sub), max(sub), min(m), max(m) FROM facts;
SELECT min(num), max(num), min(f8), max(f8), min(f4), max(f4) FROM kinds;
SELECT sum(num) FROM kinds;
SELECT sum(num), avg(num) FROM kinds WHERE num < 1e20 AND num > -1e20;
SELECT sum(money2), avg(money2), min(money2), max(money2) FROM kinds;
SELECT sum(big) FROM kinds;
SELECT sum(small), avg(small), min(small), max(small) FROM kinds;
-- refused
SELECT sum(iv), avg(iv), min(iv), max(iv) FROM kinds;
-- refused
SELECT min(tm), max(tm), min(tz), max(tz), min(ip), max(ip), min(c), max(c), min(v), max(v) FROM kinds;
-- refused
SELECT min(ia), max(ia), min(ta), max(ta), max(bits::text), max(u::text) FROM kinds;
-- refused
SELECT min(si), max(si), min(sv), max(sv), min(sc), max(s) FROM scripts;
SELECT bool_and(b), bool_or(b), every(b IS NOT NULL), count(b) FROM kinds;
-- refused
SELECT bit_and(n), bit_or(n), bit_xor(n), bit_and(k), bit_or(seq::smallint) FROM facts;
-- refused
SELECT bit_and(bits), bit_or(bits) FROM kinds WHERE length(bits) = 4;
-- refused
SELECT stddev(n), stddev_pop(n), stddev_samp(n), variance(n), var_pop(n), var_samp(n) FROM facts;
-- refused
SELECT stddev(val), var_pop(val), stddev_pop(k), variance(seq) FROM facts;
-- refused
SELECT stddev(x), stddev_pop(x), variance(x), var_pop(x) FROM facts;
SELECT stddev(n), var_pop(n), stddev_samp(x) FROM facts WHERE k = 3 AND seq = 0;
-- refused
SELECT stddev(n), variance(val), stddev_pop(x), var_samp(x) FROM facts WHERE false;
-- refused
SELECT corr(x, n), covar_pop(x, n), covar_samp(x, n), regr_avgx(x, n), regr_avgy(x, n), regr_count(x, n) FROM facts;
-- refused
SELECT regr_intercept(x, n), regr_r2(x, n), regr_slope(x, n), regr_sxx(x, n), regr_sxy(x, n), regr_syy(x, n) FROM facts;
-- refused
SELECT corr(x, n), regr_count(x, n), regr_slope(x, n) FROM facts WHERE false;
-- refused
SELECT grp, corr(x, n), regr_slope(x, n) FROM facts GROUP BY grp ORDER BY grp;
-- refused
SELECT grp, stddev(val), variance(n) FROM facts GROUP BY grp ORDER BY grp;
-- refused
SELECT string_agg(tag, ',' ORDER BY tag, k) FROM marks;
-- refused
SELECT string_agg(tag, ',' ORDER BY tag DESC, k DESC) FROM marks WHERE k < 20;
-- refused
SELECT string_agg(DISTINCT tag, '+' ORDER BY tag) FROM marks;
-- refused
SELECT string_agg(sub, NULL ORDER BY k, seq) FROM facts;
-- refused
SELECT string_agg(sub, sub ORDER BY k, seq) FROM facts;
-- refused
SELECT array_agg(k ORDER BY k, tag) FROM marks;
-- refused
SELECT array_agg(w ORDER BY k, tag) FROM marks;
-- refused
SELECT array_agg(DISTINCT w ORDER BY w DESC) FROM marks;
-- refused
SELECT array_agg(DISTINCT sub) FROM facts;
-- refused
SELECT array_agg(ARRAY[k, seq] ORDER BY k, seq) FROM facts WHERE k < 10;
-- refused
SELECT array_agg(ia ORDER BY id) FROM kinds WHERE ia = '{1,2,3}';
-- refused
SELECT array_agg(m ORDER BY id) FROM kinds;
-- refused
SELECT json_agg(n ORDER BY k, seq) FROM facts WHERE k < 10;
-- refused
SELECT jsonb_agg(sub ORDER BY k, seq) FROM facts WHERE k < 10;
-- refused
SELECT json_object_agg(k::text || seq, n ORDER BY k, seq) FROM facts WHERE k < 6;
-- refused
SELECT jsonb_object_agg(k::text || '-' || seq, n) FROM facts WHERE k < 20;
-- refused
SELECT json_agg(row_to_json(q) ORDER BY k, tag) FROM (SELECT k, tag FROM marks WHERE k < 10) q;
-- refused
SELECT xmlagg(xmlelement(name x, k) ORDER BY k, seq)::text FROM facts WHERE k < 5;
-- refused
SELECT range_agg(r ORDER BY id) FROM kinds;
-- refused
SELECT grp, string_agg(sub, ',' ORDER BY k, seq), array_agg(n ORDER BY n, k, seq) FROM facts GROUP BY grp ORDER BY grp;
SELECT k, string_agg(sub, ',' ORDER BY seq), array_agg(n ORDER BY seq) FROM facts GROUP BY k ORDER BY k;
-- refused
SELECT array_length(array_agg(k), 1), length(string_agg(sub, '')) FROM facts;
-- refused
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FROM facts;
-- refused
SELECT percentile_disc(0.25) WITHIN GROUP (ORDER BY n) FROM facts;
-- refused
SELECT percentile_cont(ARRAY[0, 0.25, 0.5, 1]) WITHIN GROUP (ORDER BY n) FROM facts;
-- refused
SELECT grp, percentile_disc(0.5) WITHIN GROUP (ORDER BY val) FROM facts GROUP BY grp ORDER BY grp;
-- refused
SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY iv) FROM kinds;
-- refused
SELECT mode() WITHIN GROUP (ORDER BY sub) FROM facts WHERE sub = 'aa' OR sub IS NULL;
SELECT k, mode() WITHIN GROUP (ORDER BY flag) FROM facts WHERE flag GROUP BY k ORDER BY k;
-- refused
SELECT rank(10) WITHIN GROUP (ORDER BY n), dense_rank(10) WITHIN GROUP (ORDER BY n) FROM facts;
-- refused
SELECT cume_dist(10) WITHIN GROUP (ORDER BY n), percent_rank(10) WITHIN GROUP (ORDER BY n DESC) FROM facts;
-- refused
SELECT count(DISTINCT n), count(DISTINCT sub), count(DISTINCT k), sum(DISTINCT n), avg(DISTINCT grp) FROM facts;
-- refused
SELECT count(DISTINCT n), count(*) FROM facts;
-- refused
SELECT count(DISTINCT (grp, flag)) FROM facts;
-- refused
SELECT count(DISTINCT lower(sub)) FROM facts;
-- refused
SELECT count(DISTINCT si) FROM scripts;
-- refused
SELECT grp, count(DISTINCT n), count(DISTINCT sub) FROM facts GROUP BY grp ORDER BY grp;
SELECT grp, count(DISTINCT k) FROM facts GROUP BY grp ORDER BY 2 DESC, 1;
SELECT k, count(DISTINCT n), sum(DISTINCT n) FROM facts GROUP BY k ORDER BY k;
-- refused
SELECT sum(DISTINCT val), max(DISTINCT val), avg(DISTINCT val) FROM facts;
-- refused
SELECT count(DISTINCT n) FILTER (WHERE flag), count(DISTINCT n) FILTER (WHERE NOT flag) FROM facts;
-- refused
SELECT count(DISTINCT jb), count(DISTINCT m), count(DISTINCT by), count(DISTINCT iv) FROM kinds;
SELECT count(*) FILTER (WHERE flag), sum(n) FILTER (WHERE n > 10), avg(val) FILTER (WHERE grp = 2), max(sub) FILTER (WHERE false) FROM facts;
-- refused
SELECT grp, count(*) FILTER (WHERE flag) AS f, array_agg(k ORDER BY k, seq) FILTER (WHERE n > 40) FROM facts GROUP BY grp ORDER BY grp;
-- refused
SELECT count(*) + 1, sum(n) * 2, max(n) - min(n) FROM facts;
-- refused
SELECT sum(val) / count(val), round(avg(val), 2), coalesce(sum(n), 0) FROM facts;
-- refused
SELECT coalesce(sum(n), -1), count(*) = 0, max(n) IS NULL FROM facts WHERE false;
-- refused
SELECT CASE WHEN count(*) > 100 THEN 'many' ELSE 'few' END FROM facts;
-- refused
SELECT count(*), 'constant', 1 + 1, NULL FROM facts;
-- refused
SELECT now() IS NOT NULL, count(*) FROM facts;
-- refused
SELECT count(*)::text || ' rows', (sum(n)::numeric / count(*))::numeric(10, 3) FROM facts;
-- refused
SELECT greatest(max(n), 10), least(min(n), 0), nullif(count(*), 5) FROM facts;
-- refused
SELECT sum(n) FILTER (WHERE flag) * 100.0 / sum(n) FROM facts;
-- refused
SELECT 100 * sum(CASE WHEN sub LIKE 'a%' THEN n ELSE 0 END) / sum(n) AS share FROM facts;
-- refused
SELECT ARRAY[min(n), max(n)], ROW(count(*), sum(n)) FROM facts;
-- refused
SELECT (SELECT max(n) FROM facts) - max(n) FROM facts;
-- refused
SELECT count(*) AS c FROM facts HAVING count(*) > 10;
-- refused
SELECT count(*) AS c FROM facts HAVING count(*) > 100000;
-- refused
SELECT 1 FROM facts HAVING true;
-- refused
SELECT 1 FROM facts HAVING false;
-- refused
SELECT 1 FROM facts HAVING sum(n) > 0;
-- refused
SELECT count(*) FROM nothing HAVING count(*) = 0;
-- refused
SELECT grp, count(*) FROM facts GROUP BY grp HAVING count(*) > 15 ORDER BY grp;
-- refused
SELECT grp FROM facts GROUP BY grp HAVING avg(n) > 18 ORDER BY grp;
-- refused
SELECT grp, sum(n) FROM facts GROUP BY grp HAVING grp > 2 ORDER BY grp;
-- refused
SELECT grp, sum(n) FROM facts GROUP BY grp HAVING grp IS NULL OR sum(n) % 2 = 0 ORDER BY grp;
-- refused
SELECT grp, max(sub) FROM facts GROUP BY grp HAVING max(sub) < 'c' OR bool_or(flag) ORDER BY 1;
SELECT k, count(*) FROM facts GROUP BY k HAVING count(*) > 4 ORDER BY k;
-- refused
SELECT grp FROM facts GROUP BY grp HAVING count(DISTINCT n) > 12 ORDER BY grp;
-- refused
SELECT grp FROM facts GROUP BY grp HAVING count(*) > (SELECT count(*) / 10 FROM facts) ORDER BY grp;
SELECT grp, n % 2 AS odd, count(*), sum(val) FROM facts GROUP BY grp, odd ORDER BY grp, odd;
SELECT grp AS g, count(*) FROM facts GROUP BY g ORDER BY g;
-- refused
SELECT grp AS n, count(*) FROM facts GROUP BY n ORDER BY 1, 2;
SELECT n % 4, count(*) FROM facts GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM facts GROUP BY n % 4, flag ORDER BY 1;
SELECT grp + 1 FROM facts GROUP BY grp + 1 ORDER BY 1;
-- refused
SELECT grp + 1 FROM facts GROUP BY grp ORDER BY 1;
-- refused
SELECT grp * 2 + count(*) FROM facts GROUP BY grp ORDER BY grp;
-- refused
SELECT (grp + 1) * 2, sum(n) FROM facts GROUP BY grp + 1 ORDER BY 1;
-- refused
SELECT sub, count(*) FROM facts GROUP BY sub ORDER BY sub COLLATE "en-x-icu", count(*);
SELECT lower(sub) AS l, min(sub), max(sub), count(*) FROM facts GROUP BY l ORDER BY l;
SELECT sub COLLATE "C" AS s, count(*) FROM facts GROUP BY sub COLLATE "C" ORDER BY 1;
-- refused
SELECT si, count(*) FROM scripts GROUP BY si ORDER BY si COLLATE "C";
-- refused
SELECT lower(si), count(*) FROM scripts GROUP BY lower(si) ORDER BY 1;
-- refused
SELECT m, count(*), min(id) FROM kinds GROUP BY m ORDER BY m;
-- refused
SELECT b, m, count(*) FROM kinds GROUP BY b, m ORDER BY b, m DESC;
SELECT d, count(*) FROM kinds GROUP BY d ORDER BY d;
SELECT tz, count(*) FROM kinds GROUP BY tz ORDER BY tz;
-- refused
SELECT iv, count(*) FROM kinds GROUP BY iv ORDER BY iv;
SELECT u, count(*) FROM kinds GROUP BY u ORDER BY u NULLS FIRST;
SELECT by, count(*) FROM kinds GROUP BY by ORDER BY by;
-- refused
SELECT jb, count(*) FROM kinds GROUP BY jb ORDER BY jb;
-- refused
SELECT ia, count(*) FROM kinds GROUP BY ia ORDER BY ia;
-- refused
SELECT ta, count(*) FROM kinds GROUP BY ta ORDER BY ta;
-- refused
SELECT r, count(*) FROM kinds GROUP BY r ORDER BY r;
-- refused
SELECT ip, count(*) FROM kinds GROUP BY ip ORDER BY ip;
-- refused
SELECT f8, count(*) FROM kinds GROUP BY f8 ORDER BY f8;
-- refused
SELECT f4, count(*) FROM kinds GROUP BY f4 ORDER BY f4;
SELECT c, count(*) FROM kinds GROUP BY c ORDER BY c;
SELECT p, count(*) FROM kinds GROUP BY p ORDER BY p;
-- refused
SELECT s, count(*) FROM kinds GROUP BY s ORDER BY s;
-- refused
SELECT bits, count(*) FROM kinds GROUP BY bits ORDER BY bits;
SELECT j, count(*) FROM kinds GROUP BY j;
SELECT big, count(*) FROM kinds GROUP BY big ORDER BY big;
SELECT date_trunc('month', day) AS mon, count(*), sum(val) FROM facts GROUP BY mon ORDER BY mon;
SELECT extract(dow FROM day), count(*) FROM facts GROUP BY 1 ORDER BY 1;
SELECT at::date AS on_day, count(*) FROM facts GROUP BY on_day ORDER BY on_day LIMIT 8;
-- refused
SELECT grp, flag, count(*), GROUPING(grp), GROUPING(flag, grp) FROM facts GROUP BY ROLLUP (grp, flag) ORDER BY grp, flag, 4, 3;
-- refused
SELECT grp, flag, sum(n) FROM facts GROUP BY CUBE (grp, flag) ORDER BY grp, flag, GROUPING(grp, flag), 3;
-- refused
SELECT grp, sub, count(*) FROM facts GROUP BY GROUPING SETS ((grp), (sub), ()) ORDER BY GROUPING(grp, sub), grp, sub;
-- refused
SELECT grp, count(*) FROM facts GROUP BY GROUPING SETS (grp, ()) HAVING count(*) > 20 ORDER BY GROUPING(grp), grp;
-- refused
SELECT grp, flag, avg(val) FROM facts GROUP BY grp, ROLLUP (flag) ORDER BY 1, 2, GROUPING(flag);
-- refused
SELECT k, seq, count(*) FROM facts WHERE k < 5 GROUP BY ROLLUP (k, seq) ORDER BY k, seq, GROUPING(k, seq);
-- refused
SELECT count(*) FROM nothing GROUP BY ROLLUP (n);
-- refused
SELECT count(*) FROM nothing GROUP BY GROUPING SETS ((), ());
-- refused
SELECT count(*), sum(n) FROM facts GROUP BY ();
-- refused
SELECT grp, count(DISTINCT sub) FROM facts GROUP BY ROLLUP (grp) ORDER BY grp, GROUPING(grp);
-- refused
SELECT count(*) FROM facts GROUP BY true;
-- refused
SELECT DISTINCT GROUPING(grp) FROM facts GROUP BY ROLLUP (grp) ORDER BY 1;
-- refused
SELECT grp, count(*) FROM facts GROUP BY DISTINCT ROLLUP (grp), ROLLUP (grp) ORDER BY 1, 2;
SELECT k, users.name, count(*) FROM facts JOIN users ON id = k GROUP BY k, users.id ORDER BY k LIMIT 5;
SELECT id, name, age, count(seq) FROM users LEFT JOIN facts ON k = id GROUP BY id ORDER BY id LIMIT 8;
SELECT u.active, f.flag, count(*), sum(f.val) FROM users u JOIN facts f ON f.k = u.id GROUP BY 1, 2 ORDER BY 1, 2;
-- refused
SELECT u.active, count(DISTINCT f.n) FROM users u JOIN facts f ON f.k = u.id GROUP BY 1 ORDER BY 1;
SELECT g.title, count(*), sum(f.n), avg(f.val) FROM facts f JOIN groups g USING (grp) GROUP BY g.title ORDER BY 1;
-- refused
SELECT g.title, count(f.k) FROM groups g LEFT JOIN facts f USING (grp) GROUP BY g.title ORDER BY 1;
-- refused
SELECT g.grp, count(f.k) FROM groups g LEFT JOIN facts f ON f.grp = g.grp AND f.flag GROUP BY g.grp ORDER BY 1;
-- refused
SELECT count(*), sum(c) FROM (SELECT grp, count(*) AS c FROM facts GROUP BY grp) q;
SELECT max(c), min(c), avg(c) FROM (SELECT k, count(*) AS c FROM facts GROUP BY k) q;
SELECT c, count(*) FROM (SELECT k, count(*) AS c FROM facts GROUP BY k) q GROUP BY c ORDER BY c;
-- refused
SELECT grp, c FROM (SELECT grp, count(*) AS c FROM facts GROUP BY grp) q WHERE c > 15 ORDER BY 1;
-- refused
SELECT sum(n) FROM (SELECT DISTINCT n FROM facts) q;
-- refused
SELECT count(*) FROM (SELECT DISTINCT grp, flag FROM facts) q;
-- refused
SELECT count(*), max(n) FROM (SELECT n FROM facts ORDER BY n DESC NULLS LAST, k, seq LIMIT 10) q;
SELECT any_value.n FROM (SELECT 1 AS n) any_value;
SELECT sum(sum(n)) FROM facts;
SELECT sum(n) FROM facts GROUP BY sum(n);
-- refused
SELECT n, sum(n) FROM facts;
SELECT k FROM facts WHERE sum(n) > 1;
-- refused
SELECT count(*) OVER (), count(*) FROM facts;
SELECT sum(1.0), sum(1), count(1), avg(2.50), max('x'::text), min(NULL::int) FROM facts;
-- refused
SELECT sum(n::real), avg(n::real), sum(n::float8) FROM facts;
SELECT sum(2147483647) FROM facts;
SELECT sum(9223372036854775807) FROM facts;
SELECT avg(9223372036854775807) FROM facts;
SELECT sum(1e300::float8) FROM facts;
SELECT sum(f8) FROM kinds;
SELECT avg(f8) FROM kinds WHERE f8 < 1e10 AND f8 > -1e10;
-- refused
SELECT grp, sum(x), avg(x), stddev(x) FROM facts GROUP BY grp ORDER BY grp;
SELECT sum(n / 0) FROM facts;
-- refused
SELECT 1 / count(*) FROM nothing;
-- refused
SELECT sum(n) / 0 FROM facts;
SELECT sub, sum(n) FROM facts WHERE k IN (3, 4, 5) GROUP BY sub ORDER BY sub;
SELECT sub, sum(n) FROM facts WHERE k = 5 GROUP BY sub ORDER BY sub;
SELECT max(flag) FROM facts;
SELECT sum(sub) FROM facts;
-- refused
SELECT no_such_aggregate(n) FROM facts;
