-- list DELETE RETURNING into SELECT
WITH d AS (DELETE FROM facts WHERE k = 2 RETURNING *) SELECT count(*), sum(n) FROM d;
-- refused
-- list DELETE over shards into SELECT
WITH d AS (DELETE FROM facts WHERE n > 40 RETURNING k, n) SELECT k, n FROM d ORDER BY 1, 2;
-- refused
-- list moving rows
WITH d AS (DELETE FROM orders WHERE status = 'paid' RETURNING *) INSERT INTO names SELECT 'order ' || id, user_id FROM d;
-- refused
-- list moving rows to a colocated table
WITH d AS (DELETE FROM marks WHERE w > 5 RETURNING k, tag) INSERT INTO facts (k, seq, sub) SELECT k, 1000 + length(tag), tag FROM d WHERE tag = 'red';
-- refused
-- list INSERT RETURNING into INSERT
WITH i AS (INSERT INTO users (id, name) VALUES (13001, 'a'), (13002, 'b') RETURNING id, name) INSERT INTO orders (id, user_id, note) SELECT 7000 + id, id, name FROM i RETURNING note;
-- refused
-- list UPDATE RETURNING
WITH u AS (UPDATE users SET age = 77 WHERE id < 5 RETURNING id, age) SELECT sum(age) FROM u;
-- refused
-- list UPDATE RETURNING and the old rows
WITH u AS (UPDATE users SET age = 78 WHERE id < 5 RETURNING id, age) SELECT u.age, x.age FROM u JOIN users x ON x.id = u.id;
-- refused
-- list two writes
WITH a AS (UPDATE users SET age = 1 WHERE id = 6), b AS (UPDATE users SET age = 2 WHERE id = 7) SELECT age FROM users WHERE id IN (6, 7);
SELECT age FROM users WHERE id IN (6, 7);
-- list a write that nobody reads
WITH a AS (DELETE FROM marks WHERE k = 4) SELECT 1;
-- refused
-- list a write and a read of the same table
WITH a AS (INSERT INTO names VALUES ('cte', 1) RETURNING n) SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM names WHERE name = 'cte');
-- refused
-- list a chain
WITH a AS (SELECT id FROM users WHERE age > 60), b AS (UPDATE users SET age = 60 WHERE id IN (SELECT id FROM a) RETURNING id) SELECT count(*) FROM b;
-- list upsert by hand
WITH u AS (UPDATE names SET n = 99 WHERE name = 'not there' RETURNING name) INSERT INTO names SELECT 'not there', 98 WHERE NOT EXISTS (SELECT 1 FROM u);
-- refused
-- list reference table
WITH i AS (INSERT INTO countries VALUES ('ch', 'Switzerland', false) RETURNING code) SELECT * FROM i;
-- refused
-- list local table
WITH d AS (DELETE FROM local_notes WHERE id < 3 RETURNING id, body) INSERT INTO users (id, name) SELECT 13100 + id, body FROM d;
-- list one key
WITH d AS (DELETE FROM orders WHERE user_id = 3 RETURNING id) SELECT count(*) FROM d;
-- refused
WITH i AS (INSERT INTO orders (id, user_id) VALUES (7500, 3) RETURNING id) UPDATE users SET age = (SELECT id FROM i) WHERE id = 3;
-- refused
-- list an error behind a write
WITH d AS (UPDATE users SET age = 5 RETURNING id) SELECT 1 / (count(*) - count(*)) FROM d;
-- list in a transaction that is rolled back
BEGIN;
-- refused
WITH d AS (DELETE FROM facts RETURNING k) SELECT count(*) FROM d;
SELECT count(*) FROM facts;
ROLLBACK;
