/*
 * TLS cause
 *
 * What went wrong with TLS, in words that callers, the log and remotingctl show: what was seen, and
 * the setting, here or there, that mends it. What comes from the peer (names in its certificate) is
 * cut and made printable; nothing of our key is ever in it.
 */
#pragma once

#include "daemon/loop/tls_stream.h"

/* Of a certificate that is not accepted; name is the one that it should prove. */
void tls_cause_of_certificate(
    X509_STORE_CTX *store, const char *name, char cause[static TLS_CAUSE_SIZE]);
/*
 * Of a stream that has failed, from OpenSSL's queue of errors: sets its cause, where none is known
 * yet and TLS has a part in it, and whether our certificate was refused.
 */
void tls_cause_of_end(struct tls_stream *stream);
