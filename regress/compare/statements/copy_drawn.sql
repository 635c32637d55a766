CREATE TABLE people (id bigserial PRIMARY KEY, name text, age int DEFAULT 7) SHARD BY HASH (id);
CREATE TABLE visits (no int GENERATED ALWAYS AS IDENTITY, person bigint, note text, twice bigint GENERATED ALWAYS AS (person * 2) STORED) SHARD BY HASH (person);
CREATE TABLE marks (id smallserial PRIMARY KEY, mark text, half int DEFAULT 1 + 1) REFERENCE;
-- only plain
COPY people (name, age) FROM STDIN;
Ann	1
Bob	\N
\N	3
\.
-- only plain
COPY people (name) FROM STDIN WITH (FORMAT csv, HEADER);
name
"Cecil, the second"
"two
lines"
""

\.
-- only plain
SELECT * FROM people ORDER BY id;
-- only plain
COPY people (age, name) FROM STDIN WITH (FORMAT csv, HEADER match, DELIMITER ';', QUOTE '1', NULL '7');
age;name
7;x
8;17;1
\.
-- only plain
COPY people (age, name) FROM STDIN WITH (FORMAT csv, HEADER match);
name,age
7,x
\.
-- only plain
SELECT * FROM people ORDER BY id;
-- only plain
COPY visits (person, note) FROM STDIN;
5	a
6	b
7	c
5	d
\.
-- only plain
SELECT * FROM visits ORDER BY no;
-- only plain
COPY visits (person, note) FROM STDIN WHERE person <> 6;
6	left out
7	kept
\.
-- only plain
SELECT * FROM visits ORDER BY no;
-- only plain
COPY marks (mark) FROM STDIN (NULL '4', DELIMITER '|');
one
4
three
\.
-- only plain
SELECT * FROM marks ORDER BY id;
-- a wrong row: nothing stays
-- only plain
COPY visits (person, note) FROM STDIN;
5	a
x	b
\.
-- only plain
COPY visits (person, note) FROM STDIN;
5	a
6
\.
-- only plain
COPY people (name, age) FROM STDIN;
a	1
b	x
\.
-- only plain
SELECT count(*) FROM visits;
-- only plain
SELECT count(*), max(id) < 20 FROM people;
-- only plain
BEGIN;
-- only plain
COPY people (name) FROM STDIN;
in a block
\.
-- only plain
SELECT count(*) FROM people WHERE name = 'in a block';
-- only plain
ROLLBACK;
-- only plain
COPY people (name) FROM STDIN;
\.
-- only plain
SELECT count(*) FROM people WHERE name = 'in a block';
-- only plain
COPY people (nothing) FROM STDIN;
x
\.
ALTER SEQUENCE marks_id_seq RESTART WITH 32767;
-- only plain
COPY marks (mark) FROM STDIN;
last
one too many
\.
-- only plain
SELECT * FROM marks ORDER BY id;
-- a default is what its column makes of it
CREATE TABLE odd (id text, n bigint DEFAULT random() * 0 + 7.5, t text DEFAULT random() < 2, m numeric DEFAULT random() * 0 + 1::float8 / 3) REFERENCE;
-- only plain
COPY odd (id) FROM STDIN;
a
b
\.
-- only plain
SELECT * FROM odd ORDER BY id;
DROP TABLE odd;
DROP TABLE people;
DROP TABLE visits;
DROP TABLE marks;
