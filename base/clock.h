#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

/* Time. A loop reads the clock once per turn and hands that value out; see net/loop.h. */

#include <stdint.h>

int64_t clock_now_us(void);  /* monotonic; for waits and durations */
int64_t clock_wall_us(void); /* since 1970-01-01 UTC; for people and logs */

#endif
