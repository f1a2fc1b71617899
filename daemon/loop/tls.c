#include "daemon/loop/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#include "daemon/loop/credential.h"
#include "daemon/loop/log.h"

/* What one recv() may bring: two records, so that a large answer takes half of the calls. */
#define READ_AHEAD_SIZE (32 * 1024)

struct tls_session {
    UT_hash_handle hh;
    SSL_SESSION *session;
    char peer[];
};

/* Where it writes a problem. */
struct sink {
    char *text;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static int refuse(
    struct sink *problem, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(problem->text, problem->size, format, arguments);
    va_end(arguments);
    ERR_clear_error();
    return -EINVAL;
}

/* --- sessions --- */

static void session_forget(struct tls *tls, struct tls_session *kept)
{
    HASH_DEL(tls->sessions, kept);
    SSL_SESSION_free(kept->session);
    free(kept);
}

static void sessions_forget(struct tls *tls)
{
    while (tls->sessions) {
        session_forget(tls, tls->sessions);
    }
}

static struct tls_session *session_find(const struct tls *tls, const char *peer)
{
    struct tls_session *kept;
    HASH_FIND_STR(tls->sessions, peer, kept);
    return kept;
}

void tls_keep_session(struct tls *tls, const char *peer, SSL_SESSION *session)
{
    struct tls_session *before = session_find(tls, peer);
    if (before) {
        session_forget(tls, before);
    } else if (HASH_COUNT(tls->sessions) >= TLS_SESSIONS_MAX) {
        session_forget(tls, tls->sessions);
    }
    size_t n = strlen(peer) + 1;
    struct tls_session *kept = calloc(1, sizeof(*kept) + n);
    if (kept) {
        memcpy(kept->peer, peer, n);
        kept->session = session;
        HASH_ADD_STR(tls->sessions, peer, kept);
        if (kept->hh.tbl) {
            return;
        }
    }
    free(kept);
    SSL_SESSION_free(session);
}

/* A resumed session brings no certificate: the dates of the first one are looked at again here. */
static bool is_certificate_current(SSL_SESSION *session)
{
    const X509 *certificate = SSL_SESSION_get0_peer(session);
    return !certificate || X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
}

SSL_SESSION *tls_find_session(struct tls *tls, const char *peer)
{
    struct tls_session *kept = session_find(tls, peer);
    if (!kept) {
        return NULL;
    }
    if (!SSL_SESSION_is_resumable(kept->session) ||
        (tls->verifies && !is_certificate_current(kept->session))) {
        session_forget(tls, kept);
        return NULL;
    }
    return kept->session;
}

/* --- files --- */

/* That it is there and can be read, for OpenSSL's words on that are of little help. */
static int path_find(
    const char *key, const char *name, char path[static PATH_MAX], struct sink *problem)
{
    char reason[256];
    if (credential_path(name, path, PATH_MAX, reason, sizeof(reason)) < 0) {
        return refuse(problem, "[tls] %s: %s", key, reason);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return refuse(problem, "[tls] %s %s: %s", key, path, strerror(errno));
    }
    (void)close(fd);
    return 0;
}

static int authorities_load(
    SSL_CTX *context, const struct config_tls *settings, struct sink *problem)
{
    char path[PATH_MAX];
    if (!settings->verify) {
        return 0;
    }
    if (!settings->ca_file[0]) {
        return SSL_CTX_set_default_verify_paths(context) == 1
                   ? 0
                   : refuse(problem, "[tls] ca_file: none is given, and the system's CAs cannot be "
                                     "read; a file of CA certificates is accepted");
    }
    int r = path_find("ca_file", settings->ca_file, path, problem);
    if (r == 0 && SSL_CTX_load_verify_file(context, path) != 1) {
        r = refuse(problem,
            "[tls] ca_file %s: it holds no certificate that can be read; PEM is accepted "
            "(-----BEGIN CERTIFICATE-----)",
            path);
    }
    return r;
}

static int certificate_load(
    SSL_CTX *context, const struct config_tls *settings, struct sink *problem)
{
    char path[PATH_MAX];
    int r = path_find("cert_file", settings->cert_file, path, problem);
    if (r < 0) {
        return r;
    }
    if (SSL_CTX_use_certificate_chain_file(context, path) != 1) {
        return refuse(problem,
            "[tls] cert_file %s: it holds no certificate that can be read; PEM is accepted "
            "(-----BEGIN CERTIFICATE-----)",
            path);
    }
    if (X509_cmp_current_time(X509_get0_notAfter(SSL_CTX_get0_certificate(context))) < 0) {
        log_warning("tls cert_file=%s has expired: peers that ask for it will refuse it", path);
    }
    return 0;
}

static int on_passphrase(char *text, int size, int is_writing, void *was_asked)
{
    (void)text;
    (void)size;
    (void)is_writing;
    *(bool *)was_asked = true;
    return -1;
}

static int key_use(SSL_CTX *context, const struct credential *key,
    const struct config_tls *settings, struct sink *problem)
{
    bool was_asked = false;
    BIO *memory = BIO_new_mem_buf(key->data, (int)key->n);
    EVP_PKEY *parsed =
        memory ? PEM_read_bio_PrivateKey(memory, NULL, on_passphrase, &was_asked) : NULL;
    int r = 0;
    if (was_asked) {
        r = refuse(problem,
            "[tls] key_file %s: it has a passphrase, and nobody is there to type it; a key without "
            "one is accepted (openssl pkey -in FILE -out FILE)",
            settings->key_file);
    } else if (!parsed) {
        r = refuse(problem,
            "[tls] key_file %s: it holds no key that can be read; PEM is accepted "
            "(-----BEGIN PRIVATE KEY-----)",
            settings->key_file);
    } else if (SSL_CTX_use_PrivateKey(context, parsed) != 1) {
        r = refuse(problem,
            "[tls] key_file %s: it does not belong to the certificate in cert_file %s; the key "
            "that this one was made for is accepted",
            settings->key_file, settings->cert_file);
    }
    EVP_PKEY_free(parsed);
    BIO_free(memory);
    return r;
}

static int key_load(SSL_CTX *context, const struct config_tls *settings, struct sink *problem)
{
    struct credential key = { .n = 0 };
    char reason[512];
    int r = credential_read(&key, settings->key_file, reason, sizeof(reason));
    if (r < 0) {
        return refuse(problem, "[tls] key_file %s", reason);
    }
    r = key_use(context, &key, settings, problem);
    credential_deinit(&key);
    return r;
}

/* --- the context --- */

static SSL_CTX *context_new(const struct config_tls *settings)
{
    static const int versions[] = {
        [CONFIG_TLS_1_2] = TLS1_2_VERSION, [CONFIG_TLS_1_3] = TLS1_3_VERSION
    };
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, versions[settings->min_version])) {
        SSL_CTX_free(context);
        return NULL;
    }
    /*
     * A peer that ends without close_notify ends like any other: frames say how long they are, so
     * that nothing is cut off unseen.
     */
    SSL_CTX_set_options(
        context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD_SIZE);
    SSL_CTX_set_session_cache_mode(
        context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    return context;
}

int tls_load(struct tls *tls, const struct config_tls *settings, char *problem, size_t problem_size)
{
    struct sink sink = { problem, problem_size };
    char *server_name = strdup(settings->server_name);
    SSL_CTX *context = context_new(settings);
    int r = server_name && context ? 0 : -ENOMEM;
    if (r < 0) {
        (void)refuse(&sink, "[tls] OpenSSL cannot be made ready: out of memory");
    }
    if (r == 0) {
        r = authorities_load(context, settings, &sink);
    }
    if (r == 0 && settings->cert_file[0]) {
        r = certificate_load(context, settings, &sink);
    }
    if (r == 0 && settings->key_file[0]) {
        r = key_load(context, settings, &sink);
    }
    if (r < 0) {
        free(server_name);
        SSL_CTX_free(context);
        return r;
    }
    sessions_forget(tls);
    free(tls->server_name);
    SSL_CTX_free(tls->context);
    tls->context = context;
    tls->server_name = server_name;
    tls->verifies = settings->verify;
    tls->has_certificate = settings->cert_file[0] != '\0';
    if (!settings->verify) {
        log_warning("tls verify=no: certificates of nameservers and brokers are not checked, and "
                    "whoever stands between can read and change everything");
    }
    return 0;
}

bool tls_verifies_hosts(const struct tls *tls)
{
    return tls->verifies && !tls->server_name[0];
}

struct tls *tls_new(const struct config_tls *settings, char *problem, size_t problem_size)
{
    CLEANUP(tls_free) struct tls *tls = calloc(1, sizeof(*tls));
    if (!tls) {
        (void)snprintf(problem, problem_size, "out of memory");
        return NULL;
    }
    if (tls_load(tls, settings, problem, problem_size) < 0) {
        return NULL;
    }
    return TAKE(tls);
}

struct tls *tls_free(struct tls *tls)
{
    if (!tls) {
        return NULL;
    }
    sessions_forget(tls);
    SSL_CTX_free(tls->context);
    free(tls->server_name);
    free(tls);
    return NULL;
}
