#include "daemon/session/reply.h"

#include "protocol/message.h"

bool reply_wait(struct replies *replies, struct reply_waiter *waiter)
{
    HASH_ADD_STR(replies->waiters, correlation_id, waiter);
    waiter->is_waiting = waiter->hh.tbl != NULL;
    return waiter->is_waiting;
}

void reply_waiter_cancel(struct replies *replies, struct reply_waiter *waiter)
{
    if (waiter->is_waiting) {
        waiter->is_waiting = false;
        HASH_DEL(replies->waiters, waiter);
    }
}

bool replies_take(struct replies *replies, const struct remoting_command *push)
{
    struct span correlation_id = message_property(
        ext_fields_text(&push->ext_fields, "properties"), SPAN(PROPERTY_CORRELATION_ID));
    struct reply_waiter *waiter = NULL;
    if (!span_is_empty(correlation_id)) {
        HASH_FIND(hh, replies->waiters, correlation_id.data, correlation_id.n, waiter);
    }
    if (!waiter) {
        return false;
    }
    reply_waiter_cancel(replies, waiter);
    waiter->on_reply(waiter, push);
    return true;
}
