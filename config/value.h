/*
 * Value
 *
 * Reads the text of one setting and writes it back: numbers with units, names, paths, addresses and
 * networks. It knows nothing of files, sections or settings, and keeps nothing. Users and groups are
 * looked up on this host.
 *
 * Every reader takes the whole text, without blanks around it. A text that is not accepted leaves a
 * sentence that says what would be; results are written on success only, the sentence on failure
 * only.
 *
 *     duration   100ms  30s  5min  1h             a whole number and its unit
 *     size       512B  4KiB  16MiB  1GiB          a whole number and its unit, powers of 1024
 *     count      4096                             a whole number
 *     mode       0660                             three or four octal digits
 *     yes/no     yes no true false on off
 *     address    name:9876  10.0.0.7:9876  [fd00::7]:9876
 *     network    10.0.0.0/8  fd00::/8  127.0.0.1  any
 *     pattern    orders  invoices-*  *
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define VALUE_NUMBER_MAX 32 /* a number as text, with its zero */
/*
 * What the kernel says for users and groups that have no number here: under PrivateUsers=, and for
 * callers in containers, that is nearly everybody.
 */
#define VALUE_ID_OVERFLOW 65534
#define VALUE_ADDRESS_MAX                                                                          \
    180 /* bytes of host:port: what fits in one line of a file, whatever reads it */

/* Why a text is not accepted: one sentence, without a full stop. */
struct value_reason {
    char text[256];
};

enum value_number {
    VALUE_DURATION, /* milliseconds */
    VALUE_SIZE,     /* bytes */
    VALUE_COUNT,
    VALUE_MODE,
    VALUE_YES_NO, /* 1 and 0 */
};

struct value_range {
    uint64_t min;
    uint64_t max;
};

bool value_read_number(enum value_number kind, const char *text, struct value_range range,
    uint64_t *ret_number, struct value_reason *ret_reason);
/* In the largest unit that loses nothing: 30s, not 30000ms. value_read_number() reads it back. */
void value_format_number(
    enum value_number kind, uint64_t number, char dst[static VALUE_NUMBER_MAX]);

/* An absolute path of a file, without blanks, of at most max_bytes. */
bool value_check_path(const char *text, size_t max_bytes, struct value_reason *ret_reason);
/*
 * A user or group of this host, by its name, which has to be there, or by its number, which need not
 * have a name.
 */
bool value_read_system_user(const char *text, uid_t *ret_uid, struct value_reason *ret_reason);
bool value_read_system_group(const char *text, gid_t *ret_gid, struct value_reason *ret_reason);
/* The same, or empty: none. */
bool value_check_system_group(const char *text, size_t max_bytes, struct value_reason *ret_reason);
/*
 * Who is meant by a rule: a user, or * for all of them; a group. 65534 is nobody's: the kernel says
 * it for everyone who has no number here, and a rule for it would let all of these in.
 */
bool value_check_rule_user(const char *text, struct value_reason *ret_reason);
bool value_check_rule_group(const char *text, struct value_reason *ret_reason);
/* A producer or consumer group by RocketMQ's rules. */
bool value_check_rocketmq_group(
    const char *text, size_t max_bytes, struct value_reason *ret_reason);

/* A topic or group by RocketMQ's rules, or its beginning with a * behind it, or * alone. */
bool value_check_pattern(const char *text, struct value_reason *ret_reason);
/* A word without blanks and control characters; empty means none. */
bool value_check_word(const char *text, size_t max_bytes, struct value_reason *ret_reason);
/*
 * Where a secret lies: the absolute path of a file, or the name of a credential that the service
 * manager hands over ($CREDENTIALS_DIRECTORY/NAME). Empty means none.
 */
bool value_check_credential(const char *text, size_t max_bytes, struct value_reason *ret_reason);
/* An absolute path; empty means none. */
bool value_check_file(const char *text, size_t max_bytes, struct value_reason *ret_reason);
/* What a socket of ours can be bound to: an absolute path, or IP:port. Empty means none. */
bool value_check_listen(const char *text, size_t max_bytes, struct value_reason *ret_reason);
/* key=value, both of printable ASCII; the value may be empty. */
bool value_check_field(const char *text, struct value_reason *ret_reason);

struct value_address {
    struct span host; /* into the text; an IPv6 address without its brackets */
    uint16_t port;
};

bool value_read_address(
    const char *text, struct value_address *ret_address, struct value_reason *ret_reason);

struct value_network {
    bool is_any; /* then nothing else counts */
    bool is_ipv6;
    uint8_t bytes[16]; /* in network order; IPv4 uses the first four */
    unsigned n_bits;   /* of the prefix; all of them for a single address */
};

bool value_read_network(
    const char *text, struct value_network *ret_network, struct value_reason *ret_reason);
