SELECT id, (SELECT count(*) FROM orders o WHERE o.user_id = u.id) FROM users u ORDER BY id LIMIT 12;
SELECT id, (SELECT max(amount) FROM orders o WHERE o.user_id = u.id AND o.status = 'paid') FROM users u ORDER BY id LIMIT 12;
SELECT id, (SELECT sum(quantity) FROM items i WHERE i.user_id = u.id) AS q FROM users u ORDER BY q DESC NULLS LAST, id LIMIT 12;
SELECT id FROM users u ORDER BY (SELECT count(*) FROM orders o WHERE o.user_id = u.id) DESC, id LIMIT 9;
SELECT (SELECT count(*) FROM orders o WHERE o.user_id = u.id) AS c, count(*) FROM users u GROUP BY 1 ORDER BY 1;
-- refused
SELECT (SELECT count(*) FROM products), count(*) FROM users;
SELECT id, (SELECT name FROM products p WHERE p.id = u.id) FROM users u ORDER BY id LIMIT 25;
-- refused
SELECT id, (SELECT count(*) FROM orders) FROM users ORDER BY id LIMIT 3;
-- refused
SELECT id, (SELECT count(*) FROM orders o WHERE o.id = u.id) FROM users u ORDER BY id LIMIT 3;
SELECT id, EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id) FROM users u ORDER BY id LIMIT 12;
SELECT id FROM users u WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id) ORDER BY id;
SELECT id FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND EXISTS (SELECT 1 FROM items i WHERE i.user_id = o.user_id AND i.order_id = o.id AND i.quantity > 7)) ORDER BY id;
-- refused
SELECT id FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND EXISTS (SELECT 1 FROM items i WHERE i.order_id = o.id AND i.quantity > 7)) ORDER BY id;
-- refused
SELECT id FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = 9) ORDER BY id LIMIT 3;
SELECT id FROM users u WHERE id = 9 AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = 9) ORDER BY id LIMIT 3;
-- refused
SELECT id FROM users u WHERE id = 9 AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = 12);
SELECT id FROM users WHERE id IN (SELECT user_id FROM orders WHERE status = 'paid') ORDER BY id;
SELECT id FROM users WHERE id IN (SELECT user_id FROM orders WHERE user_id = 9 OR user_id = 12) ORDER BY id;
-- refused
SELECT id FROM users WHERE id IN (SELECT id FROM orders WHERE user_id = 9);
-- refused
SELECT count(*) FROM users WHERE id NOT IN (SELECT id FROM products);
SELECT count(*) FROM users WHERE age NOT IN (SELECT id FROM products);
SELECT count(*) FROM users WHERE id NOT IN (1, 2, NULL);
SELECT count(*) FROM users WHERE id NOT IN (1, 2, 3);
SELECT count(*) FROM users WHERE id IN (1, 2, NULL);
SELECT count(*) FROM users WHERE id IN (NULL);
SELECT count(*) FROM users WHERE (id IN (1, 2, NULL)) IS NULL;
SELECT count(*) FROM users WHERE NOT (id IN (1, 2));
SELECT count(*) FROM users WHERE (id = 1) IS NOT TRUE;
SELECT count(*) FROM users WHERE (id = 1) = false;
SELECT count(*) FROM users WHERE CASE WHEN id = 1 THEN true ELSE age > 50 END;
SELECT count(*) FROM users WHERE id = 1 OR age > 50;
SELECT count(*) FROM users WHERE (id = 1 OR id = 2) AND age IS NOT NULL;
SELECT count(*) FROM users WHERE (id = 1 AND age > 1) OR (id = 2 AND age > 1);
SELECT count(*) FROM users WHERE id = ANY (ARRAY[1, 2, 3]);
SELECT count(*) FROM users WHERE id = ANY (ARRAY[1, 2, NULL]::bigint[]);
SELECT count(*) FROM users WHERE id = ANY ('{1,2,3}');
SELECT count(*) FROM users WHERE id = ALL (ARRAY[1, 1]);
SELECT count(*) FROM users WHERE id <> ALL (ARRAY[1, 2]);
SELECT count(*) FROM users WHERE id = ANY (SELECT id FROM products);
SELECT count(*) FROM users WHERE id > ALL (SELECT id FROM products);
SELECT count(*) FROM users WHERE id > (SELECT max(id) FROM products);
SELECT count(*) FROM users WHERE (id, age) IN (SELECT user_id, 30 FROM orders);
SELECT count(*) FROM users WHERE (id, age) IN ((1, 30), (2, 40), (3, 50));
SELECT count(*) FROM users WHERE (id, age) = (1, 30);
SELECT count(*) FROM users WHERE ROW(id, age) > ROW(100, 1);
SELECT count(*) FROM users WHERE id BETWEEN 9 AND 9;
SELECT count(*) FROM users WHERE id BETWEEN SYMMETRIC 12 AND 9;
SELECT count(*) FROM users WHERE id NOT BETWEEN 9 AND 100;
SELECT count(*) FROM users WHERE id IS NOT DISTINCT FROM 9;
SELECT count(*) FROM users WHERE id IS DISTINCT FROM 9;
SELECT count(*) FROM (SELECT id FROM users WHERE id = 9) s WHERE s.id = 12;
SELECT count(*) FROM (SELECT id AS other, age AS id FROM users) s WHERE s.id = 40;
SELECT count(*) FROM (SELECT id AS other, age AS id FROM users) s WHERE s.other = 9;
SELECT s.x, s.y FROM (SELECT age, id FROM users) AS s(x, y) WHERE s.y = 9;
SELECT s.x, s.y FROM (SELECT age, id FROM users) AS s(x, y) WHERE s.x = 40 ORDER BY 2;
-- refused
SELECT s.id FROM (SELECT id FROM users ORDER BY age LIMIT 5) s WHERE s.id = 9;
SELECT s.id, s.c FROM (SELECT user_id AS id, count(*) AS c FROM orders GROUP BY user_id) s WHERE s.id = 9;
SELECT s.id, s.c FROM (SELECT user_id AS id, count(*) AS c FROM orders GROUP BY user_id) s WHERE s.c = 3 ORDER BY 1;
SELECT s.id, s.c FROM (SELECT user_id + 1 AS id, count(*) AS c FROM orders GROUP BY user_id) s WHERE s.id = 9;
-- refused
SELECT s.status, s.c FROM (SELECT status, count(*) AS c FROM orders GROUP BY status) s ORDER BY 1;
SELECT u.id, s.c FROM users u LEFT JOIN (SELECT user_id, count(*) AS c FROM orders GROUP BY user_id) s ON s.user_id = u.id ORDER BY 1 LIMIT 12;
-- refused
SELECT u.id, s.c FROM users u LEFT JOIN (SELECT user_id AS x, count(*) AS c FROM orders GROUP BY 1) s ON s.x = u.id ORDER BY 1 LIMIT 12;
-- refused
SELECT u.id, s.c FROM users u LEFT JOIN (SELECT id AS x, count(*) AS c FROM orders GROUP BY 1) s ON s.x = u.id ORDER BY 1 LIMIT 12;
SELECT s.id, s.r FROM (SELECT id, user_id, row_number() OVER (PARTITION BY user_id ORDER BY id) AS r FROM orders) s WHERE s.r = 2 ORDER BY 1;
-- refused
SELECT s.id, s.r FROM (SELECT id, user_id, row_number() OVER (ORDER BY id) AS r FROM orders) s WHERE s.user_id = 9 ORDER BY 1;
SELECT s.id, s.r FROM (SELECT id, user_id, row_number() OVER (ORDER BY id) AS r FROM orders WHERE user_id = 9) s ORDER BY 1;
-- refused
SELECT s.id FROM (SELECT DISTINCT ON (age) id, age FROM users ORDER BY age, id) s WHERE s.id = 9;
SELECT s.id FROM (SELECT DISTINCT id, age FROM users) s WHERE s.id = 9;
-- refused
SELECT s.id FROM (SELECT id FROM users UNION ALL SELECT user_id FROM orders) s WHERE s.id = 9;
SELECT s.id FROM (SELECT id FROM users WHERE id = 9 UNION ALL SELECT user_id FROM orders WHERE user_id = 9) s;
-- refused
SELECT id FROM users WHERE id = 9 UNION SELECT user_id FROM orders WHERE user_id = 12 ORDER BY 1;
SELECT id FROM users WHERE id = 9 UNION ALL SELECT id FROM products WHERE id < 3 ORDER BY 1;
SELECT id FROM products EXCEPT SELECT id FROM users WHERE id = 3 ORDER BY 1;
WITH users AS (SELECT 1 AS id, 'cte' AS name) SELECT * FROM users;
WITH users AS (SELECT * FROM users WHERE id = 9) SELECT id, name FROM users;
WITH users AS (SELECT * FROM users WHERE id < 5) SELECT id, name FROM users ORDER BY id;
WITH users AS (SELECT id, name FROM products) SELECT count(*) FROM users u JOIN orders o ON o.user_id = u.id;
WITH users AS (SELECT id FROM products) SELECT count(*) FROM public.users u WHERE u.id IN (SELECT id FROM users);
WITH x AS (SELECT user_id, sum(amount) AS s FROM orders GROUP BY user_id) SELECT u.id, x.s FROM users u JOIN x ON x.user_id = u.id ORDER BY 1 LIMIT 8;
-- refused
WITH x AS (SELECT user_id, sum(amount) AS s FROM orders GROUP BY user_id) SELECT a.user_id FROM x a JOIN x b ON a.user_id = b.user_id ORDER BY 1 LIMIT 8;
WITH x AS MATERIALIZED (SELECT * FROM users) SELECT count(*) FROM x WHERE id = 9;
WITH x AS (SELECT * FROM users WHERE id = 9), y AS (SELECT * FROM orders WHERE user_id = 9) SELECT x.name, y.id FROM x, y ORDER BY 2;
WITH x AS (SELECT * FROM users WHERE id = 9) SELECT x.name, o.id FROM x JOIN orders o ON o.user_id = x.id ORDER BY 2;
WITH x(k, n) AS (SELECT id, name FROM users) SELECT n FROM x WHERE k = 9;
WITH x(name, id) AS (SELECT id, name FROM users) SELECT id FROM x WHERE name = 9;
-- refused
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT count(*) FROM users u JOIN t ON t.n = u.id;
-- refused
WITH RECURSIVE t(n) AS (SELECT id FROM users WHERE id = 1 UNION ALL SELECT u.id FROM users u JOIN t ON u.id = t.n + 1 WHERE t.n < 5) SELECT n FROM t ORDER BY 1;
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT n FROM t ORDER BY 1;
SELECT (WITH q AS (SELECT * FROM orders o WHERE o.user_id = u.id) SELECT count(*) FROM q) FROM users u ORDER BY u.id LIMIT 9;
SELECT id FROM users WHERE id = (SELECT 9);
SELECT id FROM users WHERE id = (SELECT min(id) FROM products);
SELECT id FROM users WHERE id IN (SELECT o.user_id FROM orders o WHERE o.user_id = users.id AND o.amount > 500) ORDER BY 1;
-- refused
SELECT id FROM users WHERE 9 IN (SELECT o.user_id FROM orders o WHERE o.id = users.id) ORDER BY 1;
SELECT count(*) FROM orders o WHERE amount > (SELECT avg(amount) FROM orders x WHERE x.user_id = o.user_id);
-- refused
SELECT count(*) FROM orders o WHERE amount > (SELECT avg(amount) FROM orders x WHERE x.status = o.status);
SELECT count(*) FROM orders o WHERE (SELECT u.age FROM users u WHERE u.id = o.user_id) > 40;
SELECT u.id FROM users u WHERE u.id = 9 AND u.age = (SELECT age FROM users WHERE id = 9);
SELECT max((SELECT count(*) FROM orders o WHERE o.user_id = u.id)) FROM users u;
-- refused
SELECT (SELECT sum(u.age)) FROM users u;
-- refused
SELECT (SELECT count(u.id) FROM products p WHERE p.id = 1) FROM users u;
SELECT age, (SELECT count(*) FROM products p WHERE p.id < u.age) FROM users u WHERE id < 9 ORDER BY id;
SELECT ARRAY(SELECT o.id FROM orders o WHERE o.user_id = u.id ORDER BY o.id) FROM users u WHERE u.id < 12 ORDER BY u.id;
-- refused
SELECT ARRAY(SELECT o.id FROM orders o ORDER BY o.id LIMIT 3) FROM users u WHERE u.id < 3 ORDER BY u.id;
SELECT count(*) FROM users GROUP BY (SELECT 1);
-- refused
SELECT count(*) FROM users LIMIT (SELECT 1);
-- refused
SELECT id FROM users ORDER BY id LIMIT (SELECT count(*) FROM countries);
