/*
 * Setting
 *
 * The settings table: one row is the whole truth of a setting, and these functions do what the row
 * says: read a text into its field of struct config, compare, print. The table knows nothing of
 * files and lines, and reports no problem itself.
 *
 * `at` is which of the sections with names of their own is meant, in the order of the file; 0 for
 * the settings of all other sections, and of [listener], the one without a name.
 */
#pragma once

#include "config/config.h"
#include "config/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SETTINGS_MAX        96 /* for arrays beside the table */
#define SETTING_CHOICES_MAX 4

/* The numbers come first. */
enum setting_kind {
    SETTING_DURATION,
    SETTING_SIZE,
    SETTING_COUNT,
    SETTING_MODE,
    SETTING_SWITCH, /* bool: no or yes */
    SETTING_CHOICE, /* an enum, whose values are the words of `choices` */
    SETTING_PATH,
    SETTING_SYSTEM_GROUP,
    SETTING_ROCKETMQ_GROUP,
    SETTING_WORD,
    SETTING_CREDENTIAL,
    SETTING_LISTEN,
    SETTING_FILE,
    SETTING_ADDRESSES, /* the lists come last */
    SETTING_NETWORKS,
    SETTING_TARGETS, /* addresses and networks */
    SETTING_FIELDS,
    SETTING_RULE_USERS,
    SETTING_RULE_GROUPS,
    SETTING_PATTERNS,
};

struct setting {
    const char *section; /* without the NAME of a section that has one */
    const char *key;
    enum setting_kind kind;
    size_t offset;            /* of the field in struct config; of the first section's with names */
    size_t stride;            /* from one section's field to the next one's; 0: there is one */
    const char *default_text; /* read by the same parser as the file */
    struct value_range range; /* of a number; of a text, max is its bytes */
    uint64_t step;            /* a number must be a multiple of it */
    const char *choices[SETTING_CHOICES_MAX + 1]; /* the last is NULL */
    const char *example;                          /* for the dump, of what has no default */
    bool is_required;                             /* not empty, where the section stands */
    bool is_fixed; /* while the daemon runs: a reload leaves it as it is */
    const char *sentence;
};

/* Rows of one section stand together. */
extern const struct setting settings[];
extern const size_t n_settings;

/* NULL when there is none. */
const struct setting *setting_find(const char *section, const char *key);
/* A list appends what further texts add; everything else is replaced. */
bool setting_is_list(const struct setting *setting);
/* Nothing was given where something has to be. */
bool setting_is_missing(const struct setting *setting, const struct config *config, size_t at);

/*
 * Reads a value into its field. 0, -EINVAL with a reason, or -ENOMEM. A list may have got the items
 * before the bad one.
 */
int setting_apply(const struct setting *setting, struct config *config, size_t at, const char *text,
    struct value_reason *ret_reason);
/* Whether both configs say the same. */
bool setting_is_same(
    const struct setting *setting, const struct config *a, const struct config *b, size_t at);
/* Of a setting that is a number or a text: the configs' values change places. */
void setting_swap(const struct setting *setting, struct config *a, struct config *b, size_t at);
/* Gives back the field's memory. */
void setting_clear(const struct setting *setting, struct config *config, size_t at);

/* Of a setting that is a number: its field, and any value of its kind as text. */
uint64_t setting_number(const struct setting *setting, const struct config *config, size_t at);
void setting_format_number(
    const struct setting *setting, uint64_t number, char dst[static VALUE_NUMBER_MAX]);
/* Of a setting that is a number or a text: its value, in number where that is one. */
const char *setting_text(const struct setting *setting, const struct config *config, size_t at,
    char number[static VALUE_NUMBER_MAX]);

/* config NULL stands for the defaults. */
bool setting_is_default(const struct setting *setting, const struct config *config, size_t at);
/* Its value as one text on the heap; the items of a list are separated by ;. NULL without memory. */
char *setting_value(const struct setting *setting, const struct config *config, size_t at);
/*
 * As config_dump() describes it; config NULL stands for the defaults, and for an example of a
 * section with a name. comment is what begins a line that is commented out.
 */
void setting_dump(const struct setting *setting, const struct config *config, size_t at,
    bool comment_out, char comment, FILE *file);
