# Backplane::torch, the CPU parts of libtorch 2.13, as SYSTEM headers. Looked for in CMAKE_PREFIX_PATH, Torch_DIR and the
# folder that `make setup` fills. Torch's own package file is not used: it wants MKL, protobuf and Python to be found.
find_path(TORCH_ROOT NAMES include/torch/version.h include/torch/csrc/api/include/torch/version.h
  HINTS ENV TORCH_ROOT "${PROJECT_SOURCE_DIR}/.deps/libtorch" PATH_SUFFIXES torch NO_CACHE)
if(NOT TORCH_ROOT)
  message(FATAL_ERROR "libtorch 2.13 not found: run `make setup`, or pass -DCMAKE_PREFIX_PATH=<libtorch>")
endif()
file(STRINGS "${TORCH_ROOT}/include/torch/headeronly/version.h" torch_version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*PATCH ([0-9]+).*" "\\1.\\2.\\3" TORCH_VERSION "${torch_version_lines}")
if(NOT TORCH_VERSION VERSION_GREATER_EQUAL 2.13 OR NOT TORCH_VERSION VERSION_LESS 2.14)
  message(FATAL_ERROR "libtorch at ${TORCH_ROOT} is ${TORCH_VERSION}; 2.13 is needed")
endif()
message(STATUS "libtorch ${TORCH_VERSION}: ${TORCH_ROOT}")

add_library(backplane_torch INTERFACE)
add_library(Backplane::torch ALIAS backplane_torch)
target_include_directories(backplane_torch SYSTEM INTERFACE "${TORCH_ROOT}/include" "${TORCH_ROOT}/include/torch/csrc/api/include")
target_link_libraries(backplane_torch INTERFACE "${TORCH_ROOT}/lib/libtorch_cpu.so" "${TORCH_ROOT}/lib/libc10.so")
target_compile_definitions(backplane_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
