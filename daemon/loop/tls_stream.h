/*
 * TLS stream
 *
 * TLS on one connected, non-blocking socket, for transport.c. OpenSSL reads and writes the socket
 * itself (SSL_set_fd): a memory BIO would copy every byte once more each way, and "written" would
 * mean handed to one more buffer; here it is what the kernel has taken, on which sidecar.sent=no
 * stands. So output goes in records of at most TLS_RECORD_SIZE bytes, many small frames in one and
 * large bodies from where they lie, each with one write(); and a record counts as written when all
 * of it is, for the peer can read nothing of a part. SIGPIPE has to be ignored by the process.
 *
 *     handshake -> read, write -> freed          the caller waits for what each of them wants
 *
 * Either direction may want the other event of the socket: read_wants_write, write_wants_read. What
 * ends a connection is told in words that name the fix, by tls_stream_cause().
 */
#pragma once

#include "daemon/loop/output.h"
#include "daemon/loop/tls.h"

#include <sys/types.h>
#include <sys/uio.h>

#define TLS_CAUSE_SIZE 192

struct tls_stream {
    struct tls *tls;
    SSL *ssl;
    char *host;        /* of the address: the name to be proved, unless another one is configured */
    char *peer;        /* host:port, by which sessions are kept */
    size_t n_retried;  /* bytes of a record that is written in part: to be offered again */
    bool is_connected; /* the handshake is done */
    bool was_asked;    /* for our certificate */
    bool has_received; /* something of the peer's own has come */
    bool has_failed;   /* nothing more can be read or written */
    bool has_more;     /* more may be read without the socket becoming readable */
    bool read_wants_write, write_wants_read;
    bool was_refused;
    int error; /* has_failed: the errno; 0 for an end of file */
    char cause[TLS_CAUSE_SIZE];
};

/* host as it was resolved, peer as its host:port. NULL without memory. */
struct tls_stream *tls_stream_new(struct tls *tls, const char *host, const char *peer, int fd);
/* Says close_notify where that makes sense; the socket is to be closed behind it. */
struct tls_stream *tls_stream_free(struct tls_stream *stream);

enum tls_handshake {
    TLS_HANDSHAKE_DONE,
    TLS_HANDSHAKE_WANTS_READ,
    TLS_HANDSHAKE_WANTS_WRITE,
    TLS_HANDSHAKE_FAILED, /* tls_stream_cause() */
};
enum tls_handshake tls_stream_handshake(struct tls_stream *stream);
bool tls_stream_was_resumed(const struct tls_stream *stream);

/*
 * As readv(): what is there, as far as the vectors have room; 0 at the end of the file, with or
 * without close_notify; -1 with errno, which is EPROTO where it is not the socket that failed.
 */
ssize_t tls_stream_read(struct tls_stream *stream, const struct iovec *vectors, size_t n_vectors);
/* Contract of output_write(); where it wants to read first, that is OUTPUT_BLOCKED, too. */
enum output_status tls_stream_write(struct tls_stream *stream, struct output *output);

/* The name that the peer's certificate has to prove. */
const char *tls_stream_name(const struct tls_stream *stream);
/* Why it failed, or NULL where TLS has nothing to say to it. */
const char *tls_stream_cause(const struct tls_stream *stream);
/*
 * The peer refused our certificate, or that there was none, before anything else came from it. In
 * TLS 1.3 it says so behind the handshake, when requests may have been written: none of them has
 * been read.
 */
bool tls_stream_was_refused(const struct tls_stream *stream);
