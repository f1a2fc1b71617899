/*
 * Topic route
 *
 * TopicRouteData, the body of a GET_ROUTEINFO_BY_TOPIC (105) answer, and ClusterInfo, the body of a
 * GET_BROKER_CLUSTER_INFO (106) answer, as structs. Both are decoded with jansson after java_json
 * put the missing quotes in. Whatever a nameserver sends is held to the limits given; beyond them
 * the whole answer is refused rather than cut, because half a route would send messages to half a
 * topic.
 *
 * A broker name that stands twice among the brokers or twice among the queue data, and a broker id
 * that stands twice in one broker, make the answer malformed: a nameserver builds these lists from
 * maps, and to choose one of two would be a guess. Unknown keys are ignored; of the known ones
 * cluster, orderTopicConf and topicSysFlag may be absent or null. Queue data of a broker that is
 * not listed, brokers without a master and brokers without any address are fine: they are what a
 * nameserver says while a broker comes and goes.
 *
 * A decoded route owns all its memory (one allocation tree, freed by topic_route_free).
 */
#pragma once

#include "protocol/cleanup.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* PermName.java */
#define PERM_WRITE 0x2
#define PERM_READ  0x4

#define BROKER_ID_MASTER 0

struct broker_address {
    int64_t broker_id; /* 0 is the master */
    char *address;     /* host:port, [v6]:port */
};

struct broker_data {
    char *broker_name;
    char *cluster;                    /* "" when absent */
    struct broker_address *addresses; /* sorted by broker id */
    size_t n_addresses;
};

struct queue_data {
    char *broker_name;
    int32_t read_queue_nums;
    int32_t write_queue_nums;
    int32_t perm; /* 0 to 15 */
    int32_t topic_sys_flag;
};

struct topic_route {
    struct broker_data *brokers; /* sorted by broker name */
    size_t n_brokers;
    struct queue_data *queues; /* sorted by broker name, as in Java; none in a ClusterInfo */
    size_t n_queues;
    char *order_topic_conf; /* "broker-a:4;broker-b:4", or NULL */
};

struct topic_route_limits {
    size_t max_brokers;
    size_t max_queues; /* the sum over brokers of the larger of read and write queue numbers */
};

enum topic_route_status {
    TOPIC_ROUTE_OK,
    /*
     * Not JSON, or not of this shape (an address that is not host:port, numbers out of range).
     * jansson takes memory that runs out in the middle of a string for a mistake in the text, so
     * then too.
     */
    TOPIC_ROUTE_MALFORMED,
    TOPIC_ROUTE_TOO_LARGE, /* more brokers or queues than the limits allow */
    TOPIC_ROUTE_NO_MEMORY,
};

enum topic_route_status topic_route_decode(const char *data, size_t n,
    const struct topic_route_limits *limits, struct topic_route **ret_route);
/* The same for ClusterInfo: brokers only. */
enum topic_route_status cluster_info_decode(const char *data, size_t n,
    const struct topic_route_limits *limits, struct topic_route **ret_route);
struct topic_route *topic_route_free(struct topic_route *route);
DEFINE_CLEANUP(struct topic_route *, topic_route_free)

/* NULL when there is none. */
const struct broker_data *topic_route_find_broker(
    const struct topic_route *route, struct span broker_name);
/* The master's address, or NULL. */
const char *broker_data_master(const struct broker_data *broker);
