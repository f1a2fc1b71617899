/*
 * Stage frames
 *
 * What the peers of a daemon on a stage write: requests in JSON, and the answers of a broker that
 * is well. It has a message in every queue and says yes to the rest; the routes that a nameserver
 * knows are its own business.
 */
#pragma once

#include "protocol/remoting_command.h"
#include "protocol/span.h"

#include <stddef.h>
#include <stdint.h>

#define STAGE_TOPIC  "Orders"
#define STAGE_BROKER "broker-a"

/*
 * A request in JSON, or with this flag a response: ext are the members of extFields. The size,
 * which is at most size_max.
 */
size_t stage_request(uint8_t *dst, size_t size_max, int code, int opaque, int flag, const char *ext,
    struct span body);

struct good_answer {
    int code;
    const char *ext;
    struct span body; /* of the request, or one that stays */
};

void good_answer_make(const struct remoting_command *request, struct good_answer *answer);
