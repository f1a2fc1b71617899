/*
 * Command promises
 *
 * What holds for every command that a decoder took, whichever form it came in: each header form can
 * say it (as far as that form goes), its own decoder takes it back as it was, and jansson reads the
 * JSON of it.
 */
#pragma once

#include "protocol/remoting_command.h"

void promise_command(const struct remoting_command *command);
/* The sentence of a problem can go into remarks and logs as it is, and says what is accepted. */
void promise_problem(const struct header_problem *problem);
