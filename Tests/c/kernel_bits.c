/*
 * Products of packed weights against the reference, bit by bit, on awkward sizes: where the Swift tests cannot run
 * (make test-aarch64, under an emulator), and for AVX-VNNI, whose instruction AVX-512 has too, on the same registers.
 * The arguments, if any, are all implementations that the CPU is expected to have, the best first, each with what it
 * is expected to have beyond the next one: "i8mm:integers,bf16 neon:integers,bf16 portable".
 */
#include "attention.h"
#include "packed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,fma,f16c,avx512f,avx512vl,avx512vnni")))
#define DOT _mm256_dpbusd_epi32
#define TABLE(format) evex_##format
#include "x86/packed_avxvnni.c"
#endif

static uint64_t state = 7;
static uint32_t bits(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}
/* kind: 0 numbers below 1, 1 awkward ones, 2 those that make the largest integers */
static float number(int kind) {
    const float plain = (float)(int32_t)bits() * 0x1p-31f;
    if (kind == 0) return plain;
    if (kind == 2) return 1;
    switch (bits() % 12) {
    case 0: return 0;
    case 1: return -0.0f;
    case 2: return plain * 1e-40f;
    case 3: return plain * 1e19f;
    case 4: return plain > 0 ? 4 : -4;
    default: return plain;
    }
}

static int passed, failed;
static void verdict(const char *what, const char *format, int good) {
    printf("%-12s %-40s %s\n", what, format, good ? "ok" : "FAILED");
    if (good)
        passed++;
    else
        failed++;
}

static int same(const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i]))) return 0;
    return 1;
}

/* All formats are made by the reference; its blocks of GGUF are of random bits with scales of 1. */
static int products_agree(const llk_packed_kernels *kernels, llk_format format) {
    const llk_packed_kernels *reference = llk_get_packed(LLK_PORTABLE, format);
    for (int round = 0; round < 24; round++) {
        const size_t rows = round % 12 == 11 ? 65 + bits() % 8 : 1 + bits() % 40; /* 64 share a reading of weights */
        const size_t outputs = 1 + bits() % 200, tiles = (outputs + 63) / 64;
        size_t inputs = 1 + bits() % 300;
        if (format == LLK_PACKED_Q8_0 || format == LLK_PACKED_Q4_0) inputs = (inputs + 31) / 32 * 32;
        float *x = malloc(sizeof(float) * rows * inputs), *w = malloc(sizeof(float) * outputs * inputs);
        float *y[2] = {calloc(rows * outputs, sizeof(float)), calloc(rows * outputs, sizeof(float))};
        void *packed = malloc(llk_packed_size(format, outputs, inputs));
        void *prepared = malloc(rows * llk_row_size(format, inputs));
        for (size_t i = 0; i < rows * inputs; i++) x[i] = number(round % 3);
        for (size_t i = 0; i < outputs * inputs; i++) w[i] = number(round % 3);
        if (reference->pack) {
            reference->pack(w, LLK_F32, outputs, inputs, 0, tiles, packed);
        } else {
            const size_t size = format == LLK_PACKED_Q8_0 ? 34 : 18, count = outputs * (inputs / 32);
            unsigned char *blocks = malloc(size * count);
            for (size_t i = 0; i < size * count; i++) blocks[i] = (unsigned char)bits();
            for (size_t i = 0; i < count; i++) blocks[size * i] = 0, blocks[size * i + 1] = 0x3c;
            llk_pack_blocks(format, blocks, outputs, inputs, 0, tiles, packed);
            free(blocks);
        }
        const llk_packed_kernels *both[2] = {reference, kernels};
        for (int i = 0; i < 2; i++) {
            both[i]->prepare(x, inputs, rows, inputs, prepared);
            both[i]->product(prepared, rows, packed, outputs, inputs, 0, tiles, y[i], outputs);
        }
        const int agree = same(y[0], y[1], rows * outputs);
        free(x), free(w), free(y[0]), free(y[1]), free(packed), free(prepared);
        if (!agree) return 0;
    }
    return 1;
}

static int matmul_agrees(const llk_kernels *kernels) {
    const llk_kernels *reference = llk_get(LLK_PORTABLE);
    for (int round = 0; round < 24; round++) {
        const size_t rows = 1 + bits() % 20, outputs = 1 + bits() % 40, inputs = 1 + bits() % 200;
        float *x = malloc(sizeof(float) * rows * inputs), *w = malloc(sizeof(float) * outputs * inputs);
        float *y[2] = {calloc(rows * outputs, sizeof(float)), calloc(rows * outputs, sizeof(float))};
        for (size_t i = 0; i < rows * inputs; i++) x[i] = number(round % 2);
        for (size_t i = 0; i < outputs * inputs; i++) w[i] = number(round % 2);
        reference->matmul(x, inputs, rows, w, LLK_F32, inputs, 0, outputs, y[0], outputs);
        kernels->matmul(x, inputs, rows, w, LLK_F32, inputs, 0, outputs, y[1], outputs);
        const int agree = same(y[0], y[1], rows * outputs);
        free(x), free(w), free(y[0]), free(y[1]);
        if (!agree) return 0;
    }
    return 1;
}

static int attention_agrees(const llk_attention_kernels *kernels) {
    const llk_attention_kernels *reference = llk_get_attention(LLK_PORTABLE);
    for (int round = 0; round < 24; round++) {
        const size_t queries = 1 + bits() % 12, terms = 1 + bits() % 70, dim = 1 + bits() % 140;
        const size_t piece = 1 + bits() % terms, pieces = (terms + piece - 1) / piece, size = (piece + 1) / 2 * 2 * dim;
        float numbers[150], *out[2] = {calloc(queries * dim, sizeof(float)), calloc(queries * dim, sizeof(float))};
        uint16_t *p = malloc(2 * queries * terms), *v = malloc(2 * pieces * size), weights[2][70];
        const uint16_t *places[70];
        float max[2] = {-INFINITY, -INFINITY}, sum[2];
        for (size_t i = 0; i < 150; i++) numbers[i] = number(0);
        for (size_t i = 0; i < queries * terms; i++) llk_f32_to_bf16(&(float){number(0)}, 1, p + i);
        for (size_t i = 0; i < pieces * size; i++) llk_f32_to_bf16(&(float){number(0)}, 1, v + i);
        for (size_t i = 0; i < pieces; i++) places[i] = v + i * size;
        const llk_attention_kernels *both[2] = {reference, kernels};
        for (int i = 0; i < 2; i++) {
            both[i]->weighted_sum(p, terms, queries, places, dim, piece, terms, dim, out[i], dim, false, NULL, 0);
            both[i]->exponentials(numbers, terms, 3, max + i, weights[i], sum + i);
        }
        const int agree = same(out[0], out[1], queries * dim) && same(max, max + 1, 1) && same(sum, sum + 1, 1) &&
                          memcmp(weights[0], weights[1], 2 * terms) == 0;
        free(out[0]), free(out[1]), free(p), free(v);
        if (!agree) return 0;
    }
    return 1;
}

static void products(const char *name, const llk_packed_kernels *of[5]) {
    static const char *const formats[5] = {"products of bf16", "products of int8", "products of int4",
                                           "products of Q8_0", "products of Q4_0"};
    for (int f = 0; f < 5; f++)
        if (of[f]) verdict(name, formats[f], products_agree(of[f], (llk_format)f));
}

/* Are the products of an implementation others than those of `lower`? */
static bool has_own(llk_isa isa, llk_isa lower, llk_format format) {
    return llk_get_packed(isa, format)->product != llk_get_packed(lower, format)->product;
}

/* Does the CPU have the implementation that an argument names, and beyond `lower` what it says? Kernels of another
 * implementation in place of its own would pass every comparison. */
static bool is_as_expected(llk_isa isa, llk_isa lower, const char *expected) {
    const char *name = llk_isa_name(isa), *beyond = strchr(expected, ':');
    if (strncmp(name, expected, strlen(name)) != 0 || (expected[strlen(name)] != 0 && expected[strlen(name)] != ':'))
        return false;
    bool integers = false, bf16 = false;
    if (isa != LLK_PORTABLE) {
        integers = has_own(isa, lower, LLK_PACKED_INT8);
        for (int f = LLK_PACKED_INT4; f <= LLK_PACKED_Q4_0; f++)
            if (has_own(isa, lower, (llk_format)f) != integers) return false;
        bf16 = has_own(isa, lower, LLK_PACKED_BF16);
        if ((llk_get_attention(isa) != llk_get_attention(lower)) != bf16) return false;
    }
    return integers == (beyond && strstr(beyond, "integers")) && bf16 == (beyond && strstr(beyond, "bf16"));
}

int main(int argc, char **argv) {
    static const llk_isa all[] = {LLK_AVX512, LLK_AVXVNNI, LLK_AVX2, LLK_I8MM, LLK_NEON, LLK_PORTABLE};
    enum { COUNT = sizeof all / sizeof *all };
    llk_isa there[COUNT];
    int count = 0;
    for (int i = 0; i < COUNT; i++)
        if (llk_get(all[i])) there[count++] = all[i];
    verdict(llk_isa_name(llk_best_isa()), "is the best of this CPU", llk_best_isa() == there[0]);
    for (int i = 0; i < (argc > 1 ? argc - 1 : 0) || i < count; i++) {
        const bool good =
            i < count && i + 1 < argc && is_as_expected(there[i], there[i + (i + 1 < count)], argv[i + 1]);
        if (argc > 1)
            verdict(i < count ? llk_isa_name(there[i]) : argv[i + 1], "is there, with kernels of its own", good);
    }
    for (int i = 0; there[i] != LLK_PORTABLE; i++) {
        const char *name = llk_isa_name(there[i]);
        const llk_packed_kernels *ours[5];
        for (int f = 0; f < 5; f++) ours[f] = llk_get_packed(there[i], (llk_format)f);
        products(name, ours);
        verdict(name, "products of rows", matmul_agrees(llk_get(there[i])));
        verdict(name, "attention", attention_agrees(llk_get_attention(there[i])));
    }
#if defined(__x86_64__)
    if (llk_this_cpu().avx512_vnni) {
        const llk_packed_kernels *evex[5] = {NULL, &evex_int8, &evex_int4, &evex_q8_0, &evex_q4_0};
        products("avxvnni", evex);
    }
#endif
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
