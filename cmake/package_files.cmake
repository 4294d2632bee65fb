# Run by cpack between installing into a private directory and making the packages: writes what
# Debian's policy asks for and an installation elsewhere does not need. With SOURCE_DATE_EPOCH the
# packages come out the same each time.
string(TIMESTAMP strata_date "%a, %d %b %Y %H:%M:%S +0000" UTC)
set(strata_version ${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})

foreach(component ${CPACK_COMPONENTS_ALL})
  set(root ${CPACK_TEMPORARY_DIRECTORY}/${component}/usr)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/debian/changelog.in
    ${root}/share/doc/${component}/changelog.Debian @ONLY)
  file(GLOB_RECURSE compressed ${root}/share/doc/${component}/changelog.Debian ${root}/share/man/*)
  execute_process(COMMAND gzip -9 --no-name --force ${compressed} COMMAND_ERROR_IS_FATAL ANY)
  # Below /usr, Debian's zsh looks for what packages bring in a directory of its own.
  if(EXISTS ${root}/share/zsh/site-functions)
    file(RENAME ${root}/share/zsh/site-functions ${root}/share/zsh/vendor-completions)
  endif()
endforeach()

# Where Debian's Python looks.
file(MAKE_DIRECTORY ${CPACK_TEMPORARY_DIRECTORY}/strata/usr/lib/python3/dist-packages)
file(CREATE_LINK ../../../share/strata/python/strata.py
  ${CPACK_TEMPORARY_DIRECTORY}/strata/usr/lib/python3/dist-packages/strata.py SYMBOLIC)

# What lintian would complain of, and why it is so.
foreach(component ${CPACK_COMPONENTS_ALL})
  set(overrides "# It did not come from a wish in Debian's bug tracker.\ninitial-upload-closes-no-bugs *\n")
  if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/debian/${component}/overrides)
    file(READ ${CMAKE_CURRENT_LIST_DIR}/debian/${component}/overrides own)
    string(APPEND overrides "${own}")
  endif()
  file(WRITE ${CPACK_TEMPORARY_DIRECTORY}/${component}/usr/share/lintian/overrides/${component} "${overrides}")
endforeach()

# What a program linked with the library depends on. There has been one version of each symbol.
file(GLOB library ${CPACK_TEMPORARY_DIRECTORY}/libstrata0/usr/lib/*/libstrata.so.0.*)
if(library)
  execute_process(COMMAND nm --dynamic --defined-only --with-symbol-versions --just-symbols ${library}
    OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" symbols "${symbols}")
  list(TRANSFORM symbols REPLACE "@@" "@")
  list(TRANSFORM symbols REPLACE "^([^@]+)$" "\\1@\\1")
  list(SORT symbols)
  list(TRANSFORM symbols REPLACE "(.+)" " \\1 ${CPACK_PACKAGE_VERSION}\n")
  string(CONCAT symbols "libstrata.so.0 libstrata0 #MINVER#\n* Build-Depends-Package: libstrata-dev\n" ${symbols})
  file(WRITE ${CPACK_PACKAGE_DIRECTORY}/_CPack_Packages/symbols "${symbols}")
  file(WRITE ${CPACK_PACKAGE_DIRECTORY}/_CPack_Packages/shlibs
    "libstrata 0 libstrata0 (>= ${CPACK_PACKAGE_VERSION})\n")
endif()

# What was just written would else have the time of this run, and so would directories.
if(DEFINED ENV{SOURCE_DATE_EPOCH})
  execute_process(COMMAND find ${CPACK_TEMPORARY_DIRECTORY} -exec touch --no-dereference
    --date=@$ENV{SOURCE_DATE_EPOCH} {} + COMMAND_ERROR_IS_FATAL ANY)
endif()
