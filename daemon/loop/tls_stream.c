#include "daemon/loop/tls_stream.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/loop/tls_cause.h"

static struct tls_stream *stream_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

/* OpenSSL asks whether the reference is taken. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_stream *stream = stream_of(ssl);
    if (SSL_get_SSL_CTX(ssl) != stream->tls->context) {
        return 0; /* what it was verified by has been replaced */
    }
    tls_keep_session(stream->tls, stream->peer, session);
    return 1;
}

static int on_certificate_wanted(SSL *ssl, void *context)
{
    (void)context;
    stream_of(ssl)->was_asked = true;
    return 1;
}

static int on_verify(int is_fine, X509_STORE_CTX *store)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_stream *stream = stream_of(ssl);
    if (!is_fine && !stream->cause[0]) {
        tls_cause_of_certificate(store, tls_stream_name(stream), stream->cause);
    }
    return is_fine;
}

const char *tls_stream_name(const struct tls_stream *stream)
{
    return stream->tls->server_name[0] ? stream->tls->server_name : stream->host;
}

/* An address is proved as such, and no server is asked for by it. */
static bool name_set(struct tls_stream *stream)
{
    const char *name = tls_stream_name(stream);
    X509_VERIFY_PARAM *parameters = SSL_get0_param(stream->ssl);
    if (stream->tls->verifies) {
        SSL_set_verify(stream->ssl, SSL_VERIFY_PEER, on_verify);
        X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    }
    if (X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1) {
        return true;
    }
    return X509_VERIFY_PARAM_set1_host(parameters, name, 0) == 1 &&
           SSL_set_tlsext_host_name(stream->ssl, name) == 1;
}

struct tls_stream *tls_stream_new(struct tls *tls, const char *host, const char *peer, int fd)
{
    struct tls_stream *stream = calloc(1, sizeof(*stream));
    if (!stream) {
        return NULL;
    }
    stream->tls = tls;
    stream->host = strdup(host);
    stream->peer = strdup(peer);
    stream->ssl = SSL_new(tls->context);
    if (!stream->host || !stream->peer || !stream->ssl ||
        SSL_set_app_data(stream->ssl, stream) != 1 || SSL_set_fd(stream->ssl, fd) != 1 ||
        !name_set(stream)) {
        ERR_clear_error();
        return tls_stream_free(stream);
    }
    SSL_CTX_sess_set_new_cb(tls->context, on_session);
    SSL_set_cert_cb(stream->ssl, on_certificate_wanted, NULL);
    SSL_set_connect_state(stream->ssl);
    SSL_SESSION *session = tls_find_session(tls, peer);
    if (session) {
        (void)SSL_set_session(stream->ssl, session); /* else it is a whole handshake */
    }
    ERR_clear_error();
    return stream;
}

/* Without one of these OpenSSL takes the session for broken, and does not resume it. */
static void end_write(struct tls_stream *stream)
{
    if (!stream->has_failed) {
        (void)SSL_shutdown(stream->ssl);
        ERR_clear_error();
    } else if (stream->error != EPROTO) {
        SSL_set_shutdown(stream->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
}

struct tls_stream *tls_stream_free(struct tls_stream *stream)
{
    if (!stream) {
        return NULL;
    }
    if (stream->is_connected) {
        end_write(stream);
    }
    SSL_free(stream->ssl);
    free(stream->host);
    free(stream->peer);
    free(stream);
    return NULL;
}

bool tls_stream_was_resumed(const struct tls_stream *stream)
{
    return SSL_session_reused(stream->ssl) == 1;
}

/* --- ends --- */

static void fail(struct tls_stream *stream, int ssl_error, int error)
{
    stream->has_failed = true;
    stream->error = EPROTO;
    if (ssl_error == SSL_ERROR_ZERO_RETURN || (ssl_error == SSL_ERROR_SYSCALL && error == 0)) {
        stream->error = 0;
    } else if (ssl_error == SSL_ERROR_SYSCALL) {
        stream->error = error;
    }
    tls_cause_of_end(stream);
    ERR_clear_error();
}

const char *tls_stream_cause(const struct tls_stream *stream)
{
    return stream->cause[0] ? stream->cause : NULL;
}

bool tls_stream_was_refused(const struct tls_stream *stream)
{
    return stream->was_refused;
}

/* --- the handshake --- */

enum tls_handshake tls_stream_handshake(struct tls_stream *stream)
{
    ERR_clear_error();
    errno = 0;
    int r = SSL_do_handshake(stream->ssl);
    int error = errno;
    if (r == 1) {
        stream->is_connected = true;
        return TLS_HANDSHAKE_DONE;
    }
    int ssl_error = SSL_get_error(stream->ssl, r);
    if (ssl_error == SSL_ERROR_WANT_READ) {
        return TLS_HANDSHAKE_WANTS_READ;
    }
    if (ssl_error == SSL_ERROR_WANT_WRITE) {
        return TLS_HANDSHAKE_WANTS_WRITE;
    }
    fail(stream, ssl_error, error);
    return TLS_HANDSHAKE_FAILED;
}

/* --- bytes --- */

/* The bytes of one or more records, up to n; 0 when there are no more for now, or it has failed. */
static size_t read_some(struct tls_stream *stream, uint8_t *data, size_t n)
{
    size_t n_read = 0;
    errno = 0;
    if (SSL_read_ex(stream->ssl, data, n, &n_read) == 1) {
        stream->has_received = true;
        return n_read;
    }
    int error = errno;
    int ssl_error = SSL_get_error(stream->ssl, 0);
    if (ssl_error == SSL_ERROR_WANT_WRITE) {
        stream->read_wants_write = true;
    } else if (ssl_error != SSL_ERROR_WANT_READ) {
        fail(stream, ssl_error, error);
    }
    return 0;
}

ssize_t tls_stream_read(struct tls_stream *stream, const struct iovec *vectors, size_t n_vectors)
{
    size_t n_all = 0;
    stream->read_wants_write = false;
    stream->has_more = true;
    ERR_clear_error();
    for (size_t i = 0; i < n_vectors && stream->has_more && !stream->has_failed; i++) {
        uint8_t *data = vectors[i].iov_base;
        for (size_t left = vectors[i].iov_len; left > 0 && stream->has_more;) {
            size_t n = read_some(stream, data, left);
            /* Behind a short record with nothing after it a read would bring nothing as a rule. */
            stream->has_more = n >= TLS_RECORD_SIZE || (n > 0 && SSL_has_pending(stream->ssl));
            data += n;
            left -= n;
            n_all += n;
        }
    }
    /* What came before its end is handed out first. */
    stream->has_more |= stream->has_failed;
    if (n_all > 0) {
        return (ssize_t)n_all;
    }
    if (!stream->has_failed) {
        errno = EAGAIN;
        return -1;
    }
    stream->has_more = false;
    errno = stream->error;
    return stream->error == 0 ? 0 : -1;
}

/* A peer that hung up may have said why, and that waits to be read. */
static void last_words_read(struct tls_stream *stream)
{
    size_t n_read;
    if (!stream->has_received && ERR_peek_error() == 0) {
        (void)SSL_read_ex(stream->ssl, stream->tls->room, TLS_RECORD_SIZE, &n_read);
    }
}

enum output_status tls_stream_write(struct tls_stream *stream, struct output *output)
{
    stream->write_wants_read = false;
    ERR_clear_error();
    while (output->size > 0) {
        if (stream->has_failed) {
            errno = stream->error ? stream->error : EPIPE;
            return OUTPUT_FAILED;
        }
        const uint8_t *data;
        size_t n = stream->n_retried > 0 ? stream->n_retried : TLS_RECORD_SIZE;
        n = output_first(output, stream->tls->room, n, &data);
        size_t n_written = 0;
        errno = 0;
        if (SSL_write_ex(stream->ssl, data, n, &n_written) == 1) {
            stream->n_retried = 0;
            output_consume(output, n_written);
            continue;
        }
        int error = errno;
        int ssl_error = SSL_get_error(stream->ssl, 0);
        if (ssl_error == SSL_ERROR_WANT_READ || ssl_error == SSL_ERROR_WANT_WRITE) {
            stream->n_retried = n;
            stream->write_wants_read = ssl_error == SSL_ERROR_WANT_READ;
            return OUTPUT_BLOCKED;
        }
        last_words_read(stream);
        fail(stream, ssl_error, error);
    }
    return OUTPUT_EMPTY;
}
