// x86-64 with AVX-512 F, VL, BW and DQ: 32 registers.
#define GATEWORK_LEVEL_NAME avx512
#define GATEWORK_LANES 16
#define GATEWORK_PANEL 4
#define GATEWORK_SUMS 20
#define GATEWORK_TOGETHER 8
#include "crf/crf.inc.h"
