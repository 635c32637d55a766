CREATE TABLE nums (id int PRIMARY KEY, v numeric, f float8, r float4, t text, b boolean, d date, ts timestamptz, i interval, j jsonb, s smallint, l bigint) SHARD BY HASH (id);
SELECT count(*), count(v), sum(v), avg(v), min(v), max(v), min(t), max(t), bool_and(b), bool_or(b) FROM nums;
SELECT v, count(*) FROM nums GROUP BY v;
SELECT DISTINCT v FROM nums;
SELECT * FROM nums ORDER BY id LIMIT 3;
INSERT INTO nums VALUES (1, 1.0, 0.0, 1.5, 'a', true, '2026-01-01', '2026-01-01 00:00+00', '1 day', '{"a": 1}', 1, 1), (2, 1.00, 0, 1.5, 'A', false, '2026-01-01', '2026-01-01 01:00+01', '24 hours', '{"a":1}', 2, 2), (3, 1, 'NaN', 'NaN', 'ä', NULL, NULL, '2026-01-02 00:00+00', '1 month', '{"a": 1.0}', 3, 3), (4, 1.000, 'Infinity', 2.5, 'b', true, '2026-01-02', NULL, '30 days', 'null', 4, 4), (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (6, 'NaN', 'NaN', '-Infinity', '', false, 'infinity', 'infinity', '0', '[]', -1, -9223372036854775808), (7, -2.50, 1e300, 1e30, 'B', true, '2025-12-31', '-infinity', '-1 day', '"x"', 32767, 9223372036854775807), (8, -2.5, 1e300, 1e30, 'a ', true, '2025-12-31', '2026-01-01 00:00+00', '24:00:00', '{}', -32768, 5), (9, 0, 1e-300, 1e-30, 'a', NULL, '2026-01-01', '2026-01-01 00:00:00.5+00', '1 day', '1', 0, 0), (10, 12345678901234567890.123456789, 0.1, 0.1, 'z', false, '2026-05-05', '2026-01-01 00:00+00', '1 year', '2', 7, 7), (11, 0.1, 0.2, 0.2, 'Z', true, NULL, NULL, NULL, NULL, NULL, NULL), (12, 0.10, 0.3, 0.3, 'é', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
-- rows differ
SELECT v, count(*) FROM nums GROUP BY v ORDER BY v;
-- rows differ
SELECT DISTINCT v FROM nums ORDER BY v;
-- rows differ
SELECT DISTINCT v, b FROM nums ORDER BY v, b;
SELECT f, count(*) FROM nums GROUP BY f ORDER BY f;
SELECT DISTINCT f FROM nums ORDER BY f DESC;
SELECT r, count(*) FROM nums GROUP BY r ORDER BY r;
SELECT t, count(*) FROM nums GROUP BY t ORDER BY t;
SELECT b, count(*), sum(v), avg(l) FROM nums GROUP BY b ORDER BY b;
SELECT b, count(*) FROM nums GROUP BY b ORDER BY b DESC NULLS LAST;
SELECT d, count(*) FROM nums GROUP BY d ORDER BY d;
SELECT ts, count(*) FROM nums GROUP BY ts ORDER BY ts;
-- refused
SELECT i, count(*) FROM nums GROUP BY i ORDER BY i;
-- rows differ
SELECT DISTINCT i FROM nums;
-- refused
SELECT j, count(*) FROM nums GROUP BY j;
-- refused
SELECT DISTINCT j FROM nums;
-- refused
SELECT j FROM nums ORDER BY j, id;
SELECT i FROM nums ORDER BY i, id;
SELECT b, d, count(*) FROM nums GROUP BY b, d ORDER BY b NULLS FIRST, d DESC;
SELECT b, d, count(*) FROM nums GROUP BY 2, 1 ORDER BY 3 DESC, 1, 2;
SELECT sum(v), avg(v) FROM nums WHERE v <> 'NaN';
SELECT sum(v), avg(v), min(v), max(v) FROM nums;
SELECT sum(s), avg(s), min(s), max(s), sum(l), avg(l), min(l), max(l) FROM nums;
SELECT sum(l) FROM nums WHERE id IN (7, 8);
SELECT sum(s) FROM nums;
SELECT min(f), max(f) FROM nums;
SELECT min(r), max(r) FROM nums;
SELECT sum(f) FROM nums WHERE id IN (10, 11, 12);
SELECT avg(f) FROM nums WHERE id IN (10, 11, 12);
SELECT sum(r) FROM nums WHERE id IN (10, 11, 12);
SELECT sum(f) FROM nums;
-- refused
SELECT sum(i), avg(i) FROM nums;
-- refused
SELECT min(i), max(i) FROM nums;
SELECT min(d), max(d), min(ts), max(ts) FROM nums;
SELECT min(t), max(t) FROM nums;
SELECT count(*), count(t), count(b) FILTER (WHERE b), sum(v) FILTER (WHERE id > 100), count(*) FILTER (WHERE id < 5) FROM nums;
SELECT bool_and(b), bool_or(b), every(b) FROM nums WHERE b IS NULL;
SELECT bool_and(b), bool_or(b), every(b) FROM nums;
SELECT max(b::int), min(t COLLATE "C") FROM nums;
SELECT count(DISTINCT id) FROM nums;
SELECT count(DISTINCT t) FROM nums;
SELECT max(DISTINCT v), min(DISTINCT v) FROM nums;
SELECT sum(1), count(1), count(NULL), max('x'), min(1.50) FROM nums;
SELECT sum(1.0), avg(1), avg(2.50) FROM nums;
SELECT avg(v) FROM nums WHERE id IN (1, 2, 3);
SELECT avg(v) FROM nums WHERE id IN (7, 9);
SELECT b, avg(v), avg(s) FROM nums WHERE v IS NOT NULL AND v <> 'NaN' GROUP BY b ORDER BY b;
SELECT v FROM nums ORDER BY v, id;
SELECT v FROM nums ORDER BY v DESC, id LIMIT 5;
SELECT v FROM nums ORDER BY v DESC NULLS LAST, id LIMIT 5 OFFSET 3;
SELECT f FROM nums ORDER BY f, id;
SELECT r FROM nums ORDER BY r DESC NULLS LAST, id;
SELECT t FROM nums ORDER BY t, id;
SELECT b FROM nums ORDER BY b, id;
SELECT ts FROM nums ORDER BY ts NULLS FIRST, id;
SELECT d FROM nums ORDER BY d DESC, id DESC;
SELECT id FROM nums ORDER BY v, f, id;
SELECT id FROM nums ORDER BY v + 1, id;
SELECT id FROM nums ORDER BY -id LIMIT 4;
SELECT id AS v FROM nums ORDER BY v LIMIT 4;
SELECT -id AS id FROM nums ORDER BY id LIMIT 4;
SELECT -id AS id FROM nums ORDER BY id + 0 LIMIT 4;
SELECT id, v FROM nums ORDER BY 2 NULLS FIRST, 1 LIMIT 4;
SELECT id % 3 AS m, count(*) FROM nums GROUP BY m ORDER BY m;
SELECT id % 3 AS m, count(*) FROM nums GROUP BY id % 3 ORDER BY count(*) DESC, m;
SELECT id % 3 AS id, count(*) FROM nums GROUP BY id ORDER BY 1, 2;
-- refused
SELECT t AS b, count(*) FROM nums GROUP BY b ORDER BY 1;
SELECT b AS x, count(*) AS b FROM nums GROUP BY nums.b ORDER BY 1;
SELECT count(*) AS c FROM nums GROUP BY b ORDER BY c;
SELECT count(*) FROM nums GROUP BY b ORDER BY max(id);
SELECT b FROM nums GROUP BY b ORDER BY count(*) DESC, b LIMIT 2;
SELECT b, count(*) FROM nums GROUP BY b ORDER BY b OFFSET 1;
SELECT b, count(*) FROM nums GROUP BY b ORDER BY b LIMIT 0;
SELECT b, count(*) FROM nums GROUP BY b ORDER BY b LIMIT NULL OFFSET NULL;
SELECT count(*) FROM nums LIMIT 0;
SELECT count(*) FROM nums OFFSET 1;
SELECT count(*) FROM nums LIMIT -1;
SELECT id FROM nums ORDER BY id OFFSET -1;
-- refused
SELECT id FROM nums ORDER BY id LIMIT 2.5;
SELECT id FROM nums ORDER BY id LIMIT '3';
SELECT id FROM nums ORDER BY id LIMIT 3::bigint OFFSET 2::int;
SELECT id FROM nums ORDER BY id OFFSET 10 LIMIT ALL;
SELECT id FROM nums ORDER BY id OFFSET 100;
-- refused
SELECT id FROM nums ORDER BY id LIMIT 9223372036854775807 OFFSET 9;
SELECT id FROM nums ORDER BY id FETCH FIRST ROW ONLY;
SELECT id FROM nums WHERE id IN (1, 2, 3) ORDER BY id DESC LIMIT 2;
SELECT DISTINCT b FROM nums ORDER BY b LIMIT 2;
SELECT DISTINCT b, id > 6 AS late FROM nums ORDER BY late, b;
-- refused
SELECT DISTINCT b FROM nums ORDER BY id;
SELECT DISTINCT t COLLATE "C" AS t FROM nums ORDER BY 1;
SELECT DISTINCT id, b FROM nums ORDER BY id;
SELECT DISTINCT ON (id) id, t FROM nums ORDER BY id, t;
SELECT DISTINCT ON (b) b, id FROM nums ORDER BY b, id;
-- refused
SELECT DISTINCT count(*) FROM nums GROUP BY b ORDER BY 1;
SELECT id, count(*) FROM nums GROUP BY id HAVING count(*) > 0 ORDER BY id LIMIT 3;
-- refused
SELECT b, count(*) FROM nums GROUP BY b HAVING count(*) > 2 ORDER BY b;
-- refused
SELECT b, count(*) FROM nums GROUP BY b HAVING b ORDER BY b;
-- refused
SELECT count(*) FROM nums HAVING count(*) > 100;
-- refused
SELECT 1 FROM nums HAVING true;
SELECT id, t, count(*) FROM nums GROUP BY id ORDER BY id;
SELECT nums.*, 1 AS one FROM nums ORDER BY id LIMIT 2;
SELECT sum(v) OVER (PARTITION BY id) FROM nums ORDER BY id;
SELECT id, row_number() OVER (PARTITION BY id ORDER BY v), count(*) OVER (PARTITION BY b, id) FROM nums ORDER BY id;
-- refused
SELECT id, lag(id) OVER (ORDER BY id) FROM nums ORDER BY id;
SELECT id, sum(v) OVER w FROM nums WINDOW w AS (PARTITION BY id) ORDER BY id;
-- refused
SELECT id, sum(v) OVER w FROM nums WINDOW w AS (ORDER BY id) ORDER BY id;
-- refused
SELECT count(*), b FROM nums GROUP BY GROUPING SETS ((b), ()) ORDER BY 2, 1;
SELECT nums FROM nums WHERE id = 1;
SELECT nums FROM nums ORDER BY id LIMIT 2;
SELECT (nums).id FROM nums ORDER BY 1 LIMIT 2;
SELECT count(nums) FROM nums;
SELECT row(id, b) FROM nums ORDER BY id LIMIT 3;
SELECT nums IS NULL FROM nums ORDER BY id LIMIT 3;
-- refused
SELECT 'x', count(*) FROM nums;
-- refused
SELECT count(*), now() IS NOT NULL FROM nums;
-- refused
SELECT count(*) + 1 FROM nums;
-- refused
SELECT sum(v) / count(*) FROM nums WHERE v <> 'NaN';
-- refused
SELECT round(avg(s), 2) FROM nums;
-- refused
SELECT coalesce(sum(v), 0) FROM nums WHERE id > 1000;
SELECT status, count(*), sum(amount), avg(amount), min(placed), max(placed) FROM orders GROUP BY status ORDER BY status;
SELECT status, count(*) FROM orders WHERE user_id IN (1, 2, 3) GROUP BY status ORDER BY status;
SELECT note, count(*) FROM orders GROUP BY note ORDER BY note;
SELECT date_trunc('month', placed) AS m, count(*), sum(amount) FROM orders GROUP BY m ORDER BY m;
SELECT extract(dow FROM placed) AS dow, count(*) FROM orders GROUP BY 1 ORDER BY 1;
SELECT u.active, count(*), sum(o.amount) FROM users u JOIN orders o ON o.user_id = u.id GROUP BY u.active ORDER BY 1;
SELECT u.active, count(o.id) FROM users u LEFT JOIN orders o ON o.user_id = u.id GROUP BY u.active ORDER BY 1;
SELECT p.name, sum(i.quantity) FROM items i JOIN products p ON p.id = i.product GROUP BY p.name ORDER BY 2 DESC NULLS LAST, 1 LIMIT 5;
-- refused
SELECT tags, count(*) FROM users GROUP BY tags ORDER BY tags;
SELECT DISTINCT tags FROM users;
SELECT tags FROM users ORDER BY tags, id LIMIT 3;
SELECT score, count(*) FROM users GROUP BY score ORDER BY score DESC LIMIT 5;
SELECT ratio, count(*) FROM users GROUP BY ratio ORDER BY ratio;
SELECT max(email), min(email), max(joined), min(active::int) FROM users;
SELECT max(active) FROM users;
SELECT joined, age, id FROM users ORDER BY joined DESC, age, id LIMIT 20 OFFSET 5;
DROP TABLE nums;
