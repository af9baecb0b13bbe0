# libkiln: everything below cli/ as one shared library that shows kiln_ symbols only, with its header and
# pkg-config file.
include(GNUInstallDirs)
file(WRITE ${CMAKE_BINARY_DIR}/libkiln.map "{ global: kiln_*; local: *; };\n")
add_library(libkiln SHARED ${PROJECT_SOURCE_DIR}/runtime/api.c ${PROJECT_SOURCE_DIR}/runtime/api_model.c)
target_compile_definitions(libkiln PRIVATE KILN_VERSION_TEXT="${PROJECT_VERSION}")
set_target_properties(libkiln PROPERTIES OUTPUT_NAME kiln VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
    PUBLIC_HEADER ${PROJECT_SOURCE_DIR}/include/kiln.h LINK_DEPENDS ${CMAKE_BINARY_DIR}/libkiln.map)
target_link_libraries(libkiln PRIVATE kiln_models kiln_runtime kiln_compiler kiln_base kiln_build Threads::Threads m)
target_link_options(libkiln PRIVATE -Wl,--version-script=${CMAKE_BINARY_DIR}/libkiln.map)
file(WRITE ${CMAKE_BINARY_DIR}/kiln.pc "prefix=${CMAKE_INSTALL_PREFIX}
libdir=\${prefix}/${CMAKE_INSTALL_LIBDIR}
includedir=\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}

Name: kiln
Description: Just-in-time compiler for the Triton tile language, and an LLM runtime
Version: ${PROJECT_VERSION}
Libs: -L\${libdir} -lkiln
Cflags: -I\${includedir}
")
install(TARGETS libkiln LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${CMAKE_BINARY_DIR}/kiln.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
