#ifndef LLADA_H
#define LLADA_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if defined(__GNUC__)
#define LLADA_API __attribute__((visibility("default")))
#else
#define LLADA_API
#endif
#ifdef __cplusplus
extern "C" {
#endif
LLADA_API uint32_t llada_version(void);
#ifdef __cplusplus
}
#endif
#endif
