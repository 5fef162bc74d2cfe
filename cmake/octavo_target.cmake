# The compile options that every target of the project shares.

include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)  # without it CMake compiles for PIE and does not link so

# What turns a write behind a buffer into the end of the process instead of a way in; SECURITY.md
# says against whom. scripts/check_hardening.py looks for it in what was built. glibc's checks need
# optimisation. Sanitizers see more than all of this, and would see less beside it.
function(octavo_harden target)
  if(CMAKE_CXX_FLAGS MATCHES "-fsanitize")
    return()
  endif()
  target_compile_options(${target} PRIVATE
    -fstack-protector-strong
    "$<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>")
  target_link_options(${target} PRIVATE LINKER:-z,relro,-z,now)
endfunction()

# No contraction into FMA: the specification rounds every step. No traps and no errno: calls run in an
# environment without traps and restore the flags, and loops with selections vectorise. No ISA flags: kernels that use an
# instruction set say so in a pragma region, so that the program runs on any machine.
function(octavo_target target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden
                                             VISIBILITY_INLINES_HIDDEN ON
                                             POSITION_INDEPENDENT_CODE ON)
  octavo_harden(${target})
  target_compile_options(${target} PRIVATE -ffp-contract=off -fno-trapping-math -fno-math-errno)
  if(OCTAVO_DEVELOPER)
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
  endif()
endfunction()

# A library that others link: public headers, names that src/octavo.map lets out where it is shared. fmt's functions are
# compiled into octavo (core/fmt_functions.cpp).
function(octavo_library target)
  octavo_target(${target})
  set(map ${PROJECT_SOURCE_DIR}/src/octavo.map)
  set_target_properties(${target} PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} LINK_DEPENDS ${map})
  if(BUILD_SHARED_LIBS)
    target_link_options(${target} PRIVATE LINKER:--version-script=${map})
  endif()
  target_include_directories(${target}
    PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
    PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_include_directories(${target} SYSTEM PRIVATE $<TARGET_PROPERTY:fmt::fmt,INTERFACE_INCLUDE_DIRECTORIES>)
endfunction()

# The same for what is written in C over the C ABI.
function(octavo_c_target target)
  set_target_properties(${target} PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Werror)
  target_link_libraries(${target} PRIVATE octavo::models)
endfunction()

# The files of SVE are compiled for one length of vectors each; the option says nothing outside their regions. Of the
# folder that calls it: properties of files are a folder's.
function(octavo_sve_lengths)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL aarch64 AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    foreach(bits 256 512)
      set_property(SOURCE ${PROJECT_SOURCE_DIR}/src/backends/cpu/kernels/arm/sve${bits}.cpp
                   APPEND PROPERTY COMPILE_OPTIONS -msve-vector-bits=${bits})
    endforeach()
  endif()
endfunction()
