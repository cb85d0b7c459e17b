# The CMake package, and libtorch beside the libraries, so that the installed folder may be moved. The libraries and programs
# themselves are installed where they are defined.
include(CMakePackageConfigHelpers)
set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/Backplane")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/BackplaneConfig.cmake.in" "${PROJECT_BINARY_DIR}/BackplaneConfig.cmake"
  INSTALL_DESTINATION "${package_folder}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/BackplaneConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(EXPORT BackplaneTargets NAMESPACE Backplane:: DESTINATION "${package_folder}")
install(FILES "${PROJECT_BINARY_DIR}/BackplaneConfig.cmake" "${PROJECT_BINARY_DIR}/BackplaneConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/BackplaneTorch.cmake" DESTINATION "${package_folder}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/sdk/cmake/" DESTINATION "${package_folder}")
if(BACKPLANE_TENSOR AND BACKPLANE_INSTALL_TORCH)
  install(DIRECTORY "${TORCH_ROOT}/include" DESTINATION "${CMAKE_INSTALL_LIBDIR}/backplane/libtorch")
  install(DIRECTORY "${TORCH_ROOT}/lib" DESTINATION "${CMAKE_INSTALL_LIBDIR}/backplane/libtorch" FILES_MATCHING
    REGEX "/lib(torch_cpu|c10|gomp[^/]*|cudart|cupti)\\.so[^/]*$")
endif()
