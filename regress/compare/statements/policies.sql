SET app.least = '50';
CREATE POLICY by_setting ON users USING (id >= current_setting('app.least', true)::bigint OR current_setting('app.least', true) = '');
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
SELECT count(*) FROM users;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
SELECT count(*) FROM users;
SELECT id FROM users WHERE id = 7;
SELECT id FROM users WHERE id = 77;
SET app.least = '100';
SELECT count(*), min(id) FROM users;
INSERT INTO users (id, name) VALUES (9, 'hidden');
INSERT INTO users (id, name) VALUES (5009, 'seen');
UPDATE users SET name = 'x' WHERE id IN (8, 108) RETURNING id;
DELETE FROM users WHERE id = 5;
SELECT u.id, o.id FROM users u JOIN orders o ON o.user_id = u.id ORDER BY 1, 2 LIMIT 5;
CREATE FUNCTION is_big(c text) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT coalesce(bool_or(k.big), false) FROM countries k WHERE k.code = c';
CREATE POLICY big_only ON regions USING (is_big(code)) WITH CHECK (code <> 'zz');
ALTER TABLE regions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT code, city FROM regions ORDER BY 1, 2;
SELECT count(*) FROM regions WHERE code = 'at';
INSERT INTO regions VALUES ('zz', 'nowhere', 1);
CREATE POLICY own_rows ON orders USING (EXISTS (SELECT 1 FROM users u WHERE u.id = orders.user_id AND u.id % 2 = 0));
ALTER TABLE orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SET app.least = '1';
SELECT count(*), sum(amount) FROM orders;
SELECT id FROM orders WHERE user_id = 4 ORDER BY id;
SELECT id FROM orders WHERE user_id = 5 ORDER BY id;
CREATE POLICY elsewhere ON items USING (EXISTS (SELECT 1 FROM docs d WHERE d.size = items.product));
ALTER TABLE items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- refused
SELECT count(*) FROM items;
-- refused
SELECT * FROM items WHERE user_id = 5;
-- refused
INSERT INTO items VALUES (5, 1, 1, 1, 1);
CREATE POLICY notes_of_users ON local_notes USING (EXISTS (SELECT 1 FROM users u WHERE u.id = local_notes.id));
ALTER TABLE local_notes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- refused
SELECT * FROM local_notes;
DROP POLICY notes_of_users ON local_notes;
DROP POLICY elsewhere ON items;
SELECT count(*) FROM items;
SELECT count(*) FROM local_notes;
ALTER POLICY big_only ON regions USING (code = 'fr');
SELECT code, city FROM regions ORDER BY 1, 2;
BEGIN;
CREATE POLICY none ON countries USING (false);
SELECT * FROM countries;
ROLLBACK;
SELECT count(*) FROM countries;
ALTER TABLE items DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
ALTER TABLE orders DISABLE ROW LEVEL SECURITY;
ALTER TABLE regions DISABLE ROW LEVEL SECURITY;
ALTER TABLE local_notes DISABLE ROW LEVEL SECURITY;
DROP POLICY by_setting ON users;
DROP POLICY nothing ON users;
DROP POLICY IF EXISTS nothing ON users;
ALTER TABLE users DISABLE ROW LEVEL SECURITY;
SELECT count(*) FROM users;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, 'none') || ' ' || TG_OP; RETURN NEW; END $$;
CREATE TRIGGER stamped BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION stamp();
INSERT INTO orders (id, user_id, note) VALUES (9100, 5, 'a'), (9101, 6, NULL), (9102, 7, 'c') RETURNING id, note;
UPDATE orders SET amount = 1 WHERE id > 9000 RETURNING id, note;
CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE users SET age = age + 1 WHERE id = 1; RETURN NEW; END $$;
-- refused
CREATE TRIGGER counted AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION count_up();
-- refused
CREATE TRIGGER counted AFTER INSERT ON local_notes FOR EACH ROW EXECUTE FUNCTION count_up();
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO local_notes VALUES (NEW.id + 1000, 'copy') ON CONFLICT DO NOTHING; RETURN NULL; END $$;
-- refused
CREATE TRIGGER noting AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted();
CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER quiet_one BEFORE DELETE ON orders FOR EACH ROW EXECUTE FUNCTION quiet();
DELETE FROM orders WHERE user_id = 5;
SELECT count(*) FROM orders WHERE user_id = 5;
CREATE OR REPLACE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM users; RETURN OLD; END $$;
-- refused
DELETE FROM orders WHERE user_id = 5;
DROP TRIGGER quiet_one ON orders;
DROP TRIGGER IF EXISTS stamped ON orders;
DROP TRIGGER stamped ON orders;
DELETE FROM orders WHERE user_id = 5;
CREATE FUNCTION default_note() RETURNS text LANGUAGE sql AS 'SELECT max(body) FROM local_notes';
ALTER TABLE orders ALTER COLUMN note SET DEFAULT default_note();
-- refused
INSERT INTO orders (id, user_id) VALUES (9200, 5);
ALTER TABLE orders ALTER COLUMN note DROP DEFAULT;
INSERT INTO orders (id, user_id) VALUES (9200, 5);
CREATE TABLE order_log (user_id bigint, order_id bigint, what text) SHARD BY HASH (user_id) COLOCATE WITH users;
CREATE FUNCTION log_order() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO order_log VALUES (NEW.user_id, NEW.id, TG_OP); UPDATE users SET age = coalesce(age, 0) + 1 WHERE id = NEW.user_id; RETURN NULL; END $$;
CREATE TRIGGER logging AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION log_order();
INSERT INTO orders (id, user_id) VALUES (9300, 5), (9301, 6), (9302, 7);
UPDATE orders SET amount = 5 WHERE id > 9299;
SELECT * FROM order_log ORDER BY user_id, order_id, what;
SELECT id, age FROM users WHERE id IN (5, 6, 7) ORDER BY id;
-- refused
CREATE TRIGGER logging AFTER INSERT ON pairs FOR EACH ROW EXECUTE FUNCTION log_order();
CREATE FUNCTION move_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.user_id := 1; RETURN NEW; END $$;
-- refused
CREATE TRIGGER moving BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION move_row();
CREATE FUNCTION other_row() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE r orders; BEGIN SELECT * INTO r FROM orders WHERE user_id = NEW.user_id LIMIT 1; RETURN r; END $$;
-- refused
CREATE TRIGGER moving BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION other_row();
CREATE FUNCTION into_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SELECT 1, 'x' INTO NEW.user_id, NEW.note; RETURN NEW; END $$;
-- refused
CREATE TRIGGER moving BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION into_row();
CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NOT EXISTS (SELECT 1 FROM users u WHERE u.id = NEW.user_id) THEN RAISE EXCEPTION 'no user %', NEW.user_id; END IF; NEW.note := 'guarded'; RETURN NEW; END $$;
CREATE TRIGGER guarding BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION guard();
INSERT INTO orders (id, user_id) VALUES (9400, 55) RETURNING note;
INSERT INTO orders (id, user_id) VALUES (9400, 777777);
DROP TRIGGER guarding ON orders;
DROP TRIGGER logging ON orders;
DROP TABLE order_log;
