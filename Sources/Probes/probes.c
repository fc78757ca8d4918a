#include "probes.h"

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2"))) static uint64_t read_avx2(const char *p, size_t bytes) {
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i + 128 <= bytes; i += 128) {
        _mm_prefetch(p + i + 4096, _MM_HINT_T0);
        _mm_prefetch(p + i + 4160, _MM_HINT_T0);
        a = _mm256_xor_si256(a, _mm256_loadu_si256((const __m256i *)(p + i)));
        b = _mm256_xor_si256(b, _mm256_loadu_si256((const __m256i *)(p + i + 32)));
        c = _mm256_xor_si256(c, _mm256_loadu_si256((const __m256i *)(p + i + 64)));
        d = _mm256_xor_si256(d, _mm256_loadu_si256((const __m256i *)(p + i + 96)));
    }
    a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
    return (uint64_t)_mm256_extract_epi64(a, 0) ^ (uint64_t)_mm256_extract_epi64(a, 3);
}

/* Twelve independent accumulators hide the latency of the multiply-add. */
#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define PROBE(name, features, vector, zero, step, lanes)                                                     \
    __attribute__((target(features))) static double name(size_t rounds) {                                    \
        vector a[12];                                                                                        \
        for (int i = 0; i < 12; i++) a[i] = zero;                                                            \
        for (size_t n = 0; n < rounds; n++) {                                                                \
            TWELVE(step)                                                                                     \
            __asm__ volatile("" : "+x"(a[0]), "+x"(a[1]), "+x"(a[2]), "+x"(a[3]), "+x"(a[4]), "+x"(a[5]));   \
            __asm__ volatile("" : "+x"(a[6]), "+x"(a[7]), "+x"(a[8]), "+x"(a[9]), "+x"(a[10]), "+x"(a[11])); \
        }                                                                                                    \
        return 2.0 * lanes * 12 * (double)rounds;                                                            \
    }
#define F32_256(i) a[i] = _mm256_fmadd_ps(x, y, a[i]);
#define F32_512(i) a[i] = _mm512_fmadd_ps(x, y, a[i]);
#define BF16_512(i) a[i] = _mm512_dpbf16_ps(a[i], x, y);
#define INT8_512(i) a[i] = _mm512_dpbusd_epi32(a[i], x, y);
#define x _mm256_set1_ps(1e-3f)
#define y _mm256_set1_ps(1e-3f)
PROBE(f32_avx2, "avx2,fma", __m256, _mm256_setzero_ps(), F32_256, 8)
#undef x
#undef y
#define x _mm512_set1_ps(1e-3f)
#define y _mm512_set1_ps(1e-3f)
PROBE(f32_avx512, "avx512f", __m512, _mm512_setzero_ps(), F32_512, 16)
#undef x
#undef y
#define x (__m512bh) _mm512_set1_epi16(0x3c00)
#define y (__m512bh) _mm512_set1_epi16(0x3c00)
PROBE(bf16_avx512, "avx512f,avx512bf16", __m512, _mm512_setzero_ps(), BF16_512, 32)
#undef x
#undef y
#define x _mm512_set1_epi8(1)
#define y _mm512_set1_epi8(1)
PROBE(int8_avx512, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512(), INT8_512, 64)

uint64_t probe_read(const void *memory, size_t bytes) { return read_avx2(memory, bytes); }

double probe_arithmetic(probe_kind kind, size_t rounds) {
    switch (kind) {
    case PROBE_F32: return __builtin_cpu_supports("avx512f") ? f32_avx512(rounds) : f32_avx2(rounds);
    case PROBE_BF16: return __builtin_cpu_supports("avx512bf16") ? bf16_avx512(rounds) : 0;
    case PROBE_INT8: return __builtin_cpu_supports("avx512vnni") ? int8_avx512(rounds) : 0;
    }
    return 0;
}

#else

uint64_t probe_read(const void *memory, size_t bytes) {
    const uint64_t *p = memory;
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes / 8; i++) sum ^= p[i];
    return sum;
}

double probe_arithmetic(probe_kind kind, size_t rounds) {
    (void)kind, (void)rounds;
    return 0;
}

#endif
