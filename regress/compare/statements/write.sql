INSERT INTO users (id, name, age) VALUES (1001, 'new', 20);
INSERT INTO users VALUES (1002, 'new', 'n@example.org', 21, 1.5, '2026-01-01', true, 0.5, '{x}');
INSERT INTO users (id, name) VALUES (1003, 'r') RETURNING id, name, age;
INSERT INTO users (name, id) VALUES ('swapped', 1004) RETURNING *;
INSERT INTO users (id) VALUES ('1005');
-- refused
INSERT INTO users (id) VALUES (500 + 506);
INSERT INTO users (id, name) VALUES (1001, 'again');
INSERT INTO users (id, name) VALUES (1001, 'again') ON CONFLICT DO NOTHING;
INSERT INTO users (id, name) VALUES (1001, 'again') ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING name;
-- refused
INSERT INTO users (name) VALUES ('no key');
INSERT INTO users (id) VALUES (NULL);
INSERT INTO users (id) VALUES ('x');
INSERT INTO users (id, nothing) VALUES (1, 1);
INSERT INTO users (id, age) VALUES (1010, 'x');
-- refused
INSERT INTO users DEFAULT VALUES;
INSERT INTO users (id, age) VALUES (1011, 1), (1011, 2);
INSERT INTO users (id, age) VALUES (1012, DEFAULT);
INSERT INTO users (id, age) VALUES (2001, 1), (2002, 2), (2003, 3), (2004, 4);
INSERT INTO users (id) SELECT 1013;
INSERT INTO orders (id, user_id, amount) VALUES (9001, 7, 10.00), (9002, 7, 20.00) RETURNING id;
INSERT INTO orders (id, user_id) SELECT 9003, 7;
INSERT INTO orders (id, user_id, status) SELECT id + 10000, user_id, status FROM orders WHERE user_id = 7;
-- refused
INSERT INTO items (user_id, order_id, line) SELECT user_id, id, 99 FROM orders;
INSERT INTO docs VALUES ('aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa', 'doc', 1) RETURNING id;
INSERT INTO names VALUES ('it''s "me"', 5), ('it''s "me"', 6);
INSERT INTO names VALUES ('it''s "me"', 5);
INSERT INTO pairs VALUES (99, 'q', 1) RETURNING v + 1 AS w;
INSERT INTO pairs (b, a) VALUES ('r', 99);
INSERT INTO events VALUES ('2026-06-30', 'new', 1);
INSERT INTO events VALUES ('2031-01-01', 'late', 1);
INSERT INTO events VALUES ('1999-01-01', 'early', 1);
INSERT INTO regions VALUES ('de', 'four', 4);
INSERT INTO regions VALUES ('xx', 'four', 4);
INSERT INTO "Odd Table" ("Key Col", "select", "a""b") VALUES (77, 'x', 1) RETURNING "select";
INSERT INTO countries VALUES ('ch', 'Switzerland', false);
INSERT INTO countries VALUES ('be', 'Belgium', false), ('nl', 'Netherlands', false) RETURNING code;
INSERT INTO countries VALUES ('ch', 'again', false);
INSERT INTO countries VALUES ('ch', 'again', true) ON CONFLICT (code) DO UPDATE SET big = true;
INSERT INTO products SELECT g, 'made ' || g, g FROM generate_series(100, 104) g;
INSERT INTO local_notes VALUES (100, 'local'), (101, 'local') RETURNING id;
UPDATE users SET name = 'one' WHERE id = 1001;
UPDATE users SET name = 'one' WHERE id = 1001 RETURNING id, name;
UPDATE users SET age = age + 1 WHERE id = 1002 RETURNING age;
UPDATE users SET age = age + 1 WHERE id = 77777;
UPDATE users SET age = 1 WHERE id IN (1, 2, 3, 4);
UPDATE users SET age = 2 WHERE id IN (1, 2, 3, 4) RETURNING id, age;
UPDATE users SET active = true;
UPDATE users SET active = NOT active WHERE age > 50;
UPDATE users SET score = score * 2 WHERE age > 30 RETURNING id, score;
UPDATE users SET name = 'x', age = NULL WHERE age < 0;
UPDATE users u SET name = 'alias' WHERE u.id = 5;
UPDATE users SET age = 'x' WHERE id = 5;
UPDATE users SET nothing = 1 WHERE id = 5;
-- refused
UPDATE users SET id = 5 WHERE id = 5;
-- refused
UPDATE users SET id = 6000 WHERE id = 5;
UPDATE orders SET status = u.name FROM users u WHERE u.id = orders.user_id AND u.id = 7;
UPDATE orders SET note = u.name FROM users u WHERE u.id = orders.user_id;
UPDATE orders SET status = (SELECT 'paid') WHERE user_id = 9;
UPDATE orders SET amount = amount + 1 WHERE user_id = 9 AND id > 0 RETURNING id;
UPDATE events SET n = n + 1 WHERE day < '2026-04-01';
UPDATE events SET n = 0 WHERE day = '2026-06-30' AND kind = 'new' RETURNING *;
UPDATE pairs SET v = 0 WHERE a = 99;
UPDATE pairs SET v = 7 WHERE a = 99 AND b = 'q' RETURNING a, b, v;
UPDATE "Odd Table" SET "select" = 'y' WHERE "Key Col" = 77 RETURNING "select";
UPDATE countries SET big = false WHERE code = 'ch' RETURNING *;
UPDATE countries SET name = upper(name);
UPDATE products SET price = price + 1 WHERE id < 5;
-- refused
-- not on one shard
UPDATE products SET name = (random() >= 0)::text WHERE id = 1;
UPDATE local_notes SET body = 'changed' WHERE id = 100;
DELETE FROM users WHERE id = 1001;
DELETE FROM users WHERE id = 1001;
DELETE FROM users WHERE id = 1002 RETURNING id, name;
DELETE FROM users WHERE id IN (1003, 1004) RETURNING id;
DELETE FROM users WHERE age > 85;
DELETE FROM users WHERE id > 100 AND name IS NULL RETURNING id;
DELETE FROM orders USING users u WHERE u.id = orders.user_id AND u.id = 7;
DELETE FROM orders WHERE user_id = 9 AND id IN (SELECT order_id FROM items WHERE user_id = 9 AND line = 2);
DELETE FROM items WHERE quantity IS NULL;
-- refused
DELETE FROM items WHERE order_id NOT IN (SELECT id FROM orders);
DELETE FROM events WHERE day >= '2026-11-01';
DELETE FROM pairs WHERE (a, b) = (99, 'r');
DELETE FROM countries WHERE code = 'be' RETURNING name;
DELETE FROM products WHERE id > 100;
DELETE FROM local_notes WHERE id = 101;
DELETE FROM nothing;
WITH gone AS (DELETE FROM orders WHERE user_id = 12 RETURNING id) SELECT count(*) FROM gone;
-- refused
WITH added AS (INSERT INTO users (id, name) VALUES (3001, 'cte') RETURNING id) SELECT * FROM added;
-- refused
MERGE INTO users u USING (SELECT 7 AS id) s ON u.id = s.id WHEN MATCHED THEN UPDATE SET name = 'merged';
TRUNCATE items;
SELECT count(*) FROM items;
TRUNCATE names, docs;
SELECT count(*) FROM names;
TRUNCATE countries;
SELECT count(*) FROM countries;
TRUNCATE local_notes;
DELETE FROM orders;
SELECT count(*) FROM orders;
SELECT count(*), sum(age), sum(id) FROM users;
