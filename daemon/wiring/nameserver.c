#include "daemon/wiring/nameserver.h"

#include "daemon/wiring/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct nameservers {
    struct upstream_context *context;
    struct upstream_pool *pool;
    char *addresses[CONFIG_ADDRESSES_MAX];
    size_t n;
    size_t current;
};

static void call_try(struct nameserver_call *call);

struct nameservers *nameservers_new(
    struct upstream_context *context, struct upstream_pool *pool, const struct config *config)
{
    struct nameservers *nameservers = calloc(1, sizeof(*nameservers));
    if (!nameservers) {
        return NULL;
    }
    nameservers->context = context;
    nameservers->pool = pool;
    for (size_t i = 0; i < config->nameserver.addresses.n; i++) {
        nameservers->addresses[i] = strdup(config->nameserver.addresses.items[i]);
        if (!nameservers->addresses[i]) {
            return nameservers_free(nameservers);
        }
        nameservers->n++;
    }
    /* Daemons that start together spread over the nameservers. */
    nameservers->current = nameservers->n > 0 ? loop_random(context->loop) % nameservers->n : 0;
    return nameservers;
}

struct nameservers *nameservers_free(struct nameservers *nameservers)
{
    if (nameservers) {
        for (size_t i = 0; i < nameservers->n; i++) {
            free(nameservers->addresses[i]);
        }
        free(nameservers);
    }
    return NULL;
}

bool nameservers_contain(const struct nameservers *nameservers, struct span address)
{
    for (size_t i = 0; i < nameservers->n; i++) {
        if (span_equals_text(address, nameservers->addresses[i])) {
            return true;
        }
    }
    return false;
}

const char *nameservers_current(const struct nameservers *nameservers)
{
    return nameservers->n > 0 ? nameservers->addresses[nameservers->current] : NULL;
}

static struct nameserver_call *call_of(struct pending_request *request)
{
    return (struct nameserver_call *)(void *)((char *)request -
                                              offsetof(struct nameserver_call, request));
}

static void on_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source)
{
    struct nameserver_call *call = call_of(request);
    call->handler->on_response(call, response, source);
}

static void on_sent(struct pending_request *request)
{
    struct nameserver_call *call = call_of(request);
    struct remoting_command nothing = { 0 };
    const struct command_source source = { 0 };
    call->handler->on_response(call, &nothing, &source);
}

/*
 * The failure of the last nameserver becomes the caller's; where none could be reached that is
 * no-nameserver.
 */
static void call_fail(struct nameserver_call *call, const struct failure_report *report)
{
    struct failure_report last = *report;
    if (report->failure == FAILURE_UNREACHABLE ||
        (report->failure == FAILURE_CONNECTION_LOST && call->is_read)) {
        failure_set(&last, FAILURE_NO_NAMESERVER, report->maybe_sent && !call->is_read,
            "none of %zu nameservers answers; the last one: %s", call->nameservers->n,
            report->cause);
    }
    call->handler->on_failure(call, &last);
}

static void on_failure(struct pending_request *request, const struct failure_report *report)
{
    struct nameserver_call *call = call_of(request);
    struct nameservers *nameservers = call->nameservers;
    if (call->at == nameservers->current && nameservers->n > 1) {
        nameservers->current = (nameservers->current + 1) % nameservers->n;
        char quoted[LOG_QUOTE_SIZE];
        log_warning("nameserver=%s given up for=%s cause=%s", nameservers->addresses[call->at],
            nameservers->addresses[nameservers->current],
            log_quote(report->cause, strlen(report->cause), quoted));
    }
    bool may_repeat = call->is_read || !report->maybe_sent;
    bool has_time = nameservers->context->loop->now_ms < call->deadline_ms;
    if (call->n_tried < nameservers->n && may_repeat && has_time) {
        call->at = (call->at + 1) % nameservers->n;
        call_try(call);
        return;
    }
    call_fail(call, report);
}

static const struct pending_request_handler request_handler = {
    .on_response = on_response,
    .on_sent = on_sent,
    .on_failure = on_failure,
};

static void call_try(struct nameserver_call *call)
{
    struct nameservers *nameservers = call->nameservers;
    uint64_t now_ms = nameservers->context->loop->now_ms;
    uint64_t left_ms = clock_until(now_ms, call->deadline_ms);
    size_t n_left = nameservers->n - call->n_tried;
    call->n_tried++;
    call->request.deadline_ms =
        call->is_read ? clock_after(now_ms, left_ms / n_left) : call->deadline_ms;
    call->request.fails_fast = true;
    const struct command_source source = kept_command_source(&call->request.kept);
    upstream_pool_invoke(nameservers->pool, span_of(nameservers->addresses[call->at]), POOL_NORMAL,
        &call->request, &call->request.kept.command, &source);
}

void nameserver_call_start(struct nameserver_call *call, struct nameservers *nameservers,
    const struct nameserver_call_handler *handler, const struct remoting_command *command,
    const struct command_source *source, bool is_read, uint64_t deadline_ms)
{
    *call = (struct nameserver_call){
        .handler = handler,
        .nameservers = nameservers,
        .is_read = is_read,
        .deadline_ms = deadline_ms,
        .at = nameservers->current,
    };
    pending_request_init(&call->request, &request_handler);
    call->request.is_oneway = remoting_command_is_oneway(command);
    struct failure_report report;
    if (nameservers->n == 0) {
        failure_set(&report, FAILURE_NO_NAMESERVER, false,
            "no nameserver is configured: set [nameserver] addresses or NAMESRV_ADDR");
        handler->on_failure(call, &report);
        return;
    }
    if (kept_command_keep(&call->request.kept, nameservers->context->memory, command, source, 0) <
        0) {
        failure_set(&report, FAILURE_OVERLOADED, false, "no memory (limits.total_memory)");
        handler->on_failure(call, &report);
        return;
    }
    call_try(call);
}

void nameserver_call_cancel(struct nameserver_call *call)
{
    if (call->nameservers) {
        pending_request_cancel(call->nameservers->context, &call->request);
    }
    kept_command_deinit(&call->request.kept);
}
