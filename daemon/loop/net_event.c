#include "daemon/loop/net_event.h"

#include "protocol/code.h"
#include "protocol/remoting_command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NET_EVENT_FIELDS 5

const char *net_event_name(enum net_event event)
{
    switch (event) {
    case NET_EVENT_CONNECTED:
        return "CONNECTED";
    case NET_EVENT_DISCONNECTED:
        return "DISCONNECTED";
    case NET_EVENT_EXCEPTION:
        return "EXCEPTION";
    case NET_EVENT_IDLE:
        return "IDLE";
    }
    return "?";
}

void net_events_init(struct net_events *events)
{
    TAILQ_INIT(&events->subscriptions);
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

static void event_write(
    struct net_event_subscription *subscription, struct remoting_command *command)
{
    struct transport *transport = subscription->transport;
    char dropped[24];
    size_t n_fields = command->ext_fields.n;
    if (subscription->n_dropped > 0) {
        (void)snprintf(dropped, sizeof(dropped), "%" PRIu64, subscription->n_dropped);
        (void)ext_fields_add(&command->ext_fields, SPAN("dropped"), span_of(dropped));
    }
    uint8_t *room = NULL;
    size_t size = remoting_command_encoded_head_size(command, subscription->serialize_type);
    if (size > 0 && transport->output.size + size <= NET_EVENT_BUFFER) {
        room = output_reserve(&transport->output, size);
    }
    if (room) {
        remoting_command_encode_head(command, subscription->serialize_type, room);
        transport_flush_later(transport);
        subscription->n_dropped = 0;
    } else {
        subscription->n_dropped++;
    }
    command->ext_fields.n = n_fields;
}

void net_event_publish(struct net_events *events, enum net_event event, const char *address,
    uint64_t upstream_id, const char *cause)
{
    if (TAILQ_EMPTY(&events->subscriptions)) {
        return;
    }
    char id[24];
    (void)snprintf(id, sizeof(id), "%" PRIu64, upstream_id);
    struct ext_field fields[NET_EVENT_FIELDS];
    struct remoting_command command = {
        .code = SIDECAR_SUBSCRIBE_NET_EVENTS,
        .version = REMOTING_VERSION,
        .flag = REMOTING_FLAG_ONEWAY,
        .language = LANGUAGE_CPP,
        .has_ext_fields = true,
    };
    ext_fields_init(&command.ext_fields, fields, NET_EVENT_FIELDS);
    (void)ext_fields_add(&command.ext_fields, SPAN("event"), span_of(net_event_name(event)));
    (void)ext_fields_add(&command.ext_fields, SPAN("addr"), span_of(address));
    (void)ext_fields_add(&command.ext_fields, SPAN("connection"), span_of(id));
    (void)ext_fields_add(&command.ext_fields, SPAN("cause"), span_of(cause ? cause : ""));
    struct net_event_subscription *subscription;
    TAILQ_FOREACH (subscription, &events->subscriptions, link) {
        event_write(subscription, &command);
    }
}
