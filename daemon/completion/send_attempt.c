#include "daemon/completion/send.h"

#include "protocol/code.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A route younger than this is not asked for again because of a failed attempt. */
#define REFRESH_AGE_MS 1000
/* What brokers say (NO_PERMISSION, AbstractSendMessageProcessor) where another one may take it. */
#define FORBIDDEN_HERE "sending message is forbidden"

static struct route_table *table_of(const struct invocation *invocation)
{
    return routes_table(invocation->invoker->routes);
}

static uint64_t now_of(const struct invocation *invocation)
{
    return invocation->invoker->loop->now_ms;
}

/* --- one attempt --- */

/* Whether another queue may take it, where this one does not. */
static bool may_move(const struct send_state *state)
{
    return span_is_empty(state->fixed_broker) && span_is_empty(state->sharding_key) &&
           !state->has_queue_id;
}

/* Whether one more attempt is allowed after n of them. */
static bool may_repeat_after(const struct invocation *invocation, unsigned n)
{
    const struct invoker *invoker = invocation->invoker;
    return invocation->sidecar.retry != SIDECAR_RETRY_NO && n <= invoker->config->send.retries &&
           now_of(invocation) < invocation->deadline_ms && invoker->drain->state == DRAIN_RUNNING;
}

/*
 * Whether asking for the route may tell more. What lives on a broker of the caller's choice has no
 * route, and what was asked a moment ago is not asked again.
 */
static bool may_refresh(struct invocation *invocation)
{
    const struct send_state *state = invocation->state;
    struct route_entry *entry;
    return !state->has_refreshed && span_is_empty(state->fixed_broker) &&
           route_table_find(table_of(invocation), state->topic, now_of(invocation), &entry) !=
               ROUTE_UNKNOWN &&
           now_of(invocation) - entry->fetched_ms >= REFRESH_AGE_MS;
}

/* The end of an attempt that another one may follow elsewhere: its share of what is left. */
static uint64_t share_deadline_ms(const struct invocation *invocation)
{
    const struct send_state *state = invocation->state;
    unsigned n_attempts_max = invocation->invoker->config->send.retries + 1;
    if (invocation->sidecar.retry == SIDECAR_RETRY_NO || state->n_masters <= 1 ||
        !may_move(state) || state->n_attempts >= n_attempts_max) {
        return invocation->deadline_ms;
    }
    uint64_t left_ms = clock_until(now_of(invocation), invocation->deadline_ms);
    return clock_after(now_of(invocation), left_ms / (n_attempts_max - state->n_attempts));
}

static void attempt_send(struct invocation *invocation, const char *address, bool fails_fast)
{
    struct send_state *state = invocation->state;
    struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    (void)ext_fields_set(fields, state->names->broker_name, span_of(state->broker_name));
    uint64_t share_ms = share_deadline_ms(invocation);
    bool is_repeated_when_silent = invocation->sidecar.retry == SIDECAR_RETRY_AT_LEAST_ONCE;
    state->n_attempts++;
    if (state->n_attempts > 1) {
        invocation->invoker->stats->retries++;
    }
    invocation->request.unsent_deadline_ms = share_ms;
    const struct command_source source = invocation_kept_source(invocation);
    invocation_send(invocation, span_of(address), &invocation->request.kept.command, &source,
        is_repeated_when_silent ? share_ms : invocation->deadline_ms, fails_fast);
}

/* Fills entry->worth; the number of brokers that could take this attempt. */
static size_t brokers_weigh(struct invocation *invocation, struct route_entry *entry)
{
    struct send_state *state = invocation->state;
    struct invoker *invoker = invocation->invoker;
    const struct topic_route *route = entry->route;
    size_t n_good = 0;
    state->n_masters = 0;
    for (size_t i = 0; i < route->n_brokers; i++) {
        const char *name = route->brokers[i].broker_name;
        const char *master = broker_data_master(&route->brokers[i]);
        unsigned worth = 0;
        if (master && upstream_pool_can_use(invoker->pool, span_of(master), POOL_NORMAL)) {
            worth |= BROKER_WORTH_REACHABLE;
        }
        if (strcmp(name, state->broker_name) != 0) {
            worth |= BROKER_WORTH_UNTRIED;
        }
        if (!invoker->config->send.latency_fault_tolerance ||
            fault_tolerance_is_available(
                invoker->fault_tolerance, span_of(name), now_of(invocation))) {
            worth |= BROKER_WORTH_AVAILABLE;
        }
        entry->worth[i] = (uint8_t)worth;
        n_good += (worth & BROKER_WORTH_REACHABLE) && (worth & BROKER_WORTH_UNTRIED);
        state->n_masters += master != NULL;
    }
    return n_good;
}

static void queue_id_set(struct invocation *invocation, int32_t queue_id)
{
    struct send_state *state = invocation->state;
    (void)snprintf(state->queue_id_text, sizeof(state->queue_id_text), "%" PRId32, queue_id);
    (void)ext_fields_set(&invocation->request.kept.command.ext_fields, state->names->queue_id,
        span_of(state->queue_id_text));
}

static void fail_without_master(struct invocation *invocation, struct span broker_name)
{
    invocation_fail(invocation, FAILURE_NO_BROKER, false,
        "broker %.*s of topic %.*s has no master at present", SPAN_ARGS(broker_name),
        SPAN_ARGS(((struct send_state *)invocation->state)->topic));
}

/* A queue that must not be another one: at its broker, wherever that is now. */
static void attempt_same_queue(struct invocation *invocation, const struct route_entry *entry)
{
    struct send_state *state = invocation->state;
    const struct broker_data *broker =
        topic_route_find_broker(entry->route, span_of(state->broker_name));
    const char *master = broker ? broker_data_master(broker) : NULL;
    if (master) {
        attempt_send(invocation, master, false);
    } else {
        fail_without_master(invocation, span_of(state->broker_name));
    }
}

static bool queue_is_certain(struct invocation *invocation, const struct route_entry *entry)
{
    struct send_state *state = invocation->state;
    if (entry->n_queues == 0) {
        invocation_fail(invocation, FAILURE_NO_BROKER, false,
            "topic %.*s has no queue that can be written to: no broker of its route has a master "
            "and the permission to write",
            SPAN_ARGS(state->topic));
        return false;
    }
    if (state->has_queue_id && entry->route->n_brokers > 1) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "%.*s is given, but topic %.*s lives on %zu brokers: add sidecar.broker, or leave the "
            "queue to the daemon",
            SPAN_ARGS(state->names->queue_id), SPAN_ARGS(state->topic), entry->route->n_brokers);
        return false;
    }
    return true;
}

static void attempt_by_route(struct invocation *invocation)
{
    struct send_state *state = invocation->state;
    struct route_entry *entry = invocation_route(invocation, state->topic, true);
    if (!entry) {
        return;
    }
    entry->sent_ms = now_of(invocation);
    if (!queue_is_certain(invocation, entry)) {
        return;
    }
    if (state->n_attempts > 0 && !may_move(state)) {
        attempt_same_queue(invocation, entry);
        return;
    }
    size_t n_good = brokers_weigh(invocation, entry);
    const struct publish_queue *queue =
        span_is_empty(state->sharding_key)
            ? queue_select(entry->queues, entry->n_queues, &entry->turn, entry->worth)
            : queue_select_by_key(entry->queues, entry->n_queues, state->sharding_key);
    const struct broker_data *broker = &entry->route->brokers[queue->broker];
    const char *master = broker_data_master(broker);
    (void)snprintf(state->broker_name, sizeof(state->broker_name), "%s", broker->broker_name);
    if (!master) {
        fail_without_master(invocation, span_of(broker->broker_name));
        return;
    }
    if (!state->has_queue_id) {
        queue_id_set(invocation, queue->queue_id);
    }
    bool has_more = may_repeat_after(invocation, state->n_attempts + 1);
    attempt_send(invocation, master,
        has_more && ((may_move(state) && n_good > 1) || may_refresh(invocation)));
}

static void on_refreshed(struct route_waiter *waiter, const struct failure_report *report)
{
    struct send_state *state =
        (struct send_state *)(void *)((char *)waiter - offsetof(struct send_state, refresh));
    (void)report; /* without a new route the old one has to do */
    loop_deadline_clear(state->invocation->invoker->loop, &state->refresh_deadline);
    send_attempt(state->invocation);
}

static void on_refresh_deadline(struct deadline *deadline, uint64_t now_ms)
{
    struct send_state *state =
        (struct send_state *)(void *)((char *)deadline -
                                      offsetof(struct send_state, refresh_deadline));
    (void)now_ms;
    route_waiter_cancel(&state->refresh);
    send_attempt(state->invocation);
}

/* Asks for the route, once; then, with it or without, send_attempt(). */
static void route_ask(struct invocation *invocation)
{
    struct send_state *state = invocation->state;
    struct invoker *invoker = invocation->invoker;
    uint64_t now_ms = now_of(invocation);
    state->has_refreshed = true;
    state->refresh.on_fetched = on_refreshed;
    deadline_init(&state->refresh_deadline, on_refresh_deadline);
    /* Half of what is left: a silent nameserver must not eat the attempt that the wait is for. */
    uint64_t until_ms = clock_after(now_ms, clock_until(now_ms, invocation->deadline_ms) / 2);
    loop_deadline_set(invoker->loop, &state->refresh_deadline, until_ms);
    routes_wait_topic(invoker->routes, state->topic, until_ms, &state->refresh);
}

/*
 * The next one of this broker's queues; 0, which every broker has, where no route names the topic
 * there: the broker knows better than its nameserver what it has.
 */
static int32_t broker_queue_choose(struct invocation *invocation, struct route_entry *entry)
{
    const struct send_state *state = invocation->state;
    const struct broker_data *broker =
        entry && entry->route ? topic_route_find_broker(entry->route, state->fixed_broker) : NULL;
    const struct publish_queue *queue = NULL;
    if (broker) {
        queue = queue_select_of_broker(
            entry->queues, entry->n_queues, &entry->turn, (size_t)(broker - entry->route->brokers));
    }
    return queue ? queue->queue_id : 0;
}

/* sidecar.broker fixes the broker; the queue is still ours to choose where the caller did not. */
static void attempt_by_broker(struct invocation *invocation)
{
    struct send_state *state = invocation->state;
    struct route_entry *entry;
    const char *address;
    bool is_known = routes_find(invocation->invoker->routes, state->topic, &entry) != ROUTE_UNKNOWN;
    if (!state->has_queue_id && !is_known && !state->has_refreshed) {
        route_ask(invocation);
        return;
    }
    if (!invocation_broker(invocation, state->fixed_broker, &address)) {
        return;
    }
    (void)snprintf(
        state->broker_name, sizeof(state->broker_name), "%.*s", SPAN_ARGS(state->fixed_broker));
    if (!state->has_queue_id) {
        queue_id_set(invocation, broker_queue_choose(invocation, entry));
    }
    attempt_send(invocation, address, false);
}

void send_attempt(struct invocation *invocation)
{
    const struct send_state *state = invocation->state;
    if (span_is_empty(state->fixed_broker)) {
        attempt_by_route(invocation);
    } else {
        attempt_by_broker(invocation);
    }
}

/* --- and the next one --- */

/* The route may be out of date, and is asked for: true, and the next attempt follows. */
static bool refresh(struct invocation *invocation)
{
    if (!may_refresh(invocation)) {
        return false;
    }
    route_ask(invocation);
    return true;
}

enum send_verdict {
    SEND_IS_FINAL,
    SEND_ELSEWHERE,   /* not stored; another broker may take it */
    SEND_ROUTE_MOVED, /* not stored; this broker is not the one for this topic any more */
    SEND_UNCERTAIN,   /* it failed in the broker: perhaps stored */
};

/* What a broker's answer means (commands.md, retryResponseCodes of DefaultMQProducer). */
static enum send_verdict response_judge(const struct remoting_command *response)
{
    switch (response->code) {
    case RESPONSE_SYSTEM_BUSY:
    case RESPONSE_FLOW_CONTROL:
    case RESPONSE_GO_AWAY:
        return SEND_ELSEWHERE;
    case RESPONSE_SERVICE_NOT_AVAILABLE:
    case RESPONSE_TOPIC_NOT_EXIST:
        return SEND_ROUTE_MOVED;
    case RESPONSE_NO_PERMISSION:
        /* Otherwise it is about who asks, and no other broker would say anything else. */
        return span_contains(response->remark, SPAN(FORBIDDEN_HERE)) ? SEND_ROUTE_MOVED
                                                                     : SEND_IS_FINAL;
    case RESPONSE_SYSTEM_ERROR:
        return SEND_UNCERTAIN;
    default:
        return SEND_IS_FINAL;
    }
}

static void latency_note(const struct invocation *invocation, enum fault_outcome outcome)
{
    const struct send_state *state = invocation->state;
    fault_tolerance_note(invocation->invoker->fault_tolerance, span_of(state->broker_name), outcome,
        now_of(invocation) - invocation->request.sent_ms, now_of(invocation));
}

bool send_repeats_response(struct invocation *invocation, const struct remoting_command *response)
{
    struct send_state *state = invocation->state;
    enum send_verdict verdict = response_judge(response);
    bool is_out = verdict == SEND_ELSEWHERE || response->code == RESPONSE_SERVICE_NOT_AVAILABLE;
    latency_note(invocation, is_out ? FAULT_REFUSED : FAULT_ANSWERED);
    if (verdict == SEND_UNCERTAIN) {
        invocation->maybe_sent = true;
    }
    bool may_repeat =
        verdict != SEND_IS_FINAL && may_repeat_after(invocation, state->n_attempts) &&
        (verdict != SEND_UNCERTAIN || invocation->sidecar.retry == SIDECAR_RETRY_AT_LEAST_ONCE);
    if (verdict == SEND_ROUTE_MOVED) {
        /* The next send asks; and where the nameservers know no such topic, they are right. */
        route_table_expire(table_of(invocation), state->topic);
        if (may_repeat && refresh(invocation)) {
            return true;
        }
    }
    if (may_repeat && state->n_masters > 1 && may_move(state)) {
        send_attempt(invocation);
        return true;
    }
    return false;
}

void send_on_failure(struct invocation *invocation, const struct failure_report *report)
{
    struct send_state *state = invocation->state;
    bool is_at_least_once = invocation->sidecar.retry == SIDECAR_RETRY_AT_LEAST_ONCE;
    bool is_of_the_way = report->failure == FAILURE_UNREACHABLE ||
                         report->failure == FAILURE_CONNECTION_LOST ||
                         report->failure == FAILURE_TIMEOUT;
    if (report->failure == FAILURE_TIMEOUT && report->maybe_sent) {
        latency_note(invocation, FAULT_SILENT);
    }
    if (!is_of_the_way || (report->maybe_sent && !is_at_least_once) ||
        !may_repeat_after(invocation, state->n_attempts)) {
        invocation_fail_report(invocation, report);
    } else if (state->n_masters > 1 && may_move(state)) {
        send_attempt(invocation);
    } else if (refresh(invocation)) {
        /* The only broker may have moved. */
    } else if (may_move(state) || report->maybe_sent) {
        send_attempt(invocation);
    } else {
        invocation_fail_report(invocation, report);
    }
}

void send_attempts_end(struct send_state *state)
{
    route_waiter_cancel(&state->refresh);
    loop_deadline_clear(state->invocation->invoker->loop, &state->refresh_deadline);
}
