#include "daemon/core/half_messages.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct half_message {
    UT_hash_handle hh; /* in the order in which they came */
    uint64_t session_id;
    size_t key_size;
    char key[HALF_MESSAGE_KEY_MAX];
};

struct half_messages {
    struct half_message *list;
};

struct half_messages *half_messages_new(void)
{
    return calloc(1, sizeof(struct half_messages));
}

static void forget(struct half_messages *messages, struct half_message *message)
{
    HASH_DEL(messages->list, message);
    free(message);
}

struct half_messages *half_messages_free(struct half_messages *messages)
{
    while (messages && messages->list) {
        forget(messages, messages->list);
    }
    free(messages);
    return NULL;
}

static struct half_message *find(const struct half_messages *messages, struct span uniq_key)
{
    struct half_message *message = NULL;
    if (span_is_empty(uniq_key)) {
        return NULL;
    }
    HASH_FIND(hh, messages->list, uniq_key.data, uniq_key.n, message);
    return message;
}

void half_messages_add(struct half_messages *messages, struct span uniq_key, uint64_t session_id)
{
    if (span_is_empty(uniq_key) || uniq_key.n > HALF_MESSAGE_KEY_MAX) {
        return;
    }
    half_messages_remove(messages, uniq_key);
    if (HASH_COUNT(messages->list) >= HALF_MESSAGES_MAX) {
        forget(messages, messages->list);
    }
    struct half_message *message = calloc(1, sizeof(*message));
    if (!message) {
        return;
    }
    message->session_id = session_id;
    message->key_size = uniq_key.n;
    memcpy(message->key, uniq_key.data, uniq_key.n);
    HASH_ADD_KEYPTR(hh, messages->list, message->key, message->key_size, message);
    if (!message->hh.tbl) {
        free(message);
    }
}

uint64_t half_messages_sender(const struct half_messages *messages, struct span uniq_key)
{
    const struct half_message *message = find(messages, uniq_key);
    return message ? message->session_id : 0;
}

void half_messages_remove(struct half_messages *messages, struct span uniq_key)
{
    struct half_message *message = find(messages, uniq_key);
    if (message) {
        forget(messages, message);
    }
}
