-- refused
-- list from generate_series
INSERT INTO users (id, name) SELECT g, 'g' || g FROM generate_series(2001, 2020) g;
-- refused
-- list from a reference table
INSERT INTO names SELECT 'country ' || code, length(name) FROM countries;
-- refused
-- list from a local table
INSERT INTO users (id, name) SELECT 2100 + id, body FROM local_notes;
-- list from a sharded table, same key
INSERT INTO marks (k, tag, w) SELECT k, 'copied ' || seq, n FROM facts;
-- list from a sharded table, one key
INSERT INTO marks (k, tag, w) SELECT k, 'one ' || seq, n FROM facts WHERE k = 2;
-- refused
-- list from a sharded table, another key
INSERT INTO tree (id, parent, label) SELECT 2000 + id, id, name FROM users WHERE id < 30;
-- refused
-- list aggregates
INSERT INTO names SELECT 'grp ' || grp, count(*) FROM facts WHERE grp IS NOT NULL GROUP BY grp;
-- refused
-- list a join over shards
INSERT INTO pairs SELECT u.id::int + 1000, 'j', f.seq FROM users u JOIN facts f ON f.n = u.age WHERE u.id < 1000 GROUP BY u.id, f.seq HAVING count(*) = 1;
-- refused
-- list ORDER BY and LIMIT
INSERT INTO names SELECT 'top ' || id, age FROM users WHERE age IS NOT NULL ORDER BY age DESC, id LIMIT 5;
-- refused
-- list DISTINCT
INSERT INTO names SELECT DISTINCT 'status ' || status, 1 FROM orders WHERE status IS NOT NULL;
-- refused
-- list UNION
INSERT INTO names SELECT 'union ' || code, 1 FROM countries UNION SELECT 'union ' || id, 2 FROM users WHERE id < 5;
-- refused
-- list EXCEPT
INSERT INTO names SELECT 'except ' || id, 1 FROM users WHERE id < 20 EXCEPT SELECT 'except ' || k, 1 FROM facts;
-- refused
-- list windows
INSERT INTO names SELECT 'rank ' || id, rank() OVER (ORDER BY age NULLS LAST, id) FROM users WHERE id < 10;
-- refused
-- list RETURNING
INSERT INTO names SELECT 'ret ' || id, age FROM users WHERE id BETWEEN 1 AND 6 RETURNING name, n;
-- refused
-- list nothing to insert
INSERT INTO names SELECT name, 1 FROM users WHERE id = -5;
-- refused
INSERT INTO names SELECT name, 1 FROM users WHERE false;
-- refused
-- list into itself
INSERT INTO tree SELECT id + 5000, id, 'copy' FROM tree WHERE id < 20;
-- refused
-- list into itself, all rows
INSERT INTO lonely SELECT k + 100, n, t FROM lonely;
-- list constants and a column
INSERT INTO orders (id, user_id, status) SELECT 6000 + id, id, 'new' FROM users WHERE id < 20;
-- refused
-- list the key is a constant
INSERT INTO orders (id, user_id, status) SELECT 6100 + id, 9, 'same user' FROM users WHERE id < 10;
-- refused
-- list the key is another column
INSERT INTO orders (id, user_id, amount) SELECT 6200 + id, age, score FROM users WHERE age IS NOT NULL AND id < 20;
-- refused
-- list a null key of a row
INSERT INTO orders (id, user_id) SELECT 6300 + id, CASE WHEN id = 7 THEN NULL ELSE id END FROM users WHERE id < 20;
-- refused
-- list twice the same key
INSERT INTO names SELECT 'all the same', id FROM users WHERE id < 5;
-- list an existing key
INSERT INTO users (id, name) SELECT id, name FROM users WHERE id < 5;
-- refused
-- list a cast fails in a row
INSERT INTO users (id, age) SELECT 2500 + id, name::int FROM users WHERE id < 5;
-- refused
-- list a division fails in a row
INSERT INTO users (id, age) SELECT 2500 + id, 10 / (id::int - 4) FROM users WHERE id < 8;
-- list reference table from a reference table
INSERT INTO countries SELECT 'x' || id, name, false FROM products WHERE id < 4;
-- refused
-- list reference table from a sharded table
INSERT INTO groups SELECT 100 + id, name, 'ok' FROM users WHERE id < 5;
-- list reference table from generate_series
INSERT INTO groups SELECT 200 + g, 'g' || g FROM generate_series(1, 5) g;
-- refused
-- list local table from a sharded table
INSERT INTO local_notes SELECT 200 + id, name FROM users WHERE id < 10;
-- refused
-- list local table from a join
INSERT INTO ledger (id, k, t) SELECT 100 + u.id, u.id, c.name FROM users u JOIN countries c ON c.code = 'de' WHERE u.id < 10;
-- refused
-- list TABLE
INSERT INTO nothing (id, n, t, amount) SELECT id, 1, name, price FROM products;
-- refused
-- list range table from a sharded table
INSERT INTO levels SELECT (age - 50) * 10, id::int, 'from users' FROM users WHERE id < 30 AND age IS NOT NULL;
-- refused
-- list list table from a sharded table
INSERT INTO sites SELECT id::int % 7, id::int, 'from users' FROM users WHERE id < 30;
-- refused
-- list uuid table
INSERT INTO docs SELECT md5(id::text)::uuid, name, id::int FROM users WHERE id < 12;
-- refused
-- list composite key
INSERT INTO pairs SELECT age, 'age', count(*) FROM users WHERE age IS NOT NULL AND id < 1000 GROUP BY age;
-- refused
-- list columns in another order
INSERT INTO users (age, name, id) SELECT seq, sub, 3000 + k * 10 + seq FROM facts WHERE k < 10;
-- refused
-- list types are coerced
INSERT INTO users (id, name, score, email) SELECT 3200 + line, line, quantity, product FROM items WHERE user_id = 1 AND order_id = 1;
-- refused
-- list types are coerced over shards
INSERT INTO users (id, score, email) SELECT 3300 + row_number() OVER (ORDER BY user_id, order_id, line), quantity, product FROM items;
-- refused
-- list json, arrays, enums
INSERT INTO kinds (id, jb, ta, m, r, s) SELECT 4000 + id, jb, ta, m, r, s FROM kinds WHERE id BETWEEN 1 AND 60;
-- refused
-- list floats
INSERT INTO kinds (id, f4, f8, num) SELECT 5000 + id, f4, f8, num FROM kinds WHERE id BETWEEN 1 AND 60;
-- refused
-- list times
INSERT INTO kinds (id, d, ts, tz, tm, iv) SELECT 6000 + id, d, ts, tz, tm, iv FROM kinds WHERE id BETWEEN 1 AND 60;
-- refused
-- list bytes and addresses
INSERT INTO kinds (id, "by", ip, bits, u) SELECT 7000 + id, "by", ip, bits, u FROM kinds WHERE id BETWEEN 1 AND 60;
-- refused
-- list ON CONFLICT DO NOTHING
INSERT INTO users (id, name) SELECT id + 38, 'late' FROM users WHERE id < 10 ON CONFLICT DO NOTHING;
-- list ON CONFLICT DO UPDATE
INSERT INTO users AS u (id, name, age) SELECT id, 'updated', 1 FROM users WHERE id < 10 ON CONFLICT (id) DO UPDATE SET name = excluded.name || u.id, age = u.age + excluded.age;
-- refused
-- list recursive
WITH RECURSIVE r AS (SELECT id, parent FROM tree WHERE id = 30 UNION SELECT t.id, t.parent FROM tree t JOIN r ON t.id = r.parent)
INSERT INTO names SELECT 'path ' || id, parent FROM r;
-- list in a transaction that has written
BEGIN;
UPDATE users SET age = 99 WHERE id = 3;
-- refused
INSERT INTO names SELECT 'in tx ' || id, age FROM users WHERE id < 6;
ROLLBACK;
-- list the same, committed
BEGIN;
UPDATE users SET age = 99 WHERE id = 3;
-- refused
INSERT INTO names SELECT 'in tx ' || id, age FROM users WHERE id < 6;
COMMIT;
-- refused
-- list params
-- params 'p ', 12
INSERT INTO names SELECT %s || id, age FROM users WHERE id < %s;
