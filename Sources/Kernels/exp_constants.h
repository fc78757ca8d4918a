/* exp_constants.h - the definitions of exp and of 2^x: polynomials and ranges. */
#ifndef LLADA_KERNELS_EXP_CONSTANTS_H
#define LLADA_KERNELS_EXP_CONSTANTS_H

/* exp(x) = 2^n e^r, n = x log2(e) to the nearest integer, r = x - n ln 2 with ln 2 in two parts;
 * e^r = 1 + r + r^2 q(r), q interpolating at the Chebyshev nodes of |r| <= ln(2) / 2: relative error 1.1e-8. */
#define EXP_LOWEST -0x1.5d589ep+6f /* the last x whose exp is a normal number */
#define EXP_HIGHEST 0x1.62e42ep+6f /* the last x whose exp is finite */
#define EXP_LOG2E 0x1.715476p+0f
#define EXP_LN2_HIGH 0x1.62e43p-1f
#define EXP_LN2_LOW -0x1.05c61p-29f
#define EXP_C2 0x1p-1f
#define EXP_C3 0x1.5554dcp-3f
#define EXP_C4 0x1.55551ap-5f
#define EXP_C5 0x1.120ba2p-7f
#define EXP_C6 0x1.6d113cp-10f

/* 2^x = 2^n 2^r, n the nearest integer to x, r = x - n; 2^r = 1 + r q(r), q interpolating at the Chebyshev nodes of
 * |r| <= 1 / 2: relative error 7.0e-6. Where x >= -126, 2^n 2^r is normal, for r < 0 only with n > -126. */
#define EXP2_LOWEST -126.0f
#define EXP2_C1 0x1.62e2d2p-1f
#define EXP2_C2 0x1.ebfb3ep-3f
#define EXP2_C3 0x1.c96d5ep-5f
#define EXP2_C4 0x1.3c6e5cp-7f

#endif
