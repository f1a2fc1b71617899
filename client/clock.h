/* Clock: the time of a clock that nobody sets, for who waits and looks by itself how long it was. */
#pragma once

#include <stdint.h>

uint64_t clock_now_ms(void);
