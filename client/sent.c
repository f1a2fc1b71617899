#include "client/sent.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/output.h"
#include "protocol/code.h"

static void print_json(const struct remotingclient_answer *answer, uint64_t line)
{
    static const struct {
        const char *name;
        const char *ext_field;
    } columns[] = {
        { "msgId", "msgId" },
        { "uniqKey", "sidecar.uniqKey" },
        { "brokerName", "brokerName" },
        { "queueId", "queueId" },
        { "queueOffset", "queueOffset" },
        { "error", "sidecar.error" },
        { "sent", "sidecar.sent" },
    };
    const int32_t code = remotingclient_answer_code(answer);
    json_t *json = json_object();
    if (line > 0) {
        json_object_set_new(json, "line", json_integer((json_int_t)line));
    }
    json_object_set_new(json, "code", json_integer(code));
    json_object_set_new(json, "name", json_text(span_of(response_code_name(code))));
    if (code != RESPONSE_SUCCESS) {
        json_object_set_new(
            json, "remark", json_text(span_of(remotingclient_answer_remark(answer))));
    }
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        const struct span value = answer_field(answer, columns[i].ext_field);
        const bool is_number = strncmp(columns[i].name, "queue", 5) == 0;
        if (!span_is_absent(value)) {
            json_object_set_new(
                json, columns[i].name, is_number ? json_number_or_text(value) : json_text(value));
        }
    }
    output_json(json);
}

static void print_field(
    const char *label, const struct remotingclient_answer *answer, const char *name)
{
    const struct span value = answer_field(answer, name);
    fputs(label, stdout);
    output_text(stdout, span_is_empty(value) ? SPAN("-") : value, OUTPUT_ONE_LINE);
}

static void print_stored(const struct remotingclient_answer *answer)
{
    print_field("", answer, "msgId");
    print_field("  ", answer, "brokerName");
    print_field("  queue ", answer, "queueId");
    print_field("  offset ", answer, "queueOffset");
    fputc('\n', stdout);
}

void sent_print(
    const struct invocation *invocation, const struct remotingclient_answer *answer, uint64_t line)
{
    const int32_t code = remotingclient_answer_code(answer);
    const bool is_stored = remotingclient_answer_is_stored(answer);
    if (invocation->json) {
        print_json(answer, line);
    }
    if (is_stored && code != RESPONSE_SUCCESS) {
        if (line > 0) {
            fprintf(stderr, "line %" PRIu64 ": ", line);
        }
        fprintf(
            stderr, "stored, but with a warning: %s (code %d)\n", response_code_name(code), code);
    }
    if (is_stored && !invocation->json) {
        print_stored(answer);
    }
}
