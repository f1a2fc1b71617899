/*
 * Cleanup
 *
 * The lowest header of the tree: a variable that frees itself when its scope ends. DEFINE_CLEANUP
 * makes a cleanup function out of a free function that takes the pointer; CLEANUP attaches it to a
 * variable.
 *
 *     DEFINE_CLEANUP(struct topic_route *, topic_route_free)
 *     CLEANUP(topic_route_free) struct topic_route *route = NULL;
 *
 * A constructor hands its result over with TAKE, which leaves NULL behind.
 */
#pragma once

#include <stddef.h>

#define DEFINE_CLEANUP(type, free_function)                                                        \
    static inline void free_function##_cleanup(type *variable)                                     \
    {                                                                                              \
        if (*variable) {                                                                           \
            free_function(*variable);                                                              \
        }                                                                                          \
    }

#define CLEANUP(free_function) __attribute__((cleanup(free_function##_cleanup)))

/*
 * For buffers of some hundred bytes on the way of every request, which are written before they are
 * read: the build has local variables zeroed where they are declared
 * (-ftrivial-auto-var-init=zero), and each of these would cost as much as a step of the request.
 */
#define UNINITIALIZED __attribute__((uninitialized))

#define TAKE(variable)                                                                             \
    ({                                                                                             \
        __typeof__(variable) taken_ = (variable);                                                  \
        (variable) = NULL;                                                                         \
        taken_;                                                                                    \
    })
