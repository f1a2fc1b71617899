#include "client/explanation_cause.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/output.h"

#define REPORT_ROWS(explanation, key, i, row)                                                      \
    json_array_foreach(json_object_get((explanation)->report, key), i, row)

static char *format_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* NULL without memory, which json_pack() takes for null. */
static char *format_text(const char *format, ...)
{
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    const int n = vasprintf(&text, format, arguments);
    va_end(arguments);
    return n < 0 ? NULL : text;
}

/* Takes over both texts. */
static void add_finding(
    const struct explanation *explanation, const char *cause, char *text, char *command)
{
    json_array_append_new(json_object_get(explanation->report, "findings"),
        json_pack("{s:s, s:o, s:o}", "cause", cause, "text", json_text(span_of(text)), "command",
            json_text(span_of(command))));
    free(text);
    free(command);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static bool is_false(const json_t *object, const char *key)
{
    return json_is_false(json_object_get(object, key));
}

/* --- the topic --- */

struct nameserver_counts {
    size_t n_knowing; /* a route */
    size_t n_without; /* "no such topic" */
    size_t n_silent;
    const char *without; /* one of them */
    const char *different;
};

static struct nameserver_counts count_nameservers(const struct explanation *explanation)
{
    struct nameserver_counts counts = { 0 };
    size_t i;
    const json_t *row;
    REPORT_ROWS(explanation, "nameservers", i, row)
    {
        counts.n_knowing += is_true(row, "knows");
        counts.n_without += is_false(row, "knows");
        counts.n_silent += !json_is_boolean(json_object_get(row, "knows"));
        counts.without = is_false(row, "knows") ? text_of(row, "addr") : counts.without;
        counts.different = is_true(row, "isDifferent") ? text_of(row, "addr") : counts.different;
    }
    return counts;
}

static void find_missing_topic(
    const struct explanation *explanation, const struct nameserver_counts *counts)
{
    const json_t *route = json_object_get(explanation->report, "route");
    const bool is_kept = json_is_string(json_object_get(route, "from"));
    if (counts->n_knowing == 0 && counts->n_without == 0 && !is_kept) {
        add_finding(explanation, "no-nameserver",
            format_text("no nameserver told of the topic %s, and the daemon keeps no route of it",
                explanation->topic),
            format_text("remotingctl show nameservers"));
    } else if (counts->n_knowing == 0 && counts->n_without > 0) {
        add_finding(explanation, "no-such-topic",
            format_text("the nameservers know no topic %s: make it, or look at its name",
                explanation->topic),
            format_text("remotingctl invoke UPDATE_AND_CREATE_TOPIC topic=%s defaultTopic=TBW102 "
                        "readQueueNums=4 writeQueueNums=4 perm=6 topicFilterType=SINGLE_TAG "
                        "topicSysFlag=0 order=false --broker BROKER",
                explanation->topic));
    }
}

static void find_stale_nameserver(
    const struct explanation *explanation, const struct nameserver_counts *counts)
{
    const json_t *route = json_object_get(explanation->report, "route");
    const struct span from = json_object_text(route, "from");
    if (span_equals(from, SPAN("daemon")) && counts->n_without == 0) {
        add_finding(explanation, "nameserver-stale",
            format_text("no nameserver answers: the daemon goes by a route that is %" PRId64
                        " s old, and hears of no change",
                json_object_number(route, "ageMillis") / 1000),
            format_text("remotingctl show nameservers"));
    } else if (counts->n_knowing > 0 && counts->n_without > 0) {
        add_finding(explanation, "nameserver-stale",
            format_text("nameserver %s knows no topic %s, others do: brokers have not registered "
                        "with it (they do so every 30 s), or it is cut off from them",
                counts->without, explanation->topic),
            format_text("remotingctl invoke GET_BROKER_CLUSTER_INFO --addr %s", counts->without));
    } else if (counts->different) {
        add_finding(explanation, "nameserver-stale",
            format_text("nameserver %s tells another route than the others: one of them has not "
                        "heard of a change",
                counts->different),
            format_text("remotingctl invoke GET_ROUTEINFO_BY_TOPIC topic=%s --addr %s",
                explanation->topic, counts->different));
    }
}

static void find_brokers_down(const struct explanation *explanation)
{
    size_t i;
    const json_t *row;
    REPORT_ROWS(explanation, "brokers", i, row)
    {
        if (!is_false(row, "reachable")) {
            continue;
        }
        if (!json_is_string(json_object_get(row, "addr"))) {
            add_finding(explanation, "broker-down",
                format_text("broker %s has no master", text_of(row, "name")),
                format_text("remotingctl route %s", explanation->topic));
        } else {
            add_finding(explanation, "broker-down",
                format_text("broker %s cannot be reached at %s%s: %s", text_of(row, "name"),
                    text_of(row, "addr"),
                    is_false(row, "isInRoute") ? " (it was in a route not long ago)" : "",
                    text_of(row, "cause")),
                format_text("remotingctl reachable %s", text_of(row, "addr")));
        }
    }
}

/* Of a topic that is there: which brokers do not let it be written to, or read. */
static void find_permission(const struct explanation *explanation, const char *cause,
    int64_t permission, const char *queues, const char *verb)
{
    size_t i, n = 0, n_refusing = 0;
    const json_t *row, *refusing = NULL;
    REPORT_ROWS(explanation, "brokers", i, row)
    {
        if (!json_is_integer(json_object_get(row, "perm"))) {
            continue;
        }
        n++;
        if (!(json_object_number(row, "perm") & permission) ||
            json_object_number(row, queues) == 0) {
            n_refusing++;
            refusing = row;
        }
    }
    if (!refusing) {
        return;
    }
    add_finding(explanation, cause,
        format_text("%s of its %zu brokers lets the topic %s be %s (permission %" PRId64
                    " at %s, 2 is writing, 4 is reading)",
            n_refusing == n ? "none" : "not every one", n, explanation->topic, verb,
            json_object_number(refusing, "perm"), text_of(refusing, "name")),
        format_text("remotingctl invoke UPDATE_AND_CREATE_TOPIC topic=%s defaultTopic=TBW102 "
                    "readQueueNums=%" PRId64 " writeQueueNums=%" PRId64
                    " perm=6 topicFilterType=SINGLE_TAG topicSysFlag=0 order=false --broker %s",
            explanation->topic, json_object_number(refusing, "readQueues"),
            json_object_number(refusing, "writeQueues"), text_of(refusing, "name")));
}

/* --- groups and the message --- */

static void find_paused_groups(const struct explanation *explanation)
{
    size_t i;
    const json_t *row;
    REPORT_ROWS(explanation, "groups", i, row)
    {
        if (is_true(row, "isPaused")) {
            add_finding(explanation, "group-paused",
                format_text("group %s is paused at %s: its consumeEnable is false, and brokers "
                            "give it nothing",
                    text_of(row, "group"), text_of(row, "pausedAt")),
                format_text("remotingctl invoke GET_SUBSCRIPTIONGROUP_CONFIG group=%s --broker %s",
                    text_of(row, "group"), text_of(row, "pausedAt")));
        }
    }
}

/* The groups for which this became of the message. */
static void find_message(const struct explanation *explanation, const char *state,
    const char *cause, const char *sentence, const char *command, bool names_topic)
{
    size_t i;
    const json_t *row;
    REPORT_ROWS(explanation, "groups", i, row)
    {
        const char *group = text_of(row, "group");
        if (span_equals_text(json_object_text(row, "message"), state)) {
            add_finding(explanation, cause, format_text("group %s %s", group, sentence),
                names_topic
                    ? format_text("remotingctl %s %s %s", command, explanation->topic, group)
                    : format_text(
                          "remotingctl %s %s --id %s", command, group, explanation->message));
        }
    }
}

static void find_lost_message(const struct explanation *explanation)
{
    if (explanation->message &&
        json_array_size(json_object_get(explanation->report, "copies")) == 0 &&
        json_array_size(json_object_get(explanation->report, "brokers")) > 0) {
        add_finding(explanation, "message-not-found",
            format_text(
                "the message %s is not found in %s: it was not stored, is delayed or a half "
                "message still, or brokers have deleted it",
                explanation->message, explanation->topic),
            format_text("remotingctl offsets %s", explanation->topic));
    }
}

void explanation_find_causes(struct explanation *explanation)
{
    const struct nameserver_counts counts = count_nameservers(explanation);
    /* A topic that was there went with its brokers. */
    const json_t *route = json_object_get(explanation->report, "route");
    const bool was_there = json_is_array(json_object_get(route, "brokers")) &&
                           !span_equals(json_object_text(route, "state"), SPAN("absent"));
    if (!was_there) {
        find_missing_topic(explanation, &counts);
    }
    find_message(explanation, "dead-letter", "message-in-dead-letters",
        "gave the message up: it is a dead letter", "dlq show", false);
    find_brokers_down(explanation);
    if (was_there) {
        find_missing_topic(explanation, &counts);
    }
    find_permission(explanation, "no-write-permission", PERM_WRITE, "writeQueues", "written to");
    find_permission(explanation, "no-read-permission", PERM_READ, "readQueues", "read");
    find_paused_groups(explanation);
    find_message(explanation, "in-retry", "message-in-retry",
        "did not acknowledge the message: it waits in its retry topic to come again", "receive",
        true);
    find_stale_nameserver(explanation, &counts);
    find_lost_message(explanation);
    find_message(explanation, "waiting", "message-waiting",
        "has not come to the message yet: earlier ones wait in its queue, or nobody receives",
        "offsets", true);
}
