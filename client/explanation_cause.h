/*
 * Explanation: what follows from the report. Each cause that holds is a finding, the likeliest
 * first, with one sentence and the next command to type:
 *
 *     no-nameserver            none answers, and the daemon keeps no route of the topic
 *     no-such-topic            the nameservers that answer know no such topic
 *     message-in-dead-letters  a group gave it up
 *     broker-down              a master cannot be reached, or there is none
 *     no-write-permission      no queue may be written to, or none of a broker
 *     no-read-permission       the same for reading
 *     group-paused             brokers give the group nothing (consumeEnable is false)
 *     message-in-retry         a group did not acknowledge it, and it waits to come again
 *     nameserver-stale         none answers, and the daemon goes by the route that it keeps; or
 *                              nameservers tell different things
 *     message-not-found        it is not in the topic
 *     message-waiting          a group has not come to it yet
 */
#pragma once

#include "client/explanation.h"

/* Of the report that is there. */
void explanation_find_causes(struct explanation *explanation);
