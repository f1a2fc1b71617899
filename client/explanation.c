#include "client/explanation.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/explanation_cause.h"
#include "client/explanation_group.h"
#include "client/explanation_message.h"
#include "client/inquiry.h"
#include "client/output.h"
#include "protocol/code.h"

#define NAMESERVERS_MAX 8
#define BROKERS_MAX     16
#define GROUPS_MAX      8
#define ROUTE_PAGES_MAX 8

static json_t *rows_of(const struct explanation *explanation, const char *key)
{
    return json_object_get(explanation->report, key);
}

/* --- nameservers and the route --- */

static bool has_same_brokers(const struct topic_route *a, const struct topic_route *b)
{
    if (a->n_brokers != b->n_brokers) {
        return false;
    }
    for (size_t i = 0; i < a->n_brokers; i++) {
        const char *master_a = broker_data_master(&a->brokers[i]);
        const char *master_b = broker_data_master(&b->brokers[i]);
        if (strcmp(a->brokers[i].broker_name, b->brokers[i].broker_name) != 0 ||
            strcmp(master_a ? master_a : "", master_b ? master_b : "") != 0) {
            return false;
        }
    }
    return true;
}

static bool has_same_queues(const struct topic_route *a, const struct topic_route *b)
{
    if (a->n_queues != b->n_queues) {
        return false;
    }
    for (size_t i = 0; i < a->n_queues; i++) {
        const struct queue_data *queue_a = &a->queues[i];
        const struct queue_data *queue_b = &b->queues[i];
        if (strcmp(queue_a->broker_name, queue_b->broker_name) != 0 ||
            queue_a->perm != queue_b->perm ||
            queue_a->read_queue_nums != queue_b->read_queue_nums ||
            queue_a->write_queue_nums != queue_b->write_queue_nums) {
            return false;
        }
    }
    return true;
}

/* What one nameserver knows. Of several routes the first is told, and the others compared with it. */
static void ask_nameserver(struct explanation *explanation, json_t *row)
{
    struct inquiry inquiry;
    struct topic_route *route = NULL;
    struct remotingclient_request *request =
        inquiry_request_new(explanation, REQUEST_GET_ROUTEINFO_BY_TOPIC);
    remotingclient_request_add(request, "topic", explanation->topic);
    remotingclient_request_add(
        request, "sidecar.addr", json_string_value(json_object_get(row, "addr")));
    inquiry_ask(explanation, request, &inquiry);
    json_t *knows = json_null();
    if (inquiry.code == RESPONSE_TOPIC_NOT_EXIST) {
        knows = json_false();
    } else if (inquiry.code == RESPONSE_SUCCESS &&
               command_read_route(inquiry.answer, &route) == EXIT_CODE_SUCCESS) {
        knows = json_true();
    }
    const bool is_different = route && explanation->route &&
                              !(has_same_brokers(route, explanation->route) &&
                                  has_same_queues(route, explanation->route));
    json_object_set_new(row, "knows", knows);
    json_object_set_new(row, "isDifferent", json_boolean(is_different));
    json_object_set_new(
        row, "reason", json_is_null(knows) ? json_text(span_of(inquiry.reason)) : json_null());
    if (!explanation->route) {
        explanation->route = TAKE(route);
    }
    topic_route_free(route);
    inquiry_deinit(&inquiry);
}

static void ask_nameservers(struct explanation *explanation)
{
    struct inquiry inquiry;
    inquiry_ask(explanation, inquiry_request_new(explanation, SIDECAR_GET_NAMESRV_LIST), &inquiry);
    size_t i;
    const json_t *known;
    json_array_foreach(json_object_get(inquiry.body, "nameservers"), i, known)
    {
        if (i >= NAMESERVERS_MAX) {
            inquiry_note_unknown(
                explanation, "there are many", "nameservers beyond the first %d", NAMESERVERS_MAX);
            break;
        }
        json_t *row = json_pack("{s:O?, s:O?, s:O?}", "addr", json_object_get(known, "addr"),
            "isCurrent", json_object_get(known, "isCurrent"), "isAvailable",
            json_object_get(known, "isAvailable"));
        json_array_append_new(rows_of(explanation, "nameservers"), row);
        ask_nameserver(explanation, row);
    }
    if (inquiry.code != RESPONSE_SUCCESS) {
        inquiry_note_unknown(explanation, inquiry.reason, "the nameservers");
    }
    inquiry_deinit(&inquiry);
}

/* The topic's row among the routes that the daemon keeps; a new reference, or NULL. */
static json_t *find_kept_route(struct explanation *explanation)
{
    json_t *found = NULL;
    int64_t after = 0;
    for (size_t page = 0; page < ROUTE_PAGES_MAX && !found; page++) {
        struct inquiry inquiry;
        struct remotingclient_request *request =
            inquiry_request_new(explanation, SIDECAR_GET_ROUTES);
        if (after > 0) {
            remotingclient_request_add_number(request, "after", after);
        }
        inquiry_ask(explanation, request, &inquiry);
        size_t i;
        json_t *row;
        json_array_foreach(json_object_get(inquiry.body, "routes"), i, row)
        {
            if (span_equals_text(json_object_text(row, "topic"), explanation->topic)) {
                found = json_incref(row);
                break;
            }
        }
        after = json_object_number(inquiry.body, "next");
        inquiry_deinit(&inquiry);
        if (after <= 0) {
            break;
        }
    }
    return found;
}

static void tell_route(struct explanation *explanation, const json_t *kept)
{
    const char *from = explanation->route ? "nameserver" : kept ? "daemon" : NULL;
    json_t *route = json_pack("{s:s?, s:O?, s:O?, s:O?}", "from", from, "state",
        json_object_get(kept, "state"), "ageMillis", json_object_get(kept, "ageMillis"), "brokers",
        json_object_get(kept, "brokers"));
    json_object_set_new(explanation->report, "route", route);
}

/* --- brokers --- */

static void ask_reachable(struct explanation *explanation, json_t *row, const char *address)
{
    struct inquiry inquiry;
    struct remotingclient_request *request =
        inquiry_request_new(explanation, SIDECAR_IS_ADDRESS_REACHABLE);
    remotingclient_request_add(request, "addr", address);
    inquiry_ask(explanation, request, &inquiry);
    if (inquiry.code == RESPONSE_SUCCESS) {
        json_object_set(row, "reachable", json_object_get(inquiry.body, "reachable"));
        json_object_set(row, "rttMicros", json_object_get(inquiry.body, "rttMicros"));
        if (!json_is_null(json_object_get(inquiry.body, "cause"))) {
            json_object_set(row, "cause", json_object_get(inquiry.body, "cause"));
        }
    } else {
        inquiry_note_unknown(explanation, inquiry.reason, "whether %s is reachable", address);
    }
    inquiry_deinit(&inquiry);
}

/* The daemon's row of a broker, or NULL. */
static json_t *find_broker(json_t *known, const char *name)
{
    size_t i;
    json_t *row;
    json_array_foreach(known, i, row)
    {
        if (span_equals_text(json_object_text(row, "name"), name)) {
            return row;
        }
    }
    return NULL;
}

/* A send goes to a queue that may be written to, of a master that is not out of use. */
static bool is_sent_to(const json_t *row)
{
    return json_object_number(row, "perm") & PERM_WRITE &&
           json_object_number(row, "writeQueues") > 0 &&
           !json_is_false(json_object_get(row, "reachable")) &&
           !json_is_true(json_object_get(row, "isPassedOver")) &&
           !span_equals(json_object_text(row, "state"), SPAN("no master"));
}

/* queue NULL: no nameserver told of its queues. A new reference. */
static json_t *new_broker(struct explanation *explanation, const char *name, const char *address,
    const struct queue_data *queue, json_t *known)
{
    json_t *row = json_pack("{s:s, s:s?, s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:b}", "name",
        name, "addr", address, "perm", "readQueues", "writeQueues", "state", "reachable",
        "rttMicros", "cause", "isPassedOver", "isInRoute", queue != NULL);
    static const char *const of_daemon[] = { "state", "cause", "isPassedOver" };
    const json_t *told = find_broker(known, name);
    for (size_t i = 0; told && i < sizeof(of_daemon) / sizeof(of_daemon[0]); i++) {
        json_object_set(row, of_daemon[i], json_object_get(told, of_daemon[i]));
    }
    if (queue) {
        json_object_set_new(row, "perm", json_integer(queue->perm));
        json_object_set_new(row, "readQueues", json_integer(queue->read_queue_nums));
        json_object_set_new(row, "writeQueues", json_integer(queue->write_queue_nums));
    }
    if (!address) {
        json_object_set_new(row, "reachable", json_false());
        json_object_set_new(row, "state", json_string("no master"));
    } else {
        ask_reachable(explanation, row, address);
    }
    json_object_set_new(row, "isSentTo", queue ? json_boolean(is_sent_to(row)) : json_null());
    return row;
}

/*
 * Nameservers forget a broker as soon as its connection ends: of those that they named before, the
 * ones that cannot be reached belong here, and where no nameserver answers those of the kept route.
 */
static void add_forgotten_brokers(
    struct explanation *explanation, const json_t *kept, json_t *known)
{
    json_t *rows = rows_of(explanation, "brokers");
    size_t i, k;
    const json_t *told, *name;
    json_array_foreach(known, i, told)
    {
        const char *broker = json_string_value(json_object_get(told, "name"));
        if (!broker || find_broker(rows, broker) || json_array_size(rows) >= BROKERS_MAX) {
            continue;
        }
        bool is_kept = false;
        json_array_foreach(json_object_get(kept, "brokers"), k, name)
        {
            is_kept = is_kept || span_equals_text(span_of(json_string_value(name)), broker);
        }
        json_t *row = new_broker(
            explanation, broker, json_string_value(json_object_get(told, "addr")), NULL, known);
        if (json_is_false(json_object_get(row, "reachable")) || (is_kept && !explanation->route)) {
            json_array_append(rows, row);
        }
        json_decref(row);
    }
}

static void ask_brokers(struct explanation *explanation, const json_t *kept)
{
    struct inquiry inquiry;
    const struct topic_route *route = explanation->route;
    inquiry_ask(explanation, inquiry_request_new(explanation, SIDECAR_GET_BROKERS), &inquiry);
    json_t *known = json_object_get(inquiry.body, "brokers");
    for (size_t i = 0; route && i < route->n_queues && i < BROKERS_MAX; i++) {
        const struct queue_data *queue = &route->queues[i];
        const struct broker_data *broker =
            topic_route_find_broker(route, span_of(queue->broker_name));
        json_array_append_new(rows_of(explanation, "brokers"),
            new_broker(explanation, queue->broker_name, broker ? broker_data_master(broker) : NULL,
                queue, known));
    }
    if (route && route->n_queues > BROKERS_MAX) {
        inquiry_note_unknown(
            explanation, "there are many", "brokers beyond the first %d", BROKERS_MAX);
    }
    add_forgotten_brokers(explanation, kept, known);
    inquiry_deinit(&inquiry);
}

/* --- queues --- */

static void ask_queues(struct explanation *explanation, int32_t code, const char *key)
{
    struct inquiry inquiry;
    struct remotingclient_request *request = inquiry_request_new(explanation, code);
    remotingclient_request_add(request, "topic", explanation->topic);
    inquiry_ask(explanation, request, &inquiry);
    size_t i;
    json_t *told;
    json_array_foreach(inquiry.body, i, told)
    {
        json_t *row = explanation_queue(
            explanation, json_object_text(told, "brokerName"), json_object_number(told, "queueId"));
        if (json_object_number(told, "code") == RESPONSE_SUCCESS) {
            json_object_set(row, key, json_object_get(told, "offset"));
        } else {
            inquiry_note_unknown(explanation, json_string_value(json_object_get(told, "remark")),
                "offsets at %s", json_string_value(json_object_get(told, "brokerName")));
        }
    }
    if (inquiry.code != RESPONSE_SUCCESS) {
        inquiry_note_unknown(explanation, inquiry.reason, "offsets");
    }
    inquiry_deinit(&inquiry);
}

json_t *explanation_queue(
    const struct explanation *explanation, struct span broker_name, int64_t queue_id)
{
    json_t *rows = rows_of(explanation, "queues");
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        if (json_object_number(row, "queueId") == queue_id &&
            span_equals(json_object_text(row, "brokerName"), broker_name)) {
            return row;
        }
    }
    row = json_pack("{s:o, s:I, s:n, s:n, s:n, s:n}", "brokerName", json_text(broker_name),
        "queueId", (json_int_t)queue_id, "minOffset", "maxOffset", "consumerOffset", "lag");
    json_array_append_new(rows, row);
    return row;
}

/* --- groups --- */

const char *explanation_reachable_broker(const struct explanation *explanation, size_t *at)
{
    const json_t *rows = rows_of(explanation, "brokers");
    while (*at < json_array_size(rows)) {
        const json_t *row = json_array_get(rows, (*at)++);
        if (!json_is_false(json_object_get(row, "reachable"))) {
            return json_string_value(json_object_get(row, "name"));
        }
    }
    return NULL;
}

/* The groups that brokers have offsets of in this topic. */
static void find_groups(struct explanation *explanation, json_t *names)
{
    size_t at = 0;
    for (const char *broker; (broker = explanation_reachable_broker(explanation, &at));) {
        struct inquiry inquiry;
        struct remotingclient_request *request =
            inquiry_request_new(explanation, REQUEST_QUERY_TOPIC_CONSUME_BY_WHO);
        remotingclient_request_add(request, "topic", explanation->topic);
        remotingclient_request_add(request, "sidecar.broker", broker);
        inquiry_ask(explanation, request, &inquiry);
        size_t i;
        const json_t *name;
        json_array_foreach(json_object_get(inquiry.body, "groupList"), i, name)
        {
            if (json_is_string(name)) {
                json_object_set_new(names, json_string_value(name), json_null());
            }
        }
        if (inquiry.code != RESPONSE_SUCCESS) {
            inquiry_note_unknown(explanation, inquiry.reason, "the groups of the topic");
        }
        inquiry_deinit(&inquiry);
    }
}

static void ask_groups(struct explanation *explanation)
{
    json_t *names = json_object();
    if (explanation->group) {
        json_object_set_new(names, explanation->group, json_null());
    } else {
        find_groups(explanation, names);
    }
    const char *name;
    json_t *value;
    json_object_foreach(names, name, value)
    {
        if (json_array_size(rows_of(explanation, "groups")) >= GROUPS_MAX) {
            inquiry_note_unknown(
                explanation, "there are many (name one)", "groups beyond the first %d", GROUPS_MAX);
            break;
        }
        explanation_add_group(explanation, name);
    }
    json_decref(names);
}

/* --- all of it --- */

enum exit_code explanation_make(struct explanation *explanation)
{
    explanation->report = json_pack(
        "{s:s?, s:s?, s:s?, s:[], s:n, s:[], s:[], s:[], s:[], s:[], s:[]}", "topic",
        explanation->topic, "group", explanation->group, "message", explanation->message,
        "nameservers", "route", "brokers", "queues", "groups", "copies", "findings", "notKnown");
    if (!explanation->topic && !explanation_find_topic(explanation)) {
        return explanation->exit_code;
    }
    ask_nameservers(explanation);
    json_t *kept = find_kept_route(explanation);
    tell_route(explanation, kept);
    ask_brokers(explanation, kept);
    json_decref(kept);
    size_t at = 0;
    if (explanation_reachable_broker(explanation, &at)) {
        ask_queues(explanation, REQUEST_GET_MIN_OFFSET, "minOffset");
        ask_queues(explanation, REQUEST_GET_MAX_OFFSET, "maxOffset");
        if (explanation->message) {
            explanation_find_message(explanation);
        }
        ask_groups(explanation);
    }
    explanation_find_causes(explanation);
    return explanation->exit_code;
}

void explanation_deinit(struct explanation *explanation)
{
    topic_route_free(explanation->route);
    json_decref(explanation->report);
}
