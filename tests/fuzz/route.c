/*
 * Routes and cluster tables as a nameserver writes them: what is taken is sorted, without doubles
 * and within its limits, and quoting the keys changes nothing in what was JSON already.
 */
#include "protocol/topic_route.h"

#include "protocol/address.h"
#include "protocol/java_json.h"
#include "tests/fuzz/target.h"

#include <jansson.h>
#include <string.h>

static const struct topic_route_limits limits = { .max_brokers = 8, .max_queues = 64 };

static void promise_broker(const struct topic_route *route, size_t i)
{
    const struct broker_data *broker = &route->brokers[i];
    promise(i == 0 || strcmp(route->brokers[i - 1].broker_name, broker->broker_name) < 0,
        "%s is not behind the one before", broker->broker_name);
    promise(topic_route_find_broker(route, span_of(broker->broker_name)) == broker,
        "%s is not found", broker->broker_name);
    promise(broker->cluster, "%s has no cluster", broker->broker_name);
    for (size_t k = 0; k < broker->n_addresses; k++) {
        struct span host;
        uint16_t port;
        promise(address_parse(span_of(broker->addresses[k].address), &host, &port),
            "%s is no address", broker->addresses[k].address);
        promise(k == 0 || broker->addresses[k - 1].broker_id < broker->addresses[k].broker_id,
            "the ids of %s have no order", broker->broker_name);
    }
    const char *master = broker_data_master(broker);
    promise(!master || broker->addresses[0].broker_id <= BROKER_ID_MASTER, "%s", master);
}

static void promise_route(const struct topic_route *route)
{
    promise(route->n_brokers <= limits.max_brokers, "%zu brokers", route->n_brokers);
    for (size_t i = 0; i < route->n_brokers; i++) {
        promise_broker(route, i);
    }
    int64_t n_queues = 0;
    for (size_t i = 0; i < route->n_queues; i++) {
        const struct queue_data *queue = &route->queues[i];
        promise(i == 0 || strcmp(route->queues[i - 1].broker_name, queue->broker_name) < 0,
            "%s is not behind the one before", queue->broker_name);
        promise(queue->read_queue_nums >= 0 && queue->write_queue_nums >= 0 && queue->perm >= 0,
            "numbers of %s", queue->broker_name);
        n_queues += queue->read_queue_nums > queue->write_queue_nums ? queue->read_queue_nums
                                                                     : queue->write_queue_nums;
    }
    promise(n_queues <= (int64_t)limits.max_queues, "%lld queues", (long long)n_queues);
}

static void try_decode(enum topic_route_status (*decode)(const char *data, size_t n,
                           const struct topic_route_limits *its_limits, struct topic_route **route),
    const char *data, size_t n)
{
    CLEANUP(topic_route_free) struct topic_route *route = NULL;
    if (decode(data, n, &limits, &route) == TOPIC_ROUTE_OK) {
        promise_route(route);
    } else {
        promise(!route, "a route of an answer that was refused");
    }
}

static void try_quote(const char *data, size_t n)
{
    size_t size = java_json_quoted_size(data, n);
    promise(size >= n && (size - n) % 2 == 0, "%zu bytes of %zu", size, n);
    char *quoted = malloc(size + 1);
    promise(quoted, "no memory");
    java_json_quote(data, n, quoted);
    json_t *strict = json_loadb(data, n, 0, NULL);
    promise(!strict || size == n, "quotes were added to what is JSON");
    promise(size != n || n == 0 || memcmp(quoted, data, n) == 0, "changed without need");
    json_decref(strict);
    json_t *repaired = json_loadb(quoted, size, 0, NULL);
    promise(!repaired || java_json_quoted_size(quoted, size) == size, "not done the first time");
    json_decref(repaired);
    free(quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    try_quote((const char *)data, n);
    try_decode(topic_route_decode, (const char *)data, n);
    try_decode(cluster_info_decode, (const char *)data, n);
    return 0;
}
