#include "daemon/loop/tls_cause.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAMES_SIZE 72
#define NAME_SIZE  48
#define TIME_SIZE  32

__attribute__((format(printf, 2, 3))) static void say(
    char cause[static TLS_CAUSE_SIZE], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(cause, TLS_CAUSE_SIZE, format, arguments);
    va_end(arguments);
}

/* --- certificates --- */

/* What is not printable ASCII becomes a question mark. */
static void text_add(char *dst, size_t size, const void *text, size_t n)
{
    size_t at = strlen(dst);
    const char *from = text;
    for (size_t i = 0; i < n && at + 1 < size; i++) {
        dst[at++] = from[i] > ' ' && from[i] < 0x7f ? from[i] : from[i] == ' ' ? ' ' : '?';
    }
    dst[at] = '\0';
}

static void common_name(const X509_NAME *name, char dst[static NAME_SIZE])
{
    char text[NAME_SIZE];
    int n = X509_NAME_get_text_by_NID(name, NID_commonName, text, sizeof(text));
    dst[0] = '\0';
    if (n > 0) {
        text_add(dst, NAME_SIZE, text, strlen(text));
    } else {
        text_add(dst, NAME_SIZE, "a nameless one", strlen("a nameless one"));
    }
}

static void name_add(char names[static NAMES_SIZE], const GENERAL_NAME *name)
{
    char text[INET6_ADDRSTRLEN];
    const ASN1_STRING *value = NULL;
    int type = 0;
    value = GENERAL_NAME_get0_value(name, &type);
    const char *separator = names[0] ? ", " : "";
    if (type == GEN_DNS) {
        text_add(names, NAMES_SIZE, separator, strlen(separator));
        text_add(
            names, NAMES_SIZE, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
    } else if (type == GEN_IPADD) {
        int n = ASN1_STRING_length(value);
        int family = n == 4 ? AF_INET : AF_INET6;
        if ((n == 4 || n == 16) &&
            inet_ntop(family, ASN1_STRING_get0_data(value), text, sizeof(text))) {
            text_add(names, NAMES_SIZE, separator, strlen(separator));
            text_add(names, NAMES_SIZE, text, strlen(text));
        }
    }
}

/* "broker-a, 10.0.0.7" */
static void certificate_names(const X509 *certificate, char names[static NAMES_SIZE])
{
    GENERAL_NAMES *alternatives = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    names[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); i++) {
        name_add(names, sk_GENERAL_NAME_value(alternatives, i));
    }
    GENERAL_NAMES_free(alternatives);
    if (!names[0]) {
        common_name(X509_get_subject_name(certificate), names);
    }
}

static void time_text(const ASN1_TIME *time, char dst[static TIME_SIZE])
{
    struct tm parts;
    if (ASN1_TIME_to_tm(time, &parts) != 1 ||
        strftime(dst, TIME_SIZE, "%Y-%m-%d %H:%M UTC", &parts) == 0) {
        (void)snprintf(dst, TIME_SIZE, "an unreadable date");
    }
}

void tls_cause_of_certificate(
    X509_STORE_CTX *store, const char *name, char cause[static TLS_CAUSE_SIZE])
{
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    const char *whose = X509_STORE_CTX_get_error_depth(store) > 0 ? "its CA's" : "its";
    int error = X509_STORE_CTX_get_error(store);
    char other[NAME_SIZE], names[NAMES_SIZE], date[TIME_SIZE];
    if (!certificate) {
        say(cause, "its certificate is not accepted: %s", X509_verify_cert_error_string(error));
        return;
    }
    switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        common_name(X509_get_issuer_name(certificate), other);
        say(cause,
            "its certificate is signed by a CA that is unknown here (%s): the CA's certificate "
            "belongs in [tls] ca_file",
            other);
        return;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        common_name(X509_get_subject_name(certificate), other);
        say(cause,
            "its certificate (%s) is signed by itself, and unknown here: it belongs in [tls] "
            "ca_file",
            other);
        return;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        time_text(X509_get0_notAfter(certificate), date);
        say(cause, "%s certificate expired at %s: a new one is needed there", whose, date);
        return;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        time_text(X509_get0_notBefore(certificate), date);
        say(cause, "%s certificate is valid only from %s on: is this host's clock right?", whose,
            date);
        return;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        certificate_names(certificate, names);
        say(cause,
            "its certificate is for %s, not for %.40s: [tls] server_name names the one that is "
            "right",
            names, name);
        return;
    default:
        say(cause, "%s certificate is not accepted: %s", whose,
            X509_verify_cert_error_string(error));
        return;
    }
}

/* --- ends --- */

/* Alerts by which a peer says that it does not like our certificate, or that there is none. */
static bool is_about_certificate(int alert)
{
    switch (alert) {
    case SSL_AD_HANDSHAKE_FAILURE:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_CERTIFICATE_REQUIRED:
        return true;
    default:
        return false;
    }
}

static void cause_of_alert(struct tls_stream *stream, int alert)
{
    const char *word = SSL_alert_desc_string_long(alert);
    if (stream->was_asked && is_about_certificate(alert)) {
        stream->was_refused = !stream->has_received;
        if (stream->tls->has_certificate) {
            say(stream->cause,
                "it refused our certificate (%s): does it trust the CA of [tls] cert_file, and is "
                "that in date?",
                word);
        } else {
            say(stream->cause,
                "it wants a client certificate (%s): [tls] cert_file and key_file give it one",
                word);
        }
    } else if (alert == SSL_AD_PROTOCOL_VERSION) {
        say(stream->cause,
            "it speaks no version of TLS that is spoken here (%s): see [tls] "
            "min_version",
            word);
    } else if (alert == SSL_AD_UNRECOGNIZED_NAME) {
        say(stream->cause, "it does not know the name %.60s (%s): see [tls] server_name",
            tls_stream_name(stream), word);
    } else {
        say(stream->cause, "it refused the TLS handshake: %s", word);
    }
}

/* In the handshake: it hung up on us, or what it says is not TLS. */
static void cause_of_no_tls(struct tls_stream *stream, const char *seen)
{
    if (stream->was_asked && !stream->tls->has_certificate) {
        say(stream->cause,
            "%s after it asked for a client certificate: [tls] cert_file and key_file give it one",
            seen);
        return;
    }
    say(stream->cause,
        "%s: does it speak TLS? That is switched on there by tls.server.mode, or off here by [tls] "
        "enable",
        seen);
}

/* What a peer that speaks something else is taken for by the record layer. */
static bool is_no_tls(int reason)
{
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_BAD_RECORD_TYPE:
        return true;
    default:
        return false;
    }
}

static void cause_of_error(struct tls_stream *stream, unsigned long error)
{
    int reason = ERR_GET_REASON(error);
    bool is_handshake = !stream->is_connected;
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET &&
        reason < SSL_AD_REASON_OFFSET + 256) {
        cause_of_alert(stream, reason - SSL_AD_REASON_OFFSET);
    } else if (is_handshake && ERR_GET_LIB(error) == ERR_LIB_SSL && is_no_tls(reason)) {
        cause_of_no_tls(stream, "its answer to the TLS handshake is not TLS");
    } else if (ERR_GET_LIB(error) == ERR_LIB_SSL && reason == SSL_R_UNSUPPORTED_PROTOCOL) {
        say(stream->cause,
            "it speaks only versions of TLS that are too old: see [tls] min_version");
    } else {
        const char *word = ERR_reason_error_string(error);
        say(stream->cause, "TLS failed%s: %s", is_handshake ? " in the handshake" : "",
            word ? word : "for no reason that it names");
    }
}

void tls_cause_of_end(struct tls_stream *stream)
{
    unsigned long error = ERR_peek_error();
    if (stream->cause[0]) {
        return; /* the certificate's, known since it was looked at */
    }
    if (error != 0) {
        cause_of_error(stream, error);
    } else if (!stream->is_connected) {
        char seen[64];
        (void)snprintf(seen, sizeof(seen), "%s in the TLS handshake",
            stream->error == 0 ? "it closed the connection" : strerror(stream->error));
        cause_of_no_tls(stream, seen);
    } else if (stream->was_asked && !stream->tls->has_certificate && !stream->has_received) {
        cause_of_no_tls(stream, "it closed the connection");
    }
}
