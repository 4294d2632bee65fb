# Language level, warnings, sanitizers and hardening, for every target of the project.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(strata_settings INTERFACE)
target_include_directories(strata_settings INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(strata_settings INTERFACE _GNU_SOURCE)
target_compile_options(strata_settings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wcast-qual
  -Wformat=2 -Wimplicit-fallthrough -Wundef -Wno-missing-field-initializers
  # GCC 12 sees overlapping copies in std::string::insert (GCC bug 105329).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # Exceptions stay on for bad_alloc, which main() alone catches.
  -fexceptions)
if(STRATA_WERROR)
  target_compile_options(strata_settings INTERFACE -Werror)
endif()
if(STRATA_HARDENING)
  target_compile_options(strata_settings INTERFACE
    -fstack-protector-strong -fstack-clash-protection -fcf-protection
    -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  target_link_options(strata_settings INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()
if(STRATA_FUZZ)
  target_compile_options(strata_settings INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(STRATA_SANITIZE)
  target_compile_options(strata_settings INTERFACE
    -fsanitize=${STRATA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(strata_settings INTERFACE -fsanitize=${STRATA_SANITIZE})
endif()
