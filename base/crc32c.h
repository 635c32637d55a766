#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the processor's instruction where it has one. */

#include <stddef.h>
#include <stdint.h>

/* Continue `crc` (0 to start) over n bytes. crc32c(0, "123456789", 9) == 0xE3069283. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
