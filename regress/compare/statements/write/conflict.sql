-- list DO NOTHING
INSERT INTO users (id, name) VALUES (1, 'x'), (8001, 'new'), (2, 'y') ON CONFLICT DO NOTHING;
-- list DO NOTHING with a target
INSERT INTO users (id, name) VALUES (1, 'x'), (8002, 'new') ON CONFLICT (id) DO NOTHING;
-- list DO NOTHING, RETURNING
INSERT INTO users (id, name) VALUES (1, 'x'), (8003, 'new') ON CONFLICT (id) DO NOTHING RETURNING id, name;
-- list DO NOTHING, the same row twice
INSERT INTO users (id, name) VALUES (8004, 'x'), (8004, 'y') ON CONFLICT DO NOTHING;
-- list DO UPDATE
INSERT INTO users (id, name, age) VALUES (1, 'upd', 1), (8005, 'new', 2), (3, 'upd', 3) ON CONFLICT (id) DO UPDATE SET name = excluded.name, age = excluded.age;
-- list DO UPDATE with both rows
INSERT INTO users AS u (id, age) VALUES (4, 1), (5, 2), (8006, 3) ON CONFLICT (id) DO UPDATE SET age = coalesce(u.age, 0) + excluded.age, name = u.name || '!';
-- list DO UPDATE, RETURNING
INSERT INTO users (id, age) VALUES (4, 11), (8007, 3) ON CONFLICT (id) DO UPDATE SET age = excluded.age RETURNING id, age, name;
-- list DO UPDATE WHERE
INSERT INTO users (id, age) VALUES (6, 1), (7, 2), (8, 3) ON CONFLICT (id) DO UPDATE SET age = 0 WHERE users.id <> 7;
-- list DO UPDATE WHERE, RETURNING
INSERT INTO users (id, age) VALUES (6, 1), (7, 2), (8008, 3) ON CONFLICT (id) DO UPDATE SET age = 50 WHERE users.id = 7 RETURNING id;
-- list DO UPDATE twice
INSERT INTO users (id, age) VALUES (8009, 1), (8009, 2) ON CONFLICT (id) DO UPDATE SET age = excluded.age;
-- refused
-- list DO UPDATE of the key to itself
INSERT INTO users (id, age) VALUES (9, 1) ON CONFLICT (id) DO UPDATE SET id = excluded.id, age = 33;
-- refused
-- list DO UPDATE of the key to another
INSERT INTO users (id, age) VALUES (9, 1) ON CONFLICT (id) DO UPDATE SET id = excluded.id + 9000;
-- list DO UPDATE with a sub-select
INSERT INTO users (id) VALUES (10), (8010) ON CONFLICT (id) DO UPDATE SET name = (SELECT name FROM countries WHERE code = 'fr');
-- refused
-- list DO UPDATE with a sub-select over shards
INSERT INTO users (id) VALUES (10), (8011) ON CONFLICT (id) DO UPDATE SET age = (SELECT count(*) FROM orders);
-- list DO UPDATE of several columns at once
INSERT INTO users (id) VALUES (11), (12) ON CONFLICT (id) DO UPDATE SET (name, age) = ('multi', 5);
-- list ON CONSTRAINT
INSERT INTO users (id, name) VALUES (13, 'c'), (8012, 'c') ON CONFLICT ON CONSTRAINT users_pkey DO UPDATE SET name = 'constraint';
-- list no such constraint
INSERT INTO users (id) VALUES (13) ON CONFLICT ON CONSTRAINT none DO NOTHING;
-- list no index for the target
INSERT INTO users (id, name) VALUES (13, 'x') ON CONFLICT (name) DO NOTHING;
-- list DO UPDATE without a target
INSERT INTO users (id, name) VALUES (13, 'x') ON CONFLICT DO UPDATE SET name = 'x';
-- list composite key
INSERT INTO pairs VALUES (0, 'x', 9), (0, 'n', 8), (2, 'y', 7) ON CONFLICT (a, b) DO UPDATE SET v = pairs.v + excluded.v;
-- list text key
INSERT INTO names VALUES ('n0 alpha', 50), ('new one', 51) ON CONFLICT (name) DO UPDATE SET n = excluded.n;
-- list uuid key
INSERT INTO docs VALUES ('bdb7488d-3e0f-6c19-b444-7f330e188ff2', 'again', 1), ('00000000-0000-0000-0000-0000000000aa', 'new', 2) ON CONFLICT (id) DO UPDATE SET body = excluded.body;
-- list range table
INSERT INTO events VALUES ('2026-01-24', 'in', 1), ('2026-12-24', 'in', 2) ON CONFLICT (day, kind) DO UPDATE SET n = excluded.n;
-- list list table
INSERT INTO regions VALUES ('de', 'one', 1), ('fr', 'nine', 2), ('zz', 'one', 3) ON CONFLICT (code, city) DO UPDATE SET people = 0;
-- list reference table
INSERT INTO countries VALUES ('de', 'Deutschland', true), ('nl', 'Nederland', false) ON CONFLICT (code) DO UPDATE SET name = excluded.name;
-- list reference table, DO NOTHING
INSERT INTO countries VALUES ('de', 'x', true), ('be', 'Belgium', false) ON CONFLICT DO NOTHING RETURNING code;
-- list local table
INSERT INTO local_notes VALUES (1, 'again'), (301, 'new') ON CONFLICT (id) DO UPDATE SET body = excluded.body RETURNING *;
-- list in a transaction with a savepoint
BEGIN;
SAVEPOINT a;
INSERT INTO users (id, name) VALUES (14, 'x'), (15, 'y');
ROLLBACK TO a;
INSERT INTO users (id, name) VALUES (14, 'x'), (15, 'y') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
COMMIT;
SELECT name FROM users WHERE id IN (14, 15);
-- list params
-- params 16, 'par', 8013, 'par'
INSERT INTO users (id, name) VALUES (%s, %s), (%s, %s) ON CONFLICT (id) DO UPDATE SET name = excluded.name;
-- list an error in the update
INSERT INTO users (id, age) VALUES (17, 0), (8014, 1) ON CONFLICT (id) DO UPDATE SET age = 1 / excluded.age;
-- list an error in the update of one shard only
INSERT INTO users (id, age) VALUES (18, 1), (19, 0), (20, 2), (21, 3) ON CONFLICT (id) DO UPDATE SET age = 10 / excluded.age;
SELECT id, age FROM users WHERE id BETWEEN 18 AND 21;
