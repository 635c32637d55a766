BEGIN;
SELECT count(*) FROM users;
UPDATE users SET age = 1 WHERE id = 1;
UPDATE users SET age = 2 WHERE id = 2;
SELECT id, age FROM users WHERE id IN (1, 2) ORDER BY id;
SELECT sum(age) FROM users;
COMMIT;
SELECT id, age FROM users WHERE id IN (1, 2) ORDER BY id;
BEGIN;
UPDATE users SET age = 3;
DELETE FROM orders;
ROLLBACK;
SELECT count(*) FROM orders;
SELECT sum(age) FROM users;
START TRANSACTION;
INSERT INTO users (id, age) VALUES (5001, 1);
SELECT 1/0;
SELECT 1;
INSERT INTO users (id, age) VALUES (5002, 1);
COMMIT;
SELECT count(*) FROM users WHERE id > 5000;
BEGIN;
INSERT INTO users (id, age) VALUES (5003, 1);
SAVEPOINT a;
INSERT INTO users (id, age) VALUES (5004, 1);
INSERT INTO users (id, age) VALUES (5005, 1);
ROLLBACK TO a;
INSERT INTO users (id, age) VALUES (5006, 1);
SAVEPOINT b;
INSERT INTO users (id, age) VALUES (5006, 1);
SELECT 1;
ROLLBACK TO SAVEPOINT b;
SELECT count(*) FROM users WHERE id > 5000;
RELEASE SAVEPOINT a;
RELEASE nothing;
ROLLBACK TO nothing;
COMMIT;
SELECT id FROM users WHERE id > 5000 ORDER BY id;
BEGIN;
INSERT INTO users (id, age) VALUES (5010, 1);
SAVEPOINT "Quoted Name";
DELETE FROM users;
ROLLBACK TO "Quoted Name";
RELEASE "Quoted Name";
COMMIT;
SELECT id FROM users WHERE id > 5000 ORDER BY id;
COMMIT;
ROLLBACK;
SAVEPOINT x;
BEGIN;
BEGIN;
COMMIT;
BEGIN READ ONLY;
SELECT count(*) FROM users;
UPDATE users SET age = 1 WHERE id = 1;
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT name FROM users WHERE id = 7;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT name FROM users WHERE id = 7;
UPDATE users SET age = 9 WHERE id = 7;
COMMIT;
BEGIN;
SET TRANSACTION READ ONLY;
INSERT INTO users (id) VALUES (6001);
ROLLBACK;
BEGIN;
UPDATE users SET age = 4 WHERE id = 4;
COMMIT AND CHAIN;
UPDATE users SET age = 5 WHERE id = 5;
ROLLBACK AND CHAIN;
SELECT age FROM users WHERE id = 4;
END;
SELECT age FROM users WHERE id IN (4, 5) ORDER BY id;
BEGIN;
INSERT INTO countries VALUES ('zz', 'Zed', false);
UPDATE users SET age = 6 WHERE id = 6;
SELECT c.name, u.age FROM countries c, users u WHERE c.code = 'zz' AND u.id = 6;
ROLLBACK;
SELECT count(*) FROM countries WHERE code = 'zz';
BEGIN;
SELECT nothing;
SAVEPOINT y;
END;
BEGIN;
SET LOCAL statement_timeout = '5s';
SHOW statement_timeout;
COMMIT;
SHOW statement_timeout;
ABORT;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM orders WHERE user_id = 9 ORDER BY id;
-- refused
FETCH 1 FROM c;
FETCH ALL FROM c;
-- refused
MOVE BACKWARD ALL FROM c;
CLOSE c;
FETCH 1 FROM c;
ROLLBACK;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT code FROM countries ORDER BY code;
FETCH LAST FROM c;
FETCH PRIOR FROM c;
COMMIT;
BEGIN;
LOCK TABLE countries;
LOCK TABLE users IN SHARE MODE;
COMMIT;
-- only plain
PREPARE p (bigint) AS SELECT name FROM users WHERE id = $1; EXECUTE p(7); EXECUTE p('7'); EXECUTE p(6.7); EXECUTE p(NULL); EXECUTE p('8'::int); DEALLOCATE p;
EXECUTE p(7);
-- only plain
PREPARE p AS SELECT count(*), $2 || '$1' FROM users WHERE age > $1; EXECUTE p(30, 'it''s'); EXPLAIN EXECUTE p(1);
-- only plain
DEALLOCATE p; PREPARE p AS SELECT count(*), $2 || '$1' FROM users WHERE age > $1; EXECUTE p('30', NULL); EXECUTE p(30);
-- only plain
DEALLOCATE p;
-- only plain
PREPARE p (int, bigint) AS UPDATE users SET age = age + $1 WHERE id < $2; BEGIN; EXECUTE p(-1, 20); SELECT sum(age) FROM users; ROLLBACK; EXECUTE p(2, 9); DEALLOCATE p;
SELECT id, age FROM users ORDER BY id LIMIT 20;
-- only plain
PREPARE p AS SELECT id FROM users ORDER BY id LIMIT $1 OFFSET $2; EXECUTE p(3, 2); EXECUTE p(NULL, 95); SELECT 1; DEALLOCATE p;
-- refused
PREPARE p (bigint) AS SELECT name FROM users WHERE id = $1; EXECUTE p(3 + 4);
-- only plain
BEGIN; UPDATE users SET age = 71 WHERE id = 7; UPDATE users SET age = 81 WHERE id = 8; COMMIT;
SELECT id, age FROM users WHERE id IN (7, 8) ORDER BY id;
-- only plain
UPDATE users SET age = 72 WHERE id = 7; UPDATE users SET age = 82 WHERE id = 8; SELECT 1/0;
SELECT id, age FROM users WHERE id IN (7, 8) ORDER BY id;
-- only plain
UPDATE users SET age = 73 WHERE id = 7; UPDATE users SET age = 83 WHERE id = 8;
SELECT id, age FROM users WHERE id IN (7, 8) ORDER BY id;
-- only plain
SELECT 1; SELECT count(*) FROM users; SELECT name FROM users WHERE id = 3;
-- only plain
UPDATE users SET age = 74 WHERE id = 7; BEGIN; UPDATE users SET age = 84 WHERE id = 8; ROLLBACK;
SELECT id, age FROM users WHERE id IN (7, 8) ORDER BY id;
