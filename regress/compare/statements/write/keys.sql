-- refused
-- list one row moves
UPDATE users SET id = 9001 WHERE id = 1;
SELECT id, name FROM users WHERE id IN (1, 9001);
-- refused
-- list several rows move
UPDATE users SET id = id + 9100 WHERE id IN (2, 3, 4, 5);
SELECT id FROM users WHERE id IN (9102, 9103, 9104, 9105);
-- refused
-- list all rows move
UPDATE tree SET id = id + 9000;
SELECT id FROM tree WHERE id = 9007;
-- refused
-- list to the same key
UPDATE users SET id = id, name = 'same' WHERE id = 6;
-- refused
UPDATE users SET id = 7, name = 'same' WHERE id = 7;
-- refused
-- list to an existing key
UPDATE users SET id = 9 WHERE id = 8;
-- refused
-- list all to one key
UPDATE users SET id = 9200;
-- refused
-- list to NULL
UPDATE users SET id = NULL WHERE id = 10;
-- refused
-- list RETURNING
UPDATE users SET id = id + 9300, name = 'moved' WHERE id IN (11, 12, 13) RETURNING id, name;
-- refused
-- list composite key
UPDATE pairs SET a = a + 100 WHERE a = 1;
-- refused
UPDATE pairs SET b = b || '2' WHERE a = 2;
SELECT v FROM pairs WHERE a = 101 AND b = 'x';
SELECT v FROM pairs WHERE a = 2 AND b = 'x2';
-- refused
-- list text key
UPDATE names SET name = upper(name) WHERE n = 3;
-- refused
-- list range key inside its shard
UPDATE levels SET lv = lv + 1 WHERE lv = -500;
-- refused
-- list range key to another shard
UPDATE levels SET lv = 5 WHERE lv = 101;
-- refused
UPDATE events SET day = day + 200 WHERE day < '2026-03-01';
-- refused
-- list list key
UPDATE regions SET code = 'fr' WHERE code = 'it';
-- refused
-- list key with FROM
UPDATE marks m SET k = f.n + 9400 FROM facts f WHERE f.k = m.k AND f.seq = 0 AND f.n IS NOT NULL AND m.tag = 'red';
-- refused
-- list key from a sub-select
UPDATE users SET id = (SELECT max(k) + 9500 FROM facts) WHERE id = 14;
-- list key and children in a transaction
BEGIN;
-- refused
UPDATE users SET id = 9600 WHERE id = 15;
UPDATE orders SET user_id = 9600 WHERE user_id = 15;
UPDATE items SET user_id = 9600 WHERE user_id = 15;
COMMIT;
SELECT count(*) FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = 9600;
-- list key, rolled back
BEGIN;
-- refused
UPDATE users SET id = 9700 WHERE id = 16;
SELECT id FROM users WHERE id IN (16, 9700);
ROLLBACK;
-- refused
-- list an error in one of the rows that move
UPDATE users SET id = 9800 + 10 / (id - 18) WHERE id IN (17, 18, 19);
-- refused
-- list params
-- params 9900, 20
UPDATE users SET id = %s WHERE id = %s;
-- refused
-- list swap
UPDATE users SET id = 43 - id WHERE id IN (21, 22);
