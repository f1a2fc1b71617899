/*
 * Simulated callers
 *
 * Local programs, each with a connection to the daemon and requests of all kinds on it: whole, in
 * pieces, many at once, in both header forms, oneway; some leave in the middle of a frame or of a
 * wait, some do not read for a while, some send what is no frame. And the oracle of it all:
 *
 *     - a request that was written whole gets one answer, in its header form, or its connection
 *       closes, and that only where its caller gave a reason
 *     - the answer of a server carries the request's own token: nobody gets another's
 *     - no answer comes after the deadline, and none stays out
 *     - what failed with sidecar.sent=no was executed by nobody, then and later
 *     - what may not be repeated was executed once
 *
 * A request's token is its number, and stands in its ext fields and in those of its answer.
 */
#pragma once

#include "protocol/ext_fields.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In an answer to what was not asked. */
#define SIM_TOKEN_NOBODYS UINT32_MAX
/* What has none: the daemon's own requests. */
#define SIM_TOKEN_NONE (UINT32_MAX - 1)

uint32_t sim_token_read(const struct ext_fields *fields);
/* A server did what it asks for. */
void sim_request_executed(uint32_t token);

/* The daemon listens there. */
void sim_callers_begin(const char *socket_path);
/* One act of one of them. */
void sim_callers_step(void);
/* Deadlines are looked at. */
void sim_callers_turn(void);
uint64_t sim_callers_next_us(void);
/* The whole process was stopped for so long: everybody's deadline is so much later. */
void sim_callers_excuse(uint64_t us);
/* Whatever was begun is written, everybody reads, and nobody begins anything. */
void sim_callers_calm(void);
bool sim_callers_are_done(void);
/* The daemon may close connections from here on: it is being told to drain. */
void sim_callers_may_be_closed(void);
void sim_callers_leave(void);
/* The daemon is gone: whoever still waits sees the end. */
void sim_callers_end(void);
/* So many requests had an answer since the beginning; for the report. */
uint64_t sim_callers_n_answers(void);

/* One caller connects and asks for one of everything, some of it oneway. */
void sim_callers_ask_everything(void);
/* Requests that have no answer, of callers that are connected. */
size_t sim_callers_n_waiting(void);

/* --- who looks after the daemon at the end --- */

void sim_auditor_ask(int code);
/* The body of the answer, or NULL until it is there; valid until the next question. */
const char *sim_auditor_answer(void);
