/*
 * Address
 *
 * host:port as RocketMQ writes it in routes and lists: a name, an IPv4 address, or an IPv6 address
 * in brackets.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stdint.h>

#define ADDRESS_HOST_MAX 253
#define ADDRESS_TEXT_MAX 272 /* [host]:port and a zero */

/* Spans into text; the host without its brackets. False for anything else, port 0 included. */
bool address_parse(struct span text, struct span *ret_host, uint16_t *ret_port);

/*
 * Whether a host is an IP address within a network such as 10.0.0.0/8, fd00::/8 or 127.0.0.1. Names
 * are in no network: only addresses in numbers can be held against one.
 */
bool address_host_is_in(struct span host, const char *network);
/* Whether one of the items is this very host:port, or a network that its host is in. */
bool address_is_among(const char *address, char *const *items, size_t n_items);
