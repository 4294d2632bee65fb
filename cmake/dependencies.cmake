# Everything comes from Debian packages (tools/setup installs them). The libraries that the product
# needs all have static archives or are header-only, so that `strata` can be one static executable.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tl-expected REQUIRED)

if(STRATA_STATIC)
  # pkg_check_modules looks libraries up with find_library.
  set(strata_saved_suffixes ${CMAKE_FIND_LIBRARY_SUFFIXES})
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
endif()
pkg_check_modules(libarchive REQUIRED IMPORTED_TARGET libarchive)
pkg_check_modules(libcrypto REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(libseccomp REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(libcap REQUIRED IMPORTED_TARGET libcap)
pkg_check_modules(libxxhash REQUIRED IMPORTED_TARGET libxxhash)

if(STRATA_STATIC)
  set(CMAKE_FIND_LIBRARY_SUFFIXES ${strata_saved_suffixes})
  # What libarchive.a needs besides itself. pkg-config also names libxml2, for xar archives, which
  # strata does not read: nothing of it is pulled in.
  target_link_libraries(PkgConfig::libarchive INTERFACE nettle acl lzma zstd lz4 bz2 z)
endif()

# libstrata.so uses the shared ones: Debian's archives are not position-independent.
pkg_check_modules(libarchive_so REQUIRED IMPORTED_TARGET libarchive)
pkg_check_modules(libcrypto_so REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(libxxhash_so REQUIRED IMPORTED_TARGET libxxhash)
