/*
 * HEART_BEAT and UNREGISTER_CLIENT: they take control connections, whatever address they name. The
 * caller's groups become the daemon's (identity.h), the brokers hear of it, and the answer tells how
 * many did.
 */
#include "daemon/completion/invoke.h"

#include "daemon/core/permission.h"
#include "daemon/upstream/identity.h"
#include "protocol/code.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* The daemon's own connections, and those of the member that the caller is. */
#define WAITERS 2

struct heartbeat_state {
    struct invocation *invocation;
    struct control_waiter waiters[WAITERS];
    size_t n_waiters;
    struct deadline deadline;
};

static void heartbeat_on_end(struct invocation *invocation)
{
    struct heartbeat_state *state = invocation->state;
    if (state) {
        for (size_t i = 0; i < WAITERS; i++) {
            control_waiter_cancel(&state->waiters[i]);
        }
        loop_deadline_clear(invocation->invoker->loop, &state->deadline);
        free(state);
        invocation->state = NULL;
    }
}

/* Code 0 where each of the identities was heard by a broker; else what one of them said. */
static void heartbeat_answer(struct invocation *invocation)
{
    struct heartbeat_state *state = invocation->state;
    const struct control_waiter *unheard = NULL;
    size_t n_brokers = 0, n_taken = state->n_waiters > 0 ? SIZE_MAX : 0;
    for (size_t i = 0; i < state->n_waiters; i++) {
        const struct control_waiter *waiter = &state->waiters[i];
        n_brokers = waiter->n_brokers > n_brokers ? waiter->n_brokers : n_brokers;
        n_taken = waiter->n_taken < n_taken ? waiter->n_taken : n_taken;
        if (waiter->n_taken == 0 && (!unheard || !unheard->code)) {
            unheard = waiter;
        }
    }
    bool is_unregister = invocation->code == REQUEST_UNREGISTER_CLIENT;
    if (unheard && !unheard->code && !is_unregister) {
        invocation->maybe_sent = false; /* the report knows */
        invocation_fail_report(invocation, &unheard->report);
        return;
    }
    char brokers[24], taken[24];
    (void)snprintf(brokers, sizeof(brokers), "%zu", n_brokers);
    (void)snprintf(taken, sizeof(taken), "%zu", n_taken);
    struct ext_field fields[3];
    struct remoting_command answer = {
        .code = unheard && !is_unregister ? unheard->code : RESPONSE_SUCCESS,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
        .has_ext_fields = true,
        .remark = unheard && !is_unregister ? span_of(unheard->report.cause) : SPAN_ABSENT,
    };
    ext_fields_init(&answer.ext_fields, fields, sizeof(fields) / sizeof(fields[0]));
    (void)ext_fields_add(&answer.ext_fields, SPAN("sidecar.clientId"),
        span_of(identity_client_id(invocation->invoker->identity)));
    (void)ext_fields_add(&answer.ext_fields, SPAN("sidecar.brokers"), span_of(brokers));
    (void)ext_fields_add(&answer.ext_fields, SPAN("sidecar.taken"), span_of(taken));
    invocation_answer(invocation, &answer, NULL);
}

static void on_heard(struct control_waiter *waiter)
{
    struct invocation *invocation = waiter->context;
    const struct heartbeat_state *state = invocation->state;
    for (size_t i = 0; i < state->n_waiters; i++) {
        if (state->waiters[i].identity) {
            return; /* still waiting */
        }
    }
    heartbeat_answer(invocation);
}

static void on_deadline(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    const struct heartbeat_state *state =
        (struct heartbeat_state *)(void *)((char *)deadline -
                                           offsetof(struct heartbeat_state, deadline));
    invocation_fail(state->invocation, FAILURE_TIMEOUT, true,
        "not every broker has answered; those that are away hear it when they are connected");
}

static int wait_for(
    struct invocation *invocation, struct control_identity *identity, struct span address)
{
    struct heartbeat_state *state = invocation->state;
    if (!span_is_empty(address) && control_identity_name(identity, address) < 0) {
        return -ENOMEM;
    }
    struct control_waiter *waiter = &state->waiters[state->n_waiters++];
    waiter->context = invocation;
    waiter->on_done = on_heard;
    control_wait(identity, address, waiter);
    return 0;
}

/* Waits for the identities whose heartbeats say something new, or did so before. */
static void heartbeat_wait(
    struct invocation *invocation, struct span address, bool is_producer, bool is_consumer)
{
    const struct identity *identity = invocation->invoker->identity;
    struct heartbeat_state *state = invocation->state;
    struct control_identity *member = identity_member(identity, invocation->session->id);
    if ((is_producer && wait_for(invocation, identity_own(identity), address) < 0) ||
        (is_consumer && member && wait_for(invocation, member, address) < 0)) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    if (state->n_waiters == 0) {
        heartbeat_answer(invocation); /* there was nothing to tell anybody */
        return;
    }
    /* It goes over connections that are not its own: who ends it from outside cannot see how far. */
    invocation->maybe_sent = true;
    loop_deadline_set(invocation->invoker->loop, &state->deadline, invocation->deadline_ms);
}

static void heartbeat_take(struct invocation *invocation, struct span address)
{
    struct invoker *invoker = invocation->invoker;
    struct failure_report report = { .failure = FAILURE_INVALID };
    struct heartbeat heartbeat;
    if (!heartbeat_decode(invocation->request.kept.command.body, &heartbeat, report.cause,
            sizeof(report.cause))) {
        invocation_fail_report(invocation, &report);
        return;
    }
    if (!invocation->role->may_everything &&
        !permission_to_heartbeat(invocation->role, &heartbeat, &report)) {
        heartbeat_deinit(&heartbeat);
        invocation_fail_report(invocation, &report);
        return;
    }
    invocation->session->is_bound = true;
    int r = identity_heartbeat(invoker->identity, invocation->session->id, &heartbeat, &report);
    bool is_producer = heartbeat_n_producers(&heartbeat) > 0;
    bool is_consumer = heartbeat_n_consumers(&heartbeat) > 0;
    heartbeat_deinit(&heartbeat);
    if (r < 0) {
        invocation_fail_report(invocation, &report);
    } else {
        heartbeat_wait(invocation, address, is_producer, is_consumer);
    }
}

static void unregister_take(struct invocation *invocation)
{
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    struct span producer_group = ext_fields_text(fields, "producerGroup");
    struct span consumer_group = ext_fields_text(fields, "consumerGroup");
    if (span_is_empty(producer_group) && span_is_empty(consumer_group)) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "UNREGISTER_CLIENT needs producerGroup or consumerGroup");
        return;
    }
    identity_unregister(
        invocation->invoker->identity, invocation->session->id, producer_group, consumer_group);
    heartbeat_wait(
        invocation, SPAN_ABSENT, !span_is_empty(producer_group), !span_is_empty(consumer_group));
}

/* The broker that the caller names, in *ret_address; absent: all. False: it waits, or has failed. */
static bool target_find(struct invocation *invocation, struct span *ret_address)
{
    const struct sidecar_fields *sidecar = &invocation->sidecar;
    const struct command_source source = invocation_kept_source(invocation);
    struct span broker = sidecar->broker;
    if (span_is_empty(broker)) {
        broker = ext_fields_text(&invocation->request.kept.command.ext_fields, "bname");
    }
    *ret_address = sidecar->addr;
    if (!span_is_empty(sidecar->addr)) {
        return forward_may_address(
            invocation, sidecar->addr, "sidecar.addr", &invocation->request.kept.command, &source);
    }
    if (!span_is_empty(broker)) {
        const char *address;
        if (!invocation_broker(invocation, broker, &address)) {
            return false;
        }
        *ret_address = span_of(address);
    }
    return true;
}

static void heartbeat_go(struct invocation *invocation)
{
    struct span address;
    if (!target_find(invocation, &address)) {
        return;
    }
    if (invocation->code == REQUEST_HEART_BEAT) {
        heartbeat_take(invocation, address);
    } else {
        unregister_take(invocation);
    }
}

static const struct invocation_steps heartbeat_steps = {
    .on_route = heartbeat_go,
    .on_end = heartbeat_on_end,
};

void complete_heartbeat_start(struct invocation *invocation)
{
    if (invocation->is_oneway) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "code %d was sent oneway: groups belong to the connection of a caller that is answered",
            (int)invocation->code);
        return;
    }
    struct heartbeat_state *state = calloc(1, sizeof(*state));
    if (!state) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    state->invocation = invocation;
    deadline_init(&state->deadline, on_deadline);
    invocation->state = state;
    invocation->steps = &heartbeat_steps;
    heartbeat_go(invocation);
}
