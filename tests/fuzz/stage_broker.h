/*
 * Stage broker
 *
 * The nameserver and the broker of a stage: one peer that knows a route to itself for every topic
 * but "Absent", has a message in every queue and says yes to the rest, or that reads its answers
 * from a script. It does not wait: whoever polls its descriptors tells it that there is something
 * to read.
 */
#pragma once

#include "protocol/span.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAGE_CONNECTIONS_MAX 16

struct stage_connection {
    int fd; /* -1: none */
    bool is_nameserver;
    uint8_t *received;
    size_t n_received;
};

struct stage_broker {
    uint16_t nameserver_port, broker_port;
    int nameserver_fd, broker_fd; /* they listen */
    struct stage_connection connections[STAGE_CONNECTIONS_MAX];
    struct span script; /* what is left of it; absent: none */
    bool is_nameserver_scripted;
};

void stage_broker_open(struct stage_broker *broker);
/* Before every play. */
void stage_broker_begin(
    struct stage_broker *broker, struct span script, bool is_nameserver_scripted);
/* After it: no connection is left. */
void stage_broker_end(struct stage_broker *broker);

#define STAGE_BROKER_POLL_MAX (2 + STAGE_CONNECTIONS_MAX)
/* What there is to poll, in ret_fds; its number. */
size_t stage_broker_poll(const struct stage_broker *broker, struct pollfd *ret_fds);
void stage_broker_turn(struct stage_broker *broker, const struct pollfd *fds, size_t n);
