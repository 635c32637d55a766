-- Values of every kind that are found on one shard and written on another.
CREATE TYPE mood AS ENUM ('low', 'mid', 'high');
CREATE TYPE spot AS (x int, y text);
CREATE DOMAIN small AS int CHECK (VALUE < 100);
CREATE TABLE kinds (id bigint PRIMARY KEY, m mood, s spot, d small, ii int[], tt text[], j json, jb jsonb, b bytea, n numeric, tz timestamptz, iv interval, u uuid, bo boolean, f4 real, f8 float8, c char(5), v varchar(7), ip inet, r int4range, bits bit varying, p point, mo money, g int GENERATED ALWAYS AS (d + 1) STORED) SHARD BY HASH (id);
INSERT INTO kinds (id, m, s, d, ii, tt, j, jb, b, n, tz, iv, u, bo, f4, f8, c, v, ip, r, bits, p, mo) VALUES (1, 'mid', (1, 'a"b'), 5, '{{1,2},{3,4}}', '{a,"b,c",NULL}', '{"a": [1, 2]}', '{"b": null}', '\x0001ff', 1.50, '2026-01-02 03:04:05.678+00', '1 mon 2 days 03:04', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', true, 0.1, 0.1, 'ab', 'vc', '10.0.0.1/8', '[1,5)', B'101', '(1,2)', '12.34');
INSERT INTO kinds (id) VALUES (2);
INSERT INTO kinds (id, ii, tt) VALUES (3, '[0:1]={7,8}', '{}');
UPDATE kinds SET id = id + 100 RETURNING *;
UPDATE kinds SET id = id + 13 RETURNING *;
UPDATE kinds k SET m = o.m, s = o.s, d = o.d, ii = o.ii, tt = o.tt, j = o.j, jb = o.jb, b = o.b, n = o.n, tz = o.tz, iv = o.iv, u = o.u, bo = o.bo, f4 = o.f4, f8 = o.f8, c = o.c, v = o.v, ip = o.ip, r = o.r, bits = o.bits, p = o.p, mo = o.mo FROM kinds o WHERE o.id = 114 AND k.id = 115;
UPDATE kinds k SET c = 'x' || o.v, v = o.c, n = o.f8, f4 = o.n FROM kinds o WHERE o.id = 114 AND k.id = 116 RETURNING k.*;
UPDATE kinds k SET v = o.j::text FROM kinds o WHERE o.id = 114 AND k.id = 116;
UPDATE kinds k SET d = 100 + o.d FROM kinds o WHERE o.id = 114 AND k.id = 116;
-- refused
UPDATE kinds k SET s = ROW(o.d, o.v)::spot, ii[1] = o.d FROM kinds o WHERE o.id = 114 AND k.id = 116 RETURNING s, ii;
-- refused
UPDATE kinds k SET s.y = o.v FROM kinds o WHERE o.id = 114 AND k.id = 115 RETURNING s, (k.s).x;
MERGE INTO kinds k USING (SELECT id + 7 AS id, m, s, ii, tt, jb, tz FROM kinds) o ON k.id = o.id WHEN NOT MATCHED THEN INSERT (id, m, s, ii, tt, jb, tz) VALUES (o.id, o.m, o.s, o.ii, o.tt, o.jb, o.tz);
WITH x AS (DELETE FROM kinds WHERE id < 117 RETURNING *) INSERT INTO kinds (id, m, s, ii, j) SELECT id * 10, m, s, ii, j FROM x;
DELETE FROM kinds k USING (SELECT m, max(id) AS id FROM kinds GROUP BY m) o WHERE o.id = k.id RETURNING k.*, o.*;
SELECT * FROM kinds ORDER BY id;
