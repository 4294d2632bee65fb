# Read by cpack before it makes the packages, so that the options of cpack count:
# `-B DIR`, `-D CPACK_DEBIAN_PACKAGE_RELEASE=2`.
set(CPACK_DEBIAN_LIBSTRATA-DEV_PACKAGE_DEPENDS
  "libstrata0 (= ${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})")
# Written by package_files.cmake, but the ldconfig trigger.
set(strata_control ${CPACK_PACKAGE_DIRECTORY}/_CPack_Packages)
set(CPACK_DEBIAN_LIBSTRATA0_PACKAGE_CONTROL_EXTRA
  "${CMAKE_CURRENT_LIST_DIR}/debian/libstrata0/triggers;${strata_control}/shlibs;${strata_control}/symbols")
