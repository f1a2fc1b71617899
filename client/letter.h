/*
 * Letter
 *
 * A message that is to be sent, apart from any connection: what a SEND_MESSAGE is made of, and what
 * a file keeps of a message that could not be delivered (undelivered.h), a JSON object a line:
 *
 *     {"topic":"orders","group":"billing","properties":{"TAGS":"paid"},"body":"aGVsbG8=","sent":"no"}
 *
 * The body is base64. `sent` is "no" or "maybe", which says that it may be stored already. `group`
 * and `properties` may be missing; keys that are not known here are left alone.
 */
#pragma once

#include "client/remotingclient.h"
#include "protocol/span.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct letter {
    const char *topic;
    const char *group;  /* of producers; NULL: the daemon's */
    json_t *properties; /* an object of strings, or NULL */
    struct span body;
    bool may_be_sent;
    json_t *json;     /* what it was read from, and the texts belong to; NULL: they are others' */
    char *owned_body; /* as it was read */
};

/* Frees what letter_read() made. */
void letter_deinit(struct letter *letter);
/* False when the line is none; ret_problem says why. */
bool letter_read(struct span line, struct letter *ret_letter, const char **ret_problem);
/* The line, without its end, on the heap. NULL without memory, or where a name is no UTF-8. */
char *letter_text(const struct letter *letter);

bool letter_has_order(const struct letter *letter);
/* By which consumers recognise a repetition. */
void letter_set_uniq_key(struct letter *letter, const char *uniq_key);

/* The letter as a SEND_MESSAGE, whose body stays the letter's. */
struct remotingclient_request *letter_request_new(const struct letter *letter);
