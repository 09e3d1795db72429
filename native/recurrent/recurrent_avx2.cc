// x86-64 with AVX2 and FMA: 16 registers, 3 rows x 4 vectors of sums.
#define GATEWORK_LEVEL_NAME avx2
#define GATEWORK_LANES 8
#define GATEWORK_ROWS 3
#include "recurrent/recurrent.inc.h"
