// Probes the processor once and lists the levels it can run, slowest first.

#include "crf/crf.h"

namespace gatework::crf {

extern const Kernels kernels_portable;
#ifdef GATEWORK_SIMD128
extern const Kernels kernels_simd128;
#endif
#ifdef GATEWORK_AVX2
extern const Kernels kernels_avx2;
#endif
#ifdef GATEWORK_AVX512
extern const Kernels kernels_avx512;
#endif

namespace {

struct Table {
    const Kernels* levels[4];
    int count = 0;

    Table() {
        levels[count++] = &kernels_portable;
#ifdef GATEWORK_SIMD128
        levels[count++] = &kernels_simd128;
#endif
#if defined(GATEWORK_AVX2) || defined(GATEWORK_AVX512)
        __builtin_cpu_init();
#endif
#ifdef GATEWORK_AVX2
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) levels[count++] = &kernels_avx2;
#endif
#ifdef GATEWORK_AVX512
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma"))
            levels[count++] = &kernels_avx512;
#endif
    }
};

const Table& table() {
    static const Table probed;
    return probed;
}

}  // namespace

int level_count() { return table().count; }
const Kernels& level(int index) { return *table().levels[index]; }

}  // namespace gatework::crf
