// x86-64 with AVX-512 F, VL, BW and DQ: 32 registers, 6 rows x 4 vectors of sums.
#define GATEWORK_LEVEL_NAME avx512
#define GATEWORK_LANES 16
#define GATEWORK_ROWS 6
#include "recurrent/recurrent.inc.h"
