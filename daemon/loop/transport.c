#include "daemon/loop/transport.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The smallest buffer for the beginning of a frame. */
#define HELD_SIZE_MIN 512

static struct transport *transport_of_dirty(struct loop_dirty *dirty)
{
    return (struct transport *)(void *)((char *)dirty - offsetof(struct transport, dirty));
}

/*
 * The first event of a descriptor may fail without memory, which transport_open() looks at; those
 * after it have their place in libevent's tables already.
 */
static int reading_update(struct transport *transport)
{
    bool wants = transport->fd >= 0 && !transport->is_connecting && !transport->is_paused &&
                 !transport->is_ended && !(transport->dialect && transport->dialect->is_full) &&
                 (!transport->stops_at_frame || transport_has_partial_frame(transport) ||
                     (transport->dialect && transport->dialect->has_more));
    int r = wants ? event_add(&transport->read_event, NULL) : event_del(&transport->read_event);
    if (wants && (transport->tls || (transport->dialect && transport->dialect->has_more))) {
        /*
         * What TLS holds already, or a dialect, makes no socket readable. Only now: libevent does
         * not watch a socket whose event is active when it is added.
         */
        event_active(&transport->read_event, EV_READ, 1);
    }
    return r;
}

static void on_writable(evutil_socket_t fd, short what, void *context);

/* Most callers read what they asked for: their connections never need the second event. */
static int write_event_new(struct transport *transport)
{
    transport->write_event = event_new(
        transport->loop->base, transport->fd, EV_WRITE | EV_PERSIST, on_writable, transport);
    return transport->write_event ? 0 : -ENOMEM;
}

static void write_event_free(struct transport *transport)
{
    if (transport->write_event) {
        event_free(transport->write_event);
        transport->write_event = NULL;
    }
}

static int blocked_set(struct transport *transport, bool is_blocked)
{
    if (transport->is_blocked == is_blocked) {
        return 0;
    }
    if (!transport->write_event && write_event_new(transport) < 0) {
        return -ENOMEM;
    }
    transport->is_blocked = is_blocked;
    return is_blocked ? event_add(transport->write_event, NULL) : event_del(transport->write_event);
}

/* What a peer that refused us was sent it has thrown away unread. */
static void sent_forget(struct transport *transport)
{
    if (transport->tls && tls_stream_was_refused(transport->tls)) {
        transport->bytes_sent = 0;
    }
}

static void failed(struct transport *transport, int error)
{
    sent_forget(transport);
    transport->handler->on_end(transport, TRANSPORT_ERROR, error);
}

static enum output_status bytes_write(struct transport *transport)
{
    if (transport->tls) {
        return tls_stream_write(transport->tls, &transport->output);
    }
    if (transport->dialect) {
        enum output_status status =
            transport->dialect->type->write(transport->dialect, &transport->output);
        int error = errno;
        (void)reading_update(transport); /* another request may be welcome now */
        errno = error;
        return status;
    }
    return output_write(&transport->output, transport->fd);
}

static void write_now(struct transport *transport)
{
    if (transport->fd < 0 || transport->is_connecting) {
        return;
    }
    size_t size_before = transport->output.size;
    enum output_status status = bytes_write(transport);
    int error = errno;
    transport->bytes_sent += size_before - transport->output.size;
    switch (status) {
    case OUTPUT_EMPTY:
        (void)blocked_set(transport, false);
        break;
    case OUTPUT_BLOCKED:
        /* Where TLS has to read first, a socket that takes more is of no use. */
        if (blocked_set(transport, !(transport->tls && transport->tls->write_wants_read)) < 0) {
            transport->handler->on_end(transport, TRANSPORT_NO_MEMORY, ENOMEM);
            return;
        }
        break;
    case OUTPUT_FAILED:
        (void)blocked_set(transport, false);
        failed(transport, error);
        return;
    }
    if (transport->handler->on_written) {
        transport->handler->on_written(transport);
    }
}

static void on_flush(struct loop_dirty *dirty)
{
    struct transport *transport = transport_of_dirty(dirty);
    if (!transport->is_blocked) {
        write_now(transport);
    }
}

static void connected(struct transport *transport, int error)
{
    transport->is_connecting = transport->is_in_handshake = false;
    if (error == 0) {
        (void)reading_update(transport);
    }
    transport->handler->on_connected(transport, error);
}

/* The events are those of the handshake until it is done. */
static void handshake_continue(struct transport *transport)
{
    enum tls_handshake status = tls_stream_handshake(transport->tls);
    (void)blocked_set(transport, status == TLS_HANDSHAKE_WANTS_WRITE);
    switch (status) {
    case TLS_HANDSHAKE_DONE:
        connected(transport, 0);
        return;
    case TLS_HANDSHAKE_WANTS_READ:
        (void)event_add(&transport->read_event, NULL);
        return;
    case TLS_HANDSHAKE_WANTS_WRITE:
        (void)event_del(&transport->read_event);
        return;
    case TLS_HANDSHAKE_FAILED:
        (void)event_del(&transport->read_event);
        connected(transport, transport->tls->error ? transport->tls->error : ECONNRESET);
        return;
    }
}

static void connect_end(struct transport *transport)
{
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(transport->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
        error = errno;
    }
    (void)blocked_set(transport, false);
    if (error == 0 && transport->tls) {
        transport->is_in_handshake = true;
        handshake_continue(transport);
        return;
    }
    connected(transport, error);
}

static struct frame_buffer *buffer_new(const struct transport *transport, size_t capacity)
{
    struct memory *memory = transport->output.memory;
    return transport->reads_answers ? frame_buffer_new_beyond(memory, capacity)
                                    : frame_buffer_new(memory, capacity);
}

/* Makes room for n bytes in `held`, whose frame is `size` bytes long as far as is known. */
static int held_make_room(struct transport *transport, size_t n, size_t size)
{
    struct frame_buffer *held = transport->held;
    if (held && n <= held->capacity) {
        return 0;
    }
    size_t capacity = size < HELD_SIZE_MIN ? HELD_SIZE_MIN : size;
    if (n < TRANSPORT_TRUST_SIZE && capacity > TRANSPORT_TRUST_SIZE) {
        capacity = TRANSPORT_TRUST_SIZE;
    }
    struct frame_buffer *larger = buffer_new(transport, capacity);
    if (!larger) {
        return -ENOMEM;
    }
    if (held) {
        memcpy(larger->data, held->data, transport->n_held);
        frame_buffer_unref(held);
    }
    transport->held = larger;
    return 0;
}

/*
 * The frame of this size, of which (data, n) has come, finds no memory: the handler may answer and
 * have the rest of it thrown away. False: the transport ended.
 */
static bool frame_drop(struct transport *transport, uint8_t *data, size_t n, size_t size)
{
    const struct transport_handler *handler = transport->handler;
    if (!handler->on_no_room || !handler->on_no_room(transport, data, n)) {
        if (transport->fd >= 0) {
            handler->on_end(transport, TRANSPORT_NO_MEMORY, ENOMEM);
        }
        return false;
    }
    transport->n_skipped = (uint32_t)(size - n);
    return transport->fd >= 0;
}

/* The same for the held one: what is here of its header is looked at as far as it fits. */
static bool held_drop(struct transport *transport, const uint8_t *data, size_t n, size_t size)
{
    struct frame_buffer *held = transport->held;
    size_t more = held->capacity - transport->n_held;
    if (more > n) {
        more = n;
    }
    memcpy(held->data + transport->n_held, data, more);
    size_t n_here = transport->n_held + more;
    transport->held = NULL;
    transport->n_held = 0;
    bool goes_on = frame_drop(transport, held->data, n_here, size);
    frame_buffer_unref(held);
    if (goes_on) {
        transport->n_skipped -= (uint32_t)(n - more);
    }
    return goes_on;
}

static void bad_frame(struct transport *transport, uint8_t *data, size_t n)
{
    transport->handler->on_bad_frame(transport, data, n);
    assert(transport->fd < 0 || transport->is_paused || transport->is_ended);
}

/* Hands the held frame out if it is complete. */
static void held_deliver(struct transport *transport)
{
    struct frame_buffer *held = transport->held;
    size_t size;
    switch (frame_measure(held->data, transport->n_held, transport->frame_limit, &size)) {
    case FRAME_COMPLETE:
        transport->held = NULL;
        transport->n_held = 0;
        transport->last_size = (uint32_t)size;
        transport->handler->on_frame(transport, held->data, size, held);
        frame_buffer_unref(held);
        return;
    case FRAME_PARTIAL:
        return;
    case FRAME_TOO_LARGE:
    case FRAME_MALFORMED:
        bad_frame(transport, held->data, transport->n_held);
        return;
    }
}

/*
 * Adds to the held frame what belongs to it of (data, n); the number of bytes taken, 0 when the
 * transport ended.
 */
static size_t held_continue(struct transport *transport, const uint8_t *data, size_t n)
{
    size_t size;
    enum frame_status status =
        frame_measure(transport->held->data, transport->n_held, transport->frame_limit, &size);
    assert(status == FRAME_PARTIAL);
    size_t taken = size - transport->n_held;
    if (taken > n) {
        taken = n;
    }
    if (held_make_room(transport, transport->n_held + taken, size) < 0) {
        return held_drop(transport, data, taken, size) ? taken : 0;
    }
    memcpy(transport->held->data + transport->n_held, data, taken);
    transport->n_held += (uint32_t)taken;
    held_deliver(transport);
    return taken;
}

static bool takes_frames(const struct transport *transport)
{
    return transport->fd >= 0 && !transport->is_paused;
}

static void backlog_keep(struct transport *transport, const uint8_t *data, size_t n)
{
    assert(!transport->backlog);
    transport->backlog = frame_buffer_new(transport->output.memory, n);
    if (!transport->backlog) {
        transport->handler->on_end(transport, TRANSPORT_NO_MEMORY, ENOMEM);
        return;
    }
    memcpy(transport->backlog->data, data, n);
}

/* Cuts (data, n) into frames and hands them out. */
static void take_bytes(struct transport *transport, uint8_t *data, size_t n)
{
    while (n > 0 && takes_frames(transport)) {
        if (transport->n_skipped > 0) {
            size_t skipped = n < transport->n_skipped ? n : transport->n_skipped;
            transport->n_skipped -= (uint32_t)skipped;
            data += skipped;
            n -= skipped;
            continue;
        }
        if (transport->held) {
            size_t taken = held_continue(transport, data, n);
            if (taken == 0) {
                return;
            }
            data += taken;
            n -= taken;
            continue;
        }
        size_t size;
        switch (frame_measure(data, n, transport->frame_limit, &size)) {
        case FRAME_COMPLETE:
            transport->last_size = (uint32_t)size;
            transport->handler->on_frame(transport, data, size, NULL);
            data += size;
            n -= size;
            continue;
        case FRAME_PARTIAL:
            if (held_make_room(transport, n, size) < 0) {
                (void)frame_drop(transport, data, n, size);
                return;
            }
            memcpy(transport->held->data, data, n);
            transport->n_held = (uint32_t)n;
            return;
        case FRAME_TOO_LARGE:
        case FRAME_MALFORMED:
            bad_frame(transport, data, n);
            return;
        }
    }
    if (n > 0 && transport->fd >= 0) {
        backlog_keep(transport, data, n);
    }
}

/* The room in `held` for the rest of its large frame, where it has been given its whole size. */
static size_t held_room(const struct transport *transport)
{
    if (!transport->held || transport->held->capacity < TRANSPORT_LARGE_SIZE) {
        return 0;
    }
    size_t size;
    if (frame_measure(transport->held->data, transport->n_held, transport->frame_limit, &size) !=
            FRAME_PARTIAL ||
        size > transport->held->capacity || size < TRANSPORT_LARGE_SIZE) {
        return 0;
    }
    return size - transport->n_held;
}

/* A buffer for another frame like the last, where that was a large one. May be NULL. */
static struct frame_buffer *expected_buffer(const struct transport *transport)
{
    bool is_expected = !transport->held && transport->n_skipped == 0 &&
                       transport->last_size >= TRANSPORT_LARGE_SIZE &&
                       transport->last_size <= TRANSPORT_EXPECTED_SIZE;
    return is_expected ? buffer_new(transport, transport->last_size) : NULL;
}

/* What came into a buffer for an expected frame, which need not be one. */
static void take_expected(struct transport *transport, struct frame_buffer *buffer, size_t n)
{
    size_t size = 0;
    enum frame_status status = frame_measure(buffer->data, n, transport->frame_limit, &size);
    /*
     * Little of it would hold much memory for as long as the rest takes. A Unix socket has no more
     * than some 200 KiB at a time, whatever is on its way.
     */
    bool is_worth_it = size <= buffer->capacity && size >= TRANSPORT_LARGE_SIZE &&
                       (n >= size / 4 || n >= TRANSPORT_TRUST_SIZE);
    if ((status == FRAME_COMPLETE && n == size) || (status == FRAME_PARTIAL && is_worth_it)) {
        transport->held = frame_buffer_ref(buffer);
        transport->n_held = (uint32_t)n;
        held_deliver(transport);
        return;
    }
    transport->last_size = 0;
    take_bytes(transport, buffer->data, n);
}

static void take_end(struct transport *transport, ssize_t n)
{
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            failed(transport, errno);
        }
        return;
    }
    transport->is_ended = true;
    (void)reading_update(transport);
    sent_forget(transport);
    transport->handler->on_end(transport, TRANSPORT_END_OF_FILE, 0);
}

/* As recv(). */
static ssize_t bytes_read(struct transport *transport, uint8_t *data, size_t n)
{
    if (transport->tls) {
        const struct iovec vector = { .iov_base = data, .iov_len = n };
        return tls_stream_read(transport->tls, &vector, 1);
    }
    return recv(transport->fd, data, n, 0);
}

/* What is missing of the frame that has begun, as far as its size is known. */
static size_t frame_rest(const struct transport *transport)
{
    size_t size;
    if (transport->n_skipped > 0) {
        return transport->n_skipped;
    }
    enum frame_status status =
        frame_measure(transport->held->data, transport->n_held, transport->frame_limit, &size);
    assert(status == FRAME_PARTIAL);
    return size - transport->n_held;
}

/* The dialect's flags may be others behind each of its frames. */
static void dialect_receive(struct transport *transport)
{
    struct transport_dialect *dialect = transport->dialect;
    enum dialect_read status = DIALECT_NOTHING;
    while (takes_frames(transport)) {
        struct frame_buffer *frame;
        size_t size;
        status = dialect->type->read(dialect, &frame, &size);
        if (dialect->refused && transport->handler->on_refused) {
            transport->handler->on_refused(transport, dialect->refused_as, dialect->refused);
            dialect->refused = NULL;
        }
        if (status != DIALECT_FRAME) {
            break;
        }
        transport->bytes_received += size;
        transport->received_ms = transport->loop->now_ms;
        transport->handler->on_frame(transport, frame->data, size, frame);
        frame_buffer_unref(frame);
    }
    if (status == DIALECT_END || status == DIALECT_FAILED) {
        take_end(transport, status == DIALECT_END ? 0 : -1);
    }
    if (transport->fd >= 0) {
        (void)reading_update(transport);
        transport_flush_later(transport);
        if (transport->handler->on_read) {
            transport->handler->on_read(transport);
        }
    }
}

static void receive(struct transport *transport)
{
    if (transport->dialect) {
        dialect_receive(transport);
        return;
    }
    size_t n_held_room = held_room(transport);
    CLEANUP(frame_buffer_unref) struct frame_buffer *expected = expected_buffer(transport);
    uint8_t *data = transport->loop->receive_buffer;
    size_t n_room = LOOP_RECEIVE_SIZE;
    if (n_held_room > 0) {
        data = transport->held->data + transport->n_held;
        n_room = n_held_room;
    } else if (expected) {
        data = expected->data;
        n_room = expected->capacity; /* the size of the last frame, not what was allocated */
    }
    if (transport->stops_at_frame) {
        size_t n_rest = frame_rest(transport);
        n_room = n_rest < n_room ? n_rest : n_room;
    }
    ssize_t n = bytes_read(transport, data, n_room);
    if (n <= 0) {
        take_end(transport, n);
        return;
    }
    transport->bytes_received += (size_t)n;
    transport->received_ms = transport->loop->now_ms;
    if (n_held_room > 0) {
        transport->n_held += (uint32_t)n;
        held_deliver(transport);
    } else if (expected) {
        take_expected(transport, expected, (size_t)n);
    } else {
        take_bytes(transport, data, (size_t)n);
    }
    if (transport->stops_at_frame) {
        (void)reading_update(transport);
    }
    if (transport->fd >= 0 && transport->handler->on_read) {
        transport->handler->on_read(transport);
    }
}

/* What one direction of TLS wanted of the other. */
static void tls_go_on(struct transport *transport)
{
    if (transport->tls->write_wants_read) {
        write_now(transport);
    }
    if (transport->fd >= 0 && transport->tls->read_wants_write) {
        (void)blocked_set(transport, true);
    }
    if (transport->fd >= 0 && transport->tls->has_more) {
        (void)reading_update(transport);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct transport *transport = context;
    loop_wake(transport->loop);
    if (transport->is_in_handshake) {
        handshake_continue(transport);
        return;
    }
    receive(transport);
    if (transport->tls && transport->fd >= 0) {
        tls_go_on(transport);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct transport *transport = context;
    loop_wake(transport->loop);
    if (transport->is_in_handshake) {
        handshake_continue(transport);
    } else if (transport->is_connecting) {
        connect_end(transport);
    } else if (transport->tls && transport->tls->read_wants_write) {
        receive(transport);
        if (transport->fd >= 0) {
            write_now(transport);
        }
    } else {
        write_now(transport);
    }
}

int transport_open(struct transport *transport, struct loop *loop, struct memory *memory,
    const struct transport_handler *handler, int fd, size_t frame_limit, bool is_connecting)
{
    *transport = (struct transport){
        .loop = loop,
        .handler = handler,
        .fd = fd,
        .frame_limit = (uint32_t)frame_limit,
        .is_connecting = is_connecting,
        .received_ms = loop->now_ms,
        .dirty.on_flush = on_flush,
    };
    output_init(&transport->output, memory);
    if (event_assign(&transport->read_event, loop->base, fd, EV_READ | EV_PERSIST, on_readable,
            transport) < 0 ||
        (is_connecting ? blocked_set(transport, true) : reading_update(transport)) < 0) {
        write_event_free(transport);
        transport->fd = -1;
        (void)close(fd);
        return -ENOMEM;
    }
    return 0;
}

void transport_secure(struct transport *transport, struct tls_stream *stream)
{
    assert(transport->is_connecting && !transport->tls);
    transport->tls = stream;
}

void transport_speak(struct transport *transport, struct transport_dialect *dialect)
{
    assert(!transport->is_connecting && !transport->tls && !transport->dialect);
    transport->dialect = dialect;
    dialect->transport = transport;
}

void transport_look_again(struct transport *transport)
{
    (void)reading_update(transport);
    transport_flush_later(transport);
}

const char *transport_error_text(const struct transport *transport, int error)
{
    const char *cause = transport->tls ? tls_stream_cause(transport->tls) : NULL;
    if (cause) {
        return cause;
    }
    return error == 0 ? "it closed the connection" : strerror(error);
}

void transport_close(struct transport *transport)
{
    if (transport->fd < 0) {
        return;
    }
    (void)event_del(&transport->read_event);
    write_event_free(transport);
    loop_forget_dirty(transport->loop, &transport->dirty);
    transport->tls = tls_stream_free(transport->tls);
    if (transport->dialect) {
        transport->dialect->type->free(transport->dialect);
        transport->dialect = NULL;
    }
    (void)close(transport->fd);
    transport->fd = -1;
    output_deinit(&transport->output);
    transport->held = frame_buffer_unref(transport->held);
    transport->backlog = frame_buffer_unref(transport->backlog);
    transport->n_held = 0;
}

bool transport_is_open(const struct transport *transport)
{
    return transport->fd >= 0;
}

void transport_flush_later(struct transport *transport)
{
    loop_mark_dirty(transport->loop, &transport->dirty);
}

void transport_pause(struct transport *transport)
{
    if (!transport->is_paused) {
        transport->is_paused = true;
        (void)reading_update(transport);
    }
}

void transport_resume(struct transport *transport)
{
    if (!transport->is_paused) {
        return;
    }
    transport->is_paused = false;
    struct frame_buffer *backlog = transport->backlog;
    if (backlog) {
        transport->backlog = NULL;
        take_bytes(transport, backlog->data, backlog->capacity);
        frame_buffer_unref(backlog);
    }
    if (transport->fd < 0) {
        return;
    }
    (void)reading_update(transport);
    if (transport->handler->on_read) {
        transport->handler->on_read(transport);
    }
}

bool transport_stop_at_frame(struct transport *transport)
{
    transport->stops_at_frame = true;
    (void)reading_update(transport);
    return !transport_has_partial_frame(transport) && !transport->backlog &&
           !(transport->dialect && transport->dialect->has_more);
}

bool transport_has_partial_frame(const struct transport *transport)
{
    return transport->held != NULL || transport->n_skipped > 0 ||
           (transport->dialect && transport->dialect->is_in_request);
}
