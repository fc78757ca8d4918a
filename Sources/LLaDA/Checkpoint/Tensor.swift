import Kernels

/// A tensor of an open checkpoint, row-major, little-endian: what it is, and where its bytes are.
package struct Tensor: Sendable {
    /// How the bytes are numbers.
    package enum Encoding: Sendable {
        /// Numbers, or bytes, one after another.
        case plain
        /// Blocks of a GGUF file; each row is a whole number of them.
        case blocks(GGUFType)
        /// The rows of several tensors, one tensor after the other. The places are theirs.
        case parts([Tensor])
    }

    /// A part of a file.
    package struct Place: Sendable, Equatable {
        package let file: InputFile
        package let bytes: Range<Int>

        package init(_ file: InputFile, _ bytes: Range<Int>) {
            self.file = file
            self.bytes = bytes
        }

        package static func == (one: Place, other: Place) -> Bool {
            one.file === other.file && one.bytes == other.bytes
        }
    }

    package let name: String
    /// The number format; nil if the tensor holds bytes, or numbers in a format that nothing is computed in.
    package let dtype: NumberFormat?
    package let encoding: Encoding
    package let shape: [Int]
    /// Where the bytes are, one part after another. They may be unaligned: the formats promise no alignment.
    package let places: [Place]

    package init(
        name: String, dtype: NumberFormat?, encoding: Encoding = .plain, shape: [Int], places: [Place]
    ) {
        self.name = name
        self.dtype = dtype
        self.encoding = encoding
        self.shape = shape
        self.places = places
    }

    package var byteCount: Int { places.reduce(0) { $0 + $1.bytes.count } }

    /// The numbers of a row: the last dimension.
    package var width: Int { shape.last ?? 1 }
    /// The rows; those of a stack of matrices are counted through.
    package var rows: Int { shape.dropLast().reduce(1, *) }

    /// The most bytes of a row as stored.
    package var rowBytes: Int {
        if case .parts(let parts) = encoding { return parts.reduce(0) { max($0, $1.rowBytes) } }
        return byteCount / max(rows, 1)
    }

    /// Returns some of the matrices of a stack, which the first dimension counts.
    package func matrices(_ range: Range<Int>) -> Tensor {
        guard let count = shape.first, range != 0..<count else { return self }
        let size = byteCount / count
        let bytes = range.lowerBound * size..<range.upperBound * size
        var cut: [Place] = []
        var start = 0  // of the place, in the tensor
        for place in places {
            let end = start + place.bytes.count
            let here = bytes.clamped(to: start..<end)
            let first = place.bytes.lowerBound + here.lowerBound - start
            if !here.isEmpty { cut.append(Place(place.file, first..<first + here.count)) }
            start = end
        }
        return Tensor(
            name: name, dtype: dtype, encoding: encoding, shape: [range.count] + shape.dropFirst(), places: cut)
    }

    /// Reads some of the bytes.
    package func read(_ offset: Int, into out: UnsafeMutableRawBufferPointer) throws(LLaDAError) {
        var start = 0  // of the place, in the tensor
        for place in places {
            let end = start + place.bytes.count
            let here = (offset..<offset + out.count).clamped(to: start..<end)
            if !here.isEmpty {
                try place.file.read(
                    place.bytes.lowerBound + here.lowerBound - start,
                    into: UnsafeMutableRawBufferPointer(
                        rebasing: out[here.lowerBound - offset..<here.upperBound - offset]))
            }
            start = end
        }
    }

    /// Reads some rows, as stored.  out: room for [rows.count] of `rowBytes`
    package func read(_ rows: Range<Int>, into out: UnsafeMutableRawPointer) throws(LLaDAError) {
        let size = rowBytes
        try read(
            rows.lowerBound * size, into: UnsafeMutableRawBufferPointer(start: out, count: rows.count * size))
    }

    /// Reads some rows of a tensor in GGUF's types, and writes them as f32.  out: [rows.count, width];
    /// stored: room for [rows.count] of `rowBytes`
    package func decode(
        _ rows: Range<Int>, stored: UnsafeMutableRawPointer, into out: UnsafeMutablePointer<Float>
    ) throws(LLaDAError) {
        switch encoding {
        case .plain: break  // no tensor of a GGUF file
        case .blocks(let type):
            try read(rows, into: stored)
            type.decode(stored, 0..<rows.count, width: width, into: out)
        case .parts(let parts):
            var first = 0  // the row of the whole at which the part begins
            for part in parts {
                let end = first + part.shape[0]
                let here = rows.clamped(to: first..<end)
                if !here.isEmpty {
                    try part.decode(
                        here.lowerBound - first..<here.upperBound - first, stored: stored,
                        into: out + (here.lowerBound - rows.lowerBound) * width)
                }
                first = end
            }
        }
    }
}
