/* Manual pages from the tables in base/: what is in a row is on the page, so they cannot drift. */

#include "proxy/admin/pages.h"

#include "base/err.h"
#include "base/log.h"
#include "base/metric.h"

static const char made_by[] =
    "<!-- Made from %s by `braidctl %s`; change the table, not this. -->\n\n";

static const char *blame_word(enum err e)
{
    switch (err_blame(e)) {
    case BLAME_CLIENT: return "client";
    case BLAME_SHARD: return "server";
    case BLAME_PROXY: return "pgbraid";
    }
    return "";
}

/* A bar would end the cell. */
static void cell(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        buf_text(out, *text == '|' ? "\\" : "");
        buf_u8(out, (uint8_t)*text);
    }
}

void page_errors(struct buf *out)
{
    buf_text(out, "# Errors\n\n");
    buf_printf(out, made_by, "base/err.def", "errors");
    buf_text(
        out,
        "Every error that pgbraid itself sends. Errors of the servers are passed on as they are.\n"
        "The message says more than this page; the hint, when there is one, says what to do.\n\n"
        "- **SQLSTATE** is what a program sees; PostgreSQL's appendix A explains the classes.\n"
        "- **Whose** says who can do something about it: the client, a server, or pgbraid (its\n"
        "  operator).\n"
        "- **Again** is yes when the same statement may succeed later without a change.\n\n"
        "| Name | SQLSTATE | Whose | Again | What it means |\n"
        "|---|---|---|---|---|\n");
    for (int i = ERR_NONE + 1; i < ERR_COUNT; i++) {
        enum err e = (enum err)i;
        buf_printf(out, "| %s | %s | %s | %s | ", err_name(e), err_sqlstate(e), blame_word(e),
                   err_retry(e) ? "yes" : "no");
        cell(out, err_text(e));
        buf_text(out, " |\n");
    }
    buf_text(out,
             "| (console) | 42501 | client | no | this user may not use the admin console |\n");
}

void page_metrics(struct buf *out)
{
    buf_text(out, "# Metrics\n\n");
    buf_printf(out, made_by, "base/metric.def", "metrics");
    buf_text(
        out,
        "`/metrics` on the HTTP address is OpenMetrics text; `/stats` is the same as JSON, and\n"
        "`SHOW TOTALS` on the admin console lists the counters by name.\n\n"
        "## Counters\n\nThey grow from the start of the process.\n\n"
        "| In /metrics | On the console | Unit | What is counted |\n|---|---|---|---|\n");
    for (int i = 0; i < METRIC_COUNT; i++) {
        struct buf name = {0};
        const char *unit = NULL;
        metrics_family(i, &name, &unit);
        buf_printf(out, "| `%s_total` | %s | %s | ", (const char *)name.p,
                   metric_name((enum metric)i), unit != NULL ? unit : metric_unit((enum metric)i));
        cell(out, metric_help((enum metric)i));
        buf_text(out, " |\n");
        buf_free(&name);
    }
    buf_text(
        out,
        "\n## With names\n\n"
        "Databases, users and shards past `stats.names_max` are added up as \"other\".\n\n"
        "| Name | Kind | Labels | What it is |\n|---|---|---|---|\n"
        "| `pgbraid_request_seconds` | histogram | database | from a request to its ReadyForQuery, "
        "with waits |\n"
        "| `pgbraid_user_request_seconds` | summary | user | the same by user |\n"
        "| `pgbraid_wait_seconds` | histogram | database | waits for a server connection |\n"
        "| `pgbraid_shard_trip_seconds` | histogram | database, shard, role | from sending to a "
        "server to the end of its answer |\n"
        "| `pgbraid_database_transactions_total`, `_errors_total`, `_logins_total`, "
        "`_received_bytes_total`, `_sent_bytes_total` | counter | database | what clients did |\n"
        "| `pgbraid_errors_total` | counter | sqlstate, origin: server, pgbraid | errors |\n"
        "| `pgbraid_pool_connections` | gauge | database, state | server connections |\n"
        "| `pgbraid_pool_waiting`, `pgbraid_pool_longest_wait_seconds` | gauge | database | clients "
        "that wait |\n"
        "| `pgbraid_pool_saturation_ratio` | gauge | database | connections at work by pool.size, "
        "of the fullest pool |\n"
        "\n## Gauges\n\n"
        "| Name | Labels | What it is |\n|---|---|---|\n"
        "| `pgbraid_client_connections` | state: active, idle, waiting, login | connections of "
        "clients |\n"
        "| `pgbraid_server_healthy` | server, host, port | 1 when the server answers its health "
        "check |\n"
        "| `pgbraid_server_latency_seconds` | server, host, port | time of the last good health "
        "check |\n"
        "| `pgbraid_server_connections` | server, host, port, state | connections to the server "
        "|\n"
        "| `pgbraid_database_ready` | database | 1 when the database can be used |\n"
        "| `pgbraid_database_map_epoch` | database | version of the shard map in force |\n"
        "| `pgbraid_tx_in_doubt` | | transactions that recovery has to finish |\n"
        "| `pgbraid_tx_in_flight` | | two-phase commits under way |\n"
        "| `pgbraid_plan_cache_plans`, `pgbraid_plan_cache_bytes` | | plans kept by all workers "
        "|\n"
        "| `pgbraid_uptime_seconds`, `pgbraid_workers`, `pgbraid_build_info` | version | the "
        "process |\n");
}

static const struct {
    const char *name, *level, *text;
} log_rows[] = {
#define LOG(name_, level_, text_) {#name_, #level_, text_},
#include "base/log.def"
};

void page_logs(struct buf *out)
{
    buf_text(out, "# Log lines\n\n");
    buf_printf(out, made_by, "base/log.def", "logs");
    buf_text(
        out,
        "One line per event: time (UTC), process, level, event, then key=value pairs; values with\n"
        "blanks, quotes or control bytes stand in double quotes, escaped as in JSON. With\n"
        "`log.format: json` a line is one JSON object; pairs without a value are left out.\n\n"
        "    2026-11-20 11:42:07.123456 UTC [4711] INFO  CLIENT_LOGIN client=17 user=app\n"
        "    {\"time\":\"2026-11-20T11:42:07.123456Z\",\"pid\":4711,\"level\":\"info\",\"event\":"
        "\"CLIENT_LOGIN\",\"client\":17,\"user\":\"app\"}\n\n"
        "Lines go to stderr or to `log.file`, which RELOAD and SIGHUP open anew (rotation). A thread\n"
        "of its own writes them: when the disk is slow or full, lines are dropped and counted\n"
        "(LOG_DROPPED), and nothing else waits.\n\n"
        "`log.level` names the lowest level that is written. Passwords, keys and parameters of\n"
        "statements are never written; statement text is written at level debug only.\n\n"
        "| Event | Level | What it tells |\n|---|---|---|\n");
    for (size_t i = 0; i < sizeof(log_rows) / sizeof(log_rows[0]); i++) {
        buf_printf(out, "| %s | %s | ", log_rows[i].name, log_rows[i].level);
        cell(out, log_rows[i].text);
        buf_text(out, " |\n");
    }
}
