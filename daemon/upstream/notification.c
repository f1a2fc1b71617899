#include "daemon/upstream/notification.h"

#include "protocol/address.h"
#include "protocol/code.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

/* How long one is parked; with callers still waiting it is then parked anew. */
#define NOTIFICATION_POLL_MS   15000
#define NOTIFICATION_POLL_TEXT "15000"
/* Brokers look at expired polls every few seconds. */
#define NOTIFICATION_DEADLINE_MS (NOTIFICATION_POLL_MS + 10000)
/*
 * What tells of nothing sooner than this was not parked: so do brokers that are about to stop, and
 * to ask again at once would be to ask without end.
 */
#define NOTIFICATION_PARKED_MIN_MS 1000
#define NOTIFICATION_FIELDS        6
/*
 * So many stay parked when their callers are gone; beyond it the one that was left first is given
 * up here, and the broker's answer to it is a late one.
 */
#define NOTIFICATIONS_LEFT_MAX 256

struct notification {
    UT_hash_handle hh;
    struct notifications *notifications;
    struct pending_request request;
    struct ext_field fields[NOTIFICATION_FIELDS];
    TAILQ_HEAD(, notification_waiter) waiters;
    bool is_over; /* who still waits is being told */
    bool is_left; /* nobody waits for it any more */
    TAILQ_ENTRY(notification) left_link;
    struct loop_reapable reapable;
    size_t key_size;
    bool is_ordered;
    struct span address, topic, group; /* in key */
    char key[];
};

struct notifications {
    struct upstream_context *context;
    struct upstream_pool *pool;
    struct notification *list;
    TAILQ_HEAD(, notification) left; /* the one that was left first is the first */
    size_t n_left;
};

static void notification_park(struct notification *notification);

struct notifications *notifications_new(
    struct upstream_context *context, struct upstream_pool *pool)
{
    struct notifications *notifications = calloc(1, sizeof(*notifications));
    if (notifications) {
        notifications->context = context;
        notifications->pool = pool;
        TAILQ_INIT(&notifications->left);
    }
    return notifications;
}

static void on_reap(struct loop_reapable *reapable)
{
    free((char *)reapable - offsetof(struct notification, reapable));
}

static void left_set(struct notification *notification, bool is_left)
{
    struct notifications *notifications = notification->notifications;
    if (is_left == notification->is_left) {
        return;
    }
    notification->is_left = is_left;
    if (is_left) {
        TAILQ_INSERT_TAIL(&notifications->left, notification, left_link);
        notifications->n_left++;
    } else {
        TAILQ_REMOVE(&notifications->left, notification, left_link);
        notifications->n_left--;
    }
}

static void notification_leave(struct notification *notification)
{
    notification->is_over = true;
    left_set(notification, false);
    HASH_DEL(notification->notifications->list, notification);
    pending_request_cancel(notification->notifications->context, &notification->request);
    kept_command_deinit(&notification->request.kept);
}

struct notifications *notifications_free(struct notifications *notifications)
{
    if (!notifications) {
        return NULL;
    }
    while (notifications->list) {
        struct notification *notification = notifications->list;
        notification_leave(notification);
        free(notification);
    }
    free(notifications);
    return NULL;
}

static void waiter_remove(struct notification_waiter *waiter)
{
    TAILQ_REMOVE(&waiter->notification->waiters, waiter, link);
    waiter->notification = NULL;
}

/* It is over: everybody who waits is told. */
static void notification_end(struct notification *notification, const struct failure_report *report)
{
    notification_leave(notification);
    while (!TAILQ_EMPTY(&notification->waiters)) {
        struct notification_waiter *waiter = TAILQ_FIRST(&notification->waiters);
        waiter_remove(waiter);
        waiter->on_notified(waiter, report);
    }
    loop_reap(notification->notifications->context->loop, &notification->reapable, on_reap);
}

static struct notification *notification_of(struct pending_request *request)
{
    return (
        struct notification *)(void *)((char *)request - offsetof(struct notification, request));
}

static void on_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source)
{
    (void)source;
    struct notification *notification = notification_of(request);
    uint64_t now_ms = notification->notifications->context->loop->now_ms;
    struct failure_report report;
    if (response->code != RESPONSE_SUCCESS) {
        failure_set(&report, FAILURE_NO_BROKER, false, "%.*s answered code %d to NOTIFICATION",
            SPAN_ARGS(notification->address), (int)response->code);
        notification_end(notification, &report);
    } else if (span_equals(ext_fields_text(&response->ext_fields, "hasMsg"), SPAN("true"))) {
        notification_end(notification, NULL);
    } else if (span_equals(ext_fields_text(&response->ext_fields, "pollingFull"), SPAN("true"))) {
        failure_set(&report, FAILURE_OVERLOADED, false, "%.*s parks no more polls of this group",
            SPAN_ARGS(notification->address));
        notification_end(notification, &report);
    } else if (TAILQ_EMPTY(&notification->waiters)) {
        notification_end(notification, NULL);
    } else if (now_ms - request->sent_ms < NOTIFICATION_PARKED_MIN_MS) {
        failure_set(&report, FAILURE_NO_BROKER, false, "%.*s parks no polls at present",
            SPAN_ARGS(notification->address));
        notification_end(notification, &report);
    } else {
        notification_park(notification);
    }
}

static void on_failure(struct pending_request *request, const struct failure_report *report)
{
    notification_end(notification_of(request), report);
}

static const struct pending_request_handler request_handler = {
    .on_response = on_response,
    .on_failure = on_failure,
};

static void notification_park(struct notification *notification)
{
    struct notifications *notifications = notification->notifications;
    struct remoting_command command = {
        .code = REQUEST_NOTIFICATION,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
    };
    ext_fields_init(&command.ext_fields, notification->fields, NOTIFICATION_FIELDS);
    (void)ext_fields_add(&command.ext_fields, SPAN("consumerGroup"), notification->group);
    (void)ext_fields_add(&command.ext_fields, SPAN("topic"), notification->topic);
    (void)ext_fields_add(&command.ext_fields, SPAN("queueId"), SPAN("-1"));
    (void)ext_fields_add(&command.ext_fields, SPAN("pollTime"), SPAN(NOTIFICATION_POLL_TEXT));
    /* 0: the broker puts its own time in, so that no two clocks are compared. */
    (void)ext_fields_add(&command.ext_fields, SPAN("bornTime"), SPAN("0"));
    (void)ext_fields_add(&command.ext_fields, SPAN("order"),
        notification->is_ordered ? SPAN("true") : SPAN("false"));
    kept_command_deinit(&notification->request.kept);
    const struct command_source source = { 0 };
    notification->request.deadline_ms =
        clock_after(notifications->context->loop->now_ms, NOTIFICATION_DEADLINE_MS);
    upstream_pool_invoke(notifications->pool, notification->address, POOL_LONG_POLL,
        &notification->request, &command, &source);
}

/* "address\ntopic\ngroup\norder": none of them contains a line's end. */
static size_t key_make(struct span address, struct span topic, struct span group, bool is_ordered,
    char *key, size_t key_size)
{
    int n = snprintf(key, key_size, "%.*s\n%.*s\n%.*s\n%d", SPAN_ARGS(address), SPAN_ARGS(topic),
        SPAN_ARGS(group), is_ordered);
    return n > 0 && (size_t)n < key_size ? (size_t)n : 0;
}

static struct notification *notification_new(struct notifications *notifications, const char *key,
    size_t key_size, struct span address, struct span topic, struct span group)
{
    struct notification *notification = calloc(1, sizeof(*notification) + key_size + 1);
    if (!notification) {
        return NULL;
    }
    char *at = notification->key;
    memcpy(at, key, key_size);
    notification->notifications = notifications;
    notification->key_size = key_size;
    notification->address = (struct span){ at, address.n };
    notification->topic = (struct span){ at + address.n + 1, topic.n };
    notification->group = (struct span){ at + address.n + 1 + topic.n + 1, group.n };
    TAILQ_INIT(&notification->waiters);
    pending_request_init(&notification->request, &request_handler);
    HASH_ADD_KEYPTR(hh, notifications->list, notification->key, key_size, notification);
    if (!notification->hh.tbl) {
        free(notification);
        return NULL;
    }
    return notification;
}

void notification_wait(struct notifications *notifications, struct span address, struct span topic,
    struct span group, bool is_ordered, struct notification_waiter *waiter)
{
    char key[ADDRESS_TEXT_MAX + 2 * 256 + 2];
    struct failure_report report;
    size_t key_size = key_make(address, topic, group, is_ordered, key, sizeof(key));
    if (key_size == 0) {
        failure_set(&report, FAILURE_INVALID, false, "the topic or the consumer group is too long");
        waiter->on_notified(waiter, &report);
        return;
    }
    struct notification *notification;
    HASH_FIND(hh, notifications->list, key, key_size, notification);
    bool is_new = !notification;
    if (is_new) {
        notification = notification_new(notifications, key, key_size, address, topic, group);
    }
    if (!notification) {
        failure_set(&report, FAILURE_OVERLOADED, false, "out of memory");
        waiter->on_notified(waiter, &report);
        return;
    }
    left_set(notification, false);
    waiter->notification = notification;
    TAILQ_INSERT_TAIL(&notification->waiters, waiter, link);
    if (is_new) {
        notification->is_ordered = is_ordered;
        notification_park(notification);
    }
}

void notification_waiter_cancel(struct notification_waiter *waiter)
{
    struct notification *notification = waiter->notification;
    if (!notification) {
        return;
    }
    waiter_remove(waiter);
    struct notifications *notifications = notification->notifications;
    if (notification->is_over || !TAILQ_EMPTY(&notification->waiters)) {
        return;
    }
    left_set(notification, true);
    if (notifications->n_left > NOTIFICATIONS_LEFT_MAX) {
        notification_end(TAILQ_FIRST(&notifications->left), NULL);
    }
}
