-- params 9
SELECT id, name FROM users WHERE id = %s;
-- params 40000
SELECT id, name FROM users WHERE id = %s;
-- params 5000000000
SELECT id, name FROM users WHERE id = %s;
-- params -1
SELECT id, name FROM users WHERE id = %s;
-- params '9'
SELECT id, name FROM users WHERE id = %s;
-- params ' 9 '
SELECT id, name FROM users WHERE id = %s;
-- params 'x'
SELECT id, name FROM users WHERE id = %s;
-- params ''
SELECT id, name FROM users WHERE id = %s;
-- params Decimal('9')
SELECT id, name FROM users WHERE id = %s;
-- params Decimal('9.0')
SELECT id, name FROM users WHERE id = %s;
-- params Decimal('9.5')
SELECT id, name FROM users WHERE id = %s;
-- params 9.0
SELECT id, name FROM users WHERE id = %s;
-- params None
SELECT id, name FROM users WHERE id = %s;
-- params True
SELECT id, name FROM users WHERE id = %s;
-- params 9
SELECT id, name FROM users WHERE id = %s::bigint;
-- params '9'
SELECT id, name FROM users WHERE id = %s::bigint;
-- params 9
SELECT id, name FROM users WHERE id = %s::text::bigint;
-- params 9
SELECT id, name FROM users WHERE id::text = %s::text;
-- params 9, 12
SELECT id, name FROM users WHERE id IN (%s, %s) ORDER BY id;
-- params 9, None
SELECT id, name FROM users WHERE id IN (%s, %s) ORDER BY id;
-- params [9, 12, 30]
SELECT id, name FROM users WHERE id = ANY (%s) ORDER BY id;
-- params [9, None, 5000000000]
SELECT id, name FROM users WHERE id = ANY (%s) ORDER BY id;
-- params []
SELECT id, name FROM users WHERE id = ANY (%s) ORDER BY id;
-- params ['9', '12']
SELECT id, name FROM users WHERE id = ANY (%s::bigint[]) ORDER BY id;
-- params [9, 12, 30]
SELECT count(*) FROM users WHERE id <> ALL (%s);
-- params 9, 9
SELECT u.id, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.id = %s AND o.user_id = %s ORDER BY 2;
-- params 9, 12
SELECT u.id, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.id = %s AND o.user_id = %s ORDER BY 2;
-- params 'n3 delta'
SELECT * FROM names WHERE name = %s;
-- params 'n4 épsilon'
SELECT * FROM names WHERE name = %s;
-- params 'blank '
SELECT * FROM names WHERE name = %s;
-- params ['n3 delta', 'n4 épsilon', None]
SELECT * FROM names WHERE name = ANY (%s) ORDER BY name;
-- params ['n3 delta', 'a"b', 'c\\d', 'null', '']
SELECT * FROM names WHERE name = ANY (%s) ORDER BY name;
-- params 3, 'x'
SELECT * FROM pairs WHERE a = %s AND b = %s;
-- params 3000000000, 'x'
SELECT * FROM pairs WHERE a = %s AND b = %s;
-- params Decimal('3'), 'x'
SELECT * FROM pairs WHERE a = %s AND b = %s;
-- params [1, 2, 3], ['x', 'y']
SELECT * FROM pairs WHERE a = ANY (%s) AND b = ANY (%s) ORDER BY a, b;
-- params date(2026, 4, 1)
SELECT count(*) FROM events WHERE day < %s;
-- params date(2026, 1, 5)
SELECT count(*) FROM events WHERE day = %s;
-- params '2026-04-01'
SELECT count(*) FROM events WHERE day >= %s;
-- params '1.4.2026'
SELECT count(*) FROM events WHERE day >= %s AND day < '2030-01-01';
-- params datetime(2026, 4, 1, 12, 30)
SELECT count(*) FROM events WHERE day < %s;
-- params date(2026, 2, 1), date(2026, 5, 1)
SELECT count(*), sum(n) FROM events WHERE day BETWEEN %s AND %s;
-- params None, date(2026, 5, 1)
SELECT count(*), sum(n) FROM events WHERE day BETWEEN %s AND %s;
-- params 'de'
SELECT city FROM regions WHERE code = %s ORDER BY 1;
-- params ['de', 'it']
SELECT city FROM regions WHERE code = ANY (%s) ORDER BY code, 1;
-- params UUID('bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb'), 'doc'
INSERT INTO docs (id, body) VALUES (%s, %s);
-- params UUID('bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb')
SELECT * FROM docs WHERE id = %s;
-- params 'BBBBBBBB-BBBB-BBBB-BBBB-BBBBBBBBBBBB'
SELECT * FROM docs WHERE id = %s;
-- params [UUID('bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb')]
SELECT * FROM docs WHERE id = ANY (%s);
-- params 3, 2
SELECT id FROM users ORDER BY id LIMIT %s OFFSET %s;
-- params -1
SELECT id FROM users ORDER BY id LIMIT %s;
-- params -1
SELECT id FROM users ORDER BY id OFFSET %s;
-- params None, 110
SELECT id FROM users ORDER BY id LIMIT %s OFFSET %s;
-- params 40, 3
SELECT active, count(*) FROM users WHERE age > %s GROUP BY active ORDER BY 1 LIMIT %s;
-- params 10
SELECT id %% %s AS m, count(*) FROM users GROUP BY m ORDER BY m;
-- params 10, 10
SELECT id %% %s AS m, count(*) FROM users GROUP BY id %% %s ORDER BY 1;
-- params 'paid'
SELECT count(*), sum(amount) FROM orders WHERE status = %s;
-- params 1
SELECT sum(amount), count(*) FILTER (WHERE user_id > %s) FROM orders;
-- params 7101, 'a', 7102, 'b', 7103, 'c'
-- in order
INSERT INTO users (id, name) VALUES (%s, %s), (%s, %s), (%s, %s) RETURNING id, name;
-- params 7104, 'd', 30
-- in order
INSERT INTO users (id, name, age) VALUES (%s, %s, %s), (7105, 'e', 1), (7106, 'f', 2), (7107, 'g', 3) RETURNING id, age;
-- params '7108', 'd', None, 7109
-- refused
INSERT INTO users (id, name, age) VALUES (%s, %s, %s), (%s, 'e', 1);
-- params None, 7110
INSERT INTO users (id) VALUES (%s), (%s);
-- params Decimal('7111'), 7112
INSERT INTO users (id) VALUES (%s), (%s);
-- params 7101, 'again'
INSERT INTO users (id, name) VALUES (%s, %s), (7102, 'again too') ON CONFLICT (id) DO UPDATE SET name = excluded.name RETURNING name;
-- params 50, [7101, 7102, 7103]
UPDATE users SET age = %s WHERE id = ANY (%s) RETURNING id;
-- params 51, 7101
UPDATE users SET age = %s WHERE id = %s RETURNING id;
-- params 51, 7101.0
UPDATE users SET age = %s WHERE id = %s RETURNING id;
-- params 'x'
UPDATE users SET age = 1 WHERE id = %s;
-- params 50
UPDATE users SET age = age + 1 WHERE age = %s;
-- params 'xx', 'Land', True
INSERT INTO countries VALUES (%s, %s, %s) RETURNING code;
-- params 'xx'
DELETE FROM countries WHERE code = %s RETURNING *;
-- params date(2026, 3, 3), 'p', 1, date(2026, 9, 9), 'p', 2
INSERT INTO events VALUES (%s, %s, %s), (%s, %s, %s);
-- params '2026-03-04', 'p', 1, '2026-09-10', 'p', 2
INSERT INTO events VALUES (%s, %s, %s), (%s, %s, %s);
-- params '4.3.2026', 'q', 1
-- refused
INSERT INTO events VALUES (%s, %s, %s);
-- params [7101, 7102, 7103, 7104]
DELETE FROM users WHERE id = ANY (%s) RETURNING id, age;
-- params 7000
DELETE FROM users WHERE id > %s;
