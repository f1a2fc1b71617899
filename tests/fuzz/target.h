/*
 * Target
 *
 * A target is one file: LLVMFuzzerTestOneInput() takes any bytes, gives them to one part of the
 * program and checks what the headers of that part promise. libFuzzer calls it with inputs that it
 * finds (tests/fuzz/run); replay.c calls it with the inputs of corpus/TARGET, as a test. A promise
 * that does not hold ends the process, like everything that the sanitizers find.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Bytes before the first frame of an input, in targets that take frames: frame_mutator.c. */
extern const size_t frames_at;

#define promise(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: '%s' does not hold: ", __FILE__, __LINE__, #condition);  \
            (void)fprintf(stderr, __VA_ARGS__);                                                    \
            (void)fputc('\n', stderr);                                                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)
