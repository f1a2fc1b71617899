#include "daemon/upstream/resolver.h"

#include <arpa/inet.h>
#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* A server gets one second and is asked twice: who waits has a deadline of a few seconds in all. */
#define RESOLVER_TRY_MS 1000
#define RESOLVER_TRIES  2

/* One of c-ares's sockets in the loop. */
struct resolver_socket {
    LIST_ENTRY(resolver_socket) link;
    struct resolver *resolver;
    ares_socket_t fd;
    struct event event;
};

struct resolver_query {
    struct resolver *resolver;
    resolver_on_result *on_result;
    void *context;
    bool is_cancelled;
    struct resolver_result result;
    struct loop_reapable reapable; /* hands the result out at the end of the turn */
};

struct resolver {
    struct loop *loop;
    ares_channel channel;
    struct deadline deadline;
    LIST_HEAD(, resolver_socket) sockets;
};

static void timeout_arm(struct resolver *resolver)
{
    struct timeval wait;
    if (!ares_timeout(resolver->channel, NULL, &wait)) {
        loop_deadline_clear(resolver->loop, &resolver->deadline);
        return;
    }
    uint64_t wait_ms = (uint64_t)wait.tv_sec * 1000 + (uint64_t)wait.tv_usec / 1000 + 1;
    loop_deadline_set(
        resolver->loop, &resolver->deadline, clock_after(resolver->loop->now_ms, wait_ms));
}

static void on_socket(evutil_socket_t fd, short what, void *context)
{
    struct resolver_socket *socket_entry = context;
    struct resolver *resolver = socket_entry->resolver;
    loop_wake(resolver->loop);
    ares_process_fd(resolver->channel, what & EV_READ ? fd : ARES_SOCKET_BAD,
        what & EV_WRITE ? fd : ARES_SOCKET_BAD);
    timeout_arm(resolver);
}

static void on_deadline(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    struct resolver *resolver =
        (struct resolver *)(void *)((char *)deadline - offsetof(struct resolver, deadline));
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    timeout_arm(resolver);
}

static void socket_entry_free(struct resolver_socket *socket_entry)
{
    (void)event_del(&socket_entry->event);
    LIST_REMOVE(socket_entry, link);
    free(socket_entry);
}

/* c-ares says which of its sockets it wants to read or write; neither means that it closes it. */
static void on_socket_state(void *context, ares_socket_t fd, int readable, int writable)
{
    struct resolver *resolver = context;
    struct resolver_socket *socket_entry;
    LIST_FOREACH (socket_entry, &resolver->sockets, link) {
        if (socket_entry->fd == fd) {
            socket_entry_free(socket_entry);
            break;
        }
    }
    if (!readable && !writable) {
        return;
    }
    socket_entry = calloc(1, sizeof(*socket_entry));
    if (!socket_entry) {
        return; /* the query then ends by its time */
    }
    socket_entry->resolver = resolver;
    socket_entry->fd = fd;
    short what = (short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0) | EV_PERSIST);
    if (event_assign(
            &socket_entry->event, resolver->loop->base, fd, what, on_socket, socket_entry) < 0) {
        free(socket_entry);
        return;
    }
    LIST_INSERT_HEAD(&resolver->sockets, socket_entry, link);
    (void)event_add(&socket_entry->event, NULL);
}

struct resolver *resolver_new(struct loop *loop)
{
    struct resolver *resolver = calloc(1, sizeof(*resolver));
    if (!resolver) {
        return NULL;
    }
    resolver->loop = loop;
    LIST_INIT(&resolver->sockets);
    deadline_init(&resolver->deadline, on_deadline);
    struct ares_options options = {
        .timeout = RESOLVER_TRY_MS,
        .tries = RESOLVER_TRIES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = resolver,
    };
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    if (ares_init_options(&resolver->channel, &options, mask) != ARES_SUCCESS) {
        free(resolver);
        return NULL;
    }
    return resolver;
}

struct resolver *resolver_free(struct resolver *resolver)
{
    if (!resolver) {
        return NULL;
    }
    ares_destroy(resolver->channel);
    loop_deadline_clear(resolver->loop, &resolver->deadline);
    while (!LIST_EMPTY(&resolver->sockets)) {
        socket_entry_free(LIST_FIRST(&resolver->sockets));
    }
    free(resolver);
    return NULL;
}

static void on_hand_out(struct loop_reapable *reapable)
{
    struct resolver_query *query =
        (struct resolver_query *)(void *)((char *)reapable -
                                          offsetof(struct resolver_query, reapable));
    if (!query->is_cancelled) {
        query->on_result(query->context, &query->result);
    }
    free(query);
}

static void on_addrinfo(void *context, int status, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    struct resolver_query *query = context;
    struct resolver_result *result = &query->result;
    if (status != ARES_SUCCESS) {
        result->error = ares_strerror(status);
    }
    for (struct ares_addrinfo_node *node = info ? info->nodes : NULL;
         node && result->n < RESOLVER_ADDRESSES_MAX; node = node->ai_next) {
        if (node->ai_addrlen <= sizeof(result->addresses[0])) {
            memcpy(&result->addresses[result->n], node->ai_addr, node->ai_addrlen);
            result->sizes[result->n++] = node->ai_addrlen;
        }
    }
    if (result->n == 0 && !result->error) {
        result->error = "the name has no address";
    }
    if (info) {
        ares_freeaddrinfo(info);
    }
    loop_reap(query->resolver->loop, &query->reapable, on_hand_out);
}

struct resolver_query *resolver_query(struct resolver *resolver, const char *host, uint16_t port,
    resolver_on_result *on_result, void *context)
{
    struct resolver_query *query = calloc(1, sizeof(*query));
    if (!query) {
        return NULL;
    }
    query->resolver = resolver;
    query->on_result = on_result;
    query->context = context;
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", port);
    const struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = ARES_AI_NUMERICSERV,
    };
    ares_getaddrinfo(resolver->channel, host, service, &hints, on_addrinfo, query);
    timeout_arm(resolver);
    return query;
}

void resolver_cancel(struct resolver_query *query)
{
    query->is_cancelled = true;
}

bool resolver_parse_literal(const char *host, uint16_t port, struct resolver_result *ret_result)
{
    *ret_result = (struct resolver_result){ 0 };
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(&ret_result->addresses[0], &v4, sizeof(v4));
        ret_result->sizes[0] = sizeof(v4);
    } else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(&ret_result->addresses[0], &v6, sizeof(v6));
        ret_result->sizes[0] = sizeof(v6);
    } else {
        return false;
    }
    ret_result->n = 1;
    return true;
}
