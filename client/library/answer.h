/*
 * Answer
 *
 * What is inside a remotingclient_answer: a decoded frame and the copies of its texts that end with
 * a zero. The body stands at the end of the frame, with a zero behind it.
 */
#pragma once

#include "client/remotingclient.h"
#include "protocol/cleanup.h"
#include "protocol/remoting_command.h"

#include <sys/queue.h>

struct remotingclient_answer {
    struct remoting_command command;
    uint64_t token;
    uint8_t *frame;
    char *texts; /* the command's remark and fields point into it */
    STAILQ_ENTRY(remotingclient_answer) kept;
    struct ext_field fields[EXT_FIELDS_MAX];
};

DEFINE_CLEANUP(struct remotingclient_answer *, remotingclient_answer_free)

/*
 * Copies and decodes a complete frame. -EBADMSG: *ret_problem says why; -ENOMEM.
 */
int answer_new(const uint8_t *frame, size_t size, struct header_problem *ret_problem,
    struct remotingclient_answer **ret_answer);
