#include "daemon/completion/processor.h"

#include "daemon/core/half_messages.h"
#include "daemon/core/processor_table.h"
#include "daemon/core/transaction_receipt.h"
#include "daemon/completion/consumer_running_info.h"
#include "daemon/loop/log.h"
#include "protocol/code.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <uthash.h>

/* A session that registered, and what it has not answered yet. */
struct caller {
    UT_hash_handle hh;
    uint64_t session_id;
    struct session *session;
    enum serialize_type serialize_type;
    int32_t last_opaque;
    TAILQ_HEAD(, call) calls;
    size_t n_calls;
};

/* One request of a broker that a caller is to answer. */
struct call {
    TAILQ_ENTRY(call) link;          /* of the caller */
    TAILQ_ENTRY(call) upstream_link; /* of all */
    struct processors *processors;
    struct caller *caller;
    struct upstream *upstream; /* NULL: it is closed, and the answer is for nobody */
    int32_t code;
    int32_t caller_opaque;
    int32_t broker_opaque;
    struct deadline deadline;
};
TAILQ_HEAD(call_list, call);

struct processors {
    struct upstream_context *context;
    struct routes *routes;
    struct identity *identity;
    const struct config *config;
    struct processor_table *table;
    struct half_messages *half_messages;
    struct replies replies;
    struct caller *callers;
    struct call_list calls;
};

/* --- answers to brokers --- */

static void answer_with_code(
    struct upstream *upstream, int32_t broker_opaque, int32_t code, const char *remark)
{
    struct remoting_command answer = {
        .code = code,
        .version = REMOTING_VERSION,
        .opaque = broker_opaque,
        .language = LANGUAGE_CPP,
        .remark = remark ? span_of(remark) : SPAN_ABSENT,
    };
    upstream_answer(upstream, &answer, NULL);
}

static void call_end(struct call *call)
{
    struct processors *processors = call->processors;
    TAILQ_REMOVE(&call->caller->calls, call, link);
    call->caller->n_calls--;
    TAILQ_REMOVE(&processors->calls, call, upstream_link);
    loop_deadline_clear(processors->context->loop, &call->deadline);
    free(call);
}

static void call_fail(struct call *call, const char *remark)
{
    struct stats *stats = call->processors->context->stats;
    stats->broker_requests_failed++;
    log_info("session=%" PRIu64 " broker-request code=%d failed cause=\"%s\"",
        call->caller->session_id, (int)call->code, remark);
    struct upstream *upstream = call->upstream;
    int32_t broker_opaque = call->broker_opaque;
    /* First: an answer that finds no memory may end the connection, and that looks at its calls. */
    call_end(call);
    if (upstream) {
        answer_with_code(upstream, broker_opaque, RESPONSE_SYSTEM_ERROR, remark);
    }
}

static void on_call_deadline(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    struct call *call = (struct call *)(void *)((char *)deadline - offsetof(struct call, deadline));
    call_fail(call, "the local program that is registered for it did not answer within 9 s");
}

struct replies *processors_replies(struct processors *processors)
{
    return &processors->replies;
}

bool processors_answer(struct processors *processors, struct session *session,
    struct remoting_command *answer, const struct command_source *source)
{
    struct caller *caller;
    HASH_FIND(hh, processors->callers, &session->id, sizeof(session->id), caller);
    struct call *call = caller ? TAILQ_FIRST(&caller->calls) : NULL;
    while (call && call->caller_opaque != answer->opaque) {
        call = TAILQ_NEXT(call, link);
    }
    if (!call) {
        return false;
    }
    processors->context->stats->broker_requests_answered++;
    struct upstream *upstream = call->upstream;
    answer->opaque = call->broker_opaque;
    call_end(call); /* first, as in call_fail() */
    if (upstream) {
        (void)ext_fields_remove_prefixed(&answer->ext_fields, SPAN("sidecar."));
        upstream_answer(upstream, answer, source->owner);
    }
    return true;
}

/* --- requests of brokers --- */

/* What a request is about, as far as that decides who gets it. */
struct subject {
    struct processors *processors;
    struct span group;
    uint64_t preferred_id;
    char receipt[RECEIPT_TEXT_MAX];
};

static struct caller *caller_find(const struct processors *processors, uint64_t session_id)
{
    struct caller *caller;
    HASH_FIND(hh, processors->callers, &session_id, sizeof(session_id), caller);
    return caller;
}

/* A member's connection is the member's; a half message is its sender's. */
static void subject_find(struct subject *subject, const struct upstream *upstream,
    const struct remoting_command *request)
{
    const struct ext_fields *fields = &request->ext_fields;
    struct message message;
    size_t size;
    const struct upstream_address *address = upstream->address;
    if (address->class == POOL_CONTROL && address->identity != IDENTITY_OWN) {
        subject->preferred_id = address->identity;
    }
    switch (request->code) {
    case REQUEST_CHECK_TRANSACTION_STATE:
        if (message_decode((const uint8_t *)request->body.data, request->body.n, &message, &size) !=
            MESSAGE_OK) {
            return;
        }
        subject->group = message_property(message.properties, SPAN(PROPERTY_PRODUCER_GROUP));
        subject->preferred_id = half_messages_sender(subject->processors->half_messages,
            message_property(message.properties, SPAN(PROPERTY_UNIQ_KEY)));
        struct transaction_receipt receipt;
        const char *broker_name = route_table_broker_at(
            routes_table(subject->processors->routes), span_of(upstream->name));
        if (transaction_receipt_from_check(
                fields, &message, broker_name ? span_of(broker_name) : SPAN_ABSENT, &receipt)) {
            (void)transaction_receipt_encode(&receipt, subject->receipt, sizeof(subject->receipt));
        }
        return;
    case REQUEST_RESET_CONSUMER_CLIENT_OFFSET:
    case REQUEST_GET_CONSUMER_STATUS_FROM_CLIENT:
        subject->group = ext_fields_text(fields, "group");
        return;
    default:
        subject->group = ext_fields_text(fields, "consumerGroup");
        return;
    }
}

static bool can_take(void *context, uint64_t session_id)
{
    const struct subject *subject = context;
    const struct caller *caller = caller_find(subject->processors, session_id);
    const struct config *config = subject->processors->config;
    return caller && caller->session->state == SESSION_OPEN &&
           caller->n_calls < config->limits.max_broker_requests_per_session &&
           caller->session->transport.output.size < config->limits.session_buffer;
}

static struct call *call_new(
    struct processors *processors, struct caller *caller, struct upstream *upstream)
{
    struct call *call = calloc(1, sizeof(*call));
    if (!call) {
        return NULL;
    }
    call->processors = processors;
    call->caller = caller;
    call->upstream = upstream;
    deadline_init(&call->deadline, on_call_deadline);
    loop_deadline_set(processors->context->loop, &call->deadline,
        clock_after(processors->context->loop->now_ms, PROCESSOR_TIMEOUT_MS));
    TAILQ_INSERT_TAIL(&caller->calls, call, link);
    TAILQ_INSERT_TAIL(&processors->calls, call, upstream_link);
    caller->n_calls++;
    return call;
}

/* Hands it to the caller. False: it could not be written, and the broker has no answer yet. */
static bool deliver(struct processors *processors, struct caller *caller, struct subject *subject,
    struct upstream *upstream, struct remoting_command *request, struct frame_buffer *owner)
{
    struct call *call = NULL;
    int32_t broker_opaque = request->opaque;
    if (!remoting_command_is_oneway(request)) {
        call = call_new(processors, caller, upstream);
        if (!call) {
            return false;
        }
        call->code = request->code;
        call->broker_opaque = broker_opaque;
        call->caller_opaque = caller->last_opaque + 1;
    }
    request->opaque = ++caller->last_opaque;
    request->has_ext_fields = true;
    (void)ext_fields_remove_prefixed(&request->ext_fields, SPAN("sidecar."));
    (void)ext_fields_set(&request->ext_fields, SPAN("sidecar.addr"), span_of(upstream->name));
    if (subject->receipt[0] != '\0') {
        (void)ext_fields_set(
            &request->ext_fields, SPAN("sidecar.receipt"), span_of(subject->receipt));
    }
    if (request->code == REQUEST_CHECK_TRANSACTION_STATE) {
        (void)ext_fields_set(&request->ext_fields, SPAN("sidecar.group"), subject->group);
    }
    uint64_t session_id = caller->session_id;
    bool is_written = session_request(caller->session, request, caller->serialize_type, owner);
    request->opaque = broker_opaque;
    if (is_written || !call) {
        return is_written;
    }
    if (!caller_find(processors, session_id)) {
        /* Without memory for it the session has ended, and the broker was told so: not twice. */
        return true;
    }
    call_end(call);
    return false;
}

static void reply_taken(struct upstream *upstream, const struct remoting_command *push)
{
    if (!remoting_command_is_oneway(push)) {
        answer_with_code(upstream, push->opaque, RESPONSE_SUCCESS, NULL);
    }
}

/* What the daemon can deal with itself. False: it cannot. */
static bool answer_here(struct processors *processors, struct upstream *upstream,
    const struct remoting_command *request, const struct subject *subject)
{
    switch (request->code) {
    case REQUEST_NOTIFY_CONSUMER_IDS_CHANGED:
        return true; /* whoever shares out queues here asks for the list when it wants it */
    case REQUEST_PUSH_REPLY_MESSAGE_TO_CLIENT:
        processors->context->stats->replies_late++;
        reply_taken(upstream, request);
        return true;
    case REQUEST_GET_CONSUMER_RUNNING_INFO: {
        json_t *consumer =
            identity_consumer(processors->identity, subject->preferred_id, subject->group);
        bool is_answered = consumer_running_info_answer(upstream, request->opaque, consumer);
        json_decref(consumer);
        return is_answered;
    }
    default:
        return false;
    }
}

static void refuse(struct processors *processors, struct upstream *upstream,
    const struct remoting_command *request, bool is_registered)
{
    struct stats *stats = processors->context->stats;
    log_debug("upstream=%s id=%" PRIu64 " broker-request code=%d oneway=%d refused", upstream->name,
        upstream->id, (int)request->code, remoting_command_is_oneway(request));
    if (remoting_command_is_oneway(request)) {
        stats->broker_requests_dropped++;
    } else if (is_registered) {
        stats->broker_requests_failed++;
        answer_with_code(upstream, request->opaque, RESPONSE_SYSTEM_BUSY,
            "the local programs that are registered for it have too much to answer already");
    } else {
        stats->broker_requests_refused++;
        answer_with_code(upstream, request->opaque, RESPONSE_REQUEST_CODE_NOT_SUPPORTED,
            "no caller of this remotingd handles this request code");
    }
}

static void on_request(void *context, struct upstream *upstream, struct remoting_command *request,
    const struct command_source *source)
{
    struct processors *processors = context;
    struct subject subject = { .processors = processors };
    if (request->code == REQUEST_PUSH_REPLY_MESSAGE_TO_CLIENT &&
        replies_take(&processors->replies, request)) {
        processors->context->stats->replies++;
        reply_taken(upstream, request);
        return;
    }
    subject_find(&subject, upstream, request);
    bool is_registered;
    uint64_t session_id = processor_table_choose(processors->table, request->code, subject.group,
        subject.preferred_id, can_take, &subject, &is_registered);
    if (session_id && deliver(processors, caller_find(processors, session_id), &subject, upstream,
                          request, source->owner)) {
        processors->context->stats->broker_requests_delivered++;
    } else if (is_registered || !answer_here(processors, upstream, request, &subject)) {
        refuse(processors, upstream, request, is_registered);
    }
}

static void on_closed(void *context, const struct upstream *upstream)
{
    struct processors *processors = context;
    struct call *call;
    TAILQ_FOREACH (call, &processors->calls, upstream_link) {
        if (call->upstream == upstream) {
            call->upstream = NULL;
        }
    }
}

static const struct broker_request_handler broker_request_handler = {
    .on_request = on_request,
    .on_closed = on_closed,
};

/* --- registrations --- */

struct processors *processors_new(struct upstream_context *context, struct routes *routes,
    struct identity *identity, const struct config *config)
{
    struct processors *processors = calloc(1, sizeof(*processors));
    if (!processors) {
        return NULL;
    }
    processors->context = context;
    processors->routes = routes;
    processors->identity = identity;
    processors->config = config;
    TAILQ_INIT(&processors->calls);
    processors->table = processor_table_new(config->limits.max_processors_per_session);
    processors->half_messages = half_messages_new();
    if (!processors->table || !processors->half_messages) {
        return processors_free(processors);
    }
    context->broker_requests = &broker_request_handler;
    context->broker_requests_context = processors;
    return processors;
}

void processors_configure(struct processors *processors, const struct config *config)
{
    processors->config = config;
    processor_table_set_limit(processors->table, config->limits.max_processors_per_session);
}

struct processors *processors_free(struct processors *processors)
{
    if (processors) {
        assert(!processors->callers && TAILQ_EMPTY(&processors->calls));
        assert(!processors->replies.waiters);
        processors->table = processor_table_free(processors->table);
        processors->half_messages = half_messages_free(processors->half_messages);
        free(processors);
    }
    return NULL;
}

static struct caller *caller_new(struct processors *processors, struct session *session)
{
    struct caller *caller = calloc(1, sizeof(*caller));
    if (!caller) {
        return NULL;
    }
    caller->session_id = session->id;
    caller->session = session;
    session->is_bound = true;
    TAILQ_INIT(&caller->calls);
    HASH_ADD(hh, processors->callers, session_id, sizeof(caller->session_id), caller);
    if (!caller->hh.tbl) {
        free(caller);
        return NULL;
    }
    return caller;
}

int processor_register(struct processors *processors, struct session *session, int32_t code,
    struct span group, enum serialize_type serialize_type, struct failure_report *report)
{
    struct caller *caller = caller_find(processors, session->id);
    if (!caller) {
        caller = caller_new(processors, session);
    }
    enum processor_add added =
        caller ? processor_table_add(processors->table, session->id, code, group)
               : PROCESSOR_NO_MEMORY;
    switch (added) {
    case PROCESSOR_ADDED:
    case PROCESSOR_THERE_ALREADY:
        caller->serialize_type = serialize_type;
        return added == PROCESSOR_ADDED;
    case PROCESSOR_TABLE_FULL_HERE:
        failure_set(report, FAILURE_OVERLOADED, false,
            "this caller is registered for %u codes and groups already "
            "(limits.max_processors_per_session)",
            processors->config->limits.max_processors_per_session);
        return -ENOBUFS;
    case PROCESSOR_NO_MEMORY:
        break;
    }
    failure_set(report, FAILURE_OVERLOADED, false, "out of memory");
    return -ENOMEM;
}

bool processor_unregister(
    struct processors *processors, struct session *session, int32_t code, struct span group)
{
    return processor_table_remove(processors->table, session->id, code, group);
}

void processors_note_sender(
    struct processors *processors, const struct session *session, struct span uniq_key)
{
    half_messages_add(processors->half_messages, uniq_key, session->id);
}

void processors_forget_sender(struct processors *processors, struct span uniq_key)
{
    half_messages_remove(processors->half_messages, uniq_key);
}

void processors_session_gone(struct processors *processors, struct session *session)
{
    struct caller *caller = caller_find(processors, session->id);
    if (!caller) {
        return;
    }
    processor_table_remove_session(processors->table, session->id);
    while (!TAILQ_EMPTY(&caller->calls)) {
        call_fail(TAILQ_FIRST(&caller->calls),
            "the local program that was to answer it has closed its connection");
    }
    HASH_DEL(processors->callers, caller);
    free(caller);
}
