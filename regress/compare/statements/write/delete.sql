-- list one key
DELETE FROM users WHERE id = 40;
-- list several keys
DELETE FROM items WHERE user_id IN (1, 2, 3);
-- list another column
DELETE FROM facts WHERE n < 0;
-- list nothing
DELETE FROM users WHERE id = -5;
DELETE FROM users WHERE age = -5;
-- list RETURNING
DELETE FROM facts WHERE grp = 3 RETURNING k, seq, val;
-- list RETURNING of one key
DELETE FROM orders WHERE user_id = 5 RETURNING *;
-- list USING, colocated
DELETE FROM orders o USING users u WHERE u.id = o.user_id AND u.age > 70;
-- list USING, reference table
DELETE FROM items i USING products p WHERE p.id = i.product AND p.price > 50;
-- list USING, another column
DELETE FROM marks m USING facts f WHERE f.n = m.w AND f.grp = 2;
-- list USING a local table
DELETE FROM facts f USING ledger l WHERE l.k = f.k AND l.t = 'red';
-- list USING VALUES
DELETE FROM names USING (VALUES ('n0 alpha'), ('n1 beta'), ('none')) v(x) WHERE v.x = name RETURNING name;
-- list EXISTS of the same key
DELETE FROM marks m WHERE EXISTS (SELECT 1 FROM facts f WHERE f.k = m.k AND f.flag);
-- list NOT EXISTS
DELETE FROM items i WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.user_id = i.user_id AND o.id = i.order_id);
-- list IN another column
DELETE FROM tree WHERE id IN (SELECT b FROM edges WHERE w > 7);
-- list the largest
DELETE FROM edges WHERE w = (SELECT max(w) FROM edges);
-- list with LIMIT
DELETE FROM facts WHERE (k, seq) IN (SELECT k, seq FROM facts ORDER BY n NULLS LAST, k, seq LIMIT 5);
-- list duplicates
DELETE FROM sites a USING sites b WHERE a.site = b.site AND a.n = b.n AND a.t > b.t;
-- list itself
DELETE FROM tree t USING tree p WHERE p.id = t.parent AND p.parent IS NULL AND t.id > 20;
-- list WITH
WITH old AS (SELECT id FROM users WHERE age > 65) DELETE FROM users WHERE id IN (SELECT id FROM old) RETURNING id;
-- list range table
DELETE FROM events WHERE day < '2026-04-01';
DELETE FROM levels WHERE lv BETWEEN -11 AND 99;
-- list list table
DELETE FROM regions WHERE code = 'fr';
DELETE FROM sites WHERE site NOT IN (1, 3);
-- list composite key
DELETE FROM pairs WHERE a = 4 AND b = 'x';
DELETE FROM pairs WHERE b = 'y' RETURNING a;
-- list an error on one shard
DELETE FROM users WHERE 10 / (id - 8) > 3;
-- list local table
DELETE FROM local_notes WHERE id > 5 RETURNING body;
-- list local table by a sharded one
DELETE FROM ledger WHERE k IN (SELECT id FROM users WHERE age < 40);
-- list reference table
DELETE FROM countries WHERE code = 'it' RETURNING name;
-- list reference table by another
DELETE FROM groups g USING products p WHERE p.id = g.grp AND p.price > 15;
-- list reference table by a sharded one
DELETE FROM products WHERE id NOT IN (SELECT product FROM items WHERE product IS NOT NULL);
-- list params
-- params 12
DELETE FROM users WHERE id = %s;
-- params 20
DELETE FROM users WHERE age < %s;
-- list all rows
DELETE FROM edges;
DELETE FROM lonely RETURNING n;
-- list no such table
DELETE FROM nobody WHERE id = 1;
DELETE FROM users WHERE nothing = 1;
