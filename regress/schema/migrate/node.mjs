// postgres-migrations over a folder of SQL files: PORT FOLDER; prints what it applied.
import { createRequire } from "node:module";
const require = createRequire(process.env.NODE_PATH + "/");
const { Client } = require("pg");
const { migrate } = require("postgres-migrations");

const client = new Client({ host: "127.0.0.1", port: Number(process.argv[2]), database: "app", user: "app", password: "secret" });
await client.connect();
try {
    const applied = await migrate({ client }, process.argv[3]);
    console.log("applied " + applied.length);
} finally {
    await client.end();
}
