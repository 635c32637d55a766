"""SQLAlchemy from Debian: create_all, relationships, transactions, reflection, drop_all."""

import datetime
import decimal
import warnings

import sqlalchemy as sa
from sqlalchemy import orm

from report import expect, expect_that

TABLES = {"customers": {"hash": ["id"]}, "invoices": {"hash": ["customer_id"], "colocate": "customers"},
          "lines": {"hash": ["customer_id"], "colocate": "customers"}, "currencies": {"reference": True}}
Base = orm.declarative_base()


class Currency(Base):
    __tablename__ = "currencies"
    code = sa.Column(sa.String(3), primary_key=True)
    name = sa.Column(sa.Text, nullable=False)


class Customer(Base):
    __tablename__ = "customers"
    id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
    name = sa.Column(sa.String(80), nullable=False)
    since = sa.Column(sa.Date)
    active = sa.Column(sa.Boolean, default=True)
    invoices = orm.relationship("Invoice", back_populates="customer", cascade="all, delete-orphan",
                                order_by="Invoice.number")


class Invoice(Base):
    __tablename__ = "invoices"
    customer_id = sa.Column(sa.ForeignKey(Customer.id), primary_key=True, autoincrement=False)
    number = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
    total = sa.Column(sa.Numeric(12, 2))
    currency = sa.Column(sa.ForeignKey(Currency.code))
    written = sa.Column(sa.DateTime)
    customer = orm.relationship(Customer, back_populates="invoices")


class Line(Base):
    __tablename__ = "lines"
    customer_id = sa.Column(sa.BigInteger, primary_key=True, autoincrement=False)
    number = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
    line = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
    text = sa.Column(sa.Text)


def engine_of(braid, dbname):
    return sa.create_engine(f"postgresql+psycopg2://app@127.0.0.1:{braid.port}/{dbname}", future=True)


def test_crud(braid, dbname):
    warnings.simplefilter("ignore")
    engine = engine_of(braid, dbname)
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)  # everything is there already
    with orm.Session(engine) as s:
        for code in ("EUR", "USD"):
            s.add(Currency(code=code, name=f"name of {code}"))
            s.flush()
        s.commit()
        for i in range(1, 31):
            customer = Customer(id=i, name=f"customer {i}", since=datetime.date(2026, 1, i))
            customer.invoices = [Invoice(number=n, total=decimal.Decimal(i * n), currency="EUR",
                                         written=datetime.datetime(2026, 2, n)) for n in range(1, 1 + i % 4)]
            s.add(customer)
            s.flush()
        s.commit()
    with orm.Session(engine) as s:
        c = s.get(Customer, 7)
        expect("by key", ("customer 7", 3), (c.name, len(c.invoices)))
        expect("back", "customer 7", c.invoices[0].customer.name)
        expect("count", 30, s.execute(sa.select(sa.func.count()).select_from(Customer)).scalar_one())
        rows = s.execute(sa.select(Customer).order_by(Customer.id.desc()).limit(3)).scalars().all()
        expect("ordered", [30, 29, 28], [r.id for r in rows])
        got = s.execute(sa.select(Customer).options(orm.selectinload(Customer.invoices))
                        .where(Customer.id.in_([1, 2, 3, 4])).order_by(Customer.id)).scalars().all()
        expect("selectinload", [1, 2, 3, 0], [len(r.invoices) for r in got])
        got = s.execute(sa.select(Customer).options(orm.joinedload(Customer.invoices))
                        .where(Customer.id == 3)).unique().scalars().all()
        expect("joinedload", [3], [len(r.invoices) for r in got])
        total = s.execute(sa.select(Invoice.currency, sa.func.sum(Invoice.total), sa.func.count())
                          .group_by(Invoice.currency)).all()
        want = sum(i * n for i in range(1, 31) for n in range(1, 1 + i % 4))
        expect("grouped", [("EUR", decimal.Decimal(want))], [(r[0], r[1]) for r in total])
        got = s.execute(sa.select(Customer.name, Invoice.total).join(Invoice, Invoice.customer_id == Customer.id)
                        .where(Customer.id == 6).order_by(Invoice.number)).all()
        expect("join", [("customer 6", 6), ("customer 6", 12)], [(a, int(b)) for a, b in got])


def test_changes(braid, dbname):
    engine = engine_of(braid, dbname)
    with orm.Session(engine) as s:
        c = s.get(Customer, 7)
        c.name = "renamed"
        c.invoices[0].total = 1000
        d = s.get(Customer, 8)
        d.active = False
        s.commit()
    with orm.Session(engine) as s:
        expect("renamed", "renamed", s.get(Customer, 7).name)
        expect("over shards in one transaction", False, s.get(Customer, 8).active)
        s.get(Customer, 9).name = "lost"
        s.flush()
        s.rollback()
        expect("rolled back", "customer 9", s.get(Customer, 9).name)
        with s.begin_nested():
            s.get(Customer, 10).name = "nested"
        try:
            with s.begin_nested():
                s.add(Customer(id=11, name="twice"))
                s.flush()
        except sa.exc.IntegrityError:
            pass
        s.commit()
        expect("savepoint kept", "nested", s.get(Customer, 10).name)
        s.delete(s.get(Customer, 7))
        s.commit()
        expect("deleted", None, s.get(Customer, 7))
        left = s.execute(sa.select(sa.func.count()).select_from(Invoice).where(Invoice.customer_id == 7)).scalar_one()
        expect("its invoices too", 0, left)
        got = s.execute(sa.update(Customer).where(Customer.id > 20).values(active=False))
        expect("update over shards", 10, got.rowcount)
        s.commit()


def test_schema(braid, dbname):
    engine = engine_of(braid, dbname)
    seen = sa.inspect(engine)
    expect_that("tables are seen", {"customers", "invoices", "lines", "currencies"} <= set(seen.get_table_names()))
    expect("columns", ["id", "name", "since", "active"], [c["name"] for c in seen.get_columns("customers")])
    expect("primary key", ["customer_id", "number"], seen.get_pk_constraint("invoices")["constrained_columns"])
    Base.metadata.drop_all(engine)
    expect("gone", [], [t for t in sa.inspect(engine).get_table_names() if t in ("customers", "invoices")])


def run(place, report):
    for dbname, tables in (("plain", {}), ("app", TABLES)):
        place.clean()
        braid = place.braid(tables)
        report.run(f"SQLAlchemy: reading ({dbname})", test_crud, braid, dbname)
        report.run(f"SQLAlchemy: changing ({dbname})", test_changes, braid, dbname)
        report.run(f"SQLAlchemy: schema ({dbname})", test_schema, braid, dbname)
        report.run(f"SQLAlchemy: the end ({dbname})", place.end, braid)
