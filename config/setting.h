/*
 * Setting
 *
 * The settings table: one row is the whole truth of a setting, and these functions do what the row
 * says: read a text into its field of struct config, compare, print. The table knows nothing of
 * files and lines, and reports no problem itself.
 */
#pragma once

#include "config/config.h"
#include "config/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SETTINGS_MAX 64 /* for arrays beside the table */

/* The numbers come first. */
enum setting_kind {
    SETTING_DURATION,
    SETTING_SIZE,
    SETTING_COUNT,
    SETTING_MODE,
    SETTING_LOG_LEVEL,
    SETTING_PATH,
    SETTING_SYSTEM_GROUP,
    SETTING_ROCKETMQ_GROUP,
    SETTING_ADDRESSES,
    SETTING_NETWORKS,
};

struct setting {
    const char *section;
    const char *key;
    enum setting_kind kind;
    size_t offset;            /* of the field in struct config */
    const char *default_text; /* read by the same parser as the file */
    struct value_range range; /* of a number; of a text, max is its bytes */
    uint64_t step;            /* a number must be a multiple of it */
    const char *example;      /* for the dump, of what has no default */
    const char *sentence;
};

/* Rows of one section stand together. */
extern const struct setting settings[];
extern const size_t n_settings;

/* NULL when there is none. */
const struct setting *setting_find(const char *section, const char *key);
/* A list appends what further texts add; everything else is replaced. */
bool setting_is_list(const struct setting *setting);
bool setting_is_number(const struct setting *setting);

/*
 * Reads a value into its field. 0, -EINVAL with a reason, or -ENOMEM. A list may have got the items
 * before the bad one.
 */
int setting_apply(const struct setting *setting, struct config *config, const char *text,
    struct value_reason *ret_reason);
/* Gives back the field's memory. */
void setting_clear(const struct setting *setting, struct config *config);

/* Of a setting that is a number: its field, and any value of its kind as text. */
uint64_t setting_number(const struct setting *setting, const struct config *config);
void setting_format_number(
    const struct setting *setting, uint64_t number, char dst[static VALUE_NUMBER_MAX]);

/* As config_dump() describes it; config NULL stands for the defaults. */
void setting_dump(
    const struct setting *setting, const struct config *config, bool comment_out, FILE *file);
