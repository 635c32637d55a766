-- WITH queries that write: shard by shard where all parts belong to the same key; locks in sub-selects of writes.
WITH x AS (DELETE FROM orders WHERE amount > 700 RETURNING user_id, id, amount) SELECT count(*), sum(amount), min(id) FROM x;
WITH x AS (UPDATE orders SET status = 'with' WHERE amount < 100 RETURNING user_id, id, status) SELECT * FROM x ORDER BY user_id, id LIMIT 5;
WITH x AS (UPDATE orders SET status = 'one' WHERE user_id = 9 RETURNING *) SELECT * FROM x;
WITH x AS (DELETE FROM orders WHERE status = 'sent' RETURNING user_id, id, note) SELECT u.name, x.id, x.note FROM x JOIN users u ON u.id = x.user_id;
WITH x AS (UPDATE orders SET note = 'seen' WHERE status = 'paid' RETURNING user_id) UPDATE users SET name = 'buyer' FROM x WHERE x.user_id = users.id RETURNING users.id, name;
WITH x AS (DELETE FROM items WHERE line = 3 RETURNING order_id) DELETE FROM names WHERE n = 2;
-- refused
WITH x AS (DELETE FROM items WHERE line = 2 RETURNING user_id, order_id) SELECT x.order_id, o.note FROM x LEFT JOIN orders o ON o.user_id = x.user_id AND o.id = x.order_id ORDER BY 1;
-- refused
WITH x AS (DELETE FROM orders WHERE status = 'open' RETURNING user_id) SELECT (SELECT count(*) FROM orders) FROM x;
WITH x AS (UPDATE users SET age = age + 1 WHERE id < 30 RETURNING id, age) SELECT age, count(*) FROM x GROUP BY age ORDER BY age;
WITH x AS (UPDATE users SET age = age + 1 WHERE id IN (1, 2, 3) RETURNING id) SELECT id FROM x UNION ALL SELECT id FROM x;
WITH x AS (DELETE FROM names WHERE n = 1 RETURNING *) SELECT count(*) FROM names WHERE n = 1;
WITH x AS (UPDATE pairs SET v = -1 WHERE b = 'x' RETURNING a, b) SELECT p.a, p.b, p.v FROM pairs p JOIN x ON x.a = p.a AND x.b = p.b;
WITH x AS (UPDATE users SET age = 1 / 0 WHERE id = 40 RETURNING id) SELECT id FROM x;
BEGIN;
WITH x AS (DELETE FROM items RETURNING user_id) SELECT count(*) FROM x;
SELECT count(*) FROM items;
ROLLBACK;
SELECT count(*) FROM items;
-- refused
WITH x AS (DELETE FROM items WHERE line = 4 RETURNING order_id) SELECT 1;
-- refused
WITH x AS (DELETE FROM items WHERE line = 4 RETURNING order_id) SELECT count(*) FROM x JOIN orders o ON o.id = x.order_id;
UPDATE users SET name = 'taken' WHERE id = (SELECT user_id FROM orders WHERE id = 30 LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, name;
WITH n AS (SELECT id FROM users WHERE age > 50 ORDER BY id LIMIT 4 FOR UPDATE SKIP LOCKED) UPDATE users SET name = 'taken' FROM n WHERE n.id = users.id RETURNING users.id, name;
DELETE FROM users WHERE id IN (SELECT id FROM users ORDER BY id LIMIT 6 FOR UPDATE) RETURNING id;
SELECT id, name, age FROM users ORDER BY id;
WITH x AS (DELETE FROM orders WHERE amount > 500 RETURNING *) INSERT INTO names SELECT id || '-' || user_id, id FROM x;
WITH x AS (DELETE FROM orders WHERE user_id = 8 RETURNING *) INSERT INTO names SELECT id || '+' || user_id, id FROM x RETURNING name;
WITH x AS (UPDATE orders SET note = 'moved' WHERE amount < 300 RETURNING user_id, id) INSERT INTO items SELECT user_id, id, 77, 1, 1 FROM x;
WITH x AS (DELETE FROM items WHERE line = 77 RETURNING *) INSERT INTO local_notes SELECT order_id + 1000, 'item' FROM x;
WITH x AS (DELETE FROM local_notes WHERE id > 1000 RETURNING *) INSERT INTO users (id, name) SELECT id + 1000, body FROM x;
WITH x AS (DELETE FROM names WHERE n = 3 RETURNING *) INSERT INTO countries SELECT name, 'n', true FROM x;
-- refused
WITH x AS (DELETE FROM names WHERE n = 4 RETURNING n) INSERT INTO users (id, age) SELECT 4400, count(*) FROM x;
WITH x AS (DELETE FROM users WHERE id > 1000 RETURNING *) INSERT INTO users (id, name) SELECT id + 5000, name FROM x;
WITH x AS (DELETE FROM users WHERE id > 5000 RETURNING *) INSERT INTO users (id, name) SELECT 1, name FROM x;
WITH x AS (DELETE FROM users WHERE id = 1 RETURNING *) INSERT INTO users SELECT * FROM x;
-- params 40, 'p'
WITH x AS (DELETE FROM users WHERE age > %s RETURNING *) INSERT INTO names SELECT id || %s, age FROM x RETURNING *;
BEGIN;
WITH x AS (DELETE FROM users WHERE age > 20 RETURNING *) INSERT INTO names SELECT id || 'b', age FROM x;
SELECT count(*) FROM users;
ROLLBACK;
SELECT count(*) FROM users;
SELECT * FROM names ORDER BY name COLLATE "C";
SELECT * FROM users ORDER BY id;
