// cli/session.h - what `run`, `info` and `doctor` open: a device, its kernels, a model, an engine.
#ifndef CLI_SESSION_H
#define CLI_SESSION_H
#include "cli/command.h"
#include "runtime/engine.h"

typedef struct Session {
    Device *dev;
    KernelCache *kernels;
    Model *model;
    Engine *engine;
    Log log;
    const char *path;    ///< of the model, borrowed
    double load_seconds; ///< model and engine
} Session;

/// Opens device and kernel cache. @return as device_open
MUST_USE KilnStatus session_device(Session *x, const Settings *s, Arena *arena, Diag *diag);
/// Opens the model's headers and tokenizer (after session_device).
MUST_USE KilnStatus session_model(Session *x, const Settings *s, Diag *diag);
/// Engine options from the settings.
MUST_USE KilnStatus session_options(const Settings *s, int32_t n_slots, EngineOptions *out,
                                    Diag *diag);
/// Loads weights and opens the engine.
MUST_USE KilnStatus session_engine(Session *x, const EngineOptions *options, Diag *diag);
/// Closes what is open, in reverse order.
void session_close(Session *x);

/// "1.23 GiB"; arena.
const char *bytes_text(Arena *arena, double bytes);
#endif
