// postgres.js: pipelined by itself, prepares by itself, COPY both ways, LISTEN on a connection of its own.
import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createRequire } from "node:module";

const require = createRequire(process.env.MODULES + "/");
const postgres = require("postgres");
const [port, database, table] = process.argv.slice(2);
const sql = postgres({ host: "127.0.0.1", port, database, user: "app", password: "secret", max: 3, onnotice: () => {} });
const t = sql(table);

for (let id = 1; id <= 10; id++) {
  await sql`INSERT INTO ${t} ${sql({ id, name: `thing ${id}`, price: id / 4, ok: id % 2 === 0, data: Buffer.from([id]), tags: ["x", "y"] })}`;
}
const all = await Promise.all(Array.from({ length: 30 }, (_, i) => sql`SELECT * FROM ${t} WHERE id = ${1 + (i % 10)}`));
all.forEach((rows, i) => {
  const id = 1 + (i % 10);
  assert.deepEqual({ ...rows[0] }, { id: String(id), name: `thing ${id}`, price: (id / 4).toFixed(2), ok: id % 2 === 0, data: Buffer.from([id]), tags: ["x", "y"] });
});
await assert.rejects(sql.begin(async (tx) => {
  await tx`UPDATE ${tx(table)} SET name = 'gone' WHERE id = 1`;
  await tx`INSERT INTO ${tx(table)} (id) VALUES (1)`;
}), { code: "23505" });
await sql.begin(async (tx) => {
  await tx`UPDATE ${tx(table)} SET name = 'kept' WHERE id = 2`;
  await tx.savepoint((sp) => sp`UPDATE ${sp(table)} SET name = 'inner' WHERE id = 3`);
});
assert.deepEqual((await sql`SELECT name FROM ${t} WHERE id IN (1, 2, 3) ORDER BY id`).map((r) => r.name), ["thing 1", "kept", "inner"]);

const into = await sql`COPY ${t} (id, name) FROM STDIN`.writable();
await pipeline(Readable.from(Array.from({ length: 100 }, (_, i) => `${100 + i}\tcopied ${i}\n`)), into);
let text = "";
for await (const chunk of await sql`COPY (SELECT id FROM ${t} WHERE id >= 100) TO STDOUT`.readable()) text += chunk;
assert.equal(text.trim().split("\n").length, 100);

const slow = sql`SELECT pg_sleep(30)`.execute();
setTimeout(() => slow.cancel(), 300);
await assert.rejects(slow, { code: "57014" });

const seen = [];
for await (const rows of sql`SELECT id FROM ${t} WHERE id = ${5}`.cursor(10)) seen.push(...rows);
assert.equal(seen[0].id, "5");
assert.equal((await sql`DELETE FROM ${t} WHERE id = ANY(${[1, 2]}) RETURNING id`).length, 2);
if (process.env.SHARDED !== "1") {
  const heard = new Promise((resolve) => sql.listen("drivers", resolve).then(() => sql.notify("drivers", "hello")));
  assert.equal(await heard, "hello");
}
await sql.end();
