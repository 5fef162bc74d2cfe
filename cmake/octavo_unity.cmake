# Where OCTAVO_UNITY says so, files of a folder and of the rooms in it are compiled together, ten at a time: most of
# their time goes into headers that they share. Names of what such files keep to themselves must differ. The arguments behind the target are
# regular expressions of files that stay alone, as do those that have options of their own. A build without it finds
# what a file forgets to include (asan, tsan, arm-test).
function(octavo_unity target)
  if(NOT OCTAVO_UNITY)
    return()
  endif()
  string(REPLACE ";" "|" alone "${ARGN}")
  get_target_property(sources ${target} SOURCES)
  list(SORT sources)
  list(FILTER sources EXCLUDE REGEX "^\\$<")
  foreach(source IN LISTS sources)
    get_filename_component(source ${source} ABSOLUTE)
    if(alone AND source MATCHES "${alone}")
      continue()
    endif()
    file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR} ${source})
    string(REGEX MATCH "^[^/]*/[^/]*" folder ${folder})  # src/core of src/core/data/dtype.cpp
    string(MAKE_C_IDENTIFIER "${folder}" folder)
    if(NOT DEFINED ${folder}_files)
      set(${folder}_files 0)
    endif()
    math(EXPR group "${${folder}_files} / 10")
    math(EXPR ${folder}_files "${${folder}_files} + 1")
    set_source_files_properties(${source} TARGET_DIRECTORY ${target} PROPERTIES UNITY_GROUP ${folder}_${group})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()
