# What of the library is installed, and how pkg-config and CMake find it there.
install(TARGETS strata_shared EXPORT strataTargets
  LIBRARY COMPONENT libstrata0 NAMELINK_COMPONENT libstrata-dev)
install(FILES strata.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT libstrata-dev)

file(RELATIVE_PATH strata_prefix_from_pc
  /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" strata_prefix_from_pc ${strata_prefix_from_pc})
configure_file(strata.pc.in strata.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/strata.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT libstrata-dev)

set(strata_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/strata)
set_target_properties(strata_shared PROPERTIES EXPORT_NAME strata)
install(EXPORT strataTargets NAMESPACE strata:: DESTINATION ${strata_cmake_dir} COMPONENT libstrata-dev)
include(CMakePackageConfigHelpers)
write_basic_package_version_file(strataConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES strataConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/strataConfigVersion.cmake
  DESTINATION ${strata_cmake_dir} COMPONENT libstrata-dev)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/examples
  DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/libstrata-dev COMPONENT libstrata-dev)
