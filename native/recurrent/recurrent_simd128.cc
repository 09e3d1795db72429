// 128-bit vectors every x86-64 (SSE2) and every 64-bit ARM (NEON) has. GCC and Clang.
#define GATEWORK_LEVEL_NAME simd128
#define GATEWORK_LANES 4
#if defined(__aarch64__)
#define GATEWORK_ROWS 6
#else
#define GATEWORK_ROWS 2
#endif
#include "recurrent/recurrent.inc.h"
