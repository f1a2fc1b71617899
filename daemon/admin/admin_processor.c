/*
 * REGISTER_PROCESSOR and UNREGISTER_PROCESSOR: which requests of brokers the caller wants to answer.
 * Whoever wants to be asked about a group's transactions speaks for that producer group, too: a
 * broker asks only those whose heartbeats name it.
 */
#include "daemon/admin/admin.h"

#include "daemon/core/permission.h"
#include "daemon/completion/processor.h"
#include "protocol/code.h"
#include "protocol/rocketmq_name.h"
#include "protocol/utf8.h"

#include <string.h>

#define CODES_MAX  16
#define GROUPS_MAX 256

/* What brokers ask of clients. */
static const int32_t codes_known[] = {
    REQUEST_CHECK_TRANSACTION_STATE,
    REQUEST_NOTIFY_CONSUMER_IDS_CHANGED,
    REQUEST_RESET_CONSUMER_CLIENT_OFFSET,
    REQUEST_GET_CONSUMER_STATUS_FROM_CLIENT,
    REQUEST_GET_CONSUMER_RUNNING_INFO,
    REQUEST_CONSUME_MESSAGE_DIRECTLY,
    REQUEST_PUSH_REPLY_MESSAGE_TO_CLIENT,
};

/* What a request names. No group means every group. */
struct wanted {
    int32_t codes[CODES_MAX];
    size_t n_codes;
    struct span groups[GROUPS_MAX];
    size_t n_groups;
};

static struct span item_next(struct span *rest)
{
    const char *comma = rest->n > 0 ? memchr(rest->data, ',', rest->n) : NULL;
    struct span item = *rest;
    if (!comma) {
        *rest = SPAN_ABSENT;
        return item;
    }
    item.n = (size_t)(comma - rest->data);
    *rest = (struct span){ comma + 1, rest->n - item.n - 1 };
    return item;
}

static bool code_read(struct invocation *invocation, struct span item, int32_t *ret_code)
{
    for (size_t i = 0; i < sizeof(codes_known) / sizeof(codes_known[0]); i++) {
        if (request_code_from_text(item, ret_code) && *ret_code == codes_known[i]) {
            return true;
        }
    }
    struct span shown = utf8_cut(item, 64);
    invocation_fail(invocation, FAILURE_INVALID, false,
        "codes names '%.*s': brokers ask clients 39, 40, 220, 221, 307, 309 and 326, separated by "
        "commas",
        SPAN_ARGS(shown));
    return false;
}

static bool codes_read(struct invocation *invocation, struct span text, struct wanted *wanted)
{
    while (!span_is_absent(text)) {
        if (wanted->n_codes == CODES_MAX) {
            invocation_fail(
                invocation, FAILURE_INVALID, false, "codes names more than %d", CODES_MAX);
            return false;
        }
        if (!code_read(invocation, item_next(&text), &wanted->codes[wanted->n_codes])) {
            return false;
        }
        wanted->n_codes++;
    }
    return true;
}

static bool groups_read(struct invocation *invocation, struct span text, struct wanted *wanted)
{
    while (!span_is_absent(text)) {
        struct span group = item_next(&text);
        if (wanted->n_groups == GROUPS_MAX || !rocketmq_name_is_valid(group, ROCKETMQ_NAME_MAX)) {
            struct span shown = utf8_cut(group, 64);
            invocation_fail(invocation, FAILURE_INVALID, false,
                "groups names '%.*s': up to %d names of a-z, A-Z, 0-9, %%, |, _ and -, separated "
                "by "
                "commas, are accepted",
                SPAN_ARGS(shown), GROUPS_MAX);
            return false;
        }
        wanted->groups[wanted->n_groups++] = group;
    }
    return true;
}

/* Groups without a code would be nothing, and so would a code that needs one. */
static bool wanted_read(
    struct invocation *invocation, const struct ext_fields *fields, struct wanted *wanted)
{
    struct span codes = ext_fields_text(fields, "codes");
    struct span groups = ext_fields_text(fields, "groups");
    *wanted = (struct wanted){ .n_codes = 0 };
    if (!codes_read(invocation, span_is_absent(codes) ? SPAN("") : codes, wanted) ||
        !groups_read(invocation, span_is_empty(groups) ? SPAN_ABSENT : groups, wanted)) {
        return false;
    }
    for (size_t i = 0; i < wanted->n_codes; i++) {
        bool is_check = wanted->codes[i] == REQUEST_CHECK_TRANSACTION_STATE;
        bool is_reply = wanted->codes[i] == REQUEST_PUSH_REPLY_MESSAGE_TO_CLIENT;
        if (is_check && wanted->n_groups == 0) {
            invocation_fail(invocation, FAILURE_INVALID, false,
                "39 (CHECK_TRANSACTION_STATE) needs groups: the producer groups whose half "
                "messages "
                "this caller can decide about");
            return false;
        }
        if (is_reply && wanted->n_groups > 0) {
            invocation_fail(invocation, FAILURE_INVALID, false,
                "326 (PUSH_REPLY_MESSAGE_TO_CLIENT) names no group: register for it without "
                "groups");
            return false;
        }
    }
    return true;
}

/* Who is asked about a group hears what its messages say. */
static bool wanted_is_permitted(struct invocation *invocation, const struct wanted *wanted)
{
    struct failure_report report;
    size_t n_groups = wanted->n_groups > 0 ? wanted->n_groups : 1;
    size_t n = invocation->role->may_everything ? 0 : wanted->n_codes * n_groups;
    for (size_t i = 0; i < n; i++) {
        struct span group = wanted->n_groups > 0 ? wanted->groups[i % n_groups] : SPAN_ABSENT;
        if (!permission_to_be_asked(
                invocation->role, wanted->codes[i / n_groups], group, &report)) {
            invocation_fail_report(invocation, &report);
            return false;
        }
    }
    return true;
}

static json_t *wanted_json(const struct invocation *invocation, const struct wanted *wanted)
{
    json_t *codes = json_array();
    json_t *groups = json_array();
    for (size_t i = 0; i < wanted->n_codes; i++) {
        json_array_append_new(codes, json_integer(wanted->codes[i]));
    }
    for (size_t i = 0; i < wanted->n_groups; i++) {
        json_array_append_new(groups, json_stringn(wanted->groups[i].data, wanted->groups[i].n));
    }
    return json_pack("{s:o, s:o, s:s}", "codes", codes, "groups", groups, "clientId",
        identity_client_id(invocation->invoker->identity));
}

/* 1; 0 where the caller is registered already; otherwise report says why not, and it is not. */
static int register_one(
    struct invocation *invocation, int32_t code, struct span group, struct failure_report *report)
{
    struct invoker *invoker = invocation->invoker;
    struct session *session = invocation->session;
    int r = processor_register(
        invoker->processors, session, code, group, invocation->serialize_type, report);
    if (r < 0 || code != REQUEST_CHECK_TRANSACTION_STATE) {
        return r;
    }
    int joined = identity_join(invoker->identity, session->id, group, GROUP_BY_PROCESSOR, report);
    if (joined < 0 && r > 0) {
        (void)processor_unregister(invoker->processors, session, code, group);
    }
    return joined < 0 ? joined : r;
}

static void unregister_one(struct invocation *invocation, int32_t code, struct span group)
{
    struct invoker *invoker = invocation->invoker;
    if (processor_unregister(invoker->processors, invocation->session, code, group) &&
        code == REQUEST_CHECK_TRANSACTION_STATE) {
        identity_leave(invoker->identity, invocation->session->id, group, GROUP_BY_PROCESSOR);
    }
}

void admin_register_processor(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)source;
    struct wanted wanted;
    struct failure_report report;
    if (!wanted_read(invocation, &command->ext_fields, &wanted)) {
        return;
    }
    if (!wanted_is_permitted(invocation, &wanted)) {
        return;
    }
    bool is_new[CODES_MAX * GROUPS_MAX];
    size_t n_groups = wanted.n_groups > 0 ? wanted.n_groups : 1; /* no group is every group */
    for (size_t i = 0; i < wanted.n_codes * n_groups; i++) {
        int r = register_one(
            invocation, wanted.codes[i / n_groups], wanted.groups[i % n_groups], &report);
        is_new[i] = r > 0;
        if (r < 0) {
            /* All of it or nothing: who was told of a failure is asked nothing. */
            while (i-- > 0) {
                if (is_new[i]) {
                    unregister_one(
                        invocation, wanted.codes[i / n_groups], wanted.groups[i % n_groups]);
                }
            }
            invocation_fail_report(invocation, &report);
            return;
        }
    }
    admin_answer_json(invocation, wanted_json(invocation, &wanted));
}

void admin_unregister_processor(struct invocation *invocation,
    const struct remoting_command *command, const struct command_source *source)
{
    (void)source;
    struct wanted wanted;
    if (!wanted_read(invocation, &command->ext_fields, &wanted)) {
        return;
    }
    size_t n_groups = wanted.n_groups > 0 ? wanted.n_groups : 1;
    for (size_t i = 0; i < wanted.n_codes * n_groups; i++) {
        unregister_one(invocation, wanted.codes[i / n_groups], wanted.groups[i % n_groups]);
    }
    admin_answer_json(invocation, wanted_json(invocation, &wanted));
}
