import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.Properties;
import org.postgresql.PGConnection;

/** pgjdbc: server-prepared statements, batches, fetch size, COPY, large objects by fast-path calls, cancel. */
public class Jdbc {
    static void expect(String what, Object expected, Object got) {
        if (!expected.equals(got)) {
            throw new AssertionError(what + ": expected " + expected + ", got " + got);
        }
    }

    interface Action {
        void run() throws Exception;
    }

    static void refused(String what, String state, Action action) throws Exception {
        try {
            action.run();
        } catch (SQLException e) {
            expect(what, state, e.getSQLState());
            return;
        }
        throw new AssertionError(what + ": no error");
    }

    static Object one(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            r.next();
            return r.getObject(1);
        }
    }

    static void crud(Connection c, String table) throws Exception {
        try (PreparedStatement p = c.prepareStatement("INSERT INTO " + table + " VALUES (?, ?, ?, ?, ?, ?)")) {
            for (int i = 1; i <= 20; i++) {
                p.setLong(1, i);
                p.setString(2, "thing " + i);
                p.setBigDecimal(3, BigDecimal.valueOf(i * 25L, 2));
                p.setBoolean(4, i % 2 == 0);
                p.setBytes(5, new byte[] {(byte) i, 0, -1});
                p.setArray(6, c.createArrayOf("text", new String[] {"a", "q\"", null}));
                expect("inserted", 1, p.executeUpdate());
            }
        }
        try (PreparedStatement p = c.prepareStatement("SELECT name, price, ok, data, tags FROM " + table + " WHERE id = ?")) {
            for (int i = 1; i <= 20; i++) {
                p.setLong(1, i);
                try (ResultSet r = p.executeQuery()) {
                    r.next();
                    expect("name", "thing " + i, r.getString(1));
                    expect("price", BigDecimal.valueOf(i * 25L, 2), r.getBigDecimal(2));
                    expect("ok", i % 2 == 0, r.getBoolean(3));
                    expect("data", (byte) i, r.getBytes(4)[0]);
                    expect("tags", "q\"", ((String[]) r.getArray(5).getArray())[1]);
                }
            }
        }
        try (PreparedStatement p = c.prepareStatement("UPDATE " + table + " SET name = ? WHERE id = ?")) {
            for (int i = 1; i <= 10; i++) {
                p.setString(1, "batch " + i);
                p.setLong(2, i);
                p.addBatch();
            }
            for (int n : p.executeBatch()) {
                expect("batch", 1, n);
            }
        }
        expect("after the batch", "batch 7", one(c, "SELECT name FROM " + table + " WHERE id = 7"));
    }

    static void transactions(Connection c, String table) throws Exception {
        c.setAutoCommit(false);
        c.createStatement().executeUpdate("UPDATE " + table + " SET name = 'gone' WHERE id = 1");
        c.rollback();
        c.createStatement().executeUpdate("UPDATE " + table + " SET name = 'kept' WHERE id = 2");
        Savepoint s = c.setSavepoint();
        refused("duplicate", "23505", () -> c.createStatement().executeUpdate("INSERT INTO " + table + " (id) VALUES (2)"));
        c.rollback(s);
        c.commit();
        try (PreparedStatement p = c.prepareStatement("SELECT id FROM " + table + " WHERE id = 3")) {
            p.setFetchSize(5);
            try (ResultSet r = p.executeQuery()) {
                r.next();
                expect("a portal", 3L, r.getLong(1));
            }
        }
        c.commit();
        c.setAutoCommit(true);
        expect("rolled back", "batch 1", one(c, "SELECT name FROM " + table + " WHERE id = 1"));
        expect("committed", "kept", one(c, "SELECT name FROM " + table + " WHERE id = 2"));
        refused("division", "22012", () -> one(c, "SELECT 1 / 0"));
    }

    static void copy(Connection c, String table) throws Exception {
        StringBuilder rows = new StringBuilder();
        for (int i = 0; i < 100; i++) {
            rows.append(100 + i).append("\tcopied\n");
        }
        var api = c.unwrap(PGConnection.class).getCopyAPI();
        expect("in", 100L, api.copyIn("COPY " + table + " (id, name) FROM STDIN", new StringReader(rows.toString())));
        StringWriter out = new StringWriter();
        expect("out", 100L, api.copyOut("COPY (SELECT id FROM " + table + " WHERE id >= 100) TO STDOUT", out));
        expect("lines", 100L, out.toString().lines().count());
        refused("a bad line", "22P02", () -> api.copyIn("COPY " + table + " (id, name) FROM STDIN", new StringReader("x\ty\n")));
    }

    static void largeObjects(Connection c) throws Exception {
        c.setAutoCommit(false);
        var api = c.unwrap(PGConnection.class).getLargeObjectAPI();
        long oid = api.createLO();
        try (var lo = api.open(oid)) {
            lo.write("large and small".getBytes(StandardCharsets.UTF_8));
            lo.seek(6);
            expect("read back", "and", new String(lo.read(3), StandardCharsets.UTF_8));
        }
        api.unlink(oid);
        c.commit();
        c.setAutoCommit(true);
    }

    static void cancel(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            s.setQueryTimeout(1);
            refused("timeout", "57014", () -> s.execute("SELECT pg_sleep(30)"));
        }
        expect("goes on", 1, one(c, "SELECT 1"));
    }

    public static void main(String[] args) throws Exception {
        Properties p = new Properties();
        p.setProperty("user", "app");
        p.setProperty("password", "secret");
        String url = "jdbc:postgresql://127.0.0.1:" + args[0] + "/" + args[1];
        String[][] modes = {{"extended", "5"}, {"extended", "-1"}, {"simple", "5"}};
        for (String[] mode : modes) {
            p.setProperty("preferQueryMode", mode[0]);
            p.setProperty("prepareThreshold", mode[1]);
            try (Connection c = DriverManager.getConnection(url, p)) {
                crud(c, args[2]);
                transactions(c, args[2]);
                copy(c, args[2]);
                if (!"1".equals(System.getenv("SHARDED"))) {
                    largeObjects(c);
                }
                cancel(c);
                expect("isolation", Connection.TRANSACTION_READ_COMMITTED, c.getTransactionIsolation());
                c.createStatement().executeUpdate("DELETE FROM " + args[2] + " WHERE id > 0");
            }
        }
    }
}
