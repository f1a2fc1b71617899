/*
 * The binary header: read within its bytes, refused in words, and what was taken can be said in
 * both forms.
 */
#include "protocol/header_rocketmq.h"

#include "tests/fuzz/command_promises.h"
#include "tests/fuzz/target.h"

#include <string.h>

static struct ext_field storage[EXT_FIELDS_MAX];

/* Bytes in which no text is empty come out as they went in. */
static void promise_same_bytes(
    const struct remoting_command *command, const uint8_t *data, size_t n)
{
    size_t size = header_rocketmq_encoded_size(command);
    if (size != n || command->language == LANGUAGE_UNKNOWN) {
        return;
    }
    uint8_t *again = malloc(n);
    promise(again, "no memory");
    promise(header_rocketmq_encode(command, again) == n, "not the size that was counted");
    promise(memcmp(again, data, n) == 0, "other bytes");
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct remoting_command command;
    struct header_problem problem = { "" };
    remoting_command_init(&command, storage, EXT_FIELDS_MAX);
    switch (header_rocketmq_decode(&command, data, n, &problem)) {
    case HEADER_OK:
        promise_same_bytes(&command, data, n);
        promise_command(&command);
        break;
    case HEADER_INVALID:
    case HEADER_SYNTAX:
    case HEADER_NO_MEMORY:
        promise_problem(&problem);
        break;
    }
    return 0;
}
