/* Hours of flights: the same numbers, bit for bit, as the Python modules that the headers name, which define and explain
 * them. Names are theirs.
 *
 * Only + - * /, square roots, comparisons and integers, each rounded by itself (-ffp-contract=off): no call of the C
 * library, whose functions differ between machines in their last bits, and no instruction of a single processor. The
 * compiler vectorises the loops; build_backend.py compiles this folder once for each instruction set.
 *
 * Loops over cells that branch (a walk along probabilities, a rejected proposal) come after a loop without branches
 * over the same block, which does the part that all cells share.
 */

#include "elementary.h"
#include "stream.h"
#include "prices.h"
#include "hour.h"
#include "books.h"
#include "weeks.h"
#include "optimum.h"
#include "dual.h"
#include "flight.h"

#define ABI_VERSION 3

/* library.py compares both before it calls anything else. */
EXPORT Int gaelp_abi(void) { return ABI_VERSION; }
EXPORT const char *gaelp_source(void) { return SOURCE_SHA256; }
