#include "client/completion.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "client/command.h"

/* What the words in front of the last one say of it. */
struct place {
    const struct command *command; /* NULL: it is not there yet */
    bool is_unknown;               /* there is no such command */
    bool is_value;                 /* of the option in front of it */
    bool has_no_options;           /* behind -- */
    int n_operands;
};

static const struct option *place_options(const struct place *place)
{
    return place->command ? place->command->options : global_options;
}

static bool takes_value(const struct place *place, const char *word)
{
    if (strncmp(word, "--", 2) != 0) {
        const char *options = place->command ? place->command->short_options : NULL;
        const char *found = options ? strchr(options, word[1]) : NULL;
        return found && found[1] == ':' && word[2] == '\0';
    }
    for (const struct option *option = place_options(place); option->name; option++) {
        if (strcmp(option->name, word + 2) == 0) {
            return option->has_arg == required_argument;
        }
    }
    return false;
}

static void take_operand(struct place *place, const char *word)
{
    if (place->command || place->is_unknown) {
        place->n_operands++;
        return;
    }
    place->command = command_find(word);
    place->is_unknown = !place->command;
}

static void take_word(struct place *place, const char *word)
{
    /* Bash has cut --option=value into three words: the value is still to come. */
    if (place->is_value && strcmp(word, "=") == 0) {
        return;
    }
    if (place->is_value) {
        place->is_value = false;
    } else if (place->has_no_options || word[0] != '-' || word[1] == '\0') {
        take_operand(place, word);
    } else if (strcmp(word, "--") == 0) {
        place->has_no_options = true;
    } else {
        place->is_value = takes_value(place, word);
    }
}

static void print_options(const struct place *place, const char *begin)
{
    const char *letters = place->command ? place->command->short_options : NULL;
    for (const struct option *option = place_options(place); option->name; option++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "--%s", option->name);
        if (strncmp(text, begin, strlen(begin)) == 0) {
            puts(text);
        }
    }
    for (; letters && *letters && begin[1] == '\0'; letters++) {
        if (*letters != ':') {
            printf("-%c\n", *letters);
        }
    }
}

static void print_commands(const char *begin)
{
    for (size_t i = 0; i < n_commands; i++) {
        if (strncmp(commands[i]->name, begin, strlen(begin)) == 0) {
            printf("%s\t%s\n", commands[i]->name, commands[i]->summary);
        }
    }
}

void completion_print(int n, char *const *words)
{
    struct place place = { 0 };
    const char *begin = n > 0 ? words[n - 1] : "";
    for (int i = 0; i + 1 < n; i++) {
        take_word(&place, words[i]);
    }
    if (place.is_value || place.is_unknown) {
        return;
    }
    if (begin[0] == '-' && !place.has_no_options) {
        print_options(&place, begin);
    } else if (!place.command) {
        print_commands(begin);
    } else if (place.n_operands == 0 && place.command->words) {
        for (const char *const *word = place.command->words; *word; word++) {
            if (strncmp(*word, begin, strlen(begin)) == 0) {
                puts(*word);
            }
        }
    }
}
