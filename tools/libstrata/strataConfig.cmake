# find_package(strata): the target strata::strata. It depends on nothing that a client would need.
#
# By the real path: with merged /usr CMake finds this below /lib first, and would take / for the prefix.
get_filename_component(strata_directory ${CMAKE_CURRENT_LIST_FILE} REALPATH)
get_filename_component(strata_directory ${strata_directory} DIRECTORY)
include(${strata_directory}/strataTargets.cmake)
unset(strata_directory)
