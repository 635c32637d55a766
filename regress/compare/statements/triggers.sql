-- Rows that are found first and then written, on tables whose servers may leave some of them: BEFORE triggers, row
-- security; and a new sharding key on tables with triggers and foreign keys. Rows that get another key change their
-- partition as well, so that one PostgreSQL fires what it fires there.
CREATE FUNCTION lets_through() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'DELETE' THEN IF OLD.note = 'keep' THEN RETURN NULL; END IF; RETURN OLD; END IF; IF NEW.status = 'never' THEN RETURN NULL; END IF; NEW.note := coalesce(NEW.note, '') || '+'; RETURN NEW; END $$;
CREATE TRIGGER lets BEFORE UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION lets_through();
UPDATE orders o SET status = d.body FROM (SELECT size, max(body) AS body FROM docs GROUP BY size) d WHERE d.size = o.id % 50 RETURNING o.user_id, o.id, o.status, o.note;
UPDATE orders o SET status = 'never' FROM (SELECT size, max(body) AS body FROM docs GROUP BY size) d WHERE d.size = o.id % 50 RETURNING o.user_id, o.id;
UPDATE orders SET amount = (SELECT max(n) FROM names) WHERE user_id < 20 RETURNING user_id, id, amount, note;
UPDATE orders SET status = CASE WHEN id % 2 = 0 THEN 'never' ELSE 'odd' END, amount = (SELECT count(*) FROM names) WHERE user_id < 30;
UPDATE orders SET note = 'kee', status = NULL WHERE user_id IN (5, 7, 9);
ALTER TABLE orders DISABLE TRIGGER lets;
UPDATE orders SET note = 'keep' WHERE note = 'kee+';
ALTER TABLE orders ENABLE TRIGGER lets;
DELETE FROM orders USING docs d WHERE d.size = orders.user_id RETURNING orders.user_id, orders.id;
DELETE FROM orders WHERE user_id IN (SELECT size FROM docs) OR id IN (SELECT n FROM names);
BEGIN;
UPDATE orders o SET status = 'in a block' FROM (SELECT size, max(body) AS body FROM docs GROUP BY size) d WHERE d.size = o.id % 50;
UPDATE orders o SET status = 'never' FROM (SELECT size, max(body) AS body FROM docs GROUP BY size) d WHERE d.size = o.id % 50;
COMMIT;
SELECT user_id, id, amount, status, note FROM orders ORDER BY user_id, id;
-- refused
UPDATE orders SET user_id = user_id + 1000 WHERE id < 5;
DROP TRIGGER lets ON orders;
CREATE TRIGGER same BEFORE UPDATE ON names FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
UPDATE names SET n = d.size FROM (SELECT body, max(size) AS size FROM docs GROUP BY body) d WHERE d.body = split_part(names.name, ' ', 2);
UPDATE names SET n = (SELECT min(size) FROM docs WHERE size > 0) WHERE n > 3 RETURNING name;
UPDATE names SET n = (SELECT min(size) FROM docs WHERE size > 0) WHERE n IS NOT NULL RETURNING name;
DROP TRIGGER same ON names;
CREATE POLICY seen ON pairs FOR SELECT USING (a <> 3);
CREATE POLICY changed ON pairs FOR UPDATE USING (a < 7) WITH CHECK (v < 1000);
CREATE POLICY gone ON pairs FOR DELETE USING (a > 4);
ALTER TABLE pairs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
UPDATE pairs SET v = pairs.v + e.n FROM (SELECT n % 10 AS n, count(*) AS c FROM events GROUP BY 1) e WHERE e.n = pairs.a RETURNING pairs.a, pairs.b;
UPDATE pairs SET v = (SELECT max(n) FROM events) WHERE a > 2 RETURNING a, b, v;
UPDATE pairs SET v = (SELECT 100000 + max(n) FROM events) WHERE a > 2;
DELETE FROM pairs USING names WHERE names.n = pairs.a RETURNING pairs.a, pairs.b;
DELETE FROM pairs WHERE a IN (SELECT n FROM names);
-- refused
UPDATE pairs SET v = (SELECT max(n) FROM events);
-- refused
UPDATE pairs SET a = a + 1;
SELECT * FROM pairs ORDER BY a, b;
ALTER TABLE pairs DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
DROP POLICY seen ON pairs;
DROP POLICY changed ON pairs;
DROP POLICY gone ON pairs;
SELECT * FROM pairs ORDER BY a, b;
CREATE TABLE moved (user_id bigint NOT NULL, v text, n int, twice int GENERATED ALWAYS AS (n * 2) STORED, PRIMARY KEY (user_id)) PARTITION BY RANGE (user_id) SHARD BY HASH (user_id) COLOCATE WITH users;
CREATE TABLE moved_0 PARTITION OF moved FOR VALUES FROM (0) TO (1000);
CREATE TABLE moved_1 PARTITION OF moved FOR VALUES FROM (1000) TO (2000);
CREATE TABLE moved_2 PARTITION OF moved FOR VALUES FROM (2000) TO (9000);
CREATE TABLE moves (user_id bigint NOT NULL, what text, old text, new text) SHARD BY HASH (user_id) COLOCATE WITH users;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'DELETE' THEN INSERT INTO moves (user_id, what, old) VALUES (OLD.user_id, 'after delete', OLD.v); RETURN OLD; END IF; INSERT INTO moves (user_id, what, new) VALUES (NEW.user_id, 'after insert or update', NEW.v); RETURN NEW; END $$;
CREATE FUNCTION tell_before() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'DELETE' THEN INSERT INTO moves (user_id, what, old) VALUES (OLD.user_id, 'before delete', OLD.v); RETURN OLD; END IF; INSERT INTO moves (user_id, what, new) VALUES (NEW.user_id, 'before insert or update', NEW.v); RETURN NEW; END $$;
INSERT INTO moved (user_id, v, n) SELECT id, name, age FROM users WHERE id <= 60;
CREATE TRIGGER after_moves AFTER INSERT OR UPDATE OR DELETE ON moved FOR EACH ROW EXECUTE FUNCTION tell();
UPDATE moved SET user_id = user_id + 1000 WHERE user_id <= 20 RETURNING *;
UPDATE moved m SET user_id = m.user_id + 1000, v = e.kind FROM (SELECT n, min(kind) AS kind FROM events GROUP BY n) e WHERE e.n = m.user_id RETURNING m.user_id, e.kind, m.v AS now, m.twice + e.n, upper(m.v);
UPDATE moved m SET user_id = m.user_id + 1000 FROM (SELECT n, min(kind) AS kind FROM events GROUP BY n) e WHERE e.n + 1000 = m.user_id RETURNING *;
UPDATE moved AS "M m" SET user_id = "M m".user_id + 2000, n = -1 FROM (SELECT user_id AS n, v AS c FROM moved WHERE user_id < 1000 AND user_id % 4 = 0) k WHERE k.n = "M m".user_id RETURNING "M m".*, c;
SELECT * FROM moved ORDER BY user_id;
SELECT * FROM moves ORDER BY user_id, what, old, new;
CREATE TRIGGER before_moves BEFORE INSERT OR DELETE ON moved FOR EACH ROW EXECUTE FUNCTION tell_before();
UPDATE moved SET user_id = user_id + 1000 WHERE user_id < 1000 AND n % 2 = 0 RETURNING user_id, n;
-- refused
UPDATE moved m SET user_id = m.user_id + 1000 FROM (SELECT n, min(kind) AS kind FROM events GROUP BY n) e WHERE e.n + 1000 = m.user_id RETURNING *;
SELECT * FROM moves ORDER BY user_id, what, old, new;
CREATE FUNCTION quiet_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION stays() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.n = -1 THEN RETURN NULL; END IF; RETURN OLD; END $$;
CREATE TRIGGER stays BEFORE DELETE ON moved FOR EACH ROW EXECUTE FUNCTION stays();
UPDATE moved SET user_id = user_id + 3000 WHERE user_id < 2000 AND n > 0;
-- refused
UPDATE moved SET user_id = user_id + 3000 WHERE user_id BETWEEN 2000 AND 2999;
SELECT count(*) FROM moved WHERE user_id BETWEEN 2000 AND 2999;
DROP TRIGGER stays ON moved;
DROP TRIGGER before_moves ON moved;
DROP TRIGGER after_moves ON moved;
CREATE TRIGGER told AFTER UPDATE ON moved FOR EACH STATEMENT EXECUTE FUNCTION quiet_one();
-- refused
UPDATE moved SET user_id = user_id + 1000 WHERE user_id = 1001;
DROP TRIGGER told ON moved;
CREATE TABLE parents (id bigint PRIMARY KEY, v text) SHARD BY HASH (id) COLOCATE WITH users;
CREATE TABLE kids (id bigint NOT NULL REFERENCES parents (id), n int, PRIMARY KEY (id, n)) SHARD BY HASH (id) COLOCATE WITH users;
INSERT INTO parents SELECT id, name FROM users WHERE id <= 40;
INSERT INTO kids SELECT id, age FROM users WHERE id <= 20 AND age IS NOT NULL;
UPDATE parents SET id = id + 100 WHERE id = (SELECT min(id) FROM kids);
UPDATE parents SET id = id + 100 WHERE id > 20 RETURNING *;
UPDATE parents SET id = id + 100 WHERE id > 15;
UPDATE kids SET id = id + 120 WHERE id < 10 RETURNING *;
UPDATE kids SET id = 77777 WHERE (id, n) = (SELECT min(id), min(n) FROM kids WHERE id = 15);
UPDATE kids SET id = 77777 WHERE id = (SELECT max(id) FROM kids);
SELECT * FROM parents ORDER BY id;
SELECT * FROM kids ORDER BY id, n;
DROP TABLE kids;
CREATE TABLE kids (id bigint NOT NULL REFERENCES parents (id) ON DELETE CASCADE, n int, PRIMARY KEY (id, n)) SHARD BY HASH (id) COLOCATE WITH users;
-- refused
UPDATE parents SET id = id + 1000 WHERE id > 100;
DROP TABLE kids;
DROP TABLE parents;
DROP TABLE moved;
DROP TABLE moves;
DROP FUNCTION tell();
DROP FUNCTION tell_before();
DROP FUNCTION quiet_one();
DROP FUNCTION stays();
DROP FUNCTION lets_through();
