/*
 * Value
 *
 * Reads the text of one setting and writes it back: numbers with units, names, paths, addresses and
 * networks. It knows nothing of files, sections or settings, and keeps nothing.
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
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VALUE_NUMBER_MAX 32 /* a number as text, with its zero */
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
/* The name or number of a group of this host; empty means none. */
bool value_check_system_group(const char *text, size_t max_bytes, struct value_reason *ret_reason);
/* A producer or consumer group by RocketMQ's rules. */
bool value_check_rocketmq_group(
    const char *text, size_t max_bytes, struct value_reason *ret_reason);

/* A word without blanks and control characters; empty means none. */
bool value_check_word(const char *text, size_t max_bytes, struct value_reason *ret_reason);
/*
 * Where a secret lies: the absolute path of a file, or the name of a credential that the service
 * manager hands over ($CREDENTIALS_DIRECTORY/NAME). Empty means none.
 */
bool value_check_credential(const char *text, size_t max_bytes, struct value_reason *ret_reason);
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
