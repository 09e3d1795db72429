// Vectors of float, and exp, sigmoid and tanh on them. Included only inside a level's own namespace (see recurrent.inc.h),
// so that code compiled for one instruction set is never linked into another.
//
// GATEWORK_LANES floats a vector. With GCC and Clang these are the compilers' generic vectors, which each level's flags
// turn into SSE2, NEON, AVX2 or AVX-512; GATEWORK_PLAIN (and any other compiler) gives an array in a struct instead.
//
// Errors against float64, whole float range, checked by tests/kernels: sigmoid at most 3 ulp of the result (or 1e-34),
// tanh at most 4 ulp. NaN in, NaN out.

constexpr int kLanes = GATEWORK_LANES;

// Calls body(Index<0>), body(Index<1>) ... body(Index<N - 1>): a loop whose index is a constant from the start, so that
// arrays it indexes are registers.
template <int N>
struct Index {
    constexpr operator int() const { return N; }
};
template <int N, class Body>
static GATEWORK_INLINE void each(const Body& body) {
    if constexpr (N > 0) {
        each<N - 1>(body);
        body(Index<N - 1>{});
    }
}

#ifndef GATEWORK_PLAIN

typedef float Vec __attribute__((vector_size(GATEWORK_LANES * 4)));
typedef std::int32_t Int __attribute__((vector_size(GATEWORK_LANES * 4)));

static GATEWORK_INLINE Vec as_float(Int a) { return (Vec)a; }
static GATEWORK_INLINE Int as_int(Vec a) { return (Int)a; }
static GATEWORK_INLINE Vec to_float(Int a) { return __builtin_convertvector(a, Vec); }
#if defined(__AVX512F__) && GATEWORK_LANES == 16
static GATEWORK_INLINE Vec smaller(Vec a, Vec b) { return (Vec)_mm512_min_ps((__m512)a, (__m512)b); }  // b where either is NaN
static GATEWORK_INLINE Vec larger(Vec a, Vec b) { return (Vec)_mm512_max_ps((__m512)a, (__m512)b); }
#else
static GATEWORK_INLINE Vec smaller(Vec a, Vec b) { return a < b ? a : b; }  // b where either is NaN
static GATEWORK_INLINE Vec larger(Vec a, Vec b) { return a > b ? a : b; }
#endif
static GATEWORK_INLINE Int larger_int(Int a, Int b) { return a > b ? a : b; }

#else

struct Vec {
    float v[GATEWORK_LANES];
};
struct Int {
    std::int32_t v[GATEWORK_LANES];
};

#define GATEWORK_EACH for (int l = 0; l < GATEWORK_LANES; ++l)
#define GATEWORK_OPERATOR(Type, Scalar, op)                                                                        \
    static GATEWORK_INLINE Type operator op(Type a, Type b) { GATEWORK_EACH a.v[l] = a.v[l] op b.v[l]; return a; }          \
    static GATEWORK_INLINE Type operator op(Type a, Scalar b) { GATEWORK_EACH a.v[l] = a.v[l] op b; return a; }             \
    static GATEWORK_INLINE Type operator op(Scalar a, Type b) { GATEWORK_EACH b.v[l] = a op b.v[l]; return b; }
GATEWORK_OPERATOR(Vec, float, +)
GATEWORK_OPERATOR(Vec, float, -)
GATEWORK_OPERATOR(Vec, float, *)
GATEWORK_OPERATOR(Vec, float, /)
GATEWORK_OPERATOR(Int, std::int32_t, +)
GATEWORK_OPERATOR(Int, std::int32_t, &)
GATEWORK_OPERATOR(Int, std::int32_t, |)
GATEWORK_OPERATOR(Int, std::int32_t, *)
GATEWORK_OPERATOR(Int, std::int32_t, >>)
static GATEWORK_INLINE Int& operator+=(Int& a, Int b) { GATEWORK_EACH a.v[l] += b.v[l]; return a; }
static GATEWORK_INLINE Int operator<<(Int a, int n) { GATEWORK_EACH a.v[l] = (std::int32_t)((std::uint32_t)a.v[l] << n); return a; }
static GATEWORK_INLINE Vec to_float(Int a) { Vec r; GATEWORK_EACH r.v[l] = (float)a.v[l]; return r; }
static GATEWORK_INLINE Vec& operator+=(Vec& a, Vec b) { GATEWORK_EACH a.v[l] += b.v[l]; return a; }
static GATEWORK_INLINE Vec as_float(Int a) { Vec r; std::memcpy(&r, &a, sizeof r); return r; }
static GATEWORK_INLINE Int as_int(Vec a) { Int r; std::memcpy(&r, &a, sizeof r); return r; }
static GATEWORK_INLINE Vec smaller(Vec a, Vec b) { GATEWORK_EACH b.v[l] = a.v[l] < b.v[l] ? a.v[l] : b.v[l]; return b; }
static GATEWORK_INLINE Vec larger(Vec a, Vec b) { GATEWORK_EACH b.v[l] = a.v[l] > b.v[l] ? a.v[l] : b.v[l]; return b; }
static GATEWORK_INLINE Int larger_int(Int a, Int b) { GATEWORK_EACH b.v[l] = a.v[l] > b.v[l] ? a.v[l] : b.v[l]; return b; }

#endif

static GATEWORK_INLINE Vec load(const float* p) {
    Vec v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
static GATEWORK_INLINE void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
#if defined(__AVX512F__) && GATEWORK_LANES == 16
static GATEWORK_INLINE Vec constant(float value) { return (Vec)_mm512_set1_ps(value); }
static GATEWORK_INLINE Int constant_int(std::int32_t value) { return (Int)_mm512_set1_epi32(value); }
#elif defined(__AVX2__) && GATEWORK_LANES == 8
static GATEWORK_INLINE Vec constant(float value) { return (Vec)_mm256_set1_ps(value); }
static GATEWORK_INLINE Int constant_int(std::int32_t value) { return (Int)_mm256_set1_epi32(value); }
#else
static GATEWORK_INLINE Vec constant(float value) { return Vec{} + value; }
static GATEWORK_INLINE Int constant_int(std::int32_t value) { return Int{} + value; }
#endif
static GATEWORK_INLINE Int load_int(const void* p) {
    Int v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
static GATEWORK_INLINE void store_int(void* p, Int v) { std::memcpy(p, &v, sizeof v); }
// sum + a0 b0 + a1 b1 of the two bfloat16 in each lane.
static GATEWORK_INLINE Vec add_pairs(Vec sum, Int a, Int b) {
#if defined(__AVX512BF16__) && GATEWORK_LANES == 16
    return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    sum += as_float(a << 16) * as_float(b << 16);
    return sum + as_float(a & (std::int32_t)0xFFFF0000) * as_float(b & (std::int32_t)0xFFFF0000);
#endif
}
// Where bytes have no products of their own, those of 16 bits are two to a lane, exact and summed at once: bytes 0 and 2 of
// each lane, then 1 and 3.
#if defined(__AVX512BW__) && !defined(__AVX512VNNI__) && GATEWORK_LANES == 16
#define GATEWORK_SHORTS
static GATEWORK_INLINE Int add_shorts(Int sum, Int a, Int b) { return sum + (Int)_mm512_madd_epi16((__m512i)a, (__m512i)b); }
#elif defined(__AVX2__) && GATEWORK_LANES == 8
#define GATEWORK_SHORTS
static GATEWORK_INLINE Int add_shorts(Int sum, Int a, Int b) { return sum + (Int)_mm256_madd_epi16((__m256i)a, (__m256i)b); }
#elif defined(__SSE2__) && GATEWORK_LANES == 4 && !defined(GATEWORK_PLAIN)
#define GATEWORK_SHORTS
static GATEWORK_INLINE Int add_shorts(Int sum, Int a, Int b) { return sum + (Int)_mm_madd_epi16((__m128i)a, (__m128i)b); }
#endif
#ifdef GATEWORK_SHORTS
typedef std::int16_t Short __attribute__((vector_size(GATEWORK_LANES * 4)));
typedef std::uint16_t UnsignedShort __attribute__((vector_size(GATEWORK_LANES * 4)));
static GATEWORK_INLINE Int even_unsigned(Int a) { return a & 0x00FF00FF; }
static GATEWORK_INLINE Int odd_unsigned(Int a) { return (Int)((UnsignedShort)a >> 8); }
static GATEWORK_INLINE Int even_signed(Int b) { return (Int)((Short)(b << 8) >> 8); }
static GATEWORK_INLINE Int odd_signed(Int b) { return (Int)((Short)b >> 8); }
#endif
// sum + the four products of unsigned bytes of a and signed bytes of b in each lane.
static GATEWORK_INLINE Int add_fours(Int sum, Int a, Int b) {
#if defined(__AVX512VNNI__) && GATEWORK_LANES == 16
    return (Int)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(GATEWORK_SHORTS)
    return add_shorts(add_shorts(sum, even_unsigned(a), even_signed(b)), odd_unsigned(a), odd_signed(b));
#else
    for (int byte = 0; byte < 4; ++byte)
        sum += (((a << (24 - 8 * byte)) >> 24) & 255) * ((b << (24 - 8 * byte)) >> 24);
    return sum;
#endif
}

#ifndef GATEWORK_PLAIN
static GATEWORK_INLINE Int select_nan(Vec v, Int nan, Int number) { return v == v ? number : nan; }
#else
static GATEWORK_INLINE Int select_nan(Vec v, Int nan, Int number) { GATEWORK_EACH if (v.v[l] != v.v[l]) number.v[l] = nan.v[l]; return number; }
#endif
// float to bfloat16, to nearest even; in the low half of each lane. NaN stays NaN.
static GATEWORK_INLINE Int to_bfloat16(Vec v) {
#if defined(__AVX512BF16__) && GATEWORK_LANES == 16
    return (Int)_mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)v));  // takes denormals for zero
#else
    const Int bits = as_int(v);
    const Int odd = (bits >> 16) & 1;
    const Int rounded = (bits + (odd + 0x7FFF)) >> 16;
    const Int quiet = ((bits >> 16) & 0xFFFF) | 0x40;
    return select_nan(v, quiet, rounded & 0xFFFF);
#endif
}

// 1 / x for x in [2^-100, 2^120]. At AVX-512 an estimate of 14 bits and one Newton step: within 1 ulp.
static GATEWORK_INLINE Vec reciprocal(Vec x) {
#if defined(__AVX512F__) && GATEWORK_LANES == 16
    const Vec r = (Vec)_mm512_rcp14_ps((__m512)x);
    return r + r * (1.0f - x * r);
#else
    return 1.0f / x;
#endif
}

// Each of these chains of twenty operations waits for itself most of the time: N at once, operation by operation, keep
// the processor busy.

// exp(x) = 2^n (1 + p) with n = round(x / ln 2) and p = exp(r) - 1, r = x - n ln 2, |r| <= ln 2 / 2.
// `scale` is 2^n. x must lie in [-87, 88]. p keeps full relative accuracy near r = 0.
template <int N>
static GATEWORK_INLINE void exp_parts(const Vec (&x)[N], Vec (&p)[N], Vec (&scale)[N]) {
    Vec shifted[N], n[N], r[N], square[N], q[N];
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the float.
    each<N>([&](auto i) GATEWORK_LAMBDA { shifted[i] = x[i] * 1.44269504088896341f + 12582912.0f; });
    each<N>([&](auto i) GATEWORK_LAMBDA { n[i] = shifted[i] - 12582912.0f; });
    each<N>([&](auto i) GATEWORK_LAMBDA { scale[i] = as_float((as_int(shifted[i]) << 23) + 0x3F800000); });
    each<N>([&](auto i) GATEWORK_LAMBDA { r[i] = x[i] - n[i] * 0.693359375f; });  // ln 2 in two parts, the first exact
    each<N>([&](auto i) GATEWORK_LAMBDA { r[i] = r[i] - n[i] * -2.12194440e-4f; });
    // Minimax polynomial of (exp(r) - 1 - r) / r^2, Cephes expf.
    each<N>([&](auto i) GATEWORK_LAMBDA { q[i] = r[i] * 1.9875691500e-4f + 1.3981999507e-3f; });
    each<N>([&](auto i) GATEWORK_LAMBDA { q[i] = q[i] * r[i] + 8.3334519073e-3f; });
    each<N>([&](auto i) GATEWORK_LAMBDA { q[i] = q[i] * r[i] + 4.1665795894e-2f; });
    each<N>([&](auto i) GATEWORK_LAMBDA { q[i] = q[i] * r[i] + 1.6666665459e-1f; });
    each<N>([&](auto i) GATEWORK_LAMBDA { q[i] = q[i] * r[i] + 5.0000001201e-1f; });
    each<N>([&](auto i) GATEWORK_LAMBDA { square[i] = r[i] * r[i]; });
    each<N>([&](auto i) GATEWORK_LAMBDA { p[i] = q[i] * square[i] + r[i]; });
}

struct Exp {
    Vec p, scale;
};
static GATEWORK_INLINE Exp exp_parts(Vec x) {
    const Vec one[1] = {x};
    Vec p[1], scale[1];
    exp_parts<1>(one, p, scale);
    return {p[0], scale[0]};
}

// The first S of x become 1 / (1 + exp(-x)), the others tanh x. Rough: within 1e-4 of the value, for products that were
// rounded to 8 bits; levels without a shorter way to it give the exact ones.
// With m = exp(-2|x|) - 1: tanh |x| = -m / (2 + m), no cancellation near 0.
#if defined(__AVX512F__) && GATEWORK_LANES == 16
// Fewer operations than the general form below: signs and factors of 2 go into the constants, 2^n is one instruction, and
// the polynomials (fitted for the least relative error on |r| <= ln 2 / 2, 2e-9 and 1e-8) are no longer than floats need.
template <int S, bool Rough = false, int N>
static GATEWORK_INLINE void activations(Vec (&x)[N]) {
    constexpr float kLog = 1.44269504088896341f, kHigh = 0.693359375f, kLow = -2.12194440e-4f;
    Vec y[N], n[N], r[N], q[N];
    each<N>([&](auto i) GATEWORK_LAMBDA {
        if constexpr (i < S) y[i] = smaller(constant(80.0f), larger(constant(-80.0f), x[i]));
        else y[i] = smaller(constant(40.0f), as_float(as_int(x[i]) & 0x7FFFFFFF));
    });
    // r = -y - n ln 2, of a tanh half of -2 y - n ln 2
    each<N>([&](auto i) GATEWORK_LAMBDA { n[i] = y[i] * (i < S ? -kLog : -2.0f * kLog) + 12582912.0f; });
    each<N>([&](auto i) GATEWORK_LAMBDA { n[i] = n[i] - 12582912.0f; });
    each<N>([&](auto i) GATEWORK_LAMBDA {
        r[i] = (Vec)_mm512_fnmsub_ps((__m512)n[i], (__m512)constant(i < S ? kHigh : 0.5f * kHigh), (__m512)y[i]);
    });
    each<N>([&](auto i) GATEWORK_LAMBDA { r[i] = r[i] - n[i] * (i < S ? kLow : 0.5f * kLow); });
    if constexpr (Rough) {  // fitted as below, to 5e-6 and 2e-5
        each<N>([&](auto i) GATEWORK_LAMBDA {
            q[i] = r[i] * (i < S ? 0.04127776f : 0.3328801f) + (i < S ? 0.16753514f : 0.66998513f);
        });
        each<N>([&](auto i) GATEWORK_LAMBDA { q[i] = q[i] * r[i] + (i < S ? 0.50005116f : 1.00003305f); });
    } else {
        each<N>([&](auto i) GATEWORK_LAMBDA {
            if constexpr (i < S) q[i] = r[i] * 0.0013836794532835484f + 0.00837485771626234f;
            else q[i] = r[i] * 0.04444439336657524f + 0.13390567898750305f;
        });
        each<N>([&](auto i) GATEWORK_LAMBDA { q[i] = q[i] * r[i] + (i < S ? 0.041668228805065155f : 0.33333709836006165f); });
        each<N>([&](auto i) GATEWORK_LAMBDA { q[i] = q[i] * r[i] + (i < S ? 0.16666419804096222f : 0.6666602492332458f); });
        each<N>([&](auto i) GATEWORK_LAMBDA { q[i] = q[i] * r[i] + (i < S ? 0.49999991059303284f : 0.9999999403953552f); });
    }
    each<N>([&](auto i) GATEWORK_LAMBDA { q[i] = q[i] * r[i] + 1.0f; });
    each<N>([&](auto i) GATEWORK_LAMBDA {
        if constexpr (i < S) {
            q[i] = (Vec)_mm512_scalef_ps((__m512)(q[i] * r[i] + 1.0f), (__m512)n[i]) + 1.0f;
        } else {
            // (exp(2 r) - 1) / 2 = r q; m / 2 = scale r q + (scale - 1) / 2
            const Vec scale = (Vec)_mm512_scalef_ps((__m512)constant(1.0f), (__m512)n[i]);
            y[i] = scale * (q[i] * r[i]) + (scale * 0.5f - 0.5f);
            q[i] = y[i] + 1.0f;
        }
    });
    each<N>([&](auto i) GATEWORK_LAMBDA { q[i] = Rough ? (Vec)_mm512_rcp14_ps((__m512)q[i]) : reciprocal(q[i]); });
    each<N>([&](auto i) GATEWORK_LAMBDA {
        if constexpr (i < S) x[i] = q[i];
        else x[i] = (Vec)_mm512_ternarylogic_epi32((__m512i)(y[i] * q[i]), (__m512i)x[i], _mm512_set1_epi32((int)0x80000000), 0xD8);
    });
}
#else
template <int S, bool Rough = false, int N>
static GATEWORK_INLINE void activations(Vec (&x)[N]) {
    Vec y[N], p[N], scale[N], below[N];
    each<N>([&](auto i) GATEWORK_LAMBDA {
        if constexpr (i < S) y[i] = smaller(constant(80.0f), larger(constant(-80.0f), 0.0f - x[i]));
        else y[i] = larger(constant(-80.0f), as_float(as_int(x[i]) & 0x7FFFFFFF) * -2.0f);
    });
    exp_parts<N>(y, p, scale);
    each<N>([&](auto i) GATEWORK_LAMBDA {
        if constexpr (i < S) below[i] = 1.0f + (scale[i] + scale[i] * p[i]);
        else {
            p[i] = scale[i] * p[i] + (scale[i] - 1.0f);
            below[i] = 2.0f + p[i];
        }
    });
    each<N>([&](auto i) GATEWORK_LAMBDA { below[i] = reciprocal(below[i]); });
    each<N>([&](auto i) GATEWORK_LAMBDA {
        if constexpr (i < S) x[i] = below[i];
        else x[i] = as_float(as_int((0.0f - p[i]) * below[i]) | (as_int(x[i]) & (std::int32_t)0x80000000));
    });
}
#endif

static GATEWORK_INLINE Vec sigmoid(Vec x) {
    Vec one[1] = {x};
    activations<1>(one);
    return one[0];
}
static GATEWORK_INLINE Vec tanh(Vec x) {
    Vec one[1] = {x};
    activations<0>(one);
    return one[0];
}

static GATEWORK_INLINE Vec relu(Vec x) { return larger(constant(0.0f), x); }

// d where y > 0, else 0.
#ifndef GATEWORK_PLAIN
static GATEWORK_INLINE Vec where_positive(Vec y, Vec d) { return y > Vec{} ? d : Vec{}; }
#else
static GATEWORK_INLINE Vec where_positive(Vec y, Vec d) { GATEWORK_EACH d.v[l] = y.v[l] > 0.0f ? d.v[l] : 0.0f; return d; }
#endif

// The low half or quarter of each lane, side by side.
static GATEWORK_INLINE void store_low_halves(std::uint16_t* p, Int v) {
#if defined(__AVX512F__) && GATEWORK_LANES == 16
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16((__m512i)v));
#else
    std::int32_t lanes[GATEWORK_LANES];
    std::memcpy(lanes, &v, sizeof v);
    for (int l = 0; l < GATEWORK_LANES; ++l) p[l] = (std::uint16_t)lanes[l];
#endif
}
static GATEWORK_INLINE void store_low_bytes(std::uint8_t* p, Int v) {
#if defined(__AVX512F__) && GATEWORK_LANES == 16
    _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8((__m512i)v));
#else
    std::int32_t lanes[GATEWORK_LANES];
    std::memcpy(lanes, &v, sizeof v);
    for (int l = 0; l < GATEWORK_LANES; ++l) p[l] = (std::uint8_t)lanes[l];
#endif
}
