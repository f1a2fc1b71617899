/*
 * Sent
 *
 * What is printed of a message that was sent: where it is stored, for people or as JSON, and a
 * warning that came with it. As JSON failures have a line too; for people they are told elsewhere.
 */
#pragma once

#include "client/command.h"

/* line: of the input; 0 for a message that is the only one. */
void sent_print(
    const struct invocation *invocation, const struct remotingclient_answer *answer, uint64_t line);
