#include "daemon/upstream/destination.h"

#include "protocol/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static void write_numbers(const struct sockaddr *socket_address, char text[ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "";
    if (socket_address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)socket_address;
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        (void)snprintf(text, ADDRESS_TEXT_MAX, "[%s]:%d", host, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const void *)socket_address;
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        (void)snprintf(text, ADDRESS_TEXT_MAX, "%s:%d", host, ntohs(v4->sin_port));
    }
}

static bool is_among(const char *address, const struct config_list *list)
{
    return address_is_among(address, list->items, list->n);
}

bool destination_is_admitted(
    const struct config *config, const char *name, const struct sockaddr *socket_address)
{
    const struct config_list *admitted = &config->upstream.route_addresses;
    if (admitted->n == 0 || config->upstream.allow_any_address || is_among(name, admitted) ||
        is_among(name, &config->nameserver.addresses)) {
        return true;
    }
    char numbers[ADDRESS_TEXT_MAX];
    write_numbers(socket_address, numbers);
    return is_among(numbers, admitted) || is_among(numbers, &config->upstream.allow_addresses);
}
