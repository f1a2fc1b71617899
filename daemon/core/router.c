#include "daemon/core/router.h"

#include "protocol/code.h"

#include <stddef.h>
#include <stdio.h>

enum place {
    PLACE_NAMESERVER_READ,
    PLACE_NAMESERVER_WRITE, /* nameservers ask nobody for credentials: the admin role */
    PLACE_BROKER_ADMIN,
    PLACE_SEND,
    PLACE_REPLY, /* a SEND whose topic follows from sidecar.receipt, else as PLACE_SEND */
    PLACE_RECEIVE,
    PLACE_RECEIPT,         /* by sidecar.receipt, else as PLACE_ONE_MASTER */
    PLACE_RECEIPTS,        /* by the receipts in the body */
    PLACE_MESSAGE,         /* by sidecar.msgId, else as PLACE_ONE_MASTER */
    PLACE_HANDLE,          /* by recallHandle */
    PLACE_ALL_MASTERS,     /* every master of the topic */
    PLACE_QUEUES,          /* as PLACE_ONE_MASTER; without a queueId all queues of the topic */
    PLACE_ONE_MASTER,      /* names a queue or a stored offset: the broker must be certain */
    PLACE_IDENTITY,        /* speaks for who is at the other end of the connection */
    PLACE_BROKER_OR_TOPIC, /* group-only commands: sidecar.broker or sidecar.topic */
};

struct code_row {
    int32_t code;
    enum place place;
    const char *topic_field; /* NULL: the topic stands in the body, if anywhere */
    bool is_read;
};

static const struct code_row code_rows[] = {
    { REQUEST_SEND_MESSAGE, PLACE_SEND, "topic", false },
    { REQUEST_SEND_MESSAGE_V2, PLACE_SEND, "b", false },
    { REQUEST_SEND_BATCH_MESSAGE, PLACE_SEND, "b", false },
    { REQUEST_SEND_REPLY_MESSAGE, PLACE_REPLY, "topic", false },
    { REQUEST_SEND_REPLY_MESSAGE_V2, PLACE_REPLY, "b", false },
    { REQUEST_PULL_MESSAGE, PLACE_ONE_MASTER, "topic", true },
    { REQUEST_LITE_PULL_MESSAGE, PLACE_ONE_MASTER, "topic", true },
    { REQUEST_QUERY_MESSAGE, PLACE_ALL_MASTERS, "topic", true },
    { REQUEST_QUERY_CONSUMER_OFFSET, PLACE_QUEUES, "topic", true },
    { REQUEST_UPDATE_CONSUMER_OFFSET, PLACE_ONE_MASTER, "topic", false },
    { REQUEST_SEARCH_OFFSET_BY_TIMESTAMP, PLACE_QUEUES, "topic", true },
    { REQUEST_GET_MAX_OFFSET, PLACE_QUEUES, "topic", true },
    { REQUEST_GET_MIN_OFFSET, PLACE_QUEUES, "topic", true },
    { REQUEST_GET_EARLIEST_MSG_STORETIME, PLACE_QUEUES, "topic", true },
    { REQUEST_VIEW_MESSAGE_BY_ID, PLACE_MESSAGE, "topic", true },
    { REQUEST_CONSUMER_SEND_MSG_BACK, PLACE_MESSAGE, "originTopic", false },
    { REQUEST_END_TRANSACTION, PLACE_RECEIPT, "topic", false },
    { REQUEST_HEART_BEAT, PLACE_IDENTITY, NULL, false },
    { REQUEST_UNREGISTER_CLIENT, PLACE_IDENTITY, NULL, false },
    { REQUEST_LOCK_BATCH_MQ, PLACE_ONE_MASTER, NULL, false },
    { REQUEST_UNLOCK_BATCH_MQ, PLACE_ONE_MASTER, NULL, false },
    { REQUEST_GET_CONSUMER_LIST_BY_GROUP, PLACE_BROKER_OR_TOPIC, NULL, true },
    { REQUEST_CHECK_CLIENT_CONFIG, PLACE_BROKER_OR_TOPIC, NULL, true },
    { REQUEST_QUERY_ASSIGNMENT, PLACE_BROKER_OR_TOPIC, NULL, true },
    { REQUEST_RECALL_MESSAGE, PLACE_HANDLE, "topic", false },
    { REQUEST_POP_MESSAGE, PLACE_RECEIVE, "topic", false },
    { REQUEST_ACK_MESSAGE, PLACE_RECEIPT, "topic", false },
    { REQUEST_BATCH_ACK_MESSAGE, PLACE_RECEIPTS, NULL, false },
    { REQUEST_CHANGE_MESSAGE_INVISIBLETIME, PLACE_RECEIPT, "topic", false },
    { REQUEST_NOTIFICATION, PLACE_ONE_MASTER, "topic", true },
    { REQUEST_GET_ROUTEINFO_BY_TOPIC, PLACE_NAMESERVER_READ, NULL, true },
    { REQUEST_GET_BROKER_CLUSTER_INFO, PLACE_NAMESERVER_READ, NULL, true },
    { 101, PLACE_NAMESERVER_READ, NULL, true },   /* GET_KV_CONFIG */
    { 206, PLACE_NAMESERVER_READ, NULL, true },   /* GET_ALL_TOPIC_LIST_FROM_NAMESERVER */
    { 219, PLACE_NAMESERVER_READ, NULL, true },   /* GET_KVLIST_BY_NAMESPACE */
    { 224, PLACE_NAMESERVER_READ, NULL, true },   /* GET_TOPICS_BY_CLUSTER */
    { 304, PLACE_NAMESERVER_READ, NULL, true },   /* GET_SYSTEM_TOPIC_LIST_FROM_NS */
    { 311, PLACE_NAMESERVER_READ, NULL, true },   /* GET_UNIT_TOPIC_LIST */
    { 312, PLACE_NAMESERVER_READ, NULL, true },   /* GET_HAS_UNIT_SUB_TOPIC_LIST */
    { 313, PLACE_NAMESERVER_READ, NULL, true },   /* GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST */
    { 319, PLACE_NAMESERVER_READ, NULL, true },   /* GET_NAMESRV_CONFIG */
    { 100, PLACE_NAMESERVER_WRITE, NULL, false }, /* PUT_KV_CONFIG */
    { 102, PLACE_NAMESERVER_WRITE, NULL, false }, /* DELETE_KV_CONFIG */
    { 103, PLACE_NAMESERVER_WRITE, NULL, false }, /* REGISTER_BROKER */
    { 104, PLACE_NAMESERVER_WRITE, NULL, false }, /* UNREGISTER_BROKER */
    { 205, PLACE_NAMESERVER_WRITE, NULL, false }, /* WIPE_WRITE_PERM_OF_BROKER */
    { 216, PLACE_NAMESERVER_WRITE, NULL, false }, /* DELETE_TOPIC_IN_NAMESRV */
    { 217, PLACE_NAMESERVER_WRITE, NULL, false }, /* REGISTER_TOPIC_IN_NAMESRV */
    { 318, PLACE_NAMESERVER_WRITE, NULL, false }, /* UPDATE_NAMESRV_CONFIG */
    { 327, PLACE_NAMESERVER_WRITE, NULL, false }, /* ADD_WRITE_PERM_OF_BROKER */
    { REQUEST_UPDATE_AND_CREATE_TOPIC, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_UPDATE_BROKER_CONFIG, PLACE_BROKER_ADMIN, NULL, false },
    { 26, PLACE_BROKER_ADMIN, NULL, true },   /* GET_BROKER_CONFIG */
    { 200, PLACE_BROKER_ADMIN, NULL, false }, /* UPDATE_AND_CREATE_SUBSCRIPTIONGROUP */
    { 207, PLACE_BROKER_ADMIN, NULL, false }, /* DELETE_SUBSCRIPTIONGROUP */
    { 215, PLACE_BROKER_ADMIN, NULL, false }, /* DELETE_TOPIC_IN_BROKER */
    { 222, PLACE_BROKER_ADMIN, NULL, false }, /* INVOKE_BROKER_TO_RESET_OFFSET */
    { 401, PLACE_BROKER_ADMIN, NULL, false }, /* SET_MESSAGE_REQUEST_MODE */
    { REQUEST_UPDATE_AND_CREATE_TOPIC_LIST, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_TRIGGER_DELETE_FILES, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_RESET_CONSUMER_OFFSET_IN_BROKER, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_REGISTER_FILTER_SERVER, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_REGISTER_MESSAGE_FILTER_CLASS, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_CLEAN_EXPIRED_CONSUMEQUEUE, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_CLONE_GROUP_OFFSET, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_CLEAN_UNUSED_TOPIC, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_RESUME_CHECK_HALF_MESSAGE, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_DELETE_EXPIRED_COMMITLOG, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_UPDATE_AND_GET_GROUP_FORBIDDEN, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_EXPORT_ROCKSDB_CONFIG_TO_JSON, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_UPDATE_AND_CREATE_STATIC_TOPIC, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_ADD_BROKER, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_REMOVE_BROKER, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_BROKER_HEARTBEAT, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_NOTIFY_MIN_BROKER_ID_CHANGE, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_EXCHANGE_BROKER_HA_INFO, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_RESET_MASTER_FLUSH_OFFSET, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_CONTROLLER_ALTER_SYNC_STATE_SET, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_CONTROLLER_ELECT_MASTER, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_CONTROLLER_REGISTER_BROKER, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_NOTIFY_BROKER_ROLE_CHANGED, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_UPDATE_CONTROLLER_CONFIG, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_CLEAN_BROKER_DATA, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_CONTROLLER_GET_NEXT_BROKER_ID, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_CONTROLLER_APPLY_BROKER_ID, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_BROKER_CLOSE_CHANNEL_REQUEST, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_RAFT_BROKER_HEART_BEAT_EVENT_REQUEST, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_UPDATE_COLD_DATA_FLOW_CTR_CONFIG, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_REMOVE_COLD_DATA_FLOW_CTR_CONFIG, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_SET_COMMITLOG_READ_MODE, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_AUTH_CREATE_USER, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_AUTH_UPDATE_USER, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_AUTH_DELETE_USER, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_AUTH_GET_USER, PLACE_BROKER_ADMIN, NULL, true },
    { REQUEST_AUTH_LIST_USER, PLACE_BROKER_ADMIN, NULL, true },
    { REQUEST_AUTH_CREATE_ACL, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_AUTH_UPDATE_ACL, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_AUTH_DELETE_ACL, PLACE_BROKER_ADMIN, NULL, false },
    { REQUEST_AUTH_GET_ACL, PLACE_BROKER_ADMIN, NULL, true },
    { REQUEST_AUTH_LIST_ACL, PLACE_BROKER_ADMIN, NULL, true },
    { REQUEST_SWITCH_TIMER_ENGINE, PLACE_BROKER_ADMIN, NULL, false },
};

static const struct code_row *code_row_find(int32_t code)
{
    for (size_t i = 0; i < sizeof(code_rows) / sizeof(code_rows[0]); i++) {
        if (code_rows[i].code == code) {
            return &code_rows[i];
        }
    }
    return NULL;
}

static const char *code_text(int32_t code)
{
    const char *name = request_code_name(code);
    return name ? name : "unnamed";
}

static void answer(struct route_answer *ret_answer, enum route_target target, struct span name)
{
    ret_answer->target = target;
    ret_answer->name = name;
}

/* A target by sidecar.topic, for commands that have no topic among their ext fields. */
static void answer_by_sidecar_topic(const struct route_question *question,
    const struct code_row *row, enum route_target target, struct route_answer *ret_answer)
{
    if (!span_is_empty(question->topic)) {
        answer(ret_answer, target, question->topic);
        return;
    }
    ret_answer->target = ROUTE_IS_INVALID;
    (void)snprintf(ret_answer->reason, sizeof(ret_answer->reason),
        "code %d (%s) needs sidecar.broker, or sidecar.topic for a broker of that topic",
        (int)row->code, code_text(row->code));
}

/* A target by topic, or what to add where the topic is missing. */
static void answer_by_topic(const struct route_question *question, const struct code_row *row,
    enum route_target target, struct route_answer *ret_answer)
{
    if (!row->topic_field) {
        answer_by_sidecar_topic(question, row, target, ret_answer);
        return;
    }
    struct span topic = ext_fields_get(question->ext_fields, span_of(row->topic_field));
    if (span_is_empty(topic)) {
        ret_answer->target = ROUTE_IS_INVALID;
        (void)snprintf(ret_answer->reason, sizeof(ret_answer->reason),
            "code %d (%s) needs %sthe ext field %s%s", (int)row->code, code_text(row->code),
            row->place == PLACE_RECEIPT || row->place == PLACE_REPLY ? "sidecar.receipt or "
            : row->place == PLACE_MESSAGE                            ? "sidecar.msgId or "
                                                                     : "",
            row->topic_field, row->topic_field[1] == '\0' ? ", the topic" : "");
        return;
    }
    answer(ret_answer, target, topic);
}

static void answer_by_place(const struct route_question *question, const struct code_row *row,
    struct route_answer *ret_answer)
{
    switch (row->place) {
    case PLACE_NAMESERVER_READ:
    case PLACE_NAMESERVER_WRITE:
        answer(ret_answer, ROUTE_TO_NAMESERVER, SPAN_ABSENT);
        return;
    case PLACE_SEND:
    case PLACE_REPLY:
        answer_by_topic(question, row, ROUTE_TO_QUEUE, ret_answer);
        return;
    case PLACE_RECEIVE:
        answer_by_topic(question, row, ROUTE_TO_RECEIVE, ret_answer);
        return;
    case PLACE_RECEIPTS:
        answer(ret_answer, ROUTE_TO_RECEIPTS, SPAN_ABSENT);
        return;
    case PLACE_ALL_MASTERS:
        answer_by_topic(question, row, ROUTE_TO_ALL_MASTERS, ret_answer);
        return;
    case PLACE_HANDLE:
        answer(ret_answer, ROUTE_TO_HANDLE, SPAN_ABSENT);
        return;
    case PLACE_QUEUES:
        answer_by_topic(question, row,
            span_is_absent(ext_fields_text(question->ext_fields, "queueId")) ? ROUTE_TO_ALL_QUEUES
                                                                             : ROUTE_TO_ONE_MASTER,
            ret_answer);
        return;
    case PLACE_RECEIPT:
    case PLACE_MESSAGE:
    case PLACE_ONE_MASTER:
        answer_by_topic(question, row, ROUTE_TO_ONE_MASTER, ret_answer);
        return;
    case PLACE_BROKER_OR_TOPIC:
        answer_by_sidecar_topic(question, row, ROUTE_TO_ANY_MASTER, ret_answer);
        return;
    case PLACE_IDENTITY:
    case PLACE_BROKER_ADMIN:
        ret_answer->target = ROUTE_IS_INVALID;
        (void)snprintf(ret_answer->reason, sizeof(ret_answer->reason),
            "code %d (%s) needs sidecar.addr or sidecar.broker", (int)row->code,
            code_text(row->code));
        return;
    }
}

/* A receipt or the id of a message names the broker. */
static void answer_by_what_names_it(const struct route_question *question,
    const struct code_row *row, struct span bname, struct route_answer *ret_answer)
{
    bool has_receipt = !span_is_empty(question->receipt);
    if (!span_is_empty(question->broker) || !span_is_empty(bname)) {
        (void)snprintf(ret_answer->reason, sizeof(ret_answer->reason),
            "%s names the broker: leave sidecar.broker and bname out",
            has_receipt ? "sidecar.receipt" : "sidecar.msgId");
        return;
    }
    if (has_receipt && !span_is_empty(question->msg_id)) {
        (void)snprintf(ret_answer->reason, sizeof(ret_answer->reason),
            "sidecar.receipt and sidecar.msgId both name the message: leave one of them out");
        return;
    }
    if (has_receipt) {
        answer(ret_answer, ROUTE_TO_RECEIPT, SPAN_ABSENT);
        return;
    }
    if (!row || row->place != PLACE_MESSAGE) {
        (void)snprintf(ret_answer->reason, sizeof(ret_answer->reason),
            "code %d takes no sidecar.msgId: VIEW_MESSAGE_BY_ID (33) and CONSUMER_SEND_MSG_BACK "
            "(36) do",
            (int)question->code);
        return;
    }
    /* With a topic the id may be a UNIQ_KEY, for which all its masters are asked. */
    struct span topic = ext_fields_text(question->ext_fields, "topic");
    bool is_searched = row->code == REQUEST_VIEW_MESSAGE_BY_ID && !span_is_empty(topic);
    answer(ret_answer, is_searched ? ROUTE_TO_ALL_MASTERS : ROUTE_TO_MESSAGE,
        is_searched ? topic : SPAN_ABSENT);
}

void router_decide(const struct route_question *question, struct route_answer *ret_answer)
{
    int32_t code = question->code;
    ret_answer->target = ROUTE_IS_INVALID;
    ret_answer->name = SPAN_ABSENT;
    ret_answer->reason[0] = '\0';
    if (code >= SIDECAR_CODE_FIRST && code <= SIDECAR_CODE_LAST) {
        answer(ret_answer, ROUTE_TO_DAEMON, SPAN_ABSENT);
        return;
    }
    const struct code_row *row = code_row_find(code);
    bool needs_admin =
        row && (row->place == PLACE_NAMESERVER_WRITE || row->place == PLACE_BROKER_ADMIN);
    if (needs_admin && !question->is_admin) {
        ret_answer->target = ROUTE_IS_FORBIDDEN;
        (void)snprintf(ret_answer->reason, sizeof(ret_answer->reason),
            "code %d (%s) needs the admin role", (int)code, code_text(code));
        return;
    }
    if (row && row->place == PLACE_IDENTITY) {
        /* Two members on one connection overwrite each other at the broker. */
        answer(ret_answer, ROUTE_TO_CONTROL, SPAN_ABSENT);
        return;
    }
    if (!span_is_empty(question->addr)) {
        if (span_equals(question->addr, SPAN("nameserver"))) {
            answer(ret_answer, ROUTE_TO_NAMESERVER, SPAN_ABSENT);
        } else {
            answer(ret_answer, ROUTE_TO_ADDRESS, question->addr);
        }
        return;
    }
    struct span bname = ext_fields_text(question->ext_fields, "bname");
    if (!span_is_empty(question->receipt) || !span_is_empty(question->msg_id)) {
        answer_by_what_names_it(question, row, bname, ret_answer);
        return;
    }
    if (!span_is_empty(question->broker) || !span_is_empty(bname)) {
        answer(ret_answer, ROUTE_TO_BROKER,
            span_is_empty(question->broker) ? bname : question->broker);
        return;
    }
    if (row) {
        answer_by_place(question, row, ret_answer);
        return;
    }
    (void)snprintf(ret_answer->reason, sizeof(ret_answer->reason),
        "code %d needs sidecar.addr or sidecar.broker", (int)code);
}

bool router_is_long_poll(int32_t code)
{
    switch (code) {
    case REQUEST_PULL_MESSAGE:
    case REQUEST_LITE_PULL_MESSAGE:
    case REQUEST_POP_MESSAGE:
    case REQUEST_NOTIFICATION:
        return true;
    default:
        return false;
    }
}

bool router_is_read(int32_t code)
{
    const struct code_row *row = code_row_find(code);
    return row && row->is_read;
}
