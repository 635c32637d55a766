-- Joins of every kind: colocated, reference, on other columns, with local tables
SELECT count(*) FROM users u JOIN facts f ON f.k = u.id JOIN marks m ON m.k = f.k;
SELECT u.id, f.seq, m.tag FROM users u LEFT JOIN facts f ON f.k = u.id LEFT JOIN marks m ON m.k = u.id ORDER BY 1, 2, 3 LIMIT 30;
SELECT f.k, m.tag FROM facts f FULL JOIN marks m ON m.k = f.k AND f.seq = 0 ORDER BY f.k, m.k, 2 LIMIT 60;
SELECT f.k, m.tag FROM facts f RIGHT JOIN marks m USING (k) ORDER BY 1, 2, f.seq LIMIT 40;
SELECT count(*), count(f.k), count(m.k) FROM facts f FULL JOIN marks m ON m.k = f.k;
-- refused
SELECT k, count(*) FROM facts FULL JOIN marks USING (k) GROUP BY k ORDER BY k;
SELECT count(*) FROM facts NATURAL JOIN marks;
-- refused
SELECT count(*) FROM users u JOIN facts f ON f.n = u.age;
-- refused
SELECT u.id, f.k, f.seq FROM users u JOIN facts f ON f.n = u.age ORDER BY 1, 2, 3;
-- refused
SELECT u.id, f.k FROM users u LEFT JOIN facts f ON f.n = u.age AND f.flag ORDER BY 1, 2, f.seq;
-- refused
SELECT u.id, f.k FROM users u RIGHT JOIN facts f ON f.n = u.age ORDER BY 2, f.seq, 1;
-- refused
SELECT u.id, f.k FROM users u FULL JOIN facts f ON f.n = u.age ORDER BY 1, 2, f.seq;
-- refused
SELECT count(*) FROM users u JOIN facts f ON f.n < u.age WHERE u.id < 10;
-- refused
SELECT count(*) FROM users a CROSS JOIN users b;
-- refused
SELECT count(*) FROM users a, marks b WHERE a.age > b.w + 80;
-- refused
SELECT a.id, b.id FROM users a JOIN users b ON a.age = b.age AND a.id < b.id ORDER BY 1, 2;
-- refused
SELECT a.k, b.k FROM marks a JOIN marks b ON a.tag = b.tag AND a.w = b.w AND a.k < b.k ORDER BY 1, 2, a.tag;
-- refused
SELECT count(*) FROM users a JOIN users b ON a.id = b.id + 1;
-- refused
SELECT count(*) FROM users a JOIN users b ON a.id + 0 = b.id;
-- refused
SELECT count(*) FROM stock a JOIN stock b ON a.tenant = b.tenant;
-- refused
SELECT a.tenant, a.id, b.code FROM stock a JOIN stock b ON a.tenant = b.tenant AND a.code < b.code AND a.id = b.id ORDER BY 1, 2, 3, a.code;
SELECT count(*) FROM stock a JOIN stock b USING (tenant, code);
-- refused
SELECT count(*) FROM stock s JOIN users u ON u.id = s.tenant;
-- refused
SELECT s.tenant, u.name, sum(s.qty) FROM stock s LEFT JOIN users u ON u.id = s.tenant GROUP BY 1, 2 ORDER BY 1, 2;
-- refused
SELECT count(*) FROM docs d JOIN names n ON n.name LIKE '%' || d.body;
-- refused
SELECT e.day, f.k FROM events e JOIN facts f ON f.day = e.day ORDER BY 1, 2, f.seq, e.kind;
-- refused
SELECT e.kind, count(f.k) FROM events e LEFT JOIN facts f ON f.day >= e.day GROUP BY e.kind ORDER BY 1;
-- refused
SELECT r.city, c.name, u.id FROM regions r JOIN countries c USING (code) JOIN users u ON u.age = r.people % 100 ORDER BY 1, 2, 3 LIMIT 10;
-- refused
SELECT l.lv, s.site FROM levels l JOIN sites s ON s.n = l.n ORDER BY 1, 2, l.t, s.t LIMIT 20;
-- refused
SELECT count(*) FROM lonely l JOIN users u ON u.id % 25 = l.n;
-- refused
SELECT count(*) FROM users u LEFT JOIN nothing x ON x.n = u.age;
SELECT x.id, u.id FROM nothing x RIGHT JOIN users u ON x.id = u.id ORDER BY 2 LIMIT 3;
-- refused
SELECT count(*) FROM nothing x FULL JOIN users u ON x.n = u.age;
-- refused
SELECT f.k, l.t FROM facts f JOIN ledger l ON l.k = f.k ORDER BY 1, 2, f.seq, l.id LIMIT 20;
-- refused
SELECT count(*) FROM facts f JOIN ledger l ON l.k = f.k WHERE f.k = 5;
-- refused
SELECT l.id, count(f.k) FROM ledger l LEFT JOIN facts f ON f.k = l.k GROUP BY l.id ORDER BY l.id;
-- refused
SELECT l.id, m.k FROM ledger l FULL JOIN marks m ON m.tag = l.t AND m.k = l.k ORDER BY 1, 2, m.tag;
-- refused
SELECT l.t, count(*) FROM ledger l JOIN marks m ON m.tag = l.t GROUP BY l.t ORDER BY 1;
-- refused
SELECT n.body, u.id FROM local_notes n JOIN users u ON u.id = n.id ORDER BY 2;
SELECT l.id, c.name FROM ledger l LEFT JOIN countries c ON c.code = l.t ORDER BY 1;
-- refused
SELECT l.id, u.name, g.title FROM ledger l JOIN users u ON u.id = l.k JOIN groups g ON g.grp = l.id % 7 ORDER BY 1;
-- refused
SELECT g.title, u.id FROM groups g LEFT JOIN users u ON u.age = g.grp + 20 ORDER BY 1, 2;
-- refused
SELECT g.title, f.k FROM groups g FULL JOIN facts f ON f.grp = g.grp AND f.seq = 0 ORDER BY 1, 2, f.seq;
SELECT g.grp, m.tag FROM groups g LEFT JOIN marks m ON m.w = g.grp AND m.k = 5 ORDER BY 1, 2;
-- refused
SELECT g.grp FROM groups g WHERE NOT EXISTS (SELECT 1 FROM facts f WHERE f.grp = g.grp AND f.n > 55) ORDER BY 1;
-- refused
SELECT g.grp, (SELECT count(*) FROM facts f WHERE f.grp = g.grp) FROM groups g ORDER BY 1;
-- refused
SELECT g.grp FROM groups g WHERE g.grp IN (SELECT grp FROM facts WHERE k < 10) ORDER BY 1;
SELECT f.k, f.val * r.rate FROM facts f JOIN rates r ON r.day = date_trunc('month', f.day)::date AND r.cur = 'eur' ORDER BY 1, f.seq;
SELECT sum(f.val * r.rate) FROM facts f JOIN rates r ON r.day <= f.day WHERE r.cur = 'usd';
-- refused
SELECT f.k, r.rate FROM facts f LEFT JOIN LATERAL (SELECT rate FROM rates r WHERE r.cur = 'jpy' AND r.day <= f.day ORDER BY r.day DESC LIMIT 1) r ON true ORDER BY 1, f.seq;
-- refused
SELECT f.k, f.seq, p.n FROM facts f LEFT JOIN LATERAL (SELECT n FROM facts x WHERE x.grp = f.grp AND x.k < f.k ORDER BY x.k DESC, x.seq DESC LIMIT 1) p ON true ORDER BY 1, 2 LIMIT 40;
-- refused
SELECT u.id, t.c FROM users u CROSS JOIN LATERAL (SELECT count(*) AS c FROM facts f WHERE f.n > u.age) t WHERE u.id < 12 ORDER BY 1;
SELECT u.id, t.tag FROM users u, LATERAL (SELECT tag FROM marks m WHERE m.k = u.id ORDER BY tag LIMIT 1) t ORDER BY 1;
-- refused
SELECT l.id, t.n FROM ledger l, LATERAL (SELECT n FROM facts f WHERE f.k = l.k ORDER BY n DESC NULLS LAST, seq LIMIT 1) t ORDER BY 1;
-- refused
SELECT g, f.k FROM generate_series(1, 4) AS g LEFT JOIN facts f ON f.grp = g AND f.seq = 4 ORDER BY 1, 2;
-- refused
SELECT v.x, f.seq FROM (VALUES (1), (2), (900)) v(x) LEFT JOIN facts f ON f.k = v.x ORDER BY 1, 2;
SELECT f.k, s.x FROM facts f, generate_series(1, f.seq) AS s(x) WHERE f.k < 6 ORDER BY 1, 2, f.seq;
SELECT k.id, e FROM kinds k, unnest(k.ta) AS e ORDER BY 1, 2;
SELECT k.id, e.o, e.v FROM kinds k, unnest(k.ia) WITH ORDINALITY AS e(v, o) ORDER BY 1, 2;
SELECT k.id, e.key FROM kinds k, jsonb_each(CASE WHEN jsonb_typeof(k.jb) = 'object' THEN k.jb END) e ORDER BY 1, 2;
-- refused
SELECT a.id FROM users a JOIN (SELECT max(age) AS top FROM users) b ON a.age = b.top ORDER BY 1;
-- refused
SELECT a.k, a.seq FROM facts a JOIN (SELECT grp, max(n) AS top FROM facts GROUP BY grp) b ON a.grp = b.grp AND a.n = b.top ORDER BY 1, 2;
-- refused
SELECT a.k, b.c FROM marks a JOIN (SELECT tag, count(*) AS c FROM marks GROUP BY tag) b ON a.tag = b.tag ORDER BY 1, a.tag;
SELECT u.id FROM users u JOIN (SELECT k, count(*) AS c FROM facts GROUP BY k) f ON f.k = u.id AND f.c > 4 ORDER BY 1;
SELECT u.id, f.c FROM users u LEFT JOIN (SELECT k, count(*) AS c FROM facts GROUP BY k) f ON f.k = u.id ORDER BY 1 LIMIT 20;
-- refused
SELECT count(*) FROM (SELECT DISTINCT n FROM facts) a JOIN (SELECT DISTINCT age FROM users) b ON a.n = b.age;
-- refused
SELECT a.id, b.k FROM (SELECT id FROM users ORDER BY age NULLS LAST, id LIMIT 5) a JOIN facts b ON b.k = a.id ORDER BY 1, 2, b.seq;
SELECT a.k FROM facts a JOIN facts b ON a.k = b.k AND a.seq + 1 = b.seq WHERE a.n > b.n ORDER BY 1, a.seq;
SELECT a.k FROM facts a LEFT JOIN facts b ON a.k = b.k AND b.n > a.n WHERE b.k IS NULL ORDER BY 1, a.seq;
-- refused
SELECT t.id, p.label FROM tree t JOIN tree p ON p.id = t.parent ORDER BY 1;
-- refused
SELECT t.id, p.label FROM tree t LEFT JOIN tree p ON p.id = t.parent ORDER BY 1;
-- refused
SELECT p.id, count(t.id) FROM tree p LEFT JOIN tree t ON t.parent = p.id GROUP BY p.id ORDER BY 1;
-- refused
SELECT x.a, z.b FROM edges x JOIN edges y ON y.a = x.b JOIN edges z ON z.a = y.b WHERE x.a = 3 ORDER BY 1, 2, y.a, y.b;
-- refused
SELECT x.a, x.b FROM edges x JOIN edges y ON y.a = x.b AND y.b = x.a ORDER BY 1, 2;
SELECT count(*) FROM users u LEFT JOIN (facts f JOIN marks m ON m.k = f.k) ON f.k = u.id;
SELECT count(*) FROM users u LEFT JOIN (facts f LEFT JOIN groups g USING (grp)) ON f.k = u.id AND g.m = 'ok';
-- refused
SELECT count(*) FROM users u LEFT JOIN (facts f JOIN ledger l ON l.k = f.n) ON f.k = u.id;
SELECT count(*) FROM (users u JOIN orders o ON o.user_id = u.id) LEFT JOIN (facts f JOIN marks m USING (k)) ON f.k = u.id AND m.w > 3;
-- refused
SELECT count(*) FROM users u JOIN orders o ON o.user_id = u.id JOIN items i ON i.order_id = o.id;
-- refused
SELECT p.name, u.id FROM items i JOIN products p ON p.id = i.product JOIN users u ON u.id = i.order_id ORDER BY 1, 2, i.user_id, i.line LIMIT 20;
SELECT u.id FROM users u JOIN scripts s ON s.id = u.id AND s.si < 'm' ORDER BY 1;
-- refused
SELECT a.id, b.id FROM scripts a JOIN scripts b ON a.si = b.sc AND a.id < b.id ORDER BY 1, 2;
-- refused
SELECT a.id, b.id FROM scripts a JOIN scripts b ON lower(a.s) = lower(b.s) AND a.id < b.id ORDER BY 1, 2;
-- refused
SELECT k.id, f.k FROM kinds k JOIN facts f ON f.m = k.m AND f.seq = 5 ORDER BY 1, 2;
SELECT k.id, g.grp FROM kinds k LEFT JOIN groups g ON g.m = k.m ORDER BY 1, 2;
-- refused
SELECT a.id, b.id FROM kinds a JOIN kinds b ON a.r && b.r AND a.id < b.id ORDER BY 1, 2 LIMIT 20;
-- refused
SELECT a.id, b.id FROM kinds a JOIN kinds b ON a.jb = b.jb AND a.id < b.id ORDER BY 1, 2;
-- refused
SELECT a.id, b.id FROM kinds a JOIN kinds b ON a.ia = b.ia AND a.id < b.id ORDER BY 1, 2;
-- refused
SELECT a.id, b.id FROM kinds a JOIN kinds b ON a.num = b.num AND a.id < b.id ORDER BY 1, 2;
-- refused
SELECT a.id, b.id FROM kinds a JOIN kinds b ON a.f8 = b.num AND a.id < b.id ORDER BY 1, 2;
-- refused
SELECT a.id, b.id FROM kinds a JOIN kinds b ON a.c = b.v AND a.id < b.id ORDER BY 1, 2;
-- refused
SELECT a.id, b.id FROM kinds a JOIN kinds b ON a.tz = b.ts AND a.id < b.id ORDER BY 1, 2;
-- refused
SELECT a.id, b.id FROM kinds a JOIN kinds b ON a.iv = b.iv AND a.id < b.id ORDER BY 1, 2;
-- refused
SELECT a.id, b.id FROM kinds a JOIN kinds b ON a.s = b.s AND a.id < b.id ORDER BY 1, 2;
SELECT * FROM marks m JOIN users u ON u.id = m.k WHERE u.id < 6 ORDER BY m.k, m.tag;
-- refused
SELECT m.*, u.age FROM marks m LEFT JOIN users u ON u.age = m.w + 20 ORDER BY m.k, m.tag, u.id;
-- refused
SELECT m.k, u.* FROM marks m JOIN users u ON u.age = m.w + 20 ORDER BY m.k, m.tag, u.id LIMIT 5;
-- refused
SELECT m FROM marks m JOIN users u ON u.age = m.w + 20 ORDER BY m.k, m.tag, u.id LIMIT 5;
-- refused
SELECT u.id, count(*) FROM users u JOIN marks m ON m.w + 20 = u.age GROUP BY u.id ORDER BY 1;
SELECT id FROM users u JOIN facts f ON f.k = u.id JOIN marks USING (k) WHERE id < 8 ORDER BY id, seq, tag;
-- refused
SELECT name FROM users JOIN names USING (name);
-- refused
SELECT count(*) FROM users u, users v, users w WHERE u.id = v.id AND v.age = w.age AND w.id = 5;
-- refused
SELECT count(*) FROM users u TABLESAMPLE SYSTEM (100) JOIN facts f ON f.n = u.age;
-- refused
SELECT a.id FROM users a JOIN users b ON (a.age, a.active) = (b.age, b.active) WHERE b.id = 5 ORDER BY 1;
-- refused
SELECT count(*) FROM users a JOIN users b ON a.age IS NOT DISTINCT FROM b.age;
-- refused
SELECT count(*) FROM users a JOIN users b ON a.age = b.age OR a.id = b.id;
-- refused
SELECT count(*) FROM users a LEFT JOIN users b ON false;
-- refused
SELECT count(*) FROM users a JOIN users b ON true WHERE a.id = 5 AND b.id = 6;
