#include "config/value.h"

#include <stdlib.h>

#include "tests/support/run_suite.h"

#define ANY                                                                                        \
    {                                                                                              \
        0, UINT64_MAX                                                                              \
    }
#define N(row) ((int)(sizeof(row) / sizeof(*(row))))

/* expected_problem NULL: the text is accepted as number; otherwise a part of the sentence. */
static const struct number_case {
    const char *name;
    enum value_number kind;
    const char *text;
    struct value_range range;
    uint64_t number;
    const char *expected_problem;
} number_cases[] = {
    { "milliseconds", VALUE_DURATION, "100ms", ANY, 100, NULL },
    { "seconds", VALUE_DURATION, "30s", ANY, 30000, NULL },
    { "minutes", VALUE_DURATION, "5min", ANY, 300000, NULL },
    { "hours", VALUE_DURATION, "1h", ANY, 3600000, NULL },
    { "zero with a unit", VALUE_DURATION, "0s", ANY, 0, NULL },
    { "leading zeros are decimal", VALUE_DURATION, "010s", ANY, 10000, NULL },
    { "a bare duration", VALUE_DURATION, "30", ANY, 0, "a unit is needed: ms, s, min, h" },
    { "a bare zero duration", VALUE_DURATION, "0", ANY, 0, "a unit is needed: ms, s, min, h" },
    { "an empty duration", VALUE_DURATION, "", ANY, 0, "such as 30s" },
    { "a unit without a number", VALUE_DURATION, "s", ANY, 0, "such as 30s" },
    { "a negative duration", VALUE_DURATION, "-1s", ANY, 0, "a whole number" },
    { "a signed duration", VALUE_DURATION, "+1s", ANY, 0, "a whole number" },
    { "a fraction", VALUE_DURATION, "1.5s", ANY, 0, "\".5s\" is no unit: ms, s, min, h" },
    { "an unknown unit", VALUE_DURATION, "3sec", ANY, 0, "\"sec\" is no unit: ms, s, min, h" },
    { "a unit in capitals", VALUE_DURATION, "3S", ANY, 0, "\"S\" is no unit" },
    { "a blank before the unit", VALUE_DURATION, "3 s", ANY, 0, "\" s\" is no unit" },
    { "two durations", VALUE_DURATION, "1h30min", ANY, 0, "\"h30min\" is no unit" },
    { "a duration at its least", VALUE_DURATION, "1s", { 1000, 3600000 }, 1000, NULL },
    { "a duration at its most", VALUE_DURATION, "60min", { 1000, 3600000 }, 3600000, NULL },
    { "a duration below its least", VALUE_DURATION, "999ms", { 1000, 3600000 }, 0,
        "1s to 1h is accepted" },
    { "a duration above its most", VALUE_DURATION, "3600001ms", { 1000, 3600000 }, 0,
        "1s to 1h is accepted" },
    { "a number beyond 64 bits", VALUE_DURATION, "18446744073709551616ms", { 0, 1000 }, 0,
        "0ms to 1s is accepted" },
    { "a number that wraps to 1 in 64 bits", VALUE_COUNT, "18446744073709551617", { 0, 9 }, 0,
        "0 to 9 is accepted" },
    { "a product beyond 64 bits", VALUE_DURATION, "5124095576030432h", { 0, 1000 }, 0,
        "0ms to 1s is accepted" },
    { "a product that wraps to 0 in 64 bits", VALUE_SIZE, "17179869184GiB", { 0, 1024 }, 0,
        "0B to 1KiB is accepted" },
    { "a hundred digits", VALUE_SIZE,
        "111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111"
        "1111111111B",
        ANY, 0, "is accepted" },
    { "bytes", VALUE_SIZE, "512B", ANY, 512, NULL },
    { "kibibytes", VALUE_SIZE, "4KiB", ANY, 4096, NULL },
    { "mebibytes", VALUE_SIZE, "16MiB", ANY, 16777216, NULL },
    { "gibibytes", VALUE_SIZE, "1GiB", ANY, 1073741824, NULL },
    { "a bare size", VALUE_SIZE, "4096", ANY, 0, "a unit is needed: B, KiB, MiB, GiB" },
    { "a power of ten", VALUE_SIZE, "4MB", ANY, 0, "\"MB\" is no unit: B, KiB, MiB, GiB" },
    { "a size above its most", VALUE_SIZE, "17MiB", { 4096, 16777216 }, 0,
        "4KiB to 16MiB is accepted" },
    { "a count", VALUE_COUNT, "65535", { 1, 65535 }, 65535, NULL },
    { "a count above its most", VALUE_COUNT, "65536", { 1, 65535 }, 0, "1 to 65535 is accepted" },
    { "a count below its least", VALUE_COUNT, "0", { 1, 65535 }, 0, "1 to 65535 is accepted" },
    { "a count with a unit", VALUE_COUNT, "4k", ANY, 0, "without a unit" },
    { "a hexadecimal count", VALUE_COUNT, "0x10", ANY, 0, "without a unit" },
    { "an empty count", VALUE_COUNT, "", ANY, 0, "a whole number" },
    { "four octal digits", VALUE_MODE, "0660", { 0, 0777 }, 0660, NULL },
    { "three octal digits", VALUE_MODE, "600", { 0, 0777 }, 0600, NULL },
    { "a decimal digit in a mode", VALUE_MODE, "0680", { 0, 0777 }, 0, "octal digits" },
    { "two octal digits", VALUE_MODE, "60", { 0, 0777 }, 0, "three or four octal digits" },
    { "five octal digits", VALUE_MODE, "00660", { 0, 0777 }, 0, "three or four octal digits" },
    { "a mode with set-id bits", VALUE_MODE, "4755", { 0, 0777 }, 0, "0000 to 0777 is accepted" },
    { "a symbolic mode", VALUE_MODE, "u=rw", { 0, 0777 }, 0, "octal digits" },
    { "yes", VALUE_YES_NO, "yes", { 0, 1 }, 1, NULL },
    { "no", VALUE_YES_NO, "no", { 0, 1 }, 0, NULL },
    { "true", VALUE_YES_NO, "true", { 0, 1 }, 1, NULL },
    { "false", VALUE_YES_NO, "false", { 0, 1 }, 0, NULL },
    { "on", VALUE_YES_NO, "on", { 0, 1 }, 1, NULL },
    { "off", VALUE_YES_NO, "off", { 0, 1 }, 0, NULL },
    { "a number for yes", VALUE_YES_NO, "1", { 0, 1 }, 0, "yes or no is accepted" },
    { "yes in capitals", VALUE_YES_NO, "YES", { 0, 1 }, 0, "yes or no is accepted" },
    { "an empty yes", VALUE_YES_NO, "", { 0, 1 }, 0, "yes or no is accepted" },
};

static void check_refusal(
    const char *name, const char *text, const char *expected, const struct value_reason *reason)
{
    ck_assert_msg(strstr(reason->text, expected), "%s: \"%s\" was refused with \"%s\", not \"%s\"",
        name, text, reason->text, expected);
}

START_TEST(numbers_are_read_with_their_units_within_their_range)
{
    const struct number_case *row = &number_cases[_i];
    struct value_reason reason = { "" };
    uint64_t number = 77;
    bool is_read = value_read_number(row->kind, row->text, row->range, &number, &reason);
    ck_assert_msg(
        is_read == !row->expected_problem, "%s: \"%s\": %s", row->name, row->text, reason.text);
    if (row->expected_problem) {
        check_refusal(row->name, row->text, row->expected_problem, &reason);
        ck_assert_msg(number == 77, "%s: a refused text changed the number", row->name);
    } else {
        ck_assert_msg(number == row->number, "%s: %llu", row->name, (unsigned long long)number);
    }
}
END_TEST

static const struct format_case {
    enum value_number kind;
    uint64_t number;
    const char *text;
} format_cases[] = {
    { VALUE_DURATION, 0, "0ms" },
    { VALUE_DURATION, 100, "100ms" },
    { VALUE_DURATION, 1500, "1500ms" },
    { VALUE_DURATION, 30000, "30s" },
    { VALUE_DURATION, 90000, "90s" },
    { VALUE_DURATION, 300000, "5min" },
    { VALUE_DURATION, 3600000, "1h" },
    { VALUE_DURATION, 86400000, "24h" },
    { VALUE_SIZE, 0, "0B" },
    { VALUE_SIZE, 1023, "1023B" },
    { VALUE_SIZE, 4096, "4KiB" },
    { VALUE_SIZE, 16777216, "16MiB" },
    { VALUE_SIZE, 1073741824, "1GiB" },
    { VALUE_SIZE, 16777217, "16777217B" },
    { VALUE_COUNT, 10000, "10000" },
    { VALUE_MODE, 0660, "0660" },
    { VALUE_MODE, 7, "0007" },
    { VALUE_YES_NO, 1, "yes" },
    { VALUE_YES_NO, 0, "no" },
};

START_TEST(numbers_are_written_in_the_largest_unit_that_loses_nothing)
{
    const struct format_case *row = &format_cases[_i];
    const struct value_range any = ANY;
    struct value_reason reason = { "" };
    char text[VALUE_NUMBER_MAX];
    uint64_t number = 77;
    value_format_number(row->kind, row->number, text);
    ck_assert_str_eq(text, row->text);
    ck_assert_msg(
        value_read_number(row->kind, text, any, &number, &reason), "%s: %s", text, reason.text);
    ck_assert_uint_eq(number, row->number);
}
END_TEST

START_TEST(the_largest_numbers_are_written_whole)
{
    char text[VALUE_NUMBER_MAX];
    value_format_number(VALUE_SIZE, UINT64_MAX, text);
    ck_assert_str_eq(text, "18446744073709551615B");
    value_format_number(VALUE_MODE, UINT64_MAX, text);
    ck_assert_str_eq(text, "1777777777777777777777");
}
END_TEST

enum text_kind { PATH, SYSTEM_GROUP, ROCKETMQ_GROUP, RULE_USER, RULE_GROUP, PATTERN };

static const struct text_case {
    const char *name;
    enum text_kind kind;
    const char *text;
    const char *expected_problem;
} text_cases[] = {
    { "an absolute path", PATH, "/run/x.s", NULL },
    { "a path of the greatest length", PATH, "/456789012", NULL },
    { "a path one byte longer", PATH, "/4567890123", "11 bytes, at most 10" },
    { "a relative path", PATH, "run/x", "absolute path" },
    { "an empty path", PATH, "", "absolute path" },
    { "a folder", PATH, "/run/", "absolute path of a file" },
    { "the root", PATH, "/", "absolute path of a file" },
    { "an abstract socket", PATH, "@run", "absolute path" },
    { "a blank in a path", PATH, "/a b", "without blanks" },
    { "a control character in a path", PATH, "/a\x01", "control characters" },
    { "a path in UTF-8", PATH, "/\xc3\xa4", NULL },
    { "a group's name", SYSTEM_GROUP, "www-data", NULL },
    { "a group's number", SYSTEM_GROUP, "33", NULL },
    { "no group", SYSTEM_GROUP, "", NULL },
    { "a group that looks like an option", SYSTEM_GROUP, "-x", "a group of this host" },
    { "a group with a colon", SYSTEM_GROUP, "a:b", "a group of this host" },
    { "a group that is too long", SYSTEM_GROUP, "12345678901", "at most 10 letters" },
    { "a group that is not there", SYSTEM_GROUP, "nosuchgrp", "no such group on this host" },
    { "a rule's user", RULE_USER, "root", NULL },
    { "a rule for a user's number", RULE_USER, "4711", NULL },
    { "a rule for all users", RULE_USER, "*", NULL },
    { "a rule for no user", RULE_USER, "", "no such user on this host" },
    { "a rule for a user that is not there", RULE_USER, "nosuchusr", "no such user on this host" },
    { "a rule for users without a number here", RULE_USER, "65534", "65534 is nobody's" },
    { "a rule for them by name", RULE_USER, "nobody", "65534 is nobody's" },
    { "a rule for the number that stands for none", RULE_USER, "4294967295", "no such user" },
    { "a rule's group", RULE_GROUP, "www-data", NULL },
    { "a rule for all groups", RULE_GROUP, "*", "no such group on this host" },
    { "a rule for groups without a number here", RULE_GROUP, "65534", "65534 is nobody's" },
    { "a topic as a pattern", PATTERN, "%RETRY%a|b_c-9", NULL },
    { "a beginning as a pattern", PATTERN, "orders-*", NULL },
    { "everything as a pattern", PATTERN, "*", NULL },
    { "nothing as a pattern", PATTERN, "", "a name is accepted" },
    { "a * in front", PATTERN, "*-orders", "the beginning of names" },
    { "two *", PATTERN, "**", "or * for all" },
    { "a ? in a pattern", PATTERN, "order?", "letters, digits" },
    { "every mark RocketMQ allows", ROCKETMQ_GROUP, "aZ0%|_-", NULL },
    { "an empty RocketMQ group", ROCKETMQ_GROUP, "", "1 to 10 letters" },
    { "a RocketMQ group with a dot", ROCKETMQ_GROUP, "a.b", "letters, digits and % | _ -" },
    { "a RocketMQ group with a blank", ROCKETMQ_GROUP, "a b", "letters, digits" },
    { "a RocketMQ group in UTF-8", ROCKETMQ_GROUP, "\xc3\xa4", "letters, digits" },
    { "a RocketMQ group of the greatest length", ROCKETMQ_GROUP, "1234567890", NULL },
    { "a RocketMQ group one byte longer", ROCKETMQ_GROUP, "12345678901", "1 to 10 letters" },
};

static bool check_text(const struct text_case *row, struct value_reason *ret_reason)
{
    switch (row->kind) {
    case PATH:
        return value_check_path(row->text, 10, ret_reason);
    case SYSTEM_GROUP:
        return value_check_system_group(row->text, 10, ret_reason);
    case ROCKETMQ_GROUP:
        return value_check_rocketmq_group(row->text, 10, ret_reason);
    case RULE_USER:
        return value_check_rule_user(row->text, ret_reason);
    case RULE_GROUP:
        return value_check_rule_group(row->text, ret_reason);
    case PATTERN:
        return value_check_pattern(row->text, ret_reason);
    }
    abort();
}

START_TEST(names_and_paths_follow_the_rules_of_those_who_use_them)
{
    const struct text_case *row = &text_cases[_i];
    struct value_reason reason = { "" };
    bool is_accepted = check_text(row, &reason);
    ck_assert_msg(
        is_accepted == !row->expected_problem, "%s: \"%s\": %s", row->name, row->text, reason.text);
    if (row->expected_problem) {
        check_refusal(row->name, row->text, row->expected_problem, &reason);
    }
}
END_TEST

#define LABEL_63 "a23456789012345678901234567890123456789012345678901234567890123"

static const struct address_case {
    const char *name;
    const char *text;
    const char *host;
    unsigned port;
    const char *expected_problem;
} address_cases[] = {
    { "a name", "namesrv.example.org:9876", "namesrv.example.org", 9876, NULL },
    { "a name with its final dot", "a.example.:1", "a.example.", 1, NULL },
    { "a name of one label", "localhost:65535", "localhost", 65535, NULL },
    { "a name with an underscore", "rmq_namesrv:9876", "rmq_namesrv", 9876, NULL },
    { "a name that begins with a digit", "1and1.example:80", "1and1.example", 80, NULL },
    { "a label of 63 bytes", LABEL_63 ".org:1", LABEL_63 ".org", 1, NULL },
    { "a label of 64 bytes", "x" LABEL_63 ".org:1", NULL, 0, "1 to 63 bytes" },
    { "an IPv4 address", "10.0.0.7:10911", "10.0.0.7", 10911, NULL },
    { "an IPv6 address", "[fd00::7]:9876", "fd00::7", 9876, NULL },
    { "the IPv6 loopback", "[::1]:9876", "::1", 9876, NULL },
    { "no port", "namesrv", NULL, 0, "the port is missing, as in namesrv:9876" },
    { "no port behind IPv6", "[::1]", NULL, 0, "the port is missing, as in [::1]:9876" },
    { "an empty port", "a:", NULL, 0, "a port from 1 to 65535" },
    { "port 0", "a:0", NULL, 0, "a port from 1 to 65535" },
    { "port 65536", "a:65536", NULL, 0, "a port from 1 to 65535" },
    { "a port beyond 64 bits", "a:18446744073709551617", NULL, 0, "a port from 1 to 65535" },
    { "a negative port", "a:-1", NULL, 0, "a port from 1 to 65535" },
    { "a port's name", "a:http", NULL, 0, "a port from 1 to 65535" },
    { "text behind the port", "a:80 b:81", NULL, 0, "one host:port" },
    { "a blank behind the port", "a:80 x", NULL, 0, "a port from 1 to 65535" },
    { "no host", ":9876", NULL, 0, "the host is missing" },
    { "nothing", "", NULL, 0, "the port is missing" },
    { "IPv6 without brackets", "::1:9876", NULL, 0, "in brackets, as in [fd00::7]:9876" },
    { "an unclosed bracket", "[::1:9876", NULL, 0, "the ] is missing" },
    { "an IPv4 address in brackets", "[10.0.0.7]:1", NULL, 0,
        "an IPv6 address is accepted in brackets" },
    { "nothing in brackets", "[]:1", NULL, 0, "an IPv6 address is accepted in brackets" },
    { "text behind the bracket", "[::1]x:1", NULL, 0, "the port is missing" },
    { "an IPv4 address out of range", "10.0.0.256:1", NULL, 0,
        "neither a name nor an IPv4 address" },
    { "an IPv4 address of three numbers", "10.0.1:1", NULL, 0,
        "neither a name nor an IPv4 address" },
    { "an empty label", "a..b:1", NULL, 0, "1 to 63 bytes" },
    { "a leading dot", ".a:1", NULL, 0, "1 to 63 bytes" },
    { "a label that begins with -", "-a:1", NULL, 0, "no - at their ends" },
    { "a label that ends in -", "a-.b:1", NULL, 0, "no - at their ends" },
    { "a blank in a name", "a b:1", NULL, 0, "letters, digits" },
    { "a scheme", "http://a:1", NULL, 0, "one host:port" },
    { "a name in UTF-8", "\xc3\xa4:1", NULL, 0, "letters, digits" },
    { "an address of 180 bytes",
        "a." LABEL_63 "." LABEL_63 "."
        "a23456789012345678901234567890123456789012.ab:9876",
        "a." LABEL_63 "." LABEL_63 "."
        "a23456789012345678901234567890123456789012.ab",
        9876, NULL },
    { "an address of 181 bytes",
        "ab." LABEL_63 "." LABEL_63 "."
        "a23456789012345678901234567890123456789012.ab:9876",
        NULL, 0, "181 bytes, at most 180" },
};

START_TEST(addresses_are_split_into_host_and_port)
{
    const struct address_case *row = &address_cases[_i];
    struct value_reason reason = { "" };
    struct value_address address = { SPAN_ABSENT, 0 };
    bool is_read = value_read_address(row->text, &address, &reason);
    ck_assert_msg(
        is_read == !row->expected_problem, "%s: \"%s\": %s", row->name, row->text, reason.text);
    if (row->expected_problem) {
        check_refusal(row->name, row->text, row->expected_problem, &reason);
        ck_assert_msg(
            span_is_absent(address.host), "%s: a refused text changed the address", row->name);
    } else {
        ck_assert_msg(span_equals_text(address.host, row->host), "%s: %.*s", row->name,
            SPAN_ARGS(address.host));
        ck_assert_msg(address.port == row->port, "%s: %u", row->name, address.port);
    }
}
END_TEST

static const struct network_case {
    const char *name;
    const char *text;
    struct value_network network;
    const char *expected_problem;
} network_cases[] = {
    { "any", "any", { .is_any = true }, NULL },
    { "an IPv4 network", "10.0.0.0/8", { .bytes = { 10 }, .n_bits = 8 }, NULL },
    { "an IPv4 address", "127.0.0.1", { .bytes = { 127, 0, 0, 1 }, .n_bits = 32 }, NULL },
    { "every IPv4 address", "0.0.0.0/0", { .n_bits = 0 }, NULL },
    { "a network of one", "10.1.2.3/32", { .bytes = { 10, 1, 2, 3 }, .n_bits = 32 }, NULL },
    { "a prefix within a byte", "172.16.0.0/12", { .bytes = { 172, 16 }, .n_bits = 12 }, NULL },
    { "an IPv6 network", "fd00::/8", { .is_ipv6 = true, .bytes = { 0xfd }, .n_bits = 8 }, NULL },
    { "an IPv6 address", "::1", { .is_ipv6 = true, .bytes = { [15] = 1 }, .n_bits = 128 }, NULL },
    { "every IPv6 address", "::/0", { .is_ipv6 = true, .n_bits = 0 }, NULL },
    { "bits behind the prefix", "10.0.0.1/8", { 0 }, "bits behind its /8" },
    { "one bit behind the prefix", "172.24.0.0/12", { 0 }, "bits behind its /12" },
    { "bits behind an IPv6 prefix", "fd00::1/64", { 0 }, "bits behind its /64" },
    { "an IPv4 prefix that is too long", "10.0.0.0/33", { 0 }, "/0 to /32" },
    { "an IPv6 prefix that is too long", "fd00::/129", { 0 }, "/0 to /128" },
    { "a prefix that wraps in 64 bits", "10.0.0.0/18446744073709551624", { 0 }, "/0 to /32" },
    { "an empty prefix", "10.0.0.0/", { 0 }, "/0 to /32" },
    { "a netmask", "10.0.0.0/255.0.0.0", { 0 }, "/0 to /32" },
    { "a negative prefix", "10.0.0.0/-1", { 0 }, "/0 to /32" },
    { "a name", "example.org", { 0 }, "a network or an address is accepted" },
    { "an address with a port", "10.0.0.1:9876", { 0 }, "a network or an address is accepted" },
    { "nothing", "", { 0 }, "a network or an address is accepted" },
    { "a prefix alone", "/8", { 0 }, "a network or an address is accepted" },
    { "three numbers", "10.0.0/8", { 0 }, "a network or an address is accepted" },
    { "an address of any length", "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111", { 0 },
        "a network or an address is accepted" },
};

START_TEST(networks_are_read_as_address_and_prefix)
{
    const struct network_case *row = &network_cases[_i];
    struct value_reason reason = { "" };
    struct value_network network = { .n_bits = 77 };
    bool is_read = value_read_network(row->text, &network, &reason);
    ck_assert_msg(
        is_read == !row->expected_problem, "%s: \"%s\": %s", row->name, row->text, reason.text);
    if (row->expected_problem) {
        check_refusal(row->name, row->text, row->expected_problem, &reason);
        ck_assert_msg(network.n_bits == 77, "%s: a refused text changed the network", row->name);
        return;
    }
    ck_assert_msg(network.is_any == row->network.is_any, "%s: any", row->name);
    ck_assert_msg(network.is_ipv6 == row->network.is_ipv6, "%s: family", row->name);
    ck_assert_msg(network.n_bits == row->network.n_bits, "%s: /%u", row->name, network.n_bits);
    ck_assert_msg(memcmp(network.bytes, row->network.bytes, sizeof(network.bytes)) == 0,
        "%s: bytes", row->name);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("config/value");
    TCase *tcase = tcase_create("value");
    tcase_add_loop_test(
        tcase, numbers_are_read_with_their_units_within_their_range, 0, N(number_cases));
    tcase_add_loop_test(
        tcase, numbers_are_written_in_the_largest_unit_that_loses_nothing, 0, N(format_cases));
    tcase_add_test(tcase, the_largest_numbers_are_written_whole);
    tcase_add_loop_test(
        tcase, names_and_paths_follow_the_rules_of_those_who_use_them, 0, N(text_cases));
    tcase_add_loop_test(tcase, addresses_are_split_into_host_and_port, 0, N(address_cases));
    tcase_add_loop_test(tcase, networks_are_read_as_address_and_prefix, 0, N(network_cases));
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
