// x86-64 with AVX2 and FMA: 16 registers.
#define GATEWORK_LEVEL_NAME avx2
#define GATEWORK_LANES 8
#define GATEWORK_PANEL 2
#define GATEWORK_SUMS 8
#define GATEWORK_TOGETHER 8
#include "crf/crf.inc.h"
