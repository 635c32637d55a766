-- Where keys may be taken from, and where they may not
SELECT id, age FROM users WHERE id = 5 OR age = 30 ORDER BY id;
SELECT id FROM users WHERE (id = 5 OR id = 6) AND (id = 6 OR id = 7) ORDER BY id;
SELECT id FROM users WHERE (id = 5 AND age IS NULL) OR (id = 6 AND age IS NOT NULL) ORDER BY id;
SELECT id FROM users WHERE id = 5 AND (age = 1 OR true) ORDER BY id;
SELECT id FROM users WHERE NOT (id <> 5 OR age = -1);
SELECT id FROM users WHERE NOT (id = 5) AND id < 8 ORDER BY id;
SELECT count(*) FROM users WHERE NOT (id = 5 AND age > 0);
SELECT count(*) FROM users WHERE (id = 5) IS NOT FALSE;
SELECT count(*) FROM users WHERE (id = 5) IS UNKNOWN;
SELECT count(*) FROM users WHERE (id = 5) <> true;
SELECT count(*) FROM users WHERE coalesce(id = 5, true);
SELECT count(*) FROM users WHERE CASE WHEN age > 40 THEN id = 5 ELSE true END;
SELECT count(*) FROM users WHERE CASE id WHEN 5 THEN true ELSE age = 40 END;
SELECT id FROM users WHERE id = CASE WHEN 1 = 1 THEN 5 ELSE 6 END;
SELECT id FROM users WHERE id = CASE WHEN age > 40 THEN 5 ELSE 6 END ORDER BY id;
SELECT id FROM users WHERE id = coalesce(NULL, 5);
SELECT id FROM users WHERE id = coalesce(age, 5) ORDER BY id;
SELECT id FROM users WHERE id = nullif(5, 5);
SELECT id FROM users WHERE id = greatest(3, 5);
SELECT id FROM users WHERE id = abs(-5) AND id = 5;
SELECT id FROM users WHERE id = 10 / 2;
SELECT id FROM users WHERE id = 11 / 2;
SELECT id FROM users WHERE id = 5 % 7;
SELECT id FROM users WHERE id = 1 / 0;
SELECT id FROM users WHERE id = 2147483647 + 1;
SELECT id FROM users WHERE id = 2147483648 + 1;
SELECT id FROM users WHERE -id = -5;
SELECT id FROM users WHERE id * 1 = 5;
SELECT id FROM users WHERE id::text = '5';
SELECT id FROM users WHERE id::int = 5;
SELECT id FROM users WHERE id::numeric = 5.0;
SELECT id FROM users WHERE id = 5.0::numeric;
SELECT id FROM users WHERE id = 5::real;
SELECT id FROM users WHERE id = '5'::int::bigint;
SELECT id FROM users WHERE id = '  5  '::bigint;
SELECT id FROM users WHERE id = 5::oid::bigint;
SELECT id FROM users WHERE id = '5'::text::bigint;
SELECT id FROM users WHERE id = cast(5.4 AS bigint);
SELECT id FROM users WHERE id = cast(5.5 AS bigint);
SELECT id FROM users WHERE id = 5::positive;
SELECT id FROM users WHERE id = -5::positive;
SELECT id FROM users WHERE id IS NOT DISTINCT FROM 5;
SELECT count(*) FROM users WHERE id IS DISTINCT FROM 5;
SELECT count(*) FROM users WHERE id IS NOT DISTINCT FROM NULL;
SELECT id FROM users WHERE id = NULL OR id = 5;
SELECT id FROM users WHERE id IN (5, NULL);
SELECT count(*) FROM users WHERE id NOT IN (5, NULL);
SELECT count(*) FROM users WHERE id <> ALL ('{5,NULL}');
SELECT count(*) FROM users WHERE id = ANY (NULL::bigint[]);
SELECT count(*) FROM users WHERE id = ANY ('{}'::bigint[]);
SELECT id FROM users WHERE id = ANY ('{5,6}'::bigint[]) AND id = ANY ('{6,7}'::bigint[]);
SELECT id FROM users WHERE id = ANY ('{{5,6},{7,8}}'::bigint[]) ORDER BY id;
SELECT id FROM users WHERE id = ANY (ARRAY[5, 6]::int[]) ORDER BY id;
SELECT id FROM users WHERE id = ANY (string_to_array('5,6', ',')::bigint[]) ORDER BY id;
SELECT id FROM users WHERE id = SOME (ARRAY[5, 5 + 1]) ORDER BY id;
SELECT id FROM users WHERE id = ALL (ARRAY[5, 5]);
SELECT count(*) FROM users WHERE id = ALL ('{}'::bigint[]);
SELECT id FROM users WHERE id >= 5 AND id <= 5;
SELECT id FROM users WHERE id BETWEEN 5 AND 5;
SELECT id FROM users WHERE id BETWEEN SYMMETRIC 6 AND 5 ORDER BY id;
SELECT id FROM users WHERE id = 5 AND id = 6;
SELECT count(*) FROM users WHERE id = 5 AND id = 6;
SELECT id, age FROM users WHERE id = 5 AND id = 6 AND nothing_here = 1;
SELECT age, count(*), sum(age) FROM users WHERE id = 5 AND id = 6 GROUP BY age;
SELECT sum(age), max(name), count(*), array_agg(id) FROM users WHERE id = 5 AND id = 6;
SELECT id FROM users WHERE id = 5 AND id IS NULL;
SELECT id FROM users WHERE id = 5 AND NULL;
SELECT id FROM users WHERE id = 5 AND false;
SELECT id FROM users WHERE (id, age) = (5, age);
SELECT id FROM users WHERE (id, 1) = (5, 1);
SELECT id FROM users WHERE ROW(id) = ROW(5);
SELECT id FROM users WHERE (id, id) = (5, 6);
SELECT id FROM users WHERE (id, age) IS NOT DISTINCT FROM (5, age);
SELECT id FROM users WHERE (id, age) < (3, 0) ORDER BY id;
SELECT tenant, code, id FROM stock WHERE tenant = 3 AND code = 'a' ORDER BY id;
SELECT tenant, code, id FROM stock WHERE (tenant, code) = (3, 'a') ORDER BY id;
SELECT tenant, code, id FROM stock WHERE (code, tenant) IN (('a', 3), ('b', 4)) ORDER BY 1, 2, 3;
SELECT tenant, code, id FROM stock WHERE (tenant, code, id) IN ((3, 'a', 0), (3, 'b', 1), (3, NULL, 0)) ORDER BY 1, 2, 3;
SELECT tenant, code, id FROM stock WHERE tenant = 3 AND code IN ('a', 'ç') ORDER BY 1, 2, 3;
SELECT tenant, code, id FROM stock WHERE tenant = ANY ('{1,3}') AND code = ANY ('{a,b}') ORDER BY 1, 2, 3;
SELECT tenant, code, id FROM stock WHERE tenant = 3 OR code = 'a' ORDER BY 1, 2, 3;
SELECT count(*) FROM stock WHERE tenant = 3 AND code = 'a' OR tenant = 4 AND code = 'b';
SELECT count(*) FROM stock WHERE tenant = 3 AND code > 'a';
SELECT count(*) FROM stock WHERE tenant = id AND code = 'a';
SELECT count(*) FROM stock a JOIN stock b ON a.tenant = b.tenant AND a.code = b.code WHERE a.tenant = 3 AND b.code = 'a';
SELECT u.id, f.seq FROM users u JOIN facts f ON f.k = u.id AND u.id = 5 ORDER BY 2;
SELECT u.id, f.seq FROM users u JOIN facts f ON f.k = u.id WHERE f.k = 5 ORDER BY 2;
SELECT u.id, f.seq FROM users u LEFT JOIN facts f ON f.k = u.id AND f.k = 5 ORDER BY 1, 2 LIMIT 12;
SELECT u.id, f.seq FROM users u LEFT JOIN facts f ON f.k = u.id AND u.id = 5 ORDER BY 1, 2 LIMIT 12;
SELECT u.id, f.seq FROM users u RIGHT JOIN facts f ON f.k = u.id AND f.k = 5 ORDER BY f.k, 2, 1 LIMIT 12;
SELECT u.id, f.seq FROM users u LEFT JOIN facts f ON f.k = u.id WHERE u.id = 5 ORDER BY 2;
SELECT u.id, f.seq FROM users u LEFT JOIN facts f ON f.k = 5 WHERE u.id = 5 ORDER BY 2;
-- refused
SELECT u.id, f.seq FROM users u LEFT JOIN facts f ON f.k = 6 WHERE u.id = 5 ORDER BY 2;
SELECT u.id, f.seq FROM users u FULL JOIN facts f ON f.k = u.id AND u.id = 5 WHERE u.id < 8 OR f.k < 8 ORDER BY 1, f.k, 2;
SELECT u.id, f.seq FROM users u FULL JOIN facts f ON f.k = u.id WHERE u.id = 5 ORDER BY 1, 2;
-- refused
SELECT u.id, f.k FROM users u CROSS JOIN facts f WHERE u.id = 5 AND f.k = 6 AND f.seq = 0;
SELECT u.id, f.k FROM users u, facts f WHERE u.id = 5 AND f.k = 5 ORDER BY f.seq;
-- refused
SELECT u.id FROM users u JOIN facts f ON f.k + 0 = u.id AND f.k = 5 ORDER BY 1, f.seq;
-- refused
SELECT u.id FROM users u JOIN facts f ON f.k = u.id OR u.id = 5 WHERE f.k = 5 ORDER BY 1, f.seq;
SELECT (SELECT id FROM users WHERE id = 5), count(*) FROM facts WHERE k = 5;
-- refused
SELECT (SELECT id FROM users WHERE id = 5), count(*) FROM facts WHERE k = 6;
-- refused
SELECT (SELECT count(*) FROM users WHERE id = 5) FROM users WHERE id < 4;
SELECT id FROM users WHERE id IN (SELECT 5);
-- refused
SELECT id FROM users WHERE id = (SELECT k FROM facts WHERE k = 5 AND seq = 0);
SELECT id FROM users WHERE id IN (SELECT k FROM facts WHERE k = 5);
-- refused
SELECT id FROM users WHERE id NOT IN (SELECT k FROM facts WHERE k = 5) AND id < 9 ORDER BY id;
-- refused
SELECT id FROM users u WHERE EXISTS (SELECT 1 FROM facts WHERE k = 5) AND id < 4 ORDER BY id;
SELECT id FROM users u WHERE EXISTS (SELECT 1 FROM facts WHERE k = u.id AND u.id = 5);
-- refused
SELECT id FROM users u WHERE EXISTS (SELECT 1 FROM facts u WHERE u.k = 5) AND u.id = 6;
-- refused
SELECT id FROM users WHERE EXISTS (SELECT 1 FROM facts WHERE id = 5) ORDER BY id;
SELECT count(*) FROM (SELECT id FROM users WHERE id = 5) s;
SELECT count(*) FROM (SELECT id FROM users) s WHERE id = 5;
SELECT count(*) FROM (SELECT id AS k FROM users) s JOIN facts USING (k) WHERE k = 5;
SELECT count(*) FROM (SELECT id + 1 AS id FROM users) s WHERE id = 5;
SELECT count(*) FROM (SELECT age AS id FROM users) s WHERE id = 50;
-- refused
SELECT count(*) FROM (SELECT id FROM users LIMIT 200) s WHERE id = 5;
-- refused
SELECT * FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM users) s WHERE id = 5;
-- refused
SELECT * FROM (SELECT id, count(*) OVER () AS n FROM users) s WHERE id = 5;
-- refused
SELECT * FROM (SELECT DISTINCT ON (active) active, id FROM users ORDER BY active, id) s WHERE id = 5;
-- refused
SELECT * FROM (SELECT max(id) AS id FROM users) s WHERE id = 5;
-- refused
SELECT * FROM (SELECT id FROM users UNION ALL SELECT k FROM facts) s WHERE id = 5;
SELECT * FROM (SELECT id FROM users WHERE id = 5 UNION ALL SELECT k FROM facts WHERE k = 5) s;
-- refused
SELECT id FROM users WHERE id = 5 UNION SELECT k FROM facts WHERE k = 6 ORDER BY 1;
SELECT id FROM users WHERE id = 5 EXCEPT SELECT k FROM facts WHERE k = 5;
-- refused
SELECT id FROM users EXCEPT SELECT k FROM facts WHERE k = 5 ORDER BY 1 LIMIT 6;
WITH x AS (SELECT * FROM users WHERE id = 5) SELECT id, age FROM x;
WITH x AS (SELECT * FROM users) SELECT id, age FROM x WHERE id = 5;
WITH x AS (SELECT * FROM users WHERE id = 5) SELECT count(*) FROM x, facts WHERE k = 5;
-- refused
WITH x AS (SELECT * FROM users WHERE id = 5) SELECT count(*) FROM x, facts WHERE k = 6;
WITH users AS (SELECT 1 AS id) SELECT * FROM users WHERE id = 5;
WITH users AS (SELECT id FROM public.users WHERE id < 3) SELECT * FROM users WHERE id = 2;
WITH x AS MATERIALIZED (SELECT id FROM users) SELECT count(*) FROM x WHERE id = 5;
WITH x AS (SELECT 5 AS k) SELECT id FROM users WHERE id = (SELECT k FROM x);
SELECT count(*) FROM users WHERE id = 5 HAVING count(*) > 0;
SELECT count(*) FILTER (WHERE id = 5) FROM users;
SELECT sum(CASE WHEN id = 5 THEN 1 ELSE 0 END) FROM users;
SELECT id = 5 FROM users WHERE id < 7 ORDER BY id;
SELECT id FROM users ORDER BY id = 5 DESC, id LIMIT 4;
SELECT id FROM users GROUP BY id HAVING id = 5;
SELECT k, count(*) FROM facts GROUP BY k HAVING k = 5 AND count(*) >= 0;
SELECT id FROM users WHERE id = (5);
SELECT id FROM users WHERE ((id) = ((5)));
SELECT id FROM users WHERE 5 IN (id, age) ORDER BY id;
SELECT id FROM users WHERE 5 = ANY (ARRAY[id, age]) ORDER BY id;
SELECT id FROM users WHERE id = 5 COLLATE "C";
SELECT n FROM names WHERE name = 'n0 alpha' COLLATE "C";
SELECT n FROM names WHERE name = 'n0 alpha' COLLATE "en-x-icu";
SELECT n FROM names WHERE name = 'n0' || ' alpha';
SELECT n FROM names WHERE name = lower('N0 ALPHA');
SELECT n FROM names WHERE name = concat('n0', ' ', 'alpha');
SELECT n FROM names WHERE name LIKE 'n0 alpha';
SELECT n FROM names WHERE name ~ '^n0 alpha$';
SELECT n FROM names WHERE name SIMILAR TO 'n0 alpha';
SELECT n FROM names WHERE starts_with(name, 'n0 a');
SELECT n FROM names WHERE name = 'n0 alpha'::bpchar;
SELECT n FROM names WHERE name = 'n0 alpha'::varchar(4);
SELECT n FROM names WHERE name::varchar(2) = 'n0';
SELECT id FROM docs WHERE id = gen_random_uuid();
SELECT count(*) FROM docs WHERE id::text > '8';
SELECT id FROM users WHERE id = (random() * 0)::int + 5;
SELECT id FROM users WHERE id = floor(random())::bigint + 5;
SELECT count(*) FROM users WHERE random() < 2;
SELECT count(*) FROM users WHERE now() > '2000-01-01';
SELECT id FROM users WHERE id = extract(epoch FROM timestamptz '1970-01-01 00:00:05+00')::bigint;
SELECT id FROM users WHERE id = length(current_user) + 2 ORDER BY 1;
SELECT id FROM users WHERE joined = (current_date - current_date) + date '2025-01-01' ORDER BY id;
-- names that lead elsewhere
SELECT id, who FROM other.users WHERE id = 5;
SELECT u.id, o.who FROM users u JOIN other.users o ON o.id = u.id WHERE u.id < 4 ORDER BY 1;
SELECT count(*) FROM other.users;
SET search_path TO other, public;
SELECT who FROM users WHERE id = 5;
SELECT count(*) FROM users;
SELECT name FROM public.users WHERE id = 5;
SELECT count(*) FROM users JOIN public.users p USING (id);
RESET search_path;
SELECT count(*) FROM users;
SET search_path TO '';
SELECT count(*) FROM users;
SELECT count(*) FROM other.users WHERE id = 5;
SET search_path TO "$user", public;
SELECT count(*) FROM users;
RESET search_path;
SELECT USERS.ID FROM Users WHERE uSERS.iD = 5;
SELECT "users"."id" FROM "public"."users" WHERE "id" = 5;
SELECT "ID" FROM users WHERE id = 5;
SELECT app.public.users.id FROM users WHERE id = 5;
SELECT id FROM app.public.users WHERE id = 5;
-- refused
SELECT id FROM elsewhere.public.users WHERE id = 5;
SELECT "Odd Table"."Key Col" FROM "Odd Table" WHERE "Odd Table"."Key Col" = 5;
SELECT x."k e y" FROM (SELECT "Key Col" AS "k e y" FROM "Odd Table") x WHERE x."k e y" = 5;
SELECT u FROM (SELECT id FROM users) u(u) WHERE u = 5;
SELECT users FROM (SELECT 5) users(id);
SELECT s.* FROM users s(a, b, c) WHERE a = 5;
SELECT s.id FROM users s(a, b, c) WHERE a = 5;
-- ranges and lists
SELECT lv, count(*) FROM levels WHERE lv = -10 GROUP BY lv;
SELECT count(*) FROM levels WHERE lv < -10;
SELECT count(*) FROM levels WHERE lv <= -10;
SELECT count(*) FROM levels WHERE lv > -10 AND lv < 100;
SELECT count(*) FROM levels WHERE lv >= 100;
SELECT count(*) FROM levels WHERE lv BETWEEN -11 AND 0;
SELECT count(*) FROM levels WHERE lv > 100 AND lv < -100;
SELECT count(*) FROM levels WHERE lv > 2147483647;
SELECT count(*) FROM levels WHERE lv > 21474836470;
SELECT count(*) FROM levels WHERE lv < 99.5;
SELECT count(*) FROM levels WHERE lv > -10.5;
SELECT count(*) FROM levels WHERE lv = 99.5;
SELECT count(*) FROM levels WHERE lv < 'x';
SELECT count(*) FROM levels WHERE NOT lv < 100;
SELECT count(*) FROM levels WHERE lv < 0 OR lv > 100;
SELECT count(*) FROM levels WHERE lv < NULL;
SELECT count(*) FROM levels WHERE lv IN (-10, 100, NULL);
SELECT count(*) FROM levels WHERE lv < ALL ('{100,50}');
SELECT count(*) FROM levels WHERE lv > ANY ('{100,50}');
SELECT count(*) FROM levels WHERE lv::bigint < 0;
SELECT count(*) FROM levels WHERE lv + 0 < 0;
SELECT site, count(*) FROM sites WHERE site IN (1, 3) GROUP BY site ORDER BY site;
SELECT count(*) FROM sites WHERE site = 77;
SELECT count(*) FROM sites WHERE site <> 3;
SELECT count(*) FROM sites WHERE site = 3 AND site = 1;
SELECT count(*) FROM sites WHERE site > 2;
SELECT a.n, b.n FROM sites a JOIN sites b ON a.site = b.site AND a.site = 3 ORDER BY 1, 2;
SELECT count(*) FROM levels a JOIN levels b ON a.lv = b.lv;
-- refused
SELECT count(*) FROM levels a JOIN sites b ON a.lv = b.site;
SELECT count(*) FROM lonely WHERE k = 7;
SELECT count(*), min(n), max(n) FROM lonely;
SELECT count(*) FROM lonely WHERE k = 8;
SELECT l.n FROM lonely l JOIN users u ON u.id = l.k ORDER BY 1;
SELECT * FROM nothing;
SELECT * FROM nothing WHERE id = 1;
SELECT count(*), sum(n), max(t), sum(amount) FROM nothing;
SELECT n, count(*) FROM nothing GROUP BY n;
SELECT * FROM nothing ORDER BY n LIMIT 3;
-- refused
SELECT u.id, x.id FROM users u LEFT JOIN nothing x ON x.id = u.age WHERE u.id < 3 ORDER BY 1;
