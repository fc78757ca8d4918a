/* Snapshots and files of prefix caches. The target puts the right header and checksum around what an input says. */
#include "fuzz.h"

enum { HEADER = 48, CHECKSUM = 8 };

static void put(uint8_t *at, uint64_t value, int size) {
    for (int i = 0; i < size; i++) at[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *at) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) value |= (uint64_t)at[i] << 8 * i;
    return value;
}

/* Sources/LLaDA/Runtime/Checksum.swift says what it is. */
static uint64_t checksum(const uint8_t *bytes, size_t count) {
    const uint64_t factor = 0x243F6A8885A308D3;
    uint64_t lanes[4] = {0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89, 0x452821E638D01377};
    /* The last group of words is filled with zeros, and there always is one. */
    for (size_t start = 0; start <= count; start += 32) {
        uint8_t group[32] = {0};
        memcpy(group, bytes + start, count - start < 32 ? count - start : 32);
        for (int lane = 0; lane < 4; lane++) {
            uint64_t product = (lanes[lane] ^ get(group + 8 * lane)) * factor;
            lanes[lane] = product << 29 | product >> 35;
        }
    }
    uint64_t value = count;
    for (int lane = 0; lane < 4; lane++) {
        value ^= lanes[lane];
        for (int i = 0; i < 2; i++) value = (value ^ value >> 32) * factor;
        value ^= value >> 29;
    }
    return value;
}

/* What any snapshot of the base model begins with. */
static const uint8_t *beginning(void) {
    static uint8_t header[HEADER];
    if (!header[0]) {
        static uint8_t snapshot[1 << 16];
        llada_decoder *decoder = NULL;
        size_t count = 0;
        int32_t prompt[] = {1, 2, 3};
        EXPECT(llada_decoder_create(base_model(false), prompt, 3, NULL, &decoder, NULL) == LLADA_OK);
        EXPECT(llada_decoder_save(decoder, false, NULL, NULL, snapshot, sizeof snapshot, &count, NULL) == LLADA_OK);
        EXPECT(get(snapshot + count - CHECKSUM) == checksum(snapshot, count - CHECKSUM));
        llada_decoder_free(decoder);
        memcpy(header, snapshot, HEADER);
    }
    return header;
}

/* The rest is a body; behind it come so many bytes of keys and values. Returns a snapshot; free it. */
static span mended(span body, size_t pages, uint32_t kind) {
    span values = filling(pages, false);
    size_t count = HEADER + body.count + values.count + CHECKSUM;
    uint8_t *bytes = malloc(count);
    EXPECT(bytes);
    memcpy(bytes, beginning(), HEADER);
    put(bytes + 12, kind, 4);
    put(bytes + 32, count, 8);
    put(bytes + 40, body.count, 8);
    memcpy(bytes + HEADER, body.bytes, body.count);
    memcpy(bytes + HEADER + body.count, values.bytes, values.count);
    put(bytes + count - CHECKSUM, checksum(bytes, count - CHECKSUM), 8);
    return (span){bytes, count};
}

/* As it stands, but for the checksum. */
static span as_given(span all) {
    size_t count = all.count + CHECKSUM;
    uint8_t *bytes = malloc(count);
    EXPECT(bytes);
    memcpy(bytes, all.bytes, all.count);
    put(bytes + all.count, checksum(bytes, all.count), 8);
    return (span){bytes, count};
}

static span snapshot_of(span *input, uint8_t bits, uint32_t kind) {
    size_t pages = (size_t)take_u16(input) * 16;
    if (bits & 0x80) return as_given(*input);
    return mended(*input, pages, bits & 0x40 ? bits & 3 : kind);
}

/* What a decoder that came from it saves again must restore, and say the same. */
static void save_again(const llada_model *model, const llada_decoder *decoder) {
    static uint8_t first[1 << 20], second[1 << 20];
    size_t count = 0, again = 0;
    llada_error error = LLADA_ERROR_INIT;
    llada_status status = llada_decoder_save(decoder, false, NULL, NULL, first, sizeof first, &count, &error);
    if (status == LLADA_ERROR_BUFFER_TOO_SMALL) return;
    EXPECT(check_status(status, &error));
    llada_decoder *other = NULL;
    EXPECT(check_status(llada_decoder_restore(model, NULL, first, count, NULL, NULL, &other, &error), &error));
    EXPECT(check_status(llada_decoder_save(other, false, NULL, NULL, second, sizeof second, &again, &error), &error));
    EXPECT(again == count && !memcmp(first, second, count));
    llada_decoder_free(other);
}

/* Options; pages, in units of 16 bytes; the body. Bit 7: all of the snapshot. Bit 5: with a prefix cache. */
void fuzz_snapshot(const uint8_t *bytes, size_t count) {
    span input = {bytes, count};
    uint8_t bits = take_u8(&input);
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = base_model(false);
    llada_decoder *decoder = NULL;
    llada_prefix_cache *cache = NULL;
    span snapshot = snapshot_of(&input, bits, 1);
    if (bits & 0x20) EXPECT(llada_prefix_cache_create(model, 1 << 20, &cache, NULL) == LLADA_OK);
    llada_status status =
        llada_decoder_restore(model, cache, snapshot.bytes, snapshot.count, NULL, NULL, &decoder, &error);
    free((void *)snapshot.bytes);
    if (check_status(status, &error)) {
        check_decoder(model, decoder);
        save_again(model, decoder);
        /* Its policy may want more steps than there is time for. */
        status = run_bounded(decoder, 60, &error);
        if (!check_status(status, &error))
            EXPECT(status == LLADA_ERROR_STOPPED || status == LLADA_ERROR_NUMERIC ||
                   status == LLADA_ERROR_OUT_OF_MEMORY);
        check_decoder(model, decoder);
        if (status == LLADA_OK && !(bits & 0x10)) {
            check_status(llada_decoder_truncate(decoder, 4, &error), &error);
            check_decoder(model, decoder);
        }
        llada_decoder_free(decoder);
    } else
        EXPECT(!decoder);
    llada_prefix_cache_free(cache);
}

/* Options; pages, in units of 16 bytes; the body. Bit 7: all of the file. The low bits: the cache's room. */
void fuzz_prefix_cache(const uint8_t *bytes, size_t count) {
    span input = {bytes, count};
    uint8_t bits = take_u8(&input);
    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = base_model(false);
    llada_prefix_cache *cache = NULL;
    size_t added = 0, found = 0;
    span file = snapshot_of(&input, bits, 2);
    write_own("prefix.cache", &file, 1);
    free((void *)file.bytes);
    EXPECT(llada_prefix_cache_create(model, bits & 1 ? 2048 : 1 << 20, &cache, NULL) == LLADA_OK);
    for (int times = 0; times < 2; times++) {
        llada_status status = llada_prefix_cache_load(cache, own_path("prefix.cache"), NULL, NULL, &added, &error);
        if (!check_status(status, &error)) break;
        llada_prefix_cache_info info = LLADA_PREFIX_CACHE_INFO_INIT;
        EXPECT(llada_prefix_cache_get_info(cache, &info, NULL) == LLADA_OK);
        EXPECT(info.bytes <= info.max_bytes && info.pinned_blocks <= info.blocks);
        EXPECT(times == 0 || added == 0 || (bits & (1 | 16)));
        int32_t tokens[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
        check_status(llada_prefix_cache_pin(cache, tokens, 16, 4, bits & 2, &found, &error), &error);
        EXPECT(found <= 16);
        llada_decoder_options options;
        llada_decoder *decoder = NULL;
        EXPECT(llada_decoder_options_init(&options, sizeof options, NULL) == LLADA_OK);
        options.block_length = 4;
        options.gen_length = 4;
        options.prefix_cache = cache;
        EXPECT(check_status(llada_decoder_create(model, tokens, 12, &options, &decoder, &error), &error));
        status = run_bounded(decoder, 60, &error);
        if (!check_status(status, &error)) EXPECT(status == LLADA_ERROR_NUMERIC || status == LLADA_ERROR_OUT_OF_MEMORY);
        check_decoder(model, decoder);
        llada_decoder_free(decoder);
        if (bits & 8)
            check_status(llada_prefix_cache_save(cache, own_path("prefix.cache"), NULL, NULL, &error), &error);
        if (bits & 16) EXPECT(llada_prefix_cache_clear(cache, NULL) == LLADA_OK);
    }
    llada_prefix_cache_free(cache);
}
