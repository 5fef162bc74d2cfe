# Installation: the public headers, the libraries, the command line, and the files find_package(octavo) reads.
include(CMakePackageConfigHelpers)

install(TARGETS octavo EXPORT octavo-targets)
install(TARGETS octavo-models EXPORT octavo-models-targets)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/octavo DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
foreach(set octavo-targets octavo-models-targets)
  install(EXPORT ${set} NAMESPACE octavo:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/octavo)
endforeach()

if(OCTAVO_CLI)
  file(RELATIVE_PATH to_library ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(octavo-cli PROPERTIES INSTALL_RPATH "$<$<BOOL:${BUILD_SHARED_LIBS}>:$ORIGIN/${to_library}>")
  install(TARGETS octavo-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(DIRECTORY ${PROJECT_BINARY_DIR}/share/ DESTINATION ${CMAKE_INSTALL_DATADIR} OPTIONAL)
endif()

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/octavo-config.cmake.in ${PROJECT_BINARY_DIR}/octavo-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/octavo PATH_VARS CMAKE_INSTALL_BINDIR CMAKE_INSTALL_DATADIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/octavo-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/octavo-config.cmake
              ${PROJECT_BINARY_DIR}/octavo-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/octavo)

# pkg-config. What a static library is built on counts for all who link it.
function(octavo_pkg_config pc_name pc_library pc_description pc_requires behind)
  file(RELATIVE_PATH pc_up ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  set(pc_requires_private)
  set(pc_libs)
  if(BUILD_SHARED_LIBS)
    set(pc_requires_private ${behind})
  else()
    string(APPEND pc_requires " ${behind}")
    set(pc_libs "-pthread -ldl -lstdc++ -lm")
  endif()
  configure_file(${PROJECT_SOURCE_DIR}/cmake/octavo.pc.in ${PROJECT_BINARY_DIR}/${pc_name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${pc_name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
set(tbb)
if(OCTAVO_TBB)
  set(tbb tbb)
endif()
octavo_pkg_config(octavo octavo "8-bit matrix multiplication" "" "${tbb}")
octavo_pkg_config(octavo-models octavo_models "Models in 8 bits: checkpoints and their layers" "octavo = ${PROJECT_VERSION}" re2)
