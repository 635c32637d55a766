CREATE SEQUENCE drawn_s;
CREATE SEQUENCE drawn_t INCREMENT 5 START 100;
CREATE TABLE drawn_o (id serial PRIMARY KEY, v text) SHARD BY HASH (id);
CREATE TABLE drawn_i (id bigserial, o int NOT NULL, n int DEFAULT 1, PRIMARY KEY (o, id)) SHARD BY HASH (o);
CREATE TABLE drawn_r (id smallserial PRIMARY KEY, v text) REFERENCE;
CREATE TABLE drawn_l (id serial PRIMARY KEY, o bigint, v text);
CREATE TABLE drawn_g (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s int DEFAULT nextval('drawn_s'), v text) SHARD BY HASH (id);
-- not on one shard
SELECT lastval();
-- not on one shard
SELECT currval('drawn_o_id_seq');
INSERT INTO drawn_o (v) VALUES ('a'), ('b'), ('c');
-- not on one shard
SELECT lastval();
-- not on one shard
SELECT currval('drawn_o_id_seq');
-- not on one shard
SELECT currval('drawn_o_id_seq'::regclass), lastval() AS l, currval('public.drawn_o_id_seq') + 1 AS next, pg_typeof(lastval());
-- not on one shard
SELECT currval(pg_get_serial_sequence('drawn_o', 'id')), currval(NULL);
-- not on one shard
SELECT currval('drawn_i_id_seq');
-- not on one shard
SELECT currval('drawn_nothing');
INSERT INTO drawn_i (o) VALUES (1), (2), (3), (4);
-- not on one shard
SELECT lastval(), currval('drawn_i_id_seq'), currval('drawn_o_id_seq');
-- not on one shard
SELECT x.currval, "lastval" FROM (SELECT currval('drawn_i_id_seq'), lastval()) x;
SELECT count(*) FROM drawn_i;
UPDATE drawn_i SET n = 2;
DELETE FROM drawn_i WHERE o = 3;
-- not on one shard
SELECT lastval(), currval('drawn_i_id_seq');
INSERT INTO drawn_r (v) VALUES ('x'), ('y') RETURNING id;
-- not on one shard
SELECT lastval(), currval('drawn_r_id_seq');
INSERT INTO drawn_r (id, v) VALUES (50, 'z');
-- not on one shard
SELECT lastval(), currval('drawn_r_id_seq');
INSERT INTO drawn_g (v) VALUES ('x'), ('y');
-- not on one shard
SELECT lastval(), currval('drawn_s'), currval('drawn_g_id_seq');
INSERT INTO drawn_g (v, s) VALUES ('x', 7);
-- not on one shard
SELECT lastval(), currval('drawn_s'), currval('drawn_g_id_seq');
INSERT INTO drawn_o VALUES (DEFAULT, 'd');
-- not on one shard
SELECT lastval();
INSERT INTO drawn_o VALUES (nextval('drawn_t'), 'd');
-- not on one shard
SELECT lastval(), currval('drawn_t'), currval('drawn_o_id_seq');
INSERT INTO drawn_o (id, v) VALUES (5000, 'given');
-- not on one shard
SELECT lastval(), currval('drawn_t');
INSERT INTO drawn_o (id, v) VALUES (5001, 'given'), (DEFAULT, 'mixed');
INSERT INTO drawn_o (v) VALUES ('known again');
-- not on one shard
SELECT lastval(), currval('drawn_o_id_seq');
-- not on one shard
INSERT INTO drawn_l (o) VALUES (currval('drawn_o_id_seq'));
-- not on one shard
SELECT lastval(), currval('drawn_l_id_seq'), currval('drawn_o_id_seq');
-- not on one shard
INSERT INTO drawn_l (o, v) VALUES (currval('drawn_o_id_seq'), 'ret') RETURNING id, o, currval('drawn_l_id_seq') = id, lastval() = id;
SELECT id, o, v FROM drawn_l ORDER BY id;
-- not on one shard
UPDATE drawn_l SET v = 'last' WHERE id = lastval() RETURNING id, v;
SELECT nextval('drawn_s');
-- not on one shard
SELECT currval('drawn_s'), lastval();
SELECT nextval('drawn_t'), nextval('drawn_s');
-- not on one shard
SELECT currval('drawn_s'), lastval(), currval('drawn_t');
SELECT setval('drawn_t', 500);
-- not on one shard
SELECT currval('drawn_t'), lastval();
SELECT setval('drawn_s', 77, true);
-- not on one shard
SELECT currval('drawn_s'), lastval();
SELECT nextval('drawn_s'), currval('drawn_s'), lastval();
BEGIN;
INSERT INTO drawn_o (v) VALUES ('in tx');
SELECT lastval(), currval('drawn_o_id_seq');
INSERT INTO drawn_l (v) VALUES ('in tx');
SELECT lastval(), currval('drawn_o_id_seq'), currval('drawn_l_id_seq');
SELECT nextval('drawn_t');
SELECT lastval(), currval('drawn_t');
SAVEPOINT a;
INSERT INTO drawn_i (o) VALUES (9);
ROLLBACK TO a;
SELECT lastval(), currval('drawn_i_id_seq'), currval('drawn_t');
ROLLBACK;
-- not on one shard
SELECT lastval(), currval('drawn_o_id_seq'), currval('drawn_l_id_seq'), currval('drawn_t');
INSERT INTO drawn_l (v) VALUES ('rolled');
INSERT INTO drawn_l (id, v) VALUES (1, 'double');
INSERT INTO drawn_o (v) VALUES ('known again');
-- not on one shard
SELECT lastval(), currval('drawn_o_id_seq');
INSERT INTO drawn_o (id, v) VALUES (1, 'double');
-- not on one shard
SELECT lastval();
INSERT INTO drawn_o (v) SELECT 'none' WHERE false;
-- not on one shard
SELECT lastval(), currval('drawn_o_id_seq');
INSERT INTO drawn_o (v) SELECT 'some' FROM generate_series(1, 3);
-- not on one shard
SELECT lastval(), currval('drawn_o_id_seq');
-- only plain
COPY drawn_o (v) FROM STDIN;
a
b
\.
-- not on one shard
SELECT lastval(), currval('drawn_o_id_seq');
CREATE FUNCTION drawn_f() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN nextval(''drawn_s''); END';
BEGIN;
SELECT drawn_f();
SELECT lastval(), currval('drawn_s');
COMMIT;
INSERT INTO drawn_o (v) VALUES ('known again');
-- not on one shard
SELECT (SELECT lastval()), CASE WHEN lastval() > 0 THEN currval('drawn_o_id_seq') END, coalesce(lastval(), 1);
-- refused
-- not on one shard
SELECT count(*) FROM drawn_o WHERE id = lastval();
ALTER SEQUENCE drawn_o_id_seq RENAME TO drawn_renamed;
INSERT INTO drawn_o (v) VALUES ('known again');
-- not on one shard
SELECT lastval(), currval('drawn_renamed');
-- not on one shard
SELECT currval('drawn_o_id_seq');
SELECT nextval('drawn_t');
DROP SEQUENCE drawn_t;
-- not on one shard
SELECT lastval();
SELECT nextval('drawn_s');
DISCARD SEQUENCES;
-- not on one shard
SELECT lastval();
-- not on one shard
SELECT currval('drawn_s');
INSERT INTO drawn_o (v) VALUES ('forgotten');
DISCARD ALL;
-- not on one shard
SELECT lastval();
