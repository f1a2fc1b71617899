#include "protocol/address.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/golden.h"
#include "tests/support/run_suite.h"

/* Parses a copy that ends where the text ends. Spans are compared before the copy goes. */
static bool parses_as(const char *text, const char *host, uint16_t port)
{
    const size_t n = strlen(text);
    char *copy = (char *)golden_copy((const uint8_t *)text, n);
    struct span found_host = SPAN("untouched");
    uint16_t found_port = 4711;
    bool is_address = address_parse((struct span){ copy, n }, &found_host, &found_port);
    bool is_right =
        host ? is_address && span_equals_text(found_host, host) && found_port == port : !is_address;
    free(copy);
    return is_right;
}

struct good_case {
    const char *text;
    const char *host;
    uint16_t port;
};

static const struct good_case good[] = {
    { "127.0.0.1:9876", "127.0.0.1", 9876 },
    { "broker-a.example.org:10911", "broker-a.example.org", 10911 },
    { "Broker_A:1", "Broker_A", 1 },
    { "h:65535", "h", 65535 },
    { "[::1]:9876", "::1", 9876 },
    { "[2001:db8::1]:10911", "2001:db8::1", 10911 },
    { "[fe80::1%eth0]:10911", "fe80::1%eth0", 10911 },
};

START_TEST(address_is_taken_apart)
{
    ck_assert_msg(parses_as(good[_i].text, good[_i].host, good[_i].port), "\"%s\"", good[_i].text);
}
END_TEST

static const char *const bad[] = {
    "",
    ":",
    "host",
    "host:",
    ":9876",
    "host:0",
    "host:00",
    "host:65536",
    "host:99999999999999999999",
    "host:-1",
    "host:-0",
    "host:+80",
    "host: 80",
    "host:80 ",
    " host:80",
    "host:80x",
    "host:0x50",
    "ho st:80",
    "host\n:80",
    "ho/st:80",
    "user@host:80",
    "h\xc3\xb6st:80",
    "::1:9876",
    "::1",
    "[::1]",
    "[::1]:",
    "[::1]9876",
    "[]:9876",
    "[:9876",
    "]:9876",
    "[::1:9876",
    "::1]:9876",
    "[[::1]]:9876",
    "fe80::1%eth0:80",
    "10.0.0.1:9876;10.0.0.2:9876",
};

START_TEST(what_is_no_host_and_port_is_refused)
{
    ck_assert_msg(parses_as(bad[_i], NULL, 0), "\"%s\"", bad[_i]);
}
END_TEST

START_TEST(results_are_written_for_an_address_only)
{
    struct span host = SPAN("untouched");
    uint16_t port = 4711;
    ck_assert(!address_parse(SPAN("host:0"), &host, &port));
    ck_assert(span_equals_text(host, "untouched"));
    ck_assert_uint_eq(port, 4711);
    ck_assert(!address_parse(SPAN_ABSENT, &host, &port));
}
END_TEST

START_TEST(host_may_have_253_characters)
{
    char text[ADDRESS_HOST_MAX + 8];
    memset(text, 'h', sizeof(text));
    memcpy(text + ADDRESS_HOST_MAX, ":80", 4);
    char host[ADDRESS_HOST_MAX + 1] = { 0 };
    memset(host, 'h', ADDRESS_HOST_MAX);
    ck_assert(parses_as(text, host, 80));
    memcpy(text + ADDRESS_HOST_MAX, "h:80", 5);
    ck_assert(parses_as(text, NULL, 0));
}
END_TEST

START_TEST(longest_address_fits_the_text_that_the_header_promises)
{
    char host[ADDRESS_HOST_MAX + 1] = { 0 };
    memset(host, 'h', ADDRESS_HOST_MAX);
    ck_assert_int_lt(snprintf(NULL, 0, "[%s]:%u", host, 65535u), ADDRESS_TEXT_MAX);
}
END_TEST

struct network_case {
    const char *host;
    const char *network;
    bool is_in;
};

static const struct network_case network_cases[] = {
    { "10.1.2.3", "10.0.0.0/8", true },
    { "11.1.2.3", "10.0.0.0/8", false },
    { "10.127.255.255", "10.0.0.0/9", true },
    { "10.128.0.0", "10.0.0.0/9", false },
    { "127.0.0.1", "127.0.0.1", true },
    { "127.0.0.2", "127.0.0.1", false },
    { "127.0.0.1", "127.0.0.1/32", true },
    { "192.0.2.1", "0.0.0.0/0", true },
    { "fd00::7", "fd00::/8", true },
    { "fe80::7", "fd00::/8", false },
    { "::1", "::1", true },
    { "::2", "::1", false },
    { "::1", "10.0.0.0/8", false },
    { "10.0.0.1", "::/0", false },
    { "broker-a", "0.0.0.0/0", false },
    { "", "0.0.0.0/0", false },
    { "10.0.0.1", "localhost", false },
    { "0000:0000:0000:0000:0000:0000:255.255.255.2550", "::/0", false },
    { "::1", "0000:0000:0000:0000:0000:0000:255.255.255.2550/1280", false },
};

START_TEST(host_in_numbers_is_held_against_a_network)
{
    const struct network_case *c = &network_cases[_i];
    ck_assert_msg(address_host_is_in(span_of(c->host), c->network) == c->is_in, "'%s' in %s",
        c->host, c->network);
}
END_TEST

START_TEST(address_is_among_networks_and_others_of_its_kind)
{
    char *const items[] = { "10.0.0.0/8", "broker-a:10911", "fd00::/8" };
    ck_assert(address_is_among("10.1.2.3:80", items, 3));
    ck_assert(address_is_among("[fd00::7]:80", items, 3));
    ck_assert(address_is_among("broker-a:10911", items, 3));
    ck_assert(!address_is_among("broker-a:10912", items, 3));
    ck_assert(!address_is_among("broker-b:10911", items, 3));
    ck_assert(!address_is_among("11.0.0.1:80", items, 3));
    ck_assert(!address_is_among("10.1.2.3", items, 3));
    ck_assert(!address_is_among("10.1.2.3:80", items, 0));
}
END_TEST

#define N(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void)
{
    TCase *tests = tcase_create("address");
    tcase_add_loop_test(tests, address_is_taken_apart, 0, N(good));
    tcase_add_loop_test(tests, what_is_no_host_and_port_is_refused, 0, N(bad));
    tcase_add_test(tests, results_are_written_for_an_address_only);
    tcase_add_test(tests, host_may_have_253_characters);
    tcase_add_test(tests, longest_address_fits_the_text_that_the_header_promises);
    tcase_add_loop_test(tests, host_in_numbers_is_held_against_a_network, 0, N(network_cases));
    tcase_add_test(tests, address_is_among_networks_and_others_of_its_kind);
    Suite *suite = suite_create("address");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
