# From the one list of variants (schedules/cpu/variants.json) to compiled kernels and their registry.
#
#   generators/<stem>.cpp + schedules/cpu/<stem>.cpp -> generate_<stem> (a program)
#   generate_<stem> + one line of the list           -> one object, symbol fourfold_<stem>_<isa>[_<parameters>]
#   all objects + Halide's runtime + halide_hooks    -> kernels.o, in which every halide_* symbol is local
#   the list                                         -> registry_list.cpp
#   the objects                                      -> variant_hashes.cpp
#
# Adding a variant is a line in the list. Adding a stage is a generator, its schedule and an entry in the list.

# "m=8 n=3" -> "_m8_n3"; "mode=constant layout=nchw" -> "_constant_nchw"
function(_fourfold_suffix parameters result)
    string(REGEX REPLACE "(mode|layout)=" "" text "${parameters}")
    string(REPLACE "=" "" text "${text}")
    string(REPLACE " " "_" text "${text}")
    if(text)
        set(text "_${text}")
    endif()
    set(${result} "${text}" PARENT_SCOPE)
endfunction()

# One program per stem, so that a change to one schedule recompiles its own variants only.
function(_fourfold_add_generator stem)
    if(TARGET generate_${stem})
        return()
    endif()
    add_executable(generate_${stem} generators/${stem}.cpp schedules/cpu/${stem}.cpp)
    target_include_directories(generate_${stem} PRIVATE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(generate_${stem} PRIVATE Halide::Generator)
    # Generators run at build time only: quick to compile beats quick to run.
    target_compile_options(generate_${stem} PRIVATE -Wall -Wextra -O1)
    if(FOURFOLD_WERROR)
        target_compile_options(generate_${stem} PRIVATE -Werror)
    endif()
endfunction()

# One object from a generator.
function(_fourfold_compile stem symbol target parameters output)
    separate_arguments(arguments UNIX_COMMAND "${parameters}")
    get_filename_component(directory "${output}" DIRECTORY)
    add_custom_command(
        OUTPUT "${output}"
        # Halide's warnings are errors here: the script fails when the generator says anything at all.
        COMMAND sh "${PROJECT_SOURCE_DIR}/cmake/quiet.sh" $<TARGET_FILE:generate_${stem}>
                -g ${stem} -f ${symbol} -n ${symbol} -e object -o "${directory}"
                target=${target}-no_runtime-user_context ${arguments}
        DEPENDS generate_${stem} "${PROJECT_SOURCE_DIR}/cmake/quiet.sh"
        COMMENT "Halide: ${symbol}"
        VERBATIM)
endfunction()

function(fourfold_add_kernels)
    set(list_file "${PROJECT_SOURCE_DIR}/schedules/cpu/variants.json")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${list_file}")
    file(READ "${list_file}" list)
    set(directory "${PROJECT_BINARY_DIR}/kernels")
    file(MAKE_DIRECTORY "${directory}" "${directory}/arm64")

    set(objects "")
    set(arm_objects "")
    set(declarations "")
    set(entries "")
    set(isas avx512 avx2 generic)
    string(JSON stage_count LENGTH "${list}" stages)
    math(EXPR last_stage "${stage_count} - 1")
    foreach(s RANGE ${last_stage})
        string(JSON stem MEMBER "${list}" stages ${s})
        _fourfold_add_generator(${stem})
        foreach(isa IN LISTS isas)
            string(JSON target GET "${list}" targets ${isa})
            string(JSON count LENGTH "${list}" stages ${stem} ${isa})
            math(EXPR last "${count} - 1")
            foreach(v RANGE ${last})
                string(JSON parameters GET "${list}" stages ${stem} ${isa} ${v})
                _fourfold_suffix("${parameters}" suffix)
                set(name "${stem}_${isa}${suffix}")
                set(object "${directory}/fourfold_${name}.o")
                _fourfold_compile(${stem} fourfold_${name} ${target} "${parameters}" "${object}")
                list(APPEND objects "${object}")
                string(TOUPPER "${isa}" constant)
                string(REPLACE "AVX" "Avx" constant "${constant}")
                string(REPLACE "GENERIC" "Generic" constant "${constant}")
                string(APPEND declarations "extern \"C\" int fourfold_${name}_argv(void **);\n")
                string(APPEND entries "        {\"${stem}\", Isa::k${constant}, \"${parameters}\", \"${name}\", fourfold_${name}_argv},\n")
                if(isa STREQUAL generic)
                    set(arm_object "${directory}/arm64/fourfold_${name}.o")
                    _fourfold_compile(${stem} fourfold_${name} arm-64-linux "${parameters}" "${arm_object}")
                    list(APPEND arm_objects "${arm_object}")
                endif()
            endforeach()
        endforeach()
    endforeach()

    # 64-bit ARM: the generic variants at least compile. Not part of the default build; a test builds it.
    add_custom_target(fourfold_kernels_arm64 DEPENDS ${arm_objects})

    set(registry "${PROJECT_BINARY_DIR}/kernels/registry_list.cpp")
    file(CONFIGURE OUTPUT "${registry}" CONTENT
"// Generated from schedules/cpu/variants.json; do not edit.
#include \"registry.h\"

${declarations}
namespace fourfold {

const std::vector<Variant> &registry() {
    static const std::vector<Variant> list = {
${entries}    };
    return list;
}

}  // namespace fourfold
" @ONLY)

    # A variant's content hash is its object's: that changes with the generator, the schedule, the parameters, the target and
    # Halide's code generation, and with nothing else.
    set(hashes "${directory}/variant_hashes.cpp")
    string(REPLACE ";" "\n" lines "${objects}")
    file(CONFIGURE OUTPUT "${directory}/objects.txt" CONTENT "${lines}\n" @ONLY)
    add_custom_command(
        OUTPUT "${hashes}"
        COMMAND ${CMAKE_COMMAND} -D "OBJECTS=${directory}/objects.txt" -D "OUTPUT=${hashes}" -P "${PROJECT_SOURCE_DIR}/cmake/hash_variants.cmake"
        DEPENDS ${objects} "${directory}/objects.txt" "${PROJECT_SOURCE_DIR}/cmake/hash_variants.cmake"
        COMMENT "Hashing the variants"
        VERBATIM)

    set(runtime "${directory}/halide_runtime.o")
    list(GET objects 0 first_object)
    add_custom_command(
        OUTPUT "${runtime}"
        COMMAND generate_crop -r halide_runtime -e object -o "${directory}" target=x86-64-linux-user_context
        DEPENDS generate_crop
        COMMENT "Halide: runtime"
        VERBATIM)

    add_library(fourfold_halide_hooks OBJECT runtime/halide_hooks.cpp)
    target_include_directories(fourfold_halide_hooks PRIVATE runtime)
    target_link_libraries(fourfold_halide_hooks PRIVATE Halide::Runtime)
    fourfold_private_options(fourfold_halide_hooks)

    # One relocatable object whose only global names are ours: another Halide-made library in the same program keeps its
    # own handlers, allocator and thread pool.
    set(combined "${directory}/kernels.o")
    set(response "${directory}/kernels.rsp")
    string(REPLACE ";" "\n" lines "${objects}")
    file(CONFIGURE OUTPUT "${response}" CONTENT "${lines}\n${runtime}\n" @ONLY)
    add_custom_command(
        OUTPUT "${combined}"
        COMMAND ${CMAKE_LINKER} -r -o "${combined}.all" "@${response}" $<TARGET_OBJECTS:fourfold_halide_hooks>
        COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=fourfold_* "${combined}.all" "${combined}"
        COMMAND ${CMAKE_COMMAND} -E rm "${combined}.all"
        DEPENDS ${objects} "${runtime}" "${response}" fourfold_halide_hooks $<TARGET_OBJECTS:fourfold_halide_hooks>
        COMMAND_EXPAND_LISTS
        COMMENT "Linking the kernels into one object"
        VERBATIM)
    set(FOURFOLD_KERNELS_OBJECT "${combined}" PARENT_SCOPE)
    set(FOURFOLD_REGISTRY_SOURCE "${registry}" "${hashes}" PARENT_SCOPE)
    add_custom_target(fourfold_kernels DEPENDS "${combined}" "${hashes}")
endfunction()
