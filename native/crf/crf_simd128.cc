// 128-bit vectors every x86-64 (SSE2) and every 64-bit ARM (NEON) has. GCC and Clang.
#define GATEWORK_LEVEL_NAME simd128
#define GATEWORK_LANES 4
#if defined(__aarch64__)
#define GATEWORK_PANEL 4
#define GATEWORK_SUMS 16
#else
#define GATEWORK_PANEL 2
#define GATEWORK_SUMS 8
#endif
#define GATEWORK_TOGETHER 4
#include "crf/crf.inc.h"
