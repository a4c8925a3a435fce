# From the one list of variants (schedules/cpu/variants.json) to compiled kernels and their registry.
#
#   generators/<stem>.cpp + schedules/cpu/<stem>.cpp -> generate_<stem> (a program)
#   generate_<stem> + one line of the list           -> one object, symbol fourfold_<stem>_<isa>[_<parameters>]
#   all objects + Halide's runtime + halide_hooks    -> kernels.o, in which every halide_* symbol is local
#   all objects                                      -> variant_hashes.h: what tables of measurements know variants by
#   the list                                         -> registry_list.cpp
#
# The same code makes the library for all problems and, from a shorter list, libraries for certain ones
# (fourfold_add_library below). FOURFOLD_ROOT is the source tree, or what is installed of it under share/fourfold.
#
# Adding a variant is a line in the list. Adding a stage is a generator, its schedule and an entry in the list.

get_filename_component(FOURFOLD_ROOT "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)

# "m=8 n=3" -> "_m8_n3"; "mode=constant layout=nchw" -> "_constant_nchw"
function(_fourfold_suffix parameters result)
    string(REGEX REPLACE "(mode|layout|form)=" "" text "${parameters}")
    string(REPLACE "=" "" text "${text}")
    string(REPLACE " " "_" text "${text}")
    if(text)
        set(text "_${text}")
    endif()
    set(${result} "${text}" PARENT_SCOPE)
endfunction()

# The sources of a stem's generator: its two files and whatever they include from here, as paths from the root.
function(_fourfold_sources stem result)
    set(queue "generators/${stem}.cpp" "schedules/cpu/${stem}.cpp" "schedules/cuda/${stem}.cpp")
    set(found "")
    while(queue)
        list(POP_FRONT queue file)
        if(file IN_LIST found OR NOT EXISTS "${FOURFOLD_ROOT}/${file}")
            continue()
        endif()
        list(APPEND found "${file}")
        file(STRINGS "${FOURFOLD_ROOT}/${file}" includes REGEX "^#include \"")
        list(TRANSFORM includes REPLACE "^#include \"([^\"]*)\".*" "\\1")
        list(APPEND queue ${includes})
    endwhile()
    list(SORT found)
    set(${result} "${found}" PARENT_SCOPE)
endfunction()

# What a stem's machine code depends on besides parameters and target: the text of its sources and Halide's version. The
# key of what `fourfold search` compiles, which is known before anything is. A change to any of the sources configures again.
function(_fourfold_source_hash stem result)
    _fourfold_sources(${stem} sources)
    set(text "Halide ${Halide_VERSION}\n")
    foreach(file IN LISTS sources)
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${FOURFOLD_ROOT}/${file}")
        file(SHA256 "${FOURFOLD_ROOT}/${file}" hash)
        string(APPEND text "${file} ${hash}\n")
    endforeach()
    string(SHA256 hash "${text}")
    set(${result} "${hash}" PARENT_SCOPE)
endfunction()

# What kernels.o is made from: a line for each stage of the list and for the rest, with its hash.
function(_fourfold_origin list result)
    string(SHA256 hash "${list}")
    set(text "schedules/cpu/variants.json ${hash}\n")
    string(APPEND text "devices: CUDA ${HAVE_CUDA}, OpenCL ${HAVE_OPENCL}\n")
    foreach(file cmake/FourfoldKernels.cmake runtime/halide_hooks.cpp runtime/halide_hooks.h runtime/device_hooks.cpp runtime/device/runtime.h schedules/cuda/variants.json)
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${FOURFOLD_ROOT}/${file}")
        file(SHA256 "${FOURFOLD_ROOT}/${file}" hash)
        string(APPEND text "${file} ${hash}\n")
    endforeach()
    file(READ "${FOURFOLD_ROOT}/schedules/cuda/variants.json" device_list)
    foreach(stages_of list device_list)
        string(JSON count LENGTH "${${stages_of}}" stages)
        math(EXPR last "${count} - 1")
        foreach(s RANGE ${last})
            string(JSON stem MEMBER "${${stages_of}}" stages ${s})
            _fourfold_source_hash(${stem} hash)
            string(APPEND text "generators/${stem} ${hash}\n")
        endforeach()
    endforeach()
    set(${result} "${text}" PARENT_SCOPE)
endfunction()

# One program per stem, so that a change to one schedule recompiles its own variants only. With FOURFOLD_SIZED, one that takes
# sizes=LIST too (generators/sized.cpp).
function(_fourfold_add_generator stem)
    if(TARGET generate_${stem})
        return()
    endif()
    if(FOURFOLD_GENERATORS_FROM AND NOT FOURFOLD_SIZED)
        set(program "${FOURFOLD_GENERATORS_FROM}/generate_${stem}")
        _fourfold_sources(${stem} sources)
        foreach(file IN LISTS sources)
            if("${FOURFOLD_ROOT}/${file}" IS_NEWER_THAN "${program}")  # or the program is missing
                message(FATAL_ERROR "FOURFOLD_GENERATORS_FROM=${FOURFOLD_GENERATORS_FROM}: generate_${stem} is missing or older than ${file}; build fourfold_kernels there first")
            endif()
        endforeach()
        add_executable(generate_${stem} IMPORTED GLOBAL)
        set_target_properties(generate_${stem} PROPERTIES IMPORTED_LOCATION "${program}")
        return()
    endif()
    set(schedules "")
    foreach(device cpu cuda)
        if(EXISTS "${FOURFOLD_ROOT}/schedules/${device}/${stem}.cpp")
            list(APPEND schedules "${FOURFOLD_ROOT}/schedules/${device}/${stem}.cpp")
        endif()
    endforeach()
    add_executable(generate_${stem} "${FOURFOLD_ROOT}/generators/${stem}.cpp" ${schedules})
    target_include_directories(generate_${stem} PRIVATE "${FOURFOLD_ROOT}")
    # Generators run at build time only: quick to compile beats quick to run.
    target_compile_options(generate_${stem} PRIVATE -Wall -Wextra -O1)
    if(FOURFOLD_WERROR)
        target_compile_options(generate_${stem} PRIVATE -Werror)
    endif()
    if(FOURFOLD_SIZED)
        if(NOT TARGET fourfold_sized_main)
            add_library(fourfold_sized_main OBJECT "${FOURFOLD_ROOT}/generators/sized.cpp")
            target_link_libraries(fourfold_sized_main PRIVATE Halide::Halide)
            target_compile_options(fourfold_sized_main PRIVATE -Wall -Wextra -O1)
        endif()
        target_link_libraries(generate_${stem} PRIVATE fourfold_sized_main Halide::Halide)
    else()
        target_link_libraries(generate_${stem} PRIVATE Halide::Generator)
    endif()
endfunction()

# The features of Halide's target that instrument generated code as FOURFOLD_SANITIZE does ours; nothing for undefined behaviour.
function(_fourfold_sanitizer_features result)
    set(features "")
    foreach(pair address:asan thread:tsan)
        string(REPLACE ":" ";" pair "${pair}")
        list(GET pair 0 sanitizer)
        if(FOURFOLD_SANITIZE MATCHES "${sanitizer}")
            list(GET pair 1 feature)
            string(APPEND features "-${feature}")
        endif()
    endforeach()
    set(${result} "${features}" PARENT_SCOPE)
endfunction()

# Whether a variant is left out: instrumented by the address sanitizer, kernels take many times as long to compile, so of those that
# differ in their register tile only (the stage's "tile" in the list) the first is built, and no transform longer than the list's "sanitized".
function(_fourfold_leaves_out list stem parameters seen result)
    set(${result} FALSE PARENT_SCOPE)
    if(NOT FOURFOLD_SANITIZE MATCHES "address")
        return()
    endif()
    string(JSON tile ERROR_VARIABLE none GET "${list}" stages ${stem} tile)
    separate_arguments(words UNIX_COMMAND "${parameters}")
    set(rest "without tile:")
    foreach(word IN LISTS words)
        string(REPLACE "=" ";" pair "${word}")
        list(GET pair 0 key)
        list(GET pair 1 value)
        if(NOT "${tile}" MATCHES "\"${key}\"")
            string(APPEND rest " ${word}")
            string(JSON longest ERROR_VARIABLE none GET "${list}" sanitized ${key})
            if(NOT none AND value GREATER longest)
                set(${result} TRUE PARENT_SCOPE)
            endif()
        endif()
    endforeach()
    if("${rest}" IN_LIST ${seen})
        set(${result} TRUE PARENT_SCOPE)
    endif()
    list(APPEND ${seen} "${rest}")
    set(${seen} "${${seen}}" PARENT_SCOPE)
endfunction()

# One object from a generator.
function(_fourfold_compile stem symbol target parameters output)
    separate_arguments(arguments UNIX_COMMAND "${parameters}")
    get_filename_component(directory "${output}" DIRECTORY)
    add_custom_command(
        OUTPUT "${output}"
        # Halide's warnings are errors here: the script fails when the generator says anything at all.
        COMMAND sh "${FOURFOLD_ROOT}/cmake/quiet.sh" $<TARGET_FILE:generate_${stem}>
                -g ${stem} -f ${symbol} -n ${symbol} -e object -o "${directory}"
                target=${target}-no_runtime-user_context ${arguments}
        DEPENDS generate_${stem} $<TARGET_FILE:generate_${stem}> "${FOURFOLD_ROOT}/cmake/quiet.sh"
        COMMENT "Halide: ${symbol}"
        VERBATIM)
endfunction()

# avx512 -> Avx512, as in enum Isa
function(_fourfold_isa_constant isa result)
    string(SUBSTRING "${isa}" 0 1 first)
    string(SUBSTRING "${isa}" 1 -1 rest)
    string(TOUPPER "${first}" first)
    set(${result} "${first}${rest}" PARENT_SCOPE)
endfunction()

# Compiles the device variants of schedules/cuda/variants.json, each for every target of the devices that are ON, into DIRECTORY:
# FOURFOLD_DEVICE_OBJECTS, and the lines of the registry, FOURFOLD_DEVICE_DECLARATIONS and FOURFOLD_DEVICE_ENTRIES.
function(_fourfold_build_device_kernels directory)
    set(list_file "${FOURFOLD_ROOT}/schedules/cuda/variants.json")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${list_file}")
    file(READ "${list_file}" list)
    file(MAKE_DIRECTORY "${directory}")
    set(objects "")
    set(declarations "")
    set(entries "")
    string(JSON stage_count LENGTH "${list}" stages)
    math(EXPR last_stage "${stage_count} - 1")
    string(JSON target_count LENGTH "${list}" targets)
    math(EXPR last_target "${target_count} - 1")
    foreach(s RANGE ${last_stage})
        string(JSON stem MEMBER "${list}" stages ${s})
        _fourfold_add_generator(${stem})
        string(JSON count LENGTH "${list}" stages ${stem} variants)
        math(EXPR last "${count} - 1")
        foreach(v RANGE ${last})
            string(JSON parameters GET "${list}" stages ${stem} variants ${v})
            _fourfold_suffix("${parameters}" suffix)
            foreach(t RANGE ${last_target})
                string(JSON name MEMBER "${list}" targets ${t})
                if((name MATCHES "^cuda" AND NOT HAVE_CUDA) OR (name STREQUAL "opencl" AND NOT HAVE_OPENCL))
                    continue()
                endif()
                string(JSON target GET "${list}" targets ${name})
                set(variant "${stem}_${name}${suffix}")
                set(object "${directory}/fourfold_${variant}.o")
                _fourfold_compile(${stem} fourfold_${variant} ${target} "${parameters}" "${object}")
                list(APPEND objects "${object}")
                string(APPEND declarations "extern \"C\" int fourfold_${variant}_argv(void **);\n")
                string(APPEND entries "        {\"${name}\", {\"${stem}\", Isa::kGeneric, \"${parameters}\", \"${variant}\", fourfold_${variant}_argv, fourfold_${variant}_hash}},\n")
            endforeach()
        endforeach()
    endforeach()
    set(FOURFOLD_DEVICE_OBJECTS "${objects}" PARENT_SCOPE)
    set(FOURFOLD_DEVICE_DECLARATIONS "${declarations}" PARENT_SCOPE)
    set(FOURFOLD_DEVICE_ENTRIES "${entries}" PARENT_SCOPE)
endfunction()

# Compiles a list of variants (in the form of variants.json) into DIRECTORY: FOURFOLD_KERNELS_OBJECT, FOURFOLD_REGISTRY_SOURCE
# and the target ${name}_kernels. `from` is what the generated file names as its origin.
function(_fourfold_build_kernels name list from directory)
    file(MAKE_DIRECTORY "${directory}")
    file(READ "${FOURFOLD_ROOT}/schedules/cpu/variants.json" all)
    _fourfold_sanitizer_features(sanitizer)
    set(objects "")
    set(variant_objects "")
    set(arm_objects "")
    set(declarations "")
    set(entries "")
    string(JSON stage_count LENGTH "${list}" stages)
    math(EXPR last_stage "${stage_count} - 1")
    foreach(s RANGE ${last_stage})
        string(JSON stem MEMBER "${list}" stages ${s})
        _fourfold_add_generator(${stem})
        _fourfold_source_hash(${stem} source_hash)
        foreach(isa avx512 avx2 generic)
            string(JSON target GET "${all}" targets ${isa})
            string(SHA256 hash "${source_hash} ${target}")
            string(SUBSTRING "${hash}" 0 16 hash)
            string(APPEND hashes_of_${stem} "\"${isa}\": \"${hash}\", ")
            string(JSON count ERROR_VARIABLE none LENGTH "${list}" stages ${stem} ${isa})
            if(none OR count EQUAL 0)
                continue()
            endif()
            _fourfold_isa_constant(${isa} constant)
            math(EXPR last "${count} - 1")
            set(built "")
            foreach(v RANGE ${last})
                string(JSON parameters GET "${list}" stages ${stem} ${isa} ${v})
                _fourfold_leaves_out("${list}" ${stem} "${parameters}" built leave_out)
                if(leave_out)
                    continue()
                endif()
                _fourfold_suffix("${parameters}" suffix)
                set(variant "${stem}_${isa}${suffix}")
                set(object "${directory}/fourfold_${variant}.o")
                _fourfold_compile(${stem} fourfold_${variant} ${target}${sanitizer} "${parameters}" "${object}")
                list(APPEND objects "${object}")
                list(APPEND variant_objects "${object}")
                string(APPEND declarations "extern \"C\" int fourfold_${variant}_argv(void **);\n")

                # The variant again for certain sizes.
                set(sized "")
                string(JSON size_count ERROR_VARIABLE none LENGTH "${list}" sized ${variant})
                if(NOT none AND size_count GREATER 0)
                    set(kernels "")
                    math(EXPR last_size "${size_count} - 1")
                    foreach(k RANGE ${last_size})
                        string(JSON sizes GET "${list}" sized ${variant} ${k})
                        set(symbol "fourfold_${variant}_sized${k}")
                        _fourfold_compile(${stem} ${symbol} ${target}${sanitizer} "${parameters} sizes=${sizes}" "${directory}/${symbol}.o")
                        list(APPEND objects "${directory}/${symbol}.o")
                        string(REPLACE "*" "fourfold::kAnySize" sizes "${sizes}")
                        string(APPEND declarations "extern \"C\" int ${symbol}_argv(void **);\nstatic const int32_t ${symbol}[] = {${sizes}};\n")
                        string(APPEND kernels "{${symbol}, ${symbol}_argv}, ")
                    endforeach()
                    string(APPEND declarations "static const fourfold::SizedKernel fourfold_${variant}_sized[] = {${kernels}};\n")
                    set(sized ", fourfold_${variant}_sized, ${size_count}")
                endif()
                string(APPEND entries "        {\"${stem}\", Isa::k${constant}, \"${parameters}\", \"${variant}\", fourfold_${variant}_argv, fourfold_${variant}_hash${sized}},\n")
                if(isa STREQUAL generic)
                    set(arm_object "${directory}/arm64/fourfold_${variant}.o")
                    file(MAKE_DIRECTORY "${directory}/arm64")
                    _fourfold_compile(${stem} fourfold_${variant} arm-64-linux "${parameters}" "${arm_object}")
                    list(APPEND arm_objects "${arm_object}")
                endif()
            endforeach()
        endforeach()
    endforeach()

    set(FOURFOLD_STAGE_HASHES "")
    foreach(s RANGE ${last_stage})
        string(JSON stem MEMBER "${list}" stages ${s})
        string(REGEX REPLACE ", $" "" hashes "${hashes_of_${stem}}")
        string(APPEND FOURFOLD_STAGE_HASHES ",\n\"${stem}\": {${hashes}}")
    endforeach()
    string(REGEX REPLACE "^,\n" "" FOURFOLD_STAGE_HASHES "${FOURFOLD_STAGE_HASHES}")
    set(FOURFOLD_STAGE_HASHES "${FOURFOLD_STAGE_HASHES}" PARENT_SCOPE)

    # 64-bit ARM: the generic variants at least compile. Not part of the default build; a test builds it.
    add_custom_target(${name}_kernels_arm64 DEPENDS ${arm_objects})

    set(dispatch "")
    set(highest avx512)
    string(JSON problem_count ERROR_VARIABLE none LENGTH "${list}" problems)
    if(NOT none)
        string(JSON highest GET "${list}" isa)
        math(EXPR last_problem "${problem_count} - 1")
        foreach(p RANGE ${last_problem})
            string(JSON problem GET "${list}" problems ${p} problem)
            string(JSON algorithm GET "${list}" problems ${p} algorithm)
            string(JSON choice GET "${list}" problems ${p} choice)
            string(JSON threads ERROR_VARIABLE none GET "${list}" problems ${p} threads)
            if(none)
                set(threads 0)
            endif()
            string(APPEND dispatch "        {\"${problem}\", *parse_algorithm(\"${algorithm}\"), \"${choice}\", ${threads}},\n")
        endforeach()
    endif()
    _fourfold_isa_constant(${highest} highest)

    set(registry "${directory}/registry_list.cpp")
    file(CONFIGURE OUTPUT "${registry}" CONTENT
"// Generated from ${from}; do not edit.
#include \"registry.h\"
#include \"variant_hashes.h\"

${declarations}${FOURFOLD_DEVICE_DECLARATIONS}
namespace fourfold {

const std::vector<Variant> &built_in_variants() {
    static const std::vector<Variant> list = {
${entries}    };
    return list;
}

const std::vector<DeviceVariant> &device_variants() {
    static const std::vector<DeviceVariant> list = {
${FOURFOLD_DEVICE_ENTRIES}    };
    return list;
}

const std::vector<Dispatch> &dispatch_list() {
    static const std::vector<Dispatch> list = {
${dispatch}    };
    return list;
}

Isa highest_isa() {
    return Isa::k${highest};
}

}  // namespace fourfold
" @ONLY)

    if(NOT TARGET fourfold_hash_objects)
        add_executable(fourfold_hash_objects "${FOURFOLD_ROOT}/cmake/hash_objects.cpp")
        target_include_directories(fourfold_hash_objects PRIVATE "${FOURFOLD_ROOT}/runtime")
        target_compile_features(fourfold_hash_objects PRIVATE cxx_std_17)
        target_compile_options(fourfold_hash_objects PRIVATE -Wall -Wextra -O1)
    endif()
    set(hashes_header "${directory}/variant_hashes.h")
    list(APPEND variant_objects ${FOURFOLD_DEVICE_OBJECTS})
    string(REPLACE ";" "\n" lines "${variant_objects}")
    file(CONFIGURE OUTPUT "${directory}/variants.txt" CONTENT "${lines}\n" @ONLY)
    add_custom_command(
        OUTPUT "${hashes_header}"
        COMMAND fourfold_hash_objects "${hashes_header}" "${directory}/variants.txt"
        DEPENDS fourfold_hash_objects "${directory}/variants.txt" ${variant_objects}
        COMMENT "Hashing the variants"
        VERBATIM)

    _fourfold_origin("${list}" text)
    file(CONFIGURE OUTPUT "${directory}/wanted.origin" CONTENT "${text}" @ONLY)

    # Any generator can write Halide's runtime.
    string(JSON stem MEMBER "${list}" stages 0)
    set(runtime "${directory}/halide_runtime.o")
    add_custom_command(
        OUTPUT "${runtime}"
        COMMAND generate_${stem} -r halide_runtime -e object -o "${directory}" target=x86-64-linux-user_context${sanitizer}
        DEPENDS generate_${stem} $<TARGET_FILE:generate_${stem}>
        COMMENT "Halide: runtime"
        VERBATIM)

    if(NOT TARGET fourfold_halide_hooks)
        add_library(fourfold_halide_hooks OBJECT "${FOURFOLD_ROOT}/runtime/halide_hooks.cpp" "${FOURFOLD_ROOT}/runtime/device_hooks.cpp")
        set_target_properties(fourfold_halide_hooks PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_STANDARD 20)
        target_include_directories(fourfold_halide_hooks PRIVATE "${FOURFOLD_ROOT}/runtime"
            $<TARGET_PROPERTY:fourfold::fourfold,INTERFACE_INCLUDE_DIRECTORIES>)
        target_link_libraries(fourfold_halide_hooks PRIVATE Halide::Runtime)
        fourfold_private_options(fourfold_halide_hooks)
    endif()

    # One relocatable object whose only global names are ours: another Halide-made library in the same program keeps its
    # own handlers, allocator and thread pool.
    set(combined "${directory}/kernels.o")
    set(response "${directory}/kernels.rsp")
    list(APPEND objects ${FOURFOLD_DEVICE_OBJECTS})
    string(REPLACE ";" "\n" lines "${objects}")
    file(CONFIGURE OUTPUT "${response}" CONTENT "${lines}\n${runtime}\n" @ONLY)
    add_custom_command(
        OUTPUT "${combined}"
        # Groups too must go: a linker that meets the same one in another Halide-made library would drop ours.
        COMMAND ${CMAKE_LINKER} -r --force-group-allocation -o "${combined}.all" "@${response}" $<TARGET_OBJECTS:fourfold_halide_hooks>
        COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=fourfold_* "${combined}.all" "${combined}"
        COMMAND ${CMAKE_COMMAND} -E rm "${combined}.all"
        COMMAND ${CMAKE_COMMAND} -E copy "${directory}/wanted.origin" "${directory}/kernels.origin"
        DEPENDS "${directory}/wanted.origin" ${objects} "${runtime}" "${response}" fourfold_halide_hooks $<TARGET_OBJECTS:fourfold_halide_hooks>
        COMMAND_EXPAND_LISTS
        COMMENT "Linking the kernels into one object"
        VERBATIM)
    set(FOURFOLD_KERNELS_OBJECT "${combined}" PARENT_SCOPE)
    set(FOURFOLD_REGISTRY_SOURCE "${registry}" PARENT_SCOPE)
    add_custom_target(${name}_kernels DEPENDS "${combined}" "${hashes_header}")
endfunction()

# The kernels of another build of the same sources, FOURFOLD_KERNELS_FROM, which must be up to date.
function(_fourfold_take_kernels list)
    get_filename_component(directory "${FOURFOLD_KERNELS_FROM}/kernels" ABSOLUTE BASE_DIR "${PROJECT_SOURCE_DIR}")
    foreach(file kernels.o kernels.origin registry_list.cpp variant_hashes.h)
        if(NOT EXISTS "${directory}/${file}")
            message(FATAL_ERROR "FOURFOLD_KERNELS_FROM=${FOURFOLD_KERNELS_FROM}: there is no ${directory}/${file}; build fourfold_kernels there first")
        endif()
    endforeach()
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${directory}/kernels.origin")
    _fourfold_origin("${list}" wanted)
    file(READ "${directory}/kernels.origin" found)
    if(NOT found STREQUAL wanted)
        string(REPLACE "\n" ";" lines "${wanted}")
        foreach(line IN LISTS lines)
            string(FIND "${found}" "${line}\n" at)
            if(at EQUAL -1)
                string(REGEX REPLACE " [0-9a-f]+$" "" changed "${line}")
                break()
            endif()
        endforeach()
        message(FATAL_ERROR "FOURFOLD_KERNELS_FROM=${FOURFOLD_KERNELS_FROM}: its kernels are of another state (${changed}); build fourfold_kernels there first")
    endif()
    add_custom_target(fourfold_kernels)
    set(FOURFOLD_KERNELS_OBJECT "${directory}/kernels.o" PARENT_SCOPE)
    set(FOURFOLD_REGISTRY_SOURCE "${directory}/registry_list.cpp" PARENT_SCOPE)
endfunction()

# The library for all problems.
function(fourfold_add_kernels)
    set(FOURFOLD_VARIANTS "${FOURFOLD_ROOT}/schedules/cpu/variants.json" CACHE FILEPATH "The list of variants to build, such as fourfold tables reduce writes")
    get_filename_component(list_file "${FOURFOLD_VARIANTS}" ABSOLUTE BASE_DIR "${CMAKE_BINARY_DIR}")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${list_file}")
    file(READ "${list_file}" list)
    if(FOURFOLD_KERNELS_FROM)
        _fourfold_take_kernels("${list}")
        set(FOURFOLD_KERNELS_OBJECT "${FOURFOLD_KERNELS_OBJECT}" PARENT_SCOPE)
        set(FOURFOLD_REGISTRY_SOURCE "${FOURFOLD_REGISTRY_SOURCE}" PARENT_SCOPE)
        return()
    endif()
    _fourfold_build_device_kernels("${PROJECT_BINARY_DIR}/kernels/device")
    _fourfold_build_kernels(fourfold "${list}" "${list_file}" "${PROJECT_BINARY_DIR}/kernels")

    # What `fourfold search` needs: the spaces and the hashes of sources with targets, and Halide's runtime for a candidate.
    file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/kernels/search.json" CONTENT "{\"hashes\": {\n${FOURFOLD_STAGE_HASHES}},\n\"list\": ${list}}" @ONLY)
    set(candidate_runtime "${PROJECT_BINARY_DIR}/kernels/candidate_runtime.o")
    add_custom_command(
        OUTPUT "${candidate_runtime}"
        COMMAND ${CMAKE_LINKER} -r -o "${candidate_runtime}" "${PROJECT_BINARY_DIR}/kernels/halide_runtime.o" $<TARGET_OBJECTS:fourfold_halide_hooks>
        DEPENDS "${PROJECT_BINARY_DIR}/kernels/halide_runtime.o" fourfold_halide_hooks $<TARGET_OBJECTS:fourfold_halide_hooks>
        COMMAND_EXPAND_LISTS
        COMMENT "Halide's runtime for candidates"
        VERBATIM)
    add_custom_target(fourfold_candidate_runtime DEPENDS "${candidate_runtime}")
    add_dependencies(fourfold_candidate_runtime fourfold_kernels)
    set(FOURFOLD_KERNELS_OBJECT "${FOURFOLD_KERNELS_OBJECT}" PARENT_SCOPE)
    set(FOURFOLD_REGISTRY_SOURCE "${FOURFOLD_REGISTRY_SOURCE}" PARENT_SCOPE)
endfunction()

# fourfold_add_library(name SHAPES net.csv [TABLE table.json] [ISA avx512|avx2|generic] [THREADS n...])
# fourfold_add_library(name LIST library.json)
#
# A static library with fourfold's headers for exactly the problems of a file (as `fourfold compare --shapes` takes it): the
# plan that the library would choose for each (with TABLE: that a table of measurements names), its kernels once more with all
# sizes fixed, and nothing else. It reads no file and no environment, and is made by none. Link `name` instead of fourfold::fourfold,
# not beside it; the archive is lib<name>.a in the current binary directory. THREADS are the numbers of threads that sizes are fixed for
# (default 1), and that plans may choose for (PlanOptions::choose_for_threads); others are computed by kernels for any size, with the
# same result. ISA is the instruction set to build for (default: this machine's). LIST, which `fourfold generate` writes, has settled
# all that already.
function(fourfold_add_library name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "SHAPES;TABLE;LIST;ISA" "THREADS")
    set(directory "${CMAKE_CURRENT_BINARY_DIR}/${name}.fourfold")
    foreach(argument IN LISTS arg_UNPARSED_ARGUMENTS arg_KEYWORDS_MISSING_VALUES)
        message(FATAL_ERROR "fourfold_add_library(${name}): ${argument} is no argument of it, or lacks its value")
    endforeach()
    foreach(argument TABLE ISA THREADS)
        if(arg_LIST AND arg_${argument})
            message(FATAL_ERROR "fourfold_add_library(${name}): ${argument} goes with SHAPES; the choices of LIST ${arg_LIST} are made")
        endif()
    endforeach()
    file(MAKE_DIRECTORY "${directory}")
    if(arg_SHAPES AND NOT arg_LIST)
        get_filename_component(arg_SHAPES "${arg_SHAPES}" ABSOLUTE)
        set(arg_LIST "${directory}/library.json")
        get_target_property(command fourfold::command LOCATION)
        set(environment --unset=FOURFOLD_TABLE --unset=FOURFOLD_ISA)
        if(arg_ISA)
            list(APPEND environment "FOURFOLD_ISA=${arg_ISA}")
        endif()
        set(threads "")
        if(arg_THREADS)
            list(JOIN arg_THREADS "," threads)
            set(threads --threads ${threads})
        endif()
        set(table "")
        if(arg_TABLE)
            get_filename_component(arg_TABLE "${arg_TABLE}" ABSOLUTE)
            set(table --table "${arg_TABLE}")
        endif()
        set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${arg_SHAPES}" ${arg_TABLE} "${command}")
        execute_process(COMMAND ${CMAKE_COMMAND} -E env ${environment} "${command}" generate --list-only --shapes "${arg_SHAPES}" --out "${directory}" ${table} ${threads}
            RESULT_VARIABLE status ERROR_VARIABLE error OUTPUT_QUIET)
        if(NOT status EQUAL 0)
            message(FATAL_ERROR "fourfold_add_library(${name}): ${error}")
        endif()
    elseif(NOT arg_LIST OR arg_SHAPES)
        message(FATAL_ERROR "fourfold_add_library(${name}) needs SHAPES file.csv or LIST library.json")
    endif()
    get_filename_component(arg_LIST "${arg_LIST}" ABSOLUTE)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${arg_LIST}")
    file(READ "${arg_LIST}" list)
    set(FOURFOLD_SIZED ON)
    set(FOURFOLD_DEVICE_OBJECTS "")
    set(FOURFOLD_DEVICE_DECLARATIONS "")
    set(FOURFOLD_DEVICE_ENTRIES "")
    _fourfold_build_kernels(${name} "${list}" "${arg_LIST}" "${directory}")

    add_library(${name}_registry OBJECT "${FOURFOLD_REGISTRY_SOURCE}")
    set_target_properties(${name}_registry PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_compile_features(${name}_registry PRIVATE cxx_std_17)
    add_dependencies(${name}_registry ${name}_kernels)
    target_include_directories(${name}_registry PRIVATE "${FOURFOLD_ROOT}/runtime" $<TARGET_PROPERTY:fourfold::fourfold,INTERFACE_INCLUDE_DIRECTORIES>)

    # The installed library with its kernels and their registry exchanged.
    set(archive "${CMAKE_CURRENT_BINARY_DIR}/lib${name}.a")
    add_custom_command(
        OUTPUT "${archive}"
        COMMAND ${CMAKE_COMMAND} -E copy $<TARGET_FILE:fourfold::fourfold> "${archive}"
        COMMAND ${CMAKE_AR} d "${archive}" kernels.o registry_list.cpp.o
        COMMAND ${CMAKE_AR} qs "${archive}" "${FOURFOLD_KERNELS_OBJECT}" $<TARGET_OBJECTS:${name}_registry>
        DEPENDS "${FOURFOLD_KERNELS_OBJECT}" ${name}_registry $<TARGET_OBJECTS:${name}_registry> $<TARGET_FILE:fourfold::fourfold>
        COMMAND_EXPAND_LISTS
        COMMENT "Archiving lib${name}.a"
        VERBATIM)
    add_custom_target(${name}_archive ALL DEPENDS "${archive}")
    add_library(${name} INTERFACE)
    add_dependencies(${name} ${name}_archive)
    target_compile_features(${name} INTERFACE cxx_std_17)
    target_include_directories(${name} INTERFACE $<TARGET_PROPERTY:fourfold::fourfold,INTERFACE_INCLUDE_DIRECTORIES>)
    get_target_property(libraries fourfold::fourfold INTERFACE_LINK_LIBRARIES)
    target_link_libraries(${name} INTERFACE "${archive}" ${libraries})
endfunction()
