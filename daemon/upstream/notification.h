/*
 * Notification
 *
 * Waits for a broker to have a message for a consumer group: one NOTIFICATION (200054) a broker,
 * topic and group is parked there, however many callers wait. A caller that goes away does not take
 * the parked one back (the broker cannot be told), so the next caller of the group is attached to
 * it: a broker wakes one parked request a message, and a forgotten one would swallow the wake-up of
 * the one that counts.
 *
 * A waiter is woken when there may be something (ask with POP), or when the broker failed. Owned by
 * the daemon.
 */
#pragma once

#include "daemon/upstream/upstream_pool.h"

#include <sys/queue.h>

struct notifications;
struct notification;

/* Owned by who waits. */
struct notification_waiter {
    TAILQ_ENTRY(notification_waiter) link;
    struct notification *notification; /* NULL: not waiting */
    /* report is NULL when there may be a message. */
    void (*on_notified)(struct notification_waiter *waiter, const struct failure_report *report);
};

struct notifications *notifications_new(
    struct upstream_context *context, struct upstream_pool *pool);
struct notifications *notifications_free(struct notifications *notifications);

/*
 * is_ordered: queues that are locked for a consumer of the group, which has messages of them, do not
 * count. Brokers notify when they are free again.
 *
 * on_notified is called once, never before this returns unless memory is short or the broker cannot
 * be reached.
 */
void notification_wait(struct notifications *notifications, struct span address, struct span topic,
    struct span group, bool is_ordered, struct notification_waiter *waiter);
void notification_waiter_cancel(struct notification_waiter *waiter);
