CREATE FUNCTION plus(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT a + b';
CREATE FUNCTION label(code text) RETURNS text LANGUAGE sql STABLE AS 'SELECT upper(c.name) FROM countries c WHERE c.code = label.code';
CREATE FUNCTION note_count() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM local_notes';
CREATE FUNCTION orders_of(who bigint) RETURNS SETOF orders LANGUAGE sql STABLE AS 'SELECT * FROM orders WHERE user_id = who';
CREATE FUNCTION spent(who bigint) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE total numeric; r record; --
BEGIN
  total := 0; --
  FOR r IN SELECT o.amount FROM orders o WHERE o.user_id = who LOOP
    IF r.amount IS NOT NULL THEN total := total + r.amount; END IF; --
  END LOOP; --
  RETURN total; --
END $$;
CREATE FUNCTION rename_user(who bigint, new_name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE before text; --
BEGIN
  SELECT u.name INTO before FROM users u WHERE u.id = who; --
  UPDATE users SET name = new_name WHERE id = who; --
  RETURN before; --
END $$;
CREATE FUNCTION all_orders() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM orders';
CREATE FUNCTION any_table(t text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE n bigint; BEGIN EXECUTE 'SELECT count(*) FROM ' || t INTO n; RETURN n; END $$;
CREATE FUNCTION pair_value(x int, y text) RETURNS int LANGUAGE sql STABLE BEGIN ATOMIC SELECT v FROM pairs WHERE a = x AND b = y; END;
CREATE FUNCTION thrice(a int) RETURNS int LANGUAGE sql RETURN plus(plus(plus(a)));
CREATE FUNCTION classify(n int) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
  CASE WHEN n IS NULL THEN RETURN 'none'; WHEN n < 30 THEN RETURN 'young'; ELSE RETURN 'old'; END CASE; --
END $$;
CREATE FUNCTION fails(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no %', n USING ERRCODE = 'P0042', HINT = 'x'; END $$;
SELECT plus(1), plus(1, 2), plus(b => 5, a => 3);
SELECT plus(id::int) FROM users WHERE id = 5;
SELECT id, plus(age) FROM users ORDER BY id LIMIT 5;
SELECT sum(plus(age)) FROM users;
SELECT count(*) FROM users WHERE plus(age) > 40;
SELECT thrice(4);
SELECT classify(age) AS c, count(*) FROM users GROUP BY classify(age) ORDER BY c;
SELECT label('de');
SELECT city, label(code) FROM regions ORDER BY code, city;
SELECT city, label(code) FROM regions WHERE code = 'fr' ORDER BY city;
SELECT name, label(code) FROM countries ORDER BY code;
SELECT note_count();
SELECT note_count() > 3 AS many FROM local_notes LIMIT 1;
-- refused
SELECT note_count() FROM users WHERE id = 5;
SELECT id, amount FROM orders_of(5) ORDER BY id;
SELECT id, amount FROM orders_of(who => 7) ORDER BY id;
SELECT id FROM orders_of(NULL);
SELECT u.name, o.amount FROM users u JOIN orders_of(9) o ON o.user_id = u.id WHERE u.id = 9 ORDER BY 2;
SELECT count(*) FROM orders_of(11) o JOIN products p ON p.id = o.id % 20;
-- refused
SELECT count(*) FROM users u, orders_of(9) o;
-- refused
SELECT (orders_of(id)).amount FROM users;
SELECT spent(5), spent(5) + 1 AS more;
-- refused
SELECT spent(id) FROM users;
SELECT rename_user(5, 'five');
SELECT name FROM users WHERE id = 5;
SELECT rename_user(-5, 'nobody');
BEGIN;
SELECT rename_user(6, 'six');
SELECT rename_user(7, 'seven');
SELECT id, name FROM users WHERE id IN (6, 7) ORDER BY id;
ROLLBACK;
SELECT id, name FROM users WHERE id IN (6, 7) ORDER BY id;
-- refused
SELECT all_orders();
-- refused
SELECT any_table('users');
SELECT pair_value(3, 'x');
SELECT pair_value(4, 'y'), a FROM pairs WHERE a = 4 AND b = 'y';
SELECT pair_value(x => 5, y => 'none');
SELECT fails(3);
SELECT fails(age) FROM users WHERE id = 5;
SELECT nothing_of_that_name(3);
CREATE PROCEDURE add_user(who bigint, what text) LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO users (id, name) VALUES (who, what); --
  INSERT INTO orders (user_id, id) VALUES (who, 1); --
END $$;
CALL add_user(5001, 'called');
CALL add_user(5001, 'twice');
CALL add_user(what => 'named', who => 5002);
SELECT u.id, u.name, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.id IN (5001, 5002) ORDER BY 1;
CALL add_user(NULL, 'null');
CREATE PROCEDURE add_note(n int, INOUT b text) LANGUAGE plpgsql AS $$
BEGIN INSERT INTO local_notes VALUES (n, b); b := upper(b); END $$;
CALL add_note(501, 'called');
SELECT * FROM local_notes WHERE id = 501;
DO $$ BEGIN INSERT INTO local_notes VALUES (502, 'done'); PERFORM plus(1); END $$;
SELECT * FROM local_notes WHERE id = 502;
-- refused
DO $$ BEGIN UPDATE users SET name = 'x'; END $$;
-- refused
DO $$ BEGIN EXECUTE 'DELETE FROM users'; END $$;
CREATE VIEW labelled AS SELECT code, city, label(code) AS country FROM regions;
SELECT * FROM labelled ORDER BY code, city;
-- refused
SELECT country, count(*) FROM labelled GROUP BY country ORDER BY country;
CREATE FUNCTION same_text(a text, b text) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT lower(a) = lower(b)';
CREATE OPERATOR ~~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = same_text);
SELECT count(*) FROM names WHERE name ~~~~ 'N3 ALPHA';
SELECT name FROM names WHERE name ~~~~ 'n1 BETA' AND name = 'n1 beta';
CREATE FUNCTION next_size(a int, b int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN coalesce(a, 0) + coalesce(b, 0) + (SELECT count(*) FROM countries); END $$;
CREATE AGGREGATE sized (int) (SFUNC = next_size, STYPE = int, INITCOND = '0');
SELECT sized(age) FROM users WHERE id = 5;
CREATE FUNCTION spent_by(u users) RETURNS numeric LANGUAGE sql STABLE AS 'SELECT sum(amount) FROM orders WHERE user_id = u.id';
CREATE FUNCTION initial(u users) RETURNS text LANGUAGE sql STABLE AS 'SELECT left(u.name, 1)';
SELECT u.id, u.initial FROM users u ORDER BY u.id LIMIT 5;
-- refused
SELECT u.id, u.spent_by FROM users u ORDER BY u.id LIMIT 5;
-- refused
SELECT (u).spent_by FROM users u WHERE id = 5;
DROP FUNCTION spent_by(users), initial(users);
DROP VIEW labelled;
DROP OPERATOR ~~~~ (text, text);
DROP AGGREGATE sized (int);
DROP FUNCTION plus(int, int) CASCADE;
SELECT thrice(4);
CREATE FUNCTION clocked() RETURNS timestamptz LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN now(); END';
SELECT count(DISTINCT clocked()) FROM users;
SELECT count(*) FROM (SELECT DISTINCT clocked() FROM users) q;
SELECT count(*) FROM users GROUP BY clocked();
