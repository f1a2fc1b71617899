/*
 * What a topic's queues begin and end with (GET_MIN_OFFSET, GET_MAX_OFFSET), have at a time
 * (SEARCH_OFFSET_BY_TIMESTAMP), when they begin (GET_EARLIEST_MSG_STORETIME), and how far a group
 * has come in them (QUERY_CONSUMER_OFFSET): where no queueId is given every readable queue of the
 * topic is asked, all at once. The answer is an array of { brokerName, queueId, code, and offset or
 * timestamp, or remark and error }.
 */
#include "daemon/completion/fan_out.h"

#include "protocol/code.h"
#include "protocol/utf8.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

/* So much of a broker's remark is told. */
#define REMARK_MAX 256

static json_t *row_of(const struct fan_out_part *part, int32_t code)
{
    json_t *row = json_array_get(part->fan_out->rows, (size_t)(part - part->fan_out->parts));
    json_object_set_new_nocheck(row, "code", json_integer(code));
    return row;
}

static void set_text(json_t *row, const char *key, struct span text)
{
    struct span shown = utf8_cut(text, REMARK_MAX);
    json_object_set_new_nocheck(
        row, key, json_stringn_nocheck(shown.data ? shown.data : "", shown.n));
}

static void part_on_response(struct fan_out_part *part, struct remoting_command *response,
    const struct command_source *source)
{
    (void)source;
    json_t *row = row_of(part, response->code);
    int64_t number;
    part->fan_out->n_answered++;
    if (response->code != RESPONSE_SUCCESS) {
        set_text(row, "remark", response->remark);
    } else if (ext_value_parse_i64(ext_fields_text(&response->ext_fields, "offset"), INT64_MIN,
                   INT64_MAX, &number)) {
        json_object_set_new_nocheck(row, "offset", json_integer(number));
    } else if (ext_value_parse_i64(ext_fields_text(&response->ext_fields, "timestamp"), INT64_MIN,
                   INT64_MAX, &number)) {
        json_object_set_new_nocheck(row, "timestamp", json_integer(number));
    }
}

static void part_on_failure(struct fan_out_part *part, const struct failure_report *report)
{
    json_t *row = row_of(part, failure_code(report->failure));
    set_text(row, "remark", span_of(report->cause));
    set_text(row, "error", span_of(failure_name(report->failure)));
    if (part->fan_out->failure.cause[0] == '\0') {
        part->fan_out->failure = *report;
    }
}

static void on_all(struct fan_out *fan_out)
{
    struct invocation *invocation = fan_out->invocation;
    if (fan_out->n_answered == 0) {
        const struct failure_report report = fan_out->failure;
        invocation_fail_report(invocation, &report);
        return;
    }
    invocation_answer_rows(invocation, fan_out->rows);
}

static const struct fan_out_steps offset_parts = {
    .on_response = part_on_response,
    .on_failure = part_on_failure,
    .on_all = on_all,
};

/* The master of readable queues, or NULL. */
static const char *readable_master(const struct topic_route *route, const struct queue_data *queues)
{
    const struct broker_data *broker = topic_route_find_broker(route, span_of(queues->broker_name));
    return broker && (queues->perm & PERM_READ) ? broker_data_master(broker) : NULL;
}

static size_t queues_count(const struct topic_route *route)
{
    size_t n = 0;
    for (size_t i = 0; i < route->n_queues; i++) {
        if (route->queues[i].read_queue_nums > 0 && readable_master(route, &route->queues[i])) {
            n += (size_t)route->queues[i].read_queue_nums;
        }
    }
    return n;
}

static bool queues_add(struct fan_out *fan_out, const struct queue_data *queues, const char *master)
{
    for (int32_t id = 0; id < queues->read_queue_nums; id++) {
        json_t *row = json_object();
        json_object_set_new(row, "brokerName", json_string(queues->broker_name));
        json_object_set_new(row, "queueId", json_integer(id));
        if (json_array_append_new(fan_out->rows, row) < 0) {
            invocation_fail(fan_out->invocation, FAILURE_OVERLOADED, false, "out of memory");
            return false;
        }
        if (!fan_out_add(fan_out, queues->broker_name, master, id)) {
            return false;
        }
    }
    return true;
}

static void offsets_on_route(struct invocation *invocation)
{
    struct route_entry *entry = invocation_route(invocation, invocation->name, false);
    if (!entry) {
        return;
    }
    const struct topic_route *route = entry->route;
    size_t n = queues_count(route);
    if (n == 0 || n > FAN_OUT_MAX) {
        invocation_fail(invocation, n == 0 ? FAILURE_NO_BROKER : FAILURE_INVALID, false,
            n == 0 ? "topic %.*s has %zu queues that can be read on brokers with a master; 1 to %d "
                     "are asked at once"
                   : "topic %.*s has %zu queues, and at most %d are asked at once: name one with "
                     "queueId and sidecar.broker",
            SPAN_ARGS(invocation->name), n, FAN_OUT_MAX);
        return;
    }
    struct fan_out *fan_out = fan_out_new(invocation, n, &offset_parts);
    if (!fan_out) {
        return;
    }
    fan_out->rows = json_array();
    for (size_t i = 0; i < route->n_queues; i++) {
        const char *master = readable_master(route, &route->queues[i]);
        if (master && !queues_add(fan_out, &route->queues[i], master)) {
            return;
        }
    }
    fan_out_send(fan_out);
}

static const struct invocation_steps offsets_steps = {
    .on_route = offsets_on_route,
    .on_end = fan_out_on_end,
};

void complete_offsets_start(struct invocation *invocation)
{
    invocation->steps = &offsets_steps;
    offsets_on_route(invocation);
}
