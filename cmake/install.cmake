# What `cmake --install` needs: the directories, and who gets what. A component is named as the Debian
# package it goes into: strata, libstrata0, libstrata-dev. What is installed without one is strata's.
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME strata)

# GNUInstallDirs knows Debian's directories for each architecture for the prefix /usr alone. The
# loader, pkg-config and CMake of Debian look into those of /usr/local too, so one configuration does
# for both, and `cpack` needs none of its own.
if(EXISTS /etc/debian_version AND CMAKE_LIBRARY_ARCHITECTURE AND CMAKE_INSTALL_PREFIX STREQUAL "/usr/local")
  set(CMAKE_INSTALL_LIBDIR lib/${CMAKE_LIBRARY_ARCHITECTURE} CACHE PATH "Object code libraries")
endif()
include(GNUInstallDirs)
