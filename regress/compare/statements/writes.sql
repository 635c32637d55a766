-- in order
INSERT INTO users (id, name) VALUES (7001, 'a'), (7002, 'b'), (7003, 'c'), (7004, 'd'), (7005, 'e') RETURNING id, name;
-- in order
INSERT INTO users (name, id, age) VALUES ('f', 7010, 1), ('g', 7006, DEFAULT), (upper('h') || 'x', 7008, 2 + 3) RETURNING age, name, id;
-- in order
INSERT INTO users (id, name) VALUES (7005, 'E'), (7011, 'k'), (7001, 'A') ON CONFLICT (id) DO UPDATE SET name = excluded.name || users.name RETURNING id, name;
-- in order
-- refused
INSERT INTO users (id, name) VALUES (7005, 'q'), (7012, 'l') ON CONFLICT DO NOTHING RETURNING id;
INSERT INTO users (id, name) VALUES (7005, 'q'), (7012, 'l'), (7013, 'm') ON CONFLICT DO NOTHING;
-- refused
INSERT INTO users (id, name) VALUES (7005, 'q'), (7014, 'l') ON CONFLICT (id) DO UPDATE SET name = 'w' WHERE users.name = 'none' RETURNING id;
INSERT INTO users (id, name) VALUES (7005, 'q'), (7014, 'l') ON CONFLICT (id) DO UPDATE SET name = 'w' WHERE users.name = 'none';
INSERT INTO users (id, name) VALUES (7020, 'a'), (7021, 'b'), (7020, 'c');
INSERT INTO users (id, name) VALUES (7022, 'a'), (7023, 'b'), (7005, 'twice');
SELECT id FROM users WHERE id BETWEEN 7020 AND 7030 ORDER BY id;
INSERT INTO users (id, name) VALUES (7024, 'a'), (7025, 'b'), (7024, 'c') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
INSERT INTO users (id, age) VALUES (7026, 1), (7027, 'x');
-- refused
INSERT INTO users (id, age) VALUES (7026, 1), (7027, 2, 3);
-- refused
INSERT INTO users (id, age) VALUES (7026, 1), (7027);
INSERT INTO users VALUES (7028, 'only'), (7029, 'two');
INSERT INTO users VALUES (7030), (NULL);
INSERT INTO users (id, name) VALUES (7031, 'a'), (7032, repeat('x', 10)), (7033, (SELECT name FROM products WHERE id = 3));
INSERT INTO users (id, email) VALUES (7034, 'short'), (7035, repeat('x', 41));
INSERT INTO users (id, score) VALUES (7036, 1.005), (7037, 1), (7038, '2.5') RETURNING score;
-- refused
INSERT INTO users (id, name) VALUES (7039, 'x'), ((SELECT 7040), 'y');
INSERT INTO users (id, nothing) VALUES (7041, 'x'), (7042, 'y');
INSERT INTO users (id, id) VALUES (7043, 7043), (7044, 7044);
SELECT id, name, age, score FROM users WHERE id > 7000 ORDER BY id;
-- in order
INSERT INTO orders (id, user_id, status) VALUES (9001, 1, 'a'), (9002, 2, 'b'), (9003, 3, 'c'), (9004, 1, 'd') RETURNING *;
INSERT INTO pairs VALUES (100, 'x', 1), (100, 'y', 2), (101, 'x', 3) RETURNING a + v;
INSERT INTO pairs VALUES (100, 'x', 9), (102, 'y', 9) ON CONFLICT (a, b) DO UPDATE SET v = pairs.v + excluded.v RETURNING *;
INSERT INTO pairs (b, a) VALUES ('n', NULL), ('n', 1);
INSERT INTO countries VALUES ('se', 'Sweden', true), ('no', 'Norway', false) RETURNING code;
INSERT INTO countries VALUES ('se', 'again', true) ON CONFLICT (code) DO UPDATE SET name = excluded.name RETURNING name;
INSERT INTO countries VALUES ('se', 'again', true) ON CONFLICT DO NOTHING RETURNING name;
UPDATE countries SET name = name || '!' WHERE code = 'se' RETURNING *;
DELETE FROM countries WHERE code IN ('se', 'no') RETURNING code;
UPDATE orders SET note = u.name FROM users u WHERE u.id = orders.user_id AND orders.status = 'open' AND u.age > 40;
SELECT count(*), count(note), min(note), max(note) FROM orders;
UPDATE orders o SET note = p.name FROM products p WHERE p.id = o.id % 20 AND o.status = 'sent' RETURNING o.id, p.id;
-- refused
UPDATE orders o SET note = 'x' FROM users u WHERE u.age = 30;
UPDATE orders o SET note = 'x' FROM users u WHERE u.id = 9 AND o.user_id = 9 RETURNING o.id, u.name;
UPDATE orders o SET note = 'y' FROM users u WHERE u.id = o.user_id AND u.id = 9 RETURNING o.id, u.name;
UPDATE orders o SET note = 'z' FROM users u WHERE u.id = o.user_id AND u.id IN (9, 10, 11) RETURNING o.id, u.id;
UPDATE orders o SET note = (SELECT u.name FROM users u WHERE u.id = o.user_id) WHERE o.status = 'paid';
UPDATE orders o SET note = (SELECT u.name FROM users u WHERE u.id = 9) WHERE o.user_id = 9;
-- refused
UPDATE orders o SET note = (SELECT u.name FROM users u WHERE u.id = 12) WHERE o.user_id = 9;
UPDATE orders o SET (note, status) = (SELECT u.name, 'multi' FROM users u WHERE u.id = o.user_id) WHERE o.user_id < 5;
UPDATE orders o SET (note, status) = ('a', 'b') WHERE o.user_id < 3;
UPDATE orders SET status = 'late' WHERE EXISTS (SELECT 1 FROM items i WHERE i.user_id = orders.user_id AND i.order_id = orders.id AND i.quantity = 8);
-- refused
UPDATE orders SET status = 'late' WHERE EXISTS (SELECT 1 FROM items i WHERE i.order_id = orders.id AND i.quantity = 8);
UPDATE orders SET status = 'late' WHERE user_id IN (SELECT id FROM users WHERE age > 70);
-- refused
UPDATE orders SET status = 'late' WHERE id IN (SELECT id FROM users WHERE age > 70);
UPDATE orders SET amount = amount * 1.1 WHERE user_id = ANY (ARRAY[3, 4, 5]) RETURNING amount;
UPDATE users SET age = DEFAULT WHERE id IN (7001, 7002) RETURNING id, age;
UPDATE users SET age = 7 WHERE id = 7001 OR id = 7002 RETURNING id;
UPDATE users SET age = 8 WHERE id = '7001' RETURNING id;
UPDATE users SET age = 9 WHERE id = 7001.0 RETURNING id;
UPDATE users SET age = 9 WHERE id = 'x';
UPDATE users SET age = age / 0 WHERE id > 7000;
UPDATE users SET score = 1e20 WHERE id IN (1, 2, 3, 4, 5);
UPDATE users SET age = NULL WHERE false;
UPDATE users SET nothing = 1;
UPDATE users u SET u.age = 1 WHERE u.id = 1;
UPDATE users SET age = 50 WHERE (id, age) IN ((7003, 1), (7004, 1));
DELETE FROM items USING orders o WHERE o.user_id = items.user_id AND o.id = items.order_id AND o.status = 'late';
DELETE FROM items USING products p WHERE p.id = items.product AND p.price < 10;
-- refused
DELETE FROM items USING orders o WHERE o.id = items.order_id AND o.status = 'late';
DELETE FROM items i USING orders o, users u WHERE o.user_id = i.user_id AND u.id = o.user_id AND u.age > 80 RETURNING i.user_id, u.age;
-- refused
DELETE FROM items WHERE user_id NOT IN (SELECT id FROM users);
DELETE FROM items WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = items.user_id AND o.id = items.order_id);
DELETE FROM orders WHERE user_id = 9 AND id IN (SELECT order_id FROM items WHERE user_id = 9) RETURNING id;
DELETE FROM orders WHERE user_id IN (10, 11, 12) RETURNING id, user_id;
DELETE FROM users WHERE id > 7000 RETURNING id;
WITH gone AS (DELETE FROM orders WHERE user_id = 20 RETURNING id) SELECT count(*) FROM gone;
WITH gone AS (DELETE FROM orders WHERE user_id = 21 RETURNING id) SELECT count(*) FROM gone, users WHERE users.id = 22;
-- refused
WITH gone AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM gone;
WITH x AS (SELECT id FROM users WHERE id = 23) DELETE FROM orders USING x WHERE orders.user_id = x.id RETURNING orders.id;
WITH x AS (SELECT id FROM products) UPDATE items SET quantity = 0 FROM x WHERE x.id = items.product AND items.user_id < 30;
INSERT INTO items (user_id, order_id, line) SELECT user_id, id, 50 FROM orders WHERE user_id = 24 RETURNING order_id;
INSERT INTO items (user_id, order_id, line) SELECT 24, id, 51 FROM products WHERE id < 4 RETURNING order_id;
INSERT INTO items (user_id, order_id, line) SELECT o.user_id, o.id, 52 FROM orders o JOIN users u ON u.id = o.user_id WHERE u.id = 24 ON CONFLICT DO NOTHING;
-- refused
INSERT INTO items (user_id, order_id, line) SELECT id, id, 53 FROM products WHERE id < 4;
INSERT INTO products (id, name) SELECT id + 1000, name FROM products WHERE id < 4;
INSERT INTO products (id, name, price) VALUES (2000, 'x', 1.005), (2001, 'y', NULL) RETURNING *;
UPDATE products SET price = price + 1 WHERE id > 1000;
UPDATE products SET price = price + 1 WHERE id = (SELECT max(id) FROM products);
-- refused
UPDATE products p SET name = c.name FROM countries c WHERE c.code = 'de' AND p.id = 2000;
DELETE FROM products WHERE id IN (SELECT id FROM products WHERE id > 1000) RETURNING id;
-- refused
DELETE FROM products USING items WHERE items.product = products.id;
UPDATE events SET n = n + 1 WHERE day = '2026-01-05';
UPDATE events SET n = n + 1 WHERE day = 'January 5, 2026';
-- refused
UPDATE events SET day = '2026-09-09' WHERE day = '2026-01-05';
UPDATE regions SET people = 0 WHERE code = 'de' AND city = 'one' RETURNING *;
DELETE FROM regions WHERE code IN ('at', 'es') AND people > 5000;
TRUNCATE events;
SELECT count(*) FROM events;
TRUNCATE items, orders;
SELECT count(*) FROM items;
