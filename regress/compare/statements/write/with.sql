-- list DELETE RETURNING into SELECT
WITH d AS (DELETE FROM facts WHERE k = 2 RETURNING *) SELECT count(*), sum(n) FROM d;
-- list DELETE over shards into SELECT
WITH d AS (DELETE FROM facts WHERE n > 40 RETURNING k, n) SELECT k, n FROM d ORDER BY 1, 2;
-- list moving rows
WITH d AS (DELETE FROM orders WHERE status = 'paid' RETURNING *) INSERT INTO names SELECT 'order ' || id, user_id FROM d;
-- list moving rows to a colocated table
WITH d AS (DELETE FROM marks WHERE w > 5 RETURNING k, tag) INSERT INTO facts (k, seq, sub) SELECT k, 1000 + length(tag), tag FROM d WHERE tag = 'red';
-- list INSERT RETURNING into INSERT
WITH i AS (INSERT INTO users (id, name) VALUES (13001, 'a'), (13002, 'b') RETURNING id, name) INSERT INTO orders (id, user_id, note) SELECT 7000 + id, id, name FROM i RETURNING note;
-- list UPDATE RETURNING
WITH u AS (UPDATE users SET age = 77 WHERE id < 5 RETURNING id, age) SELECT sum(age) FROM u;
-- list UPDATE RETURNING and the old rows
WITH u AS (UPDATE users SET age = 78 WHERE id < 5 RETURNING id, age) SELECT u.age, x.age FROM u JOIN users x ON x.id = u.id;
-- list two writes
WITH a AS (UPDATE users SET age = 1 WHERE id = 6), b AS (UPDATE users SET age = 2 WHERE id = 7) SELECT age FROM users WHERE id IN (6, 7);
SELECT age FROM users WHERE id IN (6, 7);
-- list a write that nobody reads
WITH a AS (DELETE FROM marks WHERE k = 4) SELECT 1;
-- list a write and a read of the same table
WITH a AS (INSERT INTO names VALUES ('cte', 1) RETURNING n) SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM names WHERE name = 'cte');
-- list a chain
WITH a AS (SELECT id FROM users WHERE age > 60), b AS (UPDATE users SET age = 60 WHERE id IN (SELECT id FROM a) RETURNING id) SELECT count(*) FROM b;
-- list upsert by hand
WITH u AS (UPDATE names SET n = 99 WHERE name = 'not there' RETURNING name) INSERT INTO names SELECT 'not there', 98 WHERE NOT EXISTS (SELECT 1 FROM u);
-- list reference table
WITH i AS (INSERT INTO countries VALUES ('ch', 'Switzerland', false) RETURNING code) SELECT * FROM i;
-- list local table
WITH d AS (DELETE FROM local_notes WHERE id < 3 RETURNING id, body) INSERT INTO users (id, name) SELECT 13100 + id, body FROM d;
-- list one key
WITH d AS (DELETE FROM orders WHERE user_id = 3 RETURNING id) SELECT count(*) FROM d;
WITH i AS (INSERT INTO orders (id, user_id) VALUES (7500, 3) RETURNING id) UPDATE users SET age = (SELECT id FROM i) WHERE id = 3;
-- list an error behind a write
WITH d AS (UPDATE users SET age = 5 RETURNING id) SELECT 1 / (count(*) - count(*)) FROM d;
-- list in a transaction that is rolled back
BEGIN;
WITH d AS (DELETE FROM facts RETURNING k) SELECT count(*) FROM d;
SELECT count(*) FROM facts;
ROLLBACK;
-- list a write and a join that only a workspace can do
WITH d AS (DELETE FROM marks WHERE k = 6 RETURNING tag, w) SELECT d.tag, d.w, n.n FROM d LEFT JOIN names n ON n.name = d.tag ORDER BY 1, 2, 3;
-- list a write and the table as it was
WITH u AS (UPDATE users SET age = 44 WHERE id BETWEEN 6 AND 20 RETURNING id, age AS new_age) SELECT u.new_age, count(*), sum(x.age) FROM u JOIN users x ON x.id = u.id + 1 GROUP BY 1 ORDER BY 1;
WITH d AS (DELETE FROM facts WHERE k = 7 RETURNING n) SELECT (SELECT count(*) FROM d), (SELECT count(*) FROM facts), (SELECT count(*) FROM countries), (SELECT count(*) FROM local_notes);
-- list a write into the rest used twice
WITH d AS (DELETE FROM facts WHERE k BETWEEN 8 AND 9 RETURNING k, n) SELECT a.n, b.n FROM d a JOIN d b ON a.n = b.n + 1 ORDER BY 1, 2;
-- list a write to a local and to a reference table
WITH d AS (UPDATE local_notes SET body = body || '!' WHERE id < 6 RETURNING id) SELECT d.id, u.name FROM d JOIN users u ON u.id = d.id ORDER BY 1;
WITH d AS (UPDATE countries SET name = name || '!' RETURNING code) SELECT d.code, count(u.id) FROM d LEFT JOIN users u ON u.age > 20 GROUP BY 1 ORDER BY 1;
-- list rows written by one statement and moved by it
WITH i AS (INSERT INTO users (id, name) VALUES (13201, 'moved') RETURNING *) SELECT i.name, count(o.id) FROM i LEFT JOIN orders o ON o.user_id <> i.id GROUP BY 1;
WITH d AS (DELETE FROM users WHERE id = 13201 RETURNING name) INSERT INTO names SELECT name, (SELECT count(*) FROM users) FROM d RETURNING *;
WITH d AS (UPDATE users SET age = 45 WHERE id BETWEEN 21 AND 25 RETURNING id) INSERT INTO names SELECT u.name || d.id, o.id FROM d, users u, orders o WHERE u.id = d.id + 1 AND o.user_id = d.id + 2;
-- list a write that nobody reads beside a workspace
WITH d AS (DELETE FROM facts WHERE k = 10) SELECT count(*) FROM users u JOIN facts f ON f.n = u.id;
-- list an error behind a write that was moved
WITH d AS (UPDATE users SET age = 6 RETURNING id) SELECT 1 / (SELECT count(*) - count(*) FROM facts f JOIN d ON d.id = f.n);
-- list a write that is moved, rolled back
BEGIN;
WITH d AS (DELETE FROM facts RETURNING n) SELECT count(*) FROM d JOIN users u ON u.id = d.n;
SELECT count(*) FROM facts;
WITH u AS (UPDATE users SET age = 7 WHERE id < 30 RETURNING id, age) SELECT sum(u.age), sum(x.age) FROM u JOIN users x ON x.id = u.id + 1;
WITH u AS (UPDATE users SET age = 8 WHERE id < 30 RETURNING id, age) SELECT sum(u.age), sum(x.age) FROM u JOIN users x ON x.id = u.id + 1;
ROLLBACK;
-- list a write that is moved, behind others
BEGIN;
UPDATE users SET age = 9 WHERE id = 40;
WITH u AS (UPDATE users SET age = age + 1 WHERE id BETWEEN 38 AND 42 RETURNING id, age) SELECT u.age, x.age FROM u JOIN users x ON x.id = u.id + 1 ORDER BY 1, 2;
COMMIT;
-- list columns of one name
-- refused
WITH d AS (DELETE FROM facts WHERE k = 11 RETURNING n, n) SELECT count(*) FROM d JOIN users u ON u.id = 1;
WITH d(a, b) AS (DELETE FROM facts WHERE k = 12 RETURNING n + 1 AS x, sub) SELECT d.a, d.b, u.id FROM d LEFT JOIN users u ON u.id = d.a ORDER BY 1, 2, 3;
-- list two writes over shards
WITH a AS (DELETE FROM facts WHERE k = 13 RETURNING n), b AS (DELETE FROM marks WHERE k = 13 RETURNING w) SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b);
-- list rows of a moved write in portions
-- portal 2
WITH d AS (DELETE FROM facts WHERE k BETWEEN 14 AND 18 RETURNING k, n) SELECT d.k, d.n, u.id FROM d LEFT JOIN users u ON u.id = d.n ORDER BY 1, 2, 3;
SELECT count(*) FROM facts;
-- list two writes that are moved, and what they join
WITH a AS (DELETE FROM facts WHERE k BETWEEN 20 AND 24 RETURNING k, n), b AS (UPDATE marks SET w = w + 100 WHERE k BETWEEN 20 AND 30 RETURNING k, w) SELECT a.k, a.n, b.w, x.w FROM a LEFT JOIN b ON b.k = a.n LEFT JOIN marks x ON x.k = a.k + 1 ORDER BY 1, 2, 3, 4;
WITH a AS (UPDATE users SET age = 31 WHERE id < 9 RETURNING id), b AS (UPDATE facts SET n = n + 1 WHERE k < 5 RETURNING n), c AS (DELETE FROM local_notes WHERE id > 6 RETURNING id) SELECT (SELECT count(*) FROM a), (SELECT sum(n) FROM b), (SELECT count(*) FROM c), (SELECT count(*) FROM local_notes), (SELECT sum(n) FROM facts WHERE k < 5), (SELECT sum(age) FROM users WHERE id < 9);
-- list rows of several shards inserted in a WITH query
WITH i AS (INSERT INTO users (id, name) VALUES (13301, 'one'), (13302, 'two'), (13303, 'three'), (13304, 'four') RETURNING id, name) SELECT i.name, n.n, (SELECT count(*) FROM users WHERE id > 13300) FROM i LEFT JOIN names n ON n.name = i.name ORDER BY i.id;
WITH i AS (INSERT INTO users (id, name) VALUES (13305, 'five'), (13306, 'six') RETURNING id), j AS (INSERT INTO users (id, name) VALUES (13307, 'seven'), (13308, 'eight') RETURNING id) SELECT id FROM i UNION ALL SELECT id FROM j ORDER BY id;
WITH i AS (INSERT INTO users (id, name) VALUES (13301, 'again'), (13309, 'nine') RETURNING id) SELECT count(*) FROM i JOIN facts f ON f.n = i.id;
-- list a reference table changed in a WITH query
WITH i AS (INSERT INTO countries VALUES ('q1', 'Q one', false), ('q2', 'Q two', true) RETURNING code, name) SELECT i.*, (SELECT count(*) FROM countries), u.id FROM i LEFT JOIN users u ON u.id = length(i.name) ORDER BY 1, u.id;
WITH d AS (DELETE FROM countries WHERE code LIKE 'q%' RETURNING code) SELECT count(*), (SELECT count(*) FROM facts WHERE k = 3) FROM d;
WITH d AS (UPDATE countries SET name = name || '!' RETURNING code), u AS (UPDATE users SET name = 'both' WHERE id < 4 RETURNING id) SELECT (SELECT count(*) FROM d), (SELECT sum(id) FROM u), (SELECT count(*) FROM facts f JOIN users x ON x.id = f.n);
-- list two writes of which one must come first
WITH a AS (DELETE FROM orders WHERE user_id IN (15, 16, 17) RETURNING id), b AS (DELETE FROM items WHERE user_id IN (15, 16, 17) RETURNING line), c AS (DELETE FROM users WHERE id IN (15, 16, 17) RETURNING id) SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), (SELECT count(*) FROM c), (SELECT count(*) FROM facts f JOIN users u ON u.id = f.n);
-- refused
WITH a AS (UPDATE users SET age = 1 WHERE id < 10 RETURNING id), b AS (UPDATE users SET age = 2 WHERE id > 10 RETURNING id) SELECT (SELECT count(*) FROM a), count(*) FROM b JOIN facts f ON f.n = b.id;
-- refused
WITH a AS (UPDATE users SET age = 1 WHERE id < 10 RETURNING id), b AS (UPDATE facts SET n = 2 WHERE k IN (SELECT id FROM users WHERE age = 1) RETURNING k) SELECT (SELECT count(*) FROM a), count(*) FROM b JOIN users f ON f.id = b.k + 1;
-- list several writes and an error
WITH a AS (DELETE FROM facts WHERE k = 25 RETURNING n), b AS (INSERT INTO users (id) VALUES (13401), (1), (13402) RETURNING id) SELECT (SELECT count(*) FROM a), count(*) FROM b JOIN names n ON n.n = b.id;
WITH a AS (DELETE FROM facts WHERE k = 25 RETURNING n), b AS (UPDATE users SET age = 1 / (id - 30) WHERE id > 1 RETURNING id) SELECT (SELECT count(*) FROM a), count(*) FROM b JOIN names n ON n.n = b.id;
-- list portions of RETURNING
-- portal 2
INSERT INTO users (id, name) VALUES (13501, 'a'), (13502, 'b'), (13503, 'c'), (13504, 'd'), (13505, 'e') RETURNING id;
-- portal 3
UPDATE users SET age = 3 WHERE id > 13500 RETURNING id;
-- portal 2
DELETE FROM users WHERE id > 13500 RETURNING id;
-- list rows that one WITH query deletes and another inserts
WITH d AS (DELETE FROM facts WHERE k BETWEEN 30 AND 36 RETURNING *), i AS (INSERT INTO names SELECT 'was ' || d.k, d.n FROM d RETURNING name, n) SELECT count(*), sum(n), min(name COLLATE "C"), (SELECT count(*) FROM facts), (SELECT count(*) FROM names) FROM i;
WITH d AS (DELETE FROM local_notes WHERE id < 5 RETURNING id, body), i AS (INSERT INTO users (id, name) SELECT 13600 + id, body FROM d RETURNING id, name) SELECT i.id, i.name, x.k FROM i LEFT JOIN facts x ON x.n = i.id - 13600 ORDER BY 1, 2, 3;
WITH i AS (INSERT INTO users (id, name) VALUES (13701, 'p'), (13702, 'q'), (13703, 'r') RETURNING id, name), o AS (INSERT INTO orders (id, user_id, note) SELECT 8000 + i.id, i.id, i.name FROM i RETURNING id, user_id, note) SELECT o.*, i.name FROM o JOIN i ON i.id = o.user_id ORDER BY 1;
WITH o AS (INSERT INTO orders (id, user_id, note) SELECT 8100 + i.id, i.id, i.name FROM i RETURNING user_id), i AS (INSERT INTO users (id, name) VALUES (13711, 'p'), (13712, 'q') RETURNING id, name) SELECT count(*) FROM o JOIN names n ON n.n <> o.user_id;
WITH d AS (DELETE FROM marks WHERE k = 40 RETURNING tag, w), i AS (INSERT INTO countries SELECT 'z' || row_number() OVER (ORDER BY tag COLLATE "C", w), tag, false FROM d RETURNING code, name) SELECT * FROM i LEFT JOIN users u ON u.id = length(i.code) ORDER BY code;
WITH d AS (DELETE FROM users WHERE id > 13700 AND id < 13705 RETURNING id), e AS (DELETE FROM orders WHERE user_id > 13700 AND user_id < 13705 RETURNING id) SELECT (SELECT count(*) FROM d), (SELECT count(*) FROM e), count(*) FROM facts f JOIN users u ON u.age = f.n;
-- list key changes in WITH queries
WITH u AS (UPDATE users SET id = id + 20000 WHERE id IN (21, 22, 23) RETURNING id, name) SELECT u.id, u.name, x.id FROM u LEFT JOIN users x ON x.id = u.id - 20000 ORDER BY 1;
SELECT id, name FROM users WHERE id > 20000 ORDER BY id;
WITH u AS (UPDATE users SET id = 5 WHERE id = 20021 RETURNING id) SELECT count(*) FROM u JOIN names n ON n.n = u.id;
-- list a WITH query that must read other shards first
-- refused
WITH u AS (UPDATE users SET age = (SELECT max(n) FROM facts) WHERE id < 5 RETURNING id, age) SELECT u.id, u.age, x.age FROM u JOIN users x ON x.id = u.id + 1 ORDER BY 1;
WITH i AS (INSERT INTO users (id, name) SELECT 13800 + k, max(sub) FROM facts WHERE k BETWEEN 1 AND 4 GROUP BY k RETURNING id), m AS (UPDATE marks SET w = w + 1 WHERE k < 4 RETURNING w) SELECT (SELECT count(*) FROM i), (SELECT sum(w) FROM m), (SELECT sum(w) FROM marks WHERE k < 4), (SELECT count(*) FROM users WHERE id > 13800);
-- list a chain of writes that fails at its end
WITH d AS (DELETE FROM facts WHERE k = 37 RETURNING k, n), i AS (INSERT INTO users (id, name) SELECT 1, 'taken' FROM d RETURNING id) SELECT count(*) FROM i JOIN names n ON n.n = i.id;
SELECT count(*) FROM facts WHERE k = 37;
-- list chains in a transaction
BEGIN;
WITH d AS (DELETE FROM facts WHERE k BETWEEN 38 AND 39 RETURNING k, n), i AS (INSERT INTO users (id, name) SELECT 13900 + k * 100 + row_number() OVER (), 'in' FROM d RETURNING id) SELECT count(*), (SELECT count(*) FROM facts f JOIN users u ON u.id = f.n) FROM i;
SELECT count(*) FROM users WHERE id > 13900;
ROLLBACK;
SELECT count(*) FROM facts WHERE k BETWEEN 38 AND 39;
-- list parameters in a chain
-- params 41, 'p', 14500
WITH d AS (DELETE FROM facts WHERE k = %s RETURNING k, seq), i AS (INSERT INTO users (id, name) SELECT %s || 'x' = 'px' , 'a' FROM d RETURNING id) SELECT count(*) FROM i JOIN facts f ON f.n = i.id + %s;
-- params 41, 'p', 14500
WITH d AS (DELETE FROM facts WHERE k = %s RETURNING k, seq), i AS (INSERT INTO users (id, name) SELECT 14000 + seq, %s || k FROM d RETURNING id, name) SELECT count(i.id), min(i.name) FROM i LEFT JOIN facts f ON f.n = i.id + %s;
-- list a WITH query that inserts, and UPDATE or DELETE behind it
WITH i AS (INSERT INTO users (id, name) VALUES (14101, 'u'), (14102, 'v'), (14103, 'w') RETURNING id, name) UPDATE facts SET sub = i.name FROM i WHERE facts.k = i.id - 14100 RETURNING facts.k, facts.sub;
WITH d AS (DELETE FROM facts WHERE k BETWEEN 2 AND 3 RETURNING k, n) UPDATE marks SET w = d.n FROM d WHERE marks.k = d.k + 1;
WITH u AS (UPDATE marks SET w = 5 WHERE k IN (4, 5, 6) RETURNING k) DELETE FROM facts USING u WHERE facts.n = u.k RETURNING facts.k, facts.seq, u.k;
WITH i AS (INSERT INTO countries VALUES ('y1', 'Y', true) RETURNING code) UPDATE users SET name = i.code FROM i WHERE users.id < 4;
WITH i AS (INSERT INTO names VALUES ('loc', 7) RETURNING n) UPDATE users SET age = i.n FROM i, facts f WHERE users.id = f.n AND f.k = i.n RETURNING users.id, users.age;
-- refused
WITH u AS (UPDATE users SET age = 6 WHERE id < 5 RETURNING id) UPDATE users SET name = 'both' FROM u WHERE users.id = u.id + 1;
-- list a WITH query that inserts, and INSERT behind it
WITH i AS (INSERT INTO users (id, name) VALUES (14201, 'a'), (14202, 'b') RETURNING id, name) INSERT INTO orders (id, user_id, note) SELECT 9000 + id, id, name FROM i RETURNING note;
WITH i AS (INSERT INTO countries VALUES ('x1', 'X', true), ('x2', 'X', true) RETURNING code) INSERT INTO users (id, name) SELECT 14300 + length(code) * row_number() OVER (), code FROM i;
WITH d AS (DELETE FROM facts WHERE k = 10 RETURNING k, n), i AS (INSERT INTO users (id, name) SELECT 14400 + row_number() OVER (), 'from d' FROM d RETURNING id) INSERT INTO names SELECT 'n' || id, id FROM i;
WITH u AS (UPDATE users SET id = 14500 WHERE id = 30 RETURNING id, name) INSERT INTO names SELECT name, id FROM u RETURNING n;
-- list rows that are deleted and come back
WITH a AS (DELETE FROM facts WHERE k BETWEEN 42 AND 44 RETURNING *), b AS (INSERT INTO facts (k, seq, n) SELECT k + 5000, seq, n FROM a RETURNING k) SELECT count(*), min(k), max(k), (SELECT count(*) FROM facts) FROM b;
WITH a AS (DELETE FROM users WHERE id BETWEEN 31 AND 33 RETURNING id, name), b AS (INSERT INTO users (id, name) SELECT id, name || '!' FROM a RETURNING id, name) SELECT b.id, b.name, a.name FROM a JOIN b ON b.id = a.id ORDER BY 1;
SELECT id, name FROM users WHERE id BETWEEN 31 AND 33 ORDER BY id;
