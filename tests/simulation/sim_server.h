/*
 * Simulated servers
 *
 * Two nameservers and two brokers behind the addresses of SIM_NAMESERVERS and their routes. Each is
 * well, or for a time refuses connections, does not answer attempts at all, reads and says nothing,
 * or does not even read. One that is well answers most requests at once or soon, and some late, in
 * pieces, twice, with an opaque that is another connection's or nobody's, with GO_AWAY, with an
 * error, with garbage, with half an answer and the end of the connection, or never.
 *
 * What it executed is noted with the request's token (sim_caller.h), which its answer carries back.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#define SIM_NAMESERVERS "10.0.0.1:9876;10.0.0.2:9876"
#define SIM_BROKER_A    "10.0.1.1:10911"
#define SIM_BROKER_B    "10.0.1.2:10911"

void sim_servers_begin(void);
/* All are well from here on, and everything that was put off is answered. */
void sim_servers_calm(void);
/* Every connection is gone. */
void sim_servers_end(void);

/* One act of one of them. */
void sim_servers_step(void);
/* What is due. */
void sim_servers_turn(void);
uint64_t sim_servers_next_us(void);
