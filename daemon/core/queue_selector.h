/*
 * Queue selector
 *
 * Which queue a send takes: the writable queues of a route's masters, sorted by broker name and
 * queue id as Java has them, taken in turn. A broker that is out of use, or that just refused this
 * send, is passed over while another can take it. A sharding key fixes the queue for good: the same
 * key, the same queue, as long as the route is the same.
 */
#pragma once

#include "protocol/topic_route.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct publish_queue {
    size_t broker; /* index into route->brokers */
    int32_t queue_id;
};

/*
 * DefaultMQProducer's defaultTopicQueueNums: a topic made on first use gets at most so many queues
 * a broker.
 */
#define DEFAULT_TOPIC_QUEUE_NUMS 4

/*
 * The queues that can be written to, on the heap. queue_nums_max caps the number a broker (for the
 * route of TBW102), 0 does not. 0 and *ret_n == 0 when there is none; -ENOMEM.
 */
int publish_queues_from_route(const struct topic_route *route, int32_t queue_nums_max,
    struct publish_queue **ret_queues, size_t *ret_n);

/*
 * *turn is where the next selection starts; it is advanced past the queue chosen. usable[broker]
 * tells which brokers are not out of use. avoid is the index of a broker that this send tried
 * already, SIZE_MAX for none. Never fails: where no broker is usable, one is taken all the same. n
 * > 0.
 */
const struct publish_queue *queue_select(
    const struct publish_queue *queues, size_t n, uint32_t *turn, const bool *usable, size_t avoid);

/*
 * As Java's SelectMessageQueueByHash with the key's String.hashCode() (of the bytes: equal for
 * ASCII). n > 0.
 */
const struct publish_queue *queue_select_by_key(
    const struct publish_queue *queues, size_t n, struct span sharding_key);
