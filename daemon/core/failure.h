/*
 * Failure
 *
 * The failures that the daemon itself tells callers, each with the word of sidecar.error and
 * RocketMQ's code for it (local protocol, "Failures made here"). A failure carries whether the
 * request may have reached a broker: `maybe` as soon as one byte of it was written.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum failure {
    FAILURE_TIMEOUT,
    FAILURE_NO_REPLY, /* a timeout, too: the request message was sent, and nobody replied */
    FAILURE_UNREACHABLE,
    FAILURE_CONNECTION_LOST,
    FAILURE_NO_NAMESERVER,
    FAILURE_NO_ROUTE,
    FAILURE_NO_BROKER,
    FAILURE_OVERLOADED,
    FAILURE_UNSUPPORTED,
    FAILURE_DRAINING,
    FAILURE_FORBIDDEN,
    FAILURE_INVALID,
};
#define FAILURES 12

#define FAILURE_CAUSE_SIZE 384

struct failure_report {
    enum failure failure;
    bool maybe_sent;
    char cause[FAILURE_CAUSE_SIZE]; /* one sentence with cause and address */
};

const char *failure_name(enum failure failure);
int32_t failure_code(enum failure failure);

/*
 * The cause becomes a remark, which is UTF-8: what is left of a character that was cut, by its room
 * or by the format's precisions, is left out.
 */
__attribute__((format(printf, 4, 5))) void failure_set(
    struct failure_report *report, enum failure failure, bool maybe_sent, const char *format, ...);
__attribute__((format(printf, 4, 0))) void failure_set_va(struct failure_report *report,
    enum failure failure, bool maybe_sent, const char *format, va_list arguments);
