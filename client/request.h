/*
 * Request
 *
 * A remoting command under construction. It owns the texts that are made for it (numbers, prefixed
 * names) and points into all others, which must outlive it. The first field that cannot be added is
 * remembered, and request_problem() is asked once, before the request is sent.
 */
#pragma once

#include "protocol/remoting_command.h"

#include <stdint.h>

struct request {
    struct remoting_command command;
    struct ext_field fields[EXT_FIELDS_MAX];
    char *owned[EXT_FIELDS_MAX];
    size_t n_owned;
    const char *problem;
};

void request_init(struct request *request, int32_t code);
void request_deinit(struct request *request);

/* key is a literal or lives as long as the request. */
void request_add(struct request *request, const char *key, struct span value);
void request_add_number(struct request *request, const char *key, int64_t value);
/* The key is prefix and name together; the name is copied. */
void request_add_prefixed(
    struct request *request, const char *prefix, struct span name, struct span value);

/* NULL, or why the request cannot be sent: too many fields, a field given twice, no memory. */
const char *request_problem(struct request *request);
