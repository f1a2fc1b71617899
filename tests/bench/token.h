/*
 * Token
 *
 * Sixteen bytes at the start of each request's body, and again at its end where there is room for
 * both. The stub checks that the two agree, so that no body was put together from two requests, and
 * begins and ends its answer's body with them; the caller checks that the answer carries the token
 * of the request that it answers, so that every answer is proven to have gone to its caller.
 */
#pragma once

#include <stdint.h>

#define TOKEN_SIZE 16u

struct token {
    uint32_t run; /* the load generator's process */
    uint32_t caller;
    uint32_t opaque;
    uint32_t check;
};
_Static_assert(sizeof(struct token) == TOKEN_SIZE, "a token has no holes");

static inline struct token token_of(uint32_t run, uint32_t caller, uint32_t opaque)
{
    return (struct token){
        .run = run,
        .caller = caller,
        .opaque = opaque,
        .check = (run ^ caller * 0x9E3779B1u ^ opaque * 0x85EBCA77u),
    };
}
