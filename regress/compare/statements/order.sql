CREATE TYPE mood AS ENUM ('sad', 'ok', 'Happy');
-- Values of every type that has an order, spread over the shards by a key that has nothing to do with it
CREATE TABLE kinds (id bigint PRIMARY KEY, b boolean, i2 smallint, i4 int, i8 bigint, o oid, f4 real, f8 float8, n numeric, t text, v varchar(20), c char(5), nm name, ch "char", by bytea, d date, tm time, tz timetz, ts timestamp, tsz timestamptz, iv interval, u uuid, ip inet, ci cidr, m macaddr, m8 macaddr8, bi bit(6), vb varbit, mo money, e mood, ai int[], at text[], an numeric[], ad date[], r4 int4range, rn numrange, rd daterange, mr int4multirange, l pg_lsn, js jsonb) SHARD BY HASH (id);
INSERT INTO kinds (id, b, i2, i4, i8, o, f4, f8, n, t, v, c, nm, ch, by, d, tm, tz, ts, tsz, iv, u) SELECT 1, true, -3, -70000, 9223372036854775807, 4294967295, 'NaN', 'Infinity', 'NaN', 'ä', 'zz', 'ab', 'Name', '~', '\x00ff', 'infinity', '24:00', '00:00+02', '-infinity', 'infinity', '1 day', 'ffffffff-ffff-ffff-ffff-ffffffffffff';
INSERT INTO kinds (id, b, i2, i4, i8, o, f4, f8, n, t, v, c, nm, ch, by, d, tm, tz, ts, tsz, iv, u) SELECT 2, false, 30000, 2147483647, -9223372036854775808, 0, '-Infinity', 'NaN', 'Infinity', '', '', '', '', '', '\x', '-infinity', '00:00', '23:00+01', '4713-01-01 BC', '-infinity', '24 hours', '00000000-0000-0000-0000-000000000001';
INSERT INTO kinds (id, b, i2, i4, i8, o, f4, f8, n, t, v, c, nm, ch, by, d, tm, tz, ts, tsz, iv, u) SELECT 3, NULL, 0, 0, 0, 5, '-0', '-0', '-Infinity', 'a', 'a ', 'a', 'name', 'a', '\xff', '0044-03-15 BC', '12:00:00.5', '22:00+00', '294276-12-31 23:59:59.999999', '0001-01-01 00:00:00+00', '-1 mon', '00000000-0000-0000-0000-00000000000f';
INSERT INTO kinds (id, b, i2, i4, i8, o, f4, f8, n, t, v, c, nm, ch, by, d, tm, tz, ts, tsz, iv, u) SELECT 4, true, 5, 5, 5, 2147483648, '0', '0', '1.0', 'A', 'a', 'a ', 'NAME', '\377', '\x0000', '2026-02-28', '12:00:00.05', '12:00:00-12', '2026-02-28 12:00', '2026-02-28 12:00:00+05', '30 days', '80000000-0000-0000-0000-000000000000';
INSERT INTO kinds (id, b, i2, i4, i8, o, f4, f8, n, t, v, c, nm, ch, by, d, tm, tz, ts, tsz, iv, u) SELECT 5, false, -5, -5, -5, 2147483647, 1e-30, 1e-300, '1.00', 'aa', 'b', 'b', 'n', '0', '\x01', '5874897-12-31', '12:00:00', '12:00:00+14', '2026-02-28 12:00:00.000001', '2026-02-28 12:00:00+04', '-29 days -24 hours', '7fffffff-ffff-ffff-ffff-ffffffffffff';
INSERT INTO kinds (id, b, i2, i4, i8, o, f4, f8, n, t, v, c, nm, ch, by, d, tm, tz, ts, tsz, iv, u) SELECT 6, NULL, 1, 1, 1, 1, 1.5, 1.5, '-0.0000000000000000000001', '日本', 'é', '日', 'ä', 'Z', '\x00', '1999-12-31', '23:59:59.999999', '12:00:00+13:59', '1999-12-31', '1999-12-31 23:59:59.999999-11', '1 mon -30 days', '00000000-0000-0000-0000-000000000010';
INSERT INTO kinds (id, b, i2, i4, i8, o, f4, f8, n, t, v, c, nm, ch, by, d, tm, tz, ts, tsz, iv, u) SELECT 7, true, -1, -1, -1, 7, -1.5, -1.5, '123456789012345678901234567890.5', E'a\nb', 'Z', 'Z', '_', ' ', '\x80', '2000-01-01', '00:00:00.000001', '12:00:00-00:30', '2000-01-01', '2000-01-01 00:00+00', '1 year', '0a000000-0000-0000-0000-000000000000';
INSERT INTO kinds (id) VALUES (8), (9), (10);
UPDATE kinds SET ip = '192.168.0.1/24', ci = '10.0.0.0/8', m = '08:00:2b:01:02:03', m8 = '08:00:2b:01:02:03:04:05', bi = B'101010', vb = B'1', mo = 12.34, e = 'Happy', ai = '{1,2,3}', at = '{a,b}', an = '{1.0,NULL}', ad = '{2026-01-01}', r4 = '[1,5)', rn = '(1,5]', rd = 'empty', mr = '{[1,2),[5,9)}', l = '0/16AE7F8', js = '{"a": 1}' WHERE id = 1;
UPDATE kinds SET ip = '192.168.0.1', ci = '10.0.0.0/16', m = 'ff:00:2b:01:02:03', m8 = 'ff:00:2b:01:02:03:04:05', bi = B'001010', vb = B'10', mo = -12.34, e = 'sad', ai = '{1,2}', at = '{}', an = '{1.00,5}', ad = '{infinity}', r4 = '(,5)', rn = '[1,5]', rd = '[2026-01-01,)', mr = '{}', l = '1/0', js = '[]' WHERE id = 2;
UPDATE kinds SET ip = '192.168.0.0/16', ci = '10.1.0.0/16', m = '00:00:2b:01:02:03', m8 = '00:00:2b:01:02:03:04:05', bi = B'101011', vb = B'01', mo = 0, e = 'ok', ai = '{NULL}', at = '{B}', an = '{NaN}', ad = '{NULL}', r4 = 'empty', rn = '[1,5)', rd = '(,2026-01-01)', mr = '{[1,2)}', l = 'FFFFFFFF/0', js = '1' WHERE id = 3;
UPDATE kinds SET ip = '::1', ci = '::/0', m = '7f:00:2b:01:02:03', m8 = '7f:00:2b:01:02:03:04:05', bi = B'000000', vb = B'', mo = 92233720368547758.07, e = 'ok', ai = '{{1,2},{3,4}}', at = '{ä,NULL}', an = '{}', ad = '{}', r4 = '[2,5)', rn = '(,)', rd = '[2025-01-01,2026-01-01)', mr = '{[1,3)}', l = '0/0', js = '"x"' WHERE id = 4;
UPDATE kinds SET ip = 'fe80::/10', ci = '10.0.0.0/9', bi = B'111111', vb = B'1000', mo = 1, e = 'sad', ai = '[0:1]={1,2}', at = '{a}', an = '{-Infinity}', ad = '{-infinity,2026-01-01}', r4 = '[1,)', rn = 'empty', rd = '(,)', mr = '{(,3)}', js = 'null' WHERE id = 5;
UPDATE kinds SET ip = '192.168.0.255/24', ci = '9.0.0.0/8', e = 'Happy', ai = '{}', at = '{a,b,c}', an = '{1}', ad = '{2025-12-31,2026-01-01}', r4 = '[1,6)', rn = '[1.0,5.00]', rd = '[2026-01-01,2026-01-02)', mr = '{(,)}' WHERE id = 6;
UPDATE kinds SET ai = '{2}', at = '{"a "}', r4 = '[1,5)', rn = '(1.5,)', mr = '{[1,2),[4,9)}' WHERE id = 7;
SELECT id FROM kinds ORDER BY b, id;
SELECT id FROM kinds ORDER BY i2, id;
SELECT id FROM kinds ORDER BY i4 DESC, id;
SELECT id FROM kinds ORDER BY i8 NULLS FIRST, id;
SELECT id FROM kinds ORDER BY o DESC NULLS LAST, id;
SELECT id FROM kinds ORDER BY f4, id;
SELECT id FROM kinds ORDER BY f8 DESC, id;
SELECT id, f8 FROM kinds ORDER BY f8, id;
SELECT id, n FROM kinds ORDER BY n, id;
SELECT id FROM kinds ORDER BY n DESC, id DESC;
SELECT id, t FROM kinds ORDER BY t, id;
SELECT id, v FROM kinds ORDER BY v DESC, id;
SELECT id, c FROM kinds ORDER BY c, id;
SELECT id, nm FROM kinds ORDER BY nm, id;
SELECT id FROM kinds ORDER BY ch, id;
SELECT id, by FROM kinds ORDER BY by, id;
SELECT id, d FROM kinds WHERE id NOT IN (1, 2, 3, 5) ORDER BY d, id;
SELECT id FROM kinds ORDER BY d DESC NULLS LAST, id;
SELECT id, tm FROM kinds WHERE id <> 1 ORDER BY tm, id;
SELECT id FROM kinds ORDER BY tm DESC, id;
SELECT id, tz::text FROM kinds ORDER BY tz, id;
SELECT id, ts::text FROM kinds ORDER BY ts, id;
SELECT id, tsz::text FROM kinds ORDER BY tsz DESC, id;
SELECT id, iv::text FROM kinds ORDER BY iv, id;
SELECT id FROM kinds ORDER BY -iv, id;
SELECT id, u FROM kinds ORDER BY u, id;
SELECT id, ip::text FROM kinds ORDER BY ip, id;
SELECT id, ci::text FROM kinds ORDER BY ci DESC, id;
SELECT id, m::text FROM kinds ORDER BY m, id;
SELECT id, m8::text FROM kinds ORDER BY m8, id;
SELECT id, bi::text FROM kinds ORDER BY bi, id;
SELECT id, vb::text FROM kinds ORDER BY vb, id;
SELECT id, mo::text FROM kinds ORDER BY mo, id;
SELECT id, e FROM kinds ORDER BY e, id;
SELECT id FROM kinds ORDER BY e DESC NULLS LAST, id;
SELECT id, ai::text FROM kinds ORDER BY ai, id;
SELECT id, at::text FROM kinds ORDER BY at, id;
SELECT id, an::text FROM kinds ORDER BY an DESC, id;
SELECT id, ad::text FROM kinds ORDER BY ad, id;
SELECT id, r4::text FROM kinds ORDER BY r4, id;
SELECT id, rn::text FROM kinds ORDER BY rn, id;
SELECT id, rn::text FROM kinds ORDER BY rn DESC, id;
SELECT id, rd::text FROM kinds ORDER BY rd, id;
SELECT id, mr::text FROM kinds ORDER BY mr, id;
SELECT id, l::text FROM kinds ORDER BY l, id;
SELECT id FROM kinds ORDER BY (b, n, t), id;
SELECT id FROM kinds ORDER BY row(e IS NULL, ai, rn) DESC, id;
-- refused
SELECT id FROM kinds ORDER BY js, id;
SELECT id, iv FROM kinds WHERE id NOT IN (1, 2, 5) ORDER BY iv, id;
SELECT DISTINCT iv::text AS x, iv FROM kinds WHERE iv > '2 days' ORDER BY iv;
SELECT DISTINCT e FROM kinds ORDER BY e;
SELECT DISTINCT ON (b) b, id FROM kinds ORDER BY b, id DESC;
SELECT DISTINCT ON (b, e) id FROM kinds ORDER BY e, b NULLS FIRST, id;
SELECT DISTINCT ON (1) e, id FROM kinds ORDER BY e DESC, id LIMIT 2 OFFSET 1;
-- refused
SELECT DISTINCT ON (lower(t)) lower(t) AS t, id FROM kinds ORDER BY lower(kinds.t), id;
-- unordered
SELECT count(*) FROM (SELECT DISTINCT ON (id) id FROM kinds) x;
SELECT DISTINCT ON (b) b FROM kinds;
-- unordered
SELECT id FROM kinds ORDER BY b FETCH FIRST 4 ROWS WITH TIES;
-- unordered
SELECT b FROM kinds ORDER BY b FETCH FIRST 1 ROW WITH TIES;
-- unordered
SELECT b FROM kinds ORDER BY b DESC OFFSET 2 FETCH FIRST 2 ROWS WITH TIES;
-- unordered
SELECT age, name FROM users ORDER BY age DESC NULLS LAST FETCH FIRST 7 ROWS WITH TIES;
SELECT id FROM users ORDER BY id FETCH FIRST 3 ROWS WITH TIES;
SELECT id FROM users ORDER BY id FETCH FIRST 0 ROWS WITH TIES;
-- refused
SELECT count(*) FROM users GROUP BY age ORDER BY 1 FETCH FIRST 2 ROWS WITH TIES;
SELECT id FROM users ORDER BY id LIMIT 2 + 3 OFFSET 2 * 2;
SELECT id FROM users ORDER BY id LIMIT '3';
SELECT id FROM users ORDER BY id LIMIT ALL OFFSET 115;
SELECT id FROM users ORDER BY id LIMIT NULL OFFSET NULL;
SELECT id FROM users ORDER BY id LIMIT 5::bigint % 3;
-- refused
SELECT id FROM users ORDER BY id LIMIT 1 / 0;
-- refused
SELECT id FROM users ORDER BY id LIMIT 2147483647 + 1;
SELECT id FROM users ORDER BY id LIMIT 2 - 5;
SELECT id AS lower FROM users ORDER BY "lower", lower(name);
SELECT id, name AS lower FROM users ORDER BY lower(email) DESC, lower, 1;
SET DateStyle = 'SQL, DMY';
SELECT id, joined FROM users ORDER BY joined DESC NULLS LAST, id;
SELECT DISTINCT joined FROM users ORDER BY joined;
RESET DateStyle;
SET IntervalStyle = 'sql_standard';
SELECT id, iv FROM kinds WHERE id NOT IN (1, 2, 5) ORDER BY iv, id;
RESET IntervalStyle;
DROP TABLE kinds;
DROP TYPE mood;
