/*
 * Commands that pass through: the target is an address, a broker name, or a topic that names one
 * master; nothing is added. A caller who asks for sidecar.answerFormat=json gets the messages of a
 * PULL or VIEW decoded.
 */
#include "daemon/completion/invoke.h"

#include "daemon/core/message_json.h"
#include "protocol/address.h"
#include "protocol/code.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_pull(int32_t code)
{
    return code == REQUEST_PULL_MESSAGE || code == REQUEST_LITE_PULL_MESSAGE;
}

static bool answers_messages(int32_t code)
{
    return is_pull(code) || code == REQUEST_POP_MESSAGE || code == REQUEST_QUERY_MESSAGE ||
           code == REQUEST_VIEW_MESSAGE_BY_ID;
}

/* The broker whose master it was sent to by topic; absent where the route has changed since. */
static struct span broker_of_topic(const struct invocation *invocation)
{
    struct route_entry *entry;
    enum route_entry_state state =
        routes_find(invocation->invoker->routes, invocation->name, &entry);
    for (size_t i = 0;
         (state == ROUTE_FRESH || state == ROUTE_STALE) && i < entry->route->n_brokers; i++) {
        const struct broker_data *broker = &entry->route->brokers[i];
        const char *master = broker_data_master(broker);
        if (master && strcmp(master, invocation->address) == 0) {
            return span_of(broker->broker_name);
        }
    }
    return SPAN_ABSENT;
}

/*
 * What was left out of the answer to a PULL is not lost, it is pulled next: a caller goes on at
 * nextBeginOffset.
 */
static void truncated_tell(struct invocation *invocation, struct remoting_command *response,
    const struct message_json_counts *counts, char texts[2][24])
{
    (void)snprintf(texts[0], 24, "%zu", counts->n_truncated);
    (void)ext_fields_set(&response->ext_fields, SPAN("sidecar.truncated"), span_of(texts[0]));
    if (is_pull(invocation->code) && counts->n > 0 && counts->left_out_offset >= 0) {
        (void)snprintf(texts[1], 24, "%" PRId64, counts->left_out_offset);
        (void)ext_fields_set(&response->ext_fields, SPAN("nextBeginOffset"), span_of(texts[1]));
    }
}

void forward_answer(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source, struct span broker_name)
{
    struct invoker *invoker = invocation->invoker;
    if (is_pull(invocation->code)) {
        complete_pull_filter(invocation, response, source);
    }
    if (!invocation->sidecar.wants_json || response->code != RESPONSE_SUCCESS ||
        !answers_messages(invocation->code)) {
        invocation_answer(invocation, response, source->owner);
        return;
    }
    const struct message_json_source json_source = {
        .broker_name = broker_name,
        .max_decompressed = invoker->config->limits.max_decompressed,
    };
    struct message_json_counts counts;
    size_t size;
    char *json = message_json_from_body(response->body, &json_source, &counts, &size);
    if (!json) {
        invocation_fail(invocation, FAILURE_OVERLOADED, true, "no memory to decode the messages");
        return;
    }
    char texts[2][24];
    if (counts.n_truncated > 0) {
        truncated_tell(invocation, response, &counts, texts);
    }
    response->body = (struct span){ json, size };
    invocation_answer(invocation, response, NULL);
    free(json);
}

/* By address: nobody has said whose it is. */
static void address_on_response(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    forward_answer(invocation, response, source, SPAN_ABSENT);
}

/* By broker: where JSON is wanted the command is kept, and the name of its way is the broker. */
static void broker_on_response(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    forward_answer(invocation, response, source, invocation->name);
}

/* By topic: the command is kept, and the name of its way is the topic. */
static void topic_on_response(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    if (response->code == RESPONSE_TOPIC_NOT_EXIST) {
        route_table_expire(routes_table(invocation->invoker->routes), invocation->name);
    }
    forward_answer(invocation, response, source,
        invocation->sidecar.wants_json ? broker_of_topic(invocation) : SPAN_ABSENT);
}

/* A part of the cluster, by what its nameservers say. */
static bool address_is_known(const struct invoker *invoker, struct span address)
{
    return nameservers_contain(invoker->nameservers, address) ||
           route_table_knows_address(routes_table(invoker->routes), address, invoker->loop->now_ms);
}

static bool address_is_allowed(const struct invoker *invoker, struct span address)
{
    const struct config *config = invoker->config;
    if (config->upstream.allow_any_address) {
        return true;
    }
    struct span host;
    uint16_t port;
    if (!address_parse(address, &host, &port)) {
        return false;
    }
    for (size_t i = 0; i < config->upstream.allow_addresses.n; i++) {
        if (address_host_is_in(host, config->upstream.allow_addresses.items[i])) {
            return true;
        }
    }
    return false;
}

bool forward_may_address(struct invocation *invocation, struct span address, const char *field,
    const struct remoting_command *command, const struct command_source *source)
{
    struct invoker *invoker = invocation->invoker;
    struct span host;
    uint16_t port;
    if (!span_is_empty(address) && address_is_known(invoker, address)) {
        return true;
    }
    if (!address_parse(address, &host, &port)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "%s is '%.*s': host:port or the word nameserver is accepted", field,
            (int)(address.n < 100 ? address.n : 100), address.data ? address.data : "");
        return false;
    }
    if (address_is_allowed(invoker, address)) {
        invocation->request.signature = RPC_MUST_NOT_BE_SIGNED;
        return true;
    }
    if (!invocation->has_waited && !routes_cluster_is_fresh(invoker->routes)) {
        if (invocation_keep(invocation, command, source)) {
            invocation_wait_route(invocation, SPAN_ABSENT);
        }
        return false;
    }
    invocation_fail(invocation, FAILURE_FORBIDDEN, false,
        "%s %.*s is neither a nameserver nor named by a route or the cluster table, and "
        "[upstream] allow_addresses does not admit it",
        field, SPAN_ARGS(address));
    return false;
}

static void to_address(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    struct span address = invocation->sidecar.addr;
    if (forward_may_address(invocation, address, "sidecar.addr", command, source)) {
        invocation_send(invocation, address, command, source, invocation->deadline_ms, false);
    }
}

static void to_broker(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    struct routes *routes = invocation->invoker->routes;
    bool is_known;
    const char *address = route_table_master(routes_table(routes), invocation->name, &is_known);
    if (!address) {
        /* It has to wait, or fails. */
        if (!invocation_keep(invocation, command, source) ||
            !invocation_broker(invocation, invocation->name, &address)) {
            return;
        }
    }
    invocation_send(invocation, span_of(address), command, source, invocation->deadline_ms, false);
}

/* The brokers of a route with a master, as a text; their number. */
static size_t masters_text(const struct topic_route *route, char *text, size_t text_size)
{
    size_t n = 0;
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < route->n_brokers; i++) {
        if (!broker_data_master(&route->brokers[i])) {
            continue;
        }
        int m = snprintf(
            text + at, text_size - at, "%s%s", n > 0 ? ", " : "", route->brokers[i].broker_name);
        if (m > 0 && (size_t)m < text_size - at) {
            at += (size_t)m;
        }
        n++;
    }
    return n;
}

static void to_master(struct invocation *invocation, bool must_be_only)
{
    struct route_entry *entry = invocation_route(invocation, invocation->name, false);
    if (!entry) {
        return;
    }
    char brokers[160];
    size_t n = masters_text(entry->route, brokers, sizeof(brokers));
    if (n == 0) {
        invocation_fail(invocation, FAILURE_NO_BROKER, false,
            "no broker of topic %.*s has a master at present", SPAN_ARGS(invocation->name));
        return;
    }
    if (must_be_only && n > 1) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "code %d names a queue, and topic %.*s lives on %zu brokers: add sidecar.broker (%s) "
            "or use a receipt",
            (int)invocation->code, SPAN_ARGS(invocation->name), n, brokers);
        return;
    }
    const char *address = NULL;
    for (size_t i = 0; i < entry->route->n_brokers && !address; i++) {
        address = broker_data_master(&entry->route->brokers[i]);
    }
    invocation_send_kept(invocation, span_of(address));
}

static void address_on_route(struct invocation *invocation)
{
    const struct command_source source = invocation_kept_source(invocation);
    to_address(invocation, &invocation->request.kept.command, &source);
}

static void broker_on_route(struct invocation *invocation)
{
    const struct command_source source = invocation_kept_source(invocation);
    to_broker(invocation, &invocation->request.kept.command, &source);
}

static void one_master_on_route(struct invocation *invocation)
{
    to_master(invocation, true);
}

static void any_master_on_route(struct invocation *invocation)
{
    to_master(invocation, false);
}

#define FORWARD_STEPS(route_function, response_function)                                           \
    {                                                                                              \
        .on_route = (route_function), .on_response = (response_function),                          \
        .on_failure = invocation_fail_report, .on_end = invocation_state_free,                     \
    }

/*
 * A POP is at an address, and nobody waits for its messages any more: where a route says whose it
 * is, they are given back as those of a POP that was completed.
 */
static void address_abandon(struct invocation *invocation)
{
    struct invoker *invoker = invocation->invoker;
    const struct kept_command *kept = &invocation->request.kept;
    if (invocation->code != REQUEST_POP_MESSAGE || !kept_command_is_kept(kept)) {
        return;
    }
    const struct ext_fields *fields = &kept->command.ext_fields;
    struct span address = span_of(invocation->address);
    struct span topic = ext_fields_text(fields, "topic");
    struct span group = ext_fields_text(fields, "consumerGroup");
    const char *broker_name = route_table_broker_at(routes_table(invoker->routes), address);
    if (broker_name && !span_is_empty(topic) && !span_is_empty(group)) {
        pop_release_take(&invoker->pop_releases, &invocation->request, address,
            span_of(broker_name), topic, group);
    }
}

static void address_on_end(struct invocation *invocation)
{
    if (invocation->request.state == REQUEST_IN_FLIGHT) {
        address_abandon(invocation);
    }
    invocation_state_free(invocation);
}

static const struct invocation_steps address_steps = {
    .on_route = address_on_route,
    .on_response = address_on_response,
    .on_failure = invocation_fail_report,
    .on_deadline = address_abandon,
    .on_end = address_on_end,
};
static const struct invocation_steps broker_steps =
    FORWARD_STEPS(broker_on_route, broker_on_response);
static const struct invocation_steps one_master_steps =
    FORWARD_STEPS(one_master_on_route, topic_on_response);
static const struct invocation_steps any_master_steps =
    FORWARD_STEPS(any_master_on_route, topic_on_response);

void forward_to_address(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    invocation->steps = &address_steps;
    to_address(invocation, command, source);
}

void forward_to_broker(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    invocation->steps = &broker_steps;
    to_broker(invocation, command, source);
}

void forward_to_one_master(struct invocation *invocation)
{
    invocation->steps = &one_master_steps;
    to_master(invocation, true);
}

void forward_to_any_master(struct invocation *invocation)
{
    invocation->steps = &any_master_steps;
    to_master(invocation, false);
}
