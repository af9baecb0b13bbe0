"""peer.py - what compare-llamacpp and compare_logits.py share: the machine, processes with their cost, llama.cpp's own program.

A process is started, waited for and accounted: its JSON lines, its peak memory, its time, and the share of all CPUs that
other programs used meanwhile (the kernel's busy time less that of the process and of the busy loop put beside it).
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


# ---- the machine ------------------------------------------------------------------------------------------------


def cpu_name():
    with open("/proc/cpuinfo") as f:
        fields = dict((k.strip(), v.strip()) for k, _, v in (line.partition(":") for line in f))
    flags = fields.get("flags", fields.get("Features", "")).split()
    level = next((name for name in ("avx512_bf16", "avx512_vnni", "avx512f", "avx_vnni", "avx2", "i8mm", "asimddp") if name in flags), "")
    return f"{fields.get('model name', fields.get('CPU part', 'unknown CPU'))}, {len(os.sched_getaffinity(0))} CPUs, {level}"


def busy_seconds():
    """CPU time that all programs have used."""
    with open("/proc/stat") as f:
        user, nice, system, _idle, _wait, irq, soft, *_ = map(int, f.readline().split()[1:])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def used(usage):
    return usage.ru_utime + usage.ru_stime


class BusyLoop:
    """A program that computes on the last CPU for as long as the block lasts; afterwards `seconds` is what it got."""

    def __init__(self, wanted):
        self.wanted, self.seconds = wanted, 0.0

    def __enter__(self):
        if self.wanted:
            cpu = max(os.sched_getaffinity(0))
            self.child = subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
        return self

    def __exit__(self, *_):
        if self.wanted:
            self.child.send_signal(signal.SIGKILL)
            _, status, usage = os.wait4(self.child.pid, 0)
            self.child.returncode = os.waitstatus_to_exitcode(status)
            self.seconds = used(usage)


class Run:
    """One process. `rows`: the lines of its output that are JSON objects; `rss` in bytes; `others` 0 to 1; `wall` in seconds."""

    def __init__(self, command, busy=False):
        before, start = busy_seconds(), time.monotonic()
        with BusyLoop(busy) as loop, tempfile.TemporaryFile("w+") as err:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
            out = child.stdout.read()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            self.wall = time.monotonic() - start
            if child.returncode:
                err.seek(0)
                sys.exit(f"{' '.join(command)}\nends with {child.returncode}:\n{err.read()}")
        total = busy_seconds() - before - used(usage) - loop.seconds
        self.others = max(0.0, total / (self.wall * os.cpu_count()))
        self.rss = usage.ru_maxrss * 1024
        self.rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]


# ---- llama.cpp --------------------------------------------------------------------------------------------------


def libraries(build):
    names = ["src/libllama.a", "ggml/src/libggml.a", "ggml/src/libggml-cpu.a", "ggml/src/libggml-base.a"]
    return [os.path.join(build, n) for n in names]


def build_peer(llama_bench):
    """Builds llama_peer.c against the static libraries of llama-bench's build tree, in llama-bench's folder, unless it is there and
    newer. @return its path; without the libraries the program ends"""
    folder = os.path.dirname(os.path.abspath(llama_bench))
    build, out, source = os.path.dirname(folder), os.path.join(folder, "llama_peer"), os.path.join(HERE, "llama_peer.c")
    needs = libraries(build) + [source]
    missing = [n for n in needs if not os.path.exists(n)]
    if missing:
        sys.exit(f"{missing[0]}: not there; llama-bench is taken from its build tree, with -DBUILD_SHARED_LIBS=OFF (see --help)")
    if os.path.exists(out) and all(os.path.getmtime(out) >= os.path.getmtime(n) for n in needs):
        return out
    with open(os.path.join(build, "CMakeCache.txt")) as f:
        home = re.search(r"^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$", f.read(), re.M).group(1)
    obj = out + ".o"
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-c", source, "-o", obj, f"-I{home}/include", f"-I{home}/ggml/include"], check=True)
    subprocess.run([os.environ.get("CXX", "c++"), obj, "-Wl,--start-group", *libraries(build), "-Wl,--end-group", "-fopenmp", "-lpthread",
                    "-ldl", "-lm", "-o", out], check=True)
    os.remove(obj)
    return out
