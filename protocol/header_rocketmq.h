/*
 * ROCKETMQ header
 *
 * Header <-> RocketMQ's compact binary form (RocketMQSerializable.java):
 *
 *     i16 code | u8 language | i16 version | i32 opaque | i32 flag | i32 remark length, remark | i32 ext length, ext
 *     ext = repeat { i16 key length, key | i32 value length, value }                               big-endian, UTF-8
 *
 * A length of 0 is null in Java: it writes an empty string so and reads it as null. Decoding takes
 * an empty remark as absent and empty ext fields as none, but keeps a field with an empty value as
 * the empty string, because that is what the caller wrote and what the JSON form can say upstream.
 * Encoding leaves out fields with an empty key or value: their reader would have null in its map.
 *
 * A code has 16 bits: encoding one that does not fit writes its lower 16, as Java does, so callers
 * must not use this form for requests beyond 32767 (the local protocol has sidecar.code for them).
 * The same holds for the version.
 *
 * Lengths that are negative or run over, and bytes after the ext fields, are HEADER_SYNTAX. Text
 * that the JSON form cannot say (not UTF-8, or with a NUL, which jansson and so every peer of ours
 * refuses) and a key that stands twice are HEADER_INVALID.
 */
#pragma once

#include "protocol/remoting_command.h"

enum header_status header_rocketmq_decode(struct remoting_command *command, const uint8_t *data,
    size_t n, struct header_problem *ret_problem);

/* 0 when a key has more than the 32767 bytes that its length can say. */
size_t header_rocketmq_encoded_size(const struct remoting_command *command);
/* The bytes written, which header_rocketmq_encoded_size() counted. */
size_t header_rocketmq_encode(const struct remoting_command *command, uint8_t *dst);
