# find_package(strata): the target strata::strata. It depends on nothing that a client would need.
include(${CMAKE_CURRENT_LIST_DIR}/strataTargets.cmake)
