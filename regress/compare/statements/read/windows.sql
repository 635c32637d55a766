-- refused
-- Window functions
SELECT k, seq, row_number() OVER (ORDER BY n NULLS FIRST, k, seq) FROM facts ORDER BY 3;
-- refused
SELECT k, seq, rank() OVER (ORDER BY n), dense_rank() OVER (ORDER BY n) FROM facts ORDER BY 1, 2;
-- refused
SELECT k, seq, percent_rank() OVER (ORDER BY n), cume_dist() OVER (ORDER BY n), ntile(4) OVER (ORDER BY k, seq) FROM facts ORDER BY 1, 2;
-- refused
SELECT k, seq, lag(n) OVER w, lead(n, 2, -1) OVER w, first_value(n) OVER w, last_value(n) OVER w, nth_value(n, 3) OVER w FROM facts WINDOW w AS (ORDER BY k, seq) ORDER BY 1, 2;
-- refused
SELECT k, seq, sum(n) OVER (ORDER BY k, seq) FROM facts ORDER BY 1, 2;
SELECT k, seq, sum(n) OVER (PARTITION BY k ORDER BY seq) FROM facts ORDER BY 1, 2;
-- refused
SELECT k, seq, sum(n) OVER (PARTITION BY grp ORDER BY k, seq) FROM facts ORDER BY 1, 2;
-- refused
SELECT k, seq, avg(val) OVER (PARTITION BY grp) FROM facts ORDER BY 1, 2;
-- refused
SELECT k, seq, count(*) OVER () FROM facts ORDER BY 1, 2 LIMIT 5;
-- refused
SELECT k, seq, n - avg(n) OVER () FROM facts ORDER BY 1, 2 LIMIT 5;
-- refused
SELECT k, seq, sum(n) OVER (ORDER BY k, seq ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) FROM facts ORDER BY 1, 2;
-- refused
SELECT k, seq, sum(n) OVER (ORDER BY n RANGE BETWEEN 5 PRECEDING AND CURRENT ROW) FROM facts ORDER BY 1, 2;
-- refused
SELECT k, seq, count(*) OVER (ORDER BY grp GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) FROM facts ORDER BY 1, 2;
SELECT k, seq, max(n) OVER (PARTITION BY k ORDER BY seq ROWS UNBOUNDED PRECEDING) FROM facts ORDER BY 1, 2;
SELECT k, seq, array_agg(n) OVER (PARTITION BY k ORDER BY seq) FROM facts WHERE k < 9 ORDER BY 1, 2;
-- refused
SELECT k, seq, string_agg(sub, '') OVER (PARTITION BY grp ORDER BY k, seq) FROM facts ORDER BY 1, 2 LIMIT 20;
-- refused
SELECT k, count(*), rank() OVER (ORDER BY count(*) DESC) FROM facts GROUP BY k ORDER BY 3, 1;
-- refused
SELECT grp, sum(n), sum(sum(n)) OVER (ORDER BY grp) FROM facts GROUP BY grp ORDER BY grp;
-- refused
SELECT grp, count(*), count(*) * 100.0 / sum(count(*)) OVER () FROM facts GROUP BY grp ORDER BY grp;
-- refused
SELECT flag, grp, count(*), row_number() OVER (PARTITION BY flag ORDER BY count(*) DESC, grp) FROM facts GROUP BY flag, grp ORDER BY 1, 4;
-- refused
SELECT k, seq, row_number() OVER (PARTITION BY k ORDER BY seq) AS r, sum(n) OVER (PARTITION BY flag ORDER BY k, seq) FROM facts ORDER BY 1, 2;
SELECT k, row_number() OVER (PARTITION BY k, flag ORDER BY seq), seq FROM facts ORDER BY 1, 3;
-- refused
SELECT k, seq, first_value(sub) OVER (PARTITION BY grp ORDER BY sub COLLATE "en-x-icu", k, seq) FROM facts ORDER BY 1, 2;
-- refused
SELECT DISTINCT grp, first_value(n) OVER (PARTITION BY grp ORDER BY n DESC NULLS LAST, k) FROM facts ORDER BY 1;
-- refused
SELECT id, age, age - lag(age) OVER (ORDER BY id) AS diff FROM users ORDER BY id LIMIT 20;
-- refused
SELECT u.id, f.seq, row_number() OVER (ORDER BY u.id, f.seq) FROM users u JOIN facts f ON f.k = u.id ORDER BY 3 LIMIT 20;
-- refused
SELECT g.title, f.k, rank() OVER (PARTITION BY g.title ORDER BY f.n DESC NULLS LAST, f.k, f.seq) FROM facts f JOIN groups g USING (grp) ORDER BY 1, 3;
SELECT l.id, sum(l.amount) OVER (ORDER BY l.id) FROM ledger l ORDER BY 1;
-- refused
SELECT k, seq FROM facts ORDER BY row_number() OVER (ORDER BY n NULLS FIRST, k, seq) LIMIT 10;
SELECT k FROM facts WHERE row_number() OVER () = 1;
-- refused
SELECT sum(n) FILTER (WHERE flag) OVER (ORDER BY k, seq), k, seq FROM facts ORDER BY 2, 3 LIMIT 15;
-- refused
SELECT count(DISTINCT n) OVER () FROM facts;
-- refused
SELECT k, seq, n, ntile(3) OVER (PARTITION BY m ORDER BY k, seq) FROM facts ORDER BY m, k, seq;
SELECT tenant, code, id, sum(qty) OVER (PARTITION BY tenant, code ORDER BY id) FROM stock ORDER BY 1, 2, 3;
-- refused
SELECT tenant, code, id, sum(qty) OVER (PARTITION BY tenant ORDER BY code, id) FROM stock ORDER BY 1, 2, 3;
-- refused
SELECT n, max(t) OVER (ORDER BY n) FROM lonely ORDER BY n;
-- refused
SELECT id, row_number() OVER (ORDER BY id) FROM nothing;
-- refused
SELECT k, seq, percentile_cont(0.5) WITHIN GROUP (ORDER BY n) OVER () FROM facts;
-- refused
SELECT max(r) FROM (SELECT rank() OVER (ORDER BY n) AS r FROM facts) q;
