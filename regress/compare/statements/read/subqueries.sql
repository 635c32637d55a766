-- refused
-- Sub-selects, WITH, recursion, set operations
SELECT id FROM users WHERE age = (SELECT max(age) FROM users) ORDER BY id;
-- refused
SELECT id FROM users WHERE age > (SELECT avg(age) FROM users) ORDER BY id;
-- refused
SELECT k, seq FROM facts WHERE (grp, n) IN (SELECT grp, max(n) FROM facts GROUP BY grp) ORDER BY 1, 2;
-- refused
SELECT k, seq FROM facts WHERE (grp, n) = (SELECT grp, n FROM facts WHERE k = 8 AND seq = 0);
-- refused
SELECT k FROM facts WHERE n = (SELECT n FROM facts WHERE grp = 1);
SELECT k, seq FROM facts f WHERE n = (SELECT max(n) FROM facts x WHERE x.k = f.k) ORDER BY 1, 2;
-- refused
SELECT k, seq FROM facts f WHERE n = (SELECT max(n) FROM facts x WHERE x.grp = f.grp) ORDER BY 1, 2;
-- refused
SELECT k, seq FROM facts f WHERE n > (SELECT avg(n) FROM facts x WHERE x.sub = f.sub) ORDER BY 1, 2;
-- refused
SELECT k, (SELECT count(*) FROM facts x WHERE x.n > f.n) FROM facts f ORDER BY 1, f.seq LIMIT 20;
-- refused
SELECT k, (SELECT name FROM users u WHERE u.age = f.n ORDER BY id LIMIT 1) FROM facts f ORDER BY 1, f.seq LIMIT 20;
SELECT k, (SELECT title FROM groups g WHERE g.grp = f.grp) FROM facts f ORDER BY 1, f.seq LIMIT 20;
-- refused
SELECT id, (SELECT t FROM ledger l WHERE l.k = u.id ORDER BY id LIMIT 1) FROM users u ORDER BY id LIMIT 20;
SELECT id, ARRAY(SELECT tag FROM marks m WHERE m.k = u.id ORDER BY tag) FROM users u ORDER BY id LIMIT 20;
-- refused
SELECT id, ARRAY(SELECT k FROM marks m WHERE m.w = u.id ORDER BY k, tag) FROM users u ORDER BY id LIMIT 10;
-- refused
SELECT id FROM users u WHERE EXISTS (SELECT 1 FROM facts f WHERE f.n = u.age) ORDER BY id;
-- refused
SELECT id FROM users u WHERE NOT EXISTS (SELECT 1 FROM facts f WHERE f.n = u.age) ORDER BY id;
-- refused
SELECT id FROM users u WHERE age IN (SELECT n FROM facts) ORDER BY id;
-- refused
SELECT id FROM users u WHERE age NOT IN (SELECT n FROM facts WHERE n IS NOT NULL) ORDER BY id;
-- refused
SELECT id FROM users u WHERE age NOT IN (SELECT n FROM facts) ORDER BY id;
-- refused
SELECT id FROM users u WHERE id NOT IN (SELECT k FROM facts) ORDER BY id;
-- refused
SELECT id FROM users u WHERE id NOT IN (SELECT k FROM ledger) ORDER BY id;
-- refused
SELECT id FROM users u WHERE id IN (SELECT k FROM ledger WHERE amount > 0) ORDER BY id;
-- refused
SELECT id FROM ledger l WHERE k IN (SELECT id FROM users WHERE active) ORDER BY id;
-- refused
SELECT id FROM ledger l WHERE EXISTS (SELECT 1 FROM facts f WHERE f.k = l.k AND f.flag) ORDER BY id;
-- refused
SELECT id FROM users WHERE age > ALL (SELECT n FROM facts WHERE n IS NOT NULL) ORDER BY id;
-- refused
SELECT id FROM users WHERE age < ANY (SELECT n FROM facts WHERE k < 5) ORDER BY id;
SELECT id FROM users WHERE id = ANY (SELECT k FROM facts WHERE n > 55) ORDER BY id;
-- refused
SELECT id FROM users WHERE id = ANY (ARRAY(SELECT k FROM facts WHERE n > 55)) ORDER BY id;
-- refused
SELECT id FROM users WHERE id IN (SELECT k FROM facts ORDER BY n DESC NULLS LAST, k LIMIT 5) ORDER BY id;
SELECT id FROM users WHERE id IN (SELECT k FROM facts GROUP BY k HAVING count(*) > 4) ORDER BY id;
SELECT id FROM users WHERE (id, active) IN (SELECT k, flag FROM facts) ORDER BY id;
-- refused
SELECT id FROM users WHERE (SELECT count(*) FROM facts) > 100 ORDER BY id LIMIT 3;
-- refused
SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM facts), (SELECT count(*) FROM ledger), (SELECT count(*) FROM groups);
SELECT (SELECT max(n) FROM facts WHERE k = u.id) AS top, count(*) FROM users u GROUP BY 1 ORDER BY 1;
SELECT (SELECT sum(x.n) FROM facts x WHERE x.k = f.k AND x.seq <= f.seq) AS running, k, seq FROM facts f ORDER BY 2, 3 LIMIT 30;
SELECT id FROM users u WHERE (SELECT count(*) FROM facts f WHERE f.k = u.id) > (SELECT count(*) FROM marks m WHERE m.k = u.id) ORDER BY id;
-- refused
SELECT id FROM users u WHERE EXISTS (SELECT 1 FROM facts f WHERE f.k = u.id AND EXISTS (SELECT 1 FROM facts x WHERE x.grp = f.grp AND x.k <> f.k AND x.n = f.n)) ORDER BY id;
SELECT id FROM users u ORDER BY (SELECT count(*) FROM facts f WHERE f.k = u.id) DESC, (SELECT min(tag) FROM marks m WHERE m.k = u.id), id LIMIT 12;
-- refused
SELECT id FROM users u WHERE age = (SELECT max(age) FROM users v WHERE v.active IS NOT DISTINCT FROM u.active) ORDER BY id;
-- refused
SELECT grp, sum(n) - (SELECT sum(n) FROM facts x WHERE x.grp = f.grp AND x.flag) FROM facts f GROUP BY grp ORDER BY grp;
-- refused
SELECT grp, (SELECT title FROM groups g WHERE g.grp = f.grp), count(*) FROM facts f GROUP BY grp ORDER BY grp;
-- refused
SELECT * FROM (SELECT k, n, row_number() OVER (PARTITION BY grp ORDER BY n DESC NULLS LAST, k, seq) AS r FROM facts) q WHERE r <= 2 ORDER BY n, k, r;
SELECT * FROM (SELECT * FROM (SELECT id, age FROM users) a WHERE age > 30) b WHERE id < 40 ORDER BY id;
-- refused
SELECT count(*) FROM (SELECT id FROM users WHERE age > 30 UNION SELECT k FROM facts WHERE n > 30) q;
-- refused
SELECT s.a, s.b FROM (SELECT id AS a, age AS b FROM users ORDER BY age DESC NULLS LAST, id LIMIT 4) s ORDER BY a;
-- refused
WITH f AS (SELECT grp, sum(n) AS s FROM facts GROUP BY grp) SELECT * FROM f WHERE s > (SELECT avg(s) FROM f) ORDER BY grp;
WITH a AS (SELECT id FROM users WHERE age > 50), b AS (SELECT k FROM facts WHERE n > 30) SELECT id FROM a JOIN b ON b.k = a.id ORDER BY 1;
-- refused
WITH a AS (SELECT id FROM users WHERE age > 50), b AS (SELECT id FROM a WHERE id < 60) SELECT count(*) FROM a, b WHERE a.id = b.id;
-- refused
WITH a AS MATERIALIZED (SELECT id, age FROM users) SELECT x.id, y.id FROM a x JOIN a y ON x.age = y.age + 1 ORDER BY 1, 2;
-- refused
WITH a AS NOT MATERIALIZED (SELECT id, age FROM users) SELECT count(*) FROM a x, a y WHERE x.id = y.id;
WITH a AS (SELECT 1 AS id) SELECT u.id FROM users u JOIN a USING (id);
-- refused
WITH unused AS (SELECT count(*) FROM facts) SELECT id FROM users ORDER BY id LIMIT 2;
-- refused
WITH a AS (SELECT id FROM users ORDER BY id LIMIT 5) SELECT * FROM a UNION ALL SELECT * FROM a ORDER BY 1;
WITH a(x, y) AS (SELECT k, n FROM facts) SELECT x, sum(y) FROM a GROUP BY x ORDER BY x LIMIT 5;
-- refused
WITH RECURSIVE up AS (SELECT id, parent, 0 AS depth FROM tree WHERE id = 40 UNION ALL SELECT t.id, t.parent, depth + 1 FROM tree t JOIN up ON t.id = up.parent) SELECT * FROM up ORDER BY depth;
-- refused
WITH RECURSIVE down AS (SELECT id FROM tree WHERE parent IS NULL UNION ALL SELECT t.id FROM tree t JOIN down d ON t.parent = d.id) SELECT count(*), sum(id) FROM down;
-- refused
WITH RECURSIVE r(a, b) AS (SELECT a, b FROM edges WHERE a = 1 UNION SELECT r.a, e.b FROM r JOIN edges e ON e.a = r.b) SELECT * FROM r ORDER BY 1, 2;
-- refused
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i, u.name FROM n JOIN users u ON u.id = n.i ORDER BY 1;
-- refused
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT i, (SELECT count(*) FROM facts WHERE grp = i) FROM n ORDER BY 1;
-- refused
WITH RECURSIVE t AS (SELECT id, parent, ARRAY[id] AS path FROM local_tree WHERE parent IS NULL UNION ALL SELECT l.id, l.parent, path || l.id FROM local_tree l JOIN t ON l.parent = t.id) SELECT t.path, tree.label FROM t JOIN tree USING (id) ORDER BY 1;
-- refused
WITH RECURSIVE x AS (SELECT id, parent FROM tree WHERE id = 1 UNION ALL SELECT t.id, t.parent FROM tree t, x WHERE t.parent = x.id) SEARCH DEPTH FIRST BY id SET ord SELECT id FROM x ORDER BY ord;
-- refused
WITH RECURSIVE x AS (SELECT a, b FROM edges WHERE a = 2 UNION ALL SELECT e.a, e.b FROM edges e, x WHERE e.a = x.b) CYCLE a SET loop USING path SELECT count(*) FROM x WHERE loop;
-- refused
SELECT id FROM users UNION SELECT k FROM facts ORDER BY 1;
-- refused
SELECT id FROM users UNION ALL SELECT k FROM facts ORDER BY 1;
-- refused
SELECT age FROM users UNION SELECT n FROM facts ORDER BY 1 LIMIT 12;
-- refused
SELECT age FROM users INTERSECT SELECT n FROM facts ORDER BY 1;
-- refused
SELECT age FROM users EXCEPT SELECT n FROM facts ORDER BY 1 DESC NULLS LAST;
-- refused
SELECT age FROM users INTERSECT ALL SELECT n FROM facts ORDER BY 1;
-- refused
SELECT age FROM users EXCEPT ALL SELECT n FROM facts ORDER BY 1;
-- refused
SELECT id FROM users INTERSECT SELECT k FROM facts ORDER BY 1;
-- refused
SELECT id FROM users EXCEPT SELECT k FROM marks ORDER BY 1;
-- refused
SELECT k, seq FROM facts EXCEPT SELECT k, w FROM marks ORDER BY 1, 2 LIMIT 20;
-- refused
SELECT tag FROM marks UNION SELECT t FROM ledger ORDER BY 1;
-- refused
SELECT code FROM countries UNION SELECT code FROM regions ORDER BY 1;
-- refused
SELECT code FROM countries EXCEPT SELECT code FROM regions ORDER BY 1;
-- refused
SELECT code FROM regions UNION ALL SELECT code FROM countries ORDER BY 1;
-- refused
SELECT grp, title FROM groups INTERSECT SELECT grp, 'group ' || grp FROM facts ORDER BY 1;
-- refused
(SELECT id FROM users ORDER BY age NULLS LAST, id LIMIT 3) UNION ALL (SELECT k FROM facts ORDER BY n NULLS LAST, k, seq LIMIT 3) ORDER BY 1;
-- refused
(SELECT id FROM users WHERE id < 5 UNION SELECT k FROM facts WHERE k < 9) EXCEPT SELECT 3 ORDER BY 1;
-- refused
SELECT id FROM users WHERE id < 5 UNION (SELECT k FROM facts WHERE k < 9 EXCEPT SELECT 3) ORDER BY 1;
-- refused
SELECT 1 UNION SELECT id FROM users WHERE id < 3 ORDER BY 1;
-- refused
SELECT id::int FROM users WHERE id < 3 UNION ALL SELECT 2.5 ORDER BY 1;
-- refused
SELECT 'a' UNION SELECT tag FROM marks ORDER BY 1;
-- refused
SELECT NULL UNION SELECT id FROM users WHERE id < 3 ORDER BY 1;
-- refused
SELECT count(*) FROM users UNION ALL SELECT count(*) FROM facts UNION ALL SELECT count(*) FROM ledger ORDER BY 1;
-- refused
SELECT 'users', count(*) FROM users UNION ALL SELECT 'facts', count(*) FROM facts ORDER BY 1;
-- refused
SELECT grp, sum(n) FROM facts GROUP BY grp UNION ALL SELECT NULL, sum(n) FROM facts ORDER BY 1, 2;
-- refused
SELECT m FROM facts UNION SELECT m FROM groups ORDER BY 1;
-- refused
SELECT sub FROM facts UNION SELECT si COLLATE "C" FROM scripts ORDER BY 1;
-- refused
SELECT u.id FROM users u WHERE u.id IN (SELECT k FROM facts INTERSECT SELECT k FROM marks) ORDER BY 1;
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v(x, y) JOIN users u ON u.id = v.x ORDER BY 1;
-- refused
VALUES ((SELECT count(*) FROM users)), ((SELECT count(*) FROM facts));
-- refused
SELECT id FROM users UNION SELECT name FROM users;
-- refused
SELECT id, age FROM users UNION SELECT k FROM facts;
TABLE marks ORDER BY k, tag LIMIT 4;
-- refused
SELECT count(*) FROM (TABLE marks UNION ALL TABLE marks) q;
-- refused
SELECT exists(SELECT FROM facts WHERE n > 1000), exists(SELECT FROM facts);
-- refused
SELECT id FROM users WHERE id = (SELECT min(k) FROM facts) + (SELECT max(seq) FROM facts);
SELECT coalesce((SELECT n FROM facts WHERE k = 9999), -1), (SELECT 'x' FROM users WHERE id = 5);
-- refused
SELECT (SELECT k FROM facts WHERE k < 4);
SELECT (SELECT k, n FROM facts WHERE k = 3);
-- refused
SELECT q FROM (SELECT k, tag FROM marks ORDER BY k, tag LIMIT 2) q ORDER BY q;
SELECT (q).tag FROM (SELECT m AS q FROM marks m) z ORDER BY (q).k, (q).tag LIMIT 4;
-- refused
SELECT u.id, s.cnt, s.top FROM users u, LATERAL (SELECT count(*) AS cnt, max(n) AS top FROM facts f WHERE f.grp = u.id % 8) s ORDER BY 1 LIMIT 12;
SELECT u.id, s.seq FROM users u LEFT JOIN LATERAL (SELECT seq FROM facts f WHERE f.k = u.id UNION ALL SELECT w FROM marks m WHERE m.k = u.id) s ON true ORDER BY 1, 2 LIMIT 40;
SELECT sum((SELECT count(*) FROM marks m WHERE m.k = u.id)) FROM users u;
-- refused
SELECT max((SELECT max(n) FROM facts f WHERE f.grp = u.id % 8)) FROM users u;
-- refused
SELECT id FROM users u WHERE age BETWEEN (SELECT min(n) FROM facts) AND (SELECT avg(n) FROM facts) ORDER BY 1;
-- refused
SELECT CASE WHEN EXISTS (SELECT 1 FROM facts f WHERE f.k = u.id) THEN 'facts' WHEN EXISTS (SELECT 1 FROM marks m WHERE m.w = u.id) THEN 'marks' ELSE 'none' END AS what, count(*) FROM users u GROUP BY 1 ORDER BY 1;
