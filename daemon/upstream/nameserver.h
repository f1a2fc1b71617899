/*
 * Nameserver
 *
 * The nameservers, their health (core/server_health.h: learned from calls to them, and from a cheap
 * probe of those that nobody called for nameserver.probe_interval), and calls to "the nameserver":
 * to the current one, and where that one fails, to the next by health inside the caller's deadline.
 * A read gets an equal share of what is left of its deadline at each nameserver, so that a silent
 * one cannot eat it all; a command that writes goes on to the next nameserver only where it was
 * surely not sent.
 *
 * Nobody is told no-nameserver by an old failure: one that is in its backoff is tried for a call
 * that has no other left, backoff.initial after its last failure, and who has the time waits for
 * that attempt. Its failure is told at once. Other than with brokers nobody waits for further
 * attempts within a deadline: while no nameserver is there the known routes serve, and who needs
 * another one is better told soon.
 *
 * The list can be replaced while the daemon runs: a call under way ends where it is, and begins
 * anew with the new list where it fails.
 */
#pragma once

#include "daemon/core/server_health.h"
#include "daemon/upstream/upstream_pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An attempt that lasted less says nothing about the nameserver when its deadline passes. */
#define NAMESERVER_SILENCE_MS 1000

/* What is said where there is none to ask. */
#define NAMESERVER_NONE "no nameserver is configured: set [nameserver] addresses or NAMESRV_ADDR"

struct nameservers;
struct nameserver_call;

struct nameserver_call_handler {
    void (*on_response)(struct nameserver_call *call, struct remoting_command *response,
        const struct command_source *source);
    void (*on_failure)(struct nameserver_call *call, const struct failure_report *report);
};

/*
 * Owned by who calls; ends in exactly one of the handler's functions, or in
 * nameserver_call_cancel().
 */
struct nameserver_call {
    const struct nameserver_call_handler *handler;
    struct nameservers *nameservers;
    struct pending_request request;
    bool is_read;
    uint64_t deadline_ms;
    char address[ADDRESS_TEXT_MAX];      /* the one that is being asked */
    uint8_t order[CONFIG_ADDRESSES_MAX]; /* indexes, while the list is that of generation */
    size_t n_order;
    size_t n_tried;
    uint64_t generation;
    bool is_confirming; /* one has answered, and another is asked whether it agrees */
};

struct nameservers *nameservers_new(
    struct upstream_context *context, struct upstream_pool *pool, const struct config *config);
/* The settings beside the list, for which nameservers_replace() is. */
void nameservers_configure(struct nameservers *nameservers, const struct config *config);
struct nameservers *nameservers_free(struct nameservers *nameservers);
/* No probes any more. */
void nameservers_stop(struct nameservers *nameservers);
/* Whether host:port is one of them. */
bool nameservers_contain(const struct nameservers *nameservers, struct span address);
/* The current one's address, or NULL when none is configured. */
const char *nameservers_current(const struct nameservers *nameservers);
/*
 * Replaces the list; the health of those that stay is kept, and connections to those that go are
 * the caller's to drain. The addresses are valid, different, and at most CONFIG_ADDRESSES_MAX. 0 or
 * -ENOMEM (nothing changed).
 */
int nameservers_replace(
    struct nameservers *nameservers, const struct span *addresses, size_t n_addresses);

/*
 * Those that a replacement by these addresses would take out of the list: how many. They are valid
 * until then.
 */
size_t nameservers_leaving(const struct nameservers *nameservers, const struct span *addresses,
    size_t n_addresses, const char *ret_leaving[static CONFIG_ADDRESSES_MAX]);

/* What can be seen of one. */
struct nameserver_view {
    const char *address;
    bool is_current;
    bool is_usable; /* not in its backoff */
    double score_ms;
    const struct server_health *health;
};
static inline bool nameserver_view_answers(const struct nameserver_view *view)
{
    return view->is_usable && !view->health->is_failing;
}
size_t nameservers_count(const struct nameservers *nameservers);
void nameservers_view(
    struct nameservers *nameservers, size_t index, struct nameserver_view *ret_view);
/* No nameserver answers: known routes are served, and new ones cannot be had. */
bool nameservers_are_degraded(const struct nameservers *nameservers);
/* Why the current one is current: a word of server_choice_reason_name(). */
const char *nameservers_choice_reason(const struct nameservers *nameservers);

/* The command is kept. The handler may be called before this returns. */
void nameserver_call_start(struct nameserver_call *call, struct nameservers *nameservers,
    const struct nameserver_call_handler *handler, const struct remoting_command *command,
    const struct command_source *source, bool is_read, uint64_t deadline_ms);
/*
 * Called by on_response: the answer is not taken for true alone, and the next nameserver that is
 * known to work is asked, for NAMESERVER_SILENCE_MS at most. What it says, or that it says nothing,
 * comes by the handler as usual; on_failure is then told although somebody has answered. False
 * where there is none to ask.
 */
bool nameserver_call_confirm(struct nameserver_call *call);
/*
 * Whether who waits for the call until deadline_ms waits for nothing, as it waits itself for an
 * attempt to connect that is due only then or later; report says so.
 */
bool nameserver_call_is_too_late(
    const struct nameserver_call *call, uint64_t deadline_ms, struct failure_report *report);
/* Also frees what the call kept; needed after its end, too. */
void nameserver_call_cancel(struct nameserver_call *call);
