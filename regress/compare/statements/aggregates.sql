CREATE TABLE agg (id int PRIMARY KEY, g int, s smallint, i int, l bigint, n numeric, f float8, r float4, v interval, m money, b boolean, x bit(12), t text COLLATE "C", d date, ts timestamptz, j jsonb) SHARD BY HASH (id);
CREATE TABLE agg_none (id int PRIMARY KEY, i int, l bigint, n numeric, f float8, r float4, v interval, x bit(4), b boolean) SHARD BY HASH (id);
CREATE TABLE agg_one (id int PRIMARY KEY, i int, l bigint, n numeric, f float8, r float4, v interval, x bit(4), b boolean) SHARD BY HASH (id);
INSERT INTO agg_one VALUES (7, 3, 9000000000000000000, 1.250, 0.5, 1.5, '1 mon 2 days 03:00:00', B'1010', true);
INSERT INTO agg VALUES
 (1, 1, 5, 100, 9223372036854775807, 1.50, 0.5, 0.25, '1 day', '1.25', true, B'101010101010', 'a', '2026-01-01', '2026-01-01 00:00+00', '{"a": 1}'),
 (2, 1, -5, 200, -9223372036854775808, 2.500, 1.5, 0.75, '02:00:00', '2.50', true, B'111100001111', 'b', '2026-01-02', '2026-01-02 00:00+00', '{"a": 1.0}'),
 (3, 1, 7, 300, 1, -3, 2.5, 1.25, '1 mon', '-3.75', false, B'000000001111', 'a', '2026-01-01', '2026-01-01 00:00+00', '[1, 2]'),
 (4, 2, 32767, 2147483647, 2, 12345678901234567890.123456789, 1e10, 1e5, '-1 mon 3 days', '0', NULL, B'000000000000', 'c', NULL, NULL, NULL),
 (5, 2, -32768, -2147483648, 3, -0.000000000000000000001, -1e10, -1e5, '00:00:00.000001', '922337203685.77', true, NULL, 'C', '2025-12-31', '2026-01-01 00:00+00', '{"a":1}'),
 (6, 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (7, 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (8, 4, 1, 1, 1, 1, 1, 1, '1 year', '1', true, B'000000000001', 'x', '2026-01-01', '2026-01-01 00:00+00', '1'),
 (9, 5, 2, 2, 2, 1.0, 2, 2, '1 mon', '1', false, B'000000000011', 'x', '2026-01-01', '2026-01-01 00:00+00', '1.0'),
 (10, 5, 3, 3, 3, 1.00, 2, 2, '30 days', '1', true, B'000000000111', 'x', '2026-01-01', '2026-01-01 01:00+01', '1.00'),
 (11, 5, 3, 3, 3, 1.000, 4, 4, '720:00:00', '2', true, B'000000000111', 'y', '2026-01-01', '2026-01-03 00:00+00', '"1"'),
 (12, 6, 0, 0, 0, 'NaN', 8, 8, '0', '0', false, B'100000000000', '', '2026-01-01', '2026-01-01 00:00+00', '[]'),
 (13, 6, 0, 0, 0, 0.00, 8, 8, '0', '0', false, B'100000000000', '', '2026-01-01', '2026-01-01 00:00+00', '{}'),
 (14, 7, 4, 4, 4, 'Infinity', 16, 16, '3 days', '3', true, B'110000000000', 'z', '2026-01-01', '2026-01-01 00:00+00', 'null'),
 (15, 7, 4, 4, 4, 5, 32, 32, '5 days', '3', true, B'110000000000', 'z', '2026-01-01', '2026-01-01 00:00+00', 'null'),
 (16, 8, 10, 10, 10, 0.1, 0.125, 0.125, '10:00:00', '10', true, B'111111111111', 'a', '2026-01-01', '2026-01-01 00:00+00', '{"b": [1, {"c": 2.50}]}'),
 (17, 8, 20, 20, 20, 0.2, 0.25, 0.25, '20:00:00', '20', true, B'111111111111', 'b', '2026-01-01', '2026-01-01 00:00+00', '{"b": [1.0, {"c": 2.5}]}'),
 (18, 8, 40, 40, 40, 0.4, 0.5, 0.5, '40:00:00', '40', true, B'111111111111', 'c', '2026-01-01', '2026-01-01 00:00+00', '{"b": [1, {"c": 2.51}]}');
SELECT var_pop(s), var_samp(s), variance(s), stddev_pop(s), stddev_samp(s), stddev(s) FROM agg;
SELECT var_pop(i), var_samp(i), variance(i), stddev_pop(i), stddev_samp(i), stddev(i) FROM agg;
SELECT var_pop(l), var_samp(l), variance(l), stddev_pop(l), stddev_samp(l), stddev(l) FROM agg;
SELECT var_pop(n), var_samp(n), variance(n), stddev_pop(n), stddev_samp(n), stddev(n) FROM agg;
SELECT var_pop(n), var_samp(n), variance(n), stddev_pop(n), stddev_samp(n), stddev(n) FROM agg WHERE n < 1e30;
SELECT g, var_pop(n), var_samp(n), stddev_pop(n), stddev_samp(n) FROM agg GROUP BY g ORDER BY g;
SELECT g, var_pop(i), var_samp(i), stddev_pop(i), stddev_samp(i) FROM agg GROUP BY g ORDER BY g;
SELECT g, var_pop(l), var_samp(l), stddev_pop(l), stddev_samp(l) FROM agg GROUP BY g ORDER BY g;
SELECT g, var_pop(f), var_samp(f), stddev_pop(f), stddev_samp(f) FROM agg WHERE g IN (1, 3, 4, 5, 6, 8) GROUP BY g ORDER BY g;
SELECT g, var_pop(r), var_samp(r), stddev_pop(r), stddev_samp(r) FROM agg WHERE g IN (1, 3, 4, 5, 6, 8) GROUP BY g ORDER BY g;
SELECT g, stddev(i) FROM agg GROUP BY g ORDER BY stddev(i) DESC NULLS LAST, g LIMIT 3;
SELECT stddev(n) FILTER (WHERE n < 1000), var_pop(i) FILTER (WHERE id > 100), stddev(f) FILTER (WHERE id < 4), count(*) FILTER (WHERE id > 4) FROM agg;
SELECT var_pop(i + 1), stddev(s * 2), var_samp(n * 0.5), variance(length(t)), stddev(i::numeric), stddev(coalesce(i, 0)) FROM agg WHERE n < 100;
SELECT variance(l / 1000), stddev_pop(abs(i)), var_pop(-s) FROM agg;
SELECT var_pop(i), var_samp(i), stddev(l), stddev(n), stddev(f), stddev(r), var_samp(f) FROM agg_none;
SELECT var_pop(i), var_samp(i), stddev(l), stddev(n), stddev(f), stddev(r), var_pop(l), var_pop(n), var_pop(f), stddev_pop(r) FROM agg_one;
-- rows differ
SELECT covar_pop(f, i), covar_samp(f, i), regr_sxx(f, i), regr_syy(f, i), regr_sxy(f, i), regr_count(f, i), regr_avgx(f, i), regr_avgy(f, i) FROM agg WHERE g = 8;
-- rows differ
SELECT corr(f, i), regr_r2(f, i), regr_slope(f, i), regr_intercept(f, i) FROM agg WHERE g = 8;
-- rows differ
SELECT g, regr_count(f, i), corr(f, i), regr_r2(f, i), regr_slope(f, i), regr_intercept(f, i), covar_samp(f, i) FROM agg WHERE g IN (3, 4, 6, 8) GROUP BY g ORDER BY g;
SELECT corr(f, i), regr_count(f, i), covar_pop(f, i), regr_sxx(f, i), regr_avgx(f, i) FROM agg_none;
SELECT corr(f, i), regr_count(f, i), covar_pop(f, i), covar_samp(f, i), regr_sxx(f, i), regr_avgx(f, i), regr_r2(f, i), regr_slope(f, i) FROM agg_one;
SELECT regr_count(n, s), regr_avgx(r, s) FROM agg WHERE g IN (5, 8);
SELECT regr_count(f, i) FILTER (WHERE g = 8), corr(f, i) FILTER (WHERE g = 8) FROM agg;
SELECT bit_and(s), bit_or(s), bit_xor(s), bit_and(i), bit_or(i), bit_xor(i), bit_and(l), bit_or(l), bit_xor(l) FROM agg;
SELECT g, bit_and(i), bit_or(l), bit_xor(s) FROM agg GROUP BY g ORDER BY g;
SELECT bit_and(x), bit_or(x), bit_xor(x) FROM agg;
SELECT g, bit_and(x), bit_or(x), bit_xor(x) FROM agg GROUP BY g ORDER BY g;
SELECT g, bit_or(x) FROM agg GROUP BY g ORDER BY 2 NULLS FIRST, 1;
SELECT bit_and(i), bit_or(x), bit_xor(l) FROM agg_none;
SELECT bit_and(i), bit_or(x), bit_xor(l) FROM agg_one;
SELECT bit_or(x || CASE WHEN id % 2 = 0 THEN B'1' ELSE B'' END) FROM agg;
SELECT count(DISTINCT i), count(DISTINCT n), count(DISTINCT t), count(DISTINCT d), count(DISTINCT ts), count(DISTINCT b), count(DISTINCT l), count(DISTINCT s) FROM agg;
SELECT count(DISTINCT f), count(DISTINCT r), count(DISTINCT v), count(DISTINCT x), count(DISTINCT m) FROM agg;
SELECT count(DISTINCT j) FROM agg;
SELECT count(DISTINCT (g, b)) FROM agg;
SELECT sum(DISTINCT s), sum(DISTINCT i), sum(DISTINCT l), avg(DISTINCT s), avg(DISTINCT i), avg(DISTINCT l) FROM agg;
SELECT g, sum(DISTINCT i), avg(DISTINCT i), count(DISTINCT i), count(*), sum(i), avg(i), max(i) FROM agg GROUP BY g ORDER BY g;
SELECT g, sum(DISTINCT f), avg(DISTINCT f), sum(DISTINCT r), avg(DISTINCT r) FROM agg GROUP BY g ORDER BY g;
SELECT count(DISTINCT t), count(t), count(*), min(t), max(t), stddev(i), bit_and(s), bool_or(b) FROM agg;
SELECT count(DISTINCT i) FILTER (WHERE b), count(DISTINCT i) FILTER (WHERE NOT b), sum(DISTINCT i) FILTER (WHERE b), count(DISTINCT i) FROM agg;
SELECT b, count(DISTINCT t) FROM agg GROUP BY b ORDER BY 2 DESC, b NULLS LAST;
SELECT b, count(DISTINCT t) FROM agg GROUP BY b ORDER BY count(DISTINCT t) DESC, b LIMIT 2;
SELECT count(DISTINCT id), count(DISTINCT g) FROM agg;
SELECT count(DISTINCT id), count(*) FROM agg;
SELECT count(DISTINCT i), sum(DISTINCT n), avg(DISTINCT f) FROM agg_none;
SELECT count(DISTINCT i), sum(DISTINCT n), avg(DISTINCT f) FROM agg_one;
SELECT max(DISTINCT i), min(DISTINCT n), bool_and(DISTINCT b), bit_or(DISTINCT s) FROM agg;
SELECT count(DISTINCT g % 3), count(DISTINCT lower(t)) FROM agg;
SELECT count(DISTINCT 1) FROM agg;
SELECT stddev(DISTINCT i), array_agg(DISTINCT g ORDER BY g) FROM agg;
SELECT sum(v), avg(v) FROM agg;
SELECT g, sum(v), avg(v) FROM agg GROUP BY g ORDER BY g;
SELECT sum(v), avg(v) FROM agg_none;
SELECT sum(v), avg(v), min(v), max(v) FROM agg_one;
SELECT sum(m), min(m), max(m) FROM agg WHERE id < 5;
SELECT g, count(*) FROM agg GROUP BY g HAVING count(*) > 1 ORDER BY g;
SELECT f, count(*) FROM agg GROUP BY f;
SELECT r, count(*) FROM agg GROUP BY r ORDER BY r;
SELECT v, count(*) FROM agg WHERE id NOT IN (9, 10, 11) GROUP BY v;
SELECT count(*), min(id) FROM agg GROUP BY v ORDER BY 2;
SELECT count(*), min(id) FROM agg GROUP BY j ORDER BY 2;
SELECT count(*), min(id) FROM agg GROUP BY ts, d ORDER BY 2;
SELECT count(*), min(id) FROM agg GROUP BY n ORDER BY 2;
SELECT count(*), min(id) FROM agg GROUP BY f ORDER BY 2;
SELECT count(*), min(id) FROM agg GROUP BY x ORDER BY 2;
SELECT count(*), min(id) FROM agg GROUP BY ARRAY[g, g + 1] ORDER BY 2;
SELECT ARRAY[n, 1.0], count(*) FROM agg WHERE g IN (1, 8) GROUP BY 1;
SELECT round(avg(i), 2), count(*) + 1, sum(i) / nullif(sum(s), 0) FROM agg WHERE g = 8;
SELECT sum(i) + sum(s) AS total, g FROM agg GROUP BY g ORDER BY total, g;
SELECT avg(i) FROM agg HAVING avg(i) > 1e6;
SELECT sum(l) FROM agg WHERE l > 0;
SELECT avg(l), sum(l) FROM agg;
SELECT sum(s::int2), sum(f), avg(r) FROM agg WHERE g = 8;
SELECT sum(n), avg(n), stddev(n) FROM agg WHERE id IN (12, 14);
SELECT string_agg(t, ',' ORDER BY t, id), array_agg(i ORDER BY id) FROM agg;
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f), mode() WITHIN GROUP (ORDER BY b) FROM agg WHERE g = 8;
SELECT g, b, sum(i), count(DISTINCT t) FROM agg GROUP BY ROLLUP (g, b) ORDER BY g, b;
SELECT g, sum(i), rank() OVER (ORDER BY sum(i) DESC NULLS LAST, g) FROM agg GROUP BY g ORDER BY g;
SELECT min(now()) = max(now()), count(DISTINCT now()) FROM agg;
SELECT count(*) FROM agg GROUP BY now();
DROP TABLE agg;
DROP TABLE agg_none;
DROP TABLE agg_one;
