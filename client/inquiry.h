/*
 * Inquiry
 *
 * Questions whose answers may fail without harm: each gives what came, or one sentence why nothing
 * did. What is not known is collected in the report, each reason once. The number of questions of
 * one explanation is bounded.
 */
#pragma once

#include "client/explanation.h"
#include "client/queue_offset.h"

#define REASON_SIZE 256

struct inquiry {
    struct remotingclient_answer *answer; /* NULL: none came */
    int32_t code;                         /* -1: none came */
    json_t *body;                         /* NULL: none, or no JSON */
    char reason[REASON_SIZE];             /* "" for an answer of code 0 */
};

/* A question with the explanation's deadline. */
struct remotingclient_request *inquiry_request_new(
    const struct explanation *explanation, int32_t code);
/* Asks, and frees the request. */
void inquiry_ask(struct explanation *explanation, struct remotingclient_request *request,
    struct inquiry *ret_inquiry);
void inquiry_deinit(struct inquiry *inquiry);
/* Notes in the report what is not known; what is a printf format. */
void inquiry_note_unknown(struct explanation *explanation, const char *reason, const char *format,
    ...) __attribute__((format(printf, 3, 4)));
/*
 * An offset of queue 0 of a topic at a broker, such as a retry topic's: -1 where the group has none
 * or nobody told, and then it is noted.
 */
int64_t inquiry_offset(struct explanation *explanation, const char *topic, const char *broker,
    enum queue_offset_kind kind, const char *group);
