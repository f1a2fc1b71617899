#include "daemon/core/sidecar_fields.h"

#include "protocol/utf8.h"

#include <inttypes.h>
#include <stdio.h>

#define PREFIX SPAN("sidecar.")
/* So much of what a caller wrote is shown to it again. */
#define SHOWN_MAX 64

struct taking {
    struct sidecar_fields *fields;
    uint64_t max_timeout_ms;
    char *problem;
    size_t problem_size;
};

static bool refuse(struct taking *taking, struct ext_field field, const char *accepted)
{
    struct span key = utf8_cut(field.key, SHOWN_MAX);
    struct span value = utf8_cut(field.value, SHOWN_MAX);
    (void)snprintf(taking->problem, taking->problem_size, "%.*s is '%.*s': %s", SPAN_ARGS(key),
        SPAN_ARGS(value), accepted);
    return false;
}

static bool take_timeout(struct taking *taking, struct ext_field field)
{
    int64_t timeout_ms;
    if (!ext_value_parse_i64(field.value, 1, (int64_t)taking->max_timeout_ms, &timeout_ms)) {
        char accepted[96];
        (void)snprintf(accepted, sizeof(accepted),
            "milliseconds from 1 to %" PRIu64 " (limits.max_timeout) are accepted",
            taking->max_timeout_ms);
        return refuse(taking, field, accepted);
    }
    taking->fields->timeout_ms = (uint64_t)timeout_ms;
    return true;
}

static bool take_code(struct taking *taking, struct ext_field field)
{
    int64_t code;
    if (!ext_value_parse_i64(field.value, INT32_MIN, INT32_MAX, &code)) {
        return refuse(taking, field, "a request code in decimal is accepted");
    }
    taking->fields->has_code = true;
    taking->fields->code = (int32_t)code;
    return true;
}

static bool take_max_reconsume(struct taking *taking, struct ext_field field)
{
    int64_t times;
    if (!ext_value_parse_i64(field.value, 0, INT32_MAX, &times)) {
        return refuse(
            taking, field, "a number from 0 on is accepted: how often a message may come again");
    }
    taking->fields->has_max_reconsume = true;
    taking->fields->max_reconsume = (int32_t)times;
    return true;
}

static bool take_retry(struct taking *taking, struct ext_field field)
{
    if (span_equals(field.value, SPAN("safe"))) {
        taking->fields->retry = SIDECAR_RETRY_SAFE;
    } else if (span_equals(field.value, SPAN("at-least-once"))) {
        taking->fields->retry = SIDECAR_RETRY_AT_LEAST_ONCE;
    } else if (span_equals(field.value, SPAN("no"))) {
        taking->fields->retry = SIDECAR_RETRY_NO;
    } else {
        return refuse(taking, field, "safe, at-least-once or no are accepted");
    }
    return true;
}

static bool take_answer_format(struct taking *taking, struct ext_field field)
{
    taking->fields->wants_json = span_equals(field.value, SPAN("json"));
    if (!taking->fields->wants_json && !span_equals(field.value, SPAN("native"))) {
        return refuse(taking, field, "json or native are accepted");
    }
    return true;
}

static bool take_transaction(struct taking *taking, struct ext_field field)
{
    taking->fields->is_half = span_equals(field.value, SPAN("half"));
    return taking->fields->is_half || refuse(taking, field, "half is accepted, or leave it out");
}

static bool take_body_format(struct taking *taking, struct ext_field field)
{
    taking->fields->has_json_body = span_equals(field.value, SPAN("json"));
    if (!taking->fields->has_json_body && !span_equals(field.value, SPAN("native"))) {
        return refuse(taking, field, "json or native are accepted");
    }
    return true;
}

static bool take_request(struct taking *taking, struct ext_field field)
{
    taking->fields->is_request = span_equals(field.value, SPAN("true"));
    return taking->fields->is_request || refuse(taking, field, "true is accepted, or leave it out");
}

static bool are_hex(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) {
            return false;
        }
    }
    return true;
}

static bool are_zeros(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.data[i] != '0') {
            return false;
        }
    }
    return true;
}

/*
 * W3C Trace Context, 3.2: version-traceid-parentid-flags. A version to come may have more behind
 * one more dash.
 */
static bool is_traceparent(struct span text)
{
    if (text.n < 55 || text.data[2] != '-' || text.data[35] != '-' || text.data[52] != '-') {
        return false;
    }
    struct span version = { text.data, 2 };
    struct span trace_id = { text.data + 3, 32 };
    struct span parent_id = { text.data + 36, 16 };
    struct span flags = { text.data + 53, 2 };
    bool has_its_size = text.n == 55 || (!span_equals(version, SPAN("00")) && text.data[55] == '-');
    return has_its_size && are_hex(version) && are_hex(trace_id) && are_hex(parent_id) &&
           are_hex(flags) && !span_equals(version, SPAN("ff")) && !are_zeros(trace_id) &&
           !are_zeros(parent_id);
}

static bool take_traceparent(struct taking *taking, struct ext_field field)
{
    if (!is_traceparent(field.value)) {
        return refuse(taking, field,
            "a W3C traceparent is accepted: 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, in "
            "lower case, the ids not zero");
    }
    taking->fields->traceparent = field.value;
    return true;
}

static bool take_text(struct taking *taking, struct ext_field field, struct span *ret_text)
{
    if (span_is_empty(field.value)) {
        return refuse(taking, field, "a value is needed, or leave the field out");
    }
    *ret_text = field.value;
    return true;
}

static bool take_one(struct taking *taking, struct ext_field field)
{
    struct span name = { field.key.data + PREFIX.n, field.key.n - PREFIX.n };
    struct sidecar_fields *fields = taking->fields;
    if (span_equals(name, SPAN("addr"))) {
        return take_text(taking, field, &fields->addr);
    }
    if (span_equals(name, SPAN("broker"))) {
        return take_text(taking, field, &fields->broker);
    }
    if (span_equals(name, SPAN("topic"))) {
        return take_text(taking, field, &fields->topic);
    }
    if (span_equals(name, SPAN("receipt"))) {
        return take_text(taking, field, &fields->receipt);
    }
    if (span_equals(name, SPAN("msgId"))) {
        return take_text(taking, field, &fields->msg_id);
    }
    if (span_equals(name, SPAN("maxReconsume"))) {
        return take_max_reconsume(taking, field);
    }
    if (span_equals(name, SPAN("traceparent"))) {
        return take_traceparent(taking, field);
    }
    if (span_equals(name, SPAN("timeoutMillis"))) {
        return take_timeout(taking, field);
    }
    if (span_equals(name, SPAN("code"))) {
        return take_code(taking, field);
    }
    if (span_equals(name, SPAN("retry"))) {
        return take_retry(taking, field);
    }
    if (span_equals(name, SPAN("answerFormat"))) {
        return take_answer_format(taking, field);
    }
    if (span_equals(name, SPAN("bodyFormat"))) {
        return take_body_format(taking, field);
    }
    if (span_equals(name, SPAN("transaction"))) {
        return take_transaction(taking, field);
    }
    if (span_equals(name, SPAN("request"))) {
        return take_request(taking, field);
    }
    struct span key = utf8_cut(field.key, SHOWN_MAX);
    (void)snprintf(taking->problem, taking->problem_size,
        "%.*s is no field of this version: sidecar.addr, broker, topic, receipt, msgId, "
        "traceparent, timeoutMillis, code, retry, maxReconsume, answerFormat, bodyFormat, "
        "transaction and request are",
        SPAN_ARGS(key));
    return false;
}

bool sidecar_fields_take(struct ext_fields *ext_fields, uint64_t max_timeout_ms,
    struct sidecar_fields *ret_fields, char *problem, size_t problem_size)
{
    *ret_fields = (struct sidecar_fields){ 0 };
    struct taking taking = {
        .fields = ret_fields,
        .max_timeout_ms = max_timeout_ms,
        .problem = problem,
        .problem_size = problem_size,
    };
    size_t n_kept = 0;
    for (size_t i = 0; i < ext_fields->n; i++) {
        const struct ext_field *field = &ext_fields->fields[i];
        if (!span_starts_with(field->key, PREFIX)) {
            if (n_kept < i) {
                ext_fields->fields[n_kept] = *field;
            }
            n_kept++;
        } else if (!take_one(&taking, *field)) {
            return false;
        }
    }
    ext_fields->n = n_kept;
    return true;
}
