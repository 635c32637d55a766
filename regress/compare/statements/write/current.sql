-- WHERE CURRENT OF cursors over shards that lock their rows. MOVE goes on in every mode; FETCH, which gives text, in one.
-- list the row that was fetched
-- only plain
BEGIN;
-- only plain
DECLARE c CURSOR FOR SELECT id, name, age FROM users WHERE age > 30 ORDER BY id FOR UPDATE;
-- only plain
FETCH 3 FROM c;
-- only plain
UPDATE users SET age = age + 1000 WHERE CURRENT OF c RETURNING *;
-- only plain
FETCH 1 FROM c;
-- only plain
DELETE FROM users WHERE CURRENT OF c RETURNING id, name;
-- only plain
FETCH 2 FROM c;
-- only plain
UPDATE users SET name = 'current ' || id, tags = NULL WHERE CURRENT OF c;
-- only plain
COMMIT;
-- list the row that a MOVE went to
BEGIN;
DECLARE m CURSOR FOR SELECT * FROM orders ORDER BY user_id, id FOR UPDATE;
MOVE 7 FROM m;
UPDATE orders SET status = 'moved', amount = amount * 2 WHERE CURRENT OF m RETURNING user_id, id, status, amount;
MOVE 30 FROM m;
DELETE FROM orders WHERE CURRENT OF m RETURNING user_id, id;
MOVE 1 FROM m;
DELETE FROM orders AS "o o" WHERE CURRENT OF m RETURNING "o o".user_id, "o o".id;
COMMIT;
-- list the row as this transaction has changed it
BEGIN;
DECLARE c CURSOR FOR SELECT n FROM facts WHERE k BETWEEN 3 AND 9 ORDER BY k, seq FOR NO KEY UPDATE;
MOVE 2 FROM c;
UPDATE facts SET n = 1 WHERE CURRENT OF c;
UPDATE facts SET n = n + 10 WHERE CURRENT OF c;
UPDATE facts SET x = n WHERE k BETWEEN 3 AND 9;
UPDATE facts SET n = n + 100 WHERE CURRENT OF c RETURNING k, seq, n, x;
DELETE FROM facts WHERE CURRENT OF c;
UPDATE facts SET n = n + 100 WHERE CURRENT OF c RETURNING k, seq, n, x;
COMMIT;
-- list savepoints
BEGIN;
DECLARE c CURSOR FOR SELECT k FROM lonely ORDER BY k, n FOR UPDATE;
MOVE 2 FROM c;
SAVEPOINT a;
UPDATE lonely SET t = 'away' WHERE CURRENT OF c;
ROLLBACK TO a;
UPDATE lonely SET t = t || '!' WHERE CURRENT OF c RETURNING *;
COMMIT;
-- list read behind a savepoint
BEGIN;
DECLARE c CURSOR FOR SELECT k FROM lonely ORDER BY k, n FOR UPDATE;
SAVEPOINT a;
MOVE 2 FROM c;
SAVEPOINT b;
UPDATE lonely SET t = 'away' WHERE CURRENT OF c;
ROLLBACK TO b;
UPDATE lonely SET t = t || '?' WHERE CURRENT OF c RETURNING *;
ROLLBACK TO a;
-- refused
UPDATE lonely SET t = 'away' WHERE CURRENT OF c;
ROLLBACK;
-- list one of two tables is locked
BEGIN;
DECLARE c CURSOR FOR SELECT u.id, o.id FROM users u JOIN orders o ON o.user_id = u.id WHERE u.age > 20 ORDER BY u.id, o.id FOR UPDATE OF o;
MOVE 4 FROM c;
UPDATE orders SET note = 'four' WHERE CURRENT OF c RETURNING user_id, id;
COMMIT;
-- list a key of text, of two columns, of odd names
BEGIN;
DECLARE c CURSOR FOR SELECT n FROM names ORDER BY name COLLATE "C" FOR UPDATE;
MOVE 5 FROM c;
UPDATE names SET n = 500 WHERE CURRENT OF c RETURNING *;
DECLARE p CURSOR FOR SELECT v FROM pairs ORDER BY a, b FOR SHARE;
MOVE 11 FROM p;
DELETE FROM pairs WHERE CURRENT OF p RETURNING *;
DECLARE o CURSOR FOR SELECT FROM "Odd Table" "T ""t" ORDER BY "Key Col" FOR UPDATE;
MOVE 3 FROM o;
UPDATE "Odd Table" SET "a""b" = -3, "select" = DEFAULT WHERE CURRENT OF o RETURNING *;
DECLARE d CURSOR FOR SELECT body FROM docs ORDER BY id FOR UPDATE;
MOVE 9 FROM d;
UPDATE docs SET size = size + 1, body = 'nine' WHERE CURRENT OF d RETURNING *;
COMMIT;
-- list a key of one shard
BEGIN;
DECLARE c CURSOR FOR SELECT id, age FROM users WHERE id = 12 FOR UPDATE;
MOVE 1 FROM c;
UPDATE users SET age = 85 WHERE CURRENT OF c RETURNING id, age;
COMMIT;
-- list parameters
BEGIN;
-- params 5
DECLARE c CURSOR FOR SELECT * FROM marks WHERE k > %s ORDER BY k, tag FOR UPDATE;
MOVE 2 FROM c;
-- params 77
UPDATE marks SET w = %s WHERE CURRENT OF c RETURNING k, tag, w;
COMMIT;
-- list a new key
BEGIN;
DECLARE c CURSOR FOR SELECT k, n FROM lonely ORDER BY k, n FOR UPDATE;
MOVE 4 FROM c;
UPDATE lonely SET k = k + 10000, t = 'new key' WHERE CURRENT OF c RETURNING *;
-- refused
UPDATE lonely SET t = 'again' WHERE CURRENT OF c RETURNING *;
COMMIT;
-- list in front of the first row
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id FOR UPDATE;
UPDATE users SET age = 1 WHERE CURRENT OF c;
ROLLBACK;
-- list behind the last row
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id FOR UPDATE;
MOVE ALL FROM c;
UPDATE users SET age = 1 WHERE CURRENT OF c;
ROLLBACK;
-- list as many rows as there are
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM users WHERE id IN (10, 11, 13) ORDER BY id FOR UPDATE;
MOVE 3 FROM c;
UPDATE users SET age = 13 WHERE CURRENT OF c;
MOVE 1 FROM c;
UPDATE users SET age = 14 WHERE CURRENT OF c;
ROLLBACK;
-- list no such cursor
UPDATE users SET age = 1 WHERE CURRENT OF nobody;
BEGIN;
DELETE FROM orders WHERE CURRENT OF nobody;
ROLLBACK;
-- list a cursor of another table
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM users ORDER BY id FOR UPDATE;
MOVE 1 FROM c;
DELETE FROM orders WHERE CURRENT OF c;
ROLLBACK;
-- list a cursor that is grouped
BEGIN;
DECLARE c CURSOR FOR SELECT age, count(*) FROM users GROUP BY age ORDER BY age;
MOVE 1 FROM c;
-- refused
DELETE FROM users WHERE CURRENT OF c;
ROLLBACK;
-- list a new constraint is not met
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM orders ORDER BY user_id, id FOR UPDATE;
MOVE 2 FROM c;
UPDATE orders SET id = NULL WHERE CURRENT OF c;
ROLLBACK;
-- list cursors of the home shard
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM ledger ORDER BY id FOR UPDATE;
MOVE 2 FROM c;
UPDATE ledger SET t = 'two' WHERE CURRENT OF c RETURNING *;
COMMIT;
