#include "daemon/upstream/identity.h"

#include "daemon/loop/log.h"
#include "protocol/rocketmq_name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* A session that is a member of consumer groups. */
struct member {
    UT_hash_handle hh;
    uint64_t session_id;
    char *client_id;
    struct control_identity *control; /* and in what it says, the groups with all about them */
};

struct identity {
    struct control *control;
    const struct config *config;
    char *client_id;
    struct group_table *producers;
    struct control_identity *own;
    struct member *members;
    bool has_drained;
};

struct identity *identity_new(
    struct control *control, const struct config *config, const char *client_id)
{
    struct identity *identity = calloc(1, sizeof(*identity));
    if (!identity) {
        return NULL;
    }
    identity->control = control;
    identity->config = config;
    identity->client_id = strdup(client_id);
    identity->producers =
        group_table_new(config->limits.max_groups, config->limits.max_groups_per_session);
    identity->own = control_identity_new(control, IDENTITY_OWN, client_id);
    if (!identity->client_id || !identity->producers || !identity->own) {
        return identity_free(identity);
    }
    return identity;
}

void identity_configure(struct identity *identity, const struct config *config)
{
    identity->config = config;
    group_table_set_limits(
        identity->producers, config->limits.max_groups, config->limits.max_groups_per_session);
}

struct identity *identity_free(struct identity *identity)
{
    if (identity) {
        identity_stop(identity);
        if (identity->producers) {
            identity_session_gone(identity, IDENTITY_OWN);
        }
        identity->producers = group_table_free(identity->producers);
        free(identity->client_id);
        free(identity);
    }
    return NULL;
}

const char *identity_client_id(const struct identity *identity)
{
    return identity->client_id;
}

struct control_identity *identity_own(const struct identity *identity)
{
    return identity->own;
}

static struct member *member_find(const struct identity *identity, uint64_t session_id)
{
    struct member *member;
    HASH_FIND(hh, identity->members, &session_id, sizeof(session_id), member);
    return member;
}

struct control_identity *identity_member(const struct identity *identity, uint64_t session_id)
{
    const struct member *member = member_find(identity, session_id);
    return member ? member->control : NULL;
}

/* --- producers: the union --- */

/* 0 or -ENOMEM: then brokers go on hearing what they heard before. */
static int own_say(struct identity *identity)
{
    size_t n = group_table_n(identity->producers);
    if (!identity->own) {
        return 0;
    }
    if (n == 0 || identity->has_drained) {
        return control_identity_say(identity->own, NULL);
    }
    struct span *names = calloc(n, sizeof(*names));
    if (!names) {
        return -ENOMEM;
    }
    n = group_table_names(identity->producers, names, n);
    char *body = heartbeat_encode(span_of(identity->client_id), names, n, NULL);
    free(names);
    return body ? control_identity_say(identity->own, body) : -ENOMEM;
}

int identity_join(struct identity *identity, uint64_t session_id, struct span group,
    enum group_reason reason, struct failure_report *report)
{
    switch (group_table_join(identity->producers, group, session_id, reason)) {
    case GROUP_JOINED:
        return 0;
    case GROUP_JOINED_FIRST:
        if (own_say(identity) == 0) {
            return 0;
        }
        (void)group_table_leave(identity->producers, group, session_id, reason);
        break;
    case GROUP_TABLE_FULL:
        failure_set(report, FAILURE_OVERLOADED, false,
            "callers speak for %u producer groups already (limits.max_groups)",
            identity->config->limits.max_groups);
        return -ENOBUFS;
    case GROUP_TABLE_FULL_HERE:
        failure_set(report, FAILURE_OVERLOADED, false,
            "this caller speaks for %u producer groups already (limits.max_groups_per_session)",
            identity->config->limits.max_groups_per_session);
        return -ENOBUFS;
    case GROUP_NO_MEMORY:
        break;
    }
    failure_set(report, FAILURE_OVERLOADED, false, "out of memory");
    return -ENOMEM;
}

int identity_await_replies(struct identity *identity, struct failure_report *report)
{
    return identity_join(identity, IDENTITY_OWN, span_of(identity->config->send.producer_group),
        GROUP_BY_REPLIES, report);
}

static void group_gone(struct identity *identity, struct span group)
{
    (void)own_say(identity);
    if (identity->own) {
        control_identity_unregister(identity->own, group, false);
    }
}

void identity_leave(
    struct identity *identity, uint64_t session_id, struct span group, enum group_reason reason)
{
    if (group_table_leave(identity->producers, group, session_id, reason)) {
        group_gone(identity, group);
    }
}

/* --- consumers: members in their own right --- */

/*
 * The rows of its consumerDataSet, one a group. They are kept as the text that brokers are told: as
 * JSON values they would take ten times the memory that is counted. NULL without memory.
 */
static json_t *consumers_read(const struct member *member)
{
    struct span said = control_identity_said(member->control);
    if (span_is_empty(said)) {
        return json_array();
    }
    json_t *root = json_loadb(said.data, said.n, 0, NULL);
    json_t *consumers = json_incref(json_object_get(root, "consumerDataSet"));
    json_decref(root);
    return consumers;
}

static size_t consumer_index(const json_t *consumers, struct span group)
{
    size_t i = 0;
    while (i < json_array_size(consumers) &&
           !span_equals(heartbeat_group_name(json_array_get(consumers, i)), group)) {
        i++;
    }
    return i;
}

json_t *identity_consumer(const struct identity *identity, uint64_t session_id, struct span group)
{
    const struct member *member = member_find(identity, session_id);
    json_t *consumers = member ? consumers_read(member) : NULL;
    json_t *found = json_incref(json_array_get(consumers, consumer_index(consumers, group)));
    json_decref(consumers);
    return found;
}

bool identity_has_consumer(const struct identity *identity, struct span group)
{
    bool has = false;
    char said[ROCKETMQ_NAME_MAX + 32]; /* as heartbeats say it */
    if (group.n > ROCKETMQ_NAME_MAX) {
        return false;
    }
    (void)snprintf(said, sizeof(said), "\"groupName\":\"%.*s\"", SPAN_ARGS(group));
    for (const struct member *member = identity->members; member && !has;
         member = member->hh.next) {
        /* Reading all that members say for every request would be dear: most do not name it. */
        if (span_contains(control_identity_said(member->control), span_of(said))) {
            json_t *consumer = identity_consumer(identity, member->session_id, group);
            has = consumer != NULL;
            json_decref(consumer);
        }
    }
    return has;
}

/* Without memory brokers go on hearing what they heard before, and that is what is kept. */
static int member_say(struct member *member, json_t *consumers)
{
    if (json_array_size(consumers) == 0) {
        return control_identity_say(member->control, NULL);
    }
    char *body = heartbeat_encode(span_of(member->client_id), NULL, 0, consumers);
    return body ? control_identity_say(member->control, body) : -ENOMEM;
}

static void member_free(struct identity *identity, struct member *member)
{
    if (member->hh.tbl) {
        HASH_DEL(identity->members, member);
    }
    (void)control_identity_free(member->control);
    free(member->client_id);
    free(member);
}

static struct member *member_new(
    struct identity *identity, uint64_t session_id, struct span client_id)
{
    struct member *member = calloc(1, sizeof(*member));
    if (!member) {
        return NULL;
    }
    member->session_id = session_id;
    member->client_id = strndup(client_id.data, client_id.n);
    if (member->client_id) {
        member->control = control_identity_new(identity->control, session_id, member->client_id);
    }
    if (member->control) {
        HASH_ADD(hh, identity->members, session_id, sizeof(member->session_id), member);
    }
    if (!member->hh.tbl) {
        member_free(identity, member);
        return NULL;
    }
    log_info("session=%" PRIu64 " is member client_id=%s", session_id, member->client_id);
    return member;
}

/* The session's member, made where it is none yet. NULL: report says why not. */
static struct member *member_get(struct identity *identity, uint64_t session_id,
    struct span client_id, struct failure_report *report)
{
    struct member *member = member_find(identity, session_id);
    if (member && !span_equals_text(client_id, member->client_id)) {
        failure_set(report, FAILURE_INVALID, false,
            "clientID is '%.*s', but this connection is the member '%s' already: one connection is "
            "one member, another one needs a connection of its own",
            SPAN_ARGS(client_id), member->client_id);
        return NULL;
    }
    if (member) {
        return member;
    }
    if (HASH_COUNT(identity->members) >= identity->config->limits.max_members) {
        failure_set(report, FAILURE_OVERLOADED, false,
            "%u callers are members of consumer groups already (limits.max_members)",
            identity->config->limits.max_members);
        return NULL;
    }
    member = member_new(identity, session_id, client_id);
    if (!member) {
        failure_set(report, FAILURE_OVERLOADED, false, "out of memory");
    }
    return member;
}

/* Subscriptions that the heartbeat leaves out stay as they were. */
static json_t *row_merge(const json_t *before, json_t *row, bool is_without_subscriptions)
{
    json_t *merged = json_copy(row);
    json_t *subscriptions = json_object_get(before, "subscriptionDataSet");
    if (merged && is_without_subscriptions && subscriptions) {
        json_object_set(merged, "subscriptionDataSet", subscriptions);
    }
    return merged;
}

/* 1: it said something new; 0: nothing; -ENOMEM; -ENOBUFS at the limit. */
static int consumer_take(
    const struct identity *identity, json_t *consumers, json_t *row, bool is_without_subscriptions)
{
    size_t i = consumer_index(consumers, heartbeat_group_name(row));
    const json_t *before = json_array_get(consumers, i);
    if (!before && i >= identity->config->limits.max_groups_per_session) {
        return -ENOBUFS;
    }
    json_t *merged = row_merge(before, row, is_without_subscriptions);
    if (merged && before && json_equal(merged, before)) {
        json_decref(merged);
        return 0;
    }
    int r = before ? json_array_set_new(consumers, i, merged)
                   : json_array_append_new(consumers, merged);
    return r < 0 ? -ENOMEM : 1;
}

static int consumers_take(struct identity *identity, uint64_t session_id,
    const struct heartbeat *heartbeat, struct failure_report *report)
{
    struct member *member = member_get(identity, session_id, heartbeat->client_id, report);
    if (!member) {
        return -EINVAL;
    }
    json_t *consumers = consumers_read(member);
    bool is_new = false;
    int r = consumers ? 0 : -ENOMEM;
    for (size_t i = 0; i < heartbeat_n_consumers(heartbeat) && r >= 0; i++) {
        r = consumer_take(identity, consumers, json_array_get(heartbeat->consumers, i),
            heartbeat->is_without_subscriptions);
        is_new = is_new || r > 0;
    }
    if (is_new && member_say(member, consumers) < 0) {
        r = -ENOMEM;
    }
    json_decref(consumers);
    if (r == -ENOBUFS) {
        failure_set(report, FAILURE_OVERLOADED, false,
            "this caller is in %u consumer groups already (limits.max_groups_per_session)",
            identity->config->limits.max_groups_per_session);
    } else if (r < 0) {
        failure_set(report, FAILURE_OVERLOADED, false, "out of memory");
    }
    return r < 0 ? r : 0;
}

int identity_heartbeat(struct identity *identity, uint64_t session_id,
    const struct heartbeat *heartbeat, struct failure_report *report)
{
    for (size_t i = 0; i < heartbeat_n_producers(heartbeat); i++) {
        int r = identity_join(
            identity, session_id, heartbeat_producer(heartbeat, i), GROUP_BY_HEARTBEAT, report);
        if (r < 0) {
            return r;
        }
    }
    if (heartbeat_n_consumers(heartbeat) == 0) {
        return 0;
    }
    return consumers_take(identity, session_id, heartbeat, report);
}

void identity_unregister(struct identity *identity, uint64_t session_id, struct span producer_group,
    struct span consumer_group)
{
    if (!span_is_empty(producer_group)) {
        identity_leave(identity, session_id, producer_group, GROUP_BY_HEARTBEAT);
    }
    struct member *member = member_find(identity, session_id);
    json_t *consumers = member ? consumers_read(member) : NULL;
    size_t i = consumer_index(consumers, consumer_group);
    if (i < json_array_size(consumers)) {
        json_array_remove(consumers, i);
        (void)member_say(member, consumers);
        control_identity_unregister(member->control, consumer_group, true);
    }
    json_decref(consumers);
}

void identity_session_gone(struct identity *identity, uint64_t session_id)
{
    char group[ROCKETMQ_NAME_MAX + 1];
    bool is_last;
    while (group_table_leave_one(identity->producers, session_id, group, &is_last)) {
        if (is_last) {
            group_gone(identity, span_of(group));
        }
    }
    struct member *member = member_find(identity, session_id);
    if (member) {
        log_info(
            "session=%" PRIu64 " is member no more client_id=%s", session_id, member->client_id);
        member_free(identity, member);
    }
}

void identity_drain(struct identity *identity)
{
    if (identity->has_drained || !identity->own) {
        return;
    }
    identity->has_drained = true;
    size_t n = group_table_n(identity->producers);
    struct span *names = calloc(n + 1, sizeof(*names));
    n = names ? group_table_names(identity->producers, names, n) : 0;
    (void)own_say(identity);
    for (size_t i = 0; i < n; i++) {
        control_identity_unregister(identity->own, names[i], false);
    }
    free(names);
    for (struct member *member = identity->members; member; member = member->hh.next) {
        json_t *consumers = consumers_read(member);
        (void)control_identity_say(member->control, NULL);
        for (size_t i = 0; i < json_array_size(consumers); i++) {
            control_identity_unregister(
                member->control, heartbeat_group_name(json_array_get(consumers, i)), true);
        }
        json_decref(consumers);
    }
}

void identity_stop(struct identity *identity)
{
    if (identity) {
        while (identity->members) {
            member_free(identity, identity->members);
        }
        identity->own = control_identity_free(identity->own);
    }
}

/* --- what can be seen --- */

size_t identity_n_producers(const struct identity *identity)
{
    return group_table_n(identity->producers);
}

size_t identity_n_members(const struct identity *identity)
{
    return HASH_COUNT(identity->members);
}

void identity_each_producer(const struct identity *identity,
    void (*visit)(void *context, struct span group, size_t n_callers), void *context)
{
    group_table_each(identity->producers, visit, context);
}

void identity_each_consumer(const struct identity *identity,
    void (*visit)(void *context, uint64_t session_id, const char *client_id, struct span group),
    void *context)
{
    for (const struct member *member = identity->members; member; member = member->hh.next) {
        json_t *consumers = consumers_read(member);
        for (size_t i = 0; i < json_array_size(consumers); i++) {
            visit(context, member->session_id, member->client_id,
                heartbeat_group_name(json_array_get(consumers, i)));
        }
        json_decref(consumers);
    }
}
