-- list one row
INSERT INTO users (id, name) VALUES (1001, 'one');
-- list one row, all columns
INSERT INTO users VALUES (1002, 'two', 'two@x', 20, 1.25, '2026-01-02', true, 0.5, '{a,b}');
-- list rows of several shards
INSERT INTO users (id, name, age) VALUES (1003, 'a', 1), (1004, 'b', 2), (1005, 'c', 3), (1006, 'd', 4), (1007, 'e', 5);
-- list the key behind other columns
INSERT INTO users (name, age, id) VALUES ('x', 1, 1008), ('y', 2, 1009), ('z', 3, 1010);
-- list RETURNING
INSERT INTO users (id, name) VALUES (1011, 'r'), (1012, 's'), (1013, 't') RETURNING id, upper(name), age IS NULL;
-- list RETURNING star
INSERT INTO pairs VALUES (201, 'x', 1), (202, 'y', 2), (203, 'z', 3) RETURNING *;
-- list DEFAULT values
INSERT INTO users (id, name, age) VALUES (1014, DEFAULT, 3), (1015, 'k', DEFAULT);
-- list the key is an expression
INSERT INTO users (id, name) VALUES (1000 + 16, 'sum'), (2 * 508 + 1, 'product');
-- list the key is a cast text
INSERT INTO users (id, name) VALUES ('1018'::bigint, 'cast'), (1019::int, 'int'), ('1020', 'unknown');
-- list the key is a function
INSERT INTO users (id, name) VALUES (abs(-1021), 'abs'), (length('four') + 1018, 'length');
-- list a null key
INSERT INTO users (id, name) VALUES (NULL, 'none');
-- list one null key among others
INSERT INTO users (id, name) VALUES (1023, 'kept?'), (NULL, 'none');
-- refused
-- list no key
INSERT INTO users (name) VALUES ('none');
-- list an existing key
INSERT INTO users (id, name) VALUES (1, 'again');
-- list an existing key among new ones
INSERT INTO users (id, name) VALUES (1024, 'new'), (2, 'again'), (1025, 'new');
SELECT id FROM users WHERE id IN (1024, 1025);
-- list the same new key twice
INSERT INTO users (id, name) VALUES (1026, 'new'), (1027, 'new'), (1026, 'again');
-- list expressions
INSERT INTO users (id, name, score, joined) VALUES (1028, 'a' || 'b', 1.005 * 2, DATE '2026-01-01' + 3), (1029, upper('q'), round(2.5), NULL);
-- list a sub-select as a value
INSERT INTO users (id, name) VALUES (1030, (SELECT name FROM countries WHERE code = 'de'));
-- refused
-- list a sub-select over shards as a value
INSERT INTO users (id, age) VALUES (1031, (SELECT count(*) FROM orders)), (1032, (SELECT max(age) FROM users));
-- list wrong type
INSERT INTO users (id, age) VALUES (1033, 1), (1034, 'x');
-- list too long
INSERT INTO users (id, email) VALUES (1035, 'ok'), (1036, repeat('x', 41));
-- list numeric overflow
INSERT INTO users (id, score) VALUES (1037, 1), (1038, 123456789012);
-- list too many values
INSERT INTO users (id, name) VALUES (1039, 'a', 3);
-- list too few values
INSERT INTO users (id, name, age) VALUES (1040, 'a'), (1041, 'b');
-- list lists of different lengths
INSERT INTO users (id, name) VALUES (1042, 'a'), (1043);
-- list no such column
INSERT INTO users (id, nothing) VALUES (1044, 1);
-- list no such table
INSERT INTO nobody (id) VALUES (1);
-- list a column twice
INSERT INTO users (id, name, name) VALUES (1045, 'a', 'b');
-- list composite key
INSERT INTO pairs (a, b, v) VALUES (210, 'a', 1), (210, 'b', 2), (211, 'a', 3), (212, '', 4);
-- list composite key, a null part
INSERT INTO pairs (a, b, v) VALUES (213, NULL, 1);
-- list text keys
INSERT INTO names VALUES ('', 1), ('ä', 2), ('it''s', 3), ('日本語', 4), (E'tab\tbed', 5);
-- list uuid keys
INSERT INTO docs VALUES ('00000000-0000-0000-0000-000000000001', 'a', 1), ('{00000000000000000000000000000002}', 'b', 2), ('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'c', 3);
-- list date keys of a range table
INSERT INTO events VALUES ('2020-01-01', 'old', 1), ('2026-04-01', 'edge', 2), ('2026-03-31', 'edge', 3), ('2030-12-31', 'new', 4), ('infinity', 'end', 5);
-- list keys of a list table
INSERT INTO regions VALUES ('de', 'four', 1), ('fr', 'four', 2), ('xx', 'four', 3), ('at', 'four', 4);
-- list range keys at the bounds
INSERT INTO levels VALUES (-2147483648, 1, 'min'), (-11, 2, 'a'), (-10, 3, 'b'), (99, 4, 'c'), (100, 5, 'd'), (2147483647, 6, 'max');
-- list integer list keys
INSERT INTO sites VALUES (1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c'), (4, 4, 'd'), (-5, 5, 'e');
-- refused
-- list extreme keys
INSERT INTO users (id, name) VALUES (9223372036854775807, 'max'), (-9223372036854775808, 'min'), (0, 'zero'), (-1, 'minus');
-- refused
-- list key out of range
INSERT INTO users (id, name) VALUES (9223372036854775808, 'too big');
-- list a smaller integer key
INSERT INTO tree VALUES (1001, NULL, 'n'), (2147483648, NULL, 'too big');
-- list a decimal key
INSERT INTO users (id, name) VALUES (1046.0, 'whole'), (1047.4, 'rounded');
-- list every type
INSERT INTO kinds (id, small, big, num, money2, f4, f8, t, v, c, b, d, ts, tz, tm, iv, u, by, j, jb, ia, ta, m, r, ip, bits, p, s) VALUES
(3001, 1, 2, 3.5, 4.25, 1.5, 2.5, 't', 'v', 'c', true, '2026-01-01', '2026-01-01 01:00', '2026-01-01 01:00+02', '10:00', '1 day', '00000000-0000-0000-0000-00000000000f',
'\x00ff', '{"a": 1}', '{"b": [1, 2]}', '{1,2}', '{a,"b c"}', 'ok', '[1,5)', '10.0.0.1', '101', 5, '(1,a)'),
(3002, -1, -2, 'NaN', -4.25, 'Infinity', '-Infinity', '', '', '', false, 'infinity', '-infinity', 'infinity', '24:00', '-1 mon', NULL,
'', 'null', '[]', '{}', '{}', 'sad', 'empty', '::1', '', 1, '(,)');
-- list enum that is none
INSERT INTO kinds (id, m) VALUES (3003, 'ok'), (3004, 'angry');
-- list domain check
INSERT INTO kinds (id, p) VALUES (3005, 5), (3006, -5);
-- list rows of one shard only
INSERT INTO orders (id, user_id, status) VALUES (5001, 7, 'a'), (5002, 7, 'b'), (5003, 7, 'c');
-- list rows of colocated tables in a transaction
BEGIN;
INSERT INTO users (id, name) VALUES (1048, 'with orders');
INSERT INTO orders (id, user_id) VALUES (5004, 1048), (5005, 1048);
INSERT INTO items VALUES (1048, 5004, 1, 1, 1), (1048, 5005, 1, 2, 2);
COMMIT;
SELECT count(*) FROM users u JOIN orders o ON o.user_id = u.id JOIN items i ON i.user_id = o.user_id AND i.order_id = o.id WHERE u.id = 1048;
-- refused
-- list DEFAULT VALUES
INSERT INTO users DEFAULT VALUES;
-- list a local table
INSERT INTO local_notes VALUES (101, 'a'), (102, 'b') RETURNING id;
-- list schema-qualified
INSERT INTO public.users (id, name) VALUES (1049, 'q'), (1050, 'r');
INSERT INTO other.users VALUES (101, 'other'), (102, 'others');
-- list an alias
INSERT INTO users AS u (id, name) VALUES (1051, 'alias'), (1052, 'alias') RETURNING u.id, u.name;
-- list OVERRIDING
INSERT INTO users (id, name) OVERRIDING SYSTEM VALUE VALUES (1053, 'o'), (1054, 'p');
-- list params
-- params 1055, 'p'
INSERT INTO users (id, name) VALUES (%s, %s);
-- params 1056, 'p', 1057, None
INSERT INTO users (id, name) VALUES (%s, %s), (%s, %s);
-- list quoted names
INSERT INTO "Odd Table" ("Key Col", "select", "a""b") VALUES (101, 'q', 1), (102, 'r', 2) RETURNING "select";
-- list many rows
INSERT INTO edges SELECT 100 + g, g, g FROM generate_series(1, 50) g;
-- list many rows of VALUES
INSERT INTO tree VALUES (1101, 1, 'a'), (1102, 1, 'b'), (1103, 2, 'c'), (1104, 2, 'd'), (1105, 3, 'e'), (1106, 3, 'f'), (1107, 4, 'g'), (1108, 4, 'h'), (1109, 5, 'i'), (1110, 5, 'j');
-- list set operations of VALUES
INSERT INTO names VALUES ('u1', 1), ('u2', 2) RETURNING n;
-- list with a WITH query
WITH v AS (SELECT 1060 AS id, 'with' AS name) INSERT INTO users (id, name) SELECT id, name FROM v;
-- list a WITH query of VALUES
WITH v (id, name) AS (VALUES (1061, 'a'), (1062, 'b'), (1063, 'c')) INSERT INTO users (id, name) SELECT id, name FROM v RETURNING id;
