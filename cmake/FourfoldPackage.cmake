# What `cmake --install`, the uninstall target and `cpack` do. Everything installed finds its parts by paths relative to
# itself: a prefix may be moved.
#   component library     libfourfold.a, libfourfold_c.so, headers, CMake package, pkg-config files, and the fourfold command
#   component generators  the algorithms and schedules as sources, from which fourfold_add_library() makes libraries
include(CMakePackageConfigHelpers)

set(config_directory "${CMAKE_INSTALL_LIBDIR}/cmake/fourfold")
set(share_directory "${CMAKE_INSTALL_DATADIR}/fourfold")

install(TARGETS fourfold EXPORT fourfoldTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT library)
if(TARGET fourfold_c)
    install(TARGETS fourfold_c EXPORT fourfoldTargets LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT library)
endif()
if(TARGET fourfold_command)
    set_target_properties(fourfold_command PROPERTIES EXPORT_NAME command)
    install(TARGETS fourfold_command EXPORT fourfoldTargets RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT library)
    install(FILES "${PROJECT_BINARY_DIR}/autotune/fourfold.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT library)
endif()
install(DIRECTORY runtime/include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT library FILES_MATCHING PATTERN "*.h")
install(EXPORT fourfoldTargets NAMESPACE fourfold:: DESTINATION "${config_directory}" COMPONENT library)
# Debian's form of the licence, with what binds a program that links this build.
if(HAVE_FFTW)
    string(CONCAT copyright_fft " The libraries and the fourfold command use FFTW, which is under the GNU General Public License, version 2 or later: this\n"
        " build, and every program that links it, is bound by that. The text is in /usr/share/common-licenses/GPL-2. A build with\n"
        " FOURFOLD_FFTW=OFF is not.\n")
else()
    set(copyright_fft " This build uses no code under the GNU General Public License: FFTW was left out.\n")
endif()
if(HAVE_KISSFFT)
    string(APPEND copyright_fft " .\n The libraries and the command use KissFFT (BSD-3-Clause).\n")
endif()
file(READ LICENSE copyright_licence)
string(STRIP "${copyright_licence}" copyright_licence)
string(REPLACE "\n\n" "\n.\n" copyright_licence "${copyright_licence}")
string(REPLACE "\n" "\n " copyright_licence " ${copyright_licence}")
configure_file(cmake/copyright.in "${PROJECT_BINARY_DIR}/package/copyright" @ONLY)
install(FILES LICENSE README.md CHANGELOG.md "${PROJECT_BINARY_DIR}/package/copyright" DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT library)

# The FFT libraries that libfourfold.a was built with, for those who link it: pkg-config modules.
set(fft_modules "")
if(HAVE_FFTW)
    list(APPEND fft_modules fftw3f)
endif()
if(HAVE_KISSFFT)
    list(APPEND fft_modules kissfft-float)
endif()

configure_package_config_file(cmake/fourfoldConfig.cmake.in "${PROJECT_BINARY_DIR}/package/fourfoldConfig.cmake"
    INSTALL_DESTINATION "${config_directory}"
    PATH_VARS share_directory)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/package/fourfoldConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/package/fourfoldConfig.cmake" "${PROJECT_BINARY_DIR}/package/fourfoldConfigVersion.cmake"
    DESTINATION "${config_directory}" COMPONENT library)

# From lib/<...>/pkgconfig up to the prefix.
file(RELATIVE_PATH pkgconfig_to_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" pkgconfig_to_prefix "${pkgconfig_to_prefix}")
string(REPLACE ";" " " pkgconfig_requires "${fft_modules}")
configure_file(cmake/fourfold.pc.in "${PROJECT_BINARY_DIR}/package/fourfold.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/package/fourfold.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT library)
if(TARGET fourfold_c)
    configure_file(cmake/fourfold_c.pc.in "${PROJECT_BINARY_DIR}/package/fourfold_c.pc" @ONLY)
    install(FILES "${PROJECT_BINARY_DIR}/package/fourfold_c.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT library)
endif()

# The same tree as here, so that the same CMake code works there.
install(DIRECTORY generators DESTINATION "${share_directory}" COMPONENT generators FILES_MATCHING PATTERN "*.h" PATTERN "*.cpp")
install(DIRECTORY schedules/cpu schedules/cuda DESTINATION "${share_directory}/schedules" COMPONENT generators
    FILES_MATCHING PATTERN "*.h" PATTERN "*.cpp" PATTERN "*.json")
install(FILES cmake/FourfoldKernels.cmake cmake/FourfoldOptions.cmake cmake/hash_objects.cpp cmake/quiet.sh DESTINATION "${share_directory}/cmake" COMPONENT generators)
install(FILES runtime/content_hash.h runtime/halide_hooks.cpp runtime/halide_hooks.h runtime/device_hooks.cpp runtime/machine.h runtime/registry.h DESTINATION "${share_directory}/runtime" COMPONENT generators)
install(FILES runtime/device/runtime.h DESTINATION "${share_directory}/runtime/device" COMPONENT generators)

# What is installed apart is not the uninstall target's: cpack stages /usr's files elsewhere, and the tests keep a list of their own.
install(CODE [[
    if(FOURFOLD_MANIFEST OR "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}" MATCHES "/_CPack_Packages/")
        set(CMAKE_INSTALL_LOCAL_ONLY ON)  # leaves install_manifest.txt alone
    endif()
    if(FOURFOLD_MANIFEST)
        list(JOIN CMAKE_INSTALL_MANIFEST_FILES "\n" files)
        file(WRITE "${FOURFOLD_MANIFEST}" "${files}")
    endif()
]] ALL_COMPONENTS)

# Builds what is installed, without tests and examples.
add_custom_target(fourfold_installed)
foreach(target fourfold fourfold_c fourfold_man)
    if(TARGET ${target})
        add_dependencies(fourfold_installed ${target})
    endif()
endforeach()

add_custom_target(uninstall
    COMMAND ${CMAKE_COMMAND} -DBUILD_DIRECTORY=${PROJECT_BINARY_DIR} -P "${PROJECT_SOURCE_DIR}/cmake/uninstall.cmake"
    COMMENT "Removing what was installed from here"
    VERBATIM)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME fourfold)
set(CPACK_PACKAGE_CONTACT "the fourfold developers <fourfold@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL OFF)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
# What the command and libfourfold_c.so link; and what linking the library itself needs.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
if(TARGET fourfold_c)
    # Packages of programs that link it may depend on any later version, while its soname is the same.
    set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
    set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
endif()
set(deb_depends "")
if(HAVE_FFTW)
    list(APPEND deb_depends libfftw3-dev)
endif()
if(HAVE_KISSFFT)
    list(APPEND deb_depends libkissfft-dev)
endif()
if(deb_depends)  # fourfoldConfig.cmake finds them by pkg-config
    list(APPEND deb_depends pkg-config)
endif()
list(JOIN deb_depends ", " CPACK_DEBIAN_PACKAGE_DEPENDS)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "cmake")
include(CPack)
