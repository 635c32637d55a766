-- list commit
BEGIN;
INSERT INTO users (id, name) VALUES (16001, 'a'), (16002, 'b'), (16003, 'c');
UPDATE users SET age = 5 WHERE id = 16002;
COMMIT;
-- list rollback
BEGIN;
INSERT INTO users (id, name) VALUES (16011, 'a'), (16012, 'b'), (16013, 'c');
DELETE FROM facts;
ROLLBACK;
-- list reads see writes
BEGIN;
UPDATE facts SET n = 1000 WHERE k < 10;
SELECT count(*) FROM facts WHERE n = 1000;
SELECT count(*) FROM facts f JOIN users u ON u.id + 960 = f.n;
DELETE FROM facts WHERE n = 1000;
SELECT count(*) FROM facts;
COMMIT;
-- list an error ends it
BEGIN;
INSERT INTO users (id, name) VALUES (16021, 'a');
SELECT 1 / 0;
INSERT INTO users (id, name) VALUES (16022, 'a');
COMMIT;
-- list an error on one shard ends it
BEGIN;
INSERT INTO users (id, name) VALUES (16023, 'a'), (16024, 'b');
INSERT INTO users (id, name) VALUES (16025, 'a'), (1, 'again');
SELECT 1;
ROLLBACK;
-- list savepoint
BEGIN;
INSERT INTO users (id, name) VALUES (16031, 'a');
SAVEPOINT s;
INSERT INTO users (id, name) VALUES (16032, 'b'), (16033, 'c');
ROLLBACK TO s;
INSERT INTO users (id, name) VALUES (16034, 'd');
COMMIT;
SELECT id FROM users WHERE id BETWEEN 16031 AND 16034;
-- list savepoint after an error
BEGIN;
INSERT INTO users (id, name) VALUES (16041, 'a');
SAVEPOINT s;
INSERT INTO users (id, name) VALUES (1, 'again'), (16042, 'b');
ROLLBACK TO s;
INSERT INTO users (id, name) VALUES (16043, 'd');
COMMIT;
-- list savepoint released
BEGIN;
SAVEPOINT s;
UPDATE users SET age = 3 WHERE id < 5;
RELEASE s;
ROLLBACK TO s;
COMMIT;
-- list nested savepoints
BEGIN;
SAVEPOINT a;
UPDATE users SET age = 31 WHERE id = 1;
SAVEPOINT b;
UPDATE users SET age = 32 WHERE id = 2;
SAVEPOINT c;
UPDATE users SET age = 33 WHERE id = 3;
ROLLBACK TO b;
UPDATE users SET age = 34 WHERE id = 4;
RELEASE a;
COMMIT;
-- list the same name twice
BEGIN;
SAVEPOINT a;
UPDATE users SET age = 41 WHERE id = 1;
SAVEPOINT a;
UPDATE users SET age = 42 WHERE id = 2;
ROLLBACK TO a;
RELEASE a;
ROLLBACK TO a;
UPDATE users SET age = 43 WHERE id = 3;
COMMIT;
-- list a shard joins after a savepoint
BEGIN;
UPDATE users SET age = 51 WHERE id = 1;
SAVEPOINT a;
UPDATE users SET age = 52 WHERE id = 2;
UPDATE users SET age = 53 WHERE id = 3;
UPDATE users SET age = 54 WHERE id = 4;
ROLLBACK TO a;
UPDATE users SET age = 55 WHERE id = 5;
COMMIT;
-- list a shard joins only behind a savepoint, then an error
BEGIN;
SAVEPOINT a;
UPDATE users SET age = 61 WHERE id = 1;
INSERT INTO users (id) VALUES (2);
ROLLBACK TO SAVEPOINT a;
UPDATE users SET age = 62 WHERE id = 3;
COMMIT;
-- list no such savepoint
BEGIN;
UPDATE users SET age = 71 WHERE id = 1;
ROLLBACK TO nowhere;
COMMIT;
-- list AND CHAIN
BEGIN;
UPDATE users SET age = 72 WHERE id = 1;
COMMIT AND CHAIN;
UPDATE users SET age = 73 WHERE id = 2;
ROLLBACK AND CHAIN;
UPDATE users SET age = 74 WHERE id = 3;
COMMIT;
-- list READ ONLY
BEGIN READ ONLY;
UPDATE users SET age = 75 WHERE id = 1;
ROLLBACK;
BEGIN READ ONLY;
UPDATE users SET age = 75;
ROLLBACK;
-- list READ ONLY set later
BEGIN;
UPDATE users SET age = 76 WHERE id = 1;
SET TRANSACTION READ ONLY;
UPDATE users SET age = 77 WHERE id = 2;
COMMIT;
-- list REPEATABLE READ
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM users;
UPDATE users SET age = 78 WHERE id IN (1, 2, 3);
SELECT sum(age) FROM users WHERE id < 4;
COMMIT;
-- list SERIALIZABLE
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE users SET age = 79 WHERE id = 3;
COMMIT;
-- list local, reference and sharded rows
BEGIN;
INSERT INTO local_notes VALUES (601, 'tx');
INSERT INTO countries VALUES ('t1', 'tx', true);
INSERT INTO users (id, name) VALUES (16101, 'tx'), (16102, 'tx');
COMMIT;
-- list the same, rolled back to a savepoint
BEGIN;
SAVEPOINT s;
INSERT INTO local_notes VALUES (602, 'tx');
INSERT INTO countries VALUES ('t2', 'tx', true);
INSERT INTO users (id, name) VALUES (16111, 'tx'), (16112, 'tx');
ROLLBACK TO s;
COMMIT;
-- list several statements in one text
-- only plain
INSERT INTO users (id, name) VALUES (16121, 'a'); INSERT INTO users (id, name) VALUES (16122, 'b');
-- list several statements in one text, the second fails
-- only plain
INSERT INTO users (id, name) VALUES (16131, 'a'); INSERT INTO users (id, name) VALUES (1, 'b');
SELECT id FROM users WHERE id = 16131;
-- list COMMIT without BEGIN
COMMIT;
ROLLBACK;
-- list BEGIN twice
BEGIN;
BEGIN;
UPDATE users SET age = 81 WHERE id = 1;
COMMIT;
-- list deferred
BEGIN;
-- refused
SET CONSTRAINTS ALL DEFERRED;
UPDATE users SET age = 82 WHERE id = 1;
COMMIT;
-- list a failing commit tag
BEGIN;
SELECT nothing FROM users;
COMMIT;
-- list DDL in the middle
BEGIN;
CREATE TABLE local_extra (id int);
INSERT INTO local_extra VALUES (1);
UPDATE users SET age = 83 WHERE id = 1;
ROLLBACK;
-- list FOR UPDATE of one key
BEGIN;
SELECT age FROM users WHERE id = 1 FOR UPDATE;
UPDATE users SET age = 84 WHERE id = 1;
COMMIT;
-- list FOR UPDATE over shards
BEGIN;
SELECT id FROM users WHERE age > 40 ORDER BY id FOR UPDATE;
UPDATE users SET age = age + 1 WHERE age > 40;
COMMIT;
-- list WHERE CURRENT OF
BEGIN;
DECLARE c CURSOR FOR SELECT id, age FROM users WHERE id = 2;
-- refused
FETCH 1 FROM c;
-- refused
UPDATE users SET age = 85 WHERE CURRENT OF c;
COMMIT;
-- list 40 writes
BEGIN;
UPDATE facts SET n = 0 WHERE k = 2;
UPDATE facts SET n = 1 WHERE k = 3;
UPDATE facts SET n = 2 WHERE k = 4;
UPDATE facts SET n = 3 WHERE k = 5;
UPDATE facts SET n = 4 WHERE k = 6;
DELETE FROM facts WHERE k = 7;
DELETE FROM facts WHERE k = 8;
INSERT INTO facts (k, seq, n) VALUES (7, 1, 1), (8, 1, 1), (9, 50, 1), (10, 50, 1), (11, 50, 1);
COMMIT;
