/* CLLaDA.h - what Swift sees as the module CLLaDA: all of llada.h, the experimental part included. */
#ifndef CLLADA_H
#define CLLADA_H

#define LLADA_EXPERIMENTAL
#include "llada.h"

#endif
