/*
 * Resolver
 *
 * Names to socket addresses without blocking the loop: c-ares with its sockets in the loop, which
 * reads /etc/hosts and /etc/resolv.conf as the C library does. Addresses written as numbers never
 * come here (resolver_parse_literal).
 *
 * A query ends in exactly one call of its function, or in resolver_cancel(). c-ares may call from
 * within resolver_query(); the answer is then handed out at the end of the turn, never before
 * resolver_query() returns.
 */
#pragma once

#include "daemon/loop/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define RESOLVER_ADDRESSES_MAX 8

struct resolver;
struct resolver_query;

struct resolver_result {
    size_t n; /* 0: error says why */
    struct sockaddr_storage addresses[RESOLVER_ADDRESSES_MAX];
    socklen_t sizes[RESOLVER_ADDRESSES_MAX];
    const char *error;
};

typedef void resolver_on_result(void *context, const struct resolver_result *result);

struct resolver *resolver_new(struct loop *loop);
struct resolver *resolver_free(struct resolver *resolver);

/* NULL without memory. */
struct resolver_query *resolver_query(struct resolver *resolver, const char *host, uint16_t port,
    resolver_on_result *on_result, void *context);
void resolver_cancel(struct resolver_query *query);

/* True when host is an IPv4 or IPv6 address in numbers. */
bool resolver_parse_literal(const char *host, uint16_t port, struct resolver_result *ret_result);
