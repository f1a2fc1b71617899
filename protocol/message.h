/*
 * Stored message
 *
 * A message as a broker stores it and sends it in the bodies of PULL, POP, VIEW_MESSAGE_BY_ID,
 * CHECK_TRANSACTION_STATE and CONSUME_MESSAGE_DIRECTLY: one after the other, without a count.
 * Layout (MessageDecoder.java; offsets with IPv4 hosts):
 *
 *     0 i32 totalSize | 4 i32 magic | 8 i32 bodyCRC | 12 i32 queueId | 16 i32 flag
 *     | 20 i64 queueOffset | 28 i64 physicalOffset | 36 i32 sysFlag | 40 i64 bornTimestamp
 *     | 48 bornHost | 56 i64 storeTimestamp | 64 storeHost | 72 i32 reconsumeTimes
 *     | 76 i64 preparedTransactionOffset | 84 i32 bodyLength, body | topic length, topic
 *     | i16 propertiesLength, properties
 *
 * A host is 4 or 16 bytes of address and an i32 port; bornHost has 16 when sysFlag has 0x10,
 * storeHost when it has 0x20. The topic's length is u8 with the first magic and i16 with the
 * second. Bodies are walked by totalSize, never by the sum of the parts: brokers may pad. A decoded
 * message is spans into the input.
 *
 * Properties are `name 0x01 value 0x02` repeated, the last 0x02 optional; there is no escaping.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_MAGIC_V1 ((int32_t)0xDAA320A7)
#define MESSAGE_MAGIC_V2 ((int32_t)0xDAA320AB)

#define MESSAGE_SYSFLAG_COMPRESSED   0x1
#define MESSAGE_SYSFLAG_MULTI_TAGS   0x2
#define MESSAGE_SYSFLAG_TRANSACTION  0xC /* mask; 0x8 commit, 0xC rollback, and: */
#define MESSAGE_SYSFLAG_PREPARED     0x4
#define MESSAGE_SYSFLAG_BORNHOST_V6  0x10
#define MESSAGE_SYSFLAG_STOREHOST_V6 0x20
#define MESSAGE_SYSFLAG_NEED_UNWRAP  0x40
#define MESSAGE_SYSFLAG_INNER_BATCH  0x80
#define MESSAGE_SYSFLAG_COMPRESSION  0x700 /* mask; >> 8: 0 and 3 zlib, 1 LZ4, 2 zstd */

#define MESSAGE_PROPERTIES_MAX     32767
#define MESSAGE_PROPERTY_NAME_END  '\x01'
#define MESSAGE_PROPERTY_VALUE_END '\x02'

/* MessageConst.java */
#define PROPERTY_KEYS                 "KEYS"
#define PROPERTY_TAGS                 "TAGS"
#define PROPERTY_UNIQ_KEY             "UNIQ_KEY"
#define PROPERTY_POP_CK               "POP_CK"
#define PROPERTY_PRODUCER_GROUP       "PGROUP"
#define PROPERTY_TRANSACTION_PREPARED "TRAN_MSG"
#define PROPERTY_WAIT_STORE_OK        "WAIT"
#define PROPERTY_SHARDING_KEY         "__SHARDINGKEY"
#define PROPERTY_DELAY_LEVEL          "DELAY"
#define PROPERTY_CLUSTER              "CLUSTER"
#define PROPERTY_CORRELATION_ID       "CORRELATION_ID"
#define PROPERTY_REPLY_TO_CLIENT      "REPLY_TO_CLIENT"
#define PROPERTY_TTL                  "TTL"
#define PROPERTY_MESSAGE_TYPE         "MSG_TYPE"
#define PROPERTY_TIMER_DELAY_SEC      "TIMER_DELAY_SEC"
#define PROPERTY_TIMER_DELAY_MS       "TIMER_DELAY_MS"
#define PROPERTY_TIMER_DELIVER_MS     "TIMER_DELIVER_MS"

struct message_host {
    uint8_t ip[16]; /* the first 4 or all 16 */
    bool is_v6;
    int32_t port;
};

struct message {
    int32_t total_size;
    int32_t magic;
    int32_t body_crc; /* Java's CRC-32, sign bit cleared */
    int32_t queue_id;
    int32_t flag;
    int32_t sys_flag;
    int32_t reconsume_times;
    int64_t queue_offset;
    int64_t physical_offset;
    int64_t born_timestamp_ms;
    int64_t store_timestamp_ms;
    int64_t prepared_transaction_offset;
    struct message_host born_host;
    struct message_host store_host;
    struct span body;
    struct span topic;
    struct span properties;
};

enum message_status {
    MESSAGE_OK,
    MESSAGE_PARTIAL, /* the input ends before totalSize: the walk ends here */
    /*
     * *ret_size is totalSize where that is believable (4 <= totalSize <= n), so that a walk can go
     * on; else 0.
     */
    MESSAGE_MALFORMED,
};

/*
 * Decodes the message at the start of (data, n). *ret_size is its totalSize, by which a walk goes
 * on, and 0 where the walk ends. *ret_message is written when it is MESSAGE_OK.
 */
enum message_status message_decode(
    const uint8_t *data, size_t n, struct message *ret_message, size_t *ret_size);

/*
 * The id by which brokers find it: storeHost and physicalOffset in upper-case hex, 32 characters
 * (v4) or 56 (v6), and a 0.
 */
#define MESSAGE_OFFSET_ID_SIZE 57
void message_offset_id(const struct message *message, char ret_id[MESSAGE_OFFSET_ID_SIZE]);
/*
 * Where such an id says that the message lies. False when it is none; the UNIQ_KEY of a message
 * looks like one, and says nonsense.
 */
bool message_offset_id_read(
    struct span id, struct message_host *ret_host, int64_t *ret_physical_offset);
/* "10.0.0.9:4711", "[::1]:4711" */
#define MESSAGE_HOST_TEXT_SIZE 64
void message_host_text(const struct message_host *host, char ret_text[MESSAGE_HOST_TEXT_SIZE]);

/*
 * One message of an inner batch: a body with MESSAGE_SYSFLAG_INNER_BATCH and _NEED_UNWRAP, in the
 * form of a SEND_BATCH body: i32 totalSize | i32 magic | i32 crc | i32 flag | i32 bodyLength, body
 * | i16 propertiesLength, properties, and so on.
 */
struct message_inner {
    int32_t flag;
    struct span body;
    struct span properties;
};
/* *at starts at 0. False at the end, or where there is no message: *at is then before the end. */
bool message_inner_next(struct span batch, size_t *at, struct message_inner *ret_inner);

/* The value of a property, or SPAN_ABSENT. Of several with one name the last, as in Java's map. */
struct span message_property(struct span properties, struct span name);
/*
 * Walks the properties: *at starts at 0. False at the end. Pairs without a name or without 0x01 are
 * passed over.
 */
bool message_properties_next(
    struct span properties, size_t *at, struct span *ret_name, struct span *ret_value);

/*
 * Bodies with MESSAGE_SYSFLAG_COMPRESSED. The result is at most size_limit bytes, on the heap, to
 * be freed by the caller. zlib (also what old senders mark with type 0), LZ4 frames and zstd
 * frames, as Java's client writes them. Memory grows with what comes out, never with what a body
 * claims; a zstd window counts too (8 MiB are always granted, 128 MiB never exceeded).
 */
enum message_body_status {
    MESSAGE_BODY_OK,
    MESSAGE_BODY_CORRUPT,   /* or cut short */
    MESSAGE_BODY_TOO_LARGE, /* would be larger than size_limit, or needs a window that is */
    MESSAGE_BODY_UNKNOWN_COMPRESSION,
    MESSAGE_BODY_NO_MEMORY,
};
enum message_body_status message_body_decompress(
    const struct message *message, size_t size_limit, char **ret_body, size_t *ret_size);

/* CompressionType.java: the numbers that stand in MESSAGE_SYSFLAG_COMPRESSION. */
enum message_compression {
    MESSAGE_COMPRESSION_LZ4 = 1,
    MESSAGE_COMPRESSION_ZSTD = 2,
    MESSAGE_COMPRESSION_ZLIB = 3,
};
/* So many bytes it takes at most. */
size_t message_body_compress_bound(enum message_compression compression, size_t n);
/*
 * As Java's client compresses (level 5), into dst, which has the room of the bound. The number of
 * bytes; 0 without memory.
 */
size_t message_body_compress(enum message_compression compression, struct span body, char *dst);
/* The sysFlag of a body that was compressed so. */
int32_t message_compression_sys_flag(enum message_compression compression);
