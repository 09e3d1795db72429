// Vectors of 128 bits, which every x86-64 and every 64-bit ARM has; for other compilers plain C++.
#define GATEWORK_LEVEL_NAME look128
#define GATEWORK_LANES 4
#ifndef __GNUC__
#define GATEWORK_PLAIN
#endif
#include "decode/look.inc.h"

namespace gatework::decode {

#ifdef GATEWORK_AVX2
extern const Look look_look256;
#endif
#ifdef GATEWORK_AVX512
extern const Look look_look512;
#endif

const Look& look_of(int lanes) {
#ifdef GATEWORK_AVX512
    if (lanes == 16) return look_look512;
#endif
#ifdef GATEWORK_AVX2
    if (lanes == 8) return look_look256;
#endif
    (void)lanes;
    return look_look128;
}

}  // namespace gatework::decode
