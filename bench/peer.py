"""peer.py - builds bench/llama_peer.c against the static libraries of the tree that llama-bench was built in."""
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def libraries(build):
    names = ["src/libllama.a", "ggml/src/libggml.a", "ggml/src/libggml-cpu.a", "ggml/src/libggml-base.a"]
    return [os.path.join(build, n) for n in names]


def build_peer(llama_bench):
    """@return the path of llama_peer, made in llama-bench's folder when it is older than what it is made of; or exits"""
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
