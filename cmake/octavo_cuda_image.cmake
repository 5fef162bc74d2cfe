# Machine code of CUDA kernels, compiled by nvcc ahead of time.

# octavo_cuda_image(IMAGE SOURCE ARCHITECTURES [OPTIONS...]): compiles a source for a list of what follows nvcc's
# -gencode=. Developers' builds keep beside it, in a folder called like the source, what nvcc makes on the way and what
# it says (log), for scripts/check_sass.py.
function(octavo_cuda_image image source architectures)
  list(TRANSFORM architectures PREPEND "-gencode=")
  set(nvcc ${OCTAVO_NVCC} ${OCTAVO_NVCC_OPTIONS} ${ARGN} ${architectures} -fatbin -Xfatbin -compress-all
           -MD -MF ${image}.d -MT ${image} ${source} -o ${image})
  get_filename_component(folder ${image} DIRECTORY)
  if(OCTAVO_DEVELOPER)
    get_filename_component(name ${source} NAME_WE)
    set(folder ${folder}/${name})
    list(APPEND nvcc -Werror=all-warnings -Xptxas=-v,--warn-on-spills --keep --keep-dir ${folder})
    list(PREPEND nvcc ${CMAKE_COMMAND} -DLOG=${folder}/log -P ${PROJECT_SOURCE_DIR}/cmake/octavo_logged.cmake --)
  endif()
  get_filename_component(name ${source} NAME)
  add_custom_command(
    OUTPUT ${image}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}
    COMMAND ${nvcc}
    DEPENDS ${source}
    DEPFILE ${image}.d
    COMMENT "Compiling CUDA kernels: ${name}"
    VERBATIM)
endfunction()
