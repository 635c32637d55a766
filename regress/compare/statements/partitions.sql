CREATE TABLE logs (user_id bigint NOT NULL, at date NOT NULL, what text, n int, PRIMARY KEY (user_id, at, what)) PARTITION BY RANGE (at) SHARD BY HASH (user_id);
CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE logs_2 PARTITION OF logs (CONSTRAINT positive CHECK (n > 0)) FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
CREATE TABLE logs_rest PARTITION OF logs DEFAULT PARTITION BY LIST (what);
CREATE TABLE logs_rest_a PARTITION OF logs_rest FOR VALUES IN ('a', 'b');
CREATE TABLE logs_rest_all PARTITION OF logs_rest DEFAULT;
INSERT INTO logs SELECT 5, '2026-02-03', 'one', 1;
INSERT INTO logs VALUES (1, '2026-01-01', 'a', 1), (2, '2026-06-30', 'b', 2), (3, '2026-07-01', 'c', 3), (4, '2026-12-31', 'd', 4), (5, '2027-05-05', 'a', 5), (6, '2027-05-05', 'z', 6), (7, '2020-01-01', 'b', 7), (8, '2026-08-08', 'x', 8);
INSERT INTO logs VALUES (9, '2026-08-08', 'x', -8);
INSERT INTO logs_1 VALUES (10, '2026-03-03', 'direct', 10), (11, '2026-03-04', 'direct', 11);
INSERT INTO logs_1 VALUES (10, '2026-09-03', 'direct', 10);
SELECT * FROM logs ORDER BY user_id, at;
SELECT * FROM logs WHERE user_id = 5 ORDER BY at;
SELECT * FROM logs WHERE at >= '2026-07-01' AND at < '2027-01-01' ORDER BY user_id;
SELECT * FROM logs_1 ORDER BY user_id, 2;
SELECT count(*), sum(n) FROM logs_rest;
SELECT * FROM logs_rest_a ORDER BY user_id;
SELECT * FROM logs_2 WHERE user_id = 8;
SELECT count(*) FROM ONLY logs;
SELECT l.user_id, u.name, l.what FROM logs l JOIN users u ON u.id = l.user_id ORDER BY 1, 3;
SELECT l.user_id, m.n FROM logs_1 l JOIN logs_2 m ON m.user_id = l.user_id;
SELECT count(*) FROM logs_1 l JOIN orders o USING (user_id);
UPDATE logs SET at = '2026-09-09' WHERE user_id = 1 RETURNING *;
UPDATE logs SET n = n + 1 WHERE what = 'direct' RETURNING user_id, n;
UPDATE logs_2 SET n = 0 WHERE user_id = 8;
DELETE FROM logs_rest WHERE what = 'z' RETURNING user_id;
SELECT * FROM logs_2 ORDER BY user_id;
UPDATE logs_1 SET user_id = 1;
-- refused
CREATE UNIQUE INDEX ON logs_1 (at);
CREATE INDEX logs_what ON logs (what);
CREATE INDEX logs_1_n ON logs_1 (n);
DROP INDEX logs_1_n;
ALTER TABLE logs ADD COLUMN extra text DEFAULT 'x';
SELECT user_id, extra FROM logs_rest ORDER BY 1;
TRUNCATE logs_rest_a;
SELECT count(*) FROM logs;
BEGIN;
CREATE TABLE logs_old PARTITION OF logs FOR VALUES FROM ('2019-01-01') TO ('2020-01-01');
SELECT * FROM logs_old;
ROLLBACK;
ALTER TABLE logs DETACH PARTITION logs_1;
SELECT count(*) FROM logs;
SELECT * FROM logs_1 ORDER BY user_id, 2;
SELECT * FROM logs_1 WHERE user_id = 10;
INSERT INTO logs_1 VALUES (12, '2026-01-01', 'alone', 12, 'y'), (13, '2026-01-02', 'alone', 13, 'y');
SELECT l.user_id, u.id FROM logs_1 l JOIN users u ON u.id = l.user_id ORDER BY 1;
ALTER TABLE logs ATTACH PARTITION logs_1 FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
SELECT count(*) FROM logs;
-- refused
ALTER TABLE logs ATTACH PARTITION local_notes FOR VALUES FROM ('2018-01-01') TO ('2019-01-01');
-- refused
ALTER TABLE local_notes INHERIT users;
DROP TABLE logs_rest_a;
SELECT count(*) FROM logs;
COPY logs FROM STDIN;
20	2026-05-05	copied	1	\N
21	2026-11-05	copied	2	\N
22	2029-11-05	copied	3	z
\.
COPY logs_1 (user_id, at, what) FROM STDIN;
23	2026-05-05	copied
24	2026-05-06	copied
\.
SELECT * FROM logs WHERE what = 'copied' ORDER BY user_id;
SELECT count(*) FROM logs_1;
CREATE VIEW first_logs AS SELECT * FROM logs_1 WHERE n IS NOT NULL;
SELECT count(*) FROM first_logs;
DROP TABLE logs CASCADE;
SELECT * FROM logs_1;
CREATE TABLE logs_1 (user_id bigint) SHARD BY HASH (user_id);
DROP TABLE logs_1;
CREATE TABLE animals (id bigint PRIMARY KEY, name text) SHARD BY HASH (id);
CREATE TABLE cats (lives int, PRIMARY KEY (id)) INHERITS (animals);
INSERT INTO animals VALUES (1, 'cow'), (2, 'hen'), (3, 'pig');
INSERT INTO cats VALUES (4, 'tom', 9), (5, 'kit', 7), (6, 'pus', 8);
SELECT * FROM animals ORDER BY id;
SELECT * FROM ONLY animals ORDER BY id;
SELECT * FROM cats ORDER BY id;
SELECT * FROM cats WHERE id = 5;
SELECT name FROM animals WHERE id = 4;
UPDATE animals SET name = upper(name) WHERE id > 2 RETURNING id, name;
DELETE FROM ONLY animals WHERE id = 4;
SELECT count(*) FROM animals;
-- refused
CREATE TABLE dogs (bark int, tag int UNIQUE) INHERITS (animals);
-- refused
CREATE TABLE dogs (bark serial) INHERITS (animals);
ALTER TABLE cats NO INHERIT animals;
SELECT count(*) FROM animals;
SELECT count(*) FROM cats;
SELECT * FROM cats WHERE id = 6;
ALTER TABLE cats INHERIT animals;
SELECT count(*) FROM animals;
ALTER TABLE cats RENAME TO tigers;
SELECT count(*) FROM tigers;
DROP TABLE animals CASCADE;
SELECT count(*) FROM tigers;
CREATE TABLE cats (id bigint PRIMARY KEY) SHARD BY HASH (id);
DROP TABLE cats;
