/*
 * Kafka for a test: librdkafka's mock brokers, and a reader of them. Commands by standard input:
 *
 *     fail N ERROR     the next N requests to produce get this error
 *     create TOPIC     with some partitions
 *     down | up        the brokers
 *     read TOPIC       all messages from the beginning: a line each, "partition header-partition
 *                      header-offset key TAB value", then "end"
 *
 * The first line that it prints is the brokers' address.
 */

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BROKERS = 2,
    PARTITIONS = 4,
    PRODUCE = 0, /* number of the request in Kafka's protocol */
    ENDS = PARTITIONS
};

static rd_kafka_t *new_handle(rd_kafka_type_t type, const char *const (*set)[2], size_t n)
{
    char why[300];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < n; i++) {
        if (rd_kafka_conf_set(conf, set[i][0], set[i][1], why, sizeof(why)) != RD_KAFKA_CONF_OK) {
            (void)fprintf(stderr, "%s\n", why);
            exit(1);
        }
    }
    rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));
    if (rk == NULL) {
        (void)fprintf(stderr, "%s\n", why);
        exit(1);
    }
    return rk;
}

static void print(const rd_kafka_message_t *m)
{
    const char *names[2] = {"braid.partition", "braid.offset"};
    rd_kafka_headers_t *headers = NULL;
    (void)rd_kafka_message_headers(m, &headers);
    (void)printf("%d", (int)m->partition);
    for (int i = 0; i < 2; i++) {
        const void *p = "-";
        size_t n = 1;
        if (headers != NULL) {
            (void)rd_kafka_header_get_last(headers, names[i], &p, &n);
        }
        (void)printf(" %.*s", (int)n, (const char *)p);
    }
    (void)printf(" %.*s\t%.*s\n", (int)m->key_len, (const char *)m->key, (int)m->len,
                 (const char *)m->payload);
}

static void read_topic(const char *address, const char *topic)
{
    const char *const set[][2] = {{"bootstrap.servers", address},
                                  {"group.id", "test"},
                                  {"enable.partition.eof", "true"},
                                  {"enable.auto.commit", "false"},
                                  {"auto.offset.reset", "earliest"}};
    rd_kafka_t *rk = new_handle(RD_KAFKA_CONSUMER, set, sizeof(set) / sizeof(set[0]));
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PARTITIONS);
    for (int i = 0; i < PARTITIONS; i++) {
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    (void)rd_kafka_assign(rk, list);
    for (int ends = 0; ends < ENDS;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 1000);
        if (m == NULL) {
            continue;
        }
        ends += m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            print(m);
        }
        rd_kafka_message_destroy(m);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    (void)printf("end\n");
}

int main(void)
{
    char line[300], word[300];
    int times = 0, code = 0;
    rd_kafka_t *rk = new_handle(RD_KAFKA_PRODUCER, NULL, 0);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(rk, BROKERS);
    (void)printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
    (void)fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (sscanf(line, "create %299s", word) == 1) {
            (void)rd_kafka_mock_topic_create(cluster, word, PARTITIONS, 1);
        } else if (sscanf(line, "fail %d %d", &times, &code) == 2) {
            for (int i = 0; i < times; i++) {
                rd_kafka_mock_push_request_errors(cluster, PRODUCE, 1, (rd_kafka_resp_err_t)code);
            }
        } else if (strcmp(line, "down\n") == 0 || strcmp(line, "up\n") == 0) {
            for (int i = 1; i <= BROKERS; i++) {
                (void)(line[0] == 'd' ? rd_kafka_mock_broker_set_down(cluster, i)
                                      : rd_kafka_mock_broker_set_up(cluster, i));
            }
        } else if (sscanf(line, "read %299s", word) == 1) {
            read_topic(rd_kafka_mock_cluster_bootstraps(cluster), word);
        }
        (void)printf("done\n");
        (void)fflush(stdout);
    }
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(rk);
    return 0;
}
