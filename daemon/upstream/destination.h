/*
 * Destination
 *
 * Where the daemon connects to at all. Brokers' addresses are what nameservers say; with [upstream]
 * route_addresses a nameserver that lies cannot lead the daemon, and with it the requests of its
 * callers, to other servers of the network. Nameservers themselves, and what allow_addresses admits
 * for callers to name, are always admitted.
 *
 * Decided when a connection is made, of the address in numbers, so that a name is no way round;
 * connections that are there stay.
 */
#pragma once

#include "config/config.h"

#include <stdbool.h>
#include <sys/socket.h>

/* name is host:port as it was asked for, socket_address what it was resolved to: IPv4 or IPv6. */
bool destination_is_admitted(
    const struct config *config, const char *name, const struct sockaddr *socket_address);
