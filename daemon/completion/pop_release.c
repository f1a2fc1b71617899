#include "daemon/completion/pop_release.h"

#include "daemon/upstream/oneway.h"
#include "protocol/code.h"
#include "protocol/message.h"

#include <stdlib.h>
#include <string.h>

/* A POP brings at most 32: what a broker sends beyond that is not worth any work. */
#define RELEASE_MESSAGES_MAX 32

struct pop_release {
    struct pop_releases *releases;
    struct pending_request request;
    struct loop_reapable reapable;
    struct span address, broker_name, topic, group; /* in text */
    char text[];
};

static void on_reap(struct loop_reapable *reapable)
{
    free((char *)reapable - offsetof(struct pop_release, reapable));
}

static void release_end(struct pop_release *release)
{
    release->releases->n--;
    loop_reap(release->releases->context->loop, &release->reapable, on_reap);
}

void pop_release_message(
    struct pop_releases *releases, struct span address, const struct receipt *receipt)
{
    char texts[RECEIPT_COMMAND_TEXTS_MAX(RECEIPT_TEXT_MAX)];
    struct ext_field fields[RECEIPT_COMMAND_FIELDS + 1];
    struct remoting_command command = {
        .code = REQUEST_CHANGE_MESSAGE_INVISIBLETIME,
        .version = REMOTING_VERSION,
        .language = LANGUAGE_CPP,
    };
    ext_fields_init(&command.ext_fields, fields, RECEIPT_COMMAND_FIELDS + 1);
    if (receipt_command_fields(receipt, &command.ext_fields, texts, sizeof(texts)) == 0) {
        return;
    }
    (void)ext_fields_add(
        &command.ext_fields, SPAN("invisibleTime"), SPAN(POP_RELEASE_INVISIBLE_TEXT));
    releases->context->stats->pop_orphaned++;
    /* The connection is there, it has just brought the messages; else they come again by themselves. */
    oneway_send(releases->context, releases->pool, address, POOL_LONG_POLL, &command);
}

void pop_release_answer(struct pop_releases *releases, const struct remoting_command *response,
    struct span address, struct span broker_name, struct span topic, struct span group)
{
    struct receipt_pop_info info;
    size_t at = 0;
    bool is_readable =
        response->code == RESPONSE_SUCCESS && receipt_pop_info_read(&response->ext_fields, &info);
    for (size_t n = 0; is_readable && n < RELEASE_MESSAGES_MAX && at < response->body.n; n++) {
        struct message message;
        struct receipt receipt;
        size_t size;
        enum message_status status = message_decode(
            (const uint8_t *)response->body.data + at, response->body.n - at, &message, &size);
        if (size == 0) {
            break;
        }
        if (status == MESSAGE_OK &&
            receipt_from_pop(&info, &message, topic, group, broker_name, &receipt)) {
            pop_release_message(releases, address, &receipt);
        }
        at += size;
    }
}

static void on_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source)
{
    (void)source;
    struct pop_release *release =
        (struct pop_release *)(void *)((char *)request - offsetof(struct pop_release, request));
    pop_release_answer(release->releases, response, release->address, release->broker_name,
        release->topic, release->group);
    release_end(release);
}

static void on_failure(struct pending_request *request, const struct failure_report *report)
{
    (void)report;
    release_end(
        (struct pop_release *)(void *)((char *)request - offsetof(struct pop_release, request)));
}

static const struct pending_request_handler release_handler = {
    .on_response = on_response,
    .on_failure = on_failure,
};

static struct span text_copy(char **at, struct span text)
{
    char *copy = *at;
    memcpy(copy, text.data, text.n);
    *at += text.n;
    return (struct span){ copy, text.n };
}

void pop_release_take(struct pop_releases *releases, struct pending_request *request,
    struct span address, struct span broker_name, struct span topic, struct span group)
{
    if (releases->n >= POP_RELEASES_MAX) {
        return;
    }
    struct pop_release *release =
        calloc(1, sizeof(*release) + address.n + broker_name.n + topic.n + group.n);
    if (!release) {
        return;
    }
    char *at = release->text;
    release->releases = releases;
    release->address = text_copy(&at, address);
    release->broker_name = text_copy(&at, broker_name);
    release->topic = text_copy(&at, topic);
    release->group = text_copy(&at, group);
    pending_request_init(&release->request, &release_handler);
    release->request.fails_fast = true;
    release->request.deadline_ms =
        clock_after(releases->context->loop->now_ms, POP_RELEASE_WAIT_MS);
    releases->n++;
    pending_request_move(releases->context, request, &release->request);
}
