# A floor can include its own headers and those of the floors it SEES; what it HIDES it links without
# passing on. Its include root holds one symlink, so an include that points upstairs does not compile.
function(kiln_floor dir)
    cmake_parse_arguments(F "" "" "SOURCES;SEES;HIDES" ${ARGN})
    add_library(kiln_${dir} STATIC ${F_SOURCES})
    set(root ${CMAKE_BINARY_DIR}/floors/${dir})
    file(MAKE_DIRECTORY ${root})
    file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${dir} ${root}/${dir} SYMBOLIC)
    target_include_directories(kiln_${dir} PUBLIC ${root})
    target_compile_options(kiln_${dir} PRIVATE $<$<COMPILE_LANGUAGE:C>:-Wconversion -Wno-sign-conversion>)
    target_link_libraries(kiln_${dir} PUBLIC ${F_SEES} PRIVATE ${F_HIDES} kiln_build)
endfunction()

# The one header of the compiler that runtime/ may see: an include root with nothing else in it.
add_library(kiln_compile_door INTERFACE)
set(door ${CMAKE_BINARY_DIR}/floors/door)
file(MAKE_DIRECTORY ${door}/compiler)
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/compiler/compile.h ${door}/compiler/compile.h SYMBOLIC)
target_include_directories(kiln_compile_door INTERFACE ${door})
