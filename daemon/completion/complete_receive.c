/*
 * POP_MESSAGE by topic: asks the topic's masters one after the other, from a different one each
 * time, with pollTime 0; while none has anything, waits for a NOTIFICATION of any of them
 * (notification.h) until the caller's poll time is over.
 *
 *     ASKING master 1, 2, ... -> answered          the first that has messages
 *                             -> WAITING -> ASKING any master may have something
 *                                        -> answered POLLING_TIMEOUT
 *
 * A master that does not know POP (before 5.0) is asked by the classic road (classic.h) instead, every
 * CLASSIC_PAUSE_MS.
 *
 * Of what a master brings the caller gets what it asked for: brokers compare hashes of tags, and
 * move nothing to a dead-letter topic (pop_discard.h). Where nothing is left the same master is
 * asked again: there may be more behind it.
 *
 * An ordered POP (order=true) locks the queues that it takes messages from until all of them are
 * acknowledged or their invisible time is over; the broker does that, and notifies then.
 */
#include "daemon/completion/invoke.h"

#include "daemon/core/message_json.h"
#include "daemon/core/receipt.h"
#include "daemon/completion/classic.h"
#include "daemon/loop/log.h"
#include "protocol/code.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A master that failed is asked again after so long, while the caller waits. */
#define RECEIVE_PAUSE_MS 500
/*
 * Rounds begin no faster than this after a notification: brokers also notify of messages that a POP
 * does not get, those of a queue that is locked for another consumer or that a filter leaves out.
 */
#define RECEIVE_ROUND_MS 20
/*
 * A master that is asked with pollTime 0 answers at once; a silent one is passed over after so
 * long.
 */
#define RECEIVE_ASK_MS 2000
/* A master without POP has no NOTIFICATION either: it is asked again after so long. */
#define CLASSIC_PAUSE_MS 200
/*
 * Brokers refuse a POP that was born more than its poll time and 500 ms ago: with this one, of the
 * year 2100, no two clocks are compared. It says nothing else where the poll time is 0. For 0 brokers
 * put their own time in, but not RocketMQ 5.3 with ACL 2.0, to which every such POP is too late.
 */
#define BORN_TIME    "4102444800000"
#define MIX_QUIET_MS 60000 /* between two lines about groups that are consumed in both ways */
/* What is kept of the deadline to hand over what comes at the end of the poll time. */
#define RECEIVE_RESERVE_MS 1000

struct receive_master {
    struct notification_waiter waiter;
    struct invocation *invocation;
    char *broker_name;
    char *address;
    size_t n_queues; /* of the topic that can be read; 0: no route tells */
    bool is_classic; /* it does not know POP */
};

struct receive_state {
    struct span topic;
    struct span group;
    bool has_broker; /* sidecar.broker or bname: that one only */
    bool is_ordered;
    struct span tags; /* the expression by which messages are looked at again, or absent */
    struct receive_master *masters;
    size_t n_masters;
    size_t at;         /* the master that is being asked */
    size_t n_asked;    /* of this round */
    size_t n_failed;   /* of this round */
    uint64_t round_ms; /* when it began */
    uint64_t poll_until_ms;
    uint64_t ask_until_ms; /* later nothing is begun that has to be handed over */
    struct deadline wake;  /* WAITING: the end of the poll time, or of a pause */
    struct failure_report last_failure;
    struct classic_ask classic;
    char max_messages[16], invisible_time[24];
};

static void round_start(struct invocation *invocation, size_t first);
static void ask_classic(struct invocation *invocation);

/* The POP is at a broker, and nobody waits for its messages any more. */
static void receive_abandon(struct invocation *invocation)
{
    const struct receive_state *state = invocation->state;
    pop_release_take(&invocation->invoker->pop_releases, &invocation->request,
        span_of(invocation->address), span_of(state->masters[state->at].broker_name), state->topic,
        state->group);
}

static void receive_on_end(struct invocation *invocation)
{
    struct receive_state *state = invocation->state;
    if (!state) {
        return;
    }
    loop_deadline_clear(invocation->invoker->loop, &state->wake);
    classic_ask_cancel(&state->classic);
    if (invocation->request.state == REQUEST_IN_FLIGHT) {
        receive_abandon(invocation);
    }
    for (size_t i = 0; i < state->n_masters; i++) {
        notification_waiter_cancel(&state->masters[i].waiter);
        free(state->masters[i].broker_name);
        free(state->masters[i].address);
    }
    free(state->masters);
    free(state);
    invocation->state = NULL;
}

static void waiting_stop(struct invocation *invocation)
{
    struct receive_state *state = invocation->state;
    loop_deadline_clear(invocation->invoker->loop, &state->wake);
    for (size_t i = 0; i < state->n_masters; i++) {
        notification_waiter_cancel(&state->masters[i].waiter);
    }
}

/* --- WAITING --- */

static void answer_nothing(struct invocation *invocation)
{
    struct remoting_command answer = {
        .code = RESPONSE_POLLING_TIMEOUT,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
        .remark = SPAN("no message within pollTime"),
    };
    invocation_answer(invocation, &answer, NULL);
}

static void on_wake(struct deadline *deadline, uint64_t now_ms)
{
    struct receive_state *state =
        (struct receive_state *)(void *)((char *)deadline - offsetof(struct receive_state, wake));
    struct invocation *invocation = state->masters[0].invocation;
    waiting_stop(invocation);
    if (now_ms >= state->poll_until_ms) {
        answer_nothing(invocation);
    } else {
        round_start(invocation, state->at);
    }
}

static void wake_by(struct invocation *invocation, uint64_t at_ms)
{
    struct receive_state *state = invocation->state;
    if (at_ms < state->wake.at_ms) {
        loop_deadline_set(invocation->invoker->loop, &state->wake, at_ms);
    }
}

static void on_notified(struct notification_waiter *waiter, const struct failure_report *report)
{
    struct receive_master *master =
        (struct receive_master *)(void *)((char *)waiter - offsetof(struct receive_master, waiter));
    struct invocation *invocation = master->invocation;
    struct receive_state *state = invocation->state;
    uint64_t now_ms = invocation->invoker->loop->now_ms;
    if (report) {
        /* The others go on waiting; this one is asked again after a pause. */
        wake_by(invocation, clock_after(now_ms, RECEIVE_PAUSE_MS));
        return;
    }
    state->at = (size_t)(master - state->masters);
    uint64_t round_ms = clock_after(state->round_ms, RECEIVE_ROUND_MS);
    if (now_ms < round_ms) {
        wake_by(invocation, round_ms);
        return;
    }
    waiting_stop(invocation);
    round_start(invocation, state->at);
}

static void waiting_start(struct invocation *invocation)
{
    struct receive_state *state = invocation->state;
    struct invoker *invoker = invocation->invoker;
    loop_deadline_set(invoker->loop, &state->wake, state->poll_until_ms);
    for (size_t i = 0; i < state->n_masters; i++) {
        if (state->masters[i].is_classic) {
            wake_by(invocation, clock_after(invoker->loop->now_ms, CLASSIC_PAUSE_MS));
            continue;
        }
        notification_wait(invoker->notifications, span_of(state->masters[i].address), state->topic,
            state->group, state->is_ordered, &state->masters[i].waiter);
    }
}

/* --- ASKING --- */

static uint64_t ask_deadline_ms(const struct invocation *invocation)
{
    const struct receive_state *state = invocation->state;
    uint64_t ask_until_ms = clock_after(invocation->invoker->loop->now_ms, RECEIVE_ASK_MS);
    return state->n_masters > 1 && ask_until_ms < invocation->deadline_ms ? ask_until_ms
                                                                          : invocation->deadline_ms;
}

static void ask(struct invocation *invocation)
{
    struct receive_state *state = invocation->state;
    const struct receive_master *master = &state->masters[state->at];
    if (master->is_classic) {
        ask_classic(invocation);
        return;
    }
    struct remoting_command *command = &invocation->request.kept.command;
    (void)ext_fields_set(&command->ext_fields, SPAN("bname"), span_of(master->broker_name));
    const struct command_source source = invocation_kept_source(invocation);
    invocation_send(invocation, span_of(master->address), command, &source,
        ask_deadline_ms(invocation), state->n_masters > 1);
}

/* This master has nothing, or failed: the next one, or the end of the round. */
static void ask_next(struct invocation *invocation)
{
    struct receive_state *state = invocation->state;
    uint64_t now_ms = invocation->invoker->loop->now_ms;
    state->n_asked++;
    state->at = (state->at + 1) % state->n_masters;
    if (state->n_asked < state->n_masters) {
        ask(invocation);
    } else if (state->n_failed == state->n_masters) {
        invocation_fail_report(invocation, &state->last_failure);
    } else if (now_ms >= state->poll_until_ms) {
        answer_nothing(invocation);
    } else {
        waiting_start(invocation);
    }
}

static void round_start(struct invocation *invocation, size_t first)
{
    struct receive_state *state = invocation->state;
    state->at = first;
    state->round_ms = invocation->invoker->loop->now_ms;
    state->n_asked = 0;
    state->n_failed = 0;
    ask(invocation);
}

/* --- what a master brings --- */

struct sieve {
    struct invocation *invocation;
    const struct receipt_pop_info *info;
};

static bool is_for_the_caller(void *context, const struct message *message)
{
    const struct sieve *sieve = context;
    struct invocation *invocation = sieve->invocation;
    struct invoker *invoker = invocation->invoker;
    const struct receive_state *state = invocation->state;
    const struct sidecar_fields *sidecar = &invocation->sidecar;
    bool is_wanted = span_is_absent(state->tags) || message_filter_wants(state->tags, message);
    bool came_too_often = sidecar->has_max_reconsume && receipt_pop_reconsume_times(sieve->info,
                                                            message) > sidecar->max_reconsume;
    if (is_wanted && !came_too_often) {
        return true;
    }
    struct receipt receipt;
    if (!receipt_from_pop(sieve->info, message, state->topic, state->group,
            span_of(state->masters[state->at].broker_name), &receipt)) {
        return is_wanted;
    }
    if (is_wanted) {
        pop_discard_dead_letter(&invoker->pop_discards, span_of(invocation->address), &receipt,
            invoker->config->upstream.request_timeout_ms);
    } else {
        pop_discard_acknowledge(&invoker->pop_discards, span_of(invocation->address), &receipt);
    }
    return false;
}

/* False: nothing of it is for the caller. */
static bool found_filter(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    const struct receive_state *state = invocation->state;
    struct receipt_pop_info info;
    if ((span_is_absent(state->tags) && !invocation->sidecar.has_max_reconsume) ||
        !receipt_pop_info_read(&response->ext_fields, &info)) {
        return true;
    }
    struct sieve sieve = { .invocation = invocation, .info = &info };
    response_filter(response, source, is_for_the_caller, &sieve);
    return response->body.n > 0;
}

/* A message that does not fit the answer. Brokers give at most so many as a release takes. */
static void on_left_out(void *context, const struct receipt *receipt)
{
    struct invocation *invocation = context;
    pop_release_message(&invocation->invoker->pop_releases, span_of(invocation->address), receipt);
}

static void answer_json(struct invocation *invocation, struct remoting_command *response)
{
    struct receive_state *state = invocation->state;
    const struct receive_master *master = &state->masters[state->at];
    struct receipt_pop_info info;
    bool has_info = receipt_pop_info_read(&response->ext_fields, &info);
    const struct message_json_source source = {
        .topic = state->topic,
        .group = state->group,
        .broker_name = span_of(master->broker_name),
        .pop = has_info && !master->is_classic ? &info : NULL,
        .is_classic = master->is_classic,
        .max_decompressed = invocation->invoker->config->limits.max_decompressed,
        .on_left_out = on_left_out,
        .context = invocation,
    };
    struct message_json_counts counts;
    size_t size;
    char *json = message_json_from_body(response->body, &source, &counts, &size);
    if (!json) {
        invocation_fail(invocation, FAILURE_OVERLOADED, true,
            "no memory to decode the messages; they come again after their invisible time");
        return;
    }
    if (master->is_classic) {
        classic_hand_out(
            &state->classic, response->body, counts.n_truncated > 0 ? counts.left_out_offset : -1);
    }
    char truncated[24];
    (void)snprintf(truncated, sizeof(truncated), "%zu", counts.n_truncated);
    if (counts.n_truncated > 0) {
        (void)ext_fields_set(&response->ext_fields, SPAN("sidecar.truncated"), span_of(truncated));
    }
    response->body = (struct span){ json, size };
    invocation_answer(invocation, response, NULL);
    free(json);
}

static void answer_found(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    struct receive_state *state = invocation->state;
    struct span broker_name = span_of(state->masters[state->at].broker_name);
    struct failure_report report;
    if (response->code == RESPONSE_SUCCESS && invocation->session &&
        !session_takes(invocation->session, response->body.n, &report)) {
        pop_release_answer(&invocation->invoker->pop_releases, response,
            span_of(invocation->address), broker_name, state->topic, state->group);
        invocation_fail_report(invocation, &report);
        return;
    }
    /*
     * The spans of the answer's fields must outlive the state, which ends with the answer: they are
     * encoded before.
     */
    response->has_ext_fields = true;
    (void)ext_fields_set(&response->ext_fields, SPAN("brokerName"), broker_name);
    (void)ext_fields_set(&response->ext_fields, SPAN("sidecar.addr"), span_of(invocation->address));
    if (invocation->sidecar.wants_json && response->code == RESPONSE_SUCCESS) {
        answer_json(invocation, response);
    } else {
        invocation_answer(invocation, response, source->owner);
    }
}

/* --- the classic road --- */

static struct invocation *invocation_of_classic(struct classic_ask *ask)
{
    const struct receive_state *state =
        (struct receive_state *)(void *)((char *)ask - offsetof(struct receive_state, classic));
    return state->masters[0].invocation;
}

static void classic_on_found(struct classic_ask *ask, struct remoting_command *response)
{
    struct invocation *invocation = invocation_of_classic(ask);
    const struct receive_state *state = invocation->state;
    (void)snprintf(
        invocation->address, sizeof(invocation->address), "%s", state->masters[state->at].address);
    const struct command_source source = { 0 };
    answer_found(invocation, response, &source);
}

static void classic_on_nothing(struct classic_ask *ask)
{
    ask_next(invocation_of_classic(ask));
}

static void receive_on_failure(struct invocation *invocation, const struct failure_report *report);

static void classic_on_failure(struct classic_ask *ask, const struct failure_report *report)
{
    receive_on_failure(invocation_of_classic(ask), report);
}

static void ask_classic(struct invocation *invocation)
{
    struct receive_state *state = invocation->state;
    const struct receive_master *master = &state->masters[state->at];
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    if (!invocation->sidecar.wants_json || master->n_queues == 0) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "broker %s has no POP, and is received from with sidecar.answerFormat=json and without "
            "sidecar.broker only",
            master->broker_name);
        return;
    }
    int64_t max_messages = 1, invisible_ms = 0, init_mode = 0;
    (void)ext_value_parse_i64(
        ext_fields_text(fields, "maxMsgNums"), 1, CLASSIC_WINDOW, &max_messages);
    (void)ext_value_parse_i64(
        ext_fields_text(fields, "invisibleTime"), 0, INT32_MAX, &invisible_ms);
    (void)ext_value_parse_i64(ext_fields_text(fields, "initMode"), 0, 1, &init_mode);
    struct classic_ask *classic = &state->classic;
    classic->topic = state->topic;
    classic->group = state->group;
    classic->broker_name = span_of(master->broker_name);
    classic->address = span_of(master->address);
    classic->expression_type = ext_fields_text(fields, "expType");
    classic->expression = ext_fields_text(fields, "exp");
    classic->max_messages = (size_t)max_messages;
    classic->n_queues = master->n_queues;
    classic->starts_at_end = init_mode == 1;
    classic->invisible_ms = (uint64_t)invisible_ms;
    classic->deadline_ms = ask_deadline_ms(invocation);
    classic_ask_start(invocation->invoker->classic, classic);
}

static void receive_on_response(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    struct receive_state *state = invocation->state;
    switch (response->code) {
    case RESPONSE_SUCCESS:
        if (found_filter(invocation, response, source)) {
            break;
        }
        if (invocation->invoker->loop->now_ms < state->ask_until_ms) {
            ask(invocation);
        } else {
            answer_nothing(invocation);
        }
        return;
    case RESPONSE_PULL_NOT_FOUND:
    case RESPONSE_POLLING_FULL:
    case RESPONSE_POLLING_TIMEOUT:
        ask_next(invocation);
        return;
    case RESPONSE_REQUEST_CODE_NOT_SUPPORTED:
        state->masters[state->at].is_classic = true;
        ask_classic(invocation);
        return;
    case RESPONSE_TOPIC_NOT_EXIST:
    case RESPONSE_SYSTEM_BUSY:
    case RESPONSE_SERVICE_NOT_AVAILABLE:
    case RESPONSE_GO_AWAY:
        if (response->code == RESPONSE_TOPIC_NOT_EXIST) {
            route_table_expire(routes_table(invocation->invoker->routes), state->topic);
        }
        if (state->n_asked + 1 < state->n_masters || state->n_failed < state->n_asked) {
            state->n_failed++;
            failure_set(&state->last_failure, FAILURE_NO_BROKER, false, "%s answered code %d: %.*s",
                invocation->address, (int)response->code,
                (int)(response->remark.n < 128 ? response->remark.n : 128),
                response->remark.data ? response->remark.data : "");
            ask_next(invocation);
            return;
        }
        break;
    default:
        break;
    }
    answer_found(invocation, response, source);
}

static void receive_on_failure(struct invocation *invocation, const struct failure_report *report)
{
    struct receive_state *state = invocation->state;
    bool is_of_the_way = report->failure == FAILURE_UNREACHABLE ||
                         report->failure == FAILURE_CONNECTION_LOST ||
                         report->failure == FAILURE_TIMEOUT;
    if (!is_of_the_way || invocation->invoker->loop->now_ms >= invocation->deadline_ms) {
        invocation_fail_report(invocation, report);
        return;
    }
    state->n_failed++;
    state->last_failure = *report;
    ask_next(invocation);
}

/* --- the beginning --- */

static bool master_set(struct invocation *invocation, struct receive_master *master,
    const char *broker_name, const char *address)
{
    master->invocation = invocation;
    master->waiter.on_notified = on_notified;
    master->broker_name = strdup(broker_name);
    master->address = strdup(address);
    return master->broker_name && master->address;
}

/* The masters whose queues of the topic can be read; on failure the invocation has failed. */
static bool masters_from_route(struct invocation *invocation, const struct topic_route *route)
{
    struct receive_state *state = invocation->state;
    bool is_fine = true;
    state->masters = calloc(route->n_queues > 0 ? route->n_queues : 1, sizeof(*state->masters));
    for (size_t i = 0; i < route->n_queues && state->masters && is_fine; i++) {
        const struct queue_data *row = &route->queues[i];
        const struct broker_data *broker =
            topic_route_find_broker(route, span_of(row->broker_name));
        const char *address = broker ? broker_data_master(broker) : NULL;
        if (address && (row->perm & PERM_READ)) {
            struct receive_master *master = &state->masters[state->n_masters++];
            master->n_queues = (size_t)row->read_queue_nums;
            is_fine = master_set(invocation, master, row->broker_name, address);
        }
    }
    if (!state->masters || !is_fine) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return false;
    }
    if (state->n_masters == 0) {
        invocation_fail(invocation, FAILURE_NO_BROKER, false,
            "no broker of topic %.*s has a master and the permission to read",
            SPAN_ARGS(state->topic));
        return false;
    }
    return true;
}

static void receive_by_route(struct invocation *invocation)
{
    struct receive_state *state = invocation->state;
    struct route_entry *entry = invocation_route(invocation, state->topic, false);
    if (entry && masters_from_route(invocation, entry->route)) {
        round_start(invocation, entry->receive_turn++ % state->n_masters);
    }
}

static void receive_by_broker(struct invocation *invocation)
{
    struct receive_state *state = invocation->state;
    const char *address;
    if (!invocation_broker(invocation, invocation->name, &address)) {
        return;
    }
    char broker_name[256];
    (void)snprintf(broker_name, sizeof(broker_name), "%.*s", SPAN_ARGS(invocation->name));
    state->masters = calloc(1, sizeof(*state->masters));
    if (state->masters) {
        state->n_masters = 1;
    }
    if (!state->masters || !master_set(invocation, &state->masters[0], broker_name, address)) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    round_start(invocation, 0);
}

static void receive_on_route(struct invocation *invocation)
{
    const struct receive_state *state = invocation->state;
    if (state->has_broker) {
        receive_by_broker(invocation);
    } else {
        receive_by_route(invocation);
    }
}

static const struct invocation_steps receive_steps = {
    .on_route = receive_on_route,
    .on_response = receive_on_response,
    .on_failure = receive_on_failure,
    .on_deadline = receive_abandon,
    .on_end = receive_on_end,
};

/* What the caller says about order and tags. False: the invocation has failed. */
static bool subscription_read(struct invocation *invocation, struct receive_state *state)
{
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    struct span order = ext_fields_text(fields, "order");
    state->is_ordered = span_equals(order, SPAN("true"));
    if (!span_is_absent(order) && !state->is_ordered && !span_equals(order, SPAN("false"))) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "order is '%.*s': true or false are accepted", (int)(order.n < 32 ? order.n : 32),
            order.data);
        return false;
    }
    struct span expression = ext_fields_text(fields, "exp");
    if (message_filter_has_tags(expression, ext_fields_text(fields, "expType"))) {
        state->tags = expression;
    }
    return true;
}

static bool fields_complete(struct invocation *invocation, struct receive_state *state)
{
    const struct config *config = invocation->invoker->config;
    struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    int64_t poll_ms = (int64_t)config->consume.poll_time_ms;
    struct span poll_time = ext_fields_text(fields, "pollTime");
    if (!span_is_absent(poll_time) && !ext_value_parse_i64(poll_time, 0, INT32_MAX, &poll_ms)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "pollTime is '%.*s': milliseconds from 0 on are accepted",
            (int)(poll_time.n < 32 ? poll_time.n : 32), poll_time.data);
        return false;
    }
    uint64_t now_ms = invocation->invoker->loop->now_ms;
    uint64_t left_ms = clock_until(now_ms, invocation->deadline_ms);
    /*
     * A shorter deadline shortens the poll, so that what comes at its end can still be handed over.
     */
    uint64_t reserve_ms = left_ms / 4 < RECEIVE_RESERVE_MS ? left_ms / 4 : RECEIVE_RESERVE_MS;
    if ((uint64_t)poll_ms > left_ms - reserve_ms) {
        poll_ms = (int64_t)(left_ms - reserve_ms);
    }
    state->poll_until_ms = clock_after(now_ms, (uint64_t)poll_ms);
    state->ask_until_ms = clock_after(now_ms, left_ms - reserve_ms);
    (void)snprintf(
        state->max_messages, sizeof(state->max_messages), "%u", config->consume.max_messages);
    (void)snprintf(state->invisible_time, sizeof(state->invisible_time), "%" PRIu64,
        config->consume.invisible_time_ms);
    (void)ext_fields_set(fields, SPAN("pollTime"), SPAN("0"));
    invocation_field_default(invocation, SPAN("queueId"), SPAN("-1"));
    invocation_field_default(invocation, SPAN("maxMsgNums"), span_of(state->max_messages));
    invocation_field_default(invocation, SPAN("invisibleTime"), span_of(state->invisible_time));
    (void)ext_fields_set(fields, SPAN("bornTime"), SPAN(BORN_TIME));
    invocation_field_default(invocation, SPAN("initMode"), SPAN("0"));
    invocation_field_default(invocation, SPAN("order"), SPAN("false"));
    return true;
}

/*
 * POP and classic members of one group each get every message: brokers keep an account for each road.
 * Only members of this daemon are known here, and nothing says that it is not meant so.
 */
static void warn_of_mix(const struct invocation *invocation, struct span group)
{
    struct invoker *invoker = invocation->invoker;
    uint64_t now_ms = invoker->loop->now_ms;
    if (now_ms < invoker->mix_quiet_until_ms || !identity_has_consumer(invoker->identity, group)) {
        return;
    }
    char quoted[LOG_QUOTE_SIZE], caller[SESSION_TEXT_SIZE];
    invoker->mix_quiet_until_ms = clock_after(now_ms, MIX_QUIET_MS);
    log_warning("%s POP_MESSAGE group=%s has classic members (HEART_BEAT), too: brokers give every "
                "message to both; give one of them another group",
        session_text(invocation->session, caller), log_quote(group.data, group.n, quoted));
}

void complete_receive_start(struct invocation *invocation)
{
    struct receive_state *state = calloc(1, sizeof(*state));
    if (!state) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    deadline_init(&state->wake, on_wake);
    classic_ask_init(&state->classic);
    state->classic.on_found = classic_on_found;
    state->classic.on_nothing = classic_on_nothing;
    state->classic.on_failure = classic_on_failure;
    state->topic = ext_fields_text(fields, "topic");
    state->group = ext_fields_text(fields, "consumerGroup");
    state->has_broker = !span_is_empty(invocation->sidecar.broker) ||
                        !span_is_empty(ext_fields_text(fields, "bname"));
    invocation->state = state;
    invocation->steps = &receive_steps;
    if (span_is_empty(state->topic) || span_is_empty(state->group)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "POP_MESSAGE needs the ext fields topic and consumerGroup");
        return;
    }
    if (invocation->session) {
        warn_of_mix(invocation, state->group);
    }
    if (subscription_read(invocation, state) && fields_complete(invocation, state)) {
        receive_on_route(invocation);
    }
}
