#include "daemon/core/sender_stamp.h"

#include "daemon/core/cgroup.h"
#include "daemon/core/send_property.h"
#include "protocol/message.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define UID_NAME  SPAN("SENDER_UID")
#define UNIT_NAME SPAN("SENDER_UNIT")
#define UID_MAX   24

static_assert(SENDER_STAMP_SIZE >= 2 * sizeof("SENDER_UNIT") + UID_MAX + CGROUP_UNIT_SIZE + 4,
    "there is room for both");

void sender_stamp_init(struct sender_stamp *stamp, bool is_known, uint64_t uid, const char *unit)
{
    stamp->n = 0;
    if (is_known) {
        char number[UID_MAX];
        (void)snprintf(number, sizeof(number), "%" PRIu64, uid);
        stamp->n += send_property_write(stamp->text, UID_NAME, span_of(number));
    }
    if (unit && unit[0] && strlen(unit) < CGROUP_UNIT_SIZE) {
        stamp->n += send_property_write(stamp->text + stamp->n, UNIT_NAME, span_of(unit));
    }
}

struct span sender_stamp_text(const struct sender_stamp *stamp)
{
    return (struct span){ stamp->text, stamp->n };
}

bool sender_stamp_is_given(struct span properties)
{
    return !span_is_absent(message_property(properties, UID_NAME)) ||
           !span_is_absent(message_property(properties, UNIT_NAME));
}
