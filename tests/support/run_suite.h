/*
 * Run suite
 *
 * The main() of a file of Check tests: runs a suite and reports in TAP on the standard output
 * (CK_TAP_LOG_FILE_NAME=- is set by meson), or in Check's own words when run by hand.
 */
#pragma once

#include <check.h>

/* Frees the suite. 0 when every test passed. */
int run_suite(Suite *suite);
