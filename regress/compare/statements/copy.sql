-- only plain
COPY users (id, name, age) FROM STDIN;
8001	a	1
8002	\N	2
8003	tab\tand\\back	3
8004		4
\.
-- only plain
COPY users (id, name) FROM STDIN WITH (FORMAT csv);
8011,plain
8012,"quoted, with ""quotes"""
8013,
8014,""
8015,"two
lines"
\.
-- only plain
COPY users (name, id) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'none', QUOTE '''');
name;id
'x;y';8021
none;8022
\.
-- only plain
COPY users (id, name) FROM STDIN WITH (DELIMITER '|', NULL '');
8031|a
8032|
\.
-- only plain
SELECT id, name, age FROM users WHERE id > 8000 ORDER BY id;
-- only plain
COPY users (id, name) FROM STDIN;
8041	a
x	b
\.
-- only plain
COPY users (id, name) FROM STDIN;
8051	a	too many
\.
-- only plain
COPY users (id, name) FROM STDIN;
8052
\.
-- only plain
COPY users (id, name) FROM STDIN;
\N	null key
\.
-- only plain
COPY users (id, name) FROM STDIN;
8001	twice
\.
-- only plain
COPY users (id, nothing) FROM STDIN;
8061	a
\.
-- only plain
COPY nothing FROM STDIN;
1
\.
-- only plain
-- refused
COPY users (name) FROM STDIN;
no key
\.
-- only plain
COPY users (id, name) FROM STDIN;
\.
-- only plain
SELECT count(*) FROM users;
-- only plain
COPY countries FROM STDIN;
pl	Poland	t
cz	Czechia	f
\.
-- only plain
COPY events FROM STDIN;
2026-02-10	copied	1
2026-09-10	copied	2
\.
-- only plain
COPY pairs FROM STDIN CSV;
50,"a,b",1
51,,2
\.
-- only plain
COPY pairs FROM STDIN CSV;
52,"",2
\.
-- only plain
COPY regions FROM STDIN;
de	copied	1
jp	copied	2
\.
-- only plain
COPY docs FROM STDIN;
bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb	doc	5
\.
-- only plain
COPY local_notes FROM STDIN;
200	copied
\.
-- only plain
COPY "Odd Table" ("select", "Key Col") FROM STDIN;
word	900
\.
-- only plain
COPY users TO STDOUT;
-- only plain
COPY users (id, name) TO STDOUT WITH (FORMAT csv);
-- only plain
COPY (SELECT id, name FROM users WHERE id = 7) TO STDOUT;
-- only plain
COPY (SELECT id, name FROM users) TO STDOUT WITH CSV;
-- only plain
COPY countries TO STDOUT;
-- only plain
COPY (SELECT count(*) FROM countries) TO STDOUT;
-- only plain
COPY orders TO STDOUT WITH (FORMAT csv, HEADER);
-- only plain
COPY nothing TO STDOUT;
-- only plain
COPY (SELECT count(*) FROM users) TO STDOUT;
-- only plain
COPY (SELECT id FROM users ORDER BY id) TO STDOUT;
-- only plain
BEGIN;
-- only plain
COPY users (id, name) FROM STDIN;
8101	a
8102	b
8103	c
\.
-- only plain
SELECT count(*) FROM users WHERE id > 8100;
-- only plain
ROLLBACK;
-- only plain
SELECT count(*) FROM users WHERE id > 8100;
