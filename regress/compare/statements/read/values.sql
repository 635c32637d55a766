-- Every type as it is sent, text and binary; expressions on them
SELECT * FROM kinds;
SELECT * FROM kinds ORDER BY id;
SELECT * FROM kinds WHERE id = 1;
SELECT * FROM kinds WHERE id IN (2, 3) ORDER BY id;
SELECT * FROM facts ORDER BY k, seq;
SELECT * FROM scripts ORDER BY id;
SELECT kinds FROM kinds WHERE id = 3;
SELECT m, m::text, ARRAY[m, 'ok'] FROM kinds ORDER BY id;
SELECT s, (s).x, (s).label, ROW(s, m) FROM kinds ORDER BY id;
SELECT p, p + 1, p::int, ARRAY[p] FROM kinds ORDER BY id;
SELECT array_agg(s ORDER BY id) FROM kinds;
SELECT array_agg(p ORDER BY id), max(p), sum(p) FROM kinds;
SELECT m FROM kinds WHERE id = 4;
SELECT ARRAY[m] FROM kinds WHERE id = 4;
SELECT s FROM kinds WHERE id = 4;
SELECT enum_range(NULL::mood), enum_first(m) FROM kinds WHERE id = 4;
SELECT id FROM kinds WHERE m = 'ok' ORDER BY id;
SELECT id FROM kinds WHERE m > 'sad' ORDER BY id;
SELECT id FROM kinds WHERE m = 'no such mood';
SELECT id FROM kinds WHERE m IN ('sad', 'happy') AND b ORDER BY id;
SELECT id FROM kinds WHERE s = ROW(1, 'a')::spot ORDER BY id;
SELECT id FROM kinds WHERE (s).x > 0 ORDER BY id;
SELECT id FROM kinds WHERE jb @> '{"a": 1}' ORDER BY id;
SELECT id, jb -> 'b' -> 1, jb #>> '{a,b}', jb ? 'a' FROM kinds ORDER BY id;
SELECT id, jsonb_typeof(jb), j::text FROM kinds ORDER BY id;
SELECT id, ia[1], array_length(ia, 1), cardinality(ta), ia || 9 FROM kinds ORDER BY id;
SELECT id FROM kinds WHERE ia @> '{1}' ORDER BY id;
SELECT id FROM kinds WHERE 'a' = ANY (ta) ORDER BY id;
SELECT id, lower(r), upper(r), isempty(r), r @> 3 FROM kinds ORDER BY id;
SELECT id, num + 1, num * 2.0, round(money2, 1), money2 / 3 FROM kinds WHERE num < 1000 AND num > -1000 ORDER BY id;
SELECT id, money2::int FROM kinds WHERE abs(money2) < 10000 ORDER BY id;
SELECT id, big::int FROM kinds ORDER BY id;
SELECT id, small + 1 FROM kinds ORDER BY id;
SELECT id, sqrt(num) FROM kinds ORDER BY id;
SELECT id, tz AT TIME ZONE 'Europe/Berlin', ts::date, extract(epoch FROM tz) FROM kinds ORDER BY id;
SET TIME ZONE 'America/New_York';
SELECT id, tz, tz::date, tz::text FROM kinds ORDER BY id;
SELECT tz::date AS dd, count(*) FROM kinds GROUP BY dd ORDER BY dd;
SELECT min(at), max(at), count(DISTINCT at::date) FROM facts;
SELECT f.k, f.at FROM facts f JOIN users u ON u.age = f.n ORDER BY f.at, 1, u.id LIMIT 8;
RESET TIME ZONE;
SET DateStyle = 'German';
SELECT id, d, tz, ts FROM kinds ORDER BY id;
SELECT id, d FROM kinds ORDER BY d, id LIMIT 9;
SELECT day, count(*) FROM facts GROUP BY day ORDER BY day LIMIT 5;
SELECT max(day), min(day) FROM facts f JOIN users u ON u.age = f.n;
RESET DateStyle;
SET IntervalStyle = 'iso_8601';
SELECT id, iv FROM kinds ORDER BY iv, id;
SELECT iv, count(*) FROM kinds GROUP BY iv ORDER BY iv;
RESET IntervalStyle;
SET bytea_output = 'escape';
SELECT id, by FROM kinds ORDER BY by, id;
SELECT DISTINCT by FROM kinds ORDER BY by;
RESET bytea_output;
SET extra_float_digits = -5;
SELECT id, f8, f4 FROM kinds ORDER BY f8, id;
SELECT sum(x), avg(x) FROM facts;
RESET extra_float_digits;
SELECT id, t, length(t), upper(t), initcap(t), reverse(t), md5(t) FROM kinds ORDER BY id;
SELECT id, v, c, c::text || '|', v = c, length(c) FROM kinds ORDER BY id;
SELECT id, coalesce(t, v, c::text, 'none'), concat_ws('-', t, v), t || v FROM kinds ORDER BY id;
SELECT id, s, normalize(s, NFC) = normalize(si, NFD), length(s), convert_to(s, 'UTF8') FROM scripts ORDER BY id;
SELECT id, by || '\x01', length(by), encode(by, 'hex'), get_byte(by || '\x05', 0) FROM kinds ORDER BY id;
SELECT id, ip, family(ip), host(ip), ip << '10.0.0.0/8' FROM kinds ORDER BY id;
SELECT id, u, bits, bits || B'1', tm, tm + interval '1 hour' FROM kinds ORDER BY id;
SELECT id, iv * 2, iv + interval '1 day', justify_interval(iv), extract(epoch FROM iv) FROM kinds ORDER BY id;
SELECT id, CASE WHEN b THEN 'yes' WHEN NOT b THEN 'no' END, b IS TRUE, b::int FROM kinds ORDER BY id;
SELECT id, d + 1, d - date '2026-01-01', to_char(ts, 'YYYY-MM-DD HH24:MI:SS.US') FROM kinds WHERE isfinite(d) AND isfinite(ts) ORDER BY id;
SELECT NULL, NULL::int, NULL::text, '' AS "", 'x' AS "?column?", 1 AS "Ü" FROM users WHERE id < 3;
SELECT id AS "a b", age AS "select", name AS "A""B" FROM users ORDER BY "a b" LIMIT 2;
SELECT id, id, id AS id FROM users ORDER BY 1 LIMIT 2;
SELECT FROM users WHERE id < 4;
SELECT FROM users;
SELECT count(*) FROM (SELECT FROM users) q;
SELECT email, email::varchar(5), score, score::numeric(5, 1) FROM users WHERE id < 6 AND score < 9000 ORDER BY id;
SELECT u.email, max(u.score) FROM users u JOIN facts f ON f.n = u.age GROUP BY u.email ORDER BY 1 LIMIT 4;
SELECT max(email), max(score), max(c), max(v) FROM users u JOIN kinds k ON k.id = u.id;
SELECT v, count(*) FROM kinds GROUP BY v ORDER BY v;
SELECT email, score FROM users UNION SELECT v, money2 FROM kinds ORDER BY 1, 2 LIMIT 8;
SELECT min(c), max(money2), min(bits) IS NULL FROM kinds WHERE false;
SELECT pg_typeof(sum(n)), pg_typeof(avg(n)), pg_typeof(max(email)), pg_typeof(min(m)) FROM facts, users WHERE id = k;
SELECT id FROM users WHERE name LIKE 'user 1_' ORDER BY id;
SELECT id FROM users WHERE tags && '{a}' ORDER BY id LIMIT 3;
SELECT id, tags[1], tags[5], tags[1:1] FROM users ORDER BY id LIMIT 4;
SELECT id, ratio, ratio::real, ratio::numeric, 1 / nullif(ratio, 0) FROM users ORDER BY id LIMIT 12;
SELECT id, age::bigint * 1000000000 * 1000000000 FROM users WHERE id < 5 ORDER BY id;
SELECT id, 1 / (age - age) FROM users ORDER BY id;
SELECT id, name::int FROM users ORDER BY id;
SELECT ts::timestamptz, tz::timestamp, d::timestamptz FROM kinds ORDER BY id;
-- params 'ok'
SELECT id, m FROM kinds WHERE m = %s::mood ORDER BY id;
-- params ['ok', 'sad']
SELECT id, m FROM kinds WHERE m = ANY (%s::mood[]) ORDER BY id;
-- params 5
SELECT id, p FROM kinds WHERE p > %s ORDER BY id;
-- params UUID('00000000-0000-0000-0000-000000000000')
SELECT id FROM kinds WHERE u = %s ORDER BY id;
-- params Decimal('1.50'), 3.5
SELECT id, num + %s, f8 * %s FROM kinds WHERE num < 100 AND num > -100 AND abs(f8) < 1e200 ORDER BY id;
-- params date(2026, 1, 1)
SELECT id, d - %s FROM kinds WHERE isfinite(d) ORDER BY id;
-- params 'ä'
SELECT id, t || %s FROM kinds ORDER BY id;
-- params None
SELECT id, coalesce(t, %s::text) FROM kinds ORDER BY id;
-- params 3, 'x'
SELECT u.id, %s::int + f.n, %s::text || f.sub FROM users u JOIN facts f ON f.n = u.age ORDER BY 1, 2, 3;
-- params 25
SELECT grp, count(*) FROM facts WHERE n > %s GROUP BY grp HAVING count(*) > 1 ORDER BY grp;
-- params 3
SELECT grp %% %s AS g, count(*) FROM facts GROUP BY g ORDER BY g;
-- params 10, 2
SELECT k, rank() OVER (ORDER BY n + %s NULLS FIRST) FROM facts WHERE seq = %s ORDER BY 2, 1;
