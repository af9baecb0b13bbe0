// tests/fake/core.h - what the files of the fake driver share: objects, queues, and the check before a call.
#ifndef TESTS_FAKE_CORE_H
#define TESTS_FAKE_CORE_H
#include "fake.h"

#define EXPORT __attribute__((visibility("default")))

typedef enum Kind {
    MEMORY,
    HOST,
    MODULE,
    FUNCTION,
    STREAM,
    EVENT,
    GRAPH,
    EXEC,
    LINK,
    CONTEXT,
} Kind;

typedef enum OpKind { OP_COPY, OP_SET, OP_RUN, OP_RECORD, OP_FREE, OP_CALL } OpKind;

typedef struct Object Object;

typedef struct Op {
    OpKind kind;
    char *dst;
    const char *src;
    size_t bytes;
    int value;
    Object *object; // function, event, memory
    unsigned grid[3], block[3], shared;
    void *payload; // arguments of a launch, data of a call; owned
    size_t payload_bytes;
    void (*call)(const void *payload);
} Op;

typedef struct Ops {
    Op *data;
    int n, cap;
} Ops;

struct Object {
    Kind kind;
    int id, device;
    bool alive;
    char *at; // MEMORY, HOST
    size_t bytes;
    bool is_async;   // MEMORY of the pool
    bool is_leaving; // MEMORY: its free is queued
    char *text;      // MODULE, LINK: PTX
    void *image;     // LINK: what cuLinkComplete gave
    Object *module;  // FUNCTION
    char entry[128];
    int n_params, param_bytes[64];
    size_t args_bytes;
    unsigned threads, shared_limit;
    Ops ops; // STREAM: queued; GRAPH, EXEC: captured
    bool is_capturing, capture_failed;
    int capture_mode;
    double time; // STREAM, EVENT
    bool is_recorded;
    int refs; // CONTEXT
};

typedef struct Script {
    char call[64];
    int nth, error;
} Script;

/// Text that grows by lines.
typedef struct Lines {
    char *text;
    size_t len, cap;
} Lines;

struct State {
    bool is_init, env_read;
    int64_t driver, devices, major, minor, memory, pools, clusters, ptx;
    Object **objects;
    int n_objects, cap_objects;
    Object *contexts[16];
    int poisoned[16];
    Script scripts[32];
    int n_scripts;
    Lines log, errors;
    struct {
        char name[64];
        int n;
    } counts[128];
    int n_counts;
    int64_t used;
    int tracked;
    FakeKernel hook;
    void *user;
};

/// The contexts of a thread, innermost last.
struct Current {
    Object *stack[16];
    int depth;
};

extern struct State fake_state;
extern _Thread_local struct Current fake_current;
#define S fake_state

/// What a call needs before it may be made.
enum { FREE = 0, INIT = 1, CURRENT = 2, OUTSIDE_CAPTURE = 4 };

#define ENTER(what, ...)                                                                           \
    do {                                                                                           \
        int error_ = needs(__func__, what, fake_enter(__func__, __VA_ARGS__));                     \
        if (error_) return error_;                                                                 \
    } while (0)

typedef unsigned long long Address;

const char *kind_name(Kind kind);
int needs(const char *call, int what, int error);
Object *object_new(Kind kind);
const char *name_of(const void *handle);
Object *object_of(const char *call, const void *handle, Kind kind);
Object *memory_at(const void *at);
const char *address_name(const void *at);
void ops_add(Ops *to, Op op);
void ops_free(Ops *o);
int queue(const char *call, void *stream, Op op);
int drain(Object *s, const Object *until);
bool counts_as_alive(const Object *o);
int current_device(void);
bool is_final(int e);
void report_leaks(int dev);
int take(Kind kind, size_t bytes, bool is_async, Object **out);
void give(Object *o);
Object *allocation(const char *call, const void *at, Kind kind);
int launch(const char *call, void *fn, const unsigned grid[3], const unsigned block[3],
           unsigned shared, void *stream, void **params, void **extra);
bool check_args(const Object *f, const char *args);
#endif
