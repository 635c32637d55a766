CREATE TABLE made1 AS SELECT id, name, age, score FROM users WHERE age > 30;
SELECT * FROM made1 ORDER BY id;
SELECT count(*), sum(age) FROM made1;
CREATE TABLE made1 AS SELECT id FROM users;
CREATE TABLE IF NOT EXISTS made1 AS SELECT id FROM users;
SELECT m.id, u.name FROM made1 m JOIN users u ON u.id = m.id ORDER BY m.id;
DROP TABLE made1;
CREATE TABLE made2 (a, b) WITH (fillfactor = 70) AS SELECT status, count(*) FROM orders GROUP BY status;
SELECT * FROM made2 ORDER BY a, b;
INSERT INTO made2 SELECT 'more', id FROM users WHERE id < 4;
UPDATE made2 SET b = b + 1 WHERE a = 'more';
SELECT * FROM made2 ORDER BY a, b;
ALTER TABLE made2 ADD COLUMN c int DEFAULT 5;
DELETE FROM made2 WHERE b > 2;
SELECT a, b, c FROM made2 ORDER BY a, b;
DROP TABLE made2;
CREATE TABLE made3 AS SELECT id, id FROM users;
CREATE TABLE made3 (a, b, c) AS SELECT id, name FROM users;
CREATE TABLE made3 AS SELECT nothing FROM users;
CREATE TABLE made3 AS SELECT 1 / (id - id) AS x FROM users;
SELECT * FROM made3;
SELECT id, name INTO made3 FROM users WHERE id < 20 ORDER BY id DESC LIMIT 5;
SELECT * FROM made3 ORDER BY id;
DROP TABLE made3;
SELECT status, max(amount) INTO made4 FROM orders GROUP BY status UNION SELECT name, id FROM users WHERE id < 5;
SELECT * FROM made4 ORDER BY 1, 2;
DROP TABLE made4;
CREATE TABLE made5 AS SELECT u.id, u.name, o.amount, rank() OVER (ORDER BY o.amount, o.id, o.user_id) AS place FROM users u JOIN orders o ON o.user_id = u.id;
SELECT * FROM made5 ORDER BY id, place;
DROP TABLE made5;
CREATE TABLE made6 AS WITH big AS (SELECT user_id, sum(amount) AS total FROM orders GROUP BY user_id) SELECT u.name, b.total FROM big b JOIN users u ON u.id = b.user_id WITH DATA;
SELECT * FROM made6 ORDER BY name, total;
DROP TABLE made6;
CREATE TABLE made7 AS SELECT * FROM users WITH NO DATA;
SELECT * FROM made7;
DROP TABLE made7;
CREATE TABLE made8 AS SELECT * FROM users WHERE id = 7;
SELECT * FROM made8;
DROP TABLE made8;
CREATE TABLE made9 AS TABLE users;
SELECT count(*), min(id), max(name) FROM made9;
DROP TABLE made9;
CREATE TABLE made10 AS SELECT c.code, count(*) AS n FROM countries c LEFT JOIN users u ON u.name = c.code GROUP BY c.code;
SELECT * FROM made10 ORDER BY code;
DROP TABLE made10;
CREATE TABLE made11 AS SELECT 'a' AS t, NULL AS n, ARRAY[id] AS l, ROW(1) IS NULL AS r, id::numeric(10,2) AS m FROM users WHERE id < 4;
SELECT * FROM made11 ORDER BY l;
DROP TABLE made11;
CREATE UNLOGGED TABLE made12 AS SELECT id FROM users WHERE id < 4;
SELECT * FROM made12 ORDER BY id;
DROP TABLE made12;
CREATE TEMP TABLE made13 AS SELECT id, name FROM users WHERE id < 6;
SELECT m.id, u.age FROM made13 m JOIN users u ON u.id = m.id ORDER BY m.id;
INSERT INTO made13 SELECT id, name FROM users WHERE id = 9;
SELECT * FROM made13 ORDER BY id;
DROP TABLE made13;
CREATE TEMPORARY TABLE made14 ON COMMIT DROP AS SELECT id FROM users;
SELECT * FROM made14;
BEGIN;
CREATE TEMPORARY TABLE made14 ON COMMIT DROP AS SELECT id FROM users WHERE id < 4;
SELECT * FROM made14 ORDER BY id;
COMMIT;
SELECT * FROM made15;
BEGIN;
INSERT INTO users (id, name) VALUES (77001, 'in a transaction');
CREATE TABLE made15 AS SELECT id, name FROM users WHERE id > 77000;
SELECT * FROM made15;
INSERT INTO users (id, name) SELECT id + 1, name FROM made15;
SELECT id, name FROM users WHERE id > 77000 ORDER BY id;
ROLLBACK;
SELECT * FROM made16;
BEGIN;
CREATE TABLE made16 AS SELECT id, name FROM users WHERE id < 5;
SAVEPOINT a;
CREATE TABLE made16 AS SELECT id, name FROM users WHERE id < 5;
ROLLBACK TO a;
DELETE FROM made16 WHERE id = 3;
COMMIT;
SELECT * FROM made16 ORDER BY id;
DROP TABLE made16;
CREATE TABLE made18 AS SELECT id FROM users FOR UPDATE;
DROP TABLE made18;
CREATE TEMP TABLE made20 AS SELECT id FROM users WHERE id < 3;
CREATE TEMP TABLE IF NOT EXISTS made20 AS SELECT id, name FROM users;
CREATE TEMP TABLE IF NOT EXISTS made21 AS SELECT id FROM users WHERE id < 3;
SELECT * FROM made20 JOIN made21 USING (id) ORDER BY id;
DROP TABLE made20, made21;
CREATE TABLE IF NOT EXISTS public.made22 (x) AS SELECT id FROM users WHERE id < 3;
CREATE TABLE IF NOT EXISTS public.made22 (x) AS SELECT id FROM users WHERE id < 9;
SELECT * FROM made22 ORDER BY x;
DROP TABLE made22;
-- params 'x', 4
CREATE TABLE made23 AS SELECT id, %s::text AS p FROM users WHERE id < %s;
SELECT * FROM made23 ORDER BY id;
DROP TABLE made23;
BEGIN;
CREATE TABLE made24 AS SELECT sum(score) AS s, name FROM users GROUP BY name ORDER BY name;
SELECT * FROM made24 ORDER BY name;
INSERT INTO users (id, name) VALUES (77003, 'another');
INSERT INTO orders (id, user_id) SELECT 77000 + id, id FROM users WHERE id = 77003;
COMMIT;
SELECT count(*) FROM made24;
DROP TABLE made24;
DELETE FROM orders WHERE user_id = 77003;
DELETE FROM users WHERE id = 77003;
-- only plain
PREPARE made_of (int) AS SELECT id, name FROM users WHERE id < $1;
-- only plain
PREPARE made_at_home (int) AS SELECT code FROM countries WHERE length(code) > $1;
-- only plain
CREATE TABLE made25 AS EXECUTE made_of(4);
-- only plain
CREATE TABLE made26 (a, b) AS EXECUTE made_of(4) WITH NO DATA;
-- only plain
CREATE TEMP TABLE made27 AS EXECUTE made_at_home(1);
-- only plain
CREATE TABLE IF NOT EXISTS public.made25 AS EXECUTE made_of(9);
-- only plain
SELECT * FROM made25 ORDER BY id;
-- only plain
SELECT a, b FROM made26;
-- only plain
SELECT code FROM made27 ORDER BY code;
-- only plain
DROP TABLE made25, made26, made27;
-- only plain
DEALLOCATE made_of;
-- only plain
DEALLOCATE made_at_home;
-- refused
CREATE TABLE made19 AS SELECT ctid FROM users;
CREATE TEMPORARY TABLE hidden_t (a bigint);
-- refused
CREATE TABLE hidden_t AS SELECT id FROM users WHERE id < 9;
CREATE TABLE public.hidden_t AS SELECT id FROM users WHERE id < 7;
SELECT count(*) FROM hidden_t;
SELECT count(*) FROM public.hidden_t;
DROP TABLE pg_temp.hidden_t;
CREATE TABLE hidden_u AS SELECT id FROM users WHERE id < 9;
SELECT count(*) FROM hidden_t;
DROP TABLE hidden_t, hidden_u;
