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
