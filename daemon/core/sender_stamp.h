/*
 * Sender stamp
 *
 * Two properties by which a message says who sent it (send.stamp_sender): SENDER_UID, the user of the
 * process that connected, and SENDER_UNIT, its systemd unit where that is known. While messages are
 * stamped no caller may give them itself, so that whoever reads one of them can believe it.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SENDER_STAMP_SIZE 160 /* with a unit of any length that cgroup.h gives */

/* What a caller is told that gives them. */
#define SENDER_STAMP_REFUSAL                                                                       \
    "SENDER_UID and SENDER_UNIT are written by the daemon (send.stamp_sender): leave them out"

/* The properties as they are stored, behind others. */
struct sender_stamp {
    char text[SENDER_STAMP_SIZE];
    size_t n; /* 0: nothing is known */
};

/* unit: as cgroup_unit() gives it; NULL or "" is none. is_known: uid is. */
void sender_stamp_init(struct sender_stamp *stamp, bool is_known, uint64_t uid, const char *unit);
struct span sender_stamp_text(const struct sender_stamp *stamp);
/* Whether these properties name one of them. */
bool sender_stamp_is_given(struct span properties);
