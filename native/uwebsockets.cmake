# Where the µWebSockets sources are: UWEBSOCKETS_DIR, as a CMake variable or in the environment, else the submodule. Included by
# the build of the addon and by that of the benchmark, whose C++ servers are made of the same sources.
set(UWEBSOCKETS_DIR "" CACHE PATH "A µWebSockets checkout (default: $UWEBSOCKETS_DIR, else external/uwebsockets)")

if(NOT UWEBSOCKETS_DIR)
  if(DEFINED ENV{UWEBSOCKETS_DIR})
    set(UWEBSOCKETS_DIR "$ENV{UWEBSOCKETS_DIR}")
  else()
    set(UWEBSOCKETS_DIR "${CMAKE_CURRENT_LIST_DIR}/../external/uwebsockets")
  endif()
endif()
get_filename_component(UWEBSOCKETS_DIR "${UWEBSOCKETS_DIR}" ABSOLUTE)
foreach(needed IN ITEMS src/App.h uSockets/Makefile)
  if(NOT EXISTS "${UWEBSOCKETS_DIR}/${needed}")
    message(FATAL_ERROR "${UWEBSOCKETS_DIR}/${needed} is missing. "
      "Run: git submodule update --init external/uwebsockets && git -C external/uwebsockets submodule update --init uSockets")
  endif()
endforeach()
