-- Over all shards
SELECT id, name FROM users;
SELECT * FROM users;
SELECT * FROM users ORDER BY id;
SELECT id FROM users ORDER BY id DESC;
SELECT id, age FROM users ORDER BY age, id;
SELECT id, age FROM users ORDER BY age DESC, id;
SELECT id, age FROM users ORDER BY age NULLS FIRST, id DESC;
SELECT id, age FROM users ORDER BY age DESC NULLS LAST, id;
SELECT id, name FROM users ORDER BY name, id;
SELECT id, name FROM users ORDER BY 2 DESC, 1;
SELECT id, name AS n FROM users ORDER BY n, id;
SELECT id, score FROM users ORDER BY score, id;
SELECT id, joined FROM users ORDER BY joined, id;
SELECT id, active FROM users ORDER BY active, id;
SELECT id, ratio FROM users ORDER BY ratio, id;
SELECT id, email FROM users ORDER BY email, id;
SELECT id FROM orders ORDER BY placed, id;
SELECT id FROM orders ORDER BY note, id;
SELECT id FROM docs ORDER BY id;
SELECT name FROM names ORDER BY name;
SELECT name FROM names ORDER BY name COLLATE "C" DESC;
SELECT id FROM users ORDER BY age + 1, id;
SELECT id FROM users ORDER BY lower(name), id;
SELECT name FROM users ORDER BY age, id;
SELECT id FROM users ORDER BY -id LIMIT 5;
SELECT id FROM users ORDER BY id LIMIT 5;
SELECT id FROM users ORDER BY id LIMIT 5 OFFSET 10;
SELECT id FROM users ORDER BY id OFFSET 110;
SELECT id FROM users ORDER BY id LIMIT 0;
SELECT id FROM users ORDER BY id LIMIT ALL;
SELECT id FROM users ORDER BY id LIMIT NULL OFFSET NULL;
SELECT id FROM users ORDER BY id LIMIT 2 + 3;
SELECT id FROM users ORDER BY id FETCH FIRST 4 ROWS ONLY;
SELECT age FROM users ORDER BY age FETCH FIRST 4 ROWS WITH TIES;
SELECT id FROM users ORDER BY id OFFSET 1000;
-- rows differ
SELECT id FROM users LIMIT 7;
-- rows differ
SELECT id FROM users LIMIT 7 OFFSET 100;
SELECT count(*) FROM users;
SELECT count(*) FROM users WHERE id < 0;
SELECT count(*), count(age), count(name) FROM users;
SELECT sum(age), min(age), max(age), avg(age) FROM users;
SELECT sum(score), min(score), max(score), avg(score) FROM users;
SELECT sum(id), avg(id) FROM users;
SELECT sum(size), avg(size), min(size), max(size) FROM docs;
SELECT min(name), max(name), min(joined), max(joined), min(email) FROM users;
SELECT sum(ratio), min(ratio), max(ratio) FROM users;
SELECT avg(ratio) FROM users;
SELECT sum(age) FROM users WHERE id < 0;
SELECT avg(age), min(name), count(*) FROM users WHERE id < 0;
-- refused
SELECT sum(n) FROM pairs p JOIN names n ON false;
SELECT min(placed), max(placed) FROM orders;
SELECT bool_and(active), bool_or(active), every(active) FROM users;
SELECT status, count(*) FROM orders GROUP BY status;
SELECT status, count(*) FROM orders GROUP BY status ORDER BY status;
SELECT status, count(*) AS n FROM orders GROUP BY status ORDER BY n DESC, status;
SELECT status, sum(amount), avg(amount), min(amount), max(amount) FROM orders GROUP BY status ORDER BY 1;
SELECT status, sum(amount) FROM orders GROUP BY 1 ORDER BY 2 DESC NULLS LAST, 1;
SELECT status FROM orders GROUP BY status ORDER BY count(*), status;
SELECT count(*) FROM orders GROUP BY status ORDER BY 1;
SELECT age, active, count(*) FROM users GROUP BY age, active ORDER BY age, active;
SELECT active, age, count(*) FROM users GROUP BY 1, 2 ORDER BY 3 DESC, 2, 1 LIMIT 10;
SELECT user_id, count(*), sum(amount) FROM orders GROUP BY user_id ORDER BY user_id;
SELECT user_id, count(*) FROM orders GROUP BY user_id HAVING count(*) > 2 ORDER BY user_id;
-- refused
SELECT status, count(*) FROM orders GROUP BY status HAVING count(*) > 10 ORDER BY status;
SELECT status, count(*) FROM orders GROUP BY status ORDER BY status LIMIT 2 OFFSET 1;
SELECT age / 10 AS decade, count(*) FROM users GROUP BY age / 10 ORDER BY 1;
SELECT age / 10 AS decade, count(*) FROM users GROUP BY decade ORDER BY decade;
SELECT upper(status), count(*) FROM orders GROUP BY upper(status) ORDER BY 1;
SELECT date_trunc('month', placed) AS m, count(*) FROM orders GROUP BY 1 ORDER BY 1;
-- refused
SELECT count(*) + 1 FROM users;
-- refused
SELECT sum(age) * 2, max(age) - min(age) FROM users;
-- refused
SELECT sum(age) / count(age) FROM users;
-- refused
SELECT round(avg(score), 2) FROM users;
-- refused
SELECT coalesce(sum(age), 0) FROM users WHERE id < 0;
SELECT sum(age + 1), sum(CASE WHEN active THEN 1 ELSE 0 END) FROM users;
SELECT count(*) FILTER (WHERE active) FROM users;
-- refused
SELECT count(DISTINCT age) FROM users;
-- refused
SELECT sum(DISTINCT age) FROM users;
SELECT count(DISTINCT user_id) FROM orders;
SELECT DISTINCT age FROM users ORDER BY age;
SELECT DISTINCT status FROM orders;
SELECT DISTINCT active, age FROM users ORDER BY 1, 2;
SELECT DISTINCT id FROM users ORDER BY id LIMIT 3;
SELECT DISTINCT ON (status) status, id FROM orders ORDER BY status, id;
-- refused
SELECT string_agg(name, ',' ORDER BY id) FROM users;
-- refused
SELECT array_agg(id ORDER BY id) FROM users;
-- refused
SELECT stddev(age) FROM users;
-- refused
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY age) FROM users;
-- refused
SELECT rank() OVER (ORDER BY age, id), id FROM users ORDER BY 1;
SELECT rank() OVER (PARTITION BY user_id ORDER BY id), user_id, id FROM orders ORDER BY id;
-- refused
SELECT status, count(*) FROM orders GROUP BY ROLLUP (status) ORDER BY 1;
-- Joins that are right shard by shard
SELECT u.id, o.id FROM users u JOIN orders o ON o.user_id = u.id ORDER BY u.id, o.id;
SELECT u.id, o.id FROM users u, orders o WHERE o.user_id = u.id ORDER BY 1, 2;
SELECT u.id, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id ORDER BY 1, 2;
SELECT u.id, o.id FROM orders o RIGHT JOIN users u ON o.user_id = u.id ORDER BY 1, 2;
SELECT u.id, o.id FROM users u FULL JOIN orders o ON o.user_id = u.id ORDER BY 1, 2;
SELECT u.id, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.status = 'paid' ORDER BY 1, 2;
SELECT u.id FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE o.id IS NULL ORDER BY 1;
SELECT u.name, count(o.id) FROM users u LEFT JOIN orders o ON o.user_id = u.id GROUP BY u.name ORDER BY 1;
SELECT u.id, i.line FROM users u JOIN orders o ON o.user_id = u.id JOIN items i ON i.user_id = o.user_id AND i.order_id = o.id ORDER BY 1, o.id, 2;
SELECT o.id, p.name FROM orders o JOIN items i ON i.user_id = o.user_id AND i.order_id = o.id JOIN products p ON p.id = i.product ORDER BY o.id, i.line;
SELECT p.name, sum(i.quantity * p.price) FROM items i JOIN products p ON p.id = i.product GROUP BY p.name ORDER BY 2 DESC NULLS LAST, 1;
SELECT i.line, p.id FROM items i LEFT JOIN products p ON p.id = i.product ORDER BY i.order_id, i.line;
-- refused
SELECT p.id, i.line FROM products p LEFT JOIN items i ON p.id = i.product ORDER BY 1, i.order_id, 2;
-- refused
SELECT p.id, count(i.line) FROM products p LEFT JOIN items i ON p.id = i.product GROUP BY p.id ORDER BY 1;
SELECT c.name, r.city FROM regions r JOIN countries c ON c.code = r.code ORDER BY 1, 2;
SELECT c.name, count(*) FROM countries c, regions r WHERE c.code = r.code GROUP BY c.name ORDER BY 1;
SELECT u.id FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id) ORDER BY 1;
SELECT u.id FROM users u WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id) ORDER BY 1;
SELECT u.id FROM users u WHERE u.id IN (SELECT user_id FROM orders) ORDER BY 1;
-- refused
SELECT u.id FROM users u WHERE u.id NOT IN (SELECT user_id FROM orders) ORDER BY 1;
SELECT u.id, (SELECT count(*) FROM orders o WHERE o.user_id = u.id) FROM users u ORDER BY 1;
-- refused
SELECT id FROM users WHERE age = (SELECT max(age) FROM users) ORDER BY id;
SELECT id FROM users WHERE age > (SELECT count(*) FROM countries) ORDER BY id;
SELECT * FROM (SELECT id, age FROM users) s WHERE s.id = 7;
SELECT * FROM (SELECT id, age FROM users WHERE age > 30) s ORDER BY id;
-- refused
SELECT count(*) FROM (SELECT DISTINCT age FROM users) s;
-- refused
SELECT count(*) FROM (SELECT id FROM users ORDER BY id LIMIT 3) s;
WITH old AS (SELECT id, age FROM users WHERE age > 60) SELECT count(*) FROM old;
WITH old AS (SELECT id, age FROM users WHERE age > 60) SELECT id FROM old ORDER BY id;
-- Joins that are not
-- refused
SELECT count(*) FROM users u JOIN orders o ON o.id = u.id;
-- refused
SELECT count(*) FROM users u JOIN names n ON n.n = u.age;
-- refused
SELECT count(*) FROM users a, users b;
-- refused
SELECT count(*) FROM users a JOIN users b ON a.age = b.age;
SELECT count(*) FROM users a JOIN users b ON a.id = b.id;
-- refused
SELECT count(*) FROM users a JOIN users b ON a.id = b.id + 1;
SELECT count(*) FROM users u JOIN orders o ON o.user_id = u.id AND u.id = 7;
SELECT o.id FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = 9 ORDER BY 1;
SELECT o.id FROM users u JOIN orders o ON o.user_id = u.id WHERE o.user_id = 9 ORDER BY 1;
SELECT o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.user_id = 9 ORDER BY u.id, 1;
SELECT u.id, o.id FROM users u LEFT JOIN orders o ON u.id = 9 AND o.user_id = u.id ORDER BY 1, 2;
-- refused
SELECT u.id FROM users u LEFT JOIN orders o ON o.user_id = 9 ORDER BY 1;
-- refused
SELECT count(*) FROM users u JOIN orders o ON u.id = 9 AND o.user_id = 12;
-- refused
SELECT count(*) FROM users u JOIN local_notes n ON n.id = u.id;
-- refused
SELECT count(*) FROM users u JOIN local_notes n ON n.id = u.id WHERE u.id = 7;
SELECT count(*) FROM users NATURAL JOIN countries;
-- refused
SELECT u.id FROM users u JOIN orders o USING (id) WHERE u.id = 7;
-- refused
SELECT id FROM users UNION SELECT user_id FROM orders ORDER BY 1;
-- refused
SELECT id FROM users UNION ALL SELECT user_id FROM orders ORDER BY 1;
-- refused
SELECT id FROM users EXCEPT SELECT user_id FROM orders ORDER BY 1;
SELECT id FROM users WHERE id = 7 UNION ALL SELECT user_id FROM orders WHERE user_id = 7;
SELECT id FROM users WHERE id = 7 UNION ALL SELECT user_id FROM orders WHERE user_id = 8;
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r ORDER BY n;
SELECT id FROM users TABLESAMPLE BERNOULLI (100) ORDER BY id;
SELECT random() >= 0, id FROM users ORDER BY id;
-- refused
SELECT id FROM users FOR UPDATE;
-- refused
SELECT id FROM users WHERE id IN (1, 2) ORDER BY id FOR SHARE;
SELECT day, sum(n) FROM events GROUP BY day ORDER BY day;
SELECT kind, sum(n), count(*) FROM events WHERE day > '2026-03-01' GROUP BY kind ORDER BY kind;
SELECT code, sum(people) FROM regions GROUP BY code ORDER BY code;
SELECT a, sum(v) FROM pairs GROUP BY a ORDER BY a;
-- refused
SELECT b, max(v), min(a) FROM pairs GROUP BY b HAVING max(v) > 0 ORDER BY b;
SELECT tags, count(*) FROM users GROUP BY tags;
SELECT name || '!' FROM users WHERE age BETWEEN 20 AND 40 ORDER BY id;
SELECT id, age IS NULL, coalesce(age, -1), nullif(age, 30) FROM users ORDER BY id;
SELECT id FROM users WHERE name LIKE 'user 1%' AND active ORDER BY id;
SELECT id FROM users WHERE name ~ '^user [12]$' ORDER BY id;
SELECT id FROM users WHERE age IS NULL OR NOT active ORDER BY id;
SELECT id FROM users WHERE 'a' = ANY (tags) ORDER BY id;
SELECT id, CASE WHEN age > 50 THEN 'old' WHEN age IS NULL THEN '?' ELSE 'young' END FROM users ORDER BY 1;
SELECT id, extract(year FROM joined) FROM users ORDER BY id;
SELECT 'x' AS constant, id FROM users ORDER BY id LIMIT 2;
SELECT users FROM users ORDER BY id LIMIT 2;
SELECT ROW(id, age) FROM users ORDER BY id LIMIT 2;
SELECT ctid IS NOT NULL, tableoid IS NOT NULL FROM users WHERE id = 7;
SELECT count(*) FROM ONLY users;
