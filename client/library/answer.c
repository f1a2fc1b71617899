#include "client/library/answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/code.h"

_Static_assert(
    (int)REMOTINGCLIENT_SEND == (int)REQUEST_SEND_MESSAGE &&
        (int)REMOTINGCLIENT_PULL == (int)REQUEST_PULL_MESSAGE &&
        (int)REMOTINGCLIENT_POP == (int)REQUEST_POP_MESSAGE &&
        (int)REMOTINGCLIENT_ACK == (int)REQUEST_ACK_MESSAGE &&
        (int)REMOTINGCLIENT_CHANGE_INVISIBLE == (int)REQUEST_CHANGE_MESSAGE_INVISIBLETIME,
    "the library's names are RocketMQ's numbers");

struct remotingclient_answer *remotingclient_answer_free(struct remotingclient_answer *answer)
{
    if (answer) {
        free(answer->frame);
        free(answer->texts);
        free(answer);
    }
    return NULL;
}

static void copy_text(struct span *span, char **at)
{
    if (!span_is_absent(*span)) {
        char *text = *at;
        *(char *)mempcpy(text, span->data, span->n) = '\0';
        span->data = text;
        *at = text + span->n + 1;
    }
}

/* Inside the frame something follows each text at once: there is no room for a zero. */
static int copy_texts(struct remotingclient_answer *answer)
{
    struct remoting_command *command = &answer->command;
    size_t size = command->remark.n + 1;
    for (size_t i = 0; i < command->ext_fields.n; i++) {
        size += command->ext_fields.fields[i].key.n + 1 + command->ext_fields.fields[i].value.n + 1;
    }
    answer->texts = malloc(size);
    if (!answer->texts) {
        return -ENOMEM;
    }
    char *at = answer->texts;
    copy_text(&command->remark, &at);
    for (size_t i = 0; i < command->ext_fields.n; i++) {
        copy_text(&command->ext_fields.fields[i].key, &at);
        copy_text(&command->ext_fields.fields[i].value, &at);
    }
    return 0;
}

int answer_new(const uint8_t *frame, size_t size, struct header_problem *ret_problem,
    struct remotingclient_answer **ret_answer)
{
    CLEANUP(remotingclient_answer_free)
    struct remotingclient_answer *answer = calloc(1, sizeof(*answer));
    if (!answer) {
        return -ENOMEM;
    }
    answer->frame = malloc(size + 1);
    if (!answer->frame) {
        return -ENOMEM;
    }
    *(uint8_t *)mempcpy(answer->frame, frame, size) = 0;

    enum serialize_type serialize_type;
    remoting_command_init(&answer->command, answer->fields, EXT_FIELDS_MAX);
    if (remoting_command_decode(
            &answer->command, answer->frame, size, &serialize_type, ret_problem) != HEADER_OK) {
        return -EBADMSG;
    }
    const int r = copy_texts(answer);
    if (r < 0) {
        return r;
    }
    *ret_answer = TAKE(answer);
    return 0;
}

int32_t remotingclient_answer_code(const struct remotingclient_answer *answer)
{
    return answer->command.code;
}

int32_t remotingclient_answer_opaque(const struct remotingclient_answer *answer)
{
    return answer->command.opaque;
}

uint64_t remotingclient_answer_token(const struct remotingclient_answer *answer)
{
    return answer->token;
}

bool remotingclient_answer_is_request(const struct remotingclient_answer *answer)
{
    return !remoting_command_is_response(&answer->command);
}

const char *remotingclient_answer_remark(const struct remotingclient_answer *answer)
{
    return answer->command.remark.data;
}

const char *remotingclient_answer_field(
    const struct remotingclient_answer *answer, const char *name)
{
    return ext_fields_get(&answer->command.ext_fields, span_of(name)).data;
}

const char *remotingclient_answer_body(const struct remotingclient_answer *answer, size_t *ret_n)
{
    const struct span body = answer->command.body;
    if (ret_n) {
        *ret_n = body.n;
    }
    return body.data ? body.data : "";
}

static struct remotingclient_text text_of(struct span span)
{
    return (struct remotingclient_text){ span.data, span.n };
}

bool remotingclient_answer_field_at(const struct remotingclient_answer *answer, size_t i,
    struct remotingclient_text *ret_name, struct remotingclient_text *ret_value)
{
    if (i >= answer->command.ext_fields.n) {
        return false;
    }
    *ret_name = text_of(answer->fields[i].key);
    *ret_value = text_of(answer->fields[i].value);
    return true;
}

static enum remotingclient_sent sent_of(struct span text)
{
    if (span_equals_text(text, "no")) {
        return REMOTINGCLIENT_SENT_NO;
    }
    return span_is_absent(text) ? REMOTINGCLIENT_SENT_UNTOLD : REMOTINGCLIENT_SENT_MAYBE;
}

bool remotingclient_answer_failure(
    const struct remotingclient_answer *answer, struct remotingclient_failure *ret_failure)
{
    const struct remoting_command *command = &answer->command;
    const struct ext_fields *fields = &command->ext_fields;
    if (!remoting_command_is_response(command) || command->code == RESPONSE_SUCCESS) {
        return false;
    }
    *ret_failure = (struct remotingclient_failure){
        .code = command->code,
        .error = ext_fields_text(fields, "sidecar.error").data,
        .remark = span_is_empty(command->remark) ? "(no remark)" : command->remark.data,
        .sent = sent_of(ext_fields_text(fields, "sidecar.sent")),
        .retry_after_ms = -1,
        .request_id = ext_fields_text(fields, "sidecar.requestId").data,
    };
    (void)ext_value_parse_i64(ext_fields_text(fields, "sidecar.retryAfterMillis"), 0, INT64_MAX,
        &ret_failure->retry_after_ms);
    return true;
}

bool remotingclient_answer_is_stored(const struct remotingclient_answer *answer)
{
    const int32_t code = answer->command.code;
    /* A failure that the daemon made has one of its own codes, whatever the number. */
    if (!span_is_absent(ext_fields_text(&answer->command.ext_fields, "sidecar.error"))) {
        return false;
    }
    return code == RESPONSE_SUCCESS || code == RESPONSE_FLUSH_DISK_TIMEOUT ||
           code == RESPONSE_SLAVE_NOT_AVAILABLE || code == RESPONSE_FLUSH_SLAVE_TIMEOUT;
}
