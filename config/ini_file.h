/*
 * INI file
 *
 * The grammar of remotingd.ini, by inih, with line numbers and without inih's silences: whatever
 * inih would cut, skip or take for something else is reported as a problem of its line instead. It
 * knows no setting and keeps nothing.
 *
 *     [section]              alone on its line
 *     key = value            blanks around key and value do not count, nor does indentation
 *     key = a;b; c           items of a list; a blank may follow the ; but not precede it
 *     # or ; at the front    a comment, always on a line of its own
 *
 * What inih 55 does by itself, found by experiment: its reader is handed 200 bytes (INI_MAX_LINE,
 * fixed when the library was built), and a value beyond them is cut and handed over before the
 * error is known; handlers get no line number; " ;" begins a comment within a value; an indented
 * line continues the value above it; what follows [section] is skipped; a section without settings
 * is not reported at all; a line without = yields one line number, that of the first such line.
 * Debian's build has variables for the limits, upstream and other distributions have not, so they
 * are not used.
 *
 * Lines may have INI_FILE_LINE_MAX bytes nevertheless: a value that is too long for inih's buffer
 * is handed over item by item, cut at its ;, as if the key had been repeated. A single item must
 * fit in the buffer with its key.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define INI_FILE_LINE_MAX 4096 /* bytes, without the line feed; a longer line is a problem */

struct ini_file_handler {
    /* False: the settings of this section are not wanted. */
    bool (*on_section)(void *user, unsigned line, const char *section);
    /* Of a wanted section. A long list arrives in several calls with one line number. */
    void (*on_setting)(
        void *user, unsigned line, const char *section, const char *key, const char *value);
    /* seen is the offending text, sentence says what is accepted. */
    void (*on_problem)(void *user, unsigned line, const char *seen, const char *sentence);
};

/* Reads to the end of the file. 0, or a negative errno when reading failed. */
int ini_file_read(FILE *file, const struct ini_file_handler *handler, void *user);
