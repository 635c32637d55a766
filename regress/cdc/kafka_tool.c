/*
 * Kafka for a test: librdkafka's mock brokers, and a reader of them, or of those whose address is
 * its argument. Commands by standard input:
 *
 *     fail N ERROR     the next N requests to produce get this error    (mock brokers)
 *     down | up        the brokers                                      (likewise)
 *     create TOPIC [NAME=VALUE]    with some partitions and this property, or what went wrong
 *     read TOPIC       all messages from the beginning: a line each, "partition header-partition
 *                      header-offset key TAB value", then "end", or what went wrong
 *
 * The first line that it prints is the brokers' address.
 */

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BROKERS = 2,
    PARTITIONS = 4,
    PRODUCE = 0, /* number of the request in Kafka's protocol */
    WAIT_MS = 5000,
    READ_S = 120
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

/* Its partitions, all from the beginning; NULL: it is not there. */
static rd_kafka_topic_partition_list_t *partitions_of(rd_kafka_t *rk, const char *topic)
{
    const struct rd_kafka_metadata *all = NULL;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, handle, &all, WAIT_MS);
    rd_kafka_topic_destroy(handle);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return NULL;
    }
    rd_kafka_topic_partition_list_t *list = NULL;
    if (all->topic_cnt == 1 && all->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        list = rd_kafka_topic_partition_list_new(all->topics[0].partition_cnt);
        for (int i = 0; i < all->topics[0].partition_cnt; i++) {
            rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
        }
    }
    rd_kafka_metadata_destroy(all);
    return list;
}

/* To the end of each partition. 0: that took too long. */
static int print_all(rd_kafka_t *rk, int partitions)
{
    time_t until = time(NULL) + READ_S;
    for (int ends = 0; ends < partitions;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 1000);
        if (time(NULL) > until) {
            return 0;
        }
        if (m == NULL) {
            continue;
        }
        ends += m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            print(m);
        }
        rd_kafka_message_destroy(m);
    }
    return 1;
}

static void read_topic(const char *address, const char *topic)
{
    const char *const set[][2] = {
        {"bootstrap.servers", address},  {"group.id", "test"}, {"enable.partition.eof", "true"},
        {"enable.auto.commit", "false"}, {"log_level", "0"},   {"auto.offset.reset", "earliest"}};
    rd_kafka_t *rk = new_handle(RD_KAFKA_CONSUMER, set, sizeof(set) / sizeof(set[0]));
    rd_kafka_topic_partition_list_t *list = partitions_of(rk, topic);
    if (list != NULL) {
        (void)rd_kafka_assign(rk, list);
    }
    (void)printf("%s\n", list == NULL ? "not there" : print_all(rk, list->cnt) ? "end" : "no end");
    if (list != NULL) {
        rd_kafka_topic_partition_list_destroy(list);
    }
    rd_kafka_destroy(rk);
}

static void create_topic(const char *address, const char *topic, char *property)
{
    char why[300];
    const char *const set[][2] = {{"bootstrap.servers", address}, {"log_level", "0"}};
    rd_kafka_t *rk = new_handle(RD_KAFKA_PRODUCER, set, sizeof(set) / sizeof(set[0]));
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(topic, PARTITIONS, 1, why, sizeof(why));
    char *equals = strchr(property, '=');
    if (equals != NULL) {
        *equals = 0;
        (void)rd_kafka_NewTopic_set_config(wanted, property, equals + 1);
    }
    rd_kafka_CreateTopics(rk, &wanted, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, READ_S * 1000);
    size_t n = 0;
    const rd_kafka_topic_result_t **results = NULL;
    if (event != NULL && rd_kafka_event_CreateTopics_result(event) != NULL) {
        results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    }
    if (n != 1 || rd_kafka_topic_result_error(results[0]) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)printf("%s\n", n == 1 ? rd_kafka_topic_result_error_string(results[0]) : "no answer");
    }
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_NewTopic_destroy(wanted);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}

int main(int count, char **words)
{
    char line[300], word[300], property[300];
    int times = 0, code = 0;
    rd_kafka_t *rk = count > 1 ? NULL : new_handle(RD_KAFKA_PRODUCER, NULL, 0);
    rd_kafka_mock_cluster_t *cluster = rk == NULL ? NULL : rd_kafka_mock_cluster_new(rk, BROKERS);
    const char *address = rk == NULL ? words[1] : rd_kafka_mock_cluster_bootstraps(cluster);
    (void)printf("%s\n", address);
    (void)fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        property[0] = 0;
        if (sscanf(line, "create %299s %299s", word, property) >= 1) {
            if (cluster != NULL) {
                (void)rd_kafka_mock_topic_create(cluster, word, PARTITIONS, 1);
            } else {
                create_topic(address, word, property);
            }
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
            read_topic(address, word);
        }
        (void)printf("done\n");
        (void)fflush(stdout);
    }
    if (cluster != NULL) {
        rd_kafka_mock_cluster_destroy(cluster);
        rd_kafka_destroy(rk);
    }
    return 0;
}
