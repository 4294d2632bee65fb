# The seccomp filters for builds, made when strata is built: seccomp_policy.cc -> seccomp_generate
# -> seccomp_filters.inc -> seccomp_filter.cc. The result is strata_seccomp_filter.
#
# The generator runs on the building machine: to build for another architecture, set
# CMAKE_CROSSCOMPILING_EMULATOR.
add_library(strata_seccomp_policy OBJECT ${CMAKE_CURRENT_LIST_DIR}/seccomp_policy.cc)
target_link_libraries(strata_seccomp_policy
  PUBLIC strata_settings tl::expected
  PRIVATE PkgConfig::libseccomp)

add_executable(strata_seccomp_generate ${CMAKE_CURRENT_LIST_DIR}/seccomp_generate.cc)
target_link_libraries(strata_seccomp_generate
  PRIVATE strata_seccomp_policy strata_base PkgConfig::libseccomp)

add_custom_command(
  OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/seccomp_filters.inc
  COMMAND strata_seccomp_generate ${CMAKE_CURRENT_BINARY_DIR}/seccomp_filters.inc
  DEPENDS strata_seccomp_generate
  COMMENT "Generating the seccomp filters"
  VERBATIM)

# The policy is in the archive for the tests, which link libseccomp. Nothing in strata refers to it,
# so strata has neither.
add_library(strata_seccomp_filter STATIC
  ${CMAKE_CURRENT_LIST_DIR}/seccomp_filter.cc
  ${CMAKE_CURRENT_BINARY_DIR}/seccomp_filters.inc
  $<TARGET_OBJECTS:strata_seccomp_policy>)
target_include_directories(strata_seccomp_filter PRIVATE ${CMAKE_CURRENT_BINARY_DIR})
target_link_libraries(strata_seccomp_filter PUBLIC strata_base)
