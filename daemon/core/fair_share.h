/*
 * Fair share
 *
 * Who may have more of something that many share and that is running out: places in flight, memory,
 * the bytes that wait for one broker. While there is plenty everybody is let in. Whoever holds a
 * quarter of it gets no more while somebody else holds any. The last quarter is for those who hold
 * little: less than an equal part of it, or nothing at all. So a caller with thousands of requests
 * fills three quarters, and another one's single request still finds room.
 *
 * The ledger says who wrote the bytes of a stream that are not gone yet. Owners are numbers; it
 * knows nothing of sockets and clocks, and holds as much as was noted and not released.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One part in so many is for those who hold little; and nobody has more while others have some. */
#define FAIR_SHARE_PARTS 4

/*
 * Whether one who holds `own` of the `used` may have more, where n_others hold some, too. used
 * counts what is held already, and not what is asked for.
 */
bool fair_share_admits(size_t used, size_t limit, size_t own, size_t n_others);

struct share_ledger;

/* NULL without memory. */
struct share_ledger *share_ledger_new(void);
struct share_ledger *share_ledger_free(struct share_ledger *ledger);
/*
 * The next n bytes of the stream are the owner's, up to the byte `end`; ends never go back. Without
 * memory they are nobody's.
 */
void share_ledger_note(struct share_ledger *ledger, uint64_t owner, size_t n, uint64_t end);
/* What ends at or before this byte of the stream is gone. */
void share_ledger_release(struct share_ledger *ledger, uint64_t upto);
bool share_ledger_is_empty(const struct share_ledger *ledger);
/* Bytes of this owner, and how many other owners have any. */
size_t share_ledger_of(const struct share_ledger *ledger, uint64_t owner, size_t *ret_n_others);
