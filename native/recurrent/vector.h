// Vectors of float, and exp, sigmoid and tanh on them. Included only inside a level's own namespace (see recurrent.inc.h),
// so that code compiled for one instruction set is never linked into another.
//
// GATEWORK_LANES floats a vector. With GCC and Clang these are the compilers' generic vectors, which each level's flags
// turn into SSE2, NEON, AVX2 or AVX-512; GATEWORK_PLAIN (and any other compiler) gives an array in a struct instead.
//
// Errors against float64, whole float range, checked by tests/kernels: sigmoid at most 3 ulp of the result (or 1e-34),
// tanh at most 4 ulp. NaN in, NaN out.

constexpr int kLanes = GATEWORK_LANES;

#ifndef GATEWORK_PLAIN

typedef float Vec __attribute__((vector_size(GATEWORK_LANES * 4)));
typedef std::int32_t Int __attribute__((vector_size(GATEWORK_LANES * 4)));

static inline Vec as_float(Int a) { return (Vec)a; }
static inline Int as_int(Vec a) { return (Int)a; }
static inline Vec to_float(Int a) { return __builtin_convertvector(a, Vec); }
#if defined(__AVX512F__) && GATEWORK_LANES == 16
static inline Vec smaller(Vec a, Vec b) { return (Vec)_mm512_min_ps((__m512)a, (__m512)b); }  // b where either is NaN
static inline Vec larger(Vec a, Vec b) { return (Vec)_mm512_max_ps((__m512)a, (__m512)b); }
#else
static inline Vec smaller(Vec a, Vec b) { return a < b ? a : b; }  // b where either is NaN
static inline Vec larger(Vec a, Vec b) { return a > b ? a : b; }
#endif
static inline Int larger_int(Int a, Int b) { return a > b ? a : b; }

#else

struct Vec {
    float v[GATEWORK_LANES];
};
struct Int {
    std::int32_t v[GATEWORK_LANES];
};

#define GATEWORK_EACH for (int l = 0; l < GATEWORK_LANES; ++l)
#define GATEWORK_OPERATOR(Type, Scalar, op)                                                                        \
    static inline Type operator op(Type a, Type b) { GATEWORK_EACH a.v[l] = a.v[l] op b.v[l]; return a; }          \
    static inline Type operator op(Type a, Scalar b) { GATEWORK_EACH a.v[l] = a.v[l] op b; return a; }             \
    static inline Type operator op(Scalar a, Type b) { GATEWORK_EACH b.v[l] = a op b.v[l]; return b; }
GATEWORK_OPERATOR(Vec, float, +)
GATEWORK_OPERATOR(Vec, float, -)
GATEWORK_OPERATOR(Vec, float, *)
GATEWORK_OPERATOR(Vec, float, /)
GATEWORK_OPERATOR(Int, std::int32_t, +)
GATEWORK_OPERATOR(Int, std::int32_t, &)
GATEWORK_OPERATOR(Int, std::int32_t, |)
GATEWORK_OPERATOR(Int, std::int32_t, *)
GATEWORK_OPERATOR(Int, std::int32_t, >>)
static inline Int& operator+=(Int& a, Int b) { GATEWORK_EACH a.v[l] += b.v[l]; return a; }
static inline Int operator<<(Int a, int n) { GATEWORK_EACH a.v[l] = (std::int32_t)((std::uint32_t)a.v[l] << n); return a; }
static inline Vec to_float(Int a) { Vec r; GATEWORK_EACH r.v[l] = (float)a.v[l]; return r; }
static inline Vec& operator+=(Vec& a, Vec b) { GATEWORK_EACH a.v[l] += b.v[l]; return a; }
static inline Vec as_float(Int a) { Vec r; std::memcpy(&r, &a, sizeof r); return r; }
static inline Int as_int(Vec a) { Int r; std::memcpy(&r, &a, sizeof r); return r; }
static inline Vec smaller(Vec a, Vec b) { GATEWORK_EACH b.v[l] = a.v[l] < b.v[l] ? a.v[l] : b.v[l]; return b; }
static inline Vec larger(Vec a, Vec b) { GATEWORK_EACH b.v[l] = a.v[l] > b.v[l] ? a.v[l] : b.v[l]; return b; }
static inline Int larger_int(Int a, Int b) { GATEWORK_EACH b.v[l] = a.v[l] > b.v[l] ? a.v[l] : b.v[l]; return b; }

#endif

static inline Vec load(const float* p) {
    Vec v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
static inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }
#if defined(__AVX512F__) && GATEWORK_LANES == 16
static inline Vec constant(float value) { return (Vec)_mm512_set1_ps(value); }
static inline Int constant_int(std::int32_t value) { return (Int)_mm512_set1_epi32(value); }
#elif defined(__AVX2__) && GATEWORK_LANES == 8
static inline Vec constant(float value) { return (Vec)_mm256_set1_ps(value); }
static inline Int constant_int(std::int32_t value) { return (Int)_mm256_set1_epi32(value); }
#else
static inline Vec constant(float value) { return Vec{} + value; }
static inline Int constant_int(std::int32_t value) { return Int{} + value; }
#endif
static inline Int load_int(const void* p) {
    Int v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
static inline void store_int(void* p, Int v) { std::memcpy(p, &v, sizeof v); }
// sum + a0 b0 + a1 b1 of the two bfloat16 in each lane.
static inline Vec add_pairs(Vec sum, Int a, Int b) {
#if defined(__AVX512BF16__) && GATEWORK_LANES == 16
    return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    sum += as_float(a << 16) * as_float(b << 16);
    return sum + as_float(a & (std::int32_t)0xFFFF0000) * as_float(b & (std::int32_t)0xFFFF0000);
#endif
}
// sum + the four products of unsigned bytes of a and signed bytes of b in each lane.
static inline Int add_fours(Int sum, Int a, Int b) {
#if defined(__AVX512VNNI__) && GATEWORK_LANES == 16
    return (Int)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#else
    for (int byte = 0; byte < 4; ++byte)
        sum += (((a << (24 - 8 * byte)) >> 24) & 255) * ((b << (24 - 8 * byte)) >> 24);
    return sum;
#endif
}

#ifndef GATEWORK_PLAIN
static inline Int select_nan(Vec v, Int nan, Int number) { return v == v ? number : nan; }
#else
static inline Int select_nan(Vec v, Int nan, Int number) { GATEWORK_EACH if (v.v[l] != v.v[l]) number.v[l] = nan.v[l]; return number; }
#endif
// float to bfloat16, to nearest even; in the low half of each lane. NaN stays NaN.
static inline Int to_bfloat16(Vec v) {
    const Int bits = as_int(v);
    const Int odd = (bits >> 16) & 1;
    const Int rounded = (bits + (odd + 0x7FFF)) >> 16;
    const Int quiet = ((bits >> 16) & 0xFFFF) | 0x40;
    return select_nan(v, quiet, rounded & 0xFFFF);
}

// exp(x) = 2^n (1 + p) with n = round(x / ln 2) and p = exp(r) - 1, r = x - n ln 2, |r| <= ln 2 / 2.
// `scale` is 2^n. x must lie in [-87, 88]. p keeps full relative accuracy near r = 0.
// 1 / x for x in [2^-100, 2^120]. At AVX-512 an estimate of 14 bits and one Newton step: within 1 ulp.
static inline Vec reciprocal(Vec x) {
#if defined(__AVX512F__) && GATEWORK_LANES == 16
    const Vec r = (Vec)_mm512_rcp14_ps((__m512)x);
    return r + r * (1.0f - x * r);
#else
    return 1.0f / x;
#endif
}

struct Exp {
    Vec p, scale;
};
static inline Exp exp_parts(Vec x) {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the float.
    const Vec shifted = x * 1.44269504088896341f + 12582912.0f;
    const Vec n = shifted - 12582912.0f;
    Vec r = x - n * 0.693359375f;  // ln 2 in two parts, the first exact in few bits
    r = r - n * -2.12194440e-4f;
    // Minimax polynomial of (exp(r) - 1 - r) / r^2, Cephes expf.
    Vec q = r * 1.9875691500e-4f + 1.3981999507e-3f;
    q = q * r + 8.3334519073e-3f;
    q = q * r + 4.1665795894e-2f;
    q = q * r + 1.6666665459e-1f;
    q = q * r + 5.0000001201e-1f;
    return {q * (r * r) + r, as_float((as_int(shifted) << 23) + 0x3F800000)};
}

// 1 / (1 + exp(-x))
static inline Vec sigmoid(Vec x) {
    const Exp e = exp_parts(smaller(constant(80.0f), larger(constant(-80.0f), 0.0f - x)));
    return reciprocal(1.0f + (e.scale + e.scale * e.p));
}

// With m = exp(-2|x|) - 1: tanh |x| = -m / (2 + m), no cancellation near 0.
static inline Vec tanh(Vec x) {
    const Int sign = as_int(x) & (std::int32_t)0x80000000;
    const Vec size = as_float(as_int(x) & 0x7FFFFFFF);
    const Exp e = exp_parts(larger(constant(-80.0f), size * -2.0f));
    const Vec m = e.scale * e.p + (e.scale - 1.0f);
    return as_float(as_int((0.0f - m) * reciprocal(2.0f + m)) | sign);
}

static inline Vec relu(Vec x) { return larger(constant(0.0f), x); }

// d where y > 0, else 0.
#ifndef GATEWORK_PLAIN
static inline Vec where_positive(Vec y, Vec d) { return y > Vec{} ? d : Vec{}; }
#else
static inline Vec where_positive(Vec y, Vec d) { GATEWORK_EACH d.v[l] = y.v[l] > 0.0f ? d.v[l] : 0.0f; return d; }
#endif

// The low half or quarter of each lane, side by side.
static inline void store_low_halves(std::uint16_t* p, Int v) {
#if defined(__AVX512F__) && GATEWORK_LANES == 16
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16((__m512i)v));
#else
    std::int32_t lanes[GATEWORK_LANES];
    std::memcpy(lanes, &v, sizeof v);
    for (int l = 0; l < GATEWORK_LANES; ++l) p[l] = (std::uint16_t)lanes[l];
#endif
}
static inline void store_low_bytes(std::uint8_t* p, Int v) {
#if defined(__AVX512F__) && GATEWORK_LANES == 16
    _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8((__m512i)v));
#else
    std::int32_t lanes[GATEWORK_LANES];
    std::memcpy(lanes, &v, sizeof v);
    for (int l = 0; l < GATEWORK_LANES; ++l) p[l] = (std::uint8_t)lanes[l];
#endif
}
