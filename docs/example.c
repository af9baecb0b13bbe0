// docs/example.c - libkiln in one sitting: write a kernel, compile it, launch it; then let a model speak.
//
//     cc example.c $(pkg-config --cflags --libs kiln) -o example
//     ./example                       a softmax over 1000 rows, checked
//     ./example MODEL.gguf "Once"     and a text
#include <kiln.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char softmax_py[] =
    "import triton\n"
    "import triton.language as tl\n"
    "\n"
    "@triton.jit\n"
    "def softmax(y, x, n, BLOCK: tl.constexpr):\n"
    "    row = tl.program_id(0)\n"
    "    col = tl.arange(0, BLOCK)\n"
    "    live = col < n\n"
    "    v = tl.load(x + row * n + col, mask=live, other=-float('inf'))\n"
    "    e = tl.exp(v - tl.max(v, axis=0))\n"
    "    tl.store(y + row * n + col, e / tl.sum(e, axis=0), mask=live)\n";

enum { ROWS = 1000, N = 300 };

static int give_up(const KilnError *error, const char *what)
{
    fprintf(stderr, "%s\n%s", what, kiln_error_message(error));
    return 1;
}

/// Largest distance from a softmax in double.
static double worst(const float *y, const float *x)
{
    double most = 0;
    for (int row = 0; row < ROWS; row++) {
        double sum = 0;
        for (int i = 0; i < N; i++)
            sum += exp((double)x[row * N + i]);
        for (int i = 0; i < N; i++)
            most = fmax(most, fabs(y[row * N + i] - exp((double)x[row * N + i]) / sum));
    }
    return most;
}

static int run_kernel(KilnDevice *device, KilnError *error)
{
    KilnSource *source;
    KilnKernel *kernel;
    KilnBuffer *x, *y;
    static float in[ROWS * N], out[ROWS * N];
    for (int i = 0; i < ROWS * N; i++)
        in[i] = (float)sin(i * 0.7) * 3;

    if (kiln_source_from_text("softmax.py", softmax_py, strlen(softmax_py), &source, error))
        return give_up(error, "source");
    if (kiln_compile(device, source, "softmax(y: *f32, x: *f32, n: i32, BLOCK=512)", &kernel,
                     error))
        return give_up(error, "compile");
    if (kiln_buffer_alloc(device, sizeof in, &x, error) ||
        kiln_buffer_alloc(device, sizeof out, &y, error))
        return give_up(error, "memory");
    kiln_buffer_upload(x, 0, in, sizeof in, error);

    KilnArg args[] = {kiln_arg_buffer("y", y), kiln_arg_buffer("x", x), kiln_arg_int("n", N)};
    if (kiln_launch(kernel, (int32_t[]){ROWS, 1, 1}, 3, args, error))
        return give_up(error, "launch");
    kiln_buffer_download(y, 0, out, sizeof out, error);
    printf("softmax: error %.1e\n", worst(out, in));

    // A wrong argument is a message, not a crash.
    args[2] = kiln_arg_float("n", 300.0);
    if (kiln_launch(kernel, (int32_t[]){ROWS, 1, 1}, 3, args, error) != KILN_ERR_INPUT) return 1;
    printf("[%s] %s", kiln_error_code(error), kiln_error_message(error));

    kiln_buffer_free(x);
    kiln_buffer_free(y);
    kiln_source_free(source);
    return worst(out, in) < 1e-6 ? 0 : 1;
}

static bool print_text(void *user, const char *text, size_t len, int32_t token)
{
    (void)user;
    (void)token;
    fwrite(text, 1, len, stdout);
    fflush(stdout);
    return true; // false would end the request
}

static int run_model(KilnDevice *device, const char *path, const char *prompt, KilnError *error)
{
    KilnModel *model;
    KilnEngine *engine;
    if (kiln_model_load(device, path, &model, error)) return give_up(error, path);
    KilnEngineOptions options = {.size = sizeof options, .max_context = 256};
    if (kiln_engine_create(model, &options, &engine, error)) return give_up(error, "engine");
    KilnRequest request = {
        .size = sizeof request, .prompt = prompt, .n_predict = 60, .on_text = print_text};
    printf("%s", prompt);
    if (kiln_generate(engine, &request, NULL, error)) return give_up(error, "generate");
    KilnEngineStats stats = {.size = sizeof stats};
    kiln_engine_stats(engine, &stats, error);
    printf("\n%lld tokens, %.0f per second\n", (long long)stats.decode_tokens,
           (double)stats.decode_tokens * 1e6 / (double)(stats.decode_us ? stats.decode_us : 1));
    kiln_engine_free(engine);
    kiln_model_free(model);
    return 0;
}

int main(int argc, char **argv)
{
    KilnError *error = kiln_error_new();
    KilnDevice *device;
    KilnDeviceOptions options = {.size = sizeof options, .name = "cpu"};
    if (kiln_device_open(&options, &device, error)) return give_up(error, "device");
    KilnDeviceInfo info = {.size = sizeof info};
    kiln_device_info(device, &info, error);
    printf("kiln %s on %s, %d threads\n", kiln_version(), info.model, info.n_threads);
    int rc = run_kernel(device, error);
    if (rc == 0 && argc > 2) rc = run_model(device, argv[1], argv[2], error);
    kiln_device_close(device);
    kiln_error_free(error);
    return rc;
}
