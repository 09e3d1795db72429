// exp and log of numbers in known ranges; a plain loop around one of them becomes vector code.

#pragma once

#include <cstdint>
#include <cstring>

namespace gatework::generate {

// exp(x) for x <= 0 to about 2e-7 of its value; 0 below -87.
inline float exp_below(float x) {
    const float bounded = x < -87.0f ? -87.0f : x;
    const float n = bounded * 1.44269504f + 12582912.0f;  // rounds to an integer in the low bits
    const float whole = n - 12582912.0f;
    const float r = (bounded - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    std::int32_t bits;
    std::memcpy(&bits, &n, sizeof bits);
    bits = (bits - 0x4B400000 + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    const float value = p * scale;
    return x < -87.0f ? 0.0f : value;
}

// log(x) for finite x >= 1e-37 to about 2e-7. The polynomial is that of Cephes.
inline float log_of(float x) {
    constexpr std::int32_t kRootOfHalf = 0x3F3504F3;
    std::int32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const std::int32_t exponent = (bits - kRootOfHalf) >> 23;
    bits -= exponent << 23;  // from sqrt(1/2) to sqrt(2)
    float m;
    std::memcpy(&m, &bits, sizeof m);
    m -= 1.0f;
    float p = 7.0376836292e-2f;
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    const float z = m * m, e = (float)exponent;
    return ((p * m * z - e * 2.12194440e-4f) - 0.5f * z) + m + e * 0.693359375f;
}

}  // namespace gatework::generate
