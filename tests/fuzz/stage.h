/*
 * Stage
 *
 * The whole daemon in this process, as main() makes it, for one play: a caller writes its bytes to
 * the listener's socket, shuts its side down and reads until the daemon closes; a nameserver and a
 * broker on loopback ports answer; then the daemon is told to drain, and everything it holds is
 * taken down, which asserts that nothing was left behind. The daemon runs in the thread of the
 * caller of stage_play(), its peers in another one.
 *
 * Nobody waits long: every limit of time is some tens of milliseconds, except that of the play
 * itself: a daemon that does not come to an end is a broken promise. Nothing but the stage's own
 * ports can be connected to, whatever an input names.
 */
#pragma once

#include "protocol/remoting_command.h"
#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAGE_FRAME_MAX (64u * 1024)

struct stage_script {
    struct span caller; /* what the caller writes */
    size_t piece;       /* so many bytes at a time; 0: as many as the socket takes */
    /* It shuts its side down when so many answers have come, and answers requests until then. */
    size_t n_awaited;
    /*
     * What the broker answers with, a frame for each request, with the opaque of the request where
     * it is a response; requests among them are sent as they are. What is no frame is sent, and the
     * connection closed; so it is when nothing is left. Absent: the broker answers as a real one
     * that is well.
     */
    struct span broker;
    bool is_nameserver_scripted; /* it answers so, too */
};

struct stage_answers {
    uint8_t *data; /* to be freed */
    size_t n;
};

void stage_play(const struct stage_script *script, struct stage_answers *ret_answers);

/*
 * Every response that the caller was given, in turn; valid until visit returns. A stream of the
 * daemon's that is no frames is a broken promise.
 */
void stage_responses_each(const struct stage_answers *answers,
    void (*visit)(
        void *context, const struct remoting_command *response, enum serialize_type serialize_type),
    void *context);
/* The body is JSON, or there is none. */
void stage_promise_json(const struct remoting_command *response);
