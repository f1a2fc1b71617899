/*
 * Nameserver
 *
 * The configured nameservers and calls to "the nameserver": to the current one, and where that one
 * fails, to the next inside the caller's deadline. The current one stays current until a call to it
 * fails. A read gets an equal share of what is left of its deadline at each nameserver, so that a
 * silent one cannot eat it all; a command that writes goes on to the next nameserver only where it
 * was surely not sent.
 */
#pragma once

#include "daemon/wiring/upstream_pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
    size_t at; /* the nameserver that is being asked */
    size_t n_tried;
};

struct nameservers *nameservers_new(
    struct upstream_context *context, struct upstream_pool *pool, const struct config *config);
struct nameservers *nameservers_free(struct nameservers *nameservers);
/* Whether host:port is one of them. */
bool nameservers_contain(const struct nameservers *nameservers, struct span address);
/* The current one's address, or NULL when none is configured. */
const char *nameservers_current(const struct nameservers *nameservers);

/* The command is kept. The handler may be called before this returns. */
void nameserver_call_start(struct nameserver_call *call, struct nameservers *nameservers,
    const struct nameserver_call_handler *handler, const struct remoting_command *command,
    const struct command_source *source, bool is_read, uint64_t deadline_ms);
/* Also frees what the call kept; needed after its end, too. */
void nameserver_call_cancel(struct nameserver_call *call);
