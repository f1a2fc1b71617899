#include "daemon/core/queue_selector.h"

#include "protocol/ext_fields.h"
#include "protocol/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * How many queues orderTopicConf ("broker-a:4;broker-b:4") gives a broker: 0 where it does not name
 * it, or makes no sense.
 */
static int32_t order_queue_nums(const char *order_topic_conf, struct span broker_name)
{
    while (order_topic_conf && *order_topic_conf) {
        size_t n = strcspn(order_topic_conf, ";");
        struct span item = { order_topic_conf, n };
        int64_t queue_nums;
        if (item.n > broker_name.n + 1 && span_starts_with(item, broker_name) &&
            item.data[broker_name.n] == ':' &&
            ext_value_parse_i64(
                (struct span){ item.data + broker_name.n + 1, item.n - broker_name.n - 1 }, 0,
                INT32_MAX, &queue_nums)) {
            return (int32_t)queue_nums;
        }
        order_topic_conf += n + (order_topic_conf[n] == ';');
    }
    return 0;
}

/* The number of queues of one row that a send may use; the broker's index in *ret_broker. */
static int32_t row_queue_nums(const struct topic_route *route, const struct queue_data *row,
    int32_t queue_nums_max, size_t *ret_broker)
{
    if (!(row->perm & PERM_WRITE)) {
        return 0;
    }
    const struct broker_data *broker = topic_route_find_broker(route, span_of(row->broker_name));
    if (!broker || !broker_data_master(broker)) {
        return 0;
    }
    *ret_broker = (size_t)(broker - route->brokers);
    int32_t n = row->write_queue_nums;
    if (route->order_topic_conf && route->order_topic_conf[0]) {
        int32_t n_ordered = order_queue_nums(route->order_topic_conf, span_of(row->broker_name));
        return n_ordered < n ? n_ordered : n;
    }
    return queue_nums_max > 0 && n > queue_nums_max ? queue_nums_max : n;
}

int publish_queues_from_route(const struct topic_route *route, int32_t queue_nums_max,
    struct publish_queue **ret_queues, size_t *ret_n)
{
    size_t n = 0;
    size_t broker = 0;
    for (size_t i = 0; i < route->n_queues; i++) {
        n += (size_t)row_queue_nums(route, &route->queues[i], queue_nums_max, &broker);
    }
    struct publish_queue *queues = calloc(n > 0 ? n : 1, sizeof(*queues));
    if (!queues) {
        return -ENOMEM;
    }
    size_t at = 0;
    for (size_t i = 0; i < route->n_queues; i++) {
        int32_t queue_nums = row_queue_nums(route, &route->queues[i], queue_nums_max, &broker);
        for (int32_t queue_id = 0; queue_id < queue_nums; queue_id++) {
            queues[at++] = (struct publish_queue){ .broker = broker, .queue_id = queue_id };
        }
    }
    *ret_queues = queues;
    *ret_n = n;
    return 0;
}

const struct publish_queue *queue_select(
    const struct publish_queue *queues, size_t n, uint32_t *turn, const uint8_t *worth)
{
    /* How far from the start the best queue is. */
    size_t best = 0;
    int best_worth = -1;
    for (size_t i = 0; i < n && best_worth < BROKER_WORTH_ALL; i++) {
        const struct publish_queue *queue = &queues[(*turn + i) % n];
        if (worth[queue->broker] > best_worth) {
            best = i;
            best_worth = worth[queue->broker];
        }
    }
    const struct publish_queue *queue = &queues[(*turn + best) % n];
    *turn += (uint32_t)best + 1;
    return queue;
}

const struct publish_queue *queue_select_of_broker(
    const struct publish_queue *queues, size_t n, uint32_t *turn, size_t broker)
{
    for (size_t i = 0; i < n; i++) {
        const struct publish_queue *queue = &queues[(*turn + i) % n];
        if (queue->broker == broker) {
            *turn += (uint32_t)i + 1;
            return queue;
        }
    }
    return NULL;
}

/* String.hashCode(): it counts units of UTF-16, of which a character beyond U+FFFF has two. */
static uint32_t java_hash_code(struct span text)
{
    uint32_t hash = 0;
    for (size_t at = 0; at < text.n;) {
        size_t size = utf8_character_size(text.data + at, text.n - at);
        uint32_t character =
            size > 0 ? utf8_character_decode(text.data + at, size) : (uint8_t)text.data[at];
        if (character > 0xFFFF) {
            hash = hash * 31 + (0xD800 + ((character - 0x10000) >> 10));
            character = 0xDC00 + ((character - 0x10000) & 0x3FF);
        }
        hash = hash * 31 + character;
        at += size > 0 ? size : 1;
    }
    return hash;
}

const struct publish_queue *queue_select_by_key(
    const struct publish_queue *queues, size_t n, struct span sharding_key)
{
    int64_t remainder = (int64_t)(int32_t)java_hash_code(sharding_key) % (int64_t)n;
    return &queues[remainder < 0 ? -remainder : remainder];
}
