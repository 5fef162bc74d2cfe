# SPDX-License-Identifier: Apache-2.0
# Installs the library and the command line into an empty prefix, runs it, and builds the consumer on the library.
cmake_minimum_required(VERSION 3.25)

# run(what command...): stops with the command's output where it fails.
function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${what} failed (${code}):\n${out}")
  endif()
endfunction()

set(toolchain -G ${GENERATOR} -D CMAKE_CXX_COMPILER=${CXX_COMPILER}
    -D CMAKE_CXX_FLAGS=${CXX_FLAGS} -D CMAKE_BUILD_TYPE=${BUILD_TYPE})
set(prefix ${WORK_DIR}/prefix)
file(REMOVE_RECURSE ${prefix} ${WORK_DIR}/consumer)

if(SHARED)
  set(BUILD_DIR ${WORK_DIR}/library)
  run("configuring the library" ${CMAKE_COMMAND} -S ${SOURCE_DIR} -B ${BUILD_DIR} ${toolchain}
      -D BUILD_SHARED_LIBS=ON -D OCTAVO_DEVELOPER=OFF -D OCTAVO_TBB=${TBB})
  run("building the library" ${CMAKE_COMMAND} --build ${BUILD_DIR})
endif()
if(SHARED)
  find_program(python python3 REQUIRED)
  file(GLOB_RECURSE library ${BUILD_DIR}/liboctavo.so)
  run("checking exports" ${python} ${SOURCE_DIR}/scripts/check_symbols.py --shared ${library})
  run("checking the C ABI's exports" ${python} ${SOURCE_DIR}/scripts/check_exports.py
      --shared ${library})
endif()
run("installing" ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${prefix})

file(GLOB_RECURSE installed RELATIVE ${prefix} ${prefix}/*)
foreach(file IN LISTS installed)
  if(NOT file MATCHES "^(include/octavo/(c/|checkpoint/)?[a-z0-9_]+\\.hp?p?|bin/octavo|lib[^ ]*/(liboctavo\\.[a-z0-9.]+|cmake/octavo/octavo-[a-z-]+\\.cmake))$")
    message(FATAL_ERROR "${file} is installed, but is no public header, library, command or package file")
  endif()
endforeach()

# The command finds its library from where it is, whoever calls it and by whatever name.
file(CREATE_LINK ${prefix}/bin/octavo ${WORK_DIR}/linked SYMBOLIC)
foreach(command IN ITEMS ${prefix}/bin/octavo ${WORK_DIR}/linked)
  execute_process(COMMAND ${command} --version OUTPUT_VARIABLE said RESULT_VARIABLE code ERROR_VARIABLE why)
  if(NOT said STREQUAL "octavo ${VERSION}\n")
    message(FATAL_ERROR "${command} --version (${code}) said: ${said}${why}")
  endif()
endforeach()
run("a problem" ${prefix}/bin/octavo bench --check "scaled_mm int8:int8:fp32 2x2x2")

run("configuring the consumer" ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer
    -B ${WORK_DIR}/consumer ${toolchain} -D CMAKE_PREFIX_PATH=${prefix}
    -D OCTAVO_EXPECTED_VERSION=${VERSION})
run("building the consumer" ${CMAKE_COMMAND} --build ${WORK_DIR}/consumer)
run("running the consumer" ${WORK_DIR}/consumer/consumer)
run("running the consumer in C" ${WORK_DIR}/consumer/consumer_c)
