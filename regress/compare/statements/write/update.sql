-- list one key
UPDATE users SET age = 40 WHERE id = 5;
-- list several keys
UPDATE users SET age = age + 1 WHERE id IN (1, 2, 3, 4, 5);
-- list all rows
UPDATE users SET score = score + 1;
-- list another column
UPDATE users SET name = 'old' WHERE age > 60;
-- list nothing
UPDATE users SET name = 'none' WHERE id = -77;
UPDATE users SET name = 'none' WHERE age = -77;
UPDATE users SET name = 'none' WHERE false;
-- list RETURNING
UPDATE users SET age = age - 1 WHERE age > 50 RETURNING id, age, name;
UPDATE users SET age = 33 WHERE id = 7 RETURNING *;
-- list expressions
UPDATE users SET name = upper(name), email = left(name || '@x', 40), active = NOT active, tags = tags || '{z}'::text[], joined = joined + 1;
-- list DEFAULT
UPDATE users SET age = DEFAULT, name = DEFAULT WHERE id = 6;
-- list several columns at once
UPDATE users SET (name, age) = ('both', 44) WHERE id < 4;
UPDATE users SET (name, age) = ROW ('row', 45) WHERE id < 3;
-- list columns from a sub-select of the same key
UPDATE users u SET (age, score) = (SELECT count(*), sum(o.amount) FROM orders o WHERE o.user_id = u.id) WHERE u.id < 10;
-- list a sub-select of the same key
UPDATE users u SET age = (SELECT count(*) FROM orders o WHERE o.user_id = u.id);
-- list a sub-select over a reference table
UPDATE orders SET note = (SELECT name FROM products p WHERE p.id = orders.id % 20);
-- refused
-- list a sub-select over all rows
UPDATE users SET age = (SELECT max(n) FROM facts) WHERE id < 6;
-- refused
-- list a sub-select on another column
UPDATE users u SET name = (SELECT max(f.sub) FROM facts f WHERE f.n = u.age);
-- list a scalar sub-select gives two rows
UPDATE users SET name = (SELECT name FROM countries) WHERE id < 4;
-- list WHERE EXISTS of the same key
UPDATE users u SET active = true WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND o.status = 'paid');
-- refused
-- list WHERE IN another column
UPDATE users SET active = false WHERE age IN (SELECT n FROM facts);
-- refused
-- list WHERE NOT IN
UPDATE users SET active = NULL WHERE id NOT IN (SELECT k FROM facts);
-- refused
-- list WHERE with an aggregate
UPDATE users SET name = 'oldest' WHERE age = (SELECT max(age) FROM users);
-- refused
-- list WHERE LIMIT
UPDATE users SET name = 'young' WHERE id IN (SELECT id FROM users WHERE age IS NOT NULL ORDER BY age, id LIMIT 5);
-- list FROM, colocated
UPDATE orders o SET note = u.name FROM users u WHERE u.id = o.user_id AND u.age > 30;
-- list FROM, reference table
UPDATE orders o SET note = p.name FROM products p WHERE p.id = o.id % 21;
-- refused
-- list FROM, another column
UPDATE users u SET name = f.sub FROM facts f WHERE f.n = u.age AND f.k = (SELECT min(k) FROM facts x WHERE x.n = u.age) AND f.seq = (SELECT min(seq) FROM facts y WHERE y.n = u.age AND y.k = f.k);
-- list FROM, a sub-select with groups
UPDATE users u SET age = g.c FROM (SELECT user_id, count(*) AS c FROM orders GROUP BY user_id) g WHERE g.user_id = u.id;
-- refused
-- list FROM, a sub-select over other keys
UPDATE users u SET age = g.c FROM (SELECT product, count(*) AS c FROM items GROUP BY product) g WHERE g.product = u.id;
-- list FROM VALUES
UPDATE users u SET name = v.name FROM (VALUES (1, 'first'), (2, 'second'), (30, 'thirtieth')) v(id, name) WHERE v.id = u.id;
-- refused
-- list FROM a local table
UPDATE users u SET name = l.t FROM ledger l WHERE l.id = u.id;
-- list FROM, RETURNING both
UPDATE orders o SET status = 'seen' FROM users u WHERE u.id = o.user_id AND u.id < 8 RETURNING o.id, u.name;
-- list FROM with a join
UPDATE orders o SET note = c.name FROM users u JOIN countries c ON c.big = u.active WHERE u.id = o.user_id AND c.code = 'de';
-- list FROM with LEFT JOIN
UPDATE users u SET name = coalesce(o.note, 'none') FROM users v LEFT JOIN orders o ON o.user_id = v.id AND o.id = (SELECT min(id) FROM orders p WHERE p.user_id = v.id) WHERE v.id = u.id AND u.id < 20;
-- list LATERAL
UPDATE users u SET score = x.s FROM LATERAL (SELECT 1.5 AS s) x WHERE u.id = 3;
-- refused
-- list itself
UPDATE users u SET name = v.name FROM users v WHERE v.id = u.id + 1 AND u.id < 10;
-- list itself on the key
UPDATE facts f SET n = g.n + 1 FROM facts g WHERE g.k = f.k AND g.seq = f.seq + 1;
-- refused
-- list WITH
WITH m AS (SELECT max(age) AS a FROM users) UPDATE users SET age = m.a FROM m WHERE id < 3;
-- list WITH of the same key
WITH c AS (SELECT user_id, count(*) AS n FROM orders GROUP BY user_id) UPDATE users SET age = c.n FROM c WHERE c.user_id = users.id AND users.id < 12;
-- list a division fails on one shard
UPDATE users SET age = 10 / (id::int - 9) WHERE id < 20;
-- list a check fails on one shard
UPDATE kinds SET p = id - 30 WHERE id > 0;
-- list too long on one shard
UPDATE users SET email = repeat('x', CASE WHEN id = 11 THEN 41 ELSE 4 END);
-- list a unique key fails
UPDATE marks SET tag = 'same' WHERE k < 30;
-- refused
-- list ctid
UPDATE users SET name = 'first of the heap' WHERE ctid = '(0,1)';
-- list range table
UPDATE events SET n = n + 1 WHERE day BETWEEN '2026-03-15' AND '2026-09-15';
UPDATE levels SET t = 'low' WHERE lv < 0;
-- list list table
UPDATE regions SET people = people + 1 WHERE code IN ('de', 'fr');
UPDATE sites SET t = 'x' WHERE site = 3 OR site > 4;
-- list composite key
UPDATE pairs SET v = -v WHERE a = 3 AND b = 'x';
UPDATE pairs SET v = v + 1 WHERE a = 3;
UPDATE stock SET qty = qty + 1 WHERE tenant = 2 AND code = 'a';
-- list enums, arrays, json
UPDATE kinds SET m = 'happy', ia = array_append(ia, 9), jb = jsonb_set(coalesce(jb, '{}'), '{z}', '1', true) WHERE id BETWEEN 1 AND 20 AND jsonb_typeof(jb) = 'object';
UPDATE kinds SET ia[1] = 5, s.x = 7 WHERE id = 3;
-- list local table
UPDATE local_notes SET body = 'l' WHERE id < 4 RETURNING id;
-- refused
-- list local table from a sharded one
UPDATE ledger SET t = u.name FROM users u WHERE u.id = ledger.k;
-- list reference table
UPDATE countries SET big = NOT big WHERE code <> 'de';
-- refused
-- list reference table from another
UPDATE products p SET name = g.title FROM groups g WHERE g.grp = p.id;
-- refused
-- list reference table from a sharded one
UPDATE products p SET price = f.s FROM (SELECT grp, sum(val) AS s FROM facts GROUP BY grp) f WHERE f.grp = p.id;
-- list params
-- params 61, 4
UPDATE users SET age = %s WHERE id = %s;
-- params 'p', 30
UPDATE users SET name = %s WHERE age > %s;
-- list ONLY and alias
UPDATE ONLY users AS x SET age = x.age + 1 WHERE x.id < 9;
-- list no such column
UPDATE users SET nothing = 1 WHERE id = 3;
UPDATE users SET age = 'x' WHERE id = 3;
-- list a type that must be coerced
UPDATE users SET score = age, email = age, age = score WHERE id < 20;
