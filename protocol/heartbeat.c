#include "protocol/heartbeat.h"

#include "protocol/json_values.h"
#include "protocol/rocketmq_name.h"
#include "protocol/utf8.h"

#include <stdio.h>

#define CLIENT_ID_MAX 255

struct span heartbeat_group_name(const json_t *row)
{
    const json_t *name = json_object_get(row, "groupName");
    return (struct span){ json_string_value(name), json_string_length(name) };
}

/* False: problem says what is wrong with the set. An absent one is empty. */
static bool set_check(
    const json_t *root, const char *key, const json_t **ret_set, char *problem, size_t problem_size)
{
    const json_t *set = json_object_get(root, key);
    if (!set || json_is_null(set)) {
        *ret_set = NULL;
        return true;
    }
    if (!json_is_array(set)) {
        (void)snprintf(problem, problem_size, "%s of the heartbeat has to be an array", key);
        return false;
    }
    for (size_t i = 0; i < json_array_size(set); i++) {
        struct span name = heartbeat_group_name(json_array_get(set, i));
        if (!rocketmq_name_is_valid(name, ROCKETMQ_NAME_MAX)) {
            struct span shown = utf8_cut(name, 64);
            (void)snprintf(problem, problem_size,
                "groupName '%.*s' in %s of the heartbeat: up to %d of a-z, A-Z, 0-9, %%, |, _ and "
                "- are accepted",
                SPAN_ARGS(shown), key, ROCKETMQ_NAME_MAX);
            return false;
        }
    }
    *ret_set = set;
    return true;
}

bool heartbeat_decode(
    struct span body, struct heartbeat *ret_heartbeat, char *problem, size_t problem_size)
{
    struct heartbeat heartbeat = { .root = NULL };
    if (body.n > HEARTBEAT_BODY_MAX) {
        (void)snprintf(problem, problem_size,
            "the heartbeat has %zu bytes, at most %d are accepted", body.n, HEARTBEAT_BODY_MAX);
        return false;
    }
    if (json_values_count(body) > HEARTBEAT_VALUES_MAX) {
        (void)snprintf(problem, problem_size,
            "the heartbeat has more than %d JSON values: fewer subscriptions, or fewer groups at a "
            "time",
            HEARTBEAT_VALUES_MAX);
        return false;
    }
    heartbeat.root = json_loadb(body.data ? body.data : "", body.n, JSON_REJECT_DUPLICATES, NULL);
    const json_t *client_id = json_object_get(heartbeat.root, "clientID");
    heartbeat.client_id =
        (struct span){ json_string_value(client_id), json_string_length(client_id) };
    heartbeat.is_without_subscriptions =
        json_is_true(json_object_get(heartbeat.root, "withoutSub"));
    if (!json_is_object(heartbeat.root)) {
        (void)snprintf(problem, problem_size,
            "the body of HEART_BEAT has to be a JSON object with clientID, producerDataSet and "
            "consumerDataSet");
    } else if (span_is_empty(heartbeat.client_id) || heartbeat.client_id.n > CLIENT_ID_MAX) {
        (void)snprintf(problem, problem_size,
            "clientID of the heartbeat has %zu bytes: a text of 1 to %d is accepted",
            heartbeat.client_id.n, CLIENT_ID_MAX);
    } else if (set_check(heartbeat.root, "producerDataSet", &heartbeat.producers, problem,
                   problem_size) &&
               set_check(heartbeat.root, "consumerDataSet", &heartbeat.consumers, problem,
                   problem_size)) {
        *ret_heartbeat = heartbeat;
        return true;
    }
    json_decref(heartbeat.root);
    return false;
}

void heartbeat_deinit(struct heartbeat *heartbeat)
{
    json_decref(heartbeat->root);
    *heartbeat = (struct heartbeat){ .root = NULL };
}

size_t heartbeat_n_producers(const struct heartbeat *heartbeat)
{
    return json_array_size(heartbeat->producers);
}

struct span heartbeat_producer(const struct heartbeat *heartbeat, size_t i)
{
    return heartbeat_group_name(json_array_get(heartbeat->producers, i));
}

size_t heartbeat_n_consumers(const struct heartbeat *heartbeat)
{
    return json_array_size(heartbeat->consumers);
}

struct span heartbeat_consumer(const struct heartbeat *heartbeat, size_t i)
{
    return heartbeat_group_name(json_array_get(heartbeat->consumers, i));
}

char *heartbeat_encode(
    struct span client_id, const struct span *producers, size_t n_producers, json_t *consumers)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < n_producers; i++) {
        json_array_append_new(
            rows, json_pack("{s:s%}", "groupName", producers[i].data, producers[i].n));
    }
    json_t *root = json_pack("{s:s%, s:o, s:i, s:o, s:b}", "clientID", client_id.data, client_id.n,
        "consumerDataSet", consumers ? json_incref(consumers) : json_array(),
        "heartbeatFingerprint", 0, "producerDataSet", rows, "withoutSub", 0);
    char *text =
        root && json_array_size(rows) == n_producers ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}
