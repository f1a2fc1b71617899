/*
 * Ext fields
 *
 * The ordered string pairs of a remoting command (extFields). The pairs are spans into somebody
 * else's bytes, and the array is the caller's too, so that decoding a header allocates nothing.
 * Order is kept, because Java's is kept when a header is encoded again. Keys are few
 * (EXT_FIELDS_MAX); look-ups walk the array.
 */
#pragma once

#include "protocol/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * More than any command of RocketMQ carries (about 20), with room for the property.* fields of the
 * local protocol.
 */
#define EXT_FIELDS_MAX 256

struct ext_field {
    struct span key;
    struct span value;
    /*
     * Set by the JSON decoder where neither text holds an escape or anything else that JSON might
     * write in another way: how many bytes the pair takes in the source, from quote to quote. See
     * ext_field_source().
     */
    uint32_t source_size;
};

struct ext_fields {
    struct ext_field *fields;
    size_t n;
    size_t capacity;
};

void ext_fields_init(struct ext_fields *ext_fields, struct ext_field *storage, size_t capacity);
/* False when the array is full. Does not look for an equal key. */
static inline bool ext_fields_add(struct ext_fields *ext_fields, struct span key, struct span value)
{
    if (ext_fields->n == ext_fields->capacity) {
        return false;
    }
    ext_fields->fields[ext_fields->n++] = (struct ext_field){ .key = key, .value = value };
    return true;
}

/*
 * Where "key":"value" stands in the source just as an encoder would write it, source_size bytes;
 * NULL where it does not, or one of the spans is another one than was read. They tell it
 * themselves: whoever changes a field need not know of this.
 */
static inline const char *ext_field_source(const struct ext_field *field)
{
    const char *value = field->value.data;
    bool is_there = field->source_size == field->key.n + field->value.n + 5 &&
                    value == field->key.data + field->key.n + 3;
    return is_there ? field->key.data - 1 : NULL;
}

/* Replaces the value of an equal key or adds the pair at the end. False when the array is full. */
bool ext_fields_set(struct ext_fields *ext_fields, struct span key, struct span value);
/* The value, or SPAN_ABSENT. */
struct span ext_fields_get(const struct ext_fields *ext_fields, struct span key);
/* As ext_fields_get() with a literal key: ext_fields_text(&ext, "topic"). */
#define ext_fields_text(ext_fields, literal) ext_fields_get((ext_fields), SPAN(literal))
/* Keeps the order of the rest. False when there was none. */
bool ext_fields_remove(struct ext_fields *ext_fields, struct span key);
/* Removes every field whose key begins with the prefix; the number removed. */
size_t ext_fields_remove_prefixed(struct ext_fields *ext_fields, struct span prefix);
/* The keys that were seen: where one seems to be among them already, they have to be compared. */
struct ext_keys_seen {
    uint64_t beginnings, ends;
};

/*
 * Whether the key may have been seen before; it is from here on. The keys of one command differ in
 * their lengths, ends and middles: with the usual 5 to 20 fields hardly any two are ever compared.
 */
static inline bool ext_keys_see(struct ext_keys_seen *seen, struct span key)
{
    const unsigned char *bytes = (const unsigned char *)(key.n > 0 ? key.data : "");
    size_t last = key.n > 0 ? key.n - 1 : 0;
    uint64_t beginning = (uint64_t)1 << ((bytes[0] + 3 * key.n) % 64);
    uint64_t end = (uint64_t)1 << ((bytes[last] + 5u * bytes[key.n / 2]) % 64);
    bool may_be_there = (seen->beginnings & beginning) && (seen->ends & end);
    seen->beginnings |= beginning;
    seen->ends |= end;
    return may_be_there;
}

/* The index of a field whose key stands twice, or -1. */
ptrdiff_t ext_fields_find_duplicate(const struct ext_fields *ext_fields);

/*
 * The text of a decimal integer, optionally signed, nothing else around it, within the range: false
 * otherwise.
 */
bool ext_value_parse_i64(struct span value, int64_t min, int64_t max, int64_t *ret_value);
