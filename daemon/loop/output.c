#include "daemon/loop/output.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define OUTPUT_IOVECS 64

void output_init(struct output *output, struct memory *memory)
{
    *output = (struct output){ .memory = memory };
}

static struct output_chunk *block_new(struct memory *memory)
{
    struct output_chunk *block = free_list_take(&memory->blocks);
    if (!block) {
        return NULL;
    }
    memory->used += OUTPUT_BLOCK_SIZE;
    block->next = NULL;
    block->frame = NULL;
    block->n_references = 1;
    block->data = block->block;
    block->start = block->end = 0;
    return block;
}

void output_block_unref(struct memory *memory, struct output_chunk *block)
{
    if (--block->n_references > 0) {
        return;
    }
    memory->used -= OUTPUT_BLOCK_SIZE;
    free_list_give(&memory->blocks, block);
}

static void chunk_free(struct memory *memory, struct output_chunk *chunk)
{
    if (chunk->frame) {
        frame_buffer_unref(chunk->frame);
        free(chunk);
        return;
    }
    output_block_unref(memory, chunk);
}

static void first_free(struct output *output)
{
    struct output_chunk *chunk = output->first;
    output->first = chunk->next;
    if (!output->first) {
        output->last = NULL;
    }
    chunk_free(output->memory, chunk);
}

void output_deinit(struct output *output)
{
    while (output->first) {
        first_free(output);
    }
    output->size = 0;
}

static void chunk_append(struct output *output, struct output_chunk *chunk)
{
    if (output->last) {
        output->last->next = chunk;
    } else {
        output->first = chunk;
    }
    output->last = chunk;
}

/* Takes the reference over, also when it fails. */
static int frame_append(
    struct output *output, struct frame_buffer *frame, const uint8_t *data, size_t n)
{
    struct output_chunk *chunk = malloc(sizeof(*chunk));
    if (!chunk) {
        frame_buffer_unref(frame);
        return -ENOMEM;
    }
    *chunk = (struct output_chunk){ .frame = frame, .data = data, .end = n };
    chunk_append(output, chunk);
    output->size += n;
    return 0;
}

uint8_t *output_reserve(struct output *output, size_t n)
{
    if (n > OUTPUT_BLOCK_SIZE) {
        /* A head of this size is rare: it gets a buffer of its own. */
        struct frame_buffer *frame = frame_buffer_new_beyond(output->memory, n);
        if (!frame || frame_append(output, frame, frame->data, n) < 0) {
            return NULL;
        }
        return frame->data;
    }
    struct output_chunk *block = output->last;
    if (!block || block->frame || OUTPUT_BLOCK_SIZE - block->end < n) {
        block = block_new(output->memory);
        if (!block) {
            return NULL;
        }
        chunk_append(output, block);
    }
    uint8_t *room = block->block + block->end;
    block->end += n;
    output->size += n;
    return room;
}

void output_give_back(struct output *output, size_t n)
{
    assert(output->last && output->last->end - output->last->start >= n);
    output->last->end -= n;
    output->size -= n;
}

uint8_t *output_append_head(struct output *output, const struct remoting_command *command,
    enum serialize_type serialize_type, size_t head_room, struct span behind, size_t *ret_size)
{
    uint8_t *room = output_reserve(output, head_room + behind.n);
    if (!room) {
        return NULL;
    }
    size_t head_size = remoting_command_encode_head(command, serialize_type, room);
    output_give_back(output, head_room - head_size);
    if (behind.n > 0) {
        memcpy(room + head_size, behind.data, behind.n);
    }
    if (ret_size) {
        *ret_size = head_size + behind.n;
    }
    return room;
}

struct output_chunk *output_keep_last(struct output *output)
{
    struct output_chunk *block = output->last;
    if (!block || block->frame) {
        return NULL;
    }
    block->n_references++;
    return block;
}

int output_append(struct output *output, const void *data, size_t n, struct frame_buffer *owner)
{
    if (owner && n >= OUTPUT_REFER_SIZE) {
        return frame_append(output, frame_buffer_ref(owner), data, n);
    }
    const uint8_t *from = data;
    while (n > 0) {
        struct output_chunk *last = output->last;
        size_t room = last && !last->frame ? OUTPUT_BLOCK_SIZE - last->end : 0;
        size_t piece = room > 0 ? room : OUTPUT_BLOCK_SIZE;
        if (piece > n) {
            piece = n;
        }
        uint8_t *to = output_reserve(output, piece);
        if (!to) {
            return -ENOMEM;
        }
        memcpy(to, from, piece);
        from += piece;
        n -= piece;
    }
    return 0;
}

size_t output_first(const struct output *output, uint8_t *room, size_t n, const uint8_t **ret_data)
{
    if (n > output->size) {
        n = output->size;
    }
    const struct output_chunk *chunk = output->first;
    if (n == 0 || chunk->end - chunk->start >= n) {
        *ret_data = n > 0 ? chunk->data + chunk->start : room;
        return n;
    }
    size_t n_gathered = 0;
    for (; n_gathered < n; chunk = chunk->next) {
        size_t piece = chunk->end - chunk->start;
        if (piece > n - n_gathered) {
            piece = n - n_gathered;
        }
        memcpy(room + n_gathered, chunk->data + chunk->start, piece);
        n_gathered += piece;
    }
    *ret_data = room;
    return n;
}

void output_consume(struct output *output, size_t n)
{
    output->size -= n;
    while (output->first) {
        struct output_chunk *chunk = output->first;
        size_t left = chunk->end - chunk->start;
        if (n < left) {
            chunk->start += n;
            return;
        }
        n -= left;
        first_free(output);
    }
}

/* As sendmsg() of the chunks, as many as fit one; how many bytes they have. */
static ssize_t chunks_send(const struct output *output, int fd, size_t *ret_n_offered)
{
    const struct output_chunk *first = output->first;
    if (!first->next) {
        /* Mostly, and cheaper for the kernel. */
        *ret_n_offered = first->end - first->start;
        return send(fd, first->data + first->start, *ret_n_offered, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    UNINITIALIZED struct iovec vectors[OUTPUT_IOVECS];
    size_t n_vectors = 0;
    *ret_n_offered = 0;
    for (const struct output_chunk *chunk = first; chunk && n_vectors < OUTPUT_IOVECS;
         chunk = chunk->next) {
        size_t n = chunk->end - chunk->start;
        vectors[n_vectors].iov_base = (void *)(uintptr_t)(chunk->data + chunk->start);
        vectors[n_vectors].iov_len = n;
        n_vectors++;
        *ret_n_offered += n;
    }
    struct msghdr message = { .msg_iov = vectors, .msg_iovlen = n_vectors };
    return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

enum output_status output_write(struct output *output, int fd)
{
    while (output->size > 0) {
        size_t n_offered;
        ssize_t n = chunks_send(output, fd, &n_offered);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK ? OUTPUT_BLOCKED : OUTPUT_FAILED;
        }
        output_consume(output, (size_t)n);
        if ((size_t)n < n_offered) {
            return OUTPUT_BLOCKED;
        }
    }
    return OUTPUT_EMPTY;
}
