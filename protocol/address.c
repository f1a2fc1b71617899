#include "protocol/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/ext_fields.h"

static bool host_is_plausible(struct span host, bool is_bracketed)
{
    if (host.n == 0 || host.n > ADDRESS_HOST_MAX ||
        (is_bracketed && !memchr(host.data, ':', host.n))) {
        return false;
    }
    for (size_t i = 0; i < host.n; i++) {
        char c = host.data[i];
        bool is_common = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                         (c >= 'A' && c <= 'Z') || c == '.' || c == '-' || c == '_';
        if (!is_common && !(is_bracketed && (c == ':' || c == '%'))) {
            return false;
        }
    }
    return true;
}

bool address_parse(struct span text, struct span *ret_host, uint16_t *ret_port)
{
    size_t colon = text.n;
    while (colon > 0 && text.data[colon - 1] != ':') {
        colon--;
    }
    if (colon == 0) {
        return false;
    }
    struct span host = { text.data, colon - 1 };
    struct span port_text = { text.data + colon, text.n - colon };
    bool is_bracketed = host.n >= 2 && host.data[0] == '[' && host.data[host.n - 1] == ']';
    if (is_bracketed) {
        host.data++;
        host.n -= 2;
    }
    /* One spelling a port, without zeros in front: connections are told apart by this text. */
    int64_t port;
    if (!host_is_plausible(host, is_bracketed) || port_text.n == 0 || port_text.data[0] < '1' ||
        !ext_value_parse_i64(port_text, 1, 65535, &port)) {
        return false;
    }
    *ret_host = host;
    *ret_port = (uint16_t)port;
    return true;
}

bool address_host_is_in(struct span host, const char *network)
{
    char text[INET6_ADDRSTRLEN + 5];
    char host_text[INET6_ADDRSTRLEN];
    if (strlen(network) >= sizeof(text) || host.n >= sizeof(host_text)) {
        return false;
    }
    (void)snprintf(text, sizeof(text), "%s", network);
    (void)snprintf(host_text, sizeof(host_text), "%.*s", SPAN_ARGS(host));
    char *slash = strchr(text, '/');
    if (slash) {
        *slash = '\0';
    }
    uint8_t network_bytes[16], host_bytes[16];
    int family = strchr(text, ':') ? AF_INET6 : AF_INET;
    size_t n_bits = family == AF_INET6 ? 128 : 32;
    if (inet_pton(family, text, network_bytes) != 1 ||
        inet_pton(family, host_text, host_bytes) != 1) {
        return false;
    }
    size_t prefix = slash ? (size_t)strtoul(slash + 1, NULL, 10) : n_bits;
    for (size_t bit = 0; bit < prefix && bit < n_bits; bit++) {
        uint8_t mask = (uint8_t)(0x80 >> bit % 8);
        if ((network_bytes[bit / 8] ^ host_bytes[bit / 8]) & mask) {
            return false;
        }
    }
    return true;
}

bool address_is_among(const char *address, char *const *items, size_t n_items)
{
    struct span host;
    uint16_t port;
    bool is_plausible = address_parse(span_of(address), &host, &port);
    for (size_t i = 0; i < n_items; i++) {
        if (strcmp(items[i], address) == 0 ||
            (is_plausible && address_host_is_in(host, items[i]))) {
            return true;
        }
    }
    return false;
}
