# Writes OUT, a header with a hash of every source of base, ir and compiler: the compiler's own build id,
# part of each cache key, so that an edited compiler never loads yesterday's object. Left alone when equal.
file(GLOB_RECURSE sources RELATIVE ${ROOT} ${ROOT}/base/*.[ch] ${ROOT}/ir/*.[ch] ${ROOT}/ir/*.def
     ${ROOT}/compiler/*.[ch] ${ROOT}/compiler/*.def ${ROOT}/compiler/*.S)
list(SORT sources)
set(all "${FLAGS}")
foreach(source ${sources})
    file(SHA256 ${ROOT}/${source} digest)
    string(APPEND all "${source} ${digest}\n")
endforeach()
string(SHA256 id "${all}")
set(text "// Made by cmake/build_id.cmake.\n#define KILN_BUILD_ID \"${id}\"\n")
set(old "")
if(EXISTS ${OUT})
    file(READ ${OUT} old)
endif()
if(NOT "${old}" STREQUAL "${text}")
    file(WRITE ${OUT} "${text}")
endif()
