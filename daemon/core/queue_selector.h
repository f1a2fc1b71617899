/*
 * Queue selector
 *
 * Which queue a send takes: the writable queues of a route's masters, sorted by broker name and
 * queue id as Java has them, taken in turn. A broker that is out of use, slow, or that just refused
 * this send, is passed over while another can take it. A sharding key fixes the queue for good: the
 * same key, the same queue, as long as the route is the same.
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
 * The queues that can be written to, on the heap. A topic with an orderTopicConf has the queues that
 * it names (those of them that a broker would take): keys go by their number, which must not change
 * with every queue that is added. queue_nums_max caps the number a broker (for the
 * route of TBW102), 0 does not. 0 and *ret_n == 0 when there is none; -ENOMEM.
 */
int publish_queues_from_route(const struct topic_route *route, int32_t queue_nums_max,
    struct publish_queue **ret_queues, size_t *ret_n);

/*
 * What speaks for a broker, the sum of these; the most is taken. As in Java's selectOneMessageQueue
 * another broker than the last one comes before one that is fast, and one that can be reached before
 * both.
 */
#define BROKER_WORTH_AVAILABLE 1 /* fault_tolerance.h */
#define BROKER_WORTH_UNTRIED   2 /* this send did not just fail there */
#define BROKER_WORTH_REACHABLE 4 /* its address is not out of use */
#define BROKER_WORTH_ALL       7

/*
 * *turn is where the next selection starts; it is advanced past the queue chosen. worth[broker] is
 * as above. Never fails: where every broker is worth nothing, one is taken all the same. n > 0.
 */
const struct publish_queue *queue_select(
    const struct publish_queue *queues, size_t n, uint32_t *turn, const uint8_t *worth);

/* The same among the queues of one broker: NULL where it has none. */
const struct publish_queue *queue_select_of_broker(
    const struct publish_queue *queues, size_t n, uint32_t *turn, size_t broker);
/*
 * As Java's SelectMessageQueueByHash with the key's String.hashCode(); bytes that are not UTF-8 count
 * as characters. n > 0.
 */
const struct publish_queue *queue_select_by_key(
    const struct publish_queue *queues, size_t n, struct span sharding_key);
