#include "daemon/upstream/control.h"

#include "daemon/core/control_schedule.h"
#include "daemon/loop/log.h"
#include "protocol/code.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* Of the first heartbeat after something changed, and of UNREGISTER_CLIENT. */
#define CONTROL_TIMEOUT_MS 2000
/* The cluster table could not be had. */
#define CLUSTER_RETRY_MS  2000
#define UNREGISTER_FIELDS 3

struct control_unregister {
    TAILQ_ENTRY(control_unregister) link;
    uint64_t number;
    bool is_consumer;
    size_t group_size;
    char group[];
};
TAILQ_HEAD(control_unregister_list, control_unregister);

/* One identity at one broker. */
struct control_link {
    TAILQ_ENTRY(control_link) link;
    struct control_identity *identity;
    char address[ADDRESS_TEXT_MAX];
    bool is_named; /* not by the cluster table */
    bool is_unregistering;
    struct control_schedule schedule;
    struct pending_request request;
    struct ext_field fields[UNREGISTER_FIELDS];
    struct deadline due;
    struct control_unregister_list unregisters;
    size_t n_unregisters;
    int32_t code; /* that it answered last; 0 where it did not answer */
    struct failure_report report;
};
TAILQ_HEAD(control_link_list, control_link);

struct control_identity {
    TAILQ_ENTRY(control_identity) link;
    struct control *control;
    uint64_t id;
    char *client_id;
    struct frame_buffer *body; /* NULL: nothing to say */
    size_t body_size;
    uint64_t number; /* of what was last wanted */
    uint64_t said;   /* of the last heartbeat that was */
    struct control_link_list links;
    TAILQ_HEAD(, control_waiter) waiters;
    struct loop_dirty dirty; /* at the end of the turn its links are looked at */
    bool is_over;
    struct loop_reapable reapable;
};

struct control {
    struct upstream_context *context;
    struct upstream_pool *pool;
    struct routes *routes;
    TAILQ_HEAD(, control_identity) identities;
    struct route_waiter cluster;
    bool has_cluster; /* it was asked for, and an answer came */
    uint64_t cluster_ms;
    struct deadline refresh;
};

static struct loop *loop_of(const struct control_identity *identity)
{
    return identity->control->context->loop;
}

static uint64_t now_of(const struct control_identity *identity)
{
    return loop_of(identity)->now_ms;
}

static void look_later(struct control_identity *identity)
{
    if (!identity->is_over) {
        loop_mark_dirty(loop_of(identity), &identity->dirty);
    }
}

/* --- links --- */

static struct control_link *link_find(const struct control_identity *identity, struct span address)
{
    struct control_link *link;
    TAILQ_FOREACH (link, &identity->links, link) {
        if (span_equals_text(address, link->address)) {
            return link;
        }
    }
    return NULL;
}

static void unregister_drop(struct control_link *link)
{
    struct control_unregister *unregister = TAILQ_FIRST(&link->unregisters);
    TAILQ_REMOVE(&link->unregisters, unregister, link);
    link->n_unregisters--;
    free(unregister);
}

static void link_free(struct control_link *link)
{
    struct control_identity *identity = link->identity;
    struct control *control = identity->control;
    TAILQ_REMOVE(&identity->links, link, link);
    pending_request_cancel(control->context, &link->request);
    kept_command_deinit(&link->request.kept);
    loop_deadline_clear(control->context->loop, &link->due);
    while (!TAILQ_EMPTY(&link->unregisters)) {
        unregister_drop(link);
    }
    upstream_pool_drop_control(control->pool, span_of(link->address), identity->id);
    free(link);
}

static struct control_link *link_of_request(struct pending_request *request)
{
    return (
        struct control_link *)(void *)((char *)request - offsetof(struct control_link, request));
}

/* The request that was on its way has ended. What follows is decided at the end of the turn. */
static void link_end(struct control_link *link, enum control_result result)
{
    if (link->is_unregistering) {
        control_schedule_end_unregister(&link->schedule);
        unregister_drop(link);
    } else {
        control_schedule_end_beat(&link->schedule, result, now_of(link->identity));
    }
    look_later(link->identity);
}

static void on_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source)
{
    (void)source;
    struct control_link *link = link_of_request(request);
    link->code = response->code;
    if (response->code != RESPONSE_SUCCESS) {
        failure_set(&link->report, FAILURE_NO_BROKER, true, "%s answered code %d%s%.*s",
            link->address, (int)response->code, span_is_empty(response->remark) ? "" : ": ",
            SPAN_ARGS(response->remark));
        char quoted[LOG_QUOTE_SIZE];
        log_warning("control broker=%s client_id=%s refused code=%d remark=%s", link->address,
            link->identity->client_id, (int)response->code,
            log_quote(
                response->remark.data ? response->remark.data : "", response->remark.n, quoted));
    }
    link_end(link, response->code == RESPONSE_SUCCESS ? CONTROL_TAKEN : CONTROL_REFUSED);
}

static void on_failure(struct pending_request *request, const struct failure_report *report)
{
    struct control_link *link = link_of_request(request);
    link->code = 0;
    link->report = *report;
    link_end(link, CONTROL_FAILED);
}

static const struct pending_request_handler request_handler = {
    .on_response = on_response,
    .on_failure = on_failure,
};

static void on_due(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    struct control_link *link =
        (struct control_link *)(void *)((char *)deadline - offsetof(struct control_link, due));
    look_later(link->identity);
}

/* NULL without memory. */
static struct control_link *link_new(struct control_identity *identity, struct span address)
{
    struct control_link *link = calloc(1, sizeof(*link));
    if (!link) {
        return NULL;
    }
    link->identity = identity;
    (void)snprintf(link->address, sizeof(link->address), "%.*s", SPAN_ARGS(address));
    TAILQ_INIT(&link->unregisters);
    deadline_init(&link->due, on_due);
    pending_request_init(&link->request, &request_handler);
    control_schedule_init(&link->schedule);
    if (identity->body) {
        control_schedule_want(&link->schedule, identity->said, now_of(identity));
    }
    TAILQ_INSERT_TAIL(&identity->links, link, link);
    look_later(identity);
    return link;
}

static void link_send(struct control_link *link, const struct remoting_command *command,
    struct frame_buffer *body_owner, uint64_t timeout_ms)
{
    struct control_identity *identity = link->identity;
    const struct command_source source = { .body_owner = body_owner };
    kept_command_deinit(&link->request.kept);
    link->request.deadline_ms = clock_after(now_of(identity), timeout_ms);
    control_schedule_begin(&link->schedule);
    upstream_pool_invoke_control(identity->control->pool, span_of(link->address), identity->id,
        &link->request, command, &source);
}

static void link_beat(struct control_link *link)
{
    struct control_identity *identity = link->identity;
    const struct remoting_command command = {
        .code = REQUEST_HEART_BEAT,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
        .body = { (const char *)identity->body->data, identity->body_size },
    };
    bool is_patient = link->schedule.is_patient;
    link->is_unregistering = false;
    link->request.fails_fast = !is_patient;
    link_send(
        link, &command, identity->body, is_patient ? CONTROL_INTERVAL_MS : CONTROL_TIMEOUT_MS);
}

static void link_unregister(struct control_link *link)
{
    const struct control_unregister *unregister = TAILQ_FIRST(&link->unregisters);
    struct remoting_command command = {
        .code = REQUEST_UNREGISTER_CLIENT,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
    };
    const struct span group = { unregister->group, unregister->group_size };
    ext_fields_init(&command.ext_fields, link->fields, UNREGISTER_FIELDS);
    (void)ext_fields_add(&command.ext_fields, SPAN("clientID"), span_of(link->identity->client_id));
    (void)ext_fields_add(&command.ext_fields,
        unregister->is_consumer ? SPAN("consumerGroup") : SPAN("producerGroup"), group);
    link->is_unregistering = true;
    link->request.fails_fast = true;
    link_send(link, &command, NULL, CONTROL_TIMEOUT_MS);
}

/* What is due is sent. False: the link is of no use any more. */
static bool link_look(struct control_link *link)
{
    const struct control_identity *identity = link->identity;
    while (!link->schedule.is_registered && !link->schedule.is_busy && link->n_unregisters > 0) {
        unregister_drop(link); /* the broker knows nothing of it */
    }
    switch (control_schedule_next(&link->schedule, link->n_unregisters, now_of(identity))) {
    case CONTROL_BEAT:
        link_beat(link);
        break;
    case CONTROL_UNREGISTER:
        link_unregister(link);
        break;
    case CONTROL_NOTHING:
        if (!identity->body && !link->schedule.is_busy) {
            return false;
        }
        break;
    }
    uint64_t due_ms = control_schedule_due_ms(&link->schedule);
    if (due_ms == NEVER_MS) {
        loop_deadline_clear(loop_of(identity), &link->due);
    } else {
        loop_deadline_set(loop_of(identity), &link->due, due_ms);
    }
    return true;
}

/* --- who waits --- */

static bool link_has_heard(const struct control_link *link, const struct control_waiter *waiter)
{
    const struct control_unregister *unregister = TAILQ_FIRST(&link->unregisters);
    return (!link->identity->body || control_schedule_has_done(&link->schedule, waiter->said)) &&
           (!unregister || unregister->number > waiter->number);
}

/* Writes the outcome. */
static bool waiter_is_done(struct control_waiter *waiter)
{
    const struct control_identity *identity = waiter->identity;
    bool is_of_one = waiter->address[0] != '\0';
    waiter->n_brokers = 0;
    waiter->n_taken = 0;
    waiter->code = 0;
    const struct control_link *link;
    TAILQ_FOREACH (link, &identity->links, link) {
        if (is_of_one && strcmp(waiter->address, link->address) != 0) {
            continue;
        }
        if (!link_has_heard(link, waiter)) {
            return false;
        }
        bool has_taken = link->code == RESPONSE_SUCCESS && !link->schedule.is_patient;
        waiter->n_brokers++;
        waiter->n_taken += has_taken;
        if (!has_taken) {
            waiter->code = link->code;
            waiter->report = link->report;
        }
    }
    return waiter->n_brokers > 0 || is_of_one || identity->control->has_cluster ||
           !identity->control->cluster.fetch;
}

static void waiters_look(struct control_identity *identity)
{
    struct control_waiter *waiter = TAILQ_FIRST(&identity->waiters);
    while (waiter && !identity->is_over) {
        struct control_waiter *next = TAILQ_NEXT(waiter, link);
        if (waiter_is_done(waiter)) {
            control_waiter_cancel(waiter);
            waiter->on_done(waiter);
            next = TAILQ_FIRST(&identity->waiters); /* whoever is told may take others away */
        }
        waiter = next;
    }
}

static void on_look(struct loop_dirty *dirty)
{
    struct control_identity *identity =
        (struct control_identity *)(void *)((char *)dirty -
                                            offsetof(struct control_identity, dirty));
    struct control_link *link = TAILQ_FIRST(&identity->links);
    while (link) {
        struct control_link *next = TAILQ_NEXT(link, link);
        if (!link_look(link)) {
            link_free(link);
        }
        link = next;
    }
    waiters_look(identity);
}

void control_wait(
    struct control_identity *identity, struct span address, struct control_waiter *waiter)
{
    waiter->identity = identity;
    waiter->number = identity->number;
    waiter->said = identity->said;
    failure_set(&waiter->report, FAILURE_NO_BROKER, false, "the nameservers know no broker");
    (void)snprintf(waiter->address, sizeof(waiter->address), "%.*s", SPAN_ARGS(address));
    TAILQ_INSERT_TAIL(&identity->waiters, waiter, link);
    look_later(identity);
}

void control_waiter_cancel(struct control_waiter *waiter)
{
    if (waiter->identity) {
        TAILQ_REMOVE(&waiter->identity->waiters, waiter, link);
        waiter->identity = NULL;
    }
}

/* --- brokers --- */

static void on_master(void *context, const char *address)
{
    struct control_identity *identity = context;
    if (!link_find(identity, span_of(address))) {
        (void)link_new(identity, span_of(address)); /* without memory: with the next refresh */
    }
}

/* Links to the masters that are known, and none to brokers that are not any more. */
static void links_refresh(struct control_identity *identity)
{
    struct route_table *table = routes_table(identity->control->routes);
    uint64_t now_ms = now_of(identity);
    if (!identity->body) {
        return;
    }
    route_table_each_master(table, now_ms, on_master, identity);
    struct control_link *link = TAILQ_FIRST(&identity->links);
    while (link) {
        struct control_link *next = TAILQ_NEXT(link, link);
        if (!link->is_named && !route_table_knows_address(table, span_of(link->address), now_ms)) {
            link_free(link);
        }
        link = next;
    }
}

static bool has_something_to_say(const struct control *control)
{
    const struct control_identity *identity;
    TAILQ_FOREACH (identity, &control->identities, link) {
        if (identity->body) {
            return true;
        }
    }
    return false;
}

static void on_cluster(struct route_waiter *waiter, const struct failure_report *report)
{
    struct control *control =
        (struct control *)(void *)((char *)waiter - offsetof(struct control, cluster));
    struct loop *loop = control->context->loop;
    control->has_cluster = control->has_cluster || !report;
    control->cluster_ms = loop->now_ms;
    loop_deadline_set(loop, &control->refresh,
        clock_after(loop->now_ms, report ? CLUSTER_RETRY_MS : CONTROL_REFRESH_MS));
    struct control_identity *identity;
    TAILQ_FOREACH (identity, &control->identities, link) {
        struct control_waiter *each;
        TAILQ_FOREACH (each, &identity->waiters, link) {
            if (report) {
                each->report = *report;
            }
        }
        links_refresh(identity);
        look_later(identity); /* who has nothing to say any more may be waited for, too */
    }
}

static void cluster_fetch(struct control *control)
{
    if (!control->cluster.fetch && has_something_to_say(control)) {
        struct loop *loop = control->context->loop;
        loop_deadline_clear(loop, &control->refresh);
        routes_wait_cluster(
            control->routes, clock_after(loop->now_ms, CLUSTER_RETRY_MS), &control->cluster);
    }
}

static void on_refresh(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    cluster_fetch((struct control *)(void *)((char *)deadline - offsetof(struct control, refresh)));
}

static void on_lost(void *context, uint64_t identity_id, struct span address)
{
    struct control *control = context;
    struct control_identity *identity;
    TAILQ_FOREACH (identity, &control->identities, link) {
        struct control_link *link =
            identity->id == identity_id ? link_find(identity, address) : NULL;
        if (link) {
            control_schedule_lose(&link->schedule, now_of(identity));
            look_later(identity);
            return;
        }
    }
}

/* --- all of it --- */

struct control *control_new(
    struct upstream_context *context, struct upstream_pool *pool, struct routes *routes)
{
    struct control *control = calloc(1, sizeof(*control));
    if (!control) {
        return NULL;
    }
    control->context = context;
    control->pool = pool;
    control->routes = routes;
    control->cluster.on_fetched = on_cluster;
    TAILQ_INIT(&control->identities);
    deadline_init(&control->refresh, on_refresh);
    upstream_pool_watch_control(pool, on_lost, control);
    return control;
}

struct control *control_free(struct control *control)
{
    if (control) {
        assert(TAILQ_EMPTY(&control->identities));
        route_waiter_cancel(&control->cluster);
        loop_deadline_clear(control->context->loop, &control->refresh);
        upstream_pool_watch_control(control->pool, NULL, NULL);
        free(control);
    }
    return NULL;
}

size_t control_n_busy(const struct control *control)
{
    size_t n = 0;
    const struct control_identity *identity;
    TAILQ_FOREACH (identity, &control->identities, link) {
        const struct control_link *link;
        TAILQ_FOREACH (link, &identity->links, link) {
            n += link->n_unregisters;
        }
    }
    return n;
}

struct control_identity *control_identity_new(
    struct control *control, uint64_t id, const char *client_id)
{
    struct control_identity *identity = calloc(1, sizeof(*identity));
    if (!identity || !(identity->client_id = strdup(client_id))) {
        free(identity);
        return NULL;
    }
    identity->control = control;
    identity->id = id;
    identity->dirty.on_flush = on_look;
    TAILQ_INIT(&identity->links);
    TAILQ_INIT(&identity->waiters);
    TAILQ_INSERT_TAIL(&control->identities, identity, link);
    return identity;
}

static void on_reap(struct loop_reapable *reapable)
{
    struct control_identity *identity =
        (struct control_identity *)(void *)((char *)reapable -
                                            offsetof(struct control_identity, reapable));
    frame_buffer_unref(identity->body);
    free(identity->client_id);
    free(identity);
}

struct control_identity *control_identity_free(struct control_identity *identity)
{
    if (!identity) {
        return NULL;
    }
    identity->is_over = true;
    loop_forget_dirty(loop_of(identity), &identity->dirty);
    TAILQ_REMOVE(&identity->control->identities, identity, link);
    while (!TAILQ_EMPTY(&identity->waiters)) {
        control_waiter_cancel(TAILQ_FIRST(&identity->waiters));
    }
    while (!TAILQ_EMPTY(&identity->links)) {
        link_free(TAILQ_FIRST(&identity->links));
    }
    loop_reap(loop_of(identity), &identity->reapable, on_reap);
    return NULL;
}

/*
 * A heartbeat that still waits for its broker would say what was true before: it is taken back, and
 * said anew.
 */
static void link_say_anew(struct control_link *link)
{
    struct control_identity *identity = link->identity;
    uint64_t now_ms = now_of(identity);
    if (link->request.state == REQUEST_WAITING && !link->is_unregistering) {
        pending_request_cancel(identity->control->context, &link->request);
        control_schedule_take_back(&link->schedule);
    }
    if (identity->body) {
        control_schedule_want(&link->schedule, identity->said, now_ms);
    } else {
        control_schedule_stop(&link->schedule);
    }
}

struct span control_identity_said(const struct control_identity *identity)
{
    const struct frame_buffer *body = identity->body;
    return body ? (struct span){ (const char *)body->data, identity->body_size } : SPAN_ABSENT;
}

int control_identity_say(struct control_identity *identity, char *body)
{
    struct frame_buffer *buffer = NULL;
    if (body) {
        size_t n = strlen(body);
        buffer = frame_buffer_new(identity->control->context->memory, n);
        if (buffer) {
            memcpy(buffer->data, body, n);
            identity->body_size = n;
        }
        free(body);
        if (!buffer) {
            return -ENOMEM;
        }
    }
    frame_buffer_unref(identity->body);
    identity->body = buffer;
    identity->said = ++identity->number;
    struct control_link *link;
    TAILQ_FOREACH (link, &identity->links, link) {
        link_say_anew(link);
    }
    links_refresh(identity);
    if (!deadline_is_set(&identity->control->refresh)) {
        cluster_fetch(identity->control);
    }
    look_later(identity);
    return 0;
}

void control_identity_unregister(
    struct control_identity *identity, struct span group, bool is_consumer)
{
    identity->number++;
    struct control_link *link;
    TAILQ_FOREACH (link, &identity->links, link) {
        bool has_said = link->schedule.is_registered || link->schedule.is_busy;
        struct control_unregister *unregister =
            has_said && link->n_unregisters < CONTROL_UNREGISTERS_MAX
                ? calloc(1, sizeof(*unregister) + group.n)
                : NULL;
        if (!unregister) {
            continue; /* the broker knows nothing of it, or forgets it after two minutes */
        }
        unregister->number = identity->number;
        unregister->is_consumer = is_consumer;
        unregister->group_size = group.n;
        memcpy(unregister->group, group.data, group.n);
        TAILQ_INSERT_TAIL(&link->unregisters, unregister, link);
        link->n_unregisters++;
    }
    look_later(identity);
}

int control_identity_name(struct control_identity *identity, struct span address)
{
    struct control_link *link = link_find(identity, address);
    if (!link) {
        link = link_new(identity, address);
        if (!link) {
            return -ENOMEM;
        }
        link->is_named = true;
    }
    return 0;
}
