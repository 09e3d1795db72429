// x86-64 with AVX2 and FMA.
#define GATEWORK_LEVEL_NAME look256
#define GATEWORK_LANES 8
#include "decode/look.inc.h"
