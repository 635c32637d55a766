-- Set operations shard by shard, put together, or in a workspace
SELECT id FROM users UNION ALL SELECT user_id FROM orders;
SELECT id FROM users UNION SELECT user_id FROM orders;
SELECT id FROM users INTERSECT SELECT user_id FROM orders;
SELECT id FROM users EXCEPT SELECT user_id FROM orders ORDER BY 1;
SELECT user_id FROM orders INTERSECT ALL SELECT user_id FROM items ORDER BY 1;
SELECT user_id FROM items EXCEPT ALL SELECT user_id FROM orders ORDER BY user_id DESC;
SELECT user_id, id FROM orders EXCEPT SELECT user_id, order_id FROM items ORDER BY 1, 2;
SELECT name FROM users UNION SELECT name FROM products;
SELECT name FROM users UNION SELECT name FROM products ORDER BY 1 LIMIT 7 OFFSET 3;
SELECT status FROM orders UNION SELECT kind FROM events ORDER BY 1;
SELECT status, NULL FROM orders UNION SELECT kind, n FROM events ORDER BY 1, 2 NULLS FIRST;
SELECT score FROM users UNION SELECT price FROM products ORDER BY 1 DESC;
SELECT score FROM users UNION SELECT age FROM users ORDER BY 1;
SELECT age FROM users UNION ALL SELECT n FROM events ORDER BY 1 LIMIT 20;
SELECT joined FROM users UNION ALL SELECT day FROM events ORDER BY 1 DESC NULLS LAST LIMIT 20;
SELECT joined FROM users UNION SELECT placed FROM orders ORDER BY 1 NULLS FIRST LIMIT 20;
SELECT id FROM users WHERE id = 5 UNION ALL SELECT user_id FROM orders WHERE user_id = 12 ORDER BY 1;
SELECT id, 'u' AS what FROM users WHERE id < 20 UNION ALL SELECT user_id, status FROM orders WHERE user_id < 20 ORDER BY what, id;
(SELECT id FROM users UNION SELECT user_id FROM orders) EXCEPT SELECT user_id FROM items ORDER BY 1;
(SELECT id FROM users EXCEPT SELECT user_id FROM orders) UNION ALL (SELECT user_id FROM orders EXCEPT SELECT user_id FROM items) ORDER BY 1;
SELECT id FROM users INTERSECT SELECT id FROM products ORDER BY 1;
SELECT id FROM users EXCEPT SELECT id FROM products ORDER BY 1;
SELECT id::int FROM products INTERSECT SELECT id FROM users ORDER BY 1;
SELECT user_id FROM items INTERSECT ALL SELECT id FROM products ORDER BY 1;
SELECT a, b FROM pairs EXCEPT SELECT a, b FROM pairs WHERE v > 110 ORDER BY a, b;
SELECT b, a FROM pairs INTERSECT SELECT b, a FROM pairs WHERE a > 3 ORDER BY 2, 1;
SELECT a, b FROM pairs UNION SELECT v, b FROM pairs ORDER BY 1, 2;
SELECT count(*), sum(id) FROM (SELECT id FROM users UNION ALL SELECT user_id FROM orders) x;
SELECT id, count(*) FROM (SELECT id FROM users UNION ALL SELECT user_id FROM orders) x GROUP BY id ORDER BY 1;
SELECT user_id, count(*) FROM orders GROUP BY 1 UNION ALL SELECT id, 0 FROM users ORDER BY 1, 2;
SELECT user_id AS u, count(*) AS c FROM orders GROUP BY u EXCEPT SELECT user_id, count(*) FROM items GROUP BY 1 ORDER BY u;
SELECT u.id FROM users u WHERE u.id IN (SELECT user_id FROM orders UNION SELECT user_id FROM items) ORDER BY 1;
SELECT DISTINCT id FROM (SELECT id FROM users UNION ALL SELECT user_id FROM orders) x ORDER BY 1;
WITH a AS (SELECT id FROM users WHERE age > 40), b AS (SELECT user_id FROM orders) SELECT * FROM a INTERSECT SELECT * FROM b ORDER BY 1;
SELECT 1 UNION SELECT age FROM users ORDER BY 1;
-- refused
SELECT tags FROM users UNION SELECT '{z}' ORDER BY 1;
-- refused
SELECT placed - timestamp '2026-01-01' FROM orders UNION SELECT interval '30 days' ORDER BY 1;
-- Windows over partitions that lie on one shard
SELECT user_id, id, row_number() OVER w, sum(amount) OVER (w ROWS UNBOUNDED PRECEDING) FROM orders WINDOW w AS (PARTITION BY user_id ORDER BY id) ORDER BY 1, 2;
SELECT user_id, id, rank() OVER v FROM orders WINDOW w AS (PARTITION BY user_id), v AS (w ORDER BY amount DESC NULLS LAST, id) ORDER BY 1, 2;
SELECT u.id, o.id, lag(o.id) OVER (PARTITION BY o.user_id ORDER BY o.id) FROM users u JOIN orders o ON o.user_id = u.id ORDER BY 1, 2;
SELECT u.id, o.id, count(o.id) OVER (PARTITION BY u.id) FROM users u LEFT JOIN orders o ON o.user_id = u.id ORDER BY 1, 2;
SELECT user_id, max(r) FROM (SELECT user_id, rank() OVER (PARTITION BY user_id ORDER BY amount) AS r FROM orders) x GROUP BY 1 ORDER BY 1;
-- WITH queries that are used more than once
WITH o AS (SELECT user_id, count(*) AS n FROM orders GROUP BY user_id) SELECT a.user_id, a.n, b.n FROM o a JOIN o b ON a.user_id = b.user_id ORDER BY 1;
WITH o AS (SELECT user_id, amount FROM orders) SELECT count(*) FROM o a JOIN o b ON a.user_id = b.user_id AND a.amount < b.amount;
WITH o AS (SELECT user_id FROM orders) SELECT user_id FROM o UNION ALL SELECT user_id FROM o;
WITH o AS (SELECT user_id FROM orders WHERE amount > 100) SELECT count(*) FROM users u WHERE u.id IN (SELECT user_id FROM o) AND EXISTS (SELECT 1 FROM o WHERE o.user_id = u.id);
WITH a AS (SELECT id, age FROM users), b AS (SELECT id FROM a WHERE age > 30), c AS (SELECT a.id FROM a JOIN b USING (id)) SELECT c.id FROM c JOIN b ON b.id = c.id ORDER BY 1;
WITH users AS (SELECT id FROM users WHERE id < 50), u AS (SELECT id FROM users) SELECT u.id FROM users JOIN u ON u.id = users.id ORDER BY 1;
