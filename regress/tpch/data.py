"""Tables of TPC-H's shape with rows of our own making: the same for the same scale, on every machine.

Names and words are those that the queries ask for; sizes, keys and distributions follow the benchmark
(1500 customers, 15,000 orders, one to seven lines each, 2000 parts with four suppliers, 100 suppliers at
scale 0.01), so that its 22 queries find something. Numbers of it are not comparable with published ones.
"""

import random
from datetime import date, timedelta

REGIONS = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"]
NATIONS = [("ALGERIA", 0), ("ARGENTINA", 1), ("BRAZIL", 1), ("CANADA", 1), ("EGYPT", 4), ("ETHIOPIA", 0), ("FRANCE", 3),
           ("GERMANY", 3), ("INDIA", 2), ("INDONESIA", 2), ("IRAN", 4), ("IRAQ", 4), ("JAPAN", 2), ("JORDAN", 4), ("KENYA", 0),
           ("MOROCCO", 0), ("MOZAMBIQUE", 0), ("PERU", 1), ("CHINA", 2), ("ROMANIA", 3), ("SAUDI ARABIA", 4), ("VIETNAM", 2),
           ("RUSSIA", 3), ("UNITED KINGDOM", 3), ("UNITED STATES", 1)]
COLORS = ("almond azure beige black blue brown chocolate coral cream cyan forest gold green grey ivory lace lemon linen magenta "
          "maroon navy olive orange peach pink plum purple red rose salmon sienna sky snow steel tan tomato violet wheat white yellow").split()
TYPES = [f"{a} {b} {c}" for a in ("STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO")
         for b in ("ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED") for c in ("TIN", "NICKEL", "BRASS", "STEEL", "COPPER")]
CONTAINERS = [f"{a} {b}" for a in ("SM", "LG", "MED", "JUMBO", "WRAP") for b in ("CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM")]
SEGMENTS = ["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"]
PRIORITIES = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"]
INSTRUCTIONS = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]
MODES = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"]
WORDS = ("quick slow bold even final ironic pending regular silent careful blithe furious deposit account package theodolite pinto "
         "bean platelet request excuse idea foxes sleep wake nag haggle cajole integrate").split()
FIRST_DAY, LAST_DAY, TODAY = date(1992, 1, 1), date(1998, 8, 2), date(1995, 6, 17)

TABLES = {
    "region": ("r_regionkey int PRIMARY KEY, r_name char(25) NOT NULL, r_comment varchar(152)", "REFERENCE"),
    "nation": ("n_nationkey int PRIMARY KEY, n_name char(25) NOT NULL, n_regionkey int NOT NULL, n_comment varchar(152)", "REFERENCE"),
    "supplier": ("s_suppkey int PRIMARY KEY, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL, s_nationkey int NOT NULL, "
                 "s_phone char(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL, s_comment varchar(101) NOT NULL", "REFERENCE"),
    "part": ("p_partkey int PRIMARY KEY, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL, p_brand char(10) NOT NULL, "
             "p_type varchar(25) NOT NULL, p_size int NOT NULL, p_container char(10) NOT NULL, p_retailprice numeric(15,2) NOT NULL, "
             "p_comment varchar(23) NOT NULL", "REFERENCE"),
    "partsupp": ("ps_partkey int NOT NULL, ps_suppkey int NOT NULL, ps_availqty int NOT NULL, ps_supplycost numeric(15,2) NOT NULL, "
                 "ps_comment varchar(199) NOT NULL, PRIMARY KEY (ps_partkey, ps_suppkey)", "REFERENCE"),
    "customer": ("c_custkey int PRIMARY KEY, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL, c_nationkey int NOT NULL, "
                 "c_phone char(15) NOT NULL, c_acctbal numeric(15,2) NOT NULL, c_mktsegment char(10) NOT NULL, c_comment varchar(117) NOT NULL",
                 "SHARD BY HASH (c_custkey)"),
    "orders": ("o_orderkey bigint PRIMARY KEY, o_custkey int NOT NULL, o_orderstatus char(1) NOT NULL, o_totalprice numeric(15,2) NOT NULL, "
               "o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL, o_clerk char(15) NOT NULL, o_shippriority int NOT NULL, "
               "o_comment varchar(79) NOT NULL", "SHARD BY HASH (o_orderkey)"),
    "lineitem": ("l_orderkey bigint NOT NULL, l_partkey int NOT NULL, l_suppkey int NOT NULL, l_linenumber int NOT NULL, "
                 "l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL, "
                 "l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, "
                 "l_commitdate date NOT NULL, l_receiptdate date NOT NULL, l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, "
                 "l_comment varchar(44) NOT NULL, PRIMARY KEY (l_orderkey, l_linenumber)",
                 "SHARD BY HASH (l_orderkey) COLOCATE WITH orders"),
}
INDEXES = ["CREATE INDEX ON lineitem (l_partkey, l_suppkey)", "CREATE INDEX ON orders (o_custkey)"]


class Data:
    """Lines for COPY, table by table; orders and lineitem are made together."""

    def __init__(self, scale):
        self.scale = scale
        self.suppliers = max(10, int(10_000 * scale))
        self.parts = max(20, int(200_000 * scale))
        self.customers = max(15, int(150_000 * scale))
        self.orders = max(30, int(1_500_000 * scale))

    def random(self, name):
        return random.Random(f"{name} {self.scale}")

    @staticmethod
    def words(r, count):
        return " ".join(r.choice(WORDS) for _ in range(count))

    @staticmethod
    def phone(r, nation):
        return f"{nation + 10}-{r.randrange(100, 1000)}-{r.randrange(100, 1000)}-{r.randrange(1000, 10000)}"

    def price(self, part):
        """In cents, as part and lineitem both have it."""
        return 90_000 + part // 10 % 20_001 + 100 * (part % 1000)

    def supplier_of(self, part, i):
        """The i-th of the four suppliers of a part."""
        return (part + i * (self.suppliers // 4 + (part - 1) // self.suppliers)) % self.suppliers + 1

    def region(self):
        r = self.random("region")
        return [f"{i}\t{name}\t{self.words(r, 5)}\n" for i, name in enumerate(REGIONS)]

    def nation(self):
        r = self.random("nation")
        return [f"{i}\t{name}\t{region}\t{self.words(r, 5)}\n" for i, (name, region) in enumerate(NATIONS)]

    def supplier(self):
        r = self.random("supplier")
        for i in range(1, self.suppliers + 1):
            nation = r.randrange(25)
            comment = self.words(r, 6)
            if i % 100 in (7, 53):
                comment = f"{r.choice(WORDS)} Customer {r.choice(WORDS)} {'Complaints' if i % 2 else 'Recommends'}"
            yield (f"{i}\tSupplier#{i:09}\t{self.words(r, 2)}\t{nation}\t{self.phone(r, nation)}\t"
                   f"{r.randrange(-99999, 999999) / 100:.2f}\t{comment}\n")

    def part(self):
        r = self.random("part")
        for i in range(1, self.parts + 1):
            maker = r.randrange(1, 6)
            yield (f"{i}\t{' '.join(r.sample(COLORS, 5))}\tManufacturer#{maker}\tBrand#{maker}{r.randrange(1, 6)}\t{r.choice(TYPES)}\t"
                   f"{r.randrange(1, 51)}\t{r.choice(CONTAINERS)}\t{self.price(i) / 100:.2f}\t{self.words(r, 2)}\n")

    def partsupp(self):
        r = self.random("partsupp")
        for part in range(1, self.parts + 1):
            for supplier in dict.fromkeys(self.supplier_of(part, i) for i in range(4)):
                yield f"{part}\t{supplier}\t{r.randrange(1, 10000)}\t{r.randrange(100, 100001) / 100:.2f}\t{self.words(r, 12)}\n"

    def customer(self):
        r = self.random("customer")
        for i in range(1, self.customers + 1):
            nation = r.randrange(25)
            yield (f"{i}\tCustomer#{i:09}\t{self.words(r, 2)}\t{nation}\t{self.phone(r, nation)}\t"
                   f"{r.randrange(-99999, 999999) / 100:.2f}\t{r.choice(SEGMENTS)}\t{self.words(r, 8)}\n")

    def order(self, r, number):
        """(line of orders, lines of lineitem)."""
        key = (number // 8) * 32 + number % 8 + 1  # sparse, as the benchmark has it
        day = FIRST_DAY + timedelta(r.randrange((LAST_DAY - FIRST_DAY).days))
        lines, total, shipped = [], 0, 0
        count = r.randrange(1, 8)
        for line in range(1, count + 1):
            part = r.randrange(1, self.parts + 1)
            quantity, discount, tax = r.randrange(1, 51), r.randrange(11), r.randrange(9)
            price = quantity * self.price(part)
            ship, commit = day + timedelta(r.randrange(1, 122)), day + timedelta(r.randrange(30, 91))
            receipt = ship + timedelta(r.randrange(1, 31))
            total += price * (100 - discount) * (100 + tax)
            shipped += ship <= TODAY
            flag = r.choice("RA") if receipt <= TODAY else "N"
            lines.append(f"{key}\t{part}\t{self.supplier_of(part, r.randrange(4))}\t{line}\t{quantity}\t{price / 100:.2f}\t0.{discount:02}\t"
                         f"0.{tax:02}\t{flag}\t{'F' if ship <= TODAY else 'O'}\t{ship}\t{commit}\t{receipt}\t{r.choice(INSTRUCTIONS)}\t"
                         f"{r.choice(MODES)}\t{r.choice(WORDS)} {r.choice(WORDS)}\n")
        status = "F" if shipped == count else "O" if shipped == 0 else "P"
        customer = r.randrange(self.customers // 3) * 3 + r.choice((1, 2))  # every third one has no orders
        comment = f"{r.choice(WORDS)} special {r.choice(WORDS)} requests" if r.random() < 0.02 else self.words(r, 5)
        return (f"{key}\t{customer}\t{status}\t{total / 1_000_000:.2f}\t{day}\t{r.choice(PRIORITIES)}\t"
                f"Clerk#{r.randrange(1, max(2, self.orders // 1500)):09}\t0\t{comment}\n", lines)

    def orders_and_lines(self, chunk=5000):
        """Chunks of both."""
        r = self.random("orders")
        orders, lines = [], []
        for number in range(self.orders):
            order, its_lines = self.order(r, number)
            orders.append(order)
            lines += its_lines
            if len(orders) == chunk:
                yield orders, lines
                orders, lines = [], []
        yield orders, lines
