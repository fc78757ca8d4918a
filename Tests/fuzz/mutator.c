/*
 * Mutations that keep JSON whole. Most doors read JSON somewhere in their input, and an arbitrary change of bytes
 * mostly ends in "not JSON", before anything of interest. So half of the mutations change one of its tokens, or a
 * member, and leave the rest as it is. They find tokens by their looks, wherever they stand; in other inputs they find
 * few.
 */
#include "fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t count, size_t capacity);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t count, size_t capacity, unsigned seed);

typedef struct {
    uint8_t *bytes;
    size_t count, capacity;
    uint32_t random;
} text;

/* One of 0 ... below - 1. */
static size_t pick(text *t, size_t below) {
    t->random = t->random * 1664525 + 1013904223;
    return (t->random >> 8) % (below ? below : 1);
}

typedef struct {
    size_t start, end; /* empty: none */
} range;

/* Puts bytes in place of some. Returns whether they have room. */
static bool replace(text *t, range old, const void *bytes, size_t count) {
    if (t->count - (old.end - old.start) + count > t->capacity) return false;
    memmove(t->bytes + old.start + count, t->bytes + old.end, t->count - old.end);
    memcpy(t->bytes + old.start, bytes, count);
    t->count = t->count - (old.end - old.start) + count;
    return true;
}

static bool replace_by(text *t, range old, range other) {
    uint8_t copy[4096];
    size_t count = other.end - other.start;
    if (!count || count > sizeof copy) return false;
    memcpy(copy, t->bytes + other.start, count);
    return replace(t, old, copy, count);
}

static bool is_of_number(uint8_t byte) { return (byte >= '0' && byte <= '9') || strchr("+-.eE", byte ? byte : 'x'); }

/* The next token of one kind behind a place: what stands in quotes, without them, or a number. */
static range token_at(const text *t, size_t place, bool in_quotes) {
    if (in_quotes) {
        const uint8_t *open = memchr(t->bytes + place, '"', t->count - place);
        if (!open) return (range){0, 0};
        size_t start = (size_t)(open - t->bytes) + 1, end = start;
        while (end < t->count && t->bytes[end] != '"') end += t->bytes[end] == '\\' ? 2 : 1;
        return end < t->count ? (range){start, end} : (range){0, 0};
    }
    while (place < t->count && !(t->bytes[place] >= '0' && t->bytes[place] <= '9')) place++;
    size_t end = place;
    while (end < t->count && is_of_number(t->bytes[end])) end++;
    return (range){place, end};
}

static range some_token(text *t, bool in_quotes) {
    size_t place = pick(t, t->count);
    /* Not from within quotes: behind the next end of one. */
    if (in_quotes)
        while (place < t->count && !strchr(",:{[", t->bytes[place] ? t->bytes[place] : 'x')) place++;
    return token_at(t, place, in_quotes);
}

/* A value with the comma before it, or a member. */
static range some_member(text *t) {
    size_t start = pick(t, t->count), end;
    while (start < t->count && t->bytes[start] != ',') start++;
    int depth = 0;
    for (end = start + 1; end < t->count; end++) {
        uint8_t byte = t->bytes[end];
        if (byte == '"') {
            range inside = token_at(t, end, true);
            if (!inside.end) break;
            end = inside.end;
        } else if (byte == '{' || byte == '[')
            depth++;
        else if (byte == '}' || byte == ']') {
            if (depth-- == 0) break;
        } else if (byte == ',' && depth == 0)
            break;
    }
    return start < t->count && end < t->count ? (range){start, end} : (range){0, 0};
}

static bool change_number(text *t) {
    static const char *const odd[] = {"0",
                                      "1",
                                      "-1",
                                      "2",
                                      "3",
                                      "4",
                                      "8",
                                      "32",
                                      "64",
                                      "65536",
                                      "2147483647",
                                      "4294967296",
                                      "1e308",
                                      "0.5",
                                      "1.0",
                                      "-0.0",
                                      "16777216",
                                      "9223372036854775807",
                                      "null",
                                      "true",
                                      "[]",
                                      "\"\"",
                                      "18446744073709551615",
                                      "1e-30"};
    range number = some_token(t, false);
    if (number.start == number.end) return false;
    char changed[32];
    switch (pick(t, 4)) {
    case 0: return replace_by(t, number, some_token(t, false));
    case 1: {
        const char *value = odd[pick(t, sizeof odd / sizeof *odd)];
        return replace(t, number, value, strlen(value));
    }
    default: {
        static const int64_t steps[] = {1, -1, 2, -2, 4, 8, -8, 64, 1 << 20};
        size_t length = number.end - number.start < 20 ? number.end - number.start : 20;
        memcpy(changed, t->bytes + number.start, length);
        changed[length] = 0;
        uint64_t value = strtoull(changed, NULL, 10) + (uint64_t)steps[pick(t, sizeof steps / sizeof *steps)];
        int count = snprintf(changed, sizeof changed, "%lld", (long long)value);
        return replace(t, number, changed, (size_t)count);
    }
    }
}

static bool change_string(text *t) {
    range string = some_token(t, true);
    if (!string.end) return false;
    if (pick(t, 2)) return replace_by(t, string, some_token(t, true));
    uint8_t changed[512];
    size_t count = string.end - string.start;
    if (count > sizeof changed / 2) return false;
    memcpy(changed, t->bytes + string.start, count);
    count = LLVMFuzzerMutate(changed, count, sizeof changed);
    for (size_t i = 0; i < count; i++)
        if (changed[i] == '"' || changed[i] < 0x20) changed[i] = 'x';
    return replace(t, string, changed, count);
}

static bool change_member(text *t) {
    range member = some_member(t);
    if (!member.end) return false;
    switch (pick(t, 3)) {
    case 0: return replace(t, member, "", 0);
    case 1: return replace_by(t, (range){member.end, member.end}, member);
    default: return replace_by(t, member, some_member(t));
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t count, size_t capacity, unsigned seed) {
    text t = {bytes, count, capacity, seed};
    if (count < 8 || pick(&t, 2) || !memchr(bytes, '"', count)) return LLVMFuzzerMutate(bytes, count, capacity);
    bool changed = false;
    for (size_t changes = 1 + pick(&t, 3); changes > 0; changes--) switch (pick(&t, 4)) {
        case 0:
        case 1: changed |= change_number(&t); break;
        case 2: changed |= change_string(&t); break;
        default: changed |= change_member(&t);
        }
    return changed ? t.count : LLVMFuzzerMutate(bytes, count, capacity);
}
