// x86-64 with AVX-512 F, VL, BW, DQ, VNNI and BF16: products of bfloat16 and of bytes in one instruction.
#define GATEWORK_LEVEL_NAME avx512bf16
#define GATEWORK_LANES 16
#define GATEWORK_ROWS 6
#include "recurrent/recurrent.inc.h"
