CREATE SEQUENCE seq1;
CREATE TABLE tickets (id bigserial, user_id bigint NOT NULL, note text DEFAULT 'none', made date DEFAULT '2020-01-01', len int GENERATED ALWAYS AS (length(note)) STORED, PRIMARY KEY (user_id, id)) SHARD BY HASH (user_id) COLOCATE WITH users;
CREATE TABLE accounts (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text) SHARD BY HASH (id);
CREATE TABLE tags (id smallserial PRIMARY KEY, tag text, at timestamptz DEFAULT now()) REFERENCE;
INSERT INTO orders (id, user_id, amount) SELECT id + 20000, id, 1.5 FROM users WHERE id < 20;
INSERT INTO orders (id, user_id, amount, status) SELECT o.id + 30000, o.user_id, o.amount * 2, u.name FROM orders o JOIN users u ON u.id = o.user_id WHERE o.id < 30 RETURNING id, amount;
INSERT INTO orders (id, user_id, amount) SELECT 40000, user_id, sum(amount) FROM orders GROUP BY user_id HAVING count(*) > 3;
INSERT INTO users (id, name) SELECT id, name FROM users ON CONFLICT (id) DO NOTHING;
INSERT INTO users (id, name) SELECT id, name || '!' FROM users WHERE id IN (3, 4, 5) ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING id, name;
INSERT INTO users (id, name) SELECT id + 50000, name FROM users WHERE id < 30;
INSERT INTO users (id, name, age) SELECT 60000 + id, 'lit', '7' FROM orders WHERE id < 30;
INSERT INTO users (id, name, email) SELECT amount, 'num', 'e' FROM orders WHERE amount > 400 AND id < 60 ON CONFLICT DO NOTHING;
INSERT INTO users (id, name) SELECT 70000 + row_number() OVER (ORDER BY id), name FROM products ORDER BY id LIMIT 7;
INSERT INTO users (id, name) SELECT 71000, name FROM users WHERE id = 3;
INSERT INTO users (id, name) SELECT '71001', name FROM products WHERE id = 3 RETURNING *;
INSERT INTO users (id, name) SELECT 72000 + n, 'g' || n FROM generate_series(1, 20) n RETURNING id;
INSERT INTO users (id, name) SELECT 73000 + count(*), 'all' FROM orders, names RETURNING name;
INSERT INTO users (id, name) SELECT user_id + 74000, 'u' FROM orders UNION SELECT id + 74000, 'p' FROM products;
INSERT INTO users (id, name, joined) SELECT 75000 + id, 'd', '2024-02-0' || (id % 9 + 1) FROM products WHERE id < 5;
INSERT INTO users (id, joined) SELECT 75100 + id, '2024-02-03' FROM products WHERE id < 5;
INSERT INTO users (id, joined) SELECT 75200, 'nonsense';
INSERT INTO users (id, email) SELECT 75300 + id, repeat('x', 41) FROM products WHERE id < 3;
INSERT INTO users (id, name) SELECT NULL, 'x' FROM orders;
-- refused
INSERT INTO users (id) SELECT name FROM products;
INSERT INTO users (id, name) SELECT id FROM orders;
INSERT INTO users (id) SELECT id, 1 FROM products;
INSERT INTO users (id, nothing) SELECT id, 1 FROM products;
INSERT INTO nothing2 SELECT id, 1 FROM orders;
WITH big AS (SELECT user_id, max(amount) AS m FROM orders GROUP BY user_id) INSERT INTO users (id, name) SELECT 76000 + user_id, m::text FROM big WHERE m > 300;
INSERT INTO names SELECT 'n' || id, id FROM orders WHERE id < 50 ON CONFLICT (name) DO UPDATE SET n = names.n + excluded.n RETURNING name, n;
INSERT INTO pairs SELECT id, name, 7 FROM products ON CONFLICT (a, b) DO UPDATE SET v = excluded.v RETURNING a, v;
INSERT INTO docs SELECT ('00000000-0000-0000-0000-0000000000' || (10 + id))::uuid, name FROM products;
INSERT INTO events SELECT '2024-01-01'::date + id, 'p', id FROM products;
INSERT INTO local_notes SELECT id + 900, name FROM users WHERE id BETWEEN 5 AND 9 RETURNING *;
INSERT INTO local_notes (body, id) SELECT 'c', count(*) + 1000 FROM users ON CONFLICT (id) DO UPDATE SET body = 'again' RETURNING id, body;
INSERT INTO local_notes SELECT count(*) + 1000, 'c' FROM users ON CONFLICT (id) DO UPDATE SET body = 'again' RETURNING id, body;
INSERT INTO products (id, name) SELECT id + 900, name FROM users WHERE id BETWEEN 5 AND 9 RETURNING *;
INSERT INTO products (id, name) SELECT id + 900, 'x' FROM users WHERE id BETWEEN 5 AND 12 ON CONFLICT (id) DO UPDATE SET name = excluded.name || products.name RETURNING id, name;
INSERT INTO products VALUES (990, left(now()::text, 1), round(random() * 0)), (991, 'b', 3);
INSERT INTO products (id, name, price) VALUES (992, 'x', random() * 0), (993, upper('y'), 2.555) RETURNING id, name, price;
SELECT count(*), count(DISTINCT name) FROM products;
INSERT INTO users (id, name) VALUES (80000 + 1, 'expr') RETURNING id;
INSERT INTO users (id, name) VALUES (80002, 'a'), (80000 + 3, 'b'), (abs(-80004), 'c') RETURNING id, name;
INSERT INTO users (id, name) VALUES (80005.4, 'num'), (80006.5, 'num') RETURNING id;
INSERT INTO users (id, name, score) VALUES (80007.4, 'num', 1.005) RETURNING id, score;
INSERT INTO users (id, name) VALUES ((SELECT max(id) + 1 FROM users), 'max') RETURNING id;
INSERT INTO users (id, name) VALUES (80010, (SELECT name FROM users WHERE id = 7)), (80011, (SELECT min(name) FROM names)) RETURNING id, name;
INSERT INTO users (id, name) VALUES (nextval('seq1') + 81000, 's'), (nextval('seq1') + 81000, 't') RETURNING id, name;
INSERT INTO users (id, name, age) VALUES (81010, nextval('seq1'), nextval('seq1')), (81011, 'x', DEFAULT) RETURNING id, name, age;
INSERT INTO users (id, age) VALUES (81020 + 0, 'x');
INSERT INTO users (id, flag) VALUES (81021 + 0, 1);
INSERT INTO users (id, name) VALUES (81022 + NULL, 'x');
INSERT INTO users (id, name) VALUES (9223372036854775807 + 1, 'x');
INSERT INTO users (id) VALUES (80002), (83001) ON CONFLICT DO NOTHING RETURNING id;
INSERT INTO users (id) VALUES (80002), (80003), (83002) ON CONFLICT (id) DO UPDATE SET name = 'w' WHERE users.name = 'a' RETURNING id, name;
-- params 84001, 'p1', 84002
INSERT INTO users (id, name) VALUES (%s + 0, %s), (%s, upper('b')) RETURNING id, name;
-- params 'q1', 30
INSERT INTO users (id, name) SELECT id + 85000, %s FROM orders WHERE id < %s;
INSERT INTO tickets (user_id) VALUES (5) RETURNING *;
INSERT INTO tickets (user_id, note) VALUES (6, 'a'), (7, DEFAULT), (8, NULL) RETURNING *;
INSERT INTO tickets VALUES (DEFAULT, 9, 'full', DEFAULT, DEFAULT) RETURNING *;
INSERT INTO tickets (id, user_id) VALUES (100, 9) RETURNING id;
INSERT INTO tickets (user_id, note) SELECT id, name FROM users WHERE id < 6 ORDER BY id RETURNING id, user_id;
INSERT INTO tickets (user_id) SELECT 5 RETURNING id;
INSERT INTO tickets (user_id, made) SELECT 6, '2021-02-03' FROM products ORDER BY id LIMIT 2 RETURNING id, made;
SELECT * FROM tickets ORDER BY id;
INSERT INTO tickets (user_id, len) VALUES (5, 3);
INSERT INTO accounts (email) VALUES ('a@b') RETURNING id;
INSERT INTO accounts (email) VALUES ('b@b'), ('c@b'), ('d@b') RETURNING id, email;
INSERT INTO accounts DEFAULT VALUES RETURNING *;
INSERT INTO accounts (id, email) VALUES (DEFAULT, 'e@b') RETURNING *;
INSERT INTO accounts (id, email) VALUES (50, 'f@b');
INSERT INTO accounts (id, email) OVERRIDING SYSTEM VALUE VALUES (50, 'f@b') RETURNING *;
INSERT INTO accounts (id, email) OVERRIDING USER VALUE VALUES (51, 'g@b') RETURNING *;
INSERT INTO accounts (email) SELECT email FROM users WHERE id < 5 ORDER BY id RETURNING *;
INSERT INTO accounts (id, email) OVERRIDING USER VALUE SELECT id, 'same' FROM users WHERE id < 5 RETURNING *;
INSERT INTO accounts (id, email) SELECT id, email FROM users WHERE id < 5;
SELECT * FROM accounts ORDER BY id;
INSERT INTO tags (tag) VALUES ('one'), ('two') RETURNING id, tag;
INSERT INTO tags (tag) SELECT name FROM users WHERE id < 4 ORDER BY id RETURNING id, tag;
SELECT id, tag, at <= now() FROM tags ORDER BY id;
SELECT nextval('seq1');
SELECT nextval('seq1'), id FROM users WHERE id = 5;
SELECT count(n) FROM (SELECT nextval('seq1') AS n FROM users WHERE id < 5) x;
SELECT setval('seq1', max(id)) FROM users WHERE id < 1000;
SELECT nextval('seq1'), currval('seq1'), lastval();
BEGIN;
INSERT INTO accounts (email) VALUES ('tx') RETURNING id;
INSERT INTO users (id, name) SELECT id + 90000, name FROM orders JOIN names ON true WHERE id < 3 AND n < 3;
INSERT INTO tickets (user_id) VALUES (1), (2), (3);
ROLLBACK;
SELECT count(*) FROM users WHERE id > 90000;
-- what SET gives to columns that the home shard's sequences fill
UPDATE accounts SET id = 5 WHERE email = 'none';
UPDATE tags SET id = 5 WHERE id = 2;
UPDATE tags SET id = 2 WHERE id = 5;
CREATE TABLE badges (no int GENERATED ALWAYS AS IDENTITY, k bigint PRIMARY KEY, n bigserial) SHARD BY HASH (k);
INSERT INTO badges (k) VALUES (1), (2), (3), (4), (5), (6), (7), (8);
UPDATE badges SET no = 50 WHERE k = 1;
UPDATE badges SET no = 50 WHERE k = 2;
UPDATE badges SET no = 50 WHERE k = 4;
UPDATE badges SET no = l.id FROM local_notes l WHERE l.id = badges.k;
UPDATE badges SET n = 50 WHERE k < 3 RETURNING k, n;
INSERT INTO badges (k) VALUES (1) ON CONFLICT (k) DO UPDATE SET no = 3;
INSERT INTO badges (k) VALUES (2) ON CONFLICT (k) DO UPDATE SET no = 3;
MERGE INTO badges b USING (VALUES (1, 2)) s(id, n) ON b.k = s.id WHEN MATCHED THEN UPDATE SET no = s.n;
MERGE INTO badges b USING (VALUES (2, 2)) s(id, n) ON b.k = s.id WHEN MATCHED THEN UPDATE SET no = s.n;
WITH w AS (UPDATE badges SET no = 3 RETURNING k) SELECT count(*) FROM w;
-- refused
UPDATE badges SET no = DEFAULT WHERE k = 1 RETURNING k;
-- refused
UPDATE badges SET (no, n) = (DEFAULT, 1);
-- refused
UPDATE badges SET n = DEFAULT;
-- refused
UPDATE tags SET id = DEFAULT WHERE id = 2;
-- refused
INSERT INTO badges (k) VALUES (3) ON CONFLICT (k) DO UPDATE SET n = DEFAULT;
-- refused
MERGE INTO badges b USING local_notes l ON b.k = l.id WHEN MATCHED THEN UPDATE SET n = DEFAULT;
-- refused
MERGE INTO badges b USING (VALUES (77, 2)) s(id, n) ON b.k = s.id WHEN NOT MATCHED THEN INSERT (k, no, n) VALUES (s.id, s.n, 1);
MERGE INTO badges b USING (VALUES (78, 2)) s(id, n) ON b.k = s.id WHEN NOT MATCHED THEN INSERT (k, no, n) OVERRIDING SYSTEM VALUE VALUES (s.id, s.n, 1);
SELECT * FROM badges ORDER BY k;
DROP TABLE badges;
ALTER TABLE accounts ALTER COLUMN id SET GENERATED BY DEFAULT RESTART WITH 1000;
INSERT INTO accounts (email) VALUES ('restarted') RETURNING id;
INSERT INTO accounts (id, email) VALUES (1500, 'own') RETURNING id;
TRUNCATE accounts RESTART IDENTITY;
INSERT INTO accounts (email) VALUES ('again') RETURNING id;
ALTER TABLE tickets ALTER COLUMN note SET DEFAULT nextval('seq1')::text;
INSERT INTO tickets (user_id) VALUES (11) RETURNING note;
DROP TABLE tickets, accounts, tags;
DROP SEQUENCE seq1;
-- params 86001, 'a"b\\c', 86002, None, 86003, ''
INSERT INTO users (id, name, age) VALUES (%s, %s, 1), (%s, %s, 2), (%s, %s, 3) RETURNING id, name, age;
-- params 86011, '{x,y}', 86012, 'null', 86013, ' z '
INSERT INTO users (id, name, age) VALUES (%s, %s, 1), (%s, %s, 2), (%s, %s, 3) RETURNING id, name, age;
-- params 86021, date(2024, 2, 29), True, 1.5, Decimal('12.345'), 86022, None, None, None, None, 86023, date(1999, 12, 31), False, -0.1, Decimal('-7')
INSERT INTO users (id, joined, active, ratio, score) VALUES (%s, %s, %s, %s, %s), (%s, %s, %s, %s, %s), (%s, %s, %s, %s, %s) RETURNING *;
-- params 86031, 86032, 86033, 86034
INSERT INTO users (id, name, age, email) VALUES (%s, 'lit', 5, 'same'), (%s, 'it''s', NULL, 'same'), (%s, NULL, -7, 'same'), (%s, 'back\slash', 2147483647, 'same') RETURNING *;
-- params 86041, 86042
INSERT INTO users (id, joined, tags) VALUES (%s, '2024-01-01', '{a}'), (%s, '2024-01-01', '{a}') RETURNING id, joined, tags;
-- params 86043, 86044
INSERT INTO users (id, joined) VALUES (%s, '2024-01-01'), (%s, '2024-01-02') RETURNING id, joined;
-- params '86045', ' 86046 ', '+86047'
-- refused
INSERT INTO users (id, age) VALUES (%s, 1), (%s, 2), (%s, 3) RETURNING id, age;
-- params '86048', '86049x'
-- refused
INSERT INTO users (id, age) VALUES (%s, 1), (%s, 2) RETURNING id, age;
-- params 86001, 'again', 86051, 'new'
INSERT INTO users (id, name) VALUES (%s, %s), (%s, %s) ON CONFLICT (id) DO UPDATE SET name = excluded.name || users.name RETURNING id, name;
-- params 86051, 'again', 86052, 'new'
INSERT INTO users (id, name) VALUES (%s, %s), (%s, %s) ON CONFLICT DO NOTHING;
-- params 86051, 'again', 86053, 'new', '?'
INSERT INTO users (id, name) VALUES (%s, %s), (%s, %s) ON CONFLICT (id) DO UPDATE SET name = %s RETURNING id, name;
-- params 86061, 'x', 86061, 'y'
INSERT INTO users (id, name) VALUES (%s, %s), (%s, %s) ON CONFLICT (id) DO UPDATE SET name = 'twice';
-- params 86062, 'x', 86002, 'y'
INSERT INTO users (id, name) VALUES (%s, %s), (%s, %s);
-- params 86063, None
INSERT INTO users (id) VALUES (%s), (%s);
-- params 86064, 'x' * 41, 86065, 'y'
INSERT INTO users (id, email) VALUES (%s, %s), (%s, %s);
-- params 86066, 3000000000, 86067, 1
INSERT INTO users (id, age) VALUES (%s, %s), (%s, %s);
-- params UUID('00000000-0000-0000-0000-000000000a01'), 'd1', UUID('00000000-0000-0000-0000-000000000a02'), 'd2', UUID('00000000-0000-0000-0000-000000000a03'), 'd3'
INSERT INTO docs (id, body, size) VALUES (%s, %s, 1), (%s, %s, 2), (%s, %s, 3) RETURNING *;
-- params 'k1', 'k2', 'k3'
INSERT INTO names VALUES (%s, 1), (%s, 2), (%s, 3) RETURNING name, n;
-- params 70, 'p', 71, 'q', 72, 'r'
INSERT INTO pairs VALUES (%s, %s, 1), (%s, %s, 2), (%s, %s, 3) RETURNING *;
-- params date(2026, 1, 31), date(2026, 5, 31), date(2026, 12, 31)
INSERT INTO events (day, kind, n) VALUES (%s, 'many', 1), (%s, 'many', 2), (%s, 'many', 3) RETURNING *;
-- params 86071, 86072
-- rows differ
INSERT INTO users (id, joined, name) VALUES (%s, now(), current_user), (%s, now(), current_user) RETURNING id, joined = current_date, name;
-- params 86073, 86074
INSERT INTO users (id, age, name) VALUES (%s, DEFAULT, 'd'), (%s, 7, 'd') RETURNING id, age, name;
SELECT count(*), sum(age), min(name), max(email) FROM users WHERE id BETWEEN 86000 AND 86999;
-- keys of varchar(n): what is assigned loses spaces, or fails, and is found where it is stored
CREATE TABLE short (k varchar(5) PRIMARY KEY, v text) SHARD BY HASH (k);
INSERT INTO short SELECT CASE id WHEN 1 THEN 'one  ' WHEN 2 THEN 'two         ' WHEN 3 THEN 'three' ELSE 'n' || id END, name FROM users WHERE id < 12;
SELECT k, length(k) FROM short ORDER BY k COLLATE "C";
SELECT k FROM short WHERE k = 'two  ';
SELECT k FROM short WHERE k = 'two';
INSERT INTO short SELECT 'longer than that', name FROM users WHERE id = 2;
INSERT INTO short SELECT name || '      ', name FROM users WHERE id < 3 ORDER BY id;
INSERT INTO short VALUES (concat('a', 'b        '), 'v'), (concat('x', 'z'), 'w') RETURNING k, length(k);
INSERT INTO short VALUES (concat('a', 'b        .'), 'v');
SELECT v FROM short WHERE k = 'ab   ';
UPDATE short SET k = k || '        ' WHERE k = 'three' OR k = 'n4';
SELECT v FROM short WHERE k = 'n4   ';
SELECT v FROM short WHERE k = 'three';
UPDATE short SET k = 'far' || k WHERE v IS NOT NULL;
UPDATE short SET k = lower(upper(k)) WHERE k LIKE 'n%' RETURNING k;
SELECT k, length(k) FROM short ORDER BY k COLLATE "C";
