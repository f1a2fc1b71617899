/*
 * Credential
 *
 * Reads secrets from files: what the service manager hands over in $CREDENTIALS_DIRECTORY, or a file
 * of the administrator's. A secret is the file's content without the line feeds at its end; it is
 * overwritten when it is given back. A file that others than its owner can read is warned of, once
 * for each reading. Nothing of a secret is ever logged, and
 * a process that has read one leaves no core file, nor can other processes of its user look into it.
 */
#pragma once

#include "protocol/span.h"

#include <stddef.h>

#define CREDENTIAL_SIZE_MAX 16384 /* a key of 16384 bits in PEM */

struct credential {
    char data[CREDENTIAL_SIZE_MAX];
    size_t n;
};

/*
 * The file that a name stands for: an absolute path is its own. 0, or -ENOENT with a sentence where
 * the service manager handed over no credentials.
 */
int credential_path(const char *name, char *path, size_t n, char *problem, size_t problem_size);
/*
 * name: an absolute path, or the name of a credential of the service. 0, or a negative errno with a
 * sentence in problem, which begins with the file's name: an empty file is -ENODATA, a larger one
 * than CREDENTIAL_SIZE_MAX -EFBIG, no $CREDENTIALS_DIRECTORY -ENOENT.
 */
int credential_read(
    struct credential *credential, const char *name, char *problem, size_t problem_size);
static inline struct span credential_span(const struct credential *credential)
{
    return (struct span){ credential->data, credential->n };
}
/* Overwrites it. */
void credential_deinit(struct credential *credential);
