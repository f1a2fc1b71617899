/*
 * Fault tolerance
 *
 * Which brokers sends had better not go to for a while: RocketMQ's latency fault tolerance
 * (MQFaultStrategy), learned from sends and from nothing else. A broker that took long is out for
 * as long as Java's table says; one that said that it cannot take messages, or did not answer at
 * all, for as long as the table has for FAULT_REFUSED_MS:
 *
 *     latency of a send, ms, from    550   1800   3000    5000   15000
 *     the broker is out for, ms     2000   5000   6000   10000   30000
 *
 * It is advice: who chooses takes a broker that is out where there is no other. A later, shorter
 * time never lets a broker in before an earlier one is over.
 *
 * Two things differ from Java. A broker that cannot be connected to is not noted here, since the
 * connection pool knows that better and sooner, and also when it is over. And a silence counts for
 * FAULT_REFUSED_MS only where it was as long as the table's first row: deadlines are the callers',
 * and one who waits for 5 ms must not take a broker away from everybody.
 *
 * Only brokers that are out have a row, FAULT_ROWS_MAX at most. Time is handed in.
 */
#pragma once

#include "protocol/cleanup.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULT_REFUSED_MS 10000
#define FAULT_ROWS_MAX   4096

enum fault_outcome {
    FAULT_ANSWERED, /* whatever the answer was, the broker is in order */
    FAULT_REFUSED,  /* it takes no messages at present */
    FAULT_SILENT,   /* the deadline passed */
};

struct fault_tolerance;

struct fault_tolerance *fault_tolerance_new(void);
struct fault_tolerance *fault_tolerance_free(struct fault_tolerance *tolerance);
DEFINE_CLEANUP(struct fault_tolerance *, fault_tolerance_free)

/* For how long a broker is out after a send that took so long. */
uint64_t fault_tolerance_duration_ms(uint64_t latency_ms);
/* A send to this broker ended. What there is no memory for is not noted. */
void fault_tolerance_note(struct fault_tolerance *tolerance, struct span broker_name,
    enum fault_outcome outcome, uint64_t latency_ms, uint64_t now_ms);
bool fault_tolerance_is_available(
    struct fault_tolerance *tolerance, struct span broker_name, uint64_t now_ms);
/* Brokers that were noted and not forgotten yet. */
size_t fault_tolerance_n_rows(const struct fault_tolerance *tolerance);
