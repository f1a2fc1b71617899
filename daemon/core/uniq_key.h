/*
 * UNIQ_KEY
 *
 * The id that a sender gives a message, in Java's format (MessageClientIDSetter): upper-case hex of
 *
 *     ip (4 bytes) | pid (u16) | classloader hash (u32) | ms since the month began (u32) | counter
 *
 * 32 characters. Here the "classloader hash" is drawn at start, so that two daemons with one
 * address and one pid (containers) differ. Time is handed in: this is the one place where the wall
 * clock matters.
 */
#pragma once

#include <stdint.h>

#define UNIQ_KEY_SIZE 33 /* with the zero at its end */

struct uniq_key_maker {
    uint8_t ip[4];
    uint16_t pid;
    uint32_t hash;
    uint16_t counter;
};

void uniq_key_init(struct uniq_key_maker *maker, const uint8_t ip[4], uint32_t pid, uint32_t draw);
void uniq_key_make(
    struct uniq_key_maker *maker, uint32_t since_month_began_ms, char ret_key[UNIQ_KEY_SIZE]);
