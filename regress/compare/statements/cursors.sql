-- Cursors over shards that keep their rows: SCROLL, WITH HOLD, NO SCROLL, BINARY.
-- only plain
BEGIN;
-- only plain
DECLARE s SCROLL CURSOR FOR SELECT id, name FROM users ORDER BY id;
-- only plain
FETCH 3 FROM s;
-- only plain
FETCH BACKWARD 1 FROM s;
-- only plain
FETCH PRIOR FROM s;
-- only plain
FETCH PRIOR FROM s;
-- only plain
FETCH PRIOR FROM s;
-- only plain
FETCH NEXT FROM s;
-- only plain
FETCH FIRST FROM s;
-- only plain
FETCH LAST FROM s;
-- only plain
FETCH NEXT FROM s;
-- only plain
FETCH 0 FROM s;
-- only plain
FETCH PRIOR FROM s;
-- only plain
FETCH ABSOLUTE 10 FROM s;
-- only plain
FETCH ABSOLUTE 0 FROM s;
-- only plain
FETCH ABSOLUTE -2 FROM s;
-- only plain
FETCH ABSOLUTE -2000 FROM s;
-- only plain
FETCH ABSOLUTE 2000 FROM s;
-- only plain
FETCH RELATIVE -1 FROM s;
-- only plain
FETCH RELATIVE -3 FROM s;
-- only plain
FETCH RELATIVE 0 FROM s;
-- only plain
FETCH FORWARD 0 FROM s;
-- only plain
FETCH RELATIVE 2 FROM s;
-- only plain
FETCH RELATIVE 2000 FROM s;
-- only plain
FETCH RELATIVE -2000 FROM s;
-- only plain
FETCH FORWARD -1 FROM s;
-- only plain
FETCH BACKWARD -4 FROM s;
-- only plain
FETCH BACKWARD 2 FROM s;
-- only plain
FETCH BACKWARD ALL FROM s;
-- only plain
FETCH BACKWARD ALL FROM s;
-- only plain
FETCH FORWARD ALL FROM s;
-- only plain
FETCH FORWARD ALL FROM s;
-- only plain
FETCH BACKWARD ALL FROM s;
-- only plain
MOVE 5 FROM s;
-- only plain
MOVE 0 FROM s;
-- only plain
MOVE BACKWARD ALL FROM s;
-- only plain
MOVE ALL FROM s;
-- only plain
MOVE BACKWARD ALL IN s;
-- only plain
MOVE ABSOLUTE 4 FROM s;
-- only plain
MOVE LAST FROM s;
-- only plain
MOVE RELATIVE -1 FROM s;
-- only plain
MOVE PRIOR FROM s;
-- only plain
FETCH s;
-- only plain
FETCH RELATIVE 2147483647 FROM s;
-- only plain
FETCH RELATIVE -2147483647 FROM s;
-- only plain
FETCH ALL IN s;
-- only plain
CLOSE s;
-- only plain
DECLARE s SCROLL CURSOR FOR SELECT count(*), status FROM orders GROUP BY status ORDER BY status;
-- only plain
FETCH LAST FROM s;
-- only plain
FETCH FIRST FROM s;
-- only plain
FETCH BACKWARD ALL FROM s;
-- only plain
DECLARE s SCROLL CURSOR FOR SELECT id FROM users;
-- only plain
ROLLBACK;
-- only plain
BEGIN;
-- only plain
DECLARE e SCROLL CURSOR FOR SELECT id FROM users WHERE id < -5 ORDER BY id;
-- only plain
FETCH 1 FROM e;
-- only plain
FETCH BACKWARD 1 FROM e;
-- only plain
FETCH LAST FROM e;
-- only plain
MOVE ALL FROM e;
-- only plain
MOVE BACKWARD ALL FROM e;
-- only plain
DECLARE w SCROLL CURSOR FOR SELECT id, rank() OVER (ORDER BY id DESC) FROM users ORDER BY 1;
-- only plain
FETCH 2 FROM w;
-- only plain
FETCH LAST FROM w;
-- only plain
FETCH BACKWARD 2 FROM w;
-- only plain
UPDATE users SET name = 'seen' WHERE id = 2;
-- only plain
FETCH ABSOLUTE 2 FROM w;
-- only plain
DECLARE k SCROLL CURSOR FOR SELECT id, name FROM users WHERE id = 2;
-- only plain
FETCH LAST FROM k;
-- only plain
FETCH PRIOR FROM k;
-- only plain
ROLLBACK;
-- only plain
BEGIN;
-- only plain
DECLARE n NO SCROLL CURSOR WITH HOLD FOR SELECT id FROM users ORDER BY id;
-- only plain
FETCH 2 FROM n;
-- only plain
FETCH ABSOLUTE 5 FROM n;
-- only plain
FETCH RELATIVE 2 FROM n;
-- only plain
COMMIT;
-- only plain
FETCH 2 FROM n;
-- only plain
FETCH PRIOR FROM n;
-- only plain
FETCH 0 FROM n;
-- only plain
FETCH NEXT FROM n;
-- only plain
MOVE ALL FROM n;
-- only plain
FETCH NEXT FROM n;
-- only plain
CLOSE n;
-- only plain
CLOSE n;
-- only plain
DECLARE h SCROLL CURSOR WITH HOLD FOR SELECT id, email FROM users ORDER BY id;
-- only plain
FETCH 2 FROM h;
-- only plain
UPDATE users SET email = 'changed' WHERE id < 4;
-- only plain
FETCH FIRST FROM h;
-- only plain
FETCH LAST FROM h;
-- only plain
DECLARE h SCROLL CURSOR WITH HOLD FOR SELECT id FROM users;
-- only plain
BEGIN;
-- only plain
FETCH PRIOR FROM h;
-- only plain
SELECT 1 / 0;
-- only plain
ROLLBACK;
-- only plain
FETCH NEXT FROM h;
-- only plain
BEGIN;
-- only plain
DECLARE r CURSOR WITH HOLD FOR SELECT id FROM users ORDER BY id;
-- only plain
FETCH 1 FROM r;
-- only plain
ROLLBACK;
-- only plain
FETCH 1 FROM r;
-- only plain
BEGIN;
-- only plain
SAVEPOINT a;
-- only plain
DECLARE r CURSOR WITH HOLD FOR SELECT id FROM users ORDER BY id;
-- only plain
ROLLBACK TO a;
-- only plain
FETCH 1 FROM r;
-- only plain
ROLLBACK;
-- only plain
BEGIN;
-- only plain
SAVEPOINT a;
-- only plain
DECLARE r CURSOR WITH HOLD FOR SELECT id, rank() OVER (ORDER BY id) FROM users ORDER BY id;
-- only plain
RELEASE a;
-- only plain
COMMIT;
-- only plain
FETCH 3 FROM r;
-- only plain
DECLARE d CURSOR WITH HOLD FOR SELECT 1 / (id - 30) FROM users ORDER BY id;
-- only plain
FETCH 1 FROM d;
-- only plain
DECLARE d CURSOR WITH HOLD FOR SELECT sum(amount), count(*) FROM orders;
-- only plain
FETCH ALL FROM d;
-- only plain
FETCH ALL FROM h;
-- only plain
CLOSE ALL;
-- only plain
FETCH 1 FROM h;
-- only plain
FETCH 1 FROM r;
-- only plain
DECLARE n CURSOR FOR SELECT id FROM users;
-- only plain
DECLARE n SCROLL NO SCROLL CURSOR FOR SELECT id FROM users;
-- only plain
BEGIN;
-- only plain
DECLARE b BINARY CURSOR FOR SELECT id, name, amount FROM users JOIN orders ON user_id = users.id ORDER BY users.id, orders.id;
-- only plain
FETCH 3 FROM b;
-- only plain
DECLARE c BINARY SCROLL CURSOR WITH HOLD FOR SELECT count(*), avg(amount), status FROM orders GROUP BY status ORDER BY status;
-- only plain
FETCH 2 FROM c;
-- only plain
FETCH PRIOR FROM c;
-- only plain
DECLARE v BINARY SCROLL CURSOR FOR SELECT id, row_number() OVER (ORDER BY name, id) FROM users ORDER BY id;
-- only plain
FETCH LAST FROM v;
-- only plain
COMMIT;
-- only plain
FETCH ALL FROM c;
-- only plain
CLOSE c;
