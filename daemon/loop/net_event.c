#include "daemon/loop/net_event.h"

#include "daemon/loop/wall_clock.h"
#include "protocol/code.h"
#include "protocol/remoting_command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NET_EVENT_FIELDS 5 /* with `dropped` */

int net_events_init(struct net_events *events)
{
    TAILQ_INIT(&events->subscriptions);
    return event_ring_init(&events->ring);
}

void net_events_deinit(struct net_events *events)
{
    event_ring_deinit(&events->ring);
}

int net_event_subscribe(struct net_events *events, struct net_event_subscription **subscription,
    struct transport *transport, enum serialize_type serialize_type)
{
    if (!*subscription) {
        struct net_event_subscription *made = calloc(1, sizeof(*made));
        if (!made) {
            return -ENOMEM;
        }
        made->transport = transport;
        TAILQ_INSERT_TAIL(&events->subscriptions, made, link);
        *subscription = made;
    }
    (*subscription)->serialize_type = serialize_type;
    return 0;
}

struct net_event_subscription *net_event_unsubscribe(
    struct net_events *events, struct net_event_subscription *subscription)
{
    if (subscription) {
        TAILQ_REMOVE(&events->subscriptions, subscription, link);
        free(subscription);
    }
    return NULL;
}

void net_event_write(struct transport *transport, enum serialize_type serialize_type,
    struct remoting_command *command, uint64_t *n_dropped)
{
    char dropped[24];
    size_t n_fields = command->ext_fields.n;
    if (*n_dropped > 0) {
        (void)snprintf(dropped, sizeof(dropped), "%" PRIu64, *n_dropped);
        (void)ext_fields_add(&command->ext_fields, SPAN("dropped"), span_of(dropped));
    }
    uint8_t *room = NULL;
    size_t head = remoting_command_encoded_head_size(command, serialize_type);
    size_t size = head + command->body.n;
    if (head > 0 && transport->output.size + size <= NET_EVENT_BUFFER) {
        room = output_reserve(&transport->output, size);
    }
    if (room) {
        remoting_command_encode_head(command, serialize_type, room);
        if (command->body.n > 0) {
            memcpy(room + head, command->body.data, command->body.n);
        }
        transport_flush_later(transport);
        *n_dropped = 0;
    } else {
        *n_dropped += 1;
    }
    command->ext_fields.n = n_fields;
}

static bool is_of_connection(enum event_kind kind)
{
    return kind <= EVENT_IDLE;
}

static void event_tell(struct net_events *events, const struct noted_event *event)
{
    if (TAILQ_EMPTY(&events->subscriptions)) {
        return;
    }
    char id[24];
    (void)snprintf(id, sizeof(id), "%" PRIu64, event->connection);
    struct ext_field fields[NET_EVENT_FIELDS];
    struct remoting_command command = {
        .code = SIDECAR_SUBSCRIBE_NET_EVENTS,
        .version = REMOTING_VERSION,
        .flag = REMOTING_FLAG_ONEWAY,
        .language = LANGUAGE_CPP,
        .has_ext_fields = true,
    };
    ext_fields_init(&command.ext_fields, fields, NET_EVENT_FIELDS);
    (void)ext_fields_add(&command.ext_fields, SPAN("event"), span_of(event_kind_name(event->kind)));
    (void)ext_fields_add(&command.ext_fields, SPAN("addr"), span_of(event->subject));
    (void)ext_fields_add(&command.ext_fields, SPAN("connection"), span_of(id));
    (void)ext_fields_add(&command.ext_fields, SPAN("cause"), span_of(event->cause));
    struct net_event_subscription *subscription;
    TAILQ_FOREACH (subscription, &events->subscriptions, link) {
        if (is_of_connection(event->kind) ||
            (subscription->wants_all &&
                (subscription->is_admin || event_kind_is_public(event->kind)))) {
            net_event_write(subscription->transport, subscription->serialize_type, &command,
                &subscription->n_dropped);
        }
    }
}

/* What is left out of the ring for being too much is told all the same: who listens has a limit. */
static void event_happen(struct net_events *events, struct noted_event *event)
{
    event->wall_ms = wall_clock_ms();
    (void)event_ring_add(&events->ring, event, loop_clock_ms());
    event_tell(events, event);
}

void net_event_publish(struct net_events *events, enum event_kind kind, const char *address,
    uint64_t upstream_id, const char *cause)
{
    struct noted_event event = {
        .kind = kind,
        .is_error = kind == EVENT_EXCEPTION,
        .connection = upstream_id,
    };
    (void)snprintf(event.subject, sizeof(event.subject), "%s", address);
    (void)snprintf(event.cause, sizeof(event.cause), "%s", cause ? cause : "");
    event_happen(events, &event);
}

void net_event_note(struct net_events *events, enum event_kind kind, bool is_error,
    const char *subject, const char *cause, ...)
{
    struct noted_event event = { .kind = kind, .is_error = is_error };
    va_list arguments;
    va_start(arguments, cause);
    (void)snprintf(event.subject, sizeof(event.subject), "%s", subject);
    (void)vsnprintf(event.cause, sizeof(event.cause), cause, arguments);
    va_end(arguments);
    event_happen(events, &event);
}
