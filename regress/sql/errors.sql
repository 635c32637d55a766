-- Errors of servers come through with every field; those of several shards say which one.
CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, age int CHECK (age >= 0));
INSERT INTO users VALUES (1, 'a', 1);
INSERT INTO users VALUES (2, 'b', 2);
INSERT INTO users VALUES (3, 'c', 3);
INSERT INTO users VALUES (1, 'again', 1);
INSERT INTO users VALUES (4, NULL, 1);
INSERT INTO users VALUES (4, 'x', -1);
INSERT INTO users (id, nothing) VALUES (4, 1);
SELECT nothing FROM users WHERE id = 1;
SELECT nothing FROM users;
SELECT * FROM nothing;
SELEC 1;
SELECT 10 / (id - 2) FROM users;
UPDATE users SET age = age - 2;
SELECT * FROM users ORDER BY id;
BEGIN;
UPDATE users SET age = 9 WHERE id = 1;
UPDATE users SET age = 9 WHERE id = 2;
SELECT 1 / 0;
SELECT 1;
COMMIT;
SELECT * FROM users ORDER BY id;
BEGIN;
SAVEPOINT s;
UPDATE users SET name = nullif(name, 'b');
ROLLBACK TO s;
UPDATE users SET name = 'ok';
COMMIT;
SELECT * FROM users ORDER BY id;
COMMIT;
ROLLBACK;
RELEASE s;
COPY users FROM STDIN;
10	ten	10
11	eleven	-1
\.
COPY users FROM STDIN;
x	y	z
\.
COPY users FROM STDIN;
12	twelve
\.
COPY users FROM STDIN;
20	a	1
21	b	2
22	c	3
\.
SELECT count(*) FROM users;
DO $$ BEGIN RAISE NOTICE 'a notice'; END $$;
SELECT set_config('braid.x', '1', false);
SELECT count(*) FROM users WHERE id = $1;
SELECT count(*) FROM users WHERE age = $1;
