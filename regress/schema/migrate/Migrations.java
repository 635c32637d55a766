import org.flywaydb.core.Flyway;
import org.flywaydb.core.api.MigrationInfo;

/** Flyway's own engine over a folder of SQL files: URL FOLDER; prints what it applied. */
public class Migrations {
    public static void main(String[] args) throws Exception {
        Flyway flyway = Flyway.configure().dataSource(args[0], "app", "secret").locations("filesystem:" + args[1]).load();
        System.out.println("applied " + flyway.migrate().migrationsExecuted);
        flyway.validate();
        for (MigrationInfo info : flyway.info().applied()) {
            System.out.println(info.getVersion() + " " + info.getState());
        }
    }
}
