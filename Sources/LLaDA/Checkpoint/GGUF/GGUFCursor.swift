/// A position in a part of a GGUF file that only moves forward. Whatever would reach beyond the end throws `.gguf`. The
/// bytes that it has stepped over are in memory.
struct GGUFCursor: Sendable {
    private let prefix: FilePrefix
    private let file: String
    var position: Int
    private let end: Int

    /// The most bytes of metadata. The tokenizer of LLaDA2.x takes 6 MB of them.
    private static let limit = 1 << 30

    init(_ prefix: FilePrefix, _ place: Range<Int>, file: String) {
        self.prefix = prefix
        self.file = file
        (position, end) = (place.lowerBound, place.upperBound)
    }

    var rest: Int { end - position }

    func error(_ problem: String) -> LLaDAError { LLaDAError(.gguf, "\(file): \(problem)") }

    /// Steps over `count` bytes of `what`, and returns their place.
    mutating func take(_ count: Int, _ what: @autoclosure () -> String) throws(LLaDAError) -> Range<Int> {
        if count > rest {
            throw error(
                "\(what()) has \(count) bytes, but only \(rest) are left: it is cut short, or lies about its size")
        }
        if count > Self.limit - position {
            throw error("\(what()) ends behind the first \(Self.limit) bytes, where metadata must end")
        }
        defer { position += count }
        try prefix.reach(position + count)
        return position..<position + count
    }

    mutating func integer<Integer: FixedWidthInteger & BitwiseCopyable>(
        _ type: Integer.Type, _ what: @autoclosure () -> String
    ) throws(LLaDAError) -> Integer {
        let place = try take(MemoryLayout<Integer>.size, what())
        return Integer(littleEndian: prefix.bytes.loadUnaligned(fromByteOffset: place.lowerBound, as: Integer.self))
    }

    /// Reads a count of things that take at least `size` bytes each, so that no count is larger than the file.
    mutating func count(of size: Int, _ what: @autoclosure () -> String) throws(LLaDAError) -> Int {
        let count = try integer(UInt64.self, what())
        if count > UInt64(rest / size) {
            throw error("\(what()) is \(count); the \(rest) bytes that are left have room for \(rest / size) at most")
        }
        return Int(count)
    }

    /// Steps over a string, and returns the place of its bytes.
    mutating func string(_ what: @autoclosure () -> String) throws(LLaDAError) -> Range<Int> {
        let length = try count(of: 1, "the length of \(what())")
        return try take(length, what())
    }

    /// Reads a name: a short string.
    mutating func name(_ what: @autoclosure () -> String) throws(LLaDAError) -> JSONString {
        let place = try string(what())
        if place.count > GGUF.longestName {
            throw error("\(what()) has \(place.count) bytes; at most \(GGUF.longestName) are accepted")
        }
        return JSONString(prefix.bytes[place])
    }
}
