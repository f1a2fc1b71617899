#include "daemon/completion/tap.h"

#include "daemon/completion/invoke.h"
#include "daemon/loop/net_event.h"
#include "protocol/code.h"
#include "protocol/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAP_FIELDS     24
#define TAP_REMARK_MAX 256
#define NUMBER_SIZE    24
#define TAP_LINE_ROOM  2048 /* what a line takes at most, bodies aside */

/* One request, from when it came on. What it points to may be gone when it ends: all is copied. */
struct tap_record {
    uint64_t tap_ids[TAPS_MAX]; /* who may see it */
    size_t n_taps;
    uint64_t began_us;
    uid_t uid;
    pid_t pid;
    bool is_known; /* uid and pid are */
    char unit[CGROUP_UNIT_SIZE];
    char topic[TAP_TOPIC_MAX + 1];
    char group[TAP_TOPIC_MAX + 1];
    char remark[TAP_REMARK_MAX];
    const char *outcome; /* NULL: it has been neither answered nor told a failure */
    int32_t answer_code;
    size_t n_request; /* of its body */
    size_t n_answer;
    /* the beginnings of both bodies, one behind the other */
    uint32_t n_body;
    uint32_t n_request_shown;
    uint32_t n_answer_shown;
    char shown[];
};

static const char *const outcome_words[] = { "answered", "refused", "sent", "left", "failed" };

void taps_init(struct taps *taps)
{
    TAILQ_INIT(&taps->list);
}

int tap_start(struct taps *taps, struct tap **tap, struct session *session,
    enum serialize_type serialize_type, const struct tap_filter *filter)
{
    if (!*tap && taps->n == TAPS_MAX) {
        return -EBUSY;
    }
    if (!*tap) {
        struct tap *made = calloc(1, sizeof(*made));
        if (!made) {
            return -ENOMEM;
        }
        made->id = ++taps->next_id;
        made->session = session;
        TAILQ_INSERT_TAIL(&taps->list, made, link);
        taps->n++;
        *tap = made;
    }
    (*tap)->serialize_type = serialize_type;
    (*tap)->filter = *filter;
    return 0;
}

struct tap *tap_stop(struct taps *taps, struct tap *tap)
{
    if (tap) {
        TAILQ_REMOVE(&taps->list, tap, link);
        taps->n--;
        free(tap);
    }
    return NULL;
}

bool tap_outcome_is_known(struct span outcome)
{
    for (size_t i = 0; i < sizeof(outcome_words) / sizeof(outcome_words[0]); i++) {
        if (span_equals_text(outcome, outcome_words[i])) {
            return true;
        }
    }
    for (unsigned failure = 0; failure < FAILURES; failure++) {
        if (span_equals_text(outcome, failure_name((enum failure)failure))) {
            return true;
        }
    }
    return false;
}

/* --- a request comes --- */

/* The first of these fields that the request has. */
static struct span field_of(
    const struct remoting_command *command, const char *const *names, size_t n)
{
    struct span value = SPAN_ABSENT;
    for (size_t i = 0; i < n && span_is_absent(value); i++) {
        value = ext_fields_get(&command->ext_fields, span_of(names[i]));
    }
    return value;
}

/* Sends in their short form have one-letter names; other commands have other meanings for them. */
static bool has_short_names(int32_t code)
{
    return code == REQUEST_SEND_MESSAGE_V2 || code == REQUEST_SEND_BATCH_MESSAGE ||
           code == REQUEST_SEND_REPLY_MESSAGE_V2;
}

static struct span topic_of(const struct remoting_command *command)
{
    static const char *const names[] = { "topic", "sidecar.topic" };
    static const char *const short_names[] = { "b" };
    return has_short_names(command->code) ? field_of(command, short_names, 1)
                                          : field_of(command, names, 2);
}

static struct span group_of(const struct remoting_command *command)
{
    static const char *const names[] = { "consumerGroup", "producerGroup", "group" };
    static const char *const short_names[] = { "a" };
    return has_short_names(command->code) ? field_of(command, short_names, 1)
                                          : field_of(command, names, 3);
}

/* Cut where it does not fit. */
static void copy_text(char *dst, size_t size, struct span text)
{
    const struct span cut = utf8_cut(text, size - 1);
    if (cut.n > 0) {
        memcpy(dst, cut.data, cut.n);
    }
    dst[cut.n] = '\0';
}

static bool may_see(const struct tap *tap, const struct session *session, struct span topic)
{
    const struct tap_filter *filter = &tap->filter;
    const struct role *role = tap->session->role;
    /* Others of one's user may have a role that sees more. */
    return session_may_see(tap->session, session) && (role->is_admin || role == session->role) &&
           (filter->session_id == 0 || filter->session_id == session->id) &&
           (filter->topic[0] == '\0' || span_equals_text(topic, filter->topic));
}

/* Nothing is copied and computed for who does not read: what comes meanwhile is lost to it. */
static bool is_full(const struct tap *tap)
{
    return tap->session->transport.output.size + TAP_LINE_ROOM + 2 * (size_t)tap->filter.n_body >
           NET_EVENT_BUFFER;
}

/* Whether one more may be looked at in this second. */
static bool has_budget(struct taps *taps, uint64_t now_ms)
{
    const uint64_t second = now_ms / 1000;
    if (taps->second != second) {
        taps->second = second;
        taps->n_in_second = 0;
    }
    if (taps->n_in_second >= TAP_REQUESTS_A_SECOND || taps->n_records >= TAP_RECORDS_MAX) {
        return false;
    }
    taps->n_in_second++;
    return true;
}

static struct tap_record *record_new(const struct session *session,
    const struct remoting_command *command, struct span topic, uint32_t n_body)
{
    struct tap_record *record = calloc(1, sizeof(*record) + 2 * (size_t)n_body);
    if (!record) {
        return NULL;
    }
    record->began_us = loop_clock_us();
    record->is_known = session->peer.is_known;
    record->uid = session->peer.uid;
    record->pid = session->peer.pid;
    copy_text(record->unit, sizeof(record->unit), span_of(session->peer.unit));
    copy_text(record->topic, sizeof(record->topic), topic);
    copy_text(record->group, sizeof(record->group), group_of(command));
    record->n_request = command->body.n;
    record->n_body = n_body;
    record->n_request_shown = command->body.n < n_body ? (uint32_t)command->body.n : n_body;
    if (record->n_request_shown > 0) {
        memcpy(record->shown, command->body.data, record->n_request_shown);
    }
    return record;
}

void tap_begin(struct invocation *invocation, const struct session *session,
    const struct remoting_command *command)
{
    struct taps *taps = &invocation->invoker->taps;
    const struct span topic = topic_of(command);
    struct tap *tap, *seeing[TAPS_MAX];
    size_t n = 0;
    uint32_t n_body = 0;
    TAILQ_FOREACH (tap, &taps->list, link) {
        if (!may_see(tap, session, topic)) {
            continue;
        }
        if (is_full(tap)) {
            tap->n_dropped++;
        } else {
            n_body = tap->filter.n_body > n_body ? tap->filter.n_body : n_body;
            seeing[n++] = tap;
        }
    }
    if (n == 0) {
        return;
    }
    struct tap_record *record = has_budget(taps, invocation->started_ms)
                                    ? record_new(session, command, topic, n_body)
                                    : NULL;
    for (size_t i = 0; i < n; i++) {
        if (record) {
            record->tap_ids[record->n_taps++] = seeing[i]->id;
        } else {
            seeing[i]->n_dropped++;
        }
    }
    taps->n_records += record != NULL;
    invocation->tap_record = record;
}

/* --- it ends --- */

void tap_answered(struct invocation *invocation, const struct remoting_command *response)
{
    struct tap_record *record = invocation->tap_record;
    record->outcome = response->code == RESPONSE_SUCCESS ? "answered" : "refused";
    record->answer_code = response->code;
    record->n_answer = response->body.n;
    copy_text(record->remark, sizeof(record->remark), response->remark);
    record->n_answer_shown =
        response->body.n < record->n_body ? (uint32_t)response->body.n : record->n_body;
    if (record->n_answer_shown > 0) {
        memcpy(
            record->shown + record->n_request_shown, response->body.data, record->n_answer_shown);
    }
}

void tap_failed(struct invocation *invocation, const struct failure_report *report)
{
    struct tap_record *record = invocation->tap_record;
    record->outcome = failure_name(report->failure);
    record->answer_code = failure_code(report->failure);
    copy_text(record->remark, sizeof(record->remark), span_of(report->cause));
}

static bool record_is_seen_by(const struct tap_record *record, const struct tap *tap)
{
    for (size_t i = 0; i < record->n_taps; i++) {
        if (record->tap_ids[i] == tap->id) {
            return true;
        }
    }
    return false;
}

static bool passes(
    const struct tap_filter *filter, const struct invocation *invocation, const char *outcome)
{
    const bool is_well = strcmp(outcome, "answered") == 0 || strcmp(outcome, "sent") == 0;
    return (filter->code == 0 || filter->code == invocation->code) &&
           (filter->address[0] == '\0' || strcmp(filter->address, invocation->address) == 0) &&
           (filter->outcome[0] == '\0' || strcmp(filter->outcome, outcome) == 0 ||
               (strcmp(filter->outcome, "failed") == 0 && !is_well));
}

/* A request of ours that is told, with the texts of its fields. */
struct tap_line {
    struct remoting_command command;
    struct ext_field fields[TAP_FIELDS];
    char numbers[TAP_FIELDS][NUMBER_SIZE];
    char body[2 * TAP_BODY_MAX];
};

static void add_text(struct tap_line *line, const char *name, const char *text)
{
    if (text && text[0]) {
        (void)ext_fields_add(&line->command.ext_fields, span_of(name), span_of(text));
    }
}

static void add_number(struct tap_line *line, const char *name, int64_t number)
{
    char *room = line->numbers[line->command.ext_fields.n];
    (void)snprintf(room, NUMBER_SIZE, "%" PRId64, number);
    add_text(line, name, room);
}

static void line_fill(struct tap_line *line, const struct tap_record *record,
    const struct invocation *invocation, const char *outcome)
{
    line->command = (struct remoting_command){
        .code = SIDECAR_TAP,
        .version = REMOTING_VERSION,
        .flag = REMOTING_FLAG_ONEWAY,
        .language = LANGUAGE_CPP,
        .has_ext_fields = true,
    };
    ext_fields_init(&line->command.ext_fields, line->fields, TAP_FIELDS);
    add_number(line, "time", wall_clock_ms());
    add_number(line, "request", (int64_t)invocation->id);
    add_number(line, "session", (int64_t)invocation->session_id);
    if (record->is_known) {
        add_number(line, "uid", record->uid);
        add_number(line, "pid", record->pid);
    }
    add_text(line, "unit", record->unit);
    add_number(line, "code", invocation->code);
    add_text(line, "name", request_code_name(invocation->code));
    add_text(line, "topic", record->topic);
    add_text(line, "group", record->group);
    add_text(line, "addr", invocation->address);
    add_text(line, "outcome", outcome);
    if (record->outcome) {
        add_number(line, "answerCode", record->answer_code);
    }
    add_text(line, "remark", record->remark);
    add_number(line, "micros", (int64_t)(loop_clock_us() - record->began_us));
    add_number(line, "requestBytes", (int64_t)record->n_request);
    add_number(line, "answerBytes", (int64_t)record->n_answer);
}

static uint32_t at_most(uint32_t n, uint32_t limit)
{
    return n < limit ? n : limit;
}

/* The beginnings of both bodies, as long as this tap wants them. */
static void line_add_bodies(struct tap_line *line, const struct tap_record *record, uint32_t n_body)
{
    const uint32_t n_request = at_most(record->n_request_shown, n_body);
    const uint32_t n_answer = at_most(record->n_answer_shown, n_body);
    memcpy(line->body, record->shown, n_request);
    memcpy(line->body + n_request, record->shown + record->n_request_shown, n_answer);
    line->command.body = (struct span){ line->body, (size_t)n_request + n_answer };
    add_number(line, "requestShown", n_request);
    add_number(line, "answerShown", n_answer);
}

static void record_tell(struct taps *taps, const struct tap_record *record,
    const struct invocation *invocation, const char *outcome)
{
    UNINITIALIZED struct tap_line line;
    line_fill(&line, record, invocation, outcome);
    const size_t n_fields = line.command.ext_fields.n;
    struct tap *tap;
    TAILQ_FOREACH (tap, &taps->list, link) {
        if (!record_is_seen_by(record, tap) || !passes(&tap->filter, invocation, outcome)) {
            continue;
        }
        if (tap->filter.n_body > 0) {
            line_add_bodies(&line, record, tap->filter.n_body);
        }
        net_event_write(
            &tap->session->transport, tap->serialize_type, &line.command, &tap->n_dropped);
        line.command.ext_fields.n = n_fields;
        line.command.body = SPAN_ABSENT;
    }
}

void tap_ended(struct invocation *invocation)
{
    struct taps *taps = &invocation->invoker->taps;
    struct tap_record *record = invocation->tap_record;
    const char *outcome = record->outcome         ? record->outcome
                          : invocation->is_oneway ? "sent"
                                                  : "left";
    record_tell(taps, record, invocation, outcome);
    invocation->tap_record = NULL;
    taps->n_records--;
    free(record);
}
