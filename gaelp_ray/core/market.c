/* The hot arithmetic of the market: the same numbers, bit for bit, as market/stream.py.
 *
 * Only + - * /, square roots, comparisons and integers, each rounded by itself (-ffp-contract=off): no call of the C
 * library, whose functions differ between machines in their last bits, and no instruction of a single processor. The
 * compiler vectorises the loops; build_backend.py compiles this file once for each instruction set.
 */

#include <stdint.h>

#define ABI_VERSION 1
#define EXPORT __attribute__((visibility("default")))

/* library.py compares both before it calls anything else. */
EXPORT int64_t gaelp_abi(void) { return ABI_VERSION; }
EXPORT const char *gaelp_source(void) { return SOURCE_SHA256; }
