#include "daemon/upstream/kept_command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int kept_command_keep(struct kept_command *kept, struct memory *memory,
    const struct remoting_command *command, const struct command_source *source, size_t n_spare)
{
    size_t capacity = command->ext_fields.n + n_spare;
    struct ext_field *fields = calloc(capacity > 0 ? capacity : 1, sizeof(*fields));
    if (!fields) {
        return -ENOMEM;
    }
    struct frame_buffer *frame = NULL;
    if (source->owner) {
        frame = frame_buffer_ref(source->owner);
    } else if (source->size > 0) {
        frame = frame_buffer_new(memory, source->size);
        if (!frame) {
            free(fields);
            return -ENOMEM;
        }
        memcpy(frame->data, source->frame, source->size);
    }
    for (size_t i = 0; i < command->ext_fields.n; i++) {
        fields[i] = command->ext_fields.fields[i];
    }
    kept->command = *command;
    kept->command.ext_fields.fields = fields;
    kept->command.ext_fields.capacity = capacity;
    kept->fields = fields;
    kept->frame = frame;
    kept->body_owner = source->body_owner ? frame_buffer_ref(source->body_owner) : NULL;
    if (frame && !source->owner) {
        remoting_command_rebase(&kept->command, source->frame, source->size, frame->data);
    }
    return 0;
}

bool kept_command_is_kept(const struct kept_command *kept)
{
    return kept->fields != NULL;
}

struct command_source kept_command_source(const struct kept_command *kept)
{
    return (struct command_source){ .owner = kept->frame, .body_owner = kept->body_owner };
}

void kept_command_deinit(struct kept_command *kept)
{
    free(kept->fields);
    kept->fields = NULL;
    kept->frame = frame_buffer_unref(kept->frame);
    kept->body_owner = frame_buffer_unref(kept->body_owner);
}
