// A package target needs one source file; the header is all there is to this one.
