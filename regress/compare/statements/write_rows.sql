-- Writes whose rows are found first (PLAN_ROWS): FROM over shards, sub-selects, local tables, keys that change, MERGE.
UPDATE orders o SET note = 'x' FROM users u WHERE u.id = o.id AND u.age > 50;
SELECT user_id, id, note FROM orders ORDER BY user_id, id;
UPDATE users SET name = (SELECT max(status) FROM orders), age = age + 1 WHERE id < 20 RETURNING id, name, age;
UPDATE users u SET name = o.note, ratio = 0.5 FROM (SELECT user_id, max(note) AS note FROM orders GROUP BY user_id) o WHERE o.user_id = u.age RETURNING u.id, u.name, o.user_id;
UPDATE users SET age = NULL WHERE id IN (SELECT user_id FROM orders ORDER BY amount DESC NULLS LAST, id LIMIT 7) RETURNING *;
UPDATE users u SET (name, score) = (SELECT body, id FROM local_notes n WHERE n.id = u.id) WHERE u.id < 8 RETURNING *;
UPDATE users u SET email = n.body FROM local_notes n WHERE n.id = u.id AND u.id = 5 RETURNING u.*, n.*;
UPDATE users u SET tags = array_append(tags, n.body) FROM local_notes n WHERE n.id = u.id RETURNING u.id, tags, n.body || '!';
UPDATE users u SET joined = e.day FROM events e WHERE e.n = u.age AND e.kind = 'in' AND (SELECT count(*) FROM events x WHERE x.n = e.n AND x.kind = 'in') = 1 RETURNING u.id, e.day, joined;
UPDATE users SET name = 'nobody' FROM local_notes n WHERE n.id = -1 RETURNING users.id;
WITH big AS (SELECT user_id, sum(amount) AS s FROM orders GROUP BY user_id HAVING sum(amount) > 500) UPDATE docs SET size = 7 FROM big WHERE docs.size = big.user_id RETURNING docs.id, s;
UPDATE users SET age = 'x' FROM local_notes n WHERE n.id = users.id;
UPDATE users SET age = 1000000000000 FROM local_notes n WHERE n.id = users.id;
UPDATE users SET nothing = 1 FROM local_notes n WHERE n.id = users.id;
DELETE FROM items i USING orders o WHERE o.id = i.order_id AND o.status = 'open' RETURNING i.user_id, i.order_id, i.line, o.status;
DELETE FROM names WHERE n = (SELECT min(n) FROM names) RETURNING name;
DELETE FROM pairs p USING local_notes n WHERE n.id = p.a RETURNING p.a, p.b, n.body;
DELETE FROM pairs WHERE v > (SELECT avg(v) FROM pairs);
SELECT * FROM pairs ORDER BY a, b;
-- params 3, 'par'
UPDATE users u SET name = %s || n.body FROM local_notes n WHERE n.id = u.id AND u.id > 2 RETURNING u.id, u.name;
-- params 'q', 40
UPDATE users SET name = %s, age = (SELECT count(*) FROM local_notes) WHERE age > %s AND email IN (SELECT email FROM users WHERE id < 90) RETURNING id;
UPDATE local_notes n SET body = u.name FROM users u WHERE u.id = n.id RETURNING n.id, n.body, u.id;
UPDATE local_notes SET body = (SELECT count(*) FROM orders)::text WHERE id < 3;
DELETE FROM local_notes WHERE id IN (SELECT user_id FROM orders WHERE amount > 400) RETURNING id;
SELECT * FROM local_notes ORDER BY id;
UPDATE products p SET price = o.amount FROM (SELECT user_id, max(amount) AS amount FROM orders GROUP BY user_id) o WHERE o.user_id = p.id RETURNING p.id, p.price;
UPDATE products SET name = name || (SELECT count(*) FROM users) WHERE id < 5;
DELETE FROM products WHERE id IN (SELECT product FROM items GROUP BY product HAVING count(*) > 9) RETURNING id;
SELECT * FROM products ORDER BY id;
UPDATE countries SET big = random() < 2 WHERE code = 'de' RETURNING name;
-- the key
UPDATE users SET id = id + 1000 WHERE id BETWEEN 60 AND 70 RETURNING id, name;
UPDATE users SET id = 5000 WHERE id = 71 RETURNING *;
-- params 5001, 72
UPDATE users SET id = %s WHERE id = %s RETURNING id, name, age;
UPDATE users SET id = 1 WHERE id = 2;
UPDATE users SET id = NULL WHERE id = 2;
UPDATE users SET id = '2' WHERE id = 2;
UPDATE users SET id = 6000.4, name = DEFAULT WHERE id = 3 RETURNING id, name;
UPDATE names SET name = upper(name), n = n + 1 WHERE n = 3 RETURNING *;
UPDATE docs SET id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' WHERE id = (SELECT id FROM docs ORDER BY id LIMIT 1);
UPDATE pairs SET a = a + 100, b = b || 'q';
UPDATE pairs SET (a, b) = (b::int, 'z') WHERE b = 'none';
UPDATE events SET day = day + 100 WHERE day < '2026-05-01' RETURNING day, kind, n;
UPDATE regions SET code = 'fr' WHERE code = 'it' RETURNING *;
UPDATE regions SET code = 'fr' WHERE code = 'fr' RETURNING *;
UPDATE orders SET user_id = u.age FROM users u WHERE u.id = orders.user_id AND u.age > 60;
UPDATE "Odd Table" SET "Key Col" = "Key Col" + 1000, "select" = 'odd' WHERE "a""b" > 100 RETURNING *;
SELECT id, name FROM users WHERE id > 1000 ORDER BY id;
SELECT * FROM events ORDER BY day, kind;
SELECT * FROM regions ORDER BY code COLLATE "C", city;
UPDATE "Odd Table" SET "Key Col" = "Odd Table"."Key Col" + 5000 FROM local_notes n WHERE n.id = "Odd Table"."a""b";
UPDATE docs SET id = 'b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' FROM local_notes n WHERE n.id = docs.size AND n.id = (SELECT min(size) FROM docs WHERE size > 0) AND docs.size > 0;
UPDATE names x SET name = x.name || '!' FROM local_notes n WHERE n.id = x.n AND n.id < 4;
SELECT * FROM "Odd Table" ORDER BY "Key Col";
SELECT * FROM names ORDER BY name COLLATE "C";
-- an aggregate makes one row, also of the columns beside it
-- refused
UPDATE users u SET (age, name) = (SELECT count(*), 'none' FROM local_notes n WHERE n.id = -1) WHERE u.id IN (30, 31);
-- refused
UPDATE users u SET (age, name) = (SELECT count(*), 'all' FROM local_notes n) WHERE u.id IN (30, 31);
-- refused
UPDATE users u SET (age, name) = (SELECT generate_series(1, 2), 'two' FROM local_notes n WHERE n.id = 3) WHERE u.id IN (30, 31);
UPDATE users u SET (age, name) = (SELECT count(*), max(body) FROM local_notes n WHERE n.id = -1) WHERE u.id IN (30, 31);
UPDATE users u SET (age, name) = (SELECT n.id, 'one' FROM local_notes n WHERE n.id = u.id - 30) WHERE u.id IN (31, 32, 45);
UPDATE users u SET (age, name) = (SELECT 7, 'having' FROM local_notes n HAVING count(*) > 1) WHERE u.id = 33;
SELECT id, age, name FROM users WHERE id BETWEEN 30 AND 50 ORDER BY id;
-- inside of a transaction
BEGIN;
INSERT INTO local_notes VALUES (90, 'ninety');
UPDATE users u SET name = n.body FROM local_notes n WHERE n.id = 90 AND u.id IN (10, 11, 12) RETURNING u.id, u.name;
UPDATE users u SET name = n.name || '?' FROM users n WHERE n.id = 10 AND u.id IN (11, 12, 13) RETURNING u.id, u.name;
UPDATE users SET id = id + 9000 WHERE id IN (11, 12) RETURNING id, name;
SELECT id, name FROM users WHERE id IN (10, 11, 12, 9011, 9012) ORDER BY id;
DELETE FROM users WHERE id IN (SELECT id + 9000 FROM users WHERE id < 50) RETURNING id;
ROLLBACK;
SELECT id, name FROM users WHERE id IN (10, 11, 12, 13, 9011, 9012) ORDER BY id;
-- MERGE
MERGE INTO users u USING (VALUES (80, 'm80'), (8000, 'm8000'), (81, NULL)) s(id, name) ON u.id = s.id WHEN MATCHED AND s.name IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name);
MERGE INTO users u USING (SELECT 82::bigint AS id, 'one' AS name) s ON u.id = s.id WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, s.name);
MERGE INTO users u USING local_notes n ON u.id = n.id WHEN MATCHED THEN UPDATE SET name = n.body || '/' || u.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (n.id, n.body);
MERGE INTO users u USING (SELECT user_id, count(*) AS n FROM orders GROUP BY user_id) o ON u.id = o.user_id WHEN MATCHED AND o.n > 2 THEN DELETE WHEN MATCHED THEN UPDATE SET age = o.n;
MERGE INTO users u USING (SELECT age FROM users WHERE age IS NOT NULL) o ON u.id = o.age WHEN MATCHED THEN UPDATE SET name = 'twice';
MERGE INTO names t USING countries c ON t.name = c.name WHEN NOT MATCHED THEN INSERT VALUES (c.name, 77) WHEN MATCHED THEN DO NOTHING;
MERGE INTO local_notes n USING users u ON n.id = u.id WHEN MATCHED AND u.age > 40 THEN DELETE WHEN NOT MATCHED AND u.id < 40 THEN INSERT VALUES (u.id, u.name);
MERGE INTO products p USING (SELECT user_id, max(amount) AS m FROM orders GROUP BY user_id) o ON p.id = o.user_id WHEN MATCHED THEN UPDATE SET price = o.m WHEN NOT MATCHED AND o.user_id < 40 THEN INSERT (id, price) VALUES (o.user_id, 1);
-- refused
MERGE INTO users u USING local_notes n ON u.name = n.body WHEN MATCHED THEN DELETE;
SELECT id, name, age FROM users ORDER BY id;
SELECT * FROM names ORDER BY name COLLATE "C";
SELECT * FROM local_notes ORDER BY id;
SELECT * FROM products ORDER BY id;
-- A row that is met twice fails however many rows there are: they are not cut into batches.
INSERT INTO users (id, name) SELECT 1 + n % 1500, 'twice' FROM generate_series(0, 2999) n ON CONFLICT (id) DO UPDATE SET name = excluded.name;
MERGE INTO users u USING (SELECT CASE WHEN n IN (0, 2999) THEN 3 ELSE 600000 + n END AS k FROM generate_series(0, 2999) n) s ON u.id = s.k WHEN MATCHED THEN UPDATE SET age = 1;
SELECT count(*) FROM users WHERE name = 'twice';
