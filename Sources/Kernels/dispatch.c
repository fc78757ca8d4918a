#include "kernels.h"

llk_isa llk_best_isa(void) { return LLK_PORTABLE; }
