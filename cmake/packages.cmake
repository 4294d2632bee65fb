# The Debian packages, made by CPack: strata, libstrata0 and libstrata-dev. `tools/package` builds what
# they need and makes them; `cmake --build --preset release --target package` builds everything first.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME strata)
set(CPACK_PACKAGE_VENDOR "the strata developers")
# Whoever gives packages to others puts a real address here.
set(CPACK_PACKAGE_CONTACT "the strata developers <strata@example.org>" CACHE STRING
  "Maintainer of the packages: a name and an address")
# Each package has its own, below.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_COMPONENTS_ALL strata libstrata0 libstrata-dev)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
# What depends on the version and the place of the packages, and what is written when the files are there.
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_LIST_DIR}/package_versions.cmake)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/package_files.cmake)

# The executables are static, so they depend on nothing. newuidmap gives a sandbox more than one id;
# fuse-overlayfs is for `strata stage` where the caller may not mount; Python and the library are for
# strata-bst.
set(CPACK_DEBIAN_STRATA_PACKAGE_NAME strata)
set(CPACK_DEBIAN_STRATA_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_STRATA_PACKAGE_RECOMMENDS "uidmap, fuse-overlayfs, python3, libstrata0")
set(CPACK_DEBIAN_STRATA_PACKAGE_SUGGESTS buildstream)
set(CPACK_DEBIAN_STRATA_PACKAGE_CONTROL_EXTRA "${CMAKE_CURRENT_LIST_DIR}/debian/strata/prerm")
set(CPACK_COMPONENT_STRATA_DESCRIPTION "stages build dependencies as layers, without copying a file
Each dependency of a build is an immutable layer. strata stacks the layers
that a build needs by overlayfs, in namespaces of its own, runs the build in
there, and keeps what it wrote as the next layer. It needs no root, no daemon
and no container engine.
.
This package has the command line; strata-bwrap, which takes the command line
of bubblewrap and mounts layers too; strata-mount, which takes that of
fuse-overlayfs, and is mount(8)'s helper for the type strata; strata-bst, by
which BuildStream stages through strata; and the Python module strata, for
libstrata.")

set(CPACK_DEBIAN_LIBSTRATA0_PACKAGE_NAME libstrata0)
set(CPACK_DEBIAN_LIBSTRATA0_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBSTRATA0_PACKAGE_RECOMMENDS uidmap)
set(CPACK_COMPONENT_LIBSTRATA0_DESCRIPTION "stages build dependencies as layers: library
libstrata is strata for programs: it opens a store of layers, imports
directories and archives into it, composes roots, mounts them or runs a
command in them, and captures what the command wrote.")

set(CPACK_DEBIAN_LIBSTRATA-DEV_PACKAGE_NAME libstrata-dev)
set(CPACK_DEBIAN_LIBSTRATA-DEV_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_LIBSTRATA-DEV_DESCRIPTION "stages build dependencies as layers: development files
The header of libstrata, which is its manual too, and what the linker,
pkg-config and CMake need to find the library, with examples.")

foreach(component ${CPACK_COMPONENTS_ALL})
  install(FILES ${CMAKE_CURRENT_LIST_DIR}/debian/copyright
    DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${component} COMPONENT ${component})
endforeach()
install(FILES README.md docs/integrating.md
  DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/strata COMPONENT strata)

include(CPack)

# Of all that is built only what is installed. (The target `package` of CPack's own builds everything.)
add_custom_target(installed DEPENDS strata strata-bwrap strata-mount strata_shared docs)
