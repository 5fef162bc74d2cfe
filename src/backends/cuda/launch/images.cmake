# The machine code of CUDA kernels, which the library carries (images.cpp): compiled by nvcc ahead of
# time. Without it everything else of the CUDA backend is built, and says that it has no kernels.
# They take longer than any other part of the library, so `auto` compiles them where a driver can run
# them; what is checked here, or shipped to other machines, says `nvcc` or `on`. A build folder that
# has them keeps them.
set(OCTAVO_CUDA "auto" CACHE STRING
    "Compile CUDA kernels: on, off, nvcc, where it is found, or auto, where a driver is found, too")
set_property(CACHE OCTAVO_CUDA PROPERTY STRINGS auto nvcc on off)
string(TOLOWER "${OCTAVO_CUDA}" octavo_cuda)
if(NOT octavo_cuda MATCHES "^(auto|nvcc|on|off)$")
  message(FATAL_ERROR "OCTAVO_CUDA must be auto, nvcc, on or off; got ${OCTAVO_CUDA}")
endif()

set(OCTAVO_CUDA_KERNELS OFF CACHE INTERNAL "Whether CUDA kernels are compiled")
if(octavo_cuda STREQUAL "off")
  return()
endif()
file(GLOB octavo_cuda_bins /usr/local/cuda*/bin)
find_program(OCTAVO_NVCC nvcc HINTS ENV CUDA_PATH PATHS ${octavo_cuda_bins} PATH_SUFFIXES bin
             DOC "NVIDIA's compiler, for OCTAVO_CUDA")
if(NOT OCTAVO_NVCC)
  if(octavo_cuda STREQUAL "on")
    message(FATAL_ERROR "OCTAVO_CUDA=on must find nvcc; name it by -DOCTAVO_NVCC=")
  endif()
  message(STATUS "Octavo has no CUDA kernels: nvcc was not found")
  return()
endif()
find_library(OCTAVO_CUDA_DRIVER NAMES libcuda.so.1 PATHS /usr/lib/wsl/lib NO_CMAKE_FIND_ROOT_PATH
             DOC "NVIDIA's driver, for OCTAVO_CUDA")
if(octavo_cuda STREQUAL "auto" AND NOT OCTAVO_CUDA_DRIVER AND NOT EXISTS ${CMAKE_BINARY_DIR}/cuda/dense.fatbin)
  message(STATUS "Octavo has no CUDA kernels: no driver (libcuda.so.1) was found; -DOCTAVO_CUDA=on compiles them")
  return()
endif()
set(OCTAVO_CUDA_KERNELS ON CACHE INTERNAL "Whether CUDA kernels are compiled")

# Operands of an asm statement cannot be counted by a template, so a script writes one for each width.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(octavo_make_wgmma ${PROJECT_SOURCE_DIR}/scripts/make_wgmma.py)
set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${octavo_make_wgmma}
             ${CMAKE_CURRENT_SOURCE_DIR}/backends/cuda/machine/types.hpp)
set(octavo_wgmma ${CMAKE_BINARY_DIR}/cuda/include/backends/cuda/device/wgmma.cuh)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/cuda/include/backends/cuda/device)
execute_process(COMMAND ${Python3_EXECUTABLE} ${octavo_make_wgmma} ${octavo_wgmma}.new COMMAND_ERROR_IS_FATAL ANY)
file(COPY_FILE ${octavo_wgmma}.new ${octavo_wgmma} ONLY_IF_DIFFERENT)

include(octavo_cuda_image)
# Section 3 of the specification rounds every step: no contraction into FMA. The headers' constexpr functions are
# device functions, too; 445 is a false warning of one of them.
set(OCTAVO_NVCC_OPTIONS -std=c++20 -fmad=false --expt-relaxed-constexpr --diag-suppress=445
    -I${PROJECT_SOURCE_DIR}/src -I${PROJECT_SOURCE_DIR}/include -I${CMAKE_BINARY_DIR}/cuda/include CACHE INTERNAL "Of all CUDA kernels")

# What images.cpp carries: build/cuda/<name>.fatbin.
function(octavo_carried_image name source)
  set(image ${CMAKE_BINARY_DIR}/cuda/${name}.fatbin)
  octavo_cuda_image(${image} ${CMAKE_CURRENT_SOURCE_DIR}/backends/cuda/kernels/${source} "${ARGN}")
  string(TOUPPER ${name} upper)
  set_property(SOURCE backends/cuda/launch/images.cpp APPEND PROPERTY OBJECT_DEPENDS ${image})
  set_property(SOURCE backends/cuda/launch/images.cpp APPEND PROPERTY
               COMPILE_DEFINITIONS "OCTAVO_CUDA_${upper}=\"${image}\"")
endfunction()

octavo_carried_image(dense sm90/dense.cu "arch=compute_90a,code=sm_90a")
octavo_carried_image(few_rows sm90/few_rows.cu "arch=compute_90a,code=sm_90a")
octavo_carried_image(mma sm80/mma.cu "arch=compute_80,code=sm_80"
                     "arch=compute_89,code=[sm_89,compute_89]")
octavo_carried_image(portable passes.cu "arch=compute_90a,code=sm_90a" "arch=compute_80,code=compute_80")
set_property(SOURCE backends/cuda/launch/images.cpp APPEND PROPERTY COMPILE_DEFINITIONS OCTAVO_CUDA_IMAGES=1)
