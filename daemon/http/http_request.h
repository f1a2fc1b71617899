/*
 * HTTP request
 *
 * What a request of the HTTP door means: its method, target and header fields become the remoting
 * command that does the same, or a refusal that says what is accepted. Only what stands in the
 * table of routes is served; there are no administration and no codes of the caller's choice, and
 * nothing that was not understood is passed over in silence: an unknown query parameter or X-Mq-*
 * field is refused. Host, Connection, Accept and whatever else is HTTP's own has no meaning here;
 * how long the body is and where it ends is http_stream.h's business.
 *
 *     POST /v1/topics/T/messages             SEND_MESSAGE, the body is the message
 *     POST /v1/topics/T/messages:batch       SEND_BATCH_MESSAGE, JSON as for sidecar.bodyFormat
 *     POST /v1/topics/T/groups/G/receive     POP_MESSAGE, answered as for sidecar.answerFormat
 *     POST /v1/ack                           BATCH_ACK_MESSAGE, a JSON array of receipts, or of
 *                                            what was received
 *     POST /v1/nack                          CHANGE_MESSAGE_INVISIBLETIME, one for each of an array
 *     GET  /v1/routes/T                      GET_ROUTEINFO_BY_TOPIC
 *     GET  /v1/health                        GET_STATUS
 *
 * No I/O, no clock, nothing kept: whoever is allowed what is decided where remoting requests are.
 */
#pragma once

#include "daemon/core/failure.h"
#include "protocol/ext_fields.h"
#include "protocol/remoting_command.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Bytes of a request's head: the request line and all header fields. */
#define HTTP_HEAD_MAX   16384
#define HTTP_FIELDS_MAX 100
#define HTTP_BODY_MAX   (4 * 1024 * 1024)
/* Receipts of one request. */
#define HTTP_RECEIPTS_MAX 1024
#define HTTP_CAUSE_SIZE   384

struct http_field {
    struct span name;
    struct span value;
};

/* As it was read; the spans are the caller's. */
struct http_request {
    struct span method; /* "POST" */
    struct span target; /* "/v1/health?x=y" */
    struct http_field fields[HTTP_FIELDS_MAX];
    size_t n_fields;
};

/* Why it is not served. */
struct http_refusal {
    unsigned status;
    enum failure failure;
    const char *allow; /* of 405: the methods; otherwise NULL */
    char cause[HTTP_CAUSE_SIZE];
};

enum http_route {
    HTTP_SEND,
    HTTP_SEND_BATCH,
    HTTP_RECEIVE,
    HTTP_ACK,
    HTTP_NACK,
    HTTP_TOPIC_ROUTE,
    HTTP_HEALTH,
};

/* What it asks for. It points into itself and into the request, and is not to be moved. */
struct http_call {
    enum http_route route;
    bool takes_body;
    struct remoting_command command; /* without its body and opaque */
    struct ext_field ext_fields[EXT_FIELDS_MAX];
    char text[HTTP_HEAD_MAX]; /* names and values that did not stand in the request as they are */
    size_t n_text;
};

/* False: *ret_refusal says why. */
bool http_request_read(const struct http_request *request, struct http_call *ret_call,
    struct http_refusal *ret_refusal);

/*
 * The body of an ack or nack: an array of 1 to HTTP_RECEIPTS_MAX receipts, or of messages as they
 * were received, whose receipts are meant. An array of texts, to be freed by json_decref(). NULL:
 * *ret_refusal says why.
 */
json_t *http_receipts_read(struct span body, struct http_refusal *ret_refusal);

__attribute__((format(printf, 4, 5))) void http_refuse(
    struct http_refusal *refusal, unsigned status, enum failure failure, const char *format, ...);
