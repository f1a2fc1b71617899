/*
 * Permission
 *
 * Whether a role may do what a command asks for. The topic and the groups are read where the broker
 * reads them: in the ext fields that the command's code has for them, in the body of those that have
 * them there, in a receipt. What cannot be told apart by topic or group is refused to all but those
 * who may everything:
 *
 *     SEND and its kin        topic in `send`; producer group in `producer_groups`, or the shared one
 *     POP, PULL, ACK, offsets topic in `consume`, consumer group in `consumer_groups`
 *     12 (messages by key)    topic in `consume`
 *     105 (route)             topic in `send` or `consume`
 *     33, 36                  a message by its offset, of whatever topic: consume = *; also by a
 *                             receipt, whose offset anybody could have written
 *     any other command       `admin`, or a role whose four lists are *
 *
 * A consumer group's own topics (%RETRY%GROUP, %DLQ%GROUP) go with the group; a message that a POP
 * brings from %RETRY%GROUP_TOPIC needs both. A consumer may send to the retry topic of its group, as
 * Java's does where 36 fails.
 *
 * Each question answers true, or false with a report (FAILURE_FORBIDDEN) that says what is missing
 * and which setting would allow it. A role that may everything need not be asked about.
 */
#pragma once

#include "daemon/core/failure.h"
#include "daemon/core/role.h"
#include "protocol/ext_fields.h"
#include "protocol/heartbeat.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stdint.h>

/* A command that goes to a broker or nameserver with these ext fields and this body. */
bool permission_to_command(const struct role *role, int32_t code,
    const struct ext_fields *ext_fields, struct span body, struct failure_report *ret_report);
/* A topic or group that is absent needs * in the list. */
bool permission_to_send(const struct role *role, struct span topic, struct span producer_group,
    struct failure_report *ret_report);
bool permission_to_consume(const struct role *role, struct span topic, struct span group,
    struct failure_report *ret_report);
/* What a heartbeat makes its caller speak for. */
bool permission_to_heartbeat(
    const struct role *role, const struct heartbeat *heartbeat, struct failure_report *ret_report);
/* To be asked this by brokers; group absent: for every group. */
bool permission_to_be_asked(
    const struct role *role, int32_t code, struct span group, struct failure_report *ret_report);
