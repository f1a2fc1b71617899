#include "daemon/completion/classic.h"

#include "daemon/completion/invoke.h"
#include "daemon/core/message_filter.h"
#include "protocol/code.h"
#include "protocol/message.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* PullSysFlag.java: the subscription stands in the request. */
#define PULL_SYSFLAG_SUBSCRIPTION "4"
/* A group, a topic (255 each, and a retry prefix) and a broker's name. */
#define KEY_MAX 1024

struct classic_share_queue {
    bool is_locked;
    bool has_offset;
    bool is_committing;
    bool must_look; /* somebody else may have been at it: the broker's offset is asked for */
    struct classic_queue queue;
};

struct classic_share {
    UT_hash_handle hh; /* in the order in which they came */
    bool is_asked;     /* by one ask at a time */
    bool was_locked;   /* at locked_ms */
    uint64_t locked_ms;
    size_t turn;
    size_t n_queues;
    struct classic_share_queue *queues;
    size_t key_size;
    char key[];
};

struct classic {
    struct upstream_context *context;
    struct upstream_pool *pool;
    char *client_id;
    struct classic_share *shares;
};

static void ask_send(struct classic_ask *ask, enum classic_step step);
static void queue_next(struct classic_ask *ask);

/* --- shares --- */

static void share_free(struct classic *classic, struct classic_share *share)
{
    for (size_t i = 0; i < share->n_queues; i++) {
        classic_queue_deinit(&share->queues[i].queue);
    }
    HASH_DEL(classic->shares, share);
    free(share->queues);
    free(share);
}

struct classic *classic_new(
    struct upstream_context *context, struct upstream_pool *pool, const char *client_id)
{
    struct classic *classic = calloc(1, sizeof(*classic));
    if (!classic || !(classic->client_id = strdup(client_id))) {
        free(classic);
        return NULL;
    }
    classic->context = context;
    classic->pool = pool;
    return classic;
}

struct classic *classic_free(struct classic *classic)
{
    if (classic) {
        while (classic->shares) {
            share_free(classic, classic->shares);
        }
        free(classic->client_id);
        free(classic);
    }
    return NULL;
}

/* The key's length, or 0 when it is too long. */
static size_t key_write(
    char key[KEY_MAX], struct span topic, struct span group, struct span broker_name)
{
    int n = snprintf(
        key, KEY_MAX, "%.*s~%.*s~%.*s", SPAN_ARGS(topic), SPAN_ARGS(group), SPAN_ARGS(broker_name));
    return n > 0 && n < KEY_MAX ? (size_t)n : 0;
}

static struct classic_share *share_find(
    const struct classic *classic, struct span topic, struct span group, struct span broker_name)
{
    char key[KEY_MAX];
    struct classic_share *share = NULL;
    size_t n = key_write(key, topic, group, broker_name);
    if (n > 0) {
        HASH_FIND(hh, classic->shares, key, n, share);
    }
    return share;
}

/* What is out comes again, to whoever asks next. */
static void share_forget_oldest(struct classic *classic)
{
    struct classic_share *share = classic->shares;
    while (share && share->is_asked) {
        share = share->hh.next;
    }
    if (share) {
        share_free(classic, share);
    }
}

static struct classic_share *share_new(struct classic *classic, const struct classic_ask *ask)
{
    char key[KEY_MAX];
    size_t n = key_write(key, ask->topic, ask->group, ask->broker_name);
    if (HASH_COUNT(classic->shares) >= CLASSIC_SHARES_MAX) {
        share_forget_oldest(classic);
    }
    struct classic_share *share = calloc(1, sizeof(*share) + n);
    if (!share) {
        return NULL;
    }
    share->n_queues = ask->n_queues < CLASSIC_QUEUES_MAX ? ask->n_queues : CLASSIC_QUEUES_MAX;
    share->queues = calloc(share->n_queues > 0 ? share->n_queues : 1, sizeof(*share->queues));
    share->key_size = n;
    memcpy(share->key, key, n);
    if (share->queues && n > 0) {
        HASH_ADD_KEYPTR(hh, classic->shares, share->key, share->key_size, share);
    }
    if (!share->hh.tbl) {
        free(share->queues);
        free(share);
        return NULL;
    }
    return share;
}

/* The topic has more queues than it had: what is out is lost sight of, and comes again. */
static struct classic_share *share_get(struct classic *classic, const struct classic_ask *ask)
{
    struct classic_share *share = share_find(classic, ask->topic, ask->group, ask->broker_name);
    if (share && !share->is_asked && share->n_queues < ask->n_queues &&
        share->n_queues < CLASSIC_QUEUES_MAX) {
        share_free(classic, share);
        share = NULL;
    }
    return share ? share : share_new(classic, ask);
}

static struct classic_share_queue *queue_of(const struct classic_ask *ask)
{
    return &ask->share->queues[ask->queue];
}

/* --- the end of an ask --- */

static void ask_leave(struct classic_ask *ask)
{
    if (ask->share) {
        ask->share->is_asked = false;
        ask->share = NULL;
    }
    ask->step = CLASSIC_IDLE;
    kept_command_deinit(&ask->request.kept);
    free(ask->lock_body);
    ask->lock_body = NULL;
}

static void ask_fail(struct classic_ask *ask, const struct failure_report *report)
{
    ask_leave(ask);
    ask->on_failure(ask, report);
}

static void ask_fail_without_memory(struct classic_ask *ask)
{
    struct failure_report report;
    failure_set(&report, FAILURE_OVERLOADED, false, "out of memory");
    ask_fail(ask, &report);
}

static void ask_fail_with(struct classic_ask *ask, const struct remoting_command *response)
{
    struct failure_report report;
    failure_set(&report, FAILURE_NO_BROKER, false, "%.*s answered code %d: %.*s",
        SPAN_ARGS(ask->address), (int)response->code,
        (int)(response->remark.n < 128 ? response->remark.n : 128),
        response->remark.data ? response->remark.data : "");
    ask_fail(ask, &report);
}

/* --- step by step --- */

static int64_t number_of(const struct remoting_command *response, const char *key)
{
    int64_t number = -1;
    (void)ext_value_parse_i64(
        ext_fields_get(&response->ext_fields, span_of(key)), 0, INT64_MAX, &number);
    return number;
}

/* Members that the broker knows have connections of their own, and look at no lock. */
static void members_take(struct classic_ask *ask, const struct remoting_command *response)
{
    json_t *body = response->code == RESPONSE_SUCCESS
                       ? json_loadb(response->body.data, response->body.n, 0, NULL)
                       : NULL;
    const char *member =
        json_string_value(json_array_get(json_object_get(body, "consumerIdList"), 0));
    if (!member) {
        json_decref(body);
        ask_send(ask, CLASSIC_LOCK);
        return;
    }
    struct failure_report report;
    failure_set(&report, FAILURE_INVALID, false,
        "%.*s has no POP, and the group %.*s has classic members there (%.64s): they would get the "
        "same messages. Take another group, or be a member (HEART_BEAT) and PULL",
        SPAN_ARGS(ask->broker_name), SPAN_ARGS(ask->group), member);
    json_decref(body);
    ask_fail(ask, &report);
}

static void locks_take(struct classic_ask *ask, const struct remoting_command *response)
{
    struct classic_share *share = ask->share;
    uint64_t now_ms = ask->classic->context->loop->now_ms;
    bool has_lapsed = !share->was_locked || now_ms - share->locked_ms >= CLASSIC_LOCK_LIFE_MS;
    json_t *body = response->code == RESPONSE_SUCCESS
                       ? json_loadb(response->body.data, response->body.n, 0, NULL)
                       : NULL;
    if (!body) {
        ask_fail_with(ask, response);
        return;
    }
    bool *is_given = calloc(share->n_queues + 1, sizeof(*is_given));
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(body, "lockOKMQSet"), i, row)
    {
        json_int_t id = json_integer_value(json_object_get(row, "queueId"));
        if (is_given && id >= 0 && (size_t)id < share->n_queues) {
            is_given[id] = true;
        }
    }
    json_decref(body);
    for (i = 0; is_given && i < share->n_queues; i++) {
        struct classic_share_queue *queue = &share->queues[i];
        queue->must_look = queue->must_look || has_lapsed || !queue->is_locked;
        queue->is_locked = is_given[i];
    }
    if (!is_given) {
        ask_fail_without_memory(ask);
        return;
    }
    free(is_given);
    share->was_locked = true;
    share->locked_ms = now_ms;
    queue_next(ask);
}

static void pull_start(struct classic_ask *ask)
{
    const struct classic_queue *queue = &queue_of(ask)->queue;
    uint64_t now_ms = ask->classic->context->loop->now_ms;
    ask->is_again = classic_queue_expired(queue, now_ms, &ask->offset);
    if (!ask->is_again && classic_queue_room(queue) == 0) {
        queue_next(ask); /* first some of what is out has to be acknowledged */
        return;
    }
    if (!ask->is_again) {
        ask->offset = queue->next;
    }
    ask_send(ask, CLASSIC_PULL);
}

/* Where the broker says that the group is. What is out stays out where nobody else was at it. */
static void offset_take(struct classic_ask *ask, int64_t offset)
{
    struct classic_share_queue *queue = queue_of(ask);
    if (!queue->has_offset || classic_queue_committed(&queue->queue) != offset) {
        classic_queue_deinit(&queue->queue);
        queue->has_offset = classic_queue_init(&queue->queue, offset);
    }
    queue->must_look = false;
    if (queue->has_offset) {
        pull_start(ask);
    } else {
        ask_fail_without_memory(ask);
    }
}

/* The next queue that is ours; after the last one there is nothing. */
static void queue_next(struct classic_ask *ask)
{
    struct classic_share *share = ask->share;
    while (ask->n_seen < share->n_queues) {
        ask->n_seen++;
        ask->queue = share->turn;
        share->turn = (share->turn + 1) % share->n_queues;
        struct classic_share_queue *queue = queue_of(ask);
        if (!queue->is_locked) {
            continue;
        }
        if (queue->must_look || !queue->has_offset) {
            ask_send(ask, CLASSIC_OFFSET);
        } else {
            pull_start(ask);
        }
        return;
    }
    ask_leave(ask);
    ask->on_nothing(ask);
}

/* What is asked for again is the first message, unless it has been cleaned away. */
static bool is_gone(const struct classic_ask *ask, const struct remoting_command *response)
{
    struct message message;
    size_t size;
    return ask->is_again && (message_decode((const uint8_t *)response->body.data, response->body.n,
                                 &message, &size) != MESSAGE_OK ||
                                message.queue_offset != ask->offset);
}

static bool has_tag(void *context, const struct message *message)
{
    const struct classic_ask *ask = context;
    bool is_wanted = message_filter_wants(ask->expression, message);
    ask->classic->context->stats->pop_filtered += !is_wanted;
    return is_wanted;
}

/* Brokers compare hashes of tags: what has another tag of the same hash is passed over. */
static void pull_filter(
    struct classic_ask *ask, struct remoting_command *response, const struct command_source *source)
{
    if (response->code == RESPONSE_SUCCESS &&
        message_filter_has_tags(ask->expression, ask->expression_type)) {
        response_filter(response, source, has_tag, ask);
        if (response->body.n == 0) {
            response->code = RESPONSE_PULL_NOT_FOUND;
        }
    }
}

static void pull_take(
    struct classic_ask *ask, struct remoting_command *response, const struct command_source *source)
{
    struct classic_queue *queue = &queue_of(ask)->queue;
    int64_t next = number_of(response, "nextBeginOffset");
    pull_filter(ask, response, source);
    if (response->code == RESPONSE_SUCCESS && is_gone(ask, response)) {
        (void)classic_queue_acknowledge(queue, ask->offset);
        queue_next(ask);
        return;
    }
    switch (response->code) {
    case RESPONSE_SUCCESS:
        ask->next_offset = next;
        ask->on_found(ask, response);
        return;
    case RESPONSE_PULL_NOT_FOUND:
    case RESPONSE_PULL_RETRY_IMMEDIATELY:
    case RESPONSE_PULL_OFFSET_MOVED:
        if (ask->is_again) {
            (void)classic_queue_acknowledge(queue, ask->offset); /* it is not there any more */
        } else {
            classic_queue_advance(queue, next);
        }
        queue_next(ask);
        return;
    default:
        ask_fail_with(ask, response);
        return;
    }
}

static struct classic_ask *ask_of(struct pending_request *request)
{
    return (struct classic_ask *)(void *)((char *)request - offsetof(struct classic_ask, request));
}

static void on_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source)
{
    struct classic_ask *ask = ask_of(request);
    switch (ask->step) {
    case CLASSIC_IDLE:
        return;
    case CLASSIC_MEMBERS:
        members_take(ask, response);
        return;
    case CLASSIC_LOCK:
        locks_take(ask, response);
        return;
    case CLASSIC_OFFSET:
        if (response->code == RESPONSE_QUERY_NOT_FOUND) {
            ask_send(ask, CLASSIC_START);
            return;
        }
        break;
    case CLASSIC_START:
        break;
    case CLASSIC_PULL:
        pull_take(ask, response, source);
        return;
    }
    int64_t offset = number_of(response, "offset");
    if (response->code == RESPONSE_SUCCESS && offset >= 0) {
        offset_take(ask, offset);
    } else {
        ask_fail_with(ask, response);
    }
}

static void on_failure(struct pending_request *request, const struct failure_report *report)
{
    ask_fail(ask_of(request), report);
}

static const struct pending_request_handler request_handler = {
    .on_response = on_response,
    .on_failure = on_failure,
};

/* {consumerGroup, clientId, mqSet: [{topic, brokerName, queueId}]}; NULL without memory. */
static char *lock_body(const struct classic_ask *ask)
{
    json_t *queues = json_array();
    for (size_t i = 0; i < ask->share->n_queues; i++) {
        json_array_append_new(queues,
            json_pack("{s:s%, s:s%, s:I}", "topic", ask->topic.data, ask->topic.n, "brokerName",
                ask->broker_name.data, ask->broker_name.n, "queueId", (json_int_t)i));
    }
    json_t *body = json_pack("{s:s%, s:s, s:o}", "consumerGroup", ask->group.data, ask->group.n,
        "clientId", ask->classic->client_id, "mqSet", queues);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    return text;
}

static void field_add_number(struct classic_ask *ask, struct ext_fields *fields, size_t text,
    struct span key, int64_t number)
{
    (void)snprintf(ask->texts[text], sizeof(ask->texts[text]), "%" PRId64, number);
    (void)ext_fields_add(fields, key, span_of(ask->texts[text]));
}

static void pull_fields(struct classic_ask *ask, struct ext_fields *fields)
{
    bool has_expression = !span_is_empty(ask->expression);
    size_t room = ask->is_again ? 1 : classic_queue_room(&queue_of(ask)->queue);
    size_t n = ask->max_messages < room ? ask->max_messages : room;
    field_add_number(ask, fields, 1, SPAN("queueOffset"), ask->offset);
    field_add_number(ask, fields, 2, SPAN("maxMsgNums"), (int64_t)n);
    (void)ext_fields_add(fields, SPAN("sysFlag"), SPAN(PULL_SYSFLAG_SUBSCRIPTION));
    (void)ext_fields_add(fields, SPAN("commitOffset"), SPAN("0"));
    (void)ext_fields_add(fields, SPAN("suspendTimeoutMillis"), SPAN("0"));
    (void)ext_fields_add(fields, SPAN("subVersion"), SPAN("0"));
    (void)ext_fields_add(
        fields, SPAN("subscription"), has_expression ? ask->expression : SPAN("*"));
    (void)ext_fields_add(fields, SPAN("expressionType"),
        span_is_empty(ask->expression_type) ? SPAN("TAG") : ask->expression_type);
}

static int32_t code_of(const struct classic_ask *ask)
{
    switch (ask->step) {
    case CLASSIC_IDLE:
    case CLASSIC_MEMBERS:
        return REQUEST_GET_CONSUMER_LIST_BY_GROUP;
    case CLASSIC_LOCK:
        return REQUEST_LOCK_BATCH_MQ;
    case CLASSIC_OFFSET:
        return REQUEST_QUERY_CONSUMER_OFFSET;
    case CLASSIC_START:
        return ask->starts_at_end ? REQUEST_GET_MAX_OFFSET : REQUEST_GET_MIN_OFFSET;
    case CLASSIC_PULL:
        return REQUEST_PULL_MESSAGE;
    }
    return 0;
}

static void ask_send(struct classic_ask *ask, enum classic_step step)
{
    ask->step = step;
    struct remoting_command command = {
        .code = code_of(ask),
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
        .has_ext_fields = true,
    };
    struct ext_fields *fields = &command.ext_fields;
    ext_fields_init(fields, ask->fields, CLASSIC_FIELDS);
    kept_command_deinit(&ask->request.kept);
    if (step == CLASSIC_LOCK) {
        free(ask->lock_body);
        ask->lock_body = lock_body(ask);
        if (!ask->lock_body) {
            ask_fail_without_memory(ask);
            return;
        }
        command.body = span_of(ask->lock_body);
    } else {
        (void)ext_fields_add(fields, SPAN("consumerGroup"), ask->group);
    }
    if (step == CLASSIC_OFFSET || step == CLASSIC_START || step == CLASSIC_PULL) {
        (void)ext_fields_add(fields, SPAN("topic"), ask->topic);
        field_add_number(ask, fields, 0, SPAN("queueId"), (int64_t)ask->queue);
    }
    if (step == CLASSIC_PULL) {
        pull_fields(ask, fields);
    }
    const struct command_source source = { 0 };
    ask->request.deadline_ms = ask->deadline_ms;
    upstream_pool_invoke(
        ask->classic->pool, ask->address, POOL_NORMAL, &ask->request, &command, &source);
}

/* --- for who asks --- */

void classic_ask_init(struct classic_ask *ask)
{
    *ask = (struct classic_ask){ .step = CLASSIC_IDLE };
    pending_request_init(&ask->request, &request_handler);
}

void classic_ask_start(struct classic *classic, struct classic_ask *ask)
{
    struct classic_share *share = share_get(classic, ask);
    ask->classic = classic;
    ask->n_seen = 0;
    if (!share) {
        ask_fail_without_memory(ask);
        return;
    }
    if (share->is_asked || share->n_queues == 0) {
        ask->on_nothing(ask); /* another caller is at it this moment */
        return;
    }
    share->is_asked = true;
    ask->share = share;
    if (!share->was_locked ||
        classic->context->loop->now_ms - share->locked_ms >= CLASSIC_LOCK_MS) {
        ask_send(ask, CLASSIC_MEMBERS);
    } else {
        queue_next(ask);
    }
}

void classic_ask_cancel(struct classic_ask *ask)
{
    if (ask->classic) {
        pending_request_cancel(ask->classic->context, &ask->request);
        ask_leave(ask);
    }
}

void classic_hand_out(struct classic_ask *ask, struct span body, int64_t end_offset)
{
    struct classic_queue *queue = &queue_of(ask)->queue;
    uint64_t visible_at_ms = clock_after(ask->classic->context->loop->now_ms, ask->invisible_ms);
    struct message message;
    size_t size;
    for (size_t at = 0; at < body.n; at += size) {
        if (message_decode((const uint8_t *)body.data + at, body.n - at, &message, &size) !=
                MESSAGE_OK ||
            (end_offset >= 0 && message.queue_offset >= end_offset) ||
            classic_queue_room(queue) == 0) {
            return;
        }
        if (message.queue_offset == ask->offset || message.queue_offset >= queue->next) {
            classic_queue_hand_out(queue, message.queue_offset, visible_at_ms);
        }
    }
    if (!ask->is_again) {
        classic_queue_advance(queue, ask->next_offset); /* behind what a filter left out */
    }
}

static struct classic_share_queue *queue_by_receipt(
    const struct classic *classic, const struct classic_receipt *receipt)
{
    const struct classic_share *share =
        share_find(classic, receipt->topic, receipt->group, receipt->broker_name);
    if (!share || (size_t)receipt->queue_id >= share->n_queues ||
        !share->queues[receipt->queue_id].has_offset) {
        return NULL;
    }
    return &share->queues[receipt->queue_id];
}

enum classic_acknowledged classic_acknowledge(
    struct classic *classic, const struct classic_receipt *receipt, int64_t *ret_committed)
{
    struct classic_share_queue *queue = queue_by_receipt(classic, receipt);
    if (!queue || receipt->offset >= queue->queue.next) {
        return CLASSIC_NOT_HERE;
    }
    if (!classic_queue_acknowledge(&queue->queue, receipt->offset) || queue->is_committing) {
        return CLASSIC_TAKEN;
    }
    queue->is_committing = true;
    *ret_committed = classic_queue_committed(&queue->queue);
    return CLASSIC_MOVED;
}

bool classic_stored(struct classic *classic, const struct classic_receipt *receipt, int64_t stored,
    int64_t *ret_committed)
{
    struct classic_share_queue *queue = queue_by_receipt(classic, receipt);
    if (!queue) {
        return false;
    }
    *ret_committed = classic_queue_committed(&queue->queue);
    queue->is_committing = *ret_committed > stored;
    return queue->is_committing;
}

void classic_commit_end(struct classic *classic, const struct classic_receipt *receipt)
{
    struct classic_share_queue *queue = queue_by_receipt(classic, receipt);
    if (queue) {
        queue->is_committing = false;
    }
}

bool classic_delay(
    struct classic *classic, const struct classic_receipt *receipt, uint64_t visible_at_ms)
{
    struct classic_share_queue *queue = queue_by_receipt(classic, receipt);
    return queue && classic_queue_delay(&queue->queue, receipt->offset, visible_at_ms);
}
