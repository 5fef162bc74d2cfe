# An overlay port of the checkout that it lies in: vcpkg install octavo --overlay-ports=packaging/vcpkg
set(SOURCE_PATH ${CURRENT_PORT_DIR}/../../..)
string(COMPARE EQUAL "${VCPKG_LIBRARY_LINKAGE}" dynamic SHARED)
vcpkg_cmake_configure(
  SOURCE_PATH ${SOURCE_PATH}
  OPTIONS -DOCTAVO_DEVELOPER=OFF -DOCTAVO_CLI=OFF -DOCTAVO_CUDA=off -DBUILD_SHARED_LIBS=${SHARED}
)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/octavo)
vcpkg_fixup_pkgconfig()
file(REMOVE_RECURSE ${CURRENT_PACKAGES_DIR}/debug/include)
vcpkg_install_copyright(FILE_LIST ${SOURCE_PATH}/LICENSE)
