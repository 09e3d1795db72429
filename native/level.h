// What the source of every level needs before its namespace: names put together, and what the compiler is told.

#pragma once

#define GATEWORK_JOIN2(a, b) a##b
#define GATEWORK_JOIN(a, b) GATEWORK_JOIN2(a, b)
#define GATEWORK_STRING2(a) #a
#define GATEWORK_STRING(a) GATEWORK_STRING2(a)

#if defined(__GNUC__)
#define GATEWORK_INLINE inline __attribute__((always_inline))
#define GATEWORK_NOINLINE __attribute__((noinline))
#define GATEWORK_LAMBDA __attribute__((always_inline))
#else
#define GATEWORK_INLINE __forceinline
#define GATEWORK_NOINLINE __declspec(noinline)
#define GATEWORK_LAMBDA
#endif

#if defined(__SSE2__)
#include <immintrin.h>
#endif
