#include "tests/support/golden.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *directory(void)
{
    const char *path = getenv("GOLDEN_DIR");
    ck_assert_msg(path != NULL, "GOLDEN_DIR is not set: it names the folder of index.json");
    return path;
}

static void load_frame(struct golden_frame *frame, const json_t *row)
{
    frame->row = row;
    frame->file = golden_text(frame, "file");
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", directory(), frame->file);
    frame->size = (size_t)golden_integer(frame, "frameLength");
    frame->data = malloc(frame->size + 1);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(frame->data && file, "%s cannot be read", path);
    size_t n = fread(frame->data, 1, frame->size + 1, file);
    ck_assert_msg(n == frame->size, "%s has not the size that the index says", path);
    (void)fclose(file);
}

struct golden *golden_load(void)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/index.json", directory());
    struct golden *golden = calloc(1, sizeof(*golden));
    ck_assert_ptr_nonnull(golden);
    golden->index = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_msg(json_is_array(golden->index), "%s is not a JSON array", path);
    golden->n = json_array_size(golden->index);
    ck_assert_uint_gt(golden->n, 0);
    golden->frames = calloc(golden->n, sizeof(*golden->frames));
    ck_assert_ptr_nonnull(golden->frames);
    for (size_t i = 0; i < golden->n; i++) {
        load_frame(&golden->frames[i], json_array_get(golden->index, i));
    }
    return golden;
}

struct golden *golden_free(struct golden *golden)
{
    if (golden) {
        for (size_t i = 0; i < golden->n; i++) {
            free(golden->frames[i].data);
        }
        free(golden->frames);
        json_decref(golden->index);
        free(golden);
    }
    return NULL;
}

const char *golden_text(const struct golden_frame *frame, const char *column)
{
    const char *text = json_string_value(json_object_get(frame->row, column));
    ck_assert_msg(text != NULL, "a row of the index has no text for %s", column);
    return text;
}

json_int_t golden_integer(const struct golden_frame *frame, const char *column)
{
    const json_t *number = json_object_get(frame->row, column);
    ck_assert_msg(json_is_integer(number), "%s: no integer for %s", frame->file, column);
    return json_integer_value(number);
}

const struct golden_frame *golden_find(const struct golden *golden, const char *file)
{
    for (size_t i = 0; i < golden->n; i++) {
        if (strcmp(golden->frames[i].file, file) == 0) {
            return &golden->frames[i];
        }
    }
    ck_abort_msg("there is no golden frame %s", file);
    return NULL;
}

bool golden_is_made_by_java(const struct golden_frame *frame)
{
    const char *kind = golden_text(frame, "kind");
    return strcmp(golden_text(frame, "source"), "java-relay") == 0 ||
           strcmp(kind, "response") == 0 || strcmp(kind, "broker-request") == 0;
}

bool golden_is_json(const struct golden_frame *frame)
{
    return golden_integer(frame, "serializeType") == 0;
}

uint8_t *golden_copy(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n);
    if (!copy && n > 0) {
        ck_abort_msg("no memory");
    }
    if (n > 0) {
        memcpy(copy, data, n);
    }
    return copy;
}

uint8_t *golden_copy_frame(const struct golden_frame *frame)
{
    return golden_copy(frame->data, frame->size);
}
