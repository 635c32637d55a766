SELECT u.id, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE o.user_id = 9 ORDER BY 1, 2;
SELECT u.id, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.user_id = 9 WHERE u.id < 12 ORDER BY 1, 2;
SELECT u.id, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id AND u.id = 9 WHERE u.id < 12 ORDER BY 1, 2;
SELECT u.id, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE o.id IS NULL ORDER BY 1;
SELECT u.id, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.status = 'paid' WHERE o.user_id IS NULL ORDER BY 1;
SELECT count(*), count(o.user_id), count(u.id) FROM users u LEFT JOIN orders o ON o.user_id = u.id;
SELECT count(*), count(o.user_id), count(u.id) FROM orders o RIGHT JOIN users u ON o.user_id = u.id;
SELECT count(*), count(o.user_id), count(u.id) FROM orders o RIGHT JOIN users u ON o.user_id = u.id WHERE o.user_id IN (3, 4, 5);
SELECT count(*), count(o.user_id), count(u.id) FROM users u FULL JOIN orders o ON o.user_id = u.id;
SELECT count(*), count(o.user_id), count(u.id) FROM users u FULL JOIN orders o ON o.user_id = u.id AND o.status = 'paid';
SELECT count(*) FROM users u FULL JOIN orders o ON o.user_id = u.id WHERE u.id = 9;
SELECT count(*) FROM users u FULL JOIN orders o ON o.user_id = u.id WHERE o.user_id = 9 OR u.id = 9;
SELECT count(*) FROM users u FULL JOIN orders o ON o.user_id = u.id WHERE coalesce(u.id, o.user_id) = 9;
SELECT u.id FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.id = 3 LEFT JOIN items i ON i.user_id = o.user_id AND i.order_id = o.id WHERE u.id < 10 ORDER BY 1;
SELECT u.id, i.line FROM users u LEFT JOIN orders o ON o.user_id = u.id LEFT JOIN items i ON i.user_id = u.id AND i.order_id = o.id WHERE u.id < 10 ORDER BY 1, o.id, 2;
SELECT u.id, i.line FROM users u LEFT JOIN (orders o JOIN items i ON i.user_id = o.user_id AND i.order_id = o.id) ON o.user_id = u.id WHERE u.id < 10 ORDER BY 1, o.id, 2;
SELECT u.id, i.line FROM users u LEFT JOIN (orders o LEFT JOIN items i ON i.user_id = o.user_id AND i.order_id = o.id) ON i.user_id = u.id WHERE u.id < 10 ORDER BY 1, o.id, 2;
SELECT user_id, count(*) FROM orders JOIN items USING (user_id) GROUP BY user_id ORDER BY user_id LIMIT 10;
SELECT user_id, o.id, i.line FROM orders o LEFT JOIN items i USING (user_id) WHERE user_id = 9 ORDER BY 1, 2, 3, i.order_id;
SELECT user_id, o.id, i.line FROM items i RIGHT JOIN orders o USING (user_id) WHERE user_id = 9 ORDER BY 1, 2, 3, i.order_id;
-- refused
SELECT user_id, count(*) FROM orders o FULL JOIN items i USING (user_id) GROUP BY user_id ORDER BY 1 LIMIT 12;
SELECT user_id FROM orders o FULL JOIN items i USING (user_id) WHERE user_id = 9;
SELECT DISTINCT user_id FROM orders o FULL JOIN items i USING (user_id) ORDER BY 1;
SELECT * FROM orders JOIN items USING (user_id) WHERE user_id = 9 ORDER BY id, order_id, line;
-- refused
SELECT * FROM orders JOIN items USING (user_id) WHERE user_id IN (9, 10, 11) ORDER BY id, order_id, line;
SELECT o.*, i.* FROM orders o JOIN items i USING (user_id) WHERE user_id IN (9, 10, 11) ORDER BY o.id, order_id, line;
SELECT count(*) FROM orders NATURAL JOIN items;
-- refused
SELECT count(*) FROM users NATURAL JOIN orders;
SELECT count(*) FROM users NATURAL LEFT JOIN products;
-- refused
SELECT m.id FROM (users u JOIN orders o ON u.id = o.user_id) AS m(id) WHERE m.id = 9;
-- refused
SELECT j.user_id, count(*) FROM (orders JOIN items USING (user_id)) AS j GROUP BY j.user_id ORDER BY 1 LIMIT 5;
-- refused
SELECT j.user_id, count(*) FROM orders JOIN items USING (user_id) AS j GROUP BY j.user_id ORDER BY 1 LIMIT 5;
SELECT count(*) FROM users u CROSS JOIN products p;
SELECT count(*) FROM users u, products p WHERE p.id = u.age;
SELECT count(*) FROM products p LEFT JOIN countries c ON c.code = p.name;
SELECT p.id, count(*) FROM products p JOIN items i ON i.product = p.id GROUP BY p.id ORDER BY 2 DESC, 1;
-- refused
SELECT p.id, c.code FROM products p FULL JOIN countries c ON c.big AND p.id = 3 ORDER BY 1, 2;
SELECT i.line, p.name FROM items i LEFT JOIN products p ON p.id = i.product WHERE i.user_id < 6 ORDER BY i.user_id, i.order_id, 1;
SELECT p.name, i.line FROM products p RIGHT JOIN items i ON p.id = i.product WHERE i.user_id < 6 ORDER BY i.user_id, i.order_id, 2;
SELECT p.id FROM products p RIGHT JOIN (SELECT product FROM items WHERE user_id = 9) i ON i.product = p.id ORDER BY 1;
SELECT p.id FROM products p LEFT JOIN (SELECT product FROM items WHERE user_id = 9) i ON i.product = p.id ORDER BY 1;
SELECT r.code, c.name FROM regions r JOIN countries c ON c.code = r.code ORDER BY 1, r.city;
SELECT r.code, c.name FROM regions r LEFT JOIN countries c ON c.code = r.code ORDER BY 1, r.city;
-- refused
SELECT c.name, r.city FROM countries c LEFT JOIN regions r ON c.code = r.code ORDER BY 1, 2;
SELECT c.name, r.city FROM countries c LEFT JOIN regions r ON c.code = r.code AND r.code = 'de' ORDER BY 1, 2;
SELECT c.name, r.city FROM countries c LEFT JOIN regions r ON c.code = r.code WHERE r.code = 'de' ORDER BY 1, 2;
SELECT a.city, b.city FROM regions a JOIN regions b ON a.code = b.code ORDER BY a.code, 1, 2;
SELECT a.city, b.city FROM regions a JOIN regions b ON a.code = b.code AND a.code = 'fr' ORDER BY 1, 2;
SELECT a.day, b.kind FROM events a JOIN events b ON a.day = b.day ORDER BY 1, 2, a.kind;
-- refused
SELECT a.day, b.day FROM events a JOIN events b ON a.day < b.day WHERE a.day = '2026-01-05' ORDER BY 1, 2;
-- refused
SELECT count(*) FROM events a JOIN events b ON a.n = b.n;
-- refused
SELECT count(*) FROM events e JOIN regions r ON r.people = e.n;
SELECT a.v, b.v FROM pairs a JOIN pairs b ON a.a = b.a AND a.b = b.b ORDER BY a.a, a.b;
-- refused
SELECT count(*) FROM pairs a JOIN pairs b ON a.a = b.a;
-- refused
SELECT count(*) FROM pairs a JOIN pairs b ON a.a = b.a AND a.b = 'x' AND b.b = 'x';
SELECT count(*) FROM pairs a JOIN pairs b USING (a, b);
SELECT count(*) FROM pairs a JOIN pairs b ON (a.a, a.b) = (b.a, b.b);
SELECT count(*) FROM pairs a JOIN pairs b ON a.a = b.a AND a.b = b.b AND a.v < b.v;
SELECT a.v FROM pairs a LEFT JOIN pairs b ON a.a = b.a AND a.b = b.b AND b.v > 140 ORDER BY a.a, a.b;
SELECT count(*) FROM users u JOIN orders o ON u.id = o.user_id AND u.id = o.id;
-- refused
SELECT count(*) FROM users u JOIN orders o ON u.id = o.user_id OR u.age = 30;
-- refused
SELECT count(*) FROM users u JOIN orders o ON NOT (u.id <> o.user_id);
-- refused
SELECT count(*) FROM users u JOIN orders o ON u.id = o.user_id::int;
-- refused
SELECT count(*) FROM users u JOIN orders o ON u.id::text = o.user_id::text;
-- refused
SELECT count(*) FROM users u JOIN orders o ON u.id = o.user_id + 0;
-- refused
SELECT count(*) FROM users u JOIN items i ON u.id = i.line;
SELECT count(*) FROM users u JOIN "Odd Table" t ON t."Key Col" = u.id;
SELECT u.id, t."a""b" FROM users u LEFT JOIN "Odd Table" t ON t."Key Col" = u.id ORDER BY u.id LIMIT 35;
SELECT count(*) FROM users a JOIN users b ON a.id = b.id JOIN users c ON c.id = b.id LEFT JOIN users d ON d.id = c.id AND d.age > 50 WHERE d.id IS NULL;
SELECT count(*) FROM users a LEFT JOIN users b ON a.id = b.id AND b.age > 40 LEFT JOIN users c ON c.id = b.id WHERE a.age IS NOT NULL;
SELECT count(*) FROM users a LEFT JOIN users b ON a.id = b.id AND b.age > 40 JOIN users c ON c.id = b.id;
SELECT count(*) FROM users a LEFT JOIN users b ON a.id = b.id AND b.age > 40 FULL JOIN users c ON c.id = b.id;
SELECT count(*) FROM users a LEFT JOIN users b ON a.id = b.id AND b.age > 40 LEFT JOIN orders o ON o.user_id = b.id AND o.user_id = a.id;
-- refused
SELECT count(*) FROM docs d JOIN names n ON n.name = d.body;
SELECT count(*) FROM names n JOIN names m ON n.name = m.name AND n.n = m.n;
-- refused
SELECT count(*) FROM users u JOIN names n ON n.name = u.name;
SELECT u.id, x.c FROM users u, LATERAL (SELECT count(*) AS c FROM orders o WHERE o.user_id = u.id) x WHERE u.id < 15 ORDER BY 1;
SELECT u.id, x.id FROM users u LEFT JOIN LATERAL (SELECT o.id FROM orders o WHERE o.user_id = u.id ORDER BY o.id DESC LIMIT 1) x ON true WHERE u.id < 15 ORDER BY 1;
SELECT u.id, x.id FROM users u LEFT JOIN LATERAL (SELECT o.id FROM orders o WHERE o.user_id = u.id ORDER BY o.id DESC LIMIT 1) x ON x.id > 10 WHERE u.id < 15 ORDER BY 1;
-- refused
SELECT u.id, x.id FROM users u CROSS JOIN LATERAL (SELECT o.id FROM orders o WHERE o.amount > u.age ORDER BY o.id LIMIT 1) x WHERE u.id < 15 ORDER BY 1;
SELECT u.id, x.n FROM users u, LATERAL (SELECT p.name AS n FROM products p WHERE p.id = u.id) x ORDER BY 1;
SELECT u.id, t FROM users u, unnest(u.tags) AS t WHERE u.id < 8 ORDER BY 1, 2;
SELECT u.id, g FROM users u, generate_series(1, u.id % 3) AS g WHERE u.id < 12 ORDER BY 1, 2;
-- refused
SELECT g, u.id FROM generate_series(1, 3) AS g LEFT JOIN users u ON u.id = g ORDER BY 1;
SELECT v.x, u.name FROM (VALUES (1), (2), (500)) AS v(x) JOIN users u ON u.id = v.x ORDER BY 1;
-- refused
SELECT v.x, u.name FROM (VALUES (1), (2), (500)) AS v(x) LEFT JOIN users u ON u.id = v.x ORDER BY 1;
SELECT u.name, v.x FROM users u LEFT JOIN (VALUES (1), (2), (500)) AS v(x) ON u.id = v.x WHERE u.id < 5 ORDER BY u.id;
SELECT count(*) FROM users u TABLESAMPLE BERNOULLI (100);
SELECT count(*) FROM ONLY users;
