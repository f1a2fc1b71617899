/*
 * HTTP answer
 *
 * What becomes of the answer to a remoting command at the HTTP door: a status, the fields that tell
 * what happened to the message, and a JSON body.
 *
 *     200  done                                  X-Mq-Sent: yes
 *     400  invalid                               403  forbidden           404  no-route
 *     502  unreachable, connection-lost, no-broker, no-nameserver, or refused by the broker
 *     503  overloaded, draining                  Retry-After              504  timeout
 *
 * A failure's body has `error`, a word of sidecar.error, or `broker` where it was the broker that
 * said no; `remark`; `sent`; and where they are known `code`, `msgId` and `requestId`.
 *
 * No I/O, and nothing kept.
 */
#pragma once

#include "daemon/http/http_request.h"

#define HTTP_ANSWER_HEAD_SIZE 1024

struct http_answer {
    unsigned status;
    const char *sent;   /* no, maybe or yes */
    struct span msg_id; /* what the command or the refusal had; absent: none */
    const char *allow;
    bool closes;  /* there will be no other answer on this connection */
    json_t *json; /* its body; NULL: that of the command */
    struct span body;
};

/* The answer to a call of this route; what it points to is the command's. json: to be freed. */
void http_answer_make(
    enum http_route route, const struct remoting_command *command, struct http_answer *ret_answer);
/* That to a request that is not served. */
void http_answer_refuse(const struct http_refusal *refusal, struct http_answer *ret_answer);

/* One row of the array that a nack is answered with. NULL without memory. */
json_t *http_nack_row(const char *receipt, const struct remoting_command *command);

/* The head of the answer, empty line included; the bytes of it. */
size_t http_answer_head(
    const struct http_answer *answer, size_t body_size, char dst[static HTTP_ANSWER_HEAD_SIZE]);
