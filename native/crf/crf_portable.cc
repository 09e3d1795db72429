// Plain C++, for any compiler and processor: fallback, and a second opinion on the vector levels.
#define GATEWORK_LEVEL_NAME portable
#define GATEWORK_LANES 4
#define GATEWORK_PANEL 2
#define GATEWORK_SUMS 8
#define GATEWORK_TOGETHER 4
#define GATEWORK_PLAIN
#include "crf/crf.inc.h"
