#include "daemon/upstream/pending_request.h"

#include "daemon/upstream/upstream.h"

#include <errno.h>

void pending_request_init(
    struct pending_request *request, const struct pending_request_handler *handler)
{
    *request = (struct pending_request){ .handler = handler };
    deadline_init(&request->deadline, NULL);
}

uint64_t pending_request_waits_until_ms(const struct pending_request *request)
{
    uint64_t unsent_ms = request->unsent_deadline_ms;
    return unsent_ms > 0 && unsent_ms < request->deadline_ms ? unsent_ms : request->deadline_ms;
}

bool pending_request_was_sent(const struct pending_request *request)
{
    return request->state == REQUEST_IN_FLIGHT &&
           request->upstream->transport.bytes_sent > request->stream_start;
}

void written_frame_deinit(struct written_frame *written, struct memory *memory)
{
    if (written->block) {
        output_block_unref(memory, written->block);
        written->block = NULL;
    }
    written->body_owner = frame_buffer_unref(written->body_owner);
}

int pending_request_restore(struct pending_request *request, struct memory *memory)
{
    struct written_frame *written = &request->written;
    if (kept_command_is_kept(&request->kept)) {
        return 0;
    }
    if (!written->block) {
        return -ENODATA;
    }
    struct ext_field fields[RPC_HOOK_FIELDS_MAX]; /* with what was added to the caller's */
    struct remoting_command command;
    remoting_command_init(&command, fields, RPC_HOOK_FIELDS_MAX);
    enum serialize_type serialize_type;
    struct header_problem problem;
    if (remoting_command_decode(
            &command, written->data, written->size, &serialize_type, &problem) != HEADER_OK) {
        return -ENODATA; /* we wrote it: this does not happen */
    }
    if (written->body_owner) {
        command.body = written->body;
    }
    const struct command_source source = {
        .frame = written->data,
        .size = written->size,
        .body_owner = written->body_owner,
    };
    return kept_command_keep(&request->kept, memory, &command, &source, 0);
}
