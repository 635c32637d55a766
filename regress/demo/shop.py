"""The shop: its schema, its rows, and what a right answer is.

Rows come from a fixed seed and are added up while they are made, so every answer of the tour can be
compared with a number that no database had a hand in.
"""

import random
from collections import defaultdict

USERS = 60_000
PRODUCTS = 500
COUNTRIES = [
    ("AR", "Argentina"), ("AU", "Australia"), ("BR", "Brazil"), ("CA", "Canada"), ("CH", "Switzerland"),
    ("CZ", "Czechia"), ("DE", "Germany"), ("DK", "Denmark"), ("ES", "Spain"), ("FI", "Finland"),
    ("FR", "France"), ("GB", "United Kingdom"), ("IN", "India"), ("IT", "Italy"), ("JP", "Japan"),
    ("KE", "Kenya"), ("MX", "Mexico"), ("NL", "Netherlands"), ("NO", "Norway"), ("NZ", "New Zealand"),
    ("PL", "Poland"), ("PT", "Portugal"), ("SE", "Sweden"), ("US", "United States"),
]
FIRST = ["Ada", "Alan", "Barbara", "Claude", "Dennis", "Edgar", "Edsger", "Frances", "Grace", "Jim",
         "John", "Katherine", "Ken", "Leslie", "Lynn", "Margaret", "Michael", "Niklaus", "Radia", "Tony"]
LAST = ["Allen", "Backus", "Codd", "Conway", "Dijkstra", "Gray", "Hamilton", "Hoare", "Hopper",
        "Johnson", "Lamport", "Liskov", "Lovelace", "McCarthy", "Perlman", "Ritchie", "Shannon",
        "Stonebraker", "Thompson", "Turing", "Wirth"]
THINGS = ["lamp", "chair", "kettle", "teapot", "desk", "clock", "scarf", "globe", "bicycle", "radio"]
COLOURS = ["red", "blue", "green", "black", "white", "yellow", "grey", "brown", "silver", "orange"]

SCHEMA = [
    """CREATE TABLE countries (
    code text PRIMARY KEY,
    name text NOT NULL
) REFERENCE""",
    """CREATE TABLE products (
    id    int PRIMARY KEY,
    name  text NOT NULL,
    price numeric(10,2) NOT NULL
) REFERENCE""",
    """CREATE TABLE users (
    id      bigint PRIMARY KEY,
    name    text NOT NULL,
    country text NOT NULL,
    balance bigint NOT NULL CHECK (balance >= 0)
) SHARD BY HASH (id)""",
    """CREATE TABLE orders (
    user_id bigint NOT NULL,
    id      bigint NOT NULL,
    placed  date NOT NULL,
    status  text NOT NULL,
    PRIMARY KEY (user_id, id)
) SHARD BY HASH (user_id) COLOCATE WITH users""",
    """CREATE TABLE order_items (
    user_id    bigint NOT NULL,
    order_id   bigint NOT NULL,
    line       int NOT NULL,
    product_id int NOT NULL,
    quantity   int NOT NULL,
    price      numeric(10,2) NOT NULL,
    PRIMARY KEY (user_id, order_id, line)
) SHARD BY HASH (user_id) COLOCATE WITH users""",
]


class Shop:
    """Tables as lists of lines for COPY, and the sums over them."""

    def __init__(self, users=USERS, seed=7):
        self.users_count = users
        self.random = random.Random(seed)
        self.prices = {}  # product -> cents
        self.balances = []  # of user id - 1
        self.by_country = defaultdict(lambda: [0, 0])  # country -> users, money
        self.by_status = defaultdict(int)
        self.items_of = {}  # user -> number of items, first users only
        self.turnover = 0  # cents
        self.rows_count = {}
        self.tables = [("countries", self.countries), ("products", self.products), ("users", self.users),
                       ("orders", self.orders), ("order_items", self.order_items)]
        self._orders = []

    def countries(self):
        return [f"{code}\t{name}\n" for code, name in COUNTRIES]

    def products(self):
        lines = []
        for i in range(1, PRODUCTS + 1):
            cents = self.random.randrange(199, 50_000)
            self.prices[i] = cents
            name = f"{self.random.choice(COLOURS)} {self.random.choice(THINGS)} no. {i}"
            lines.append(f"{i}\t{name}\t{cents // 100}.{cents % 100:02}\n")
        return lines

    def users(self):
        r = self.random
        lines = []
        for i in range(1, self.users_count + 1):
            country = r.choice(COUNTRIES)[0]
            balance = r.randrange(1_000, 100_000)
            self.balances.append(balance)
            self.by_country[country][0] += 1
            self.by_country[country][1] += balance
            lines.append(f"{i}\t{r.choice(FIRST)} {r.choice(LAST)}\t{country}\t{balance}\n")
        return lines

    def orders(self):
        r = self.random
        lines = []
        for i in range(1, 2 * self.users_count + 1):
            user = r.randrange(1, self.users_count + 1)
            status = r.choice(("paid", "paid", "paid", "open", "returned"))
            self.by_status[status] += 1
            self._orders.append((user, i))
            lines.append(f"{user}\t{i}\t2026-{r.randrange(1, 13):02}-{r.randrange(1, 29):02}\t{status}\n")
        return lines

    def order_items(self):
        r = self.random
        lines = []
        for user, order in self._orders:
            for line in range(1, r.choice((1, 2, 2, 3)) + 1):
                product = r.randrange(1, PRODUCTS + 1)
                quantity = r.randrange(1, 5)
                cents = self.prices[product]
                self.turnover += cents * quantity
                self.items_of[user] = self.items_of.get(user, 0) + 1
                lines.append(f"{user}\t{order}\t{line}\t{product}\t{quantity}\t"
                             f"{cents // 100}.{cents % 100:02}\n")
        return lines

    def busy_user(self):
        """A user with a handful of items."""
        return next(user for user in range(4242, self.users_count) if self.items_of.get(user) == 6)

    def median_balance(self):
        """As percentile_cont(0.5) has it."""
        ordered = sorted(self.balances)
        return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2

    def same_balance(self):
        """Pairs of users who have the same."""
        count = defaultdict(int)
        for balance in self.balances:
            count[balance] += 1
        return sum(n * (n - 1) // 2 for n in count.values())

    def richest_countries(self, count):
        """(country name, users, money) as the tour asks for them."""
        names = dict(COUNTRIES)
        rows = [(names[code], users, money) for code, (users, money) in self.by_country.items()]
        return sorted(rows, key=lambda row: (-row[2], row[0]))[:count]

