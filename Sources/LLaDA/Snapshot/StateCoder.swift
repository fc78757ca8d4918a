/// A coder that writes values to bytes, or reads them from bytes: the contents of a snapshot are listed once, for both
/// ways.
///
/// `what` names a value in an error message. When reading, values are checked as they come: a count or a position out
/// of its range, and whatever fails `expect`, throws `.snapshot`.
protocol StateCoder {
    var isReading: Bool { get }

    mutating func number<Value: FixedWidthInteger & BitwiseCopyable>(
        _ what: String, _ value: inout Value
    ) throws(LLaDAError)
    mutating func integer(_ what: String, _ value: inout Int, in range: ClosedRange<Int>) throws(LLaDAError)
    mutating func flag(_ what: String, _ value: inout Bool) throws(LLaDAError)
    mutating func float(_ what: String, _ value: inout Float) throws(LLaDAError)
    mutating func value<Value: RawRepresentable>(_ what: String, _ value: inout Value) throws(LLaDAError)
    where Value.RawValue: FixedWidthInteger & BitwiseCopyable
    mutating func token(_ what: String, _ value: inout Int32, vocabSize: Int) throws(LLaDAError)

    /// Codes a number of elements of at least `size` bytes each.
    mutating func count(_ what: String, _ value: inout Int, ofSize size: Int) throws(LLaDAError)

    /// Codes bytes as they lie in memory.
    mutating func raw(_ what: String, _ bytes: UnsafeMutableRawBufferPointer) throws(LLaDAError)

    /// When reading, throws unless `isSound`.
    func expect(
        _ isSound: Bool, _ what: String, _ found: @autoclosure () -> String, _ expected: @autoclosure () -> String
    ) throws(LLaDAError)

    /// When reading, throws an error of `body` as an error of the snapshot.
    func check(_ body: () throws(LLaDAError) -> Void) throws(LLaDAError)
}

extension StateCoder {
    /// Codes the number of elements, then each element. An element has at least `size` bytes.
    mutating func list<Element>(
        _ what: String, _ elements: inout [Element], ofSize size: Int, empty: Element,
        _ code: (inout Self, inout Element) throws(LLaDAError) -> Void
    ) throws(LLaDAError) {
        var count = elements.count
        try self.count(what, &count, ofSize: size)
        for index in 0..<count {
            try Reserve.check()
            if isReading { elements.append(empty) }
            try code(&self, &elements[index])
        }
    }

    /// Codes `count` tokens, without the count.
    mutating func tokens(_ what: String, _ tokens: inout [Int32], _ count: Int, vocabSize: Int) throws(LLaDAError) {
        for index in 0..<count {
            if isReading { tokens.append(0) }
            try token(what, &tokens[index], vocabSize: vocabSize)
        }
    }

    /// Codes a set of tokens, ascending, so that equal sets have equal bytes.
    mutating func tokenSet(_ what: String, _ set: inout Set<Int32>, vocabSize: Int) throws(LLaDAError) {
        var sorted = isReading ? [] : set.sorted()
        try list("the length of a list", &sorted, ofSize: MemoryLayout<Int32>.size, empty: 0) {
            (coder, token) throws(LLaDAError) in
            try coder.token(what, &token, vocabSize: vocabSize)
        }
        for (before, after) in zip(sorted, sorted.dropFirst()) {
            try expect(before < after, what, "\(after)", "more than \(before), the one before")
        }
        if isReading { set = Set(sorted) }
    }

    mutating func range(_ what: String, _ range: inout Range<Int>, within count: Int) throws(LLaDAError) {
        var (start, end) = (range.lowerBound, range.upperBound)
        try integer(what, &start, in: 0...count)
        try integer(what, &end, in: start...count)
        range = start..<end
    }

    mutating func position(_ position: inout Int, within range: Range<Int>) throws(LLaDAError) {
        var number = Int64(position)
        try self.number("a position", &number)
        position = Int(number)
        try expect(range.contains(position), "a position", "\(position)", "one of \(range)")
    }
}

extension ByteWriter: StateCoder {
    var isReading: Bool { false }

    mutating func number<Value: FixedWidthInteger & BitwiseCopyable>(_ what: String, _ value: inout Value) {
        put(value)
    }
    mutating func integer(_ what: String, _ value: inout Int, in range: ClosedRange<Int>) { put(value) }
    mutating func flag(_ what: String, _ value: inout Bool) { put(value) }
    mutating func float(_ what: String, _ value: inout Float) { put(value) }
    mutating func value<Value: RawRepresentable>(_ what: String, _ value: inout Value)
    where Value.RawValue: FixedWidthInteger & BitwiseCopyable { put(value.rawValue) }
    mutating func token(_ what: String, _ value: inout Int32, vocabSize: Int) { put(value) }
    mutating func count(_ what: String, _ value: inout Int, ofSize size: Int) { put(value) }
    mutating func raw(_ what: String, _ bytes: UnsafeMutableRawBufferPointer) { put(UnsafeRawBufferPointer(bytes)) }
    func expect(
        _ isSound: Bool, _ what: String, _ found: @autoclosure () -> String, _ expected: @autoclosure () -> String
    ) {}
    func check(_ body: () throws(LLaDAError) -> Void) {}
}

extension SnapshotReader: StateCoder {
    var isReading: Bool { true }

    mutating func number<Value: FixedWidthInteger & BitwiseCopyable>(
        _ what: String, _ value: inout Value
    ) throws(LLaDAError) { value = try number(what, as: Value.self) }

    mutating func integer(_ what: String, _ value: inout Int, in range: ClosedRange<Int>) throws(LLaDAError) {
        value = try integer(what, in: range)
    }

    mutating func flag(_ what: String, _ value: inout Bool) throws(LLaDAError) {
        let byte = try number(what, as: UInt8.self)
        try expect(byte <= 1, what, "\(byte)", "0 or 1")
        value = byte == 1
    }

    mutating func float(_ what: String, _ value: inout Float) throws(LLaDAError) {
        value = Float(bitPattern: try number(what, as: UInt32.self))
    }

    mutating func value<Value: RawRepresentable>(_ what: String, _ value: inout Value) throws(LLaDAError)
    where Value.RawValue: FixedWidthInteger & BitwiseCopyable {
        let raw = try number(what, as: Value.RawValue.self)
        guard let known = Value(rawValue: raw) else { throw error(what, raw, expected: "a known one") }
        value = known
    }

    mutating func token(_ what: String, _ value: inout Int32, vocabSize: Int) throws(LLaDAError) {
        value = try token(what, vocabSize: vocabSize)
    }

    mutating func count(_ what: String, _ value: inout Int, ofSize size: Int) throws(LLaDAError) {
        value = try count(what, ofSize: size)
    }

    mutating func raw(_ what: String, _ bytes: UnsafeMutableRawBufferPointer) throws(LLaDAError) {
        try self.bytes(what, into: bytes)
    }

    func expect(
        _ isSound: Bool, _ what: String, _ found: @autoclosure () -> String, _ expected: @autoclosure () -> String
    ) throws(LLaDAError) {
        if !isSound { throw error(what, found(), expected: expected()) }
    }
}
