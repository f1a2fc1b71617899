#include "protocol/message.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "protocol/bytes.h"

static struct message_host read_host(struct bytes_reader *reader, bool is_v6)
{
    struct message_host host = { .is_v6 = is_v6 };
    struct span ip = bytes_read_span(reader, is_v6 ? 16 : 4);
    if (!bytes_reader_failed(reader)) {
        memcpy(host.ip, ip.data, ip.n);
    }
    host.port = bytes_read_i32(reader);
    return host;
}

/* A length that is negative fails the reader: it cannot be, and nothing behind it can be found. */
static struct span read_counted(struct bytes_reader *reader, int32_t n)
{
    if (n < 0) {
        bytes_reader_fail(reader);
        return SPAN_ABSENT;
    }
    return bytes_read_span(reader, (size_t)n);
}

/*
 * Everything behind totalSize. False when the parts do not fit into it, or the magic is none of a
 * message.
 */
static bool read_parts(struct bytes_reader *reader, struct message *message)
{
    message->magic = bytes_read_i32(reader);
    if (message->magic != MESSAGE_MAGIC_V1 && message->magic != MESSAGE_MAGIC_V2) {
        return false;
    }
    message->body_crc = bytes_read_i32(reader);
    message->queue_id = bytes_read_i32(reader);
    message->flag = bytes_read_i32(reader);
    message->queue_offset = bytes_read_i64(reader);
    message->physical_offset = bytes_read_i64(reader);
    message->sys_flag = bytes_read_i32(reader);
    message->born_timestamp_ms = bytes_read_i64(reader);
    message->born_host = read_host(reader, message->sys_flag & MESSAGE_SYSFLAG_BORNHOST_V6);
    message->store_timestamp_ms = bytes_read_i64(reader);
    message->store_host = read_host(reader, message->sys_flag & MESSAGE_SYSFLAG_STOREHOST_V6);
    message->reconsume_times = bytes_read_i32(reader);
    message->prepared_transaction_offset = bytes_read_i64(reader);
    message->body = read_counted(reader, bytes_read_i32(reader));
    int32_t topic_length =
        message->magic == MESSAGE_MAGIC_V1 ? bytes_read_u8(reader) : bytes_read_i16(reader);
    message->topic = read_counted(reader, topic_length);
    message->properties = read_counted(reader, bytes_read_i16(reader));
    return !bytes_reader_failed(reader);
}

enum message_status message_decode(
    const uint8_t *data, size_t n, struct message *ret_message, size_t *ret_size)
{
    struct bytes_reader reader;
    bytes_reader_init(&reader, data, n);
    int32_t total_size = bytes_read_i32(&reader);
    *ret_size = 0;
    if (bytes_reader_failed(&reader)) {
        return MESSAGE_PARTIAL;
    }
    if (total_size < (int32_t)sizeof(total_size)) {
        return MESSAGE_MALFORMED;
    }
    if ((size_t)total_size > n) {
        return MESSAGE_PARTIAL;
    }
    *ret_size = (size_t)total_size;

    /* What the broker wrote behind the properties, up to totalSize, is padding. */
    struct message message = { .total_size = total_size };
    bytes_reader_init(&reader, data + sizeof(total_size), (size_t)total_size - sizeof(total_size));
    if (!read_parts(&reader, &message)) {
        return MESSAGE_MALFORMED;
    }
    *ret_message = message;
    return MESSAGE_OK;
}

bool message_inner_next(struct span batch, size_t *at, struct message_inner *ret_inner)
{
    size_t n = batch.n - *at;
    struct bytes_reader reader;
    bytes_reader_init(&reader, (const uint8_t *)batch.data + *at, n);
    int32_t total_size = bytes_read_i32(&reader);
    if (bytes_reader_failed(&reader) || total_size < (int32_t)sizeof(total_size) ||
        (size_t)total_size > n) {
        return false;
    }
    bytes_reader_init(&reader, (const uint8_t *)batch.data + *at + sizeof(total_size),
        (size_t)total_size - sizeof(total_size));
    (void)bytes_read_i32(&reader); /* magic and crc: Java's sender leaves them 0 */
    (void)bytes_read_i32(&reader);
    struct message_inner inner;
    inner.flag = bytes_read_i32(&reader);
    inner.body = read_counted(&reader, bytes_read_i32(&reader));
    inner.properties = read_counted(&reader, bytes_read_i16(&reader));
    if (bytes_reader_failed(&reader)) {
        return false;
    }
    *ret_inner = inner;
    *at += (size_t)total_size;
    return true;
}

void message_offset_id(const struct message *message, char ret_id[MESSAGE_OFFSET_ID_SIZE])
{
    const struct message_host *host = &message->store_host;
    size_t n_ip = host->is_v6 ? sizeof(host->ip) : 4;
    char *dst = ret_id;
    for (size_t i = 0; i < n_ip; i++) {
        dst += sprintf(dst, "%02X", (unsigned)host->ip[i]);
    }
    (void)sprintf(
        dst, "%08X%016llX", (unsigned)host->port, (unsigned long long)message->physical_offset);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool message_offset_id_read(
    struct span id, struct message_host *ret_host, int64_t *ret_physical_offset)
{
    uint8_t bytes[sizeof(ret_host->ip) + 12];
    const size_t n_ip = id.n / 2 < 12 ? 0 : id.n / 2 - 12;
    if (id.n % 2 != 0 || (n_ip != 4 && n_ip != 16)) {
        return false;
    }
    for (size_t i = 0; i < id.n / 2; i++) {
        int high = hex_digit(id.data[2 * i]);
        int low = hex_digit(id.data[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    struct message_host host = { .is_v6 = n_ip == 16 };
    struct bytes_reader reader;
    bytes_reader_init(&reader, bytes + n_ip, 12);
    memcpy(host.ip, bytes, n_ip);
    host.port = bytes_read_i32(&reader);
    int64_t offset = bytes_read_i64(&reader);
    if (host.port < 1 || host.port > UINT16_MAX || offset < 0) {
        return false;
    }
    *ret_host = host;
    *ret_physical_offset = offset;
    return true;
}

void message_host_text(const struct message_host *host, char ret_text[MESSAGE_HOST_TEXT_SIZE])
{
    char ip[INET6_ADDRSTRLEN];
    (void)inet_ntop(host->is_v6 ? AF_INET6 : AF_INET, host->ip, ip, sizeof(ip));
    (void)snprintf(
        ret_text, MESSAGE_HOST_TEXT_SIZE, host->is_v6 ? "[%s]:%d" : "%s:%d", ip, host->port);
}

bool message_properties_next(
    struct span properties, size_t *at, struct span *ret_name, struct span *ret_value)
{
    while (*at < properties.n) {
        const char *pair = properties.data + *at;
        const char *end = memchr(pair, MESSAGE_PROPERTY_VALUE_END, properties.n - *at);
        size_t n = end ? (size_t)(end - pair) : properties.n - *at;
        *at += end ? n + 1 : n;
        const char *name_end = memchr(pair, MESSAGE_PROPERTY_NAME_END, n);
        if (name_end && name_end > pair) {
            size_t name_n = (size_t)(name_end - pair);
            *ret_name = (struct span){ pair, name_n };
            *ret_value = (struct span){ name_end + 1, n - name_n - 1 };
            return true;
        }
    }
    return false;
}

struct span message_property(struct span properties, struct span name)
{
    struct span found = SPAN_ABSENT;
    struct span each_name;
    struct span each_value;
    size_t at = 0;
    while (message_properties_next(properties, &at, &each_name, &each_value)) {
        if (span_equals(each_name, name)) {
            found = each_value;
        }
    }
    return found;
}
