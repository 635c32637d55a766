-- list COPY FROM
-- only plain
COPY users (id, name, age) FROM STDIN;
14001	a	1
14002	b	2
14003	\N	\N
14004	d	4
\.
-- list COPY FROM csv
-- only plain
COPY users (id, name, age) FROM STDIN (FORMAT csv);
14011,"a, b",1
14012,"say ""x""",2
14013,,
\.
-- list COPY FROM csv with header
-- only plain
COPY pairs FROM STDIN (FORMAT csv, HEADER true);
a,b,v
601,x,1
602,"y z",
\.
-- list COPY FROM with a null text
-- only plain
COPY names FROM STDIN (NULL 'none');
copied 1	none
copied 2	5
\.
-- list COPY FROM with a delimiter
-- only plain
COPY names FROM STDIN (DELIMITER '|');
copied 3|5
copied 4|6
\.
-- list COPY FROM with a bad line
-- only plain
COPY users (id, name, age) FROM STDIN;
14021	a	1
14022	b	x
14023	c	3
\.
-- list COPY FROM with too few columns
-- only plain
COPY users (id, name, age) FROM STDIN;
14031	a	1
14032	b
\.
-- list COPY FROM with an existing key
-- only plain
COPY users (id, name) FROM STDIN;
14041	a
1	b
\.
-- list COPY FROM with a null key
-- only plain
COPY users (id, name) FROM STDIN;
14051	a
\N	b
\.
-- list COPY FROM WHERE
-- only plain
COPY names FROM STDIN WHERE n > 5;
copied 5	4
copied 6	7
\.
-- list COPY FROM into a reference table
-- only plain
COPY countries FROM STDIN;
dk	Denmark	f
fi	Finland	f
\.
-- list COPY FROM into a local table
-- only plain
COPY local_notes FROM STDIN;
501	copied
502	\N
\.
-- list COPY FROM into a range table
-- only plain
COPY levels FROM STDIN;
-100	1	a
5	2	b
5000	3	c
\.
-- refused
-- list COPY FROM without the key
-- only plain
COPY users (name, age) FROM STDIN;
a	1
\.
-- list COPY FROM in a transaction
-- only plain
BEGIN;
-- only plain
COPY names FROM STDIN;
in a transaction	1
\.
-- only plain
SELECT count(*) FROM names WHERE name = 'in a transaction';
-- only plain
ROLLBACK;
-- list COPY FROM, nothing
-- only plain
COPY names FROM STDIN;
\.
-- list TRUNCATE
TRUNCATE nothing;
TRUNCATE marks;
-- list TRUNCATE several
TRUNCATE lonely, edges;
-- list TRUNCATE reference and local
TRUNCATE rates;
TRUNCATE local_tree;
-- list TRUNCATE, rolled back
BEGIN;
TRUNCATE facts;
SELECT count(*) FROM facts;
ROLLBACK;
SELECT count(*) FROM facts;
-- list TRUNCATE and an insert
BEGIN;
TRUNCATE sites;
INSERT INTO sites VALUES (1, 1, 'a'), (3, 2, 'b'), (9, 3, 'c');
COMMIT;
-- list TRUNCATE, no such table
TRUNCATE nobody;
