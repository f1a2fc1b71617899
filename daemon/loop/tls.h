/*
 * TLS
 *
 * What all connections to nameservers and brokers share where [tls] is on: CAs, our certificate and
 * its key, and the sessions that peers gave, by which the next handshake with them is a short one.
 * tls_stream.h is one connection's part.
 *
 * tls_load() is what a reload calls: it reads the files anew and puts what they hold in the place
 * of what was there. Where something is wrong with them it changes nothing. Connections keep what
 * they were made with, and sessions are forgotten: they were given to what was there before. Who
 * wants none of the old connections drains them.
 *
 * Certificates are checked (CA, dates, and the name that is asked for) unless [tls] verify is no.
 * There is no way from here to plain text: who has a struct tls speaks TLS, or not at all. TLS 1.2
 * and 1.3 are spoken, without renegotiation. A key with a passphrase is refused at once, for nobody
 * could type it.
 *
 * OpenSSL's own memory, about 50 KiB a connection, does not count against limits.total_memory.
 */
#pragma once

#include "config/config.h"
#include "protocol/cleanup.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TLS_RECORD_SIZE  16384 /* the most that one record holds */
#define TLS_SESSIONS_MAX 1024  /* peers whose sessions are kept; the oldest makes room */

struct tls_session;

struct tls {
    SSL_CTX *context;
    bool verifies;
    bool has_certificate;
    char *server_name;             /* "" = the host of each address */
    struct tls_session *sessions;  /* by peer, the oldest first */
    uint8_t room[TLS_RECORD_SIZE]; /* where a record is gathered */
};

/*
 * NULL: problem says in one sentence what is wrong with the settings or their files. It has to
 * outlive its streams.
 */
struct tls *tls_new(const struct config_tls *settings, char *problem, size_t problem_size);
struct tls *tls_free(struct tls *tls);
DEFINE_CLEANUP(struct tls *, tls_free)
/* 0, or a negative errno with the problem. */
int tls_load(
    struct tls *tls, const struct config_tls *settings, char *problem, size_t problem_size);
/*
 * Whether each host has to prove its own name: then a connection to one host cannot serve another
 * one's requests, although both have the same socket address.
 */
bool tls_verifies_hosts(const struct tls *tls);

/* --- for tls_stream.c --- */

/* Takes the reference to the session over. */
void tls_keep_session(struct tls *tls, const char *peer, SSL_SESSION *session);
/* The tls's own, NULL where there is none that can be resumed. */
SSL_SESSION *tls_find_session(struct tls *tls, const char *peer);
