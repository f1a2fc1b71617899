/*
 * Failing allocator
 *
 * In the place of malloc() and its kind in what is linked statically (link with
 * failing_allocator_link_args), and given to libevent: it counts what is asked for while it is
 * armed, and refuses what it was told to.
 *
 * Not given to jansson: where the buffer of its parser cannot grow, 2.14 goes on as if it had, and
 * writes beyond the string that it copies from there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Before the libraries are used. */
void failing_allocator_init(void);
/* Counts from 1; the n-th allocation and the n_refused - 1 after it are refused; 0: none. */
void failing_allocator_arm(size_t n, size_t n_refused);
/* Whether it came so far that something was refused. Nothing is from here on. */
bool failing_allocator_disarm(void);
/* For what is not tested itself: neither counted nor refused until it is resumed. */
void failing_allocator_pause(void);
void failing_allocator_resume(void);
