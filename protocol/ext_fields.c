#include "protocol/ext_fields.h"

void ext_fields_init(struct ext_fields *ext_fields, struct ext_field *storage, size_t capacity)
{
    *ext_fields = (struct ext_fields){ .fields = storage, .capacity = capacity };
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

/* Keys made to share a digest cost a comparison of every pair, which EXT_FIELDS_MAX bounds. */
ptrdiff_t ext_fields_find_duplicate(const struct ext_fields *ext_fields)
{
    struct ext_keys_seen seen = { 0 };
    for (size_t i = 0; i < ext_fields->n; i++) {
        struct span key = ext_fields->fields[i].key;
        if (ext_keys_see(&seen, key)) {
            for (size_t j = 0; j < i; j++) {
                if (span_equals(ext_fields->fields[j].key, key)) {
                    return (ptrdiff_t)i;
                }
            }
        }
    }
    return -1;
}

/* So many digits fit any way. */
#define DIGITS_SAFE 18

/* False also for none. */
static bool parse_few_digits(struct span text, int64_t *ret_value)
{
    int64_t sum = 0;
    for (size_t at = 0; at < text.n; at++) {
        unsigned digit = (unsigned)(unsigned char)text.data[at] - '0';
        if (digit > 9) {
            return false;
        }
        sum = sum * 10 + (int64_t)digit;
    }
    *ret_value = sum;
    return text.n > 0;
}

/* Summed up below zero, where there is room for one number more. */
static bool parse_many_digits(struct span text, bool is_negative, int64_t *ret_value)
{
    int64_t sum = 0;
    for (size_t at = 0; at < text.n; at++) {
        int digit = text.data[at] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_sub_overflow(sum, digit, &sum)) {
            return false;
        }
    }
    if (!is_negative && sum == INT64_MIN) {
        return false;
    }
    *ret_value = is_negative ? sum : -sum;
    return true;
}

bool ext_value_parse_i64(struct span value, int64_t min, int64_t max, int64_t *ret_value)
{
    bool is_negative = value.n > 0 && value.data[0] == '-';
    struct span digits = value;
    if (is_negative || (value.n > 0 && value.data[0] == '+')) {
        digits = (struct span){ value.data + 1, value.n - 1 };
    }
    int64_t number;
    if (digits.n <= DIGITS_SAFE) {
        if (!parse_few_digits(digits, &number)) {
            return false;
        }
        number = is_negative ? -number : number;
    } else if (!parse_many_digits(digits, is_negative, &number)) {
        return false;
    }
    if (number < min || number > max) {
        return false;
    }
    *ret_value = number;
    return true;
}
