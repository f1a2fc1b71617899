/*
 * Undelivered
 *
 * A file of letters (letter.h), a line each, that could not be delivered: written by one process
 * after the other, and sent again by one at a time, while others may add to it. Who adds holds the
 * lock of its second byte for the moment, who sends that of its first byte for all of the time; at
 * the end what is left of it, and what was added meanwhile, becomes a new file, which takes the
 * place of the old one by its name. So the file is whole at every moment; a process that is killed
 * leaves behind what it had sent already, which is then sent twice.
 */
#pragma once

#include "client/letter.h"

#include <stdbool.h>
#include <stdint.h>

struct undelivered;

/* Opens the file to add to it, makes it where it is missing. 0 or a negative errno. */
int undelivered_open(const char *path, struct undelivered **ret_file);
/*
 * Opens it to send what is in it. -ENOENT: there is none; -EBUSY: another process is sending it; or
 * another negative errno.
 */
int undelivered_open_to_send(const char *path, struct undelivered **ret_file);
/* NULL. What undelivered_replace() did not replace stays as it was. */
struct undelivered *undelivered_free(struct undelivered *file);
bool undelivered_is_same(const struct undelivered *a, const struct undelivered *b);

/* Adds a line. 0 or a negative errno: then nothing of it is there. */
int undelivered_add(struct undelivered *file, struct span line);
/* What was added is on the disk. */
int undelivered_sync(struct undelivered *file);

/*
 * The next line of those that were there when it was opened to send, without its end, valid until
 * the next call. 0, -ENODATA at the end, or another negative errno.
 */
int undelivered_next(struct undelivered *file, struct span *ret_line);
/* Of a file that was opened to send: the line stays in it. 0 or a negative errno. */
int undelivered_keep(struct undelivered *file, struct span line);
/* Once all lines were taken: those that were kept, and what was added meanwhile, are the file now. */
int undelivered_replace(struct undelivered *file);
