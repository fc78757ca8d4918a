// string.cpp - std::string's functions, compiled into the library: those of libstdc++ would call its own `new`, and
// Swift's runtime, which spells types with them, cannot catch what that throws.
#include <string>

template class std::basic_string<char>;
