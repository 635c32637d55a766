"""Migration tools run a history of their own through the proxy, forwards and backwards."""

import os
import shutil
import subprocess
import sys
import textwrap

from report import Failed, expect, expect_that

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(os.path.dirname(HERE), "drivers"))

import packages  # noqa: E402

# What the tools with plain SQL files run.
FILES = [
    ("1", "first", """
        CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL) SHARD BY HASH (id);
        CREATE TABLE countries (code text PRIMARY KEY) REFERENCE;
        CREATE TABLE log (id serial PRIMARY KEY, what text);
        INSERT INTO users VALUES (1, 'a'), (2, 'b'), (3, 'c');
        INSERT INTO countries VALUES ('de');
        INSERT INTO log (what) VALUES ('made');"""),
    ("2", "more", """
        ALTER TABLE users ADD COLUMN country text REFERENCES countries;
        UPDATE users SET country = 'de' WHERE id IN (1, 2, 3);
        CREATE INDEX users_country ON users (country);
        CREATE TABLE orders (user_id bigint REFERENCES users, id bigint, PRIMARY KEY (user_id, id)) SHARD BY HASH (user_id) COLOCATE WITH users;
        CREATE VIEW named AS SELECT id, name FROM users;"""),
    ("3", "local_first", """
        CREATE TABLE late (id int PRIMARY KEY, v text);
        INSERT INTO late SELECT g, 'x' FROM generate_series(1, 50) g;
        ALTER TABLE late SHARD BY HASH (id);
        ALTER TABLE late ADD COLUMN w int NOT NULL DEFAULT 7;"""),
]


def run_tool(*words, folder=None, **env):
    done = subprocess.run(list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120, cwd=folder,
                          env={**os.environ, **env})
    if done.returncode != 0:
        raise Failed(f"{words}: exit status {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def folder_of(place, name):
    folder = os.path.join(place.fleet.folder, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write(textwrap.dedent(text))


def check_files(place):
    c = place.connect()
    with c.cursor() as cur:
        cur.execute("SELECT count(*), count(country) FROM users")
        expect("users", (3, 3), cur.fetchone())
        cur.execute("SELECT count(*), sum(w) FROM late")
        expect("late", (50, 350), cur.fetchone())
    c.close()
    place.expect_each("users", "to_regclass('users') IS NOT NULL AND to_regclass('named') IS NOT NULL", [True] * 3)
    place.expect_each("log", "to_regclass('log') IS NOT NULL", [True, False, False])
    expect_that("rows everywhere", all(n > 5 for n in place.each("(SELECT count(*)::int FROM late)")))


def alembic(place):
    place.fresh()
    folder = folder_of(place, "alembic")
    os.makedirs(os.path.join(folder, "versions"))
    write(folder, "env.py", f"""
        from alembic import context
        from sqlalchemy import create_engine
        engine = create_engine("postgresql+psycopg2://app:secret@127.0.0.1:{place.braid.port}/app")
        with engine.connect() as connection:
            context.configure(connection=connection, target_metadata=None, transaction_per_migration=context.get_x_argument(as_dictionary=True).get("each") == "1")
            with context.begin_transaction():
                context.run_migrations()
        """)
    write(folder, "versions/a1.py", """
        import sqlalchemy as sa
        from alembic import op
        revision, down_revision = "a1", None
        def upgrade():
            op.create_table("accounts", sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False), sa.Column("name", sa.Text, nullable=False),
                            sa.Column("data", sa.JSON), sa.CheckConstraint("name <> ''", name="named"))
            op.execute("ALTER TABLE accounts SHARD BY HASH (id)")
            op.create_table("kinds", sa.Column("code", sa.String(10), primary_key=True), comment="kinds of things")
            op.execute("ALTER TABLE kinds REFERENCE")
            op.create_table("events", sa.Column("id", sa.Integer, primary_key=True), sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now()))
            op.bulk_insert(sa.table("kinds", sa.column("code")), [{"code": "a"}, {"code": "b"}])
            op.bulk_insert(sa.table("accounts", sa.column("id"), sa.column("name")), [{"id": i, "name": f"n{i}"} for i in range(1, 40)])
        def downgrade():
            for table in ("events", "kinds", "accounts"):
                op.drop_table(table)
        """)
    write(folder, "versions/b2.py", """
        import sqlalchemy as sa
        from alembic import op
        revision, down_revision = "b2", "a1"
        def upgrade():
            op.add_column("accounts", sa.Column("kind", sa.String(10), nullable=True))
            op.create_foreign_key("accounts_kind", "accounts", "kinds", ["kind"], ["code"])
            op.execute("UPDATE accounts SET kind = 'a'")
            op.alter_column("accounts", "kind", nullable=False)
            op.create_index("accounts_kind_i", "accounts", ["kind", "name"])
            op.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
            op.add_column("accounts", sa.Column("mood", sa.Enum("sad", "ok", name="mood", create_type=False), server_default="ok"))
            assert op.get_bind().execute(sa.text("SELECT count(*) FROM accounts WHERE mood = 'ok' AND kind = 'a'")).scalar() == 39
            op.alter_column("accounts", "name", new_column_name="title")
        def downgrade():
            op.alter_column("accounts", "title", new_column_name="name")
            op.drop_column("accounts", "mood")
            op.execute("DROP TYPE mood")
            op.drop_index("accounts_kind_i", "accounts")
            op.drop_constraint("accounts_kind", "accounts")
            op.drop_column("accounts", "kind")
        """)
    write(folder, "versions/c3.py", """
        from alembic import op
        revision, down_revision = "c3", "b2"
        def upgrade():
            with op.get_context().autocommit_block():
                op.create_index("accounts_title", "accounts", ["title"], postgresql_concurrently=True)
        def downgrade():
            with op.get_context().autocommit_block():
                op.drop_index("accounts_title", "accounts", postgresql_concurrently=True)
        """)
    write(folder, "alembic.ini", "[alembic]\nscript_location = .\n")
    for each in ("0", "1"):
        command = [sys.executable, "-m", "alembic.config", "-c", "alembic.ini", "-x", f"each={each}"]
        run_tool(*command, "upgrade", "head", folder=folder)
        expect_that("current", "c3 (head)" in run_tool(*command, "current", folder=folder))
        place.expect_each("index", "to_regclass('accounts_title') IS NOT NULL", [True] * 3)
        expect("rows", 39, sum(place.each("(SELECT count(*)::int FROM accounts WHERE mood = 'ok')")))
        run_tool(*command, "downgrade", "a1", folder=folder)
        run_tool(*command, "upgrade", "head", folder=folder)
        run_tool(*command, "downgrade", "base", folder=folder)
        place.expect_each("gone", "to_regclass('accounts') IS NULL AND to_regtype('mood') IS NULL", [True] * 3)


def django(place):
    place.fresh()
    command = [sys.executable, os.path.join(HERE, "migrate", "django_site.py"), str(place.braid.port)]
    run_tool(*command, "migrate")
    expect("rows", 30, sum(place.each("(SELECT count(*)::int FROM shop_customer)")))
    place.expect_each("index", "to_regclass('customer_both') IS NOT NULL AND to_regclass('customer_email') IS NULL", [True] * 3)
    place.expect_each("copies", "(SELECT count(*)::int FROM shop_product)", [1] * 3)
    expect_that("nothing to do", "No migrations to apply" in run_tool(*command, "migrate"))
    expect_that("no changes", "No changes detected" in run_tool(*command, "makemigrations", "--check", "--dry-run"))
    run_tool(*command, "migrate", "shop", "0002")
    run_tool(*command, "migrate", "shop")
    run_tool(*command, "migrate", "shop", "zero")
    place.expect_each("gone", "to_regclass('shop_customer') IS NULL", [True] * 3)


def node(place):
    place.fresh()
    folder = folder_of(place, "node")
    for number, name, text in FILES[:2]:
        write(folder, f"{number}_{name}.sql", text)
    words = [packages.program("node"), os.path.join(HERE, "migrate", "node.mjs"), str(place.braid.port), folder]
    env = {"NODE_PATH": packages.node_modules()}
    expect_that("the first two", "applied 3" in run_tool(*words, **env))  # and the one that makes its own table
    write(folder, f"{FILES[2][0]}_{FILES[2][1]}.sql", FILES[2][2])
    expect_that("the third", "applied 1" in run_tool(*words, **env))
    expect_that("nothing", "applied 0" in run_tool(*words, **env))
    check_files(place)


def flyway(place):
    place.fresh()
    folder = folder_of(place, "flyway")
    jars = packages.jar() + ":" + packages.jar("org/flywaydb/flyway-core")
    words = [packages.program("java"), "-cp", jars, os.path.join(HERE, "migrate", "Migrations.java"),
             f"jdbc:postgresql://127.0.0.1:{place.braid.port}/app?preferQueryMode=simple", folder]
    for count, (number, name, text) in enumerate(FILES):
        write(folder, f"V{number}__{name}.sql", text)
        if count == 0:
            continue
        expect_that(f"up to {number}", f"applied {2 if count == 1 else 1}" in run_tool(*words))
    expect_that("nothing", "applied 0" in run_tool(*words))
    check_files(place)


def run(place, report):
    for name, test in (("Alembic", alembic), ("Django", django), ("postgres-migrations (Node)", node), ("Flyway", flyway)):
        try:
            if name.startswith("postgres"):
                packages.node_modules()
                packages.program("node")
            elif name == "Flyway":
                packages.program("java")
                packages.jar("org/flywaydb/flyway-core")
        except packages.Missing as e:
            report.skips(f"migrations: {name}", e)
            continue
        report.run(f"migrations: {name}", test, place)
