-- refused
-- list volatile values
-- shape
INSERT INTO groups (grp, title) VALUES (301, random()::text), (302, clock_timestamp()::text);
-- refused
-- list now()
-- shape
INSERT INTO countries VALUES ('n1', now()::text, true);
-- refused
-- list uuid
-- shape
INSERT INTO countries VALUES ('u1', gen_random_uuid()::text, true), ('u2', gen_random_uuid()::text, true);
-- refused
-- list update to a volatile value
-- shape
UPDATE countries SET name = random()::text;
-- refused
-- list update by a volatile condition
-- shape
UPDATE products SET name = 'maybe' WHERE random() < 2;
-- refused
-- list update to now()
-- shape
UPDATE groups SET title = now()::text WHERE grp < 3;
-- refused
-- list delete by now()
DELETE FROM rates WHERE day > now() + interval '100 years';
-- refused
-- list insert, random order
-- shape
INSERT INTO groups (grp, title) SELECT 400 + row_number() OVER (ORDER BY random()), name FROM products;
-- list several statements
BEGIN;
INSERT INTO countries VALUES ('q1', 'one', true);
UPDATE countries SET name = 'two' WHERE code = 'q1';
DELETE FROM countries WHERE code = 'de';
COMMIT;
SELECT * FROM countries ORDER BY code;
-- list with sharded rows in a transaction
BEGIN;
INSERT INTO countries VALUES ('q2', 'one', true);
INSERT INTO users (id, name) VALUES (15001, 'q2');
SELECT u.id, c.name FROM users u JOIN countries c ON c.code = u.name;
ROLLBACK;
-- refused
-- list LIMIT
UPDATE products SET name = 'cheap' WHERE id IN (SELECT id FROM products ORDER BY price NULLS LAST, id LIMIT 3);
-- list an existing key
INSERT INTO countries VALUES ('de', 'x', true);
-- list a null key
INSERT INTO countries VALUES (NULL, 'x', true);
-- refused
-- list a volatile key
-- shape
INSERT INTO products (id, name) VALUES (1000 + (random() * 100)::int, 'volatile');
-- list the key changes
UPDATE countries SET code = code || '_' WHERE code < 'c';
-- list RETURNING
UPDATE products SET price = price * 2 WHERE id < 4 RETURNING id, price;
DELETE FROM products WHERE id < 3 RETURNING *;
-- list float sums
UPDATE products SET price = (SELECT avg(price) FROM products);
-- refused
-- list aggregates of sharded rows
UPDATE products SET price = (SELECT avg(amount) FROM orders) WHERE id = 5;
-- list volatile values of sharded tables
-- shape
INSERT INTO users (id, name) VALUES (15101, random()::text), (15102, now()::text), (15103, gen_random_uuid()::text);
-- list volatile update of sharded tables
-- shape
UPDATE users SET name = random()::text WHERE age > 30;
-- list one now() in a statement
-- shape
UPDATE users SET name = now()::text;
-- rows differ
SELECT count(DISTINCT name) FROM users;
-- list one now() in a transaction
-- shape
BEGIN;
INSERT INTO users (id, name) VALUES (15201, now()::text), (15202, now()::text), (15203, now()::text), (15204, now()::text);
-- rows differ
SELECT count(DISTINCT name) FROM users WHERE id > 15200;
COMMIT;
