-- Cursors, portals, transactions, COPY TO
BEGIN;
DECLARE c CURSOR FOR SELECT k, seq FROM facts ORDER BY k, seq;
-- refused
FETCH 3 FROM c;
FETCH NEXT FROM c;
MOVE 5 IN c;
FETCH FORWARD 2 FROM c;
FETCH ALL FROM c;
FETCH 1 FROM c;
CLOSE c;
FETCH 1 FROM c;
ROLLBACK;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT k, seq FROM facts ORDER BY n NULLS FIRST, k, seq;
-- refused
FETCH LAST FROM c;
FETCH PRIOR FROM c;
FETCH FIRST FROM c;
FETCH ABSOLUTE 7 FROM c;
FETCH RELATIVE -2 FROM c;
FETCH BACKWARD ALL FROM c;
COMMIT;
BEGIN;
DECLARE c CURSOR FOR SELECT grp, count(*) FROM facts GROUP BY grp ORDER BY grp;
-- refused
FETCH 2 FROM c;
DECLARE d CURSOR FOR SELECT u.id FROM users u JOIN facts f ON f.n = u.age ORDER BY u.id, f.k, f.seq;
FETCH 2 FROM d;
FETCH 2 FROM c;
FETCH ALL FROM d;
CLOSE ALL;
FETCH 1 FROM c;
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT name FROM users WHERE id = 5;
-- refused
FETCH 1 FROM c;
FETCH 1 FROM c;
COMMIT;
DECLARE c CURSOR FOR SELECT k FROM facts;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT k, tag FROM marks ORDER BY k, tag;
-- refused
FETCH 2 FROM h;
COMMIT;
FETCH 2 FROM h;
CLOSE h;
BEGIN;
DECLARE b BINARY CURSOR FOR SELECT k, n FROM facts ORDER BY k, seq;
-- refused
FETCH 2 FROM b;
ROLLBACK;
-- portal 7
SELECT k, seq, val FROM facts ORDER BY k, seq;
-- portal 7
SELECT * FROM facts WHERE k = 5 ORDER BY seq;
-- portal 3
SELECT grp, count(*) FROM facts GROUP BY grp ORDER BY grp;
-- portal 10
SELECT u.id, f.k FROM users u JOIN facts f ON f.n = u.age ORDER BY 1, 2, f.seq;
-- portal 4
SELECT DISTINCT sub FROM facts ORDER BY sub;
-- portal 5
SELECT k, rank() OVER (ORDER BY n) FROM facts WHERE seq = 0 ORDER BY 2, 1;
-- portal 6
SELECT t2.w, t1.seq, count(*) FROM facts t1 LEFT JOIN marks t2 ON t1.grp = t2.w GROUP BY t2.w, t1.seq;
-- portal 2
SELECT DISTINCT t1.qty, t1.tenant, t2.x FROM stock t1 LEFT JOIN facts t2 ON t1.id = t2.k ORDER BY 1, 2, 3;
-- portal 1000
SELECT k FROM facts ORDER BY k, seq;
-- portal 9
SELECT k, seq FROM facts;
BEGIN;
-- portal 8
SELECT k, seq FROM facts ORDER BY n NULLS FIRST, k, seq;
SELECT count(*) FROM facts;
COMMIT;
-- own writes that are not committed yet
BEGIN;
UPDATE facts SET n = 1000 WHERE k = 5;
INSERT INTO facts (k, seq, grp, n, sub) VALUES (5, 100, 3, 77, 'new');
DELETE FROM marks WHERE k < 10;
INSERT INTO ledger VALUES (900, 5, 'mine', 1.00, 'ok');
SELECT k, seq, n FROM facts WHERE n >= 77 ORDER BY 1, 2;
SELECT count(*), max(n) FROM facts;
SELECT grp, count(*) FROM facts GROUP BY grp HAVING max(n) > 50 ORDER BY grp;
SELECT u.id, f.seq FROM users u JOIN facts f ON f.n = u.id + 995 ORDER BY 1, 2;
SELECT f.seq, l.t FROM facts f JOIN ledger l ON l.k = f.k WHERE l.id = 900 ORDER BY 1;
SELECT k, row_number() OVER (ORDER BY n DESC NULLS LAST, k, seq) FROM facts ORDER BY 2 LIMIT 8;
SELECT m.k, count(*) FROM marks m JOIN users u ON u.age = m.w + 20 GROUP BY m.k ORDER BY 1;
SELECT k FROM facts UNION SELECT k FROM marks ORDER BY 1 LIMIT 12;
WITH RECURSIVE r AS (SELECT 5::bigint AS k UNION SELECT f.n FROM facts f JOIN r ON r.k = f.k WHERE f.n < 100) SELECT * FROM r ORDER BY 1;
SAVEPOINT a;
UPDATE facts SET n = 2000 WHERE k = 6;
SELECT a.k, b.k FROM facts a JOIN facts b ON b.n = a.n + 1000 WHERE a.n = 1000 ORDER BY 1, 2, a.seq, b.seq;
ROLLBACK TO a;
SELECT a.k, b.k FROM facts a JOIN facts b ON b.n = a.n + 1000 WHERE a.n = 1000 ORDER BY 1, 2, a.seq, b.seq;
SELECT 1 / (n - 77) FROM facts f JOIN ledger l ON l.k = f.k WHERE l.id = 900;
SELECT count(*) FROM facts;
ROLLBACK;
SELECT count(*), max(n) FROM facts;
SELECT count(*) FROM ledger WHERE id = 900;
BEGIN READ ONLY;
SELECT count(*) FROM facts;
SELECT count(*) FROM users u JOIN facts f ON f.n = u.age;
SELECT f.k, l.id FROM facts f JOIN ledger l ON l.k = f.k ORDER BY 1, 2, f.seq LIMIT 5;
SELECT grp, sum(n) + count(*) FROM facts GROUP BY grp ORDER BY grp;
SELECT k, lag(n) OVER (ORDER BY k, seq) FROM facts ORDER BY k, seq LIMIT 5;
UPDATE facts SET n = 1 WHERE k = 1;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM facts WHERE k = 5;
SELECT count(*) FROM facts WHERE k = 5;
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT count(*) FROM facts;
SELECT count(*) FROM users u JOIN facts f ON f.n = u.age;
COMMIT;
SET default_transaction_read_only = on;
SELECT count(*) FROM users u JOIN facts f ON f.n = u.age;
SELECT sum(n) / count(*) FROM facts;
RESET default_transaction_read_only;
BEGIN;
SELECT 1 / 0 FROM facts;
SELECT count(*) FROM facts;
ROLLBACK;
-- COPY TO
COPY facts TO STDOUT;
COPY marks (tag, k) TO STDOUT;
COPY kinds TO STDOUT;
COPY kinds TO STDOUT WITH (FORMAT csv);
COPY kinds TO STDOUT WITH (FORMAT csv, HEADER);
COPY kinds TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'none', FORCE_QUOTE *);
COPY facts TO STDOUT WITH (FORMAT binary);
COPY facts TO STDOUT (HEADER);
COPY scripts TO STDOUT (DELIMITER '|', NULL '');
COPY nothing TO STDOUT (FORMAT csv, HEADER);
COPY nothing TO STDOUT (FORMAT binary);
COPY countries TO STDOUT;
COPY ledger TO STDOUT (FORMAT csv);
COPY (SELECT k, n FROM facts WHERE k = 5 ORDER BY seq) TO STDOUT;
-- in order
COPY (SELECT k, seq, n FROM facts ORDER BY n NULLS FIRST, k, seq) TO STDOUT;
-- in order
COPY (SELECT k, seq FROM facts ORDER BY k, seq LIMIT 5) TO STDOUT (FORMAT csv, HEADER);
COPY (SELECT grp, count(*), avg(val) FROM facts GROUP BY grp) TO STDOUT;
COPY (SELECT grp, count(*) + 1 FROM facts GROUP BY grp) TO STDOUT (FORMAT csv);
COPY (SELECT u.id, f.k FROM users u JOIN facts f ON f.n = u.age) TO STDOUT;
COPY (SELECT DISTINCT sub FROM facts) TO STDOUT (FORMAT binary);
COPY (SELECT id FROM users UNION SELECT k FROM facts) TO STDOUT;
COPY (SELECT k, rank() OVER (ORDER BY n) FROM facts) TO STDOUT (FORMAT csv, HEADER);
COPY (SELECT m, s, p FROM kinds) TO STDOUT;
COPY (SELECT 1 / (n - n) FROM facts) TO STDOUT;
COPY (SELECT * FROM facts WHERE k = 5 AND k = 6) TO STDOUT (FORMAT csv, HEADER);
COPY (VALUES (1), (2)) TO STDOUT;
