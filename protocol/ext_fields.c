#include "protocol/ext_fields.h"

void ext_fields_init(struct ext_fields *ext_fields, struct ext_field *storage, size_t capacity)
{
    *ext_fields = (struct ext_fields){ .fields = storage, .capacity = capacity };
}

bool ext_fields_add(struct ext_fields *ext_fields, struct span key, struct span value)
{
    if (ext_fields->n == ext_fields->capacity) {
        return false;
    }
    ext_fields->fields[ext_fields->n++] = (struct ext_field){ .key = key, .value = value };
    return true;
}

static struct ext_field *find_field(const struct ext_fields *ext_fields, struct span key)
{
    for (size_t i = 0; i < ext_fields->n; i++) {
        if (span_equals(ext_fields->fields[i].key, key)) {
            return &ext_fields->fields[i];
        }
    }
    return NULL;
}

bool ext_fields_set(struct ext_fields *ext_fields, struct span key, struct span value)
{
    struct ext_field *field = find_field(ext_fields, key);
    if (!field) {
        return ext_fields_add(ext_fields, key, value);
    }
    field->value = value;
    return true;
}

struct span ext_fields_get(const struct ext_fields *ext_fields, struct span key)
{
    const struct ext_field *field = find_field(ext_fields, key);
    return field ? field->value : SPAN_ABSENT;
}

bool ext_fields_remove(struct ext_fields *ext_fields, struct span key)
{
    struct ext_field *field = find_field(ext_fields, key);
    if (!field) {
        return false;
    }
    const struct ext_field *end = ext_fields->fields + ext_fields->n;
    memmove(field, field + 1, (size_t)(end - (field + 1)) * sizeof(*field));
    ext_fields->n--;
    return true;
}

size_t ext_fields_remove_prefixed(struct ext_fields *ext_fields, struct span prefix)
{
    size_t n_kept = 0;
    for (size_t i = 0; i < ext_fields->n; i++) {
        if (!span_starts_with(ext_fields->fields[i].key, prefix)) {
            ext_fields->fields[n_kept++] = ext_fields->fields[i];
        }
    }
    size_t n_removed = ext_fields->n - n_kept;
    ext_fields->n = n_kept;
    return n_removed;
}

/* Ten bits of a key: its length and its ends, where the keys of one command differ. */
static unsigned key_digest(struct span key)
{
    uint64_t first = 0;
    uint64_t last = 0;
    if (key.n >= sizeof(first)) {
        memcpy(&first, key.data, sizeof(first));
        memcpy(&last, key.data + key.n - sizeof(last), sizeof(last));
    } else if (key.n > 0) {
        first = (unsigned char)key.data[0] | (uint64_t)(unsigned char)key.data[key.n / 2] << 8;
        last = (unsigned char)key.data[key.n - 1];
    }
    uint64_t mixed = (first ^ key.n) * 0x9E3779B97F4A7C15u + last * 0xC2B2AE3D27D4EB4Fu;
    return (unsigned)((mixed ^ mixed >> 32) * 0x9E3779B97F4A7C15u >> 54);
}

/*
 * A key whose digest was not seen before is new: with the usual 5 to 20 fields hardly any two keys
 * are ever compared. Keys made to share a digest cost a comparison of every pair, which
 * EXT_FIELDS_MAX bounds.
 */
ptrdiff_t ext_fields_find_duplicate(const struct ext_fields *ext_fields)
{
    uint64_t seen[16] = { 0 };
    for (size_t i = 0; i < ext_fields->n; i++) {
        struct span key = ext_fields->fields[i].key;
        unsigned digest = key_digest(key);
        uint64_t bit = (uint64_t)1 << (digest % 64);
        if (seen[digest / 64] & bit) {
            for (size_t j = 0; j < i; j++) {
                if (span_equals(ext_fields->fields[j].key, key)) {
                    return (ptrdiff_t)i;
                }
            }
        }
        seen[digest / 64] |= bit;
    }
    return -1;
}

bool ext_value_parse_i64(struct span value, int64_t min, int64_t max, int64_t *ret_value)
{
    size_t at = 0;
    bool is_negative = value.n > 0 && value.data[0] == '-';
    if (value.n > 0 && (value.data[0] == '-' || value.data[0] == '+')) {
        at = 1;
    }
    if (at == value.n) {
        return false;
    }
    /* Summed up below zero, where there is room for one number more. */
    int64_t sum = 0;
    for (; at < value.n; at++) {
        int digit = value.data[at] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_sub_overflow(sum, digit, &sum)) {
            return false;
        }
    }
    if (!is_negative && sum == INT64_MIN) {
        return false;
    }
    int64_t number = is_negative ? sum : -sum;
    if (number < min || number > max) {
        return false;
    }
    *ret_value = number;
    return true;
}
