/*
 * Run suite
 *
 * The main() of a file of Check tests: runs a suite and reports in TAP on the standard output
 * (CK_TAP_LOG_FILE_NAME=- is set by meson), or in Check's own words when run by hand.
 */
#pragma once

#include <check.h>

/*
 * An assertion for loops of hundreds of thousands: Check writes a note of every ck_assert() that it
 * passes, which takes longer than most of what is tested.
 */
#define assert_often(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            ck_abort_msg("assertion '%s' failed", #condition);                                     \
        }                                                                                          \
    } while (0)

/* Frees the suite. 0 when every test passed. */
int run_suite(Suite *suite);
