// tests/fake/core.c - state, log, objections, objects and queues of the fake driver.
#include "core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// ---- state ------------------------------------------------------------------------------------

static const char *const kind_names[] = {"memory", "host memory", "module", "function", "stream",
                                         "event",  "graph",       "exec",   "link",     "context"};

const char *kind_name(Kind kind)
{
    return kind_names[kind];
}

static const char kind_letters[] = "dhmfsegxlc";

struct State fake_state;
_Thread_local struct Current fake_current;

static void lines_add(Lines *l, const char *line)
{
    size_t n = strlen(line);
    if (l->len + n + 2 > l->cap) {
        l->cap = (l->len + n + 2) * 2;
        l->text = realloc(l->text, l->cap);
    }
    memcpy(l->text + l->len, line, n);
    l->len += n;
    l->text[l->len++] = '\n';
    l->text[l->len] = 0;
}

EXPORT void fake_object(const char *fmt, ...)
{
    va_list args;
    char line[512];
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    lines_add(&S.errors, line);
}

static void set_defaults(void)
{
    S.driver = 12040, S.devices = 1, S.major = 8, S.minor = 0, S.pools = 1;
    S.memory = (int64_t)8 << 30;
}

/// FAKE_CUDA="driver=11040 fail=cuInit:1:100".
static void read_environment(void)
{
    const char *env = getenv("FAKE_CUDA");
    S.env_read = true;
    if (!env) return;
    char *text = strdup(env), *rest = text, *word;
    while ((word = strsep(&rest, " "))) {
        char call[64];
        int nth, error;
        char *value = strchr(word, '=');
        if (!value) continue;
        *value++ = 0;
        if (!strcmp(word, "fail") && sscanf(value, "%63[^:]:%d:%d", call, &nth, &error) == 3)
            fake_fail(call, nth, error);
        else
            fake_set(word, strtoll(value, NULL, 0));
    }
    free(text);
}

void ops_free(Ops *o)
{
    for (int i = 0; i < o->n; i++)
        free(o->data[i].payload);
    free(o->data);
    *o = (Ops){0};
}

EXPORT void fake_reset(void)
{
    for (int i = 0; i < S.n_objects; i++) {
        Object *o = S.objects[i];
        ops_free(&o->ops);
        if (o->kind == MEMORY || o->kind == HOST) munmap(o->at, o->bytes);
        free(o->text);
        free(o->image);
        free(o);
    }
    free(S.objects);
    free(S.log.text);
    free(S.errors.text);
    memset(&S, 0, sizeof S);
    memset(&fake_current, 0, sizeof fake_current);
    set_defaults();
    S.env_read = true;
}

__attribute__((constructor)) static void begin(void)
{
    set_defaults();
    read_environment();
}

EXPORT void fake_set(const char *name, int64_t value)
{
    const struct {
        const char *name;
        int64_t *at;
    } fields[] = {{"driver", &S.driver}, {"devices", &S.devices},  {"major", &S.major},
                  {"minor", &S.minor},   {"memory", &S.memory},    {"pools", &S.pools},
                  {"ptx", &S.ptx},       {"clusters", &S.clusters}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!strcmp(fields[i].name, name)) {
            *fields[i].at = value;
            return;
        }
    fake_object("fake_set: no setting is named %s", name);
}

EXPORT void fake_fail(const char *call, int32_t nth, int32_t error)
{
    Script *s = &S.scripts[S.n_scripts++ % 32];
    snprintf(s->call, sizeof s->call, "%s", call);
    s->nth = nth, s->error = error;
}

EXPORT const char *fake_log(void)
{
    return S.log.text ? S.log.text : "";
}

EXPORT void fake_clear_log(void)
{
    S.log.len = 0;
    if (S.log.text) *S.log.text = 0;
    S.n_counts = 0;
}

EXPORT int32_t fake_count(const char *call)
{
    for (int i = 0; i < S.n_counts; i++)
        if (!strcmp(S.counts[i].name, call)) return S.counts[i].n;
    return 0;
}

EXPORT const char *fake_errors(void)
{
    return S.errors.text ? S.errors.text : "";
}

EXPORT void fake_hook(FakeKernel run, void *user)
{
    S.hook = run, S.user = user;
}

EXPORT void fake_track(const char *kind, int change)
{
    S.tracked += change;
    if (S.tracked < 0) fake_object("%s is destroyed twice", kind);
}

bool counts_as_alive(const Object *o)
{
    return o->alive && o->kind != FUNCTION && o->kind != CONTEXT && !o->is_leaving;
}

EXPORT int32_t fake_live(void)
{
    int32_t n = S.tracked;
    for (int i = 0; i < S.n_objects; i++)
        n += counts_as_alive(S.objects[i]);
    return n;
}

static void count(const char *call)
{
    int i = 0;
    while (i < S.n_counts && strcmp(S.counts[i].name, call) != 0)
        i++;
    if (i == S.n_counts && i < 128) {
        snprintf(S.counts[i].name, sizeof S.counts[i].name, "%s", call);
        S.counts[S.n_counts++].n = 0;
    }
    if (i < 128) S.counts[i].n++;
}

/// The error that a script has for this call now, or 0.
static int scripted(const char *call)
{
    for (int i = 0; i < S.n_scripts; i++)
        if (!strcmp(S.scripts[i].call, call) && S.scripts[i].nth > 0 && --S.scripts[i].nth == 0)
            return S.scripts[i].error;
    return 0;
}

bool is_final(int e)
{
    return e == 700 || e == 702 || e == 710 || (e >= 714 && e <= 719);
}

int current_device(void)
{
    return fake_current.depth ? fake_current.stack[fake_current.depth - 1]->device : -1;
}

EXPORT int fake_enter(const char *call, const char *fmt, ...)
{
    va_list args;
    char text[400];
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char line[512];
    snprintf(line, sizeof line, "%s%s%s", call, *text ? " " : "", text);
    lines_add(&S.log, line);
    count(call);
    return scripted(call);
}

static Object *capturing(void)
{
    for (int i = 0; i < S.n_objects; i++)
        if (S.objects[i]->kind == STREAM && S.objects[i]->alive && S.objects[i]->is_capturing)
            return S.objects[i];
    return NULL;
}

/// Checks the needs of a call that was just logged. @return an error or 0
int needs(const char *call, int what, int error)
{
    enum { RELAXED = 2 };
    if (what & INIT && !S.is_init) {
        fake_object("%s before cuInit", call);
        return 3;
    }
    int device = current_device();
    if (what & CURRENT && device < 0) {
        fake_object("%s without a current context", call);
        return 201;
    }
    if (what & CURRENT && S.poisoned[device]) return S.poisoned[device];
    Object *s = what & OUTSIDE_CAPTURE ? capturing() : NULL;
    if (s && s->capture_mode != RELAXED) {
        fake_object("%s while stream s%d is being captured", call, s->id);
        s->capture_failed = true;
        return 900;
    }
    for (int i = 0; i < 16 && is_final(error); i++)
        if (i == device || (device < 0 && S.contexts[i])) S.poisoned[i] = error;
    return error;
}

// ---- objects ----------------------------------------------------------------------------------

Object *object_new(Kind kind)
{
    if (S.n_objects == S.cap_objects) {
        S.cap_objects = S.cap_objects ? 2 * S.cap_objects : 64;
        S.objects = realloc(S.objects, sizeof *S.objects * (size_t)S.cap_objects);
    }
    Object *o = calloc(1, sizeof *o);
    o->kind = kind, o->alive = true, o->device = current_device();
    static int ids;
    o->id = ++ids;
    S.objects[S.n_objects++] = o;
    return o;
}

/// "s3": how the log names a handle.
const char *name_of(const void *handle)
{
    static char names[8][24];
    static int turn;
    char *out = names[turn++ % 8];
    const Object *o = handle;
    for (int i = 0; i < S.n_objects; i++)
        if (S.objects[i] == o) {
            snprintf(out, 24, "%c%d", kind_letters[o->kind], o->id);
            return out;
        }
    snprintf(out, 24, handle ? "unknown" : "null");
    return out;
}

/// The object behind a handle, if it is of this kind, alive, and of the current context.
Object *object_of(const char *call, const void *handle, Kind kind)
{
    for (int i = 0; i < S.n_objects; i++) {
        Object *o = S.objects[i];
        if (o != handle || o->kind != kind) continue;
        if (!o->alive) {
            fake_object("%s of %s %s, which was destroyed", call, kind_names[kind], name_of(o));
            return NULL;
        }
        if (kind != CONTEXT && o->device != current_device()) {
            fake_object("%s of %s %s in another context", call, kind_names[kind], name_of(o));
            return NULL;
        }
        return o;
    }
    fake_object("%s of a %s that never was", call, kind_names[kind]);
    return NULL;
}

/// The allocation around an address, alive or not.
Object *memory_at(const void *at)
{
    for (int i = S.n_objects - 1; i >= 0; i--) {
        Object *o = S.objects[i];
        if ((o->kind == MEMORY || o->kind == HOST) && (char *)at >= o->at &&
            (char *)at < o->at + o->bytes)
            return o;
    }
    return NULL;
}

const char *address_name(const void *at)
{
    static char names[4][40];
    static int turn;
    char *out = names[turn++ % 4];
    Object *o = memory_at(at);
    if (o)
        snprintf(out, 40, "%s+%zu", name_of(o), (size_t)((char *)at - o->at));
    else
        snprintf(out, 40, "host");
    return out;
}

EXPORT bool fake_check_memory(const char *call, const void *at, size_t bytes)
{
    Object *o = memory_at(at);
    if (!o || o->kind != MEMORY)
        fake_object("%s: %p is not device memory", call, at);
    else if (!o->alive || o->is_leaving)
        fake_object("%s: memory %s was freed", call, name_of(o));
    else if ((size_t)(o->at + o->bytes - (char *)at) < bytes)
        fake_object("%s: %zu bytes at %s end behind it (%zu bytes)", call, bytes, address_name(at),
                    o->bytes);
    else if (o->device != current_device())
        fake_object("%s: memory %s of another device", call, name_of(o));
    else
        return true;
    return false;
}

// ---- queues -----------------------------------------------------------------------------------

void ops_add(Ops *to, Op op)
{
    if (to->n == to->cap) {
        to->cap = to->cap ? 2 * to->cap : 16;
        to->data = realloc(to->data, sizeof *to->data * (size_t)to->cap);
    }
    if (op.payload_bytes) {
        void *copy = malloc(op.payload_bytes);
        memcpy(copy, op.payload, op.payload_bytes);
        op.payload = copy;
    } else
        op.payload = NULL;
    to->data[to->n++] = op;
}

/// Queued on the stream, or part of the graph that is being captured from it: both are the stream's list.
int queue(const char *call, void *stream, Op op)
{
    Object *s = object_of(call, stream, STREAM);
    if (!s) return 400;
    ops_add(&s->ops, op);
    return 0;
}

static int run_kernel(const Op *op)
{
    char name[160];
    Object *f = op->object;
    snprintf(name, sizeof name, "run/%s", f->entry);
    count(name);
    int e = scripted(name);
    if (e) return e;
    if (!S.hook) return 0;
    FakeLaunch l = {.entry = f->entry,
                    .ptx = f->module->text,
                    .shared_bytes = op->shared,
                    .args = op->payload,
                    .args_bytes = op->payload_bytes};
    memcpy(l.grid, op->grid, sizeof l.grid);
    memcpy(l.block, op->block, sizeof l.block);
    return S.hook(S.user, &l);
}

static int run_op(Object *s, const Op *op)
{
    s->time += 1e-3; // a thousandth of a second each: events can be told apart
    switch (op->kind) {
    case OP_COPY:
        memmove(op->dst, op->src, op->bytes);
        return 0;
    case OP_SET:
        memset(op->dst, op->value, op->bytes);
        return 0;
    case OP_RUN:
        return run_kernel(op);
    case OP_RECORD:
        op->object->time = s->time;
        return 0;
    case OP_FREE:
        op->object->alive = false;
        S.used -= (int64_t)op->object->bytes;
        mprotect(op->object->at, op->object->bytes, PROT_NONE);
        return 0;
    case OP_CALL:
        op->call(op->payload);
        return 0;
    }
    return 0;
}

/// Runs what is queued, up to and with the record of `until` (NULL: everything).
int drain(Object *s, const Object *until)
{
    int last = s->ops.n - 1;
    while (until && last >= 0 &&
           !(s->ops.data[last].kind == OP_RECORD && s->ops.data[last].object == until))
        last--;
    int e = 0;
    for (int i = 0; i <= last; i++) {
        if (!e) e = run_op(s, &s->ops.data[i]);
        free(s->ops.data[i].payload);
    }
    memmove(s->ops.data, s->ops.data + last + 1, sizeof(Op) * (size_t)(s->ops.n - last - 1));
    s->ops.n -= last + 1;
    if (e && is_final(e)) S.poisoned[s->device] = e;
    return e;
}

EXPORT int fake_enqueue(void *stream, const char *call, void (*run)(const void *),
                        const void *payload, size_t size)
{
    Op op = {
        .kind = OP_CALL, .call = run, .payload = (void *)(uintptr_t)payload, .payload_bytes = size};
    return queue(call, stream, op);
}

// ---- the end ----------------------------------------------------------------------------------

__attribute__((destructor)) static void end(void)
{
    for (int i = 0; i < 16; i++)
        if (S.contexts[i]) {
            fake_object("leak: context of device %d", i);
            report_leaks(i);
        }
    const char *path = getenv("FAKE_CUDA_LOG");
    FILE *f = path ? fopen(path, "w") : NULL;
    if (!f) return;
    fprintf(f, "%sOBJECTIONS\n%sEND\n", fake_log(), fake_errors());
    fclose(f);
}
