/*
 * Transport
 *
 * One non-blocking stream socket, cut into frames on the way in and gathered into one write a turn
 * on the way out. Sessions and upstreams each have one; neither touches its descriptor otherwise.
 *
 *     in   recv into the loop's shared buffer; complete frames are handed out of it where they lie.
 *          A frame that is not complete yet is kept in a frame buffer of its own, which grows to the
 *          frame's whole size only after TRANSPORT_TRUST_SIZE bytes of it have come: whoever claims
 *          16 MiB has to send some of them first. After a large frame another one of its size is
 *          expected, and read into a buffer of that size from its first byte to its last and no
 *          further: so large frames that follow each other are never copied.
 *     out  the owner appends to `output` and calls transport_flush_later(); the loop writes at the
 *          end of the turn.
 *
 * With TLS (transport_secure()) a stream of tls_stream.h stands between both and the socket, from
 * the first byte on; the handshake is part of connecting. A plain transport has it in one branch of
 * a read and one of a write.
 *
 * A peer that does not speak frames at all has a dialect between the socket and both directions
 * (transport_dialect, http_stream.h): it reads the socket and brings forth frames, and writes what
 * the frames in the output say in its own words.
 *
 * It decides nothing: what is wrong with a frame, and the end of the connection, go to the handler,
 * which closes. transport_close() is safe in every callback; the memory is the owner's, who gives
 * it to the loop's reaper.
 */
#pragma once

#include "daemon/core/failure.h"
#include "daemon/loop/loop.h"
#include "daemon/loop/memory.h"
#include "daemon/loop/output.h"
#include "daemon/loop/tls_stream.h"
#include "protocol/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRANSPORT_TRUST_SIZE (64 * 1024)
/*
 * A frame from this size on is worth a read and a buffer of its own; larger ones than the second
 * are not expected, since nothing of them was sent yet.
 */
#define TRANSPORT_LARGE_SIZE    (32 * 1024)
#define TRANSPORT_EXPECTED_SIZE (1280 * 1024)

enum transport_end {
    TRANSPORT_END_OF_FILE,
    TRANSPORT_ERROR,     /* error is the errno; transport_error_text() has more words for it */
    TRANSPORT_NO_MEMORY, /* a frame did not fit limits.total_memory, or the machine's */
};

struct transport;
struct transport_dialect;

enum dialect_read {
    DIALECT_FRAME,   /* another one may be there already */
    DIALECT_NOTHING, /* for now; what it has to say for itself waits to be written */
    DIALECT_END,     /* of the file, or it has had enough of the peer */
    DIALECT_FAILED,  /* errno says why */
};

struct transport_dialect_type {
    /* A frame of at most frame_limit bytes, and its buffer with a reference. */
    enum dialect_read (*read)(
        struct transport_dialect *dialect, struct frame_buffer **ret_frame, size_t *ret_size);
    /*
     * Contract of output_write(). Frames stay in the output until what they became is written, and
     * it is only empty when the dialect's own output is, too.
     */
    enum output_status (*write)(struct transport_dialect *dialect, struct output *output);
    void (*free)(struct transport_dialect *dialect);
};

/* The part of it that transport.c knows. The flags are the dialect's to set, before it returns. */
struct transport_dialect {
    const struct transport_dialect_type *type;
    struct transport *transport;
    bool is_in_request; /* one has begun, and is not complete */
    bool has_more;      /* more may be read without the socket becoming readable */
    bool is_full;       /* nothing is to be read for now */
    /* A request that was answered as it is: why. Taken away when the handler knows. */
    const char *refused;
    enum failure refused_as;
};

struct transport_handler {
    /*
     * A complete frame, valid until this returns; its bytes may be overwritten. Where owner is not
     * NULL the frame lies in that buffer, and a reference to it keeps it.
     */
    void (*on_frame)(
        struct transport *transport, uint8_t *frame, size_t size, struct frame_buffer *owner);
    /*
     * There is no memory for a frame; (data, n) is what came of it. True: the rest of it is thrown
     * away as it comes, and the next frame is read as ever. False or NULL: TRANSPORT_NO_MEMORY.
     */
    bool (*on_no_room)(struct transport *transport, uint8_t *data, size_t n);
    /* What was read is no frame. (data, n) is what came of it. The handler closes. */
    void (*on_bad_frame)(struct transport *transport, uint8_t *data, size_t n);
    /*
     * The peer's end, or ours by an error. After TRANSPORT_END_OF_FILE nothing more is read; output
     * can still be written.
     */
    void (*on_end)(struct transport *transport, enum transport_end end, int error);
    /* After every read and every resumption, when the frames are handed out. May be NULL. */
    void (*on_read)(struct transport *transport);
    /* After every write: the output may be shorter now. May be NULL. */
    void (*on_written)(struct transport *transport);
    /* A dialect has refused a request, which became no frame. May be NULL. */
    void (*on_refused)(struct transport *transport, enum failure failure, const char *cause);
    /*
     * A connect() ended, and with TLS the handshake behind it: error is 0 or its errno. NULL where
     * sockets come connected.
     */
    void (*on_connected)(struct transport *transport, int error);
};

/* Thousands of callers are idle: it is not larger than it has to be. */
struct transport {
    struct loop *loop;
    const struct transport_handler *handler;
    int fd; /* -1 when closed */
    uint32_t frame_limit;
    struct event read_event;
    struct event *write_event; /* NULL until the socket takes no more for the first time */
    struct loop_dirty dirty;
    struct output output;
    struct tls_stream *tls;            /* NULL: plain text */
    struct transport_dialect *dialect; /* NULL: frames */
    struct frame_buffer *held;         /* the frame that is not complete yet */
    uint32_t n_held;
    uint32_t last_size;           /* of the last frame that came whole */
    uint32_t n_skipped;           /* bytes still to come of a frame that found no memory */
    struct frame_buffer *backlog; /* read, but not looked at since reading was paused */
    bool reads_answers;   /* frames are taken beyond limits.total_memory; set by the owner */
    bool is_connecting;   /* the TLS handshake included */
    bool is_in_handshake; /* that of TLS */
    bool is_paused;
    bool is_ended;       /* end of file was read */
    bool stops_at_frame; /* no more is read than what completes the frame that has begun */
    bool is_blocked;     /* the write event is set */
    uint64_t bytes_received, bytes_sent;
    uint64_t received_ms; /* when bytes last came */
};

/*
 * Takes fd over. frame_limit is at most FRAME_SIZE_MAX. A connecting one is handed out by on_connected
 * before anything is read or written.
 */
int transport_open(struct transport *transport, struct loop *loop, struct memory *memory,
    const struct transport_handler *handler, int fd, size_t frame_limit, bool is_connecting);
/*
 * Of one that is connecting: everything goes through the stream, which belongs to the transport
 * from here on.
 */
void transport_secure(struct transport *transport, struct tls_stream *stream);
/* The peer speaks it from the first byte on. It belongs to the transport from here on. */
void transport_speak(struct transport *transport, struct transport_dialect *dialect);
/* Reads and writes soon, as if the socket were ready: for a dialect whose flags have changed. */
void transport_look_again(struct transport *transport);
/*
 * Why it ended: in TLS's words where it has some, also for TRANSPORT_END_OF_FILE (error 0), else
 * the errno's.
 */
const char *transport_error_text(const struct transport *transport, int error);
/* Closes the descriptor, drops what was read and not written. May be called twice. */
void transport_close(struct transport *transport);
bool transport_is_open(const struct transport *transport);

void transport_flush_later(struct transport *transport);
/*
 * While paused nothing is read, so that the peer feels it. Resuming hands out what had been read
 * already.
 */
void transport_pause(struct transport *transport);
void transport_resume(struct transport *transport);
/*
 * From now on no more is read than completes the frame that has begun, and nothing where none has.
 * True: nothing that was read is here any more.
 */
bool transport_stop_at_frame(struct transport *transport);
/* Whether part of a frame has come. */
bool transport_has_partial_frame(const struct transport *transport);
