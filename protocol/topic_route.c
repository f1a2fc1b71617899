#include "protocol/topic_route.h"

#include <jansson.h>
#include <stdlib.h>

#include "protocol/address.h"
#include "protocol/ext_fields.h"
#include "protocol/java_json.h"

/* All bits of PermName.java: priority, read, write, inherit. */
#define PERM_MAX 15

/*
 * JSON values that an answer may have for each broker (its names, addresses and queue data) and for
 * each queue (the mappings of static topics): many times what nameservers write.
 */
#define VALUES_PER_BROKER 64
#define VALUES_PER_QUEUE  8

DEFINE_CLEANUP(char *, free)
DEFINE_CLEANUP(json_t *, json_decref)

static int compare_brokers(const void *a, const void *b)
{
    const struct broker_data *broker_a = a;
    const struct broker_data *broker_b = b;
    return strcmp(broker_a->broker_name, broker_b->broker_name);
}

static int compare_queues(const void *a, const void *b)
{
    const struct queue_data *queue_a = a;
    const struct queue_data *queue_b = b;
    return strcmp(queue_a->broker_name, queue_b->broker_name);
}

static int compare_addresses(const void *a, const void *b)
{
    const struct broker_address *address_a = a;
    const struct broker_address *address_b = b;
    return (address_a->broker_id > address_b->broker_id) -
           (address_a->broker_id < address_b->broker_id);
}

/* Sorts, and tells whether all elements differ. */
static bool sort_distinct(
    void *elements, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    if (n < 2) {
        return true;
    }
    qsort(elements, n, size, compare);
    for (const char *each = elements; n > 1; n--, each += size) {
        if (compare(each, each + size) == 0) {
            return false;
        }
    }
    return true;
}

/* Whether the host exists is the resolver's business. */
static bool is_address(const char *address)
{
    struct span host;
    uint16_t port;
    return address_parse(span_of(address), &host, &port);
}

/*
 * No value or null is taken as `absent`, unless that is NULL too. Anything else but a string is
 * malformed.
 */
static enum topic_route_status copy_string(
    const json_t *value, const char *absent, char **ret_string)
{
    const char *string = !value || json_is_null(value) ? absent : json_string_value(value);
    if (!string) {
        return TOPIC_ROUTE_MALFORMED;
    }
    char *copy = strdup(string);
    if (!copy) {
        return TOPIC_ROUTE_NO_MEMORY;
    }
    *ret_string = copy;
    return TOPIC_ROUTE_OK;
}

static enum topic_route_status copy_broker_name(const json_t *object, char **ret_name)
{
    const json_t *name = json_object_get(object, "brokerName");
    return json_string_length(name) > 0 ? copy_string(name, NULL, ret_name) : TOPIC_ROUTE_MALFORMED;
}

static bool read_i32(const json_t *value, int32_t min, int32_t max, int32_t *ret_number)
{
    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max) {
        return false;
    }
    *ret_number = (int32_t)json_integer_value(value);
    return true;
}

static enum topic_route_status read_addresses(json_t *object, struct broker_data *broker)
{
    if (!json_is_object(object)) {
        return TOPIC_ROUTE_MALFORMED;
    }
    broker->addresses = calloc(json_object_size(object) + 1, sizeof(*broker->addresses));
    if (!broker->addresses) {
        return TOPIC_ROUTE_NO_MEMORY;
    }
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        struct broker_address *address = &broker->addresses[broker->n_addresses];
        if (!ext_value_parse_i64(span_of(key), INT64_MIN, INT64_MAX, &address->broker_id) ||
            !json_is_string(value) || !is_address(json_string_value(value))) {
            return TOPIC_ROUTE_MALFORMED;
        }
        enum topic_route_status status = copy_string(value, NULL, &address->address);
        if (status != TOPIC_ROUTE_OK) {
            return status;
        }
        broker->n_addresses++;
    }
    return sort_distinct(broker->addresses, broker->n_addresses, sizeof(*broker->addresses),
               compare_addresses)
               ? TOPIC_ROUTE_OK
               : TOPIC_ROUTE_MALFORMED;
}

static enum topic_route_status read_broker(const json_t *object, struct broker_data *broker)
{
    enum topic_route_status status = copy_broker_name(object, &broker->broker_name);
    if (status == TOPIC_ROUTE_OK) {
        status = copy_string(json_object_get(object, "cluster"), "", &broker->cluster);
    }
    if (status == TOPIC_ROUTE_OK) {
        status = read_addresses(json_object_get(object, "brokerAddrs"), broker);
    }
    return status;
}

static enum topic_route_status allocate_brokers(
    struct topic_route *route, size_t n, const struct topic_route_limits *limits)
{
    if (n > limits->max_brokers) {
        return TOPIC_ROUTE_TOO_LARGE;
    }
    route->brokers = calloc(n + 1, sizeof(*route->brokers));
    return route->brokers ? TOPIC_ROUTE_OK : TOPIC_ROUTE_NO_MEMORY;
}

static enum topic_route_status sort_brokers(struct topic_route *route)
{
    return sort_distinct(route->brokers, route->n_brokers, sizeof(*route->brokers), compare_brokers)
               ? TOPIC_ROUTE_OK
               : TOPIC_ROUTE_MALFORMED;
}

/* brokerDatas of TopicRouteData */
static enum topic_route_status read_brokers(
    const json_t *array, const struct topic_route_limits *limits, struct topic_route *route)
{
    if (!json_is_array(array)) {
        return TOPIC_ROUTE_MALFORMED;
    }
    enum topic_route_status status = allocate_brokers(route, json_array_size(array), limits);
    for (size_t i = 0; status == TOPIC_ROUTE_OK && i < json_array_size(array); i++) {
        status = read_broker(json_array_get(array, i), &route->brokers[route->n_brokers++]);
    }
    return status == TOPIC_ROUTE_OK ? sort_brokers(route) : status;
}

static enum topic_route_status read_queue(const json_t *object, struct queue_data *queue)
{
    enum topic_route_status status = copy_broker_name(object, &queue->broker_name);
    if (status != TOPIC_ROUTE_OK) {
        return status;
    }
    const json_t *sys_flag = json_object_get(object, "topicSysFlag");
    bool is_sys_flag_absent = !sys_flag || json_is_null(sys_flag);
    if (!read_i32(
            json_object_get(object, "readQueueNums"), 0, INT32_MAX, &queue->read_queue_nums) ||
        !read_i32(
            json_object_get(object, "writeQueueNums"), 0, INT32_MAX, &queue->write_queue_nums) ||
        !read_i32(json_object_get(object, "perm"), 0, PERM_MAX, &queue->perm) ||
        (!is_sys_flag_absent &&
            !read_i32(sys_flag, INT32_MIN, INT32_MAX, &queue->topic_sys_flag))) {
        return TOPIC_ROUTE_MALFORMED;
    }
    return TOPIC_ROUTE_OK;
}

/* queueDatas of TopicRouteData */
static enum topic_route_status read_queues(
    const json_t *array, const struct topic_route_limits *limits, struct topic_route *route)
{
    if (!json_is_array(array)) {
        return TOPIC_ROUTE_MALFORMED;
    }
    if (json_array_size(array) > limits->max_brokers) { /* one element a broker */
        return TOPIC_ROUTE_TOO_LARGE;
    }
    route->queues = calloc(json_array_size(array) + 1, sizeof(*route->queues));
    if (!route->queues) {
        return TOPIC_ROUTE_NO_MEMORY;
    }
    size_t queues_left = limits->max_queues;
    for (size_t i = 0; i < json_array_size(array); i++) {
        struct queue_data *queue = &route->queues[route->n_queues++];
        enum topic_route_status status = read_queue(json_array_get(array, i), queue);
        if (status != TOPIC_ROUTE_OK) {
            return status;
        }
        size_t n =
            (size_t)(queue->read_queue_nums > queue->write_queue_nums ? queue->read_queue_nums
                                                                      : queue->write_queue_nums);
        if (n > queues_left) {
            return TOPIC_ROUTE_TOO_LARGE;
        }
        queues_left -= n;
    }
    return sort_distinct(route->queues, route->n_queues, sizeof(*route->queues), compare_queues)
               ? TOPIC_ROUTE_OK
               : TOPIC_ROUTE_MALFORMED;
}

static enum topic_route_status read_topic_route(
    const json_t *root, const struct topic_route_limits *limits, struct topic_route *route)
{
    enum topic_route_status status =
        read_brokers(json_object_get(root, "brokerDatas"), limits, route);
    if (status == TOPIC_ROUTE_OK) {
        status = read_queues(json_object_get(root, "queueDatas"), limits, route);
    }
    const json_t *order_topic_conf = json_object_get(root, "orderTopicConf");
    if (status == TOPIC_ROUTE_OK && order_topic_conf && !json_is_null(order_topic_conf)) {
        status = copy_string(order_topic_conf, NULL, &route->order_topic_conf);
    }
    return status;
}

/*
 * brokerAddrTable of ClusterInfo: BrokerData by broker name. The name inside counts, and has to be
 * that of the key.
 */
static enum topic_route_status read_cluster_info(
    const json_t *root, const struct topic_route_limits *limits, struct topic_route *route)
{
    json_t *table = json_object_get(root, "brokerAddrTable");
    if (!json_is_object(table)) {
        return TOPIC_ROUTE_MALFORMED;
    }
    enum topic_route_status status = allocate_brokers(route, json_object_size(table), limits);
    if (status != TOPIC_ROUTE_OK) {
        return status;
    }
    const char *key;
    json_t *value;
    json_object_foreach(table, key, value)
    {
        struct broker_data *broker = &route->brokers[route->n_brokers++];
        status = read_broker(value, broker);
        if (status != TOPIC_ROUTE_OK) {
            return status;
        }
        if (strcmp(broker->broker_name, key) != 0) {
            return TOPIC_ROUTE_MALFORMED;
        }
    }
    return sort_brokers(route);
}

/*
 * jansson needs some 50 bytes for a value of two characters, so a text is refused before it is
 * parsed when it has more values than an answer within the limits can have. Every value but the
 * first stands behind one of these characters; that they also occur in strings does not matter at
 * this distance.
 */
static bool has_too_many_values(const char *data, size_t n, const struct topic_route_limits *limits)
{
    size_t n_values = 0;
    for (size_t i = 0; i < n; i++) {
        n_values += data[i] == ',' || data[i] == '[' || data[i] == '{';
    }
    size_t n_shares = n_values / VALUES_PER_BROKER;
    return n_shares > limits->max_brokers &&
           n_shares - limits->max_brokers >
               limits->max_queues / (VALUES_PER_BROKER / VALUES_PER_QUEUE) + 1;
}

static enum topic_route_status parse(const char *data, size_t n, json_t **ret_root)
{
    size_t quoted_size = java_json_quoted_size(data, n);
    CLEANUP(free) char *quoted = NULL;
    if (quoted_size != n) {
        quoted = malloc(quoted_size);
        if (!quoted) {
            return TOPIC_ROUTE_NO_MEMORY;
        }
        java_json_quote(data, n, quoted);
    }
    json_error_t error;
    json_t *root = json_loadb(quoted ? quoted : data, quoted_size, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        /*
         * What jansson judges it judges in words; without memory it mostly stays silent, and never
         * says "out of memory".
         */
        return error.text[0] ? TOPIC_ROUTE_MALFORMED : TOPIC_ROUTE_NO_MEMORY;
    }
    *ret_root = root;
    return TOPIC_ROUTE_OK;
}

static enum topic_route_status decode(const char *data, size_t n,
    const struct topic_route_limits *limits,
    enum topic_route_status (*read)(
        const json_t *, const struct topic_route_limits *, struct topic_route *),
    struct topic_route **ret_route)
{
    if (has_too_many_values(data, n, limits)) {
        return TOPIC_ROUTE_TOO_LARGE;
    }
    CLEANUP(json_decref) json_t *root = NULL;
    enum topic_route_status status = parse(data, n, &root);
    if (status != TOPIC_ROUTE_OK) {
        return status;
    }
    CLEANUP(topic_route_free) struct topic_route *route = calloc(1, sizeof(*route));
    if (!route) {
        return TOPIC_ROUTE_NO_MEMORY;
    }
    status = read(root, limits, route);
    if (status == TOPIC_ROUTE_OK) {
        *ret_route = TAKE(route);
    }
    return status;
}

enum topic_route_status topic_route_decode(const char *data, size_t n,
    const struct topic_route_limits *limits, struct topic_route **ret_route)
{
    return decode(data, n, limits, read_topic_route, ret_route);
}

enum topic_route_status cluster_info_decode(const char *data, size_t n,
    const struct topic_route_limits *limits, struct topic_route **ret_route)
{
    return decode(data, n, limits, read_cluster_info, ret_route);
}

struct topic_route *topic_route_free(struct topic_route *route)
{
    if (!route) {
        return NULL;
    }
    for (size_t i = 0; i < route->n_brokers; i++) {
        struct broker_data *broker = &route->brokers[i];
        for (size_t j = 0; j < broker->n_addresses; j++) {
            free(broker->addresses[j].address);
        }
        free(broker->addresses);
        free(broker->cluster);
        free(broker->broker_name);
    }
    for (size_t i = 0; i < route->n_queues; i++) {
        free(route->queues[i].broker_name);
    }
    free(route->brokers);
    free(route->queues);
    free(route->order_topic_conf);
    free(route);
    return NULL;
}

static int compare_broker_name(const void *key, const void *element)
{
    const struct span *name = key;
    const struct broker_data *broker = element;
    int order = strncmp(name->data, broker->broker_name, name->n);
    return order != 0 || broker->broker_name[name->n] == 0 ? order : -1;
}

const struct broker_data *topic_route_find_broker(
    const struct topic_route *route, struct span broker_name)
{
    return bsearch(&broker_name, route->brokers, route->n_brokers, sizeof(*route->brokers),
        compare_broker_name);
}

const char *broker_data_master(const struct broker_data *broker)
{
    for (size_t i = 0; i < broker->n_addresses; i++) {
        if (broker->addresses[i].broker_id == BROKER_ID_MASTER) {
            return broker->addresses[i].address;
        }
    }
    return NULL;
}
