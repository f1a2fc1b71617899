#include "config/value.h"

#include <arpa/inet.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>

#define HOST_LABEL_MAX 63
#define PATTERN_MAX    160 /* what fits a line of any INI reader */

struct unit {
    const char *name;
    uint64_t factor;
};

/* What distinguishes one kind of number from another. Units ascend. */
struct number_rules {
    const char *example;
    const char *unit_names; /* NULL: no unit */
    struct unit units[4];
};

static const struct number_rules rules_of_kind[] = {
    [VALUE_DURATION] = {
        .example = "a whole number and its unit is accepted: ms, s, min or h, such as 30s",
        .unit_names = "ms, s, min, h",
        .units = { { "ms", 1 }, { "s", 1000 }, { "min", 60 * 1000 }, { "h", 60 * 60 * 1000 } },
    },
    [VALUE_SIZE] = {
        .example = "a whole number and its unit is accepted: B, KiB, MiB or GiB, such as 16MiB",
        .unit_names = "B, KiB, MiB, GiB",
        .units = { { "B", 1 }, { "KiB", 1 << 10 }, { "MiB", 1 << 20 }, { "GiB", 1 << 30 } },
    },
    [VALUE_COUNT] = { .example = "a whole number without a unit is accepted, such as 4096" },
    [VALUE_MODE] = { .example = "three or four octal digits are accepted, such as 0660" },
    [VALUE_YES_NO] = { .example = "yes or no is accepted (also true, false, on, off)" },
};

#define N_UNITS (sizeof((struct number_rules *)0)->units / sizeof(struct unit))

__attribute__((format(printf, 2, 3))) static bool refuse(
    struct value_reason *ret_reason, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(ret_reason->text, sizeof(ret_reason->text), format, arguments);
    va_end(arguments);
    return false;
}

/*
 * The digits at the front of a text, their number, and where they end. A number beyond 64 bits
 * stays at the largest: no range of ours reaches that far.
 */
static const char *take_digits(const char *text, unsigned base, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *end = text;
    for (; *end >= '0' && *end < (char)('0' + base); end++) {
        if (__builtin_mul_overflow(number, base, &number) ||
            __builtin_add_overflow(number, (unsigned)(*end - '0'), &number)) {
            number = UINT64_MAX;
            end += strspn(end, "0123456789");
            break;
        }
    }
    *ret_number = number;
    return end;
}

static bool read_with_unit(const struct number_rules *rules, const char *text, uint64_t *ret_number,
    struct value_reason *ret_reason)
{
    uint64_t number;
    const char *unit = take_digits(text, 10, &number);
    if (unit == text) {
        return refuse(ret_reason, "%s", rules->example);
    }
    if (*unit == '\0') {
        return refuse(ret_reason, "a unit is needed: %s", rules->unit_names);
    }
    for (size_t i = 0; i < N_UNITS; i++) {
        if (strcmp(unit, rules->units[i].name) == 0) {
            if (__builtin_mul_overflow(number, rules->units[i].factor, ret_number)) {
                *ret_number = UINT64_MAX;
            }
            return true;
        }
    }
    return refuse(ret_reason, "\"%.20s\" is no unit: %s are accepted", unit, rules->unit_names);
}

static bool read_yes_no(const char *text, uint64_t *ret_number)
{
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on" };
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_number = i % 2;
            return true;
        }
    }
    return false;
}

static bool read_any_number(
    enum value_number kind, const char *text, uint64_t *ret_number, struct value_reason *ret_reason)
{
    const struct number_rules *rules = &rules_of_kind[kind];
    bool is_accepted = false;
    const char *end = NULL;
    switch (kind) {
    case VALUE_DURATION:
    case VALUE_SIZE:
        return read_with_unit(rules, text, ret_number, ret_reason);
    case VALUE_COUNT:
        end = take_digits(text, 10, ret_number);
        is_accepted = end > text && *end == '\0';
        break;
    case VALUE_MODE:
        end = take_digits(text, 8, ret_number);
        is_accepted = (end - text == 3 || end - text == 4) && *end == '\0';
        break;
    case VALUE_YES_NO:
        is_accepted = read_yes_no(text, ret_number);
        break;
    }
    return is_accepted || refuse(ret_reason, "%s", rules->example);
}

bool value_read_number(enum value_number kind, const char *text, struct value_range range,
    uint64_t *ret_number, struct value_reason *ret_reason)
{
    uint64_t number = 0;
    if (!read_any_number(kind, text, &number, ret_reason)) {
        return false;
    }
    if (number < range.min || number > range.max || number == UINT64_MAX) {
        char min[VALUE_NUMBER_MAX];
        char max[VALUE_NUMBER_MAX];
        value_format_number(kind, range.min, min);
        value_format_number(kind, range.max, max);
        return refuse(ret_reason, "%s to %s is accepted", min, max);
    }
    *ret_number = number;
    return true;
}

void value_format_number(enum value_number kind, uint64_t number, char dst[static VALUE_NUMBER_MAX])
{
    const struct unit *units = rules_of_kind[kind].units;
    size_t i = N_UNITS - 1;
    switch (kind) {
    case VALUE_DURATION:
    case VALUE_SIZE:
        while (i > 0 && (number == 0 || number % units[i].factor != 0)) {
            i--;
        }
        (void)snprintf(dst, VALUE_NUMBER_MAX, "%llu%s",
            (unsigned long long)(number / units[i].factor), units[i].name);
        break;
    case VALUE_COUNT:
        (void)snprintf(dst, VALUE_NUMBER_MAX, "%llu", (unsigned long long)number);
        break;
    case VALUE_MODE:
        (void)snprintf(dst, VALUE_NUMBER_MAX, "%04llo", (unsigned long long)number);
        break;
    case VALUE_YES_NO:
        (void)snprintf(dst, VALUE_NUMBER_MAX, "%s", number ? "yes" : "no");
        break;
    }
}

/* Plain ASCII, whatever the locale. */
static bool is_letter_or_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool consists_of(const char *text, const char *marks)
{
    for (; *text; text++) {
        if (!is_letter_or_digit(*text) && !strchr(marks, *text)) {
            return false;
        }
    }
    return true;
}

bool value_check_path(const char *text, size_t max_bytes, struct value_reason *ret_reason)
{
    size_t n = strlen(text);
    if (text[0] != '/' || text[n - 1] == '/') {
        return refuse(ret_reason,
            "the absolute path of a file is accepted, such as /run/remotingd/remotingd.sock");
    }
    if (n > max_bytes) {
        return refuse(ret_reason, "the path has %zu bytes, at most %zu are accepted", n, max_bytes);
    }
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f) {
            return refuse(ret_reason, "a path without blanks and control characters is accepted");
        }
    }
    return true;
}

/* A number that is not -1, which stands for none. */
static bool read_id(const char *text, uint32_t *ret_id)
{
    uint64_t number;
    const char *end = take_digits(text, 10, &number);
    if (end == text || *end != '\0' || number >= UINT32_MAX) {
        return false;
    }
    *ret_id = (uint32_t)number;
    return true;
}

bool value_read_system_user(const char *text, uid_t *ret_uid, struct value_reason *ret_reason)
{
    const struct passwd *user = getpwnam(text);
    if (user) {
        *ret_uid = user->pw_uid;
        return true;
    }
    return read_id(text, ret_uid) ||
           refuse(ret_reason,
               "there is no such user on this host: the name of one that exists is accepted, or a "
               "number");
}

bool value_read_system_group(const char *text, gid_t *ret_gid, struct value_reason *ret_reason)
{
    const struct group *group = getgrnam(text);
    if (group) {
        *ret_gid = group->gr_gid;
        return true;
    }
    return read_id(text, ret_gid) ||
           refuse(ret_reason,
               "there is no such group on this host: the name of one that exists is accepted, or a "
               "number");
}

bool value_check_system_group(const char *text, size_t max_bytes, struct value_reason *ret_reason)
{
    gid_t gid;
    if (text[0] == '-' || strlen(text) > max_bytes || !consists_of(text, "_-.")) {
        return refuse(ret_reason,
            "the name or number of a group of this host is accepted: at most %zu letters, digits "
            "and _ - .",
            max_bytes);
    }
    return text[0] == '\0' || value_read_system_group(text, &gid, ret_reason);
}

static bool refuse_overflow(struct value_reason *ret_reason)
{
    return refuse(ret_reason,
        "%d is nobody's: the kernel says it for everyone who has no number here; give a [listener] "
        "a role instead",
        VALUE_ID_OVERFLOW);
}

bool value_check_rule_user(const char *text, struct value_reason *ret_reason)
{
    uid_t uid;
    if (strcmp(text, "*") == 0) {
        return true;
    }
    if (!value_read_system_user(text, &uid, ret_reason)) {
        return false;
    }
    return uid != VALUE_ID_OVERFLOW || refuse_overflow(ret_reason);
}

bool value_check_rule_group(const char *text, struct value_reason *ret_reason)
{
    gid_t gid;
    if (!value_read_system_group(text, &gid, ret_reason)) {
        return false;
    }
    return gid != VALUE_ID_OVERFLOW || refuse_overflow(ret_reason);
}

bool value_check_pattern(const char *text, struct value_reason *ret_reason)
{
    char name[PATTERN_MAX + 1];
    size_t n = strlen(text);
    size_t n_name = n - (n > 0 && text[n - 1] == '*');
    if (n > 0 && n_name <= PATTERN_MAX) {
        memcpy(name, text, n_name);
        name[n_name] = '\0';
        if (consists_of(name, "%|_-")) {
            return true;
        }
    }
    return refuse(ret_reason,
        "a name is accepted (1 to %d letters, digits and %% | _ -), the beginning of names with a "
        "* "
        "behind it, as in orders-*, or * for all",
        PATTERN_MAX);
}

bool value_check_rocketmq_group(const char *text, size_t max_bytes, struct value_reason *ret_reason)
{
    size_t n = strlen(text);
    if (n == 0 || n > max_bytes || !consists_of(text, "%|_-")) {
        return refuse(ret_reason,
            "a group's name is accepted: 1 to %zu letters, digits and %% | _ -", max_bytes);
    }
    return true;
}

bool value_check_word(const char *text, size_t max_bytes, struct value_reason *ret_reason)
{
    size_t n = 0;
    while (text[n] > ' ' && text[n] < 0x7f) {
        n++;
    }
    if (text[n] != '\0' || n > max_bytes) {
        return refuse(ret_reason,
            "one word is accepted: at most %zu printable ASCII characters without blanks",
            max_bytes);
    }
    return true;
}

bool value_check_credential(const char *text, size_t max_bytes, struct value_reason *ret_reason)
{
    size_t n = strlen(text);
    if (text[0] == '/') {
        return value_check_path(text, max_bytes, ret_reason);
    }
    if (n > 0 && (text[0] == '.' || n > max_bytes || !consists_of(text, "_-."))) {
        return refuse(ret_reason,
            "the absolute path of a file is accepted, or the name of a credential of the service: "
            "letters, digits and _ - .");
    }
    return true;
}

bool value_check_file(const char *text, size_t max_bytes, struct value_reason *ret_reason)
{
    return text[0] == '\0' || value_check_path(text, max_bytes, ret_reason);
}

bool value_check_listen(const char *text, size_t max_bytes, struct value_reason *ret_reason)
{
    struct value_address address;
    struct value_reason ignored;
    char host[INET6_ADDRSTRLEN];
    uint8_t bytes[sizeof(struct in6_addr)];
    if (text[0] == '\0' || text[0] == '/') {
        return value_check_file(text, max_bytes, ret_reason);
    }
    bool is_address = value_read_address(text, &address, &ignored) && address.host.n < sizeof(host);
    if (is_address) {
        (void)snprintf(host, sizeof(host), "%.*s", SPAN_ARGS(address.host));
    }
    if (!is_address ||
        (inet_pton(AF_INET, host, bytes) != 1 && inet_pton(AF_INET6, host, bytes) != 1)) {
        return refuse(ret_reason,
            "the absolute path of a socket is accepted, or an IP address and port, such as "
            "127.0.0.1:9464 or [::1]:9464");
    }
    return true;
}

bool value_check_field(const char *text, struct value_reason *ret_reason)
{
    const char *equals = strchr(text, '=');
    struct value_reason ignored;
    if (!equals || equals == text || !value_check_word(text, SIZE_MAX, &ignored)) {
        return refuse(ret_reason, "key=value is accepted, without blanks");
    }
    return true;
}

/* A name or an IPv4 address. What ends in a number and is no IPv4 address is a slip of the pen. */
static bool check_host(const char *host, struct value_reason *ret_reason)
{
    struct in_addr ipv4;
    if (inet_pton(AF_INET, host, &ipv4) == 1) {
        return true;
    }
    if (host[0] == '\0') {
        return refuse(ret_reason, "the host is missing, as in 127.0.0.1:9876");
    }
    const char *label = host;
    for (;;) {
        size_t n = strcspn(label, ".");
        bool is_last = label[n] == '\0' || label[n + 1] == '\0';
        if (n == 0 || n > HOST_LABEL_MAX || label[0] == '-' || label[n - 1] == '-') {
            return refuse(ret_reason,
                "the parts of a host's name have 1 to %d bytes and no - at their ends",
                HOST_LABEL_MAX);
        }
        if (is_last && strspn(label, "0123456789") == n) {
            return refuse(ret_reason, "\"%.40s\" is neither a name nor an IPv4 address", host);
        }
        if (is_last) {
            break;
        }
        label += n + 1;
    }
    return consists_of(host, "-_.") ||
           refuse(ret_reason, "a host's name has letters, digits and - _ . only");
}

/* Cuts the host, without brackets, out of text. The port behind its colon, or NULL when refused. */
static const char *split_address(const char *text, char host[static VALUE_ADDRESS_MAX + 1],
    struct span *ret_host, struct value_reason *ret_reason)
{
    bool is_bracketed = text[0] == '[';
    const char *begin = is_bracketed ? text + 1 : text;
    size_t n = strcspn(begin, is_bracketed ? "]" : ":");
    const char *colon = is_bracketed && begin[n] ? begin + n + 1 : begin + n;
    if (is_bracketed && begin[n] == '\0') {
        (void)refuse(ret_reason, "the ] is missing, as in [fd00::7]:9876");
        return NULL;
    }
    if (*colon != ':') {
        (void)refuse(ret_reason, "the port is missing, as in %.*s:9876", (int)(colon - text), text);
        return NULL;
    }
    if (strchr(colon + 1, ':')) {
        (void)refuse(ret_reason,
            "one host:port is accepted; an IPv6 address goes in brackets, as in [fd00::7]:9876");
        return NULL;
    }
    memcpy(host, begin, n);
    host[n] = '\0';
    *ret_host = (struct span){ begin, n };
    return colon + 1;
}

bool value_read_address(
    const char *text, struct value_address *ret_address, struct value_reason *ret_reason)
{
    char host[VALUE_ADDRESS_MAX + 1];
    struct value_address address;
    size_t n = strlen(text);
    if (n > VALUE_ADDRESS_MAX) {
        return refuse(
            ret_reason, "the address has %zu bytes, at most %d are accepted", n, VALUE_ADDRESS_MAX);
    }
    const char *port_text = split_address(text, host, &address.host, ret_reason);
    if (!port_text) {
        return false;
    }
    struct in6_addr ipv6;
    if (text[0] == '[' && inet_pton(AF_INET6, host, &ipv6) != 1) {
        return refuse(ret_reason, "an IPv6 address is accepted in brackets, as in [fd00::7]:9876");
    }
    if (text[0] != '[' && !check_host(host, ret_reason)) {
        return false;
    }
    uint64_t port;
    const char *end = take_digits(port_text, 10, &port);
    if (end == port_text || *end != '\0' || *port_text == '0' || port > UINT16_MAX) {
        return refuse(
            ret_reason, "a port from 1 to %d is accepted, without zeros in front", UINT16_MAX);
    }
    address.port = (uint16_t)port;
    *ret_address = address;
    return true;
}

/* A bit behind the prefix says that the network or its length is not what was meant. */
static bool has_bits_beyond(const struct value_network *network, unsigned n_address_bits)
{
    for (unsigned bit = network->n_bits; bit < n_address_bits; bit++) {
        if (network->bytes[bit / 8] & (0x80U >> (bit % 8))) {
            return true;
        }
    }
    return false;
}

bool value_read_network(
    const char *text, struct value_network *ret_network, struct value_reason *ret_reason)
{
    static const char accepted[] =
        "a network or an address is accepted, such as 10.0.0.0/8, fd00::/8, 127.0.0.1, or any";
    if (strcmp(text, "any") == 0) {
        *ret_network = (struct value_network){ .is_any = true };
        return true;
    }
    char address[INET6_ADDRSTRLEN];
    size_t n = strcspn(text, "/");
    if (n >= sizeof(address)) {
        return refuse(ret_reason, "%s", accepted);
    }
    memcpy(address, text, n);
    address[n] = '\0';
    struct value_network network = { .is_ipv6 = strchr(address, ':') };
    unsigned n_address_bits = network.is_ipv6 ? 128 : 32;
    if (inet_pton(network.is_ipv6 ? AF_INET6 : AF_INET, address, network.bytes) != 1) {
        return refuse(ret_reason, "%s", accepted);
    }
    network.n_bits = n_address_bits;
    if (text[n] == '/') {
        uint64_t n_bits;
        const char *end = take_digits(text + n + 1, 10, &n_bits);
        if (end == text + n + 1 || *end != '\0' || n_bits > n_address_bits) {
            return refuse(ret_reason, "/0 to /%u is accepted behind this address", n_address_bits);
        }
        network.n_bits = (unsigned)n_bits;
    }
    if (has_bits_beyond(&network, n_address_bits)) {
        return refuse(ret_reason,
            "the address has bits behind its /%u: write the network's first address",
            network.n_bits);
    }
    *ret_network = network;
    return true;
}
