// models/kernel_texts.h - the files of kernels.dsl/, carried inside the program (made by the build).
#ifndef MODELS_KERNEL_TEXTS_H
#define MODELS_KERNEL_TEXTS_H
#include "runtime/kernel.h"

extern const KernelText kernel_texts[];
extern const int32_t kernel_n_texts;
#endif
