# What every target of ours is built with, and the few shapes of target that we have.

add_library(virtufin_options INTERFACE)
target_compile_options(virtufin_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
                                                  -Werror=return-type -Werror=unused-result)
target_compile_definitions(virtufin_options INTERFACE BOOST_ASIO_NO_DEPRECATED
                                                      BOOST_BIND_GLOBAL_PLACEHOLDERS)
if(VIRTUFIN_SANITIZE)
  # The whole tree, generated code included: a sanitizer that sees half of it cries wolf.
  add_compile_options(-fsanitize=${VIRTUFIN_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${VIRTUFIN_SANITIZE})
endif()

# virtufin_library(name SOURCES … LINKS …): one room. LINKS states the edges of src/README.md.
function(virtufin_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(${name} PUBLIC ${ARG_LINKS} PRIVATE virtufin_options)
  if(VIRTUFIN_FUZZ)
    # The fuzzer must see which branches its input takes in our code, not only in the target's main.
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link)
    target_link_options(${name} INTERFACE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# What the tsan and fuzz presets build: only what they run.
add_custom_target(virtufin_tests)
add_custom_target(virtufin_fuzz_targets)

# virtufin_test(name SOURCES … LINKS … [NO_TSAN]): one Catch2 program, registered with ctest. NO_TSAN:
# the preset of the thread sanitizer leaves it out. It links gRPC, or walks maps by protobuf's
# reflection (whose classes have other members under that sanitizer than in Debian's library).
function(virtufin_test name)
  cmake_parse_arguments(ARG "NO_TSAN" "TIMEOUT" "SOURCES;LINKS" ${ARGN})
  if(ARG_NO_TSAN AND VIRTUFIN_SANITIZE STREQUAL "thread")
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} virtufin_test_main virtufin_options)
  add_dependencies(virtufin_tests ${name})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} SKIP_RETURN_CODE 77)
  if(VIRTUFIN_SANITIZE STREQUAL "thread")
    set_tests_properties(${name} PROPERTIES ENVIRONMENT "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp")
  endif()
endfunction()

# virtufin_fuzz(name SOURCES … LINKS …): one libFuzzer target, run for ten seconds by ctest.
function(virtufin_fuzz name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} virtufin_options)
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(virtufin_fuzz_targets ${name})
  set(corpus ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/corpus/${name})
  if(NOT EXISTS ${corpus})
    set(corpus "")
  endif()
  add_test(NAME ${name} COMMAND ${name} -max_total_time=10 -rss_limit_mb=2048 -timeout=5
                                ${CMAKE_BINARY_DIR}/corpus/${name} ${corpus})
  set_tests_properties(${name} PROPERTIES TIMEOUT 120)
endfunction()
