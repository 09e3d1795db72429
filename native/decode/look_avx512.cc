// x86-64 with AVX-512 F, VL, BW and DQ.
#define GATEWORK_LEVEL_NAME look512
#define GATEWORK_LANES 16
#include "decode/look.inc.h"
