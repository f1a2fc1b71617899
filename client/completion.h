/*
 * Completion
 *
 * What may stand at the end of a command line of remotingctl, for the shells' completion: commands,
 * options and first operands, from the table of commands. It knows nothing of shells, and asks no
 * daemon.
 */
#pragma once

/*
 * Prints what the last of the words behind "remotingctl" may become, one a line, with a tab and a
 * summary behind it where there is one. Nothing where anything may stand, such as the path of a
 * file.
 */
void completion_print(int n, char *const *words);
