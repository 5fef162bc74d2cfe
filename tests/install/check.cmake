# SPDX-License-Identifier: Apache-2.0
# Installs the libraries into an empty prefix and builds the consumers on them. KIND: `built`, what the build directory
# has; `shared`, built once more; `relinked`, shared libraries of the static ones' objects, which are the same.
cmake_minimum_required(VERSION 3.25)

# run(what command...): stops with the command's output where it fails.
function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${what} failed (${code}):\n${out}")
  endif()
endfunction()

# relink(library archive [objects...]): the command by which CMake links a shared library, on an archive instead of objects.
function(relink library archive)
  execute_process(COMMAND ninja -C ${BUILD_DIR} -t commands -s src/${library}.so.${VERSION} OUTPUT_VARIABLE command
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX REPLACE "ninja: Entering directory[^\n]*\n" "" command "${command}")
  string(REGEX REPLACE "( src/CMakeFiles/[^ \n]*\\.o)+" " ${ARGN} -Wl,--whole-archive ${archive} -Wl,--no-whole-archive"
         command "${command}")
  run("linking ${library}" sh -c "cd ${BUILD_DIR} && ${command}")
  file(CREATE_LINK ${library}.so.${VERSION} ${BUILD_DIR}/src/${library}.so.0 SYMBOLIC)
  file(CREATE_LINK ${library}.so.${VERSION} ${BUILD_DIR}/src/${library}.so SYMBOLIC)
endfunction()

set(toolchain -G Ninja -D CMAKE_CXX_COMPILER=${CXX_COMPILER} -D CMAKE_CXX_FLAGS=${CXX_FLAGS} -D CMAKE_BUILD_TYPE=${BUILD_TYPE})
set(prefix ${WORK_DIR}/prefix)
file(REMOVE_RECURSE ${prefix} ${WORK_DIR}/consumer)

if(NOT KIND STREQUAL built)
  set(archives ${BUILD_DIR}/src)
  set(BUILD_DIR ${WORK_DIR}/library)
  set(command ON)
  if(KIND STREQUAL relinked)
    set(command OFF)
  endif()
  run("configuring the libraries" ${CMAKE_COMMAND} -S ${SOURCE_DIR} -B ${BUILD_DIR} ${toolchain}
      -D BUILD_SHARED_LIBS=ON -D OCTAVO_DEVELOPER=OFF -D OCTAVO_CLI=${command} -D OCTAVO_TBB=${TBB})
  if(KIND STREQUAL shared)
    run("building the libraries" ${CMAKE_COMMAND} --build ${BUILD_DIR})
  else()
    relink(liboctavo ${archives}/liboctavo.a)
    run("fmt's functions" sh -c "ar p ${archives}/liboctavo.a fmt_functions.cpp.o >${BUILD_DIR}/src/fmt_functions.o")
    relink(liboctavo_models ${archives}/liboctavo_models.a src/fmt_functions.o)
  endif()
  execute_process(COMMAND objdump -p ${BUILD_DIR}/src/liboctavo.so OUTPUT_VARIABLE needs COMMAND_ERROR_IS_FATAL ANY)
  if(needs MATCHES "NEEDED +(libre2|libfmt|libsimdjson)[^\n]*")
    message(FATAL_ERROR "liboctavo.so must need oneTBB and the standard libraries alone; got ${CMAKE_MATCH_0}")
  endif()
  find_program(python python3 REQUIRED)
  set(libraries ${BUILD_DIR}/src/liboctavo.so ${BUILD_DIR}/src/liboctavo_models.so)
  run("checking exports" ${python} ${SOURCE_DIR}/scripts/check_symbols.py --shared ${libraries})
  run("checking the C ABI's exports" ${python} ${SOURCE_DIR}/scripts/check_exports.py --shared ${libraries})
endif()
run("installing" ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${prefix})

file(GLOB_RECURSE installed RELATIVE ${prefix} ${prefix}/*)
set(known "include/octavo/(c/|checkpoint/)?[a-z0-9_]+\\.hp?p?" "bin/octavo" "share/(man/man1/octavo[a-z-]*\\.1|[^ ]*/_?octavo[.a-z]*)"
    "lib[^ ]*/(liboctavo(_models)?\\.[a-z0-9.]+|cmake/octavo/octavo-[a-z-]+\\.cmake|pkgconfig/octavo(-models)?\\.pc)")
list(JOIN known "|" known)
foreach(file IN LISTS installed)
  if(NOT file MATCHES "^(${known})$")
    message(FATAL_ERROR "${file} is installed, but is no public header, library, command, page of it or package file")
  endif()
endforeach()

# The command finds its library from where it is, whoever calls it and by whatever name.
if(NOT KIND STREQUAL relinked)
  file(CREATE_LINK ${prefix}/bin/octavo ${WORK_DIR}/linked SYMBOLIC)
  foreach(command IN ITEMS ${prefix}/bin/octavo ${WORK_DIR}/linked)
    execute_process(COMMAND ${command} --version OUTPUT_VARIABLE said RESULT_VARIABLE code ERROR_VARIABLE why)
    if(NOT said STREQUAL "octavo ${VERSION}\n")
      message(FATAL_ERROR "${command} --version (${code}) said: ${said}${why}")
    endif()
  endforeach()
  foreach(page octavo octavo-quantize octavo-completion)
    if(NOT EXISTS ${prefix}/share/man/man1/${page}.1)
      message(FATAL_ERROR "${page}.1 must be installed")
    endif()
  endforeach()
  run("a problem" ${prefix}/bin/octavo bench --check "scaled_mm int8:int8:fp32 2x2x2")
endif()

run("configuring the consumers" ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer
    -B ${WORK_DIR}/consumer ${toolchain} -D CMAKE_PREFIX_PATH=${prefix})
run("building the consumers" ${CMAKE_COMMAND} --build ${WORK_DIR}/consumer)
foreach(program consumer consumer_c consumer_models)
  run("running ${program}" ${WORK_DIR}/consumer/${program})
endforeach()

# The same by pkg-config, whose files say where they are.
file(GLOB_RECURSE package ${prefix}/lib*/octavo-models.pc)
get_filename_component(packages ${package} DIRECTORY)
get_filename_component(libraries ${packages} DIRECTORY)
foreach(source_package "main.cpp octavo" "models.cpp octavo-models")
  string(REPLACE " " ";" source_package ${source_package})
  list(GET source_package 0 source)
  list(GET source_package 1 name)
  run("${source} by pkg-config" sh -c "${CXX_COMPILER} ${CXX_FLAGS} -std=c++20 ${CMAKE_CURRENT_LIST_DIR}/consumer/${source} \
-o ${WORK_DIR}/by_pkg_config $(PKG_CONFIG_PATH=${packages} pkg-config --cflags --libs ${name}) \
&& LD_LIBRARY_PATH=${libraries} ${WORK_DIR}/by_pkg_config")
endforeach()
