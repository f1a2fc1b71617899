/* TAP: the caller watches requests as they end. */
#include "daemon/admin/admin.h"

#include "protocol/utf8.h"

#include <errno.h>
#include <string.h>

#define SHOWN_MAX 64

/* False: it does not fit, and the invocation has failed. */
static bool read_text(struct invocation *invocation, const struct remoting_command *command,
    const char *name, char *dst, size_t size)
{
    struct span text = ext_fields_get(&command->ext_fields, span_of(name));
    if (text.n >= size) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "%s has %zu characters, at most %zu are accepted", name, text.n, size - 1);
        return false;
    }
    if (text.n > 0) {
        memcpy(dst, text.data, text.n);
    }
    dst[text.n] = '\0';
    return true;
}

/* *ret_number stays as it is where the field is absent. */
static bool read_number(struct invocation *invocation, const struct remoting_command *command,
    const char *name, int64_t max, int64_t *ret_number)
{
    struct span text = ext_fields_get(&command->ext_fields, span_of(name));
    if (span_is_empty(text) || ext_value_parse_i64(text, 0, max, ret_number)) {
        return true;
    }
    struct span shown = utf8_cut(text, SHOWN_MAX);
    invocation_fail(invocation, FAILURE_INVALID, false,
        "%s is '%.*s': a number from 0 to %lld is accepted", name, SPAN_ARGS(shown),
        (long long)max);
    return false;
}

static bool read_filter(struct invocation *invocation, const struct remoting_command *command,
    struct tap_filter *ret_filter)
{
    int64_t session_id = 0, code = 0, n_body = 0;
    if (!read_number(invocation, command, "session", INT64_MAX, &session_id) ||
        !read_number(invocation, command, "code", INT32_MAX, &code) ||
        !read_number(invocation, command, "bodies", TAP_BODY_MAX, &n_body) ||
        !read_text(invocation, command, "topic", ret_filter->topic, sizeof(ret_filter->topic)) ||
        !read_text(invocation, command, "addr", ret_filter->address, sizeof(ret_filter->address)) ||
        !read_text(
            invocation, command, "outcome", ret_filter->outcome, sizeof(ret_filter->outcome))) {
        return false;
    }
    if (ret_filter->outcome[0] && !tap_outcome_is_known(span_of(ret_filter->outcome))) {
        invocation_fail(invocation, FAILURE_INVALID, false,
            "outcome is '%s': answered, refused, sent, left, failed or a word of sidecar.error is "
            "accepted",
            ret_filter->outcome);
        return false;
    }
    ret_filter->session_id = (uint64_t)session_id;
    ret_filter->code = (int32_t)code;
    ret_filter->n_body = (uint32_t)n_body;
    return true;
}

void admin_tap(struct invocation *invocation, const struct remoting_command *command,
    const struct command_source *source)
{
    (void)source;
    struct session *session = invocation->session;
    struct tap_filter filter = { 0 };
    if (!read_filter(invocation, command, &filter)) {
        return;
    }
    /* Who has shut its side down gets its answer, and is gone. */
    int r = session->state == SESSION_OPEN ? tap_start(&invocation->invoker->taps, &session->tap,
                                                 session, invocation->serialize_type, &filter)
                                           : 0;
    if (r == -EBUSY) {
        invocation_fail(
            invocation, FAILURE_OVERLOADED, false, "%d connections watch requests", TAPS_MAX);
        return;
    }
    if (r < 0) {
        invocation_fail(invocation, FAILURE_OVERLOADED, false, "out of memory");
        return;
    }
    session->is_bound = true;
    admin_answer_json(
        invocation, json_pack("{s:b, s:i, s:i}", "seesAll", invocation->role->is_admin, "maxBodies",
                        TAP_BODY_MAX, "maxRequestsASecond", TAP_REQUESTS_A_SECOND));
}
