#include "daemon/upstream/nameserver.h"

#include "daemon/loop/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first probes come soon, so that there is something to choose by. */
#define FIRST_PROBE_MS 2000

struct nameserver {
    char *address;
    struct server_health health;
};

struct nameservers {
    struct upstream_context *context;
    struct upstream_pool *pool;
    struct nameserver list[CONFIG_ADDRESSES_MAX];
    size_t n;
    size_t current;
    enum server_choice_reason reason; /* why current is current */
    uint64_t generation;              /* of the list */
    uint64_t probe_interval_ms;
    struct deadline probe_due;
    struct nameserver_call probe; /* one at a time */
    struct ext_field probe_field;
    bool is_probing;
    bool is_degraded; /* the last call to each of them failed */
};

static void call_try(struct nameserver_call *call, uint64_t most_ms);

static uint64_t now_of(const struct nameservers *nameservers)
{
    return nameservers->context->loop->now_ms;
}

/* --- the list --- */

static struct nameserver *nameserver_find(struct nameservers *nameservers, struct span address)
{
    for (size_t i = 0; i < nameservers->n; i++) {
        if (span_equals_text(address, nameservers->list[i].address)) {
            return &nameservers->list[i];
        }
    }
    return NULL;
}

bool nameservers_contain(const struct nameservers *nameservers, struct span address)
{
    for (size_t i = 0; i < nameservers->n; i++) {
        if (span_equals_text(address, nameservers->list[i].address)) {
            return true;
        }
    }
    return false;
}

const char *nameservers_current(const struct nameservers *nameservers)
{
    return nameservers->n > 0 ? nameservers->list[nameservers->current].address : NULL;
}

static void list_free(struct nameserver *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i].address);
    }
}

int nameservers_replace(
    struct nameservers *nameservers, const struct span *addresses, size_t n_addresses)
{
    struct nameserver list[CONFIG_ADDRESSES_MAX] = { 0 };
    size_t current = 0;
    for (size_t i = 0; i < n_addresses; i++) {
        list[i].address = strndup(addresses[i].data, addresses[i].n);
        if (!list[i].address) {
            list_free(list, i);
            return -ENOMEM;
        }
        const struct nameserver *known = nameserver_find(nameservers, addresses[i]);
        if (known) {
            list[i].health = known->health;
        }
        if (known && known == &nameservers->list[nameservers->current]) {
            current = i;
        }
    }
    struct nameserver old[CONFIG_ADDRESSES_MAX];
    size_t n_old = nameservers->n;
    memcpy(old, nameservers->list, sizeof(old));
    memcpy(nameservers->list, list, sizeof(list));
    nameservers->n = n_addresses;
    nameservers->current = current;
    nameservers->reason = n_addresses > 1 ? SERVER_CHOICE_FIRST : SERVER_CHOICE_ONLY;
    nameservers->generation++;
    list_free(old, n_old);
    return 0;
}

static bool is_listed(const char *address, const struct span *addresses, size_t n_addresses)
{
    for (size_t i = 0; i < n_addresses; i++) {
        if (span_equals_text(addresses[i], address)) {
            return true;
        }
    }
    return false;
}

size_t nameservers_leaving(const struct nameservers *nameservers, const struct span *addresses,
    size_t n_addresses, const char *ret_leaving[static CONFIG_ADDRESSES_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < nameservers->n; i++) {
        if (!is_listed(nameservers->list[i].address, addresses, n_addresses)) {
            ret_leaving[n++] = nameservers->list[i].address;
        }
    }
    return n;
}

/* --- choice and health --- */

static void usable_find(struct nameservers *nameservers, bool *usable)
{
    for (size_t i = 0; i < nameservers->n; i++) {
        usable[i] = upstream_pool_can_use(
            nameservers->pool, span_of(nameservers->list[i].address), POOL_NORMAL);
    }
}

static void choose(struct nameservers *nameservers, const bool *usable)
{
    struct server_health servers[CONFIG_ADDRESSES_MAX];
    for (size_t i = 0; i < nameservers->n; i++) {
        servers[i] = nameservers->list[i].health;
    }
    enum server_choice_reason reason;
    uint64_t now_ms = now_of(nameservers);
    size_t choice =
        server_choose(servers, nameservers->n, nameservers->current, usable, now_ms, &reason);
    if (choice == nameservers->current) {
        return;
    }
    log_warning("nameserver=%s instead of=%s reason=%s score=%.1fms instead of=%.1fms",
        nameservers->list[choice].address, nameservers->list[nameservers->current].address,
        server_choice_reason_name(reason), server_health_score(&servers[choice], now_ms),
        server_health_score(&servers[nameservers->current], now_ms));
    nameservers->current = choice;
    nameservers->reason = reason;
}

/* Looks again who should be current, after a failure. */
static void choose_again(struct nameservers *nameservers)
{
    bool usable[CONFIG_ADDRESSES_MAX];
    if (nameservers->n > 1) {
        usable_find(nameservers, usable);
        choose(nameservers, usable);
    }
}

static void call_order(struct nameserver_call *call)
{
    struct nameservers *nameservers = call->nameservers;
    bool usable[CONFIG_ADDRESSES_MAX];
    struct server_health servers[CONFIG_ADDRESSES_MAX];
    size_t order[CONFIG_ADDRESSES_MAX];
    usable_find(nameservers, usable);
    choose(nameservers, usable);
    for (size_t i = 0; i < nameservers->n; i++) {
        servers[i] = nameservers->list[i].health;
    }
    server_order(servers, nameservers->n, nameservers->current, usable, now_of(nameservers), order);
    for (size_t i = 0; i < nameservers->n; i++) {
        call->order[i] = (uint8_t)order[i];
    }
    call->n_order = nameservers->n;
    call->n_tried = 0;
    call->generation = nameservers->generation;
}

/* Says so once when none answers any more, and once when one does again. */
static void degraded_note(struct nameservers *nameservers)
{
    bool is_degraded = nameservers->n > 0;
    for (size_t i = 0; i < nameservers->n; i++) {
        is_degraded = is_degraded && nameservers->list[i].health.is_failing;
    }
    if (is_degraded == nameservers->is_degraded) {
        return;
    }
    nameservers->is_degraded = is_degraded;
    if (is_degraded) {
        log_warning(
            "nameservers degraded: none of %zu answers; known routes are served", nameservers->n);
        net_event_note(nameservers->context->events, EVENT_NAMESERVERS_SILENT, true,
            nameservers_current(nameservers), "none of %zu answers; known routes are served",
            nameservers->n);
    } else {
        log_info("nameservers answer again current=%s", nameservers_current(nameservers));
        net_event_note(nameservers->context->events, EVENT_NAMESERVERS_ANSWER, false,
            nameservers_current(nameservers), "again");
    }
}

bool nameservers_are_degraded(const struct nameservers *nameservers)
{
    return nameservers->is_degraded;
}

/* How the attempt ended says something about the nameserver that was asked. */
static void health_note_failure(struct nameserver_call *call, const struct failure_report *report)
{
    struct nameserver *nameserver = nameserver_find(call->nameservers, span_of(call->address));
    uint64_t now_ms = now_of(call->nameservers);
    bool was_silent = report->failure == FAILURE_TIMEOUT &&
                      now_ms - call->request.sent_ms >= NAMESERVER_SILENCE_MS;
    if (nameserver && (was_silent || report->failure == FAILURE_UNREACHABLE ||
                          report->failure == FAILURE_CONNECTION_LOST)) {
        server_health_fail(&nameserver->health, now_ms);
        choose_again(call->nameservers);
        degraded_note(call->nameservers);
    }
}

/* --- calls --- */

static struct nameserver_call *call_of(struct pending_request *request)
{
    return (struct nameserver_call *)(void *)((char *)request -
                                              offsetof(struct nameserver_call, request));
}

static void on_response(struct pending_request *request, struct remoting_command *response,
    const struct command_source *source)
{
    struct nameserver_call *call = call_of(request);
    struct nameserver *nameserver = nameserver_find(call->nameservers, span_of(call->address));
    if (nameserver) {
        server_health_succeed(
            &nameserver->health, now_of(call->nameservers), loop_clock_us() - request->sent_us);
        degraded_note(call->nameservers);
    }
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
static struct failure_report caller_report(
    const struct nameserver_call *call, const struct failure_report *last)
{
    struct failure_report report = *last;
    if (last->failure == FAILURE_UNREACHABLE ||
        (last->failure == FAILURE_CONNECTION_LOST && call->is_read)) {
        failure_set(&report, FAILURE_NO_NAMESERVER, last->maybe_sent && !call->is_read,
            "none of %zu nameservers answers; the last one: %s", call->nameservers->n, last->cause);
    }
    return report;
}

bool nameserver_call_is_too_late(
    const struct nameserver_call *call, uint64_t deadline_ms, struct failure_report *report)
{
    struct failure_report last;
    if (call->request.state != REQUEST_WAITING ||
        !upstream_address_is_too_late(call->request.address, deadline_ms, &last)) {
        return false;
    }
    *report = caller_report(call, &last);
    return true;
}

static void on_failure(struct pending_request *request, const struct failure_report *report)
{
    struct nameserver_call *call = call_of(request);
    struct nameservers *nameservers = call->nameservers;
    health_note_failure(call, report);
    if (call->is_confirming && nameserver_call_confirm(call)) {
        return;
    }
    bool may_repeat = !call->is_confirming && (call->is_read || !report->maybe_sent);
    bool has_time = now_of(nameservers) < call->deadline_ms;
    if (call->generation != nameservers->generation && nameservers->n > 0) {
        /* The list is another one: what was tried of the old one says nothing any more. */
        call_order(call);
    }
    if (call->n_tried < call->n_order && may_repeat && has_time) {
        call_try(call, UINT64_MAX);
    } else {
        struct failure_report last = caller_report(call, report);
        call->handler->on_failure(call, &last);
    }
}

static const struct pending_request_handler request_handler = {
    .on_response = on_response,
    .on_sent = on_sent,
    .on_failure = on_failure,
};

/* Asks the next one, which gets so much of the time that is left at most. */
static void call_try(struct nameserver_call *call, uint64_t most_ms)
{
    struct nameservers *nameservers = call->nameservers;
    uint64_t now_ms = now_of(nameservers);
    uint64_t left_ms = clock_until(now_ms, call->deadline_ms);
    size_t n_left = call->n_order - call->n_tried;
    const struct nameserver *nameserver = &nameservers->list[call->order[call->n_tried++]];
    (void)snprintf(call->address, sizeof(call->address), "%s", nameserver->address);
    uint64_t share_ms = call->is_read ? left_ms / n_left : left_ms;
    call->request.deadline_ms = clock_after(now_ms, share_ms < most_ms ? share_ms : most_ms);
    call->request.fails_fast = true;
    /* Those that are out of use come last: it is this one, soon, or none. */
    upstream_pool_hurry(nameservers->pool, span_of(call->address), POOL_NORMAL);
    const struct command_source source = kept_command_source(&call->request.kept);
    upstream_pool_invoke(nameservers->pool, span_of(call->address), POOL_NORMAL, &call->request,
        &call->request.kept.command, &source);
}

/* False where it has failed already. */
static bool call_prepare(struct nameserver_call *call, struct nameservers *nameservers,
    const struct nameserver_call_handler *handler, const struct remoting_command *command,
    const struct command_source *source)
{
    *call = (struct nameserver_call){ .handler = handler, .nameservers = nameservers };
    pending_request_init(&call->request, &request_handler);
    call->request.is_oneway = remoting_command_is_oneway(command);
    struct failure_report report;
    if (nameservers->n == 0) {
        failure_set(&report, FAILURE_NO_NAMESERVER, false, NAMESERVER_NONE);
        handler->on_failure(call, &report);
        return false;
    }
    if (kept_command_keep(&call->request.kept, nameservers->context->memory, command, source, 0) <
        0) {
        failure_set(&report, FAILURE_OVERLOADED, false, "no memory (limits.total_memory)");
        handler->on_failure(call, &report);
        return false;
    }
    return true;
}

void nameserver_call_start(struct nameserver_call *call, struct nameservers *nameservers,
    const struct nameserver_call_handler *handler, const struct remoting_command *command,
    const struct command_source *source, bool is_read, uint64_t deadline_ms)
{
    if (call_prepare(call, nameservers, handler, command, source)) {
        call->is_read = is_read;
        call->deadline_ms = deadline_ms;
        call_order(call);
        call_try(call, UINT64_MAX);
    }
}

bool nameserver_call_confirm(struct nameserver_call *call)
{
    struct nameservers *nameservers = call->nameservers;
    if (call->generation != nameservers->generation || now_of(nameservers) >= call->deadline_ms) {
        return false;
    }
    for (; call->n_tried < call->n_order; call->n_tried++) {
        const struct nameserver *next = &nameservers->list[call->order[call->n_tried]];
        if (!next->health.is_failing &&
            upstream_pool_can_use(nameservers->pool, span_of(next->address), POOL_NORMAL)) {
            call->is_confirming = true;
            call_try(call, NAMESERVER_SILENCE_MS);
            return true;
        }
    }
    return false;
}

void nameserver_call_cancel(struct nameserver_call *call)
{
    if (call->nameservers) {
        pending_request_cancel(call->nameservers->context, &call->request);
    }
    kept_command_deinit(&call->request.kept);
}

/* --- probes --- */

static void probe_later(struct nameservers *nameservers, uint64_t within_ms)
{
    struct loop *loop = nameservers->context->loop;
    uint64_t wait_ms = within_ms / 2 + ((within_ms / 2 * loop_random(loop)) >> 32);
    loop_deadline_set(loop, &nameservers->probe_due, clock_after(loop->now_ms, wait_ms));
}

static void probe_end(struct nameserver_call *call)
{
    struct nameservers *nameservers = call->nameservers;
    nameservers->is_probing = false;
    nameserver_call_cancel(call);
}

static void on_probe_response(struct nameserver_call *call, struct remoting_command *response,
    const struct command_source *source)
{
    (void)response;
    (void)source;
    probe_end(call);
}

static void on_probe_failure(struct nameserver_call *call, const struct failure_report *report)
{
    (void)report;
    probe_end(call);
}

static const struct nameserver_call_handler probe_handler = {
    .on_response = on_probe_response,
    .on_failure = on_probe_failure,
};

/*
 * The index of the one that was not heard of for longest, and long enough; n where there is none.
 */
static size_t probe_choose(const struct nameservers *nameservers)
{
    uint64_t now_ms = now_of(nameservers);
    size_t chosen = nameservers->n;
    uint64_t longest_ms = 0;
    for (size_t i = 0; i < nameservers->n; i++) {
        const struct server_health *health = &nameservers->list[i].health;
        uint64_t heard_ms =
            health->measured_ms > health->failed_ms ? health->measured_ms : health->failed_ms;
        bool is_due = heard_ms == 0 || now_ms - heard_ms >= nameservers->probe_interval_ms;
        if (is_due && now_ms - heard_ms >= longest_ms) {
            longest_ms = now_ms - heard_ms;
            chosen = i;
        }
    }
    return chosen;
}

static void probe_start(struct nameservers *nameservers, size_t index)
{
    struct remoting_command command;
    upstream_probe_command(&command, &nameservers->probe_field);
    const struct command_source source = { 0 };
    struct nameserver_call *probe = &nameservers->probe;
    nameservers->is_probing = true;
    if (call_prepare(probe, nameservers, &probe_handler, &command, &source)) {
        probe->is_read = true;
        probe->deadline_ms = clock_after(now_of(nameservers), 2 * NAMESERVER_SILENCE_MS);
        probe->order[0] = (uint8_t)index;
        probe->n_order = 1;
        probe->generation = nameservers->generation;
        call_try(probe, UINT64_MAX);
    }
}

/*
 * With one nameserver there is nothing to choose, and calls to it tell enough; but whether it
 * answers at all is found out at the start, and for as long as it does not.
 */
static void on_probe_due(struct deadline *deadline, uint64_t now_ms)
{
    (void)now_ms;
    struct nameservers *nameservers =
        (struct nameservers *)(void *)((char *)deadline - offsetof(struct nameservers, probe_due));
    bool is_worth_it =
        nameservers->n > 1 || !nameservers->list[0].health.is_measured || nameservers->is_degraded;
    size_t index = is_worth_it ? probe_choose(nameservers) : nameservers->n;
    if (index < nameservers->n && !nameservers->is_probing) {
        probe_start(nameservers, index);
    }
    /* One probe at a time: with many nameservers each gets its turn within the interval. */
    probe_later(nameservers, nameservers->n > 1 ? nameservers->probe_interval_ms / nameservers->n
                                                : nameservers->probe_interval_ms);
}

/* --- their life --- */

void nameservers_configure(struct nameservers *nameservers, const struct config *config)
{
    nameservers->probe_interval_ms = config->nameserver.probe_interval_ms;
    probe_later(nameservers, FIRST_PROBE_MS < nameservers->probe_interval_ms
                                 ? FIRST_PROBE_MS
                                 : nameservers->probe_interval_ms);
}

struct nameservers *nameservers_new(
    struct upstream_context *context, struct upstream_pool *pool, const struct config *config)
{
    struct nameservers *nameservers = calloc(1, sizeof(*nameservers));
    if (!nameservers) {
        return NULL;
    }
    nameservers->context = context;
    nameservers->pool = pool;
    deadline_init(&nameservers->probe_due, on_probe_due);
    struct span addresses[CONFIG_ADDRESSES_MAX];
    for (size_t i = 0; i < config->nameserver.addresses.n; i++) {
        addresses[i] = span_of(config->nameserver.addresses.items[i]);
    }
    if (nameservers_replace(nameservers, addresses, config->nameserver.addresses.n) < 0) {
        return nameservers_free(nameservers);
    }
    /* Daemons that start together spread over the nameservers. */
    nameservers->current = nameservers->n > 0 ? loop_random(context->loop) % nameservers->n : 0;
    nameservers_configure(nameservers, config);
    return nameservers;
}

void nameservers_stop(struct nameservers *nameservers)
{
    loop_deadline_clear(nameservers->context->loop, &nameservers->probe_due);
    nameserver_call_cancel(&nameservers->probe);
    nameservers->is_probing = false;
}

struct nameservers *nameservers_free(struct nameservers *nameservers)
{
    if (nameservers) {
        nameservers_stop(nameservers);
        list_free(nameservers->list, nameservers->n);
        free(nameservers);
    }
    return NULL;
}

size_t nameservers_count(const struct nameservers *nameservers)
{
    return nameservers->n;
}

void nameservers_view(
    struct nameservers *nameservers, size_t index, struct nameserver_view *ret_view)
{
    const struct nameserver *nameserver = &nameservers->list[index];
    *ret_view = (struct nameserver_view){
        .address = nameserver->address,
        .is_current = index == nameservers->current,
        .is_usable =
            upstream_pool_is_usable(nameservers->pool, span_of(nameserver->address), POOL_NORMAL),
        .score_ms = server_health_score(&nameserver->health, now_of(nameservers)),
        .health = &nameserver->health,
    };
}

const char *nameservers_choice_reason(const struct nameservers *nameservers)
{
    return server_choice_reason_name(nameservers->reason);
}
