#!/usr/bin/env bash
# Installs into an empty folder, builds programs outside the repository against what is there, by pkg-config and by
# CMake, and runs them. Then the tree is moved, and all of it must work again.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
repo=$PWD
part() { sed -n "s/^#define LLADA_VERSION_$1 //p" include/llada.h; }
major=$(part MAJOR) minor=$(part MINOR) patch=$(part PATCH)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
verdict() { # name, status of the command before
    if [ "$2" = 0 ]; then
        printf '%-56s ok\n' "$1"
        passed=$((passed + 1))
    else
        printf '%-56s FAILED\n' "$1"
        sed 's/^/    /' "$work/log"
        failed=$((failed + 1))
    fi
}
try() { # name, command...
    local name=$1
    shift
    "$@" >"$work/log" 2>&1
    verdict "$name" $?
}
install_into() { ${MAKE:-make} --no-print-directory install "$@"; }

cat >"$work/hello.c" <<'C'
#include <llada.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    llada_model *model = 0;
    llada_error error = LLADA_ERROR_INIT;
    puts(llada_build_info());
    return llada_version() != LLADA_VERSION ||
           llada_model_open("no/such/folder", 0, &model, &error) != LLADA_ERROR_IO ||
           !strstr(error.message, "no/such/folder");
}
C
mkdir "$work/project"
cat >"$work/project/CMakeLists.txt" <<C
cmake_minimum_required(VERSION 3.16)
project(hello LANGUAGES C CXX)
find_package(llada $major.$minor REQUIRED)
find_package(llada REQUIRED)
add_executable(hello ../hello.c)
target_link_libraries(hello PRIVATE llada::llada)
configure_file(../hello.c \${CMAKE_BINARY_DIR}/hello.cc COPYONLY)
add_executable(hello_cxx \${CMAKE_BINARY_DIR}/hello.cc)
target_link_libraries(hello_cxx PRIVATE llada::llada)
C

with_pkg_config() { # prefix
    export PKG_CONFIG_PATH=$1/lib/pkgconfig
    pkg-config --exists "llada = $major.$minor.$patch" && ! pkg-config --exists "llada >= $((major + 1))" &&
        read -ra flags < <(pkg-config --cflags --libs llada) &&
        ${CC:-cc} "$work/hello.c" -o "$work/hello" "${flags[@]}" &&
        LD_LIBRARY_PATH=$1/lib "$work/hello"
}
with_cmake() { # prefix
    rm -rf "$work/build" && mkdir "$work/build" && cd "$work/build" &&
        cmake -DCMAKE_PREFIX_PATH="$1" ../project && cmake --build . && ./hello && ./hello_cxx
}
refuses() { # prefix, version that a program wants and must not get
    rm -rf "$work/build" && mkdir "$work/build" && cd "$work/build" &&
        sed "s/llada $major.$minor REQ/llada $2 REQ/" ../project/CMakeLists.txt >CMakeLists.txt &&
        grep -q "llada $2 REQ" CMakeLists.txt &&
        ! cmake -DCMAKE_PREFIX_PATH="$1" -B there .
}
examples_with_cmake() { # prefix
    rm -rf "$work/examples" &&
        cmake -S "$repo/examples/c" -B "$work/examples" -DCMAKE_PREFIX_PATH="$1" -DCMAKE_C_FLAGS=-Werror &&
        cmake --build "$work/examples" && ! "$work/examples/generate" -m no/such/folder hello
}
listing() { # prefix
    diff - <(cd "$1" && find . ! -type d | LC_ALL=C sort) <<L
./include/llada.h
./lib/cmake/llada/lladaConfig.cmake
./lib/cmake/llada/lladaConfigVersion.cmake
./lib/libllada.so
./lib/libllada.so.$major
./lib/libllada.so.$major.$minor.$patch
./lib/pkgconfig/llada.pc
L
}
stripped() { readelf -SW "$1/lib/libllada.so" >"$work/sections" && ! grep -q '\.symtab' "$work/sections"; }
nowhere() { ! grep -rF -e "$repo" -e "$work" "$1/lib/pkgconfig" "$1/lib/cmake"; }

try 'make install' install_into PREFIX="$work/first place"
mv "$work/first place" "$work/first" 2>/dev/null
try 'make install PREFIX= DESTDIR=' install_into PREFIX=/opt/llada DESTDIR="$work/stage"
try 'installs what it should and nothing else' listing "$work/first"
try 'DESTDIR stands before PREFIX' listing "$work/stage/opt/llada"
try 'the library is stripped' stripped "$work/first"
try 'no file names the place it was built or installed' nowhere "$work/first"
for place in first stage/opt/llada; do
    try "a program outside, by pkg-config ($place)" with_pkg_config "$work/$place"
    try "a program outside, in C and C++, by CMake ($place)" with_cmake "$work/$place"
done
try 'CMake refuses a version to come' refuses "$work/first" "$((major + 1)).0"
try 'CMake refuses one with another ABI' refuses "$work/first" 0.1
mkdir "$work/moved" && mv "$work/first" "$work/moved/on"
try 'moved: by pkg-config' with_pkg_config "$work/moved/on"
try 'moved: by CMake' with_cmake "$work/moved/on"
try 'the C examples, by CMake' examples_with_cmake "$work/moved/on"

printf '%d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
