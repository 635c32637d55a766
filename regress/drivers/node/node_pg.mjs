// node-postgres: pool, named statements, transactions, errors, cancel by closing, types.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(process.env.MODULES + "/");
const pg = require("pg");
const [port, database, table] = process.argv.slice(2);
const pool = new pg.Pool({ host: "127.0.0.1", port, database, user: "app", password: "secret", max: 4 });

for (let id = 1; id <= 20; id++) {
  const { rowCount } = await pool.query(`INSERT INTO ${table} VALUES ($1, $2, $3, $4, $5, $6)`,
    [id, `thing ${id}`, (id / 4).toFixed(2), id % 2 === 0, Buffer.from([id, 0, 255]), ["a", 'q"', null]]);
  assert.equal(rowCount, 1);
}
for (let id = 1; id <= 20; id++) {
  const { rows } = await pool.query({ name: "one", text: `SELECT * FROM ${table} WHERE id = $1`, values: [id] });
  assert.deepEqual(rows[0], { id: String(id), name: `thing ${id}`, price: (id / 4).toFixed(2), ok: id % 2 === 0,
    data: Buffer.from([id, 0, 255]), tags: ["a", 'q"', null] });
}
assert.equal((await pool.query(`SELECT count(*) AS n FROM ${table}`)).rows[0].n, "20");
assert.deepEqual((await pool.query({ text: `SELECT id FROM ${table} WHERE id = ANY($1) ORDER BY id`, values: [[3, 1, 2]], rowMode: "array" })).rows,
  [["1"], ["2"], ["3"]]);

const client = await pool.connect();
await client.query("BEGIN");
await client.query(`UPDATE ${table} SET name = 'gone' WHERE id = 1`);
await client.query("ROLLBACK");
await client.query("BEGIN");
await client.query(`UPDATE ${table} SET name = 'kept' WHERE id = 2`);
await client.query("SAVEPOINT s");
await assert.rejects(client.query(`INSERT INTO ${table} (id) VALUES (2)`), { code: "23505" });
await client.query("ROLLBACK TO SAVEPOINT s");
await client.query("COMMIT");
const { rows } = await client.query({ text: `SELECT name FROM ${table} WHERE id IN (1, 2) ORDER BY id`, rowMode: "array" });
assert.deepEqual(rows, [["thing 1"], ["kept"]]);
await assert.rejects(client.query("SELECT 1 / 0"), { code: "22012" });
await assert.rejects(client.query({ text: "SELECT $1::int", values: ["x"] }), { code: "22P02" });
const several = await client.query("SELECT 1 AS a; SELECT 2 AS b");
assert.deepEqual(several.map((r) => r.rows), [[{ a: 1 }], [{ b: 2 }]]);
client.release();

// cancel as an application does it: by the key of the connection
const slow = new pg.Client({ host: "127.0.0.1", port, database, user: "app", password: "secret" });
await slow.connect();
const sleeping = slow.query("SELECT pg_sleep(30)");
setTimeout(() => {
  const canceller = new pg.Client({ host: "127.0.0.1", port, database, user: "app", password: "secret" });
  canceller.connection = new pg.Connection();
  const c = canceller.connection;
  c.on("connect", () => c.cancel(slow.processID, slow.secretKey));
  c.connect(port, "127.0.0.1");
}, 300);
await assert.rejects(sleeping, { code: "57014" });
await slow.end();

const answers = await Promise.all(Array.from({ length: 40 }, (_, i) =>
  pool.query({ text: `SELECT id FROM ${table} WHERE id = $1`, values: [1 + (i % 20)] })));
answers.forEach((a, i) => assert.equal(a.rows[0].id, String(1 + (i % 20))));
assert.equal((await pool.query(`DELETE FROM ${table} WHERE id = ANY($1)`, [[19, 20]])).rowCount, 2);
await pool.end();
