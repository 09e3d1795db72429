// The micro-kernel: up to kRows rows times one panel, sums in registers while the panel streams by, weights read once for
// all rows. Included only inside a level's own namespace.
//
//   out[m][v] = init[m][v] + sum over k of a[m][k] panel[k][v],  m < M rows, v < V vectors
//
// Each sum adds its products in the order of k, whatever M and V: a row has the same bits in any company.
// Nothing else is in these functions: sums then surely stay in registers (scripts/check-assembly looks).

struct TileArgs {
    const void* const* a;  // M rows of operands
    std::int64_t depth;    // in steps of the format, at least 1: so sums need no second place for a loop that never runs
    std::int64_t first;    // operand the panel begins with
    const void* panel;
    std::int64_t ahead;  // bytes from here to what is wanted next, to be fetched; 0: nothing
    const float* init;
    std::int64_t init_stride;  // between rows; 0: the same for all
    float* out;
    std::int64_t out_stride;
    std::int64_t vector_stride;  // between the vectors of init and of out
    const float* scale;          // int8: of the columns, V vectors
    const std::int32_t* correction;
    const float* row_scale;  // int8: of the rows
};

// Formats: what operands and weights are made of, and how many of them lie side by side in a lane.
struct Float32 {
    using Operand = float;
    using Weight = float;
    static constexpr int kStep = 1;
};
struct BFloat16 {
    using Operand = std::uint16_t;
    using Weight = std::uint16_t;
    static constexpr int kStep = 2;
};
struct Int8 {
    using Operand = std::uint8_t;  // value x 127 / largest + 128
    using Weight = std::int8_t;
    static constexpr int kStep = 4;
};

template <int M, int V>
static GATEWORK_INLINE void tile_start(const TileArgs& t, Vec (&sum)[M][V]) {
    const float* init = t.init;
    const std::int64_t stride = t.init_stride, apart = t.vector_stride;
    each<M>([&](auto m) GATEWORK_LAMBDA {
        each<V>([&](auto v) GATEWORK_LAMBDA { sum[m][v] = load(init + m * stride + v * apart); });
    });
}
template <int M, int V>
static GATEWORK_INLINE void tile_end(const TileArgs& t, const Vec (&sum)[M][V]) {
    float* out = t.out;  // a store could change `t`, for all the compiler knows
    const std::int64_t stride = t.out_stride, apart = t.vector_stride;
    each<M>([&](auto m) GATEWORK_LAMBDA {
        each<V>([&](auto v) GATEWORK_LAMBDA { store(out + m * stride + v * apart, sum[m][v]); });
    });
}

#ifdef __GNUC__
#define GATEWORK_FORGET(pointer) asm("" : "+r"(pointer))  // what was read there is read again
#else
#define GATEWORK_FORGET(pointer)
#endif

// Only where there are products enough to hide it behind.
template <int M, int V>
static GATEWORK_INLINE void fetch(const void* panel, std::int64_t ahead) {
#if defined(__GNUC__)
    if constexpr (M > 2)
        each<V>([&](auto v) GATEWORK_LAMBDA {
            __builtin_prefetch(static_cast<const char*>(panel) + ahead + v * (kLanes * 4), 0, 2);
        });
#else
    (void)panel, (void)ahead;
#endif
}

template <class Format, int M, int V>
struct Tile;

template <int M, int V>
struct Tile<Float32, M, V> {
    static GATEWORK_NOINLINE void run(const TileArgs& t) {
        const float* a[M];
        each<M>([&](auto m) GATEWORK_LAMBDA { a[m] = static_cast<const float*>(t.a[m]) + t.first; });
        const float* panel = static_cast<const float*>(t.panel);
        Vec sum[M][V], weight[V];
        tile_start<M, V>(t, sum);
        const std::int64_t depth = t.depth, ahead = t.ahead;
        std::int64_t k = 0;
        do {
            each<V>([&](auto v) GATEWORK_LAMBDA { weight[v] = load(panel + v * kLanes); });
            fetch<M, V>(panel, ahead);
            each<M>([&](auto m) GATEWORK_LAMBDA {
                const Vec one = constant(a[m][k]);
                each<V>([&](auto v) GATEWORK_LAMBDA { sum[m][v] += weight[v] * one; });
            });
            panel += V * kLanes;
        } while (++k < depth);
        tile_end<M, V>(t, sum);
    }
};

static GATEWORK_INLINE std::int32_t load_lane(const void* p) {
    std::int32_t lane;
    std::memcpy(&lane, p, sizeof lane);
    return lane;
}

// Without instructions for pairs their parts take registers, and a tile has to be smaller: it is run in two.
#if defined(__AVX512BF16__) && GATEWORK_LANES == 16
constexpr int kMostPairSums = 24;
#else
constexpr int kMostPairSums = GATEWORK_LANES == 16 ? 20 : GATEWORK_LANES == 8 ? 9 : 24;
#endif

template <class Format, int M, int V>
static GATEWORK_INLINE void run_halves(const TileArgs& t) {
    constexpr int kHalf = M / 2;
    TileArgs rest = t;
    rest.a += kHalf;
    rest.init += kHalf * t.init_stride;
    rest.out += kHalf * t.out_stride;
    if (Format::kStep == 4) rest.row_scale += kHalf;
    Tile<Format, kHalf, V>::run(t);
    Tile<Format, M - kHalf, V>::run(rest);
}

template <int M, int V>
struct Tile<BFloat16, M, V> {
    static GATEWORK_NOINLINE void run(const TileArgs& t) {
        if constexpr (M * V > kMostPairSums) {
            run_halves<BFloat16, M, V>(t);
        } else {
            run_whole(t);
        }
    }

private:
    static GATEWORK_INLINE void run_whole(const TileArgs& t) {
        const std::uint16_t* a[M];
        each<M>([&](auto m) GATEWORK_LAMBDA { a[m] = static_cast<const std::uint16_t*>(t.a[m]) + t.first; });
        const std::uint16_t* panel = static_cast<const std::uint16_t*>(t.panel);
        Vec sum[M][V];
        Int weight[V];
        tile_start<M, V>(t, sum);
        const std::int64_t depth = t.depth, ahead = t.ahead;
        std::int64_t k = 0;
        do {
            each<V>([&](auto v) GATEWORK_LAMBDA { weight[v] = load_int(panel + 2 * v * kLanes); });
            fetch<M, V>(panel, ahead);
#if defined(__AVX512BF16__) && GATEWORK_LANES == 16
            each<M>([&](auto m) GATEWORK_LAMBDA {
                const Int pair = constant_int(load_lane(a[m] + 2 * k));
                each<V>([&](auto v) GATEWORK_LAMBDA { sum[m][v] = add_pairs(sum[m][v], weight[v], pair); });
            });
#else
            // First of each pair, then second: both at once take more registers than there are.
            each<V>([&](auto v) GATEWORK_LAMBDA { weight[v] = weight[v] << 16; });
            each<M>([&](auto m) GATEWORK_LAMBDA {
                const Vec one = as_float(constant_int(load_lane(a[m] + 2 * k)) << 16);
                each<V>([&](auto v) GATEWORK_LAMBDA { sum[m][v] += as_float(weight[v]) * one; });
            });
            GATEWORK_FORGET(panel);
            each<V>([&](auto v) GATEWORK_LAMBDA { weight[v] = load_int(panel + 2 * v * kLanes) & (std::int32_t)0xFFFF0000; });
            each<M>([&](auto m) GATEWORK_LAMBDA {
                const Vec one = as_float(constant_int(load_lane(a[m] + 2 * k)) & (std::int32_t)0xFFFF0000);
                each<V>([&](auto v) GATEWORK_LAMBDA { sum[m][v] += as_float(weight[v]) * one; });
            });
#endif
            panel += 2 * V * kLanes;
        } while (++k < depth);
        tile_end<M, V>(t, sum);
    }
};

#ifdef GATEWORK_SHORTS
constexpr int kMostFourSums = GATEWORK_LANES == 8 ? 9 : 24;
#else
constexpr int kMostFourSums = 24;
#endif

template <int M, int V>
struct Tile<Int8, M, V> {
    static GATEWORK_NOINLINE void run(const TileArgs& t) {
        if constexpr (M * V > kMostFourSums) {
            run_halves<Int8, M, V>(t);
        } else {
            run_whole(t);
        }
    }

private:
    static GATEWORK_INLINE void run_whole(const TileArgs& t) {
        const std::uint8_t* a[M];
        each<M>([&](auto m) GATEWORK_LAMBDA { a[m] = static_cast<const std::uint8_t*>(t.a[m]) + t.first; });
        const std::int8_t* panel = static_cast<const std::int8_t*>(t.panel);
        Int sum[M][V], weight[V];
        const std::int32_t* correction = t.correction;
        each<V>([&](auto v) GATEWORK_LAMBDA {
            const Int start = load_int(correction + v * kLanes);
            each<M>([&](auto m) GATEWORK_LAMBDA { sum[m][v] = start; });
        });
        const std::int64_t depth = t.depth, ahead = t.ahead;
        std::int64_t k = 0;
        do {
            each<V>([&](auto v) GATEWORK_LAMBDA { weight[v] = load_int(panel + 4 * v * kLanes); });
            fetch<M, V>(panel, ahead);
#ifdef GATEWORK_SHORTS
            each<V>([&](auto v) GATEWORK_LAMBDA { weight[v] = even_signed(weight[v]); });
            each<M>([&](auto m) GATEWORK_LAMBDA {
                const Int two = even_unsigned(constant_int(load_lane(a[m] + 4 * k)));
                each<V>([&](auto v) GATEWORK_LAMBDA {
                    sum[m][v] = add_shorts(sum[m][v], two, weight[v]);
                    asm volatile("" : "+v"(sum[m][v]));  // or the products wait for their sums on the stack
                });
            });
            GATEWORK_FORGET(panel);
            each<V>([&](auto v) GATEWORK_LAMBDA { weight[v] = odd_signed(load_int(panel + 4 * v * kLanes)); });
            each<M>([&](auto m) GATEWORK_LAMBDA {
                const Int two = odd_unsigned(constant_int(load_lane(a[m] + 4 * k)));
                each<V>([&](auto v) GATEWORK_LAMBDA {
                    sum[m][v] = add_shorts(sum[m][v], two, weight[v]);
                    asm volatile("" : "+v"(sum[m][v]));  // or the products wait for their sums on the stack
                });
            });
#else
            each<M>([&](auto m) GATEWORK_LAMBDA {
                const Int four = constant_int(load_lane(a[m] + 4 * k));
                each<V>([&](auto v) GATEWORK_LAMBDA { sum[m][v] = add_fours(sum[m][v], four, weight[v]); });
            });
#endif
            panel += 4 * V * kLanes;
        } while (++k < depth);
        const float *init = t.init, *scales = t.scale, *row_scale = t.row_scale;
        float* out = t.out;
        const std::int64_t init_stride = t.init_stride, out_stride = t.out_stride, apart = t.vector_stride;
        each<V>([&](auto v) GATEWORK_LAMBDA {
            const Vec scale = load(scales + v * kLanes);
            each<M>([&](auto m) GATEWORK_LAMBDA {
                const Vec before = load(init + m * init_stride + v * apart);
                const Vec product = to_float(sum[m][v]) * (scale * row_scale[m]);
                store(out + m * out_stride + v * apart, before + product);
            });
        });
    }
};

// Rows a tile takes: as many as registers hold sums for.
constexpr int kRows = GATEWORK_ROWS;

using TileRun = void (*)(const TileArgs&);
template <class Format, int V>
static TileRun tile_of(int rows) {
    static constexpr TileRun runs[] = {
        Tile<Format, 1, V>::run, Tile<Format, 2, V>::run,
#if GATEWORK_ROWS > 2
        Tile<Format, 3, V>::run,
#endif
#if GATEWORK_ROWS > 3
        Tile<Format, 4, V>::run, Tile<Format, 5, V>::run, Tile<Format, 6, V>::run,
#endif
    };
    return runs[rows - 1];
}
template <class Format>
static TileRun tile_of(int vectors, int rows) {
    switch (vectors) {
        case 1: return tile_of<Format, 1>(rows);
        case 2: return tile_of<Format, 2>(rows);
        case 3: return tile_of<Format, 3>(rows);
        default: return tile_of<Format, 4>(rows);
    }
}
