/*
 * Sidecar fields
 *
 * The ext fields of a request that begin with "sidecar." are the daemon's own: they say where the
 * command goes, how long it may take and what form its answer has, and never reach a broker. This
 * module takes them out of a request's ext fields and checks them; what is unknown or makes no
 * sense is named.
 */
#pragma once

#include "protocol/ext_fields.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sidecar_retry {
    SIDECAR_RETRY_SAFE,          /* another broker only where the message was surely not stored */
    SIDECAR_RETRY_AT_LEAST_ONCE, /* also where the outcome is unknown: duplicates are possible */
    SIDECAR_RETRY_NO,
};

struct sidecar_fields {
    struct span addr;
    struct span broker;
    struct span topic;
    struct span receipt;
    struct span traceparent;
    struct span msg_id;
    uint64_t timeout_ms; /* 0: not given */
    bool has_code;
    int32_t code;
    enum sidecar_retry retry;
    bool wants_json;    /* sidecar.answerFormat=json */
    bool has_json_body; /* sidecar.bodyFormat=json */
    bool is_half;       /* sidecar.transaction=half */
    bool is_request;    /* sidecar.request=true */
    bool has_max_reconsume;
    int32_t max_reconsume; /* of a POP: who was given more often becomes a dead letter */
};

/*
 * Takes the sidecar.* fields out. The spans in *ret_fields point where the ext fields' did. False:
 * problem is one sentence that names the field, what was seen and what is accepted.
 */
bool sidecar_fields_take(struct ext_fields *ext_fields, uint64_t max_timeout_ms,
    struct sidecar_fields *ret_fields, char *problem, size_t problem_size);
