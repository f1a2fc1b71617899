/*
 * PULL_MESSAGE and LITE_PULL_MESSAGE with the subscription inside, so that the broker needs no
 * heartbeat to know it: what the caller left out is added, then the command goes to the master of
 * its queue as one that passes through (forward.c).
 */
#include "daemon/completion/invoke.h"

#include "protocol/code.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* PullSysFlag.java; the third is in invoke.h */
#define PULL_SYSFLAG_COMMIT_OFFSET 0x1
#define PULL_SYSFLAG_SUBSCRIPTION  0x4
#define PULL_SYSFLAG_CLASS_FILTER  0x8

/* The values that are added; tags as in complete_receive.c. */
struct pull_texts {
    struct span tags;
    char sys_flag[16], suspend_timeout[24], max_messages[16];
};

static bool pull_number(
    struct invocation *invocation, const char *key, int64_t absent, int64_t *ret_number)
{
    struct span text = ext_fields_get(&invocation->request.kept.command.ext_fields, span_of(key));
    *ret_number = absent;
    if (span_is_absent(text) || ext_value_parse_i64(text, 0, INT64_MAX, ret_number)) {
        return true;
    }
    invocation_fail(invocation, FAILURE_INVALID, false,
        "%s is '%.*s': a number from 0 on is accepted", key, (int)(text.n < 32 ? text.n : 32),
        text.data);
    return false;
}

static bool has_needed_fields(struct invocation *invocation)
{
    static const char *const needed[] = { "topic", "consumerGroup", "queueId", "queueOffset" };
    const struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (span_is_empty(ext_fields_get(fields, span_of(needed[i])))) {
            invocation_fail(invocation, FAILURE_INVALID, false,
                "PULL_MESSAGE needs the ext fields topic, consumerGroup, queueId and queueOffset: "
                "%s is missing",
                needed[i]);
            return false;
        }
    }
    return true;
}

/*
 * A shorter deadline shortens the poll. Brokers look at parked pulls every few seconds, and one
 * that is answered too late is a failure where it should say that there is nothing.
 */
static void suspend_shorten(struct invocation *invocation, int64_t *suspend_ms, int64_t *sys_flag)
{
    uint64_t left_ms = clock_until(invocation->invoker->loop->now_ms, invocation->deadline_ms);
    int64_t most_ms = left_ms > LONG_POLL_GRACE_MS ? (int64_t)(left_ms - LONG_POLL_GRACE_MS) : 0;
    if ((*sys_flag & PULL_SYSFLAG_SUSPEND) && *suspend_ms > most_ms) {
        *suspend_ms = most_ms;
    }
    if (*suspend_ms == 0) {
        *sys_flag &= ~(int64_t)PULL_SYSFLAG_SUSPEND;
    }
}

static bool fields_complete(struct invocation *invocation, struct pull_texts *texts)
{
    struct ext_fields *fields = &invocation->request.kept.command.ext_fields;
    int64_t suspend_ms, commit_offset, sys_flag;
    if (!pull_number(invocation, "suspendTimeoutMillis", 0, &suspend_ms) ||
        !pull_number(invocation, "commitOffset", -1, &commit_offset)) {
        return false;
    }
    int64_t wanted_flag = PULL_SYSFLAG_SUBSCRIPTION | (suspend_ms > 0 ? PULL_SYSFLAG_SUSPEND : 0) |
                          (commit_offset >= 0 ? PULL_SYSFLAG_COMMIT_OFFSET : 0);
    if (!pull_number(invocation, "sysFlag", wanted_flag, &sys_flag)) {
        return false;
    }
    suspend_shorten(invocation, &suspend_ms, &sys_flag);
    (void)snprintf(texts->sys_flag, sizeof(texts->sys_flag), "%" PRId32, (int32_t)sys_flag);
    (void)snprintf(texts->suspend_timeout, sizeof(texts->suspend_timeout), "%" PRId64, suspend_ms);
    (void)snprintf(texts->max_messages, sizeof(texts->max_messages), "%u",
        invocation->invoker->config->consume.max_messages);
    (void)ext_fields_set(fields, SPAN("sysFlag"), span_of(texts->sys_flag));
    (void)ext_fields_set(fields, SPAN("suspendTimeoutMillis"), span_of(texts->suspend_timeout));
    invocation_field_default(invocation, SPAN("commitOffset"), SPAN("0"));
    invocation_field_default(invocation, SPAN("maxMsgNums"), span_of(texts->max_messages));
    invocation_field_default(invocation, SPAN("subVersion"), SPAN("0"));
    if (sys_flag & PULL_SYSFLAG_SUBSCRIPTION) {
        invocation_field_default(invocation, SPAN("subscription"), SPAN("*"));
        invocation_field_default(invocation, SPAN("expressionType"), SPAN("TAG"));
    }
    struct span expression = ext_fields_text(fields, "subscription");
    bool is_looked_at =
        (sys_flag & PULL_SYSFLAG_SUBSCRIPTION) && !(sys_flag & PULL_SYSFLAG_CLASS_FILTER) &&
        message_filter_has_tags(expression, ext_fields_text(fields, "expressionType"));
    texts->tags = is_looked_at ? expression : SPAN_ABSENT;
    return true;
}

static bool has_tag(void *context, const struct message *message)
{
    const struct pull_texts *texts = context;
    return message_filter_wants(texts->tags, message);
}

void complete_pull_filter(struct invocation *invocation, struct remoting_command *response,
    const struct command_source *source)
{
    struct pull_texts *texts = invocation->state;
    if (texts && !span_is_absent(texts->tags) && response->code == RESPONSE_SUCCESS) {
        response_filter(response, source, has_tag, texts);
    }
}

/* False: the invocation has failed. */
static bool pull_complete(struct invocation *invocation)
{
    struct pull_texts *texts = calloc(1, sizeof(*texts));
    if (!texts) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return false;
    }
    if (!has_needed_fields(invocation) || !fields_complete(invocation, texts)) {
        free(texts);
        return false;
    }
    invocation->state = texts; /* to be freed by the steps of forward.c */
    return true;
}

void complete_pull_at_broker_start(struct invocation *invocation)
{
    if (pull_complete(invocation)) {
        const struct command_source source = invocation_kept_source(invocation);
        forward_to_broker(invocation, &invocation->request.kept.command, &source);
    }
}

void complete_pull_at_master_start(struct invocation *invocation)
{
    if (pull_complete(invocation)) {
        forward_to_one_master(invocation);
    }
}
