// bench/gpu_suite/stages.h - the stages, and what the program carries inside.
#ifndef BENCH_GPU_SUITE_STAGES_H
#define BENCH_GPU_SUITE_STAGES_H
#include "bench/gpu_suite/suite.h"

enum {
    CARDS_LOST = 5
}; ///< exit status: a card brought the device down, next-card says where to go on

extern const uint8_t suite_pack[], suite_pack_end[];    ///< pack.h
extern const uint8_t suite_model[], suite_model_end[];  ///< kiln-tiny.gguf
extern const char suite_kernels[], suite_kernels_end[]; ///< suite.py
extern const char suite_peers[], suite_peers_end[];     ///< gpu_peers.py
#endif
