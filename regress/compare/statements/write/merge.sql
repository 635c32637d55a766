-- list insert and update
MERGE INTO users u USING (VALUES (1, 'merged'), (12001, 'new'), (3, 'merged')) v(id, name) ON u.id = v.id WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name);
-- list only update
MERGE INTO users u USING (VALUES (4, 1), (5, 2)) v(id, age) ON u.id = v.id WHEN MATCHED THEN UPDATE SET age = v.age;
-- list only insert
MERGE INTO users u USING (VALUES (4, 1), (12002, 2)) v(id, age) ON u.id = v.id WHEN NOT MATCHED THEN INSERT (id, age) VALUES (v.id, v.age);
-- list delete
MERGE INTO facts f USING (VALUES (2, 0), (2, 1)) v(k, seq) ON f.k = v.k AND f.seq = v.seq WHEN MATCHED THEN DELETE;
-- list DO NOTHING
MERGE INTO users u USING (VALUES (4, 1), (12003, 2)) v(id, age) ON u.id = v.id WHEN MATCHED THEN DO NOTHING WHEN NOT MATCHED THEN DO NOTHING;
-- list conditions
MERGE INTO users u USING (VALUES (4, 1), (5, 20), (6, 30), (12004, 4)) v(id, age) ON u.id = v.id WHEN MATCHED AND v.age > 25 THEN DELETE WHEN MATCHED AND v.age > 10 THEN UPDATE SET age = v.age WHEN NOT MATCHED AND v.age < 10 THEN INSERT (id, age) VALUES (v.id, v.age);
-- list a colocated source
MERGE INTO users u USING (SELECT user_id, count(*) AS n FROM orders GROUP BY user_id) o ON o.user_id = u.id WHEN MATCHED THEN UPDATE SET age = o.n;
-- list a source on another key
MERGE INTO users u USING (SELECT grp AS id, count(*) AS n FROM facts WHERE grp IS NOT NULL GROUP BY grp) f ON f.id = u.id WHEN MATCHED THEN UPDATE SET age = f.n WHEN NOT MATCHED THEN INSERT (id, age) VALUES (f.id, f.n);
-- list a reference source
MERGE INTO names n USING countries c ON n.name = c.name WHEN MATCHED THEN UPDATE SET n = 1 WHEN NOT MATCHED THEN INSERT VALUES (c.name, 2);
-- list a local source
MERGE INTO users u USING local_notes l ON u.id = l.id + 35 WHEN MATCHED THEN UPDATE SET name = l.body WHEN NOT MATCHED THEN INSERT (id, name) VALUES (l.id + 35, l.body);
-- list a local target
MERGE INTO local_notes l USING (VALUES (1, 'm'), (401, 'n')) v(id, body) ON l.id = v.id WHEN MATCHED THEN UPDATE SET body = v.body WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.body);
-- list a local target, a sharded source
MERGE INTO ledger l USING users u ON l.id = u.id WHEN MATCHED THEN UPDATE SET t = u.name WHEN NOT MATCHED THEN INSERT (id, t) VALUES (u.id, u.name);
-- list a reference target
MERGE INTO countries c USING (VALUES ('de', 'D'), ('pl', 'Poland')) v(code, name) ON c.code = v.code WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT VALUES (v.code, v.name, false);
-- list a reference target, a sharded source
MERGE INTO groups g USING (SELECT grp, max(sub) AS t FROM facts WHERE grp IS NOT NULL GROUP BY grp) f ON f.grp = g.grp WHEN MATCHED THEN UPDATE SET title = f.t WHEN NOT MATCHED THEN INSERT (grp, title) VALUES (f.grp, f.t);
-- list one row twice
MERGE INTO users u USING (VALUES (7, 1), (7, 2)) v(id, age) ON u.id = v.id WHEN MATCHED THEN UPDATE SET age = v.age;
-- list inserts the same twice
MERGE INTO users u USING (VALUES (12005, 1), (12005, 2)) v(id, age) ON u.id = v.id WHEN NOT MATCHED THEN INSERT (id, age) VALUES (v.id, v.age);
-- list a constant join
MERGE INTO users u USING (VALUES (8)) v(id) ON u.id = v.id AND u.age > 20 WHEN MATCHED THEN UPDATE SET name = 'old enough';
-- refused
-- list a join on another column
MERGE INTO users u USING (VALUES ('user 9', 1), ('user 10', 2), ('nobody', 3)) v(name, age) ON u.name = v.name WHEN MATCHED THEN UPDATE SET age = v.age;
-- refused
-- list a join on another column that inserts
MERGE INTO users u USING (VALUES ('user 9', 1), ('nobody', 12006)) v(name, id) ON u.name = v.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name);
-- refused
-- list changes the key
MERGE INTO users u USING (VALUES (11)) v(id) ON u.id = v.id WHEN MATCHED THEN UPDATE SET id = 12007;
-- list DEFAULT
MERGE INTO users u USING (VALUES (12, 1), (12008, 2)) v(id, age) ON u.id = v.id WHEN MATCHED THEN UPDATE SET age = DEFAULT WHEN NOT MATCHED THEN INSERT (id, age) VALUES (v.id, DEFAULT);
-- list an error
MERGE INTO users u USING (VALUES (13, 0), (14, 1), (15, 2)) v(id, age) ON u.id = v.id WHEN MATCHED THEN UPDATE SET age = 1 / v.age;
-- list WITH
WITH v AS (SELECT id + 1 AS id, name FROM users WHERE id < 4) MERGE INTO users u USING v ON u.id = v.id WHEN MATCHED THEN UPDATE SET name = v.name;
-- refused
-- list itself
MERGE INTO tree t USING tree p ON t.parent = p.id WHEN MATCHED AND p.parent IS NOT NULL THEN UPDATE SET label = p.label;
-- refused
-- list one key
MERGE INTO orders o USING (SELECT 9 AS user_id, 1 AS id) v ON o.user_id = v.user_id AND o.id = v.id AND o.user_id = 9 WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (user_id, id, note) VALUES (9, v.id, 'merged');
-- list in a transaction
BEGIN;
MERGE INTO users u USING (VALUES (16, 'tx'), (12009, 'tx')) v(id, name) ON u.id = v.id WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name);
SELECT id, name FROM users WHERE name = 'tx';
ROLLBACK;
-- list a colocated source: every clause
MERGE INTO users u USING (SELECT user_id, count(*) AS n, max(note) AS note FROM orders GROUP BY user_id) o ON o.user_id = u.id AND u.age > 5 WHEN MATCHED AND o.n > 2 THEN DELETE WHEN MATCHED AND o.n = 2 THEN UPDATE SET name = coalesce(o.note, u.name), age = u.age + o.n WHEN NOT MATCHED AND o.user_id > 40 THEN INSERT (id, name) VALUES (o.user_id, 'again') WHEN NOT MATCHED THEN DO NOTHING;
-- list a colocated table that inserts
MERGE INTO facts f USING (SELECT k, tag, w, (1000 + row_number() OVER (PARTITION BY k ORDER BY tag))::int AS seq FROM marks) m ON m.k = f.k AND f.sub = m.tag WHEN MATCHED THEN UPDATE SET n = m.w WHEN NOT MATCHED THEN INSERT (k, seq, sub, n) VALUES (m.k, m.seq, m.tag, m.w);
-- list a colocated table, by its name
MERGE INTO facts f USING marks m ON m.k = f.k AND f.sub = m.tag WHEN MATCHED THEN DELETE;
-- list a colocated source with a reference table, of some keys
MERGE INTO marks t USING (SELECT f.k, f.seq::text AS tag, g.title FROM facts f JOIN groups g ON g.grp = f.grp WHERE f.k IN (2, 3, 5, 8)) s ON t.k = s.k AND t.tag = s.tag WHEN MATCHED THEN UPDATE SET w = length(s.title) WHEN NOT MATCHED THEN INSERT VALUES (s.k, s.tag, 1);
-- list a colocated source that meets a row twice
MERGE INTO users u USING orders o ON o.user_id = u.id WHEN MATCHED THEN UPDATE SET name = o.note;
-- list a colocated source with parameters
-- params 3, 'par'
MERGE INTO facts f USING (SELECT k, w FROM marks WHERE w > %s) m ON m.k = f.k AND f.seq = 1 WHEN MATCHED THEN UPDATE SET sub = %s;
-- list itself
MERGE INTO lonely l USING (SELECT k, max(n) AS n FROM lonely GROUP BY k) m ON m.k = l.k AND m.n = l.n WHEN MATCHED AND l.n % 2 = 0 THEN DELETE WHEN MATCHED THEN UPDATE SET t = 'last';
-- list a reference table that inserts nothing
MERGE INTO facts f USING groups g ON f.k = g.grp AND f.seq < 5 WHEN MATCHED AND f.n > 10 THEN UPDATE SET sub = g.title WHEN MATCHED THEN DELETE;
