-- list a global unique index is made over rows that are there
CREATE UNIQUE INDEX users_email ON users (email) /* braid: global */;
-- list INSERT
-- returning
INSERT INTO users (id, email) VALUES (15001, 'g1') RETURNING id, email;
INSERT INTO users (id, email) VALUES (15002, 'g1');
INSERT INTO users (id, email) VALUES (15003, 'g3'), (15004, 'g4'), (15005, NULL), (15006, NULL), (15007, 'g7');
INSERT INTO users (id, email) VALUES (15008, 'g8'), (15009, 'g4');
INSERT INTO users (id, email) VALUES (15008, 'g8'), (15009, 'g9'), (15010, 'g8');
INSERT INTO users (id, email) SELECT id + 2000, email FROM users WHERE id = 15001;
INSERT INTO users (id, email) SELECT id + 2000, email || '!' FROM users WHERE id BETWEEN 15001 AND 15009;
INSERT INTO users (id, email) VALUES (15001, 'again');
INSERT INTO users (id) VALUES (15011);
-- list UPDATE of the column
UPDATE users SET email = 'g1' WHERE id = 15003;
UPDATE users SET email = 'g33' WHERE id = 15003;
UPDATE users SET email = 'g3' WHERE id = 15004;
UPDATE users SET email = email WHERE id BETWEEN 15001 AND 15020;
UPDATE users SET email = email || '?' WHERE id BETWEEN 15001 AND 15020;
UPDATE users SET email = 'all' WHERE id BETWEEN 15001 AND 15020;
UPDATE users SET email = NULL WHERE id = 15007;
UPDATE users SET email = 'g7' WHERE id = 15006;
UPDATE users SET age = 5 WHERE id BETWEEN 15001 AND 15020;
UPDATE users u SET email = o.status || u.id FROM orders o WHERE o.id = u.age AND u.id BETWEEN 15001 AND 15020;
-- list UPDATE of the key
UPDATE users SET id = id + 50 WHERE id BETWEEN 15003 AND 15005;
UPDATE users SET id = id + 50, email = 'moved' WHERE id = 15006;
UPDATE users SET id = id + 50, email = 'moved' WHERE id = 15001;
INSERT INTO users (id, email) VALUES (15070, 'moved');
-- list DELETE
DELETE FROM users WHERE email = 'moved' RETURNING email;
INSERT INTO users (id, email) VALUES (15070, 'moved');
DELETE FROM users WHERE id BETWEEN 15001 AND 15020;
INSERT INTO users (id, email) VALUES (15001, 'g1'), (15002, 'g2');
WITH d AS (DELETE FROM users WHERE id = 15001 RETURNING id, email) SELECT * FROM d;
INSERT INTO users (id, email) VALUES (15003, 'g1');
-- list ON CONFLICT of a constraint with the key
INSERT INTO users (id, email) VALUES (15002, 'h2') ON CONFLICT (id) DO UPDATE SET email = excluded.email;
INSERT INTO users (id, email) VALUES (15003, 'h2') ON CONFLICT (id) DO UPDATE SET email = excluded.email;
INSERT INTO users (id, email) VALUES (15003, 'h2') ON CONFLICT (id) DO NOTHING;
INSERT INTO users (id, email) VALUES (15004, 'h2') ON CONFLICT (id) DO NOTHING;
INSERT INTO users (id, email) VALUES (15005, 'h5'), (15006, 'h6'), (15002, 'h7') ON CONFLICT (id) DO UPDATE SET email = excluded.email RETURNING id, email;
-- list ON CONFLICT of the index, one row
INSERT INTO users (id, email, age) VALUES (15020, 'h2', 5) ON CONFLICT (email) DO NOTHING;
INSERT INTO users (id, email, age) VALUES (15021, 'h2', 6) ON CONFLICT (email) DO UPDATE SET age = excluded.age;
-- returning
INSERT INTO users (id, email, age) VALUES (15022, 'h2', 7) ON CONFLICT (email) DO UPDATE SET age = users.age + excluded.age, region = excluded.region RETURNING id, email, age;
-- returning
INSERT INTO users AS u (id, email, age) VALUES (15022, 'h2', 8) ON CONFLICT (email) DO UPDATE SET age = excluded.age WHERE u.age < 5 RETURNING *;
-- returning
INSERT INTO users AS u (id, email, age) VALUES (15022, 'i2', 8) ON CONFLICT (email) DO UPDATE SET age = excluded.age WHERE u.age < 5 RETURNING *;
INSERT INTO users (id, email) VALUES (15022, 'i3') ON CONFLICT (email) DO NOTHING;
INSERT INTO users (id, email) VALUES (15022, 'i3') ON CONFLICT DO NOTHING;
INSERT INTO users (id, email) VALUES (15023, 'i2') ON CONFLICT DO NOTHING;
INSERT INTO users (id, email) VALUES (15023, NULL) ON CONFLICT (email) DO NOTHING;
INSERT INTO users (id) VALUES (15024) ON CONFLICT (email) DO NOTHING;
INSERT INTO users (id, email) VALUES (15024, 'i4') ON CONFLICT (email) DO UPDATE SET email = 'i5';
INSERT INTO users (id, email) VALUES (15025, 'i4') ON CONFLICT (email) DO UPDATE SET email = 'i5';
INSERT INTO users (id, email) VALUES (15025, 'i2') ON CONFLICT (email) DO UPDATE SET email = 'i5';
INSERT INTO users (id, email) VALUES (15025, 'i2') ON CONFLICT (email) DO UPDATE SET email = 'h2';
INSERT INTO users (id, email) VALUES (15025, 'i' || 3) ON CONFLICT (email) DO UPDATE SET age = 44;
INSERT INTO users (id, email) VALUES (15025, 'i' || 2) ON CONFLICT (email) DO UPDATE SET age = 44;
INSERT INTO users (id, email, age) VALUES (15025, 'i2', 'x') ON CONFLICT (email) DO NOTHING;
INSERT INTO users (id, email) VALUES (15025, 'i2') ON CONFLICT ON CONSTRAINT users_email DO NOTHING;
INSERT INTO users (id, email) VALUES (15025, 'i2') ON CONFLICT (email, id) DO NOTHING;
INSERT INTO users (id, email) VALUES (15025, 'i2') ON CONFLICT (age) DO NOTHING;
INSERT INTO users (id, email) VALUES (15025, 'i2') ON CONFLICT (email) DO UPDATE SET age = age + 1;
INSERT INTO users (id, email) VALUES (NULL, 'i2') ON CONFLICT (email) DO NOTHING;
-- params 15026, 'i2', 9
INSERT INTO users (id, email, age) VALUES (%s, %s, %s) ON CONFLICT (email) DO UPDATE SET age = excluded.age RETURNING id, age;
-- params 15027, 'i7', 9
INSERT INTO users (id, email, age) VALUES (%s, %s, %s) ON CONFLICT (email) DO UPDATE SET age = excluded.age RETURNING id, age;
-- params 15028, 'i7', 10
INSERT INTO users (id, email, age) VALUES (%s, %s, %s) ON CONFLICT (email) DO UPDATE SET age = excluded.age RETURNING id, age;
-- list ON CONFLICT of the index, several rows
INSERT INTO users (id, email, age) VALUES (15040, 'j1', 1), (15041, 'j2', 2), (15042, 'j1', 3), (15043, 'h2', 4), (15044, NULL, 5), (15045, NULL, 6) ON CONFLICT (email) DO NOTHING;
INSERT INTO users (id, email, age) VALUES (15046, 'j1', 11), (15047, 'j2', 12), (15048, 'j3', 13) ON CONFLICT (email) DO UPDATE SET age = excluded.age RETURNING id, email, age;
INSERT INTO users (id, email, age) VALUES (15046, 'j1', 11), (15047, 'j4', 12), (15048, 'j4', 13) ON CONFLICT (email) DO UPDATE SET age = excluded.age;
INSERT INTO users (id, email, age) VALUES (15046, 'j1', 21), (15047, 'j4', 12), (15049, 'j1', 13) ON CONFLICT (email) DO UPDATE SET age = excluded.age;
INSERT INTO users (id, email, age) VALUES (15046, 'j1', 21), (15047, 'j4', 12), (15049, 'j2', 13) ON CONFLICT (email) DO UPDATE SET age = excluded.age, email = excluded.email;
INSERT INTO users (id, email) SELECT id + 20, email FROM users WHERE id BETWEEN 15040 AND 15050 ON CONFLICT (email) DO NOTHING;
INSERT INTO users (id, email, age) SELECT id + 30, email, age * 2 FROM users WHERE id BETWEEN 15040 AND 15050 ON CONFLICT (email) DO UPDATE SET age = excluded.age;
INSERT INTO users (id, email, age) SELECT user_id + 20000, 'k' || user_id % 5, 3 FROM orders WHERE user_id IS NOT NULL ORDER BY id, user_id ON CONFLICT (id) DO NOTHING;
INSERT INTO users (id, email, age) SELECT g + 15100, 'k' || g / 2, g FROM generate_series(1, 9) g ORDER BY g ON CONFLICT (email) DO NOTHING;
INSERT INTO users (id, email, age) VALUES (15140, 'j1', 1), (15141, 'l2', 2), (15002, 'l3', 2) ON CONFLICT DO NOTHING;
BEGIN;
INSERT INTO users (id, email, age) VALUES (15150, 'j1', 1), (15151, 'l9', 2) ON CONFLICT (email) DO UPDATE SET age = 77;
INSERT INTO users (id, email, age) VALUES (15152, 'l9', 2) ON CONFLICT (email) DO UPDATE SET age = 78 RETURNING id;
DELETE FROM users WHERE email = 'l9';
INSERT INTO users (id, email, age) VALUES (15152, 'l9', 2) ON CONFLICT (email) DO UPDATE SET age = 79 RETURNING id;
ROLLBACK;
DELETE FROM users WHERE id BETWEEN 15007 AND 15200;
-- list MERGE
MERGE INTO users u USING (VALUES (15002::bigint, 'm2'), (15080, 'm3')) v(id, email) ON u.id = v.id WHEN MATCHED THEN UPDATE SET email = v.email WHEN NOT MATCHED THEN INSERT (id, email) VALUES (v.id, v.email);
MERGE INTO users u USING (VALUES (15003::bigint, 'm2'), (15081, 'm3')) v(id, email) ON u.id = v.id WHEN MATCHED THEN UPDATE SET email = v.email WHEN NOT MATCHED THEN INSERT (id, email) VALUES (v.id, v.email);
MERGE INTO users u USING (VALUES (15002::bigint)) v(id) ON u.id = v.id WHEN MATCHED THEN DELETE;
INSERT INTO users (id, email) VALUES (15002, 'm2');
-- list transactions
BEGIN;
INSERT INTO users (id, email) VALUES (15090, 't1');
DELETE FROM users WHERE id = 15002;
SAVEPOINT a;
INSERT INTO users (id, email) VALUES (15091, 't1');
ROLLBACK TO a;
INSERT INTO users (id, email) VALUES (15091, 'm2');
SAVEPOINT b;
UPDATE users SET email = 't3' WHERE id = 15090;
ROLLBACK TO b;
INSERT INTO users (id, email) VALUES (15092, 't3');
COMMIT;
INSERT INTO users (id, email) VALUES (15093, 't1');
BEGIN;
DELETE FROM users WHERE email = 't1';
INSERT INTO users (id, email) VALUES (15094, 't1');
ROLLBACK;
INSERT INTO users (id, email) VALUES (15094, 't1');
-- list COPY
-- only plain
COPY users (id, email) FROM STDIN;
15101	c1
15102	c2
15103	\N
15104	c4
\.
-- only plain
COPY users (id, email) FROM STDIN;
15111	c11
15112	c2
\.
-- only plain
COPY users (id, email) FROM STDIN;
15121	c21
15122	c22
15123	c21
\.
-- list several columns, and a text key
CREATE UNIQUE INDEX names_n ON names (n) /* braid: global */;
UPDATE names SET n = NULL;
CREATE UNIQUE INDEX names_n ON names (n) /* braid: global */;
UPDATE names SET n = length(name) * 1000 + ascii(right(name, 1)) WHERE name IN ('n1 beta', 'n2 Gamma', 'n12 beta');
UPDATE names SET n = 1 WHERE name IN ('n1 beta', 'n2 Gamma', 'n12 beta');
CREATE UNIQUE INDEX orders_note ON orders (note, status) /* braid: global */;
UPDATE orders SET note = note || id WHERE note IS NOT NULL;
CREATE UNIQUE INDEX orders_note ON orders (note, status) /* braid: global */;
INSERT INTO orders (id, user_id, note, status) VALUES (1, 15201, 'x''"\', 'paid'), (2, 15202, 'x''"\', 'open'), (3, 15203, 'x''"\', NULL), (4, 15204, 'x''"\', NULL);
INSERT INTO orders (id, user_id, note, status) VALUES (1, 15205, 'x''"\', 'paid');
UPDATE orders SET status = 'open' WHERE user_id = 15203;
DELETE FROM orders WHERE user_id = 15202;
UPDATE orders SET status = 'open' WHERE user_id = 15203;
-- list CREATE over duplicates, and what goes with the table
CREATE TABLE places (id int PRIMARY KEY, a int, b text) SHARD BY HASH (id);
INSERT INTO places SELECT i, i % 50, 'b' || i FROM generate_series(1, 60) i;
CREATE UNIQUE INDEX places_a ON places (a) /* braid: global */;
CREATE UNIQUE INDEX places_b ON places (b) /* braid: global */;
INSERT INTO places VALUES (100, 1, 'b1');
TRUNCATE places;
INSERT INTO places VALUES (100, 1, 'b1');
CREATE UNIQUE INDEX places_a ON places (a) /* braid: global */;
INSERT INTO places VALUES (101, 1, 'b2');
INSERT INTO places VALUES (101, 2, 'b1');
BEGIN;
ALTER TABLE places RENAME TO spots;
INSERT INTO spots VALUES (102, 2, 'b2');
INSERT INTO spots VALUES (103, 2, 'b3');
ROLLBACK;
INSERT INTO places VALUES (102, 2, 'b2');
DROP INDEX places_a;
INSERT INTO places VALUES (103, 2, 'b3');
INSERT INTO places VALUES (104, 2, 'b3');
DROP TABLE places;
-- list a foreign key takes rows along
CREATE TABLE badges (user_id bigint PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE, code uuid) SHARD BY HASH (user_id) COLOCATE WITH users;
CREATE UNIQUE INDEX badges_code ON badges (code) /* braid: global */;
INSERT INTO badges SELECT id, ('00000000-0000-0000-0000-0000000' || id)::uuid FROM users WHERE id BETWEEN 15001 AND 15200;
DELETE FROM users WHERE id = 15101;
INSERT INTO badges SELECT 15102, '00000000-0000-0000-0000-000000015101' ON CONFLICT (user_id) DO UPDATE SET code = excluded.code;
INSERT INTO badges SELECT 15104, '00000000-0000-0000-0000-000000015101' ON CONFLICT (user_id) DO UPDATE SET code = excluded.code;
DROP TABLE badges;
-- list reads and writes that look up the shard
UPDATE users SET age = 11 WHERE email = 'c4';
UPDATE users SET age = 12 WHERE email = 'c4' AND age = 11 RETURNING id, age, email;
UPDATE users SET age = 13 WHERE email = 'c4' AND age = 11;
UPDATE users SET age = 14 WHERE email = 'no such';
SELECT id, email, age FROM users WHERE email = 'c4';
SELECT id, email, age FROM users WHERE email = 'c4' AND age = 13;
SELECT id, email, age FROM users WHERE email = 'no such';
SELECT id, email FROM users WHERE email IS NULL AND id > 15000 ORDER BY id;
SELECT count(*), max(age) FROM users WHERE email = 'c4';
SELECT u.id, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.email = 'u2@example.org' ORDER BY 1, 2;
SELECT u.id FROM orders o LEFT JOIN users u ON o.user_id = u.id AND u.email = 'c4' WHERE o.user_id < 3 ORDER BY o.id;
SELECT id FROM users WHERE email = 'c4' UNION SELECT id FROM users WHERE id = 15201;
SELECT id FROM users WHERE email = 'c4' ORDER BY age LIMIT 1 OFFSET 1;
SELECT DISTINCT age FROM users WHERE email = 'c4' GROUP BY age HAVING count(*) > 0;
SELECT id FROM users WHERE email = 'c4' FOR UPDATE;
SELECT user_id, note FROM orders WHERE note = 'x''"\' AND status = 'paid';
SELECT name FROM names WHERE n = 1 AND name LIKE 'n1%';
SELECT name FROM names WHERE n = 1.0;
WITH d AS (DELETE FROM orders WHERE user_id > 15203 RETURNING user_id) SELECT id FROM users WHERE email = 'c4';
-- params 'c4'
SELECT id, email FROM users WHERE email = %s;
-- params 'c4', 5
UPDATE users SET age = 4 WHERE email = %s AND age <> %s RETURNING id, age;
BEGIN;
UPDATE users SET email = 'c44' WHERE email = 'c4';
SELECT id FROM users WHERE email = 'c4';
SELECT id FROM users WHERE email = 'c44';
UPDATE users SET id = id + 7 WHERE email = 'c44';
SELECT id, email FROM users WHERE email = 'c44';
DELETE FROM users WHERE email = 'c44';
SELECT id, email FROM users WHERE email = 'c44';
INSERT INTO users (id, email) VALUES (15300, 'c44');
DELETE FROM users WHERE email = 'c44' RETURNING id;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT id, email FROM users WHERE email = 'c4';
SELECT id, email FROM users WHERE email = 'c44';
COMMIT;
DELETE FROM users WHERE email = 'c4';
SELECT id, email FROM users WHERE email = 'c4';
-- list a trigger changes the row again
CREATE FUNCTION lower_email() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE users SET email = lower(NEW.email) WHERE id = NEW.id; RETURN NULL; END $$;
CREATE TRIGGER lower_email AFTER INSERT OR UPDATE ON users FOR EACH ROW WHEN (NEW.email <> lower(NEW.email)) EXECUTE FUNCTION lower_email();
INSERT INTO users (id, email) VALUES (15400, 'Tri-A'), (15401, 'TRI-B');
SELECT id, email FROM users WHERE email IN ('tri-a', 'tri-b', 'Tri-A', 'TRI-B') ORDER BY id;
UPDATE users SET email = 'TRI-C' WHERE id = 15400;
INSERT INTO users (id, email) VALUES (15402, 'tri-b');
DROP TRIGGER lower_email ON users;
INSERT INTO users (id, email) VALUES (15403, 'Tri-A'), (15404, 'TRI-B'), (15405, 'TRI-C'), (15406, 'tri-a');
SELECT id, email FROM users WHERE email = 'TRI-C';
DELETE FROM users WHERE id BETWEEN 15400 AND 15409;
DROP FUNCTION lower_email();
-- list the end
DROP INDEX users_email;
DROP INDEX names_n;
DROP INDEX orders_note;
