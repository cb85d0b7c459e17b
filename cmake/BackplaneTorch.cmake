# Backplane::torch, the CPU parts of libtorch 2.13. Looked for in TORCH_ROOT, Torch_DIR, CMAKE_PREFIX_PATH, beside an installed Backplane, and in
# the folder that `make setup` fills. Torch's own package file is not used: it wants MKL, protobuf and Python to be found.
include_guard(GLOBAL)
cmake_path(CONVERT "$ENV{CMAKE_PREFIX_PATH}" TO_CMAKE_PATH_LIST torch_prefixes)
find_path(TORCH_ROOT NAMES include/torch/headeronly/version.h NO_CACHE NO_DEFAULT_PATH
  HINTS ENV TORCH_ROOT "${Torch_DIR}/../../.." ${CMAKE_PREFIX_PATH} ${torch_prefixes} "${CMAKE_CURRENT_LIST_DIR}/../../backplane/libtorch"
    "${PROJECT_SOURCE_DIR}/.deps/libtorch" PATH_SUFFIXES torch)
if(NOT TORCH_ROOT)
  message(FATAL_ERROR "libtorch 2.13 not found: run `make setup`, or pass -DCMAKE_PREFIX_PATH=<libtorch>")
endif()
file(STRINGS "${TORCH_ROOT}/include/torch/headeronly/version.h" torch_version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3" TORCH_VERSION "${torch_version_lines}")
if(NOT TORCH_VERSION VERSION_GREATER_EQUAL 2.13 OR NOT TORCH_VERSION VERSION_LESS 2.14)
  message(FATAL_ERROR "libtorch at ${TORCH_ROOT} is ${TORCH_VERSION}; 2.13 is needed")
endif()
message(STATUS "libtorch ${TORCH_VERSION}: ${TORCH_ROOT}")

add_library(Backplane::torch INTERFACE IMPORTED GLOBAL)
target_include_directories(Backplane::torch INTERFACE "${TORCH_ROOT}/include" "${TORCH_ROOT}/include/torch/csrc/api/include")
target_link_libraries(Backplane::torch INTERFACE "${TORCH_ROOT}/lib/libtorch_cpu.so" "${TORCH_ROOT}/lib/libc10.so")
target_compile_definitions(Backplane::torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
