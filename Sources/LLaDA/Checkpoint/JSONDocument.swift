/// The text of a JSON document that `JSONParser` has checked, and what it takes to read values from it: a few bytes
/// beside the text, whatever the document is.
///
/// Values are found by reading the text on from where they begin. So that this does not take the square of its length,
/// the document knows the ends of its large arrays and objects.
final class JSONDocument: @unchecked Sendable {  // it never changes once the parser is done
    /// Where an array or object of at least `leastSkipped` bytes begins and ends.
    struct Skip: BitwiseCopyable {
        var start: UInt32
        var end: UInt32
    }

    /// What stands for a member of an object that has its key several times: its value, or, for all but the first,
    /// nothing.
    struct Replacement: BitwiseCopyable {
        var key: UInt32  // the place of the key
        var value: UInt32  // the place of the last value; 0 for nothing
    }

    static let leastSkipped = 1024

    let text: UnsafeBufferPointer<UInt8>
    private let owner: AnyObject?
    private let rules: JSON.Rules
    /// The bytes of strings with escapes, each at the place of its text; nil if there are none.
    private let unescaped: Buffer<UInt8>?
    /// In the order of their starts.
    private let skips: Buffer<Skip>?
    /// In the order of their keys; nil if no key is there twice.
    private let replacements: Buffer<Replacement>?

    init(
        _ shared: SharedBytes, _ rules: JSON.Rules, unescaped: Buffer<UInt8>?, skips: Buffer<Skip>?,
        replacements: Buffer<Replacement>?
    ) {
        text = shared.bytes.assumingMemoryBound(to: UInt8.self)
        owner = shared.owner
        self.rules = rules
        self.unescaped = unescaped
        self.skips = skips
        self.replacements = replacements
    }

    /// A document without text: the arrays and objects in it are empty.
    static let empty = JSONDocument(
        SharedBytes(UnsafeRawBufferPointer(start: nil, count: 0), owner: nil), .strict, unescaped: nil, skips: nil,
        replacements: nil)

    /// The document itself.
    var value: JSON { value(at: skipSpace(0)) }

    // MARK: Reading on

    func byte(_ position: Int) -> UInt8 { position < text.count ? text[position] : 0 }

    func skipSpace(_ position: Int) -> Int {
        var position = position
        while position < text.count, JSONParser.isSpace(text[position]) { position += 1 }
        return position
    }

    /// Returns the value that begins at this place.
    func value(at place: Int) -> JSON {
        switch byte(place) {
        case UInt8(ascii: "{"): return .object(JSONObject(self, start: place + 1))
        case UInt8(ascii: "["): return .array(JSONArray(self, start: place + 1))
        case UInt8(ascii: "\""): return .string(string(at: place).string)
        case UInt8(ascii: "t"): return .bool(true)
        case UInt8(ascii: "f"): return .bool(false)
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "N"): return .double(.nan)
        case UInt8(ascii: "I"): return .double(.infinity)
        default: return number(at: place)
        }
    }

    private func number(at place: Int) -> JSON {
        let digits = UnsafeBufferPointer(rebasing: text[place..<scalarEnd(place)])
        switch JSONNumber(digits) {
        case .integer(let value): return .integer(value)
        case .large where rules == .python: return .largeInteger(JSONString(digits, owner: self))
        case .large, .fraction:
            return .double(
                JSONNumber.double(digits) ?? (digits.first == UInt8(ascii: "-") ? -.infinity : .infinity))
        }
    }

    /// Returns the place behind the value that begins at this place.
    func end(of place: Int) -> Int {
        switch byte(place) {
        case UInt8(ascii: "\""): Self.stringEnd(text, place).end
        case UInt8(ascii: "{"), UInt8(ascii: "["): containerEnd(place)
        default: scalarEnd(place)
        }
    }

    private func scalarEnd(_ place: Int) -> Int {
        var position = place
        while position < text.count {
            switch text[position] {
            case UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"), 0x20, 0x0A, 0x0D, 0x09: return position
            default: position += 1
            }
        }
        return position
    }

    private func containerEnd(_ start: Int) -> Int {
        let limit = min(text.count, start + Self.leastSkipped)
        var depth = 0
        var position = start
        while position < limit {
            switch text[position] {
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                if depth == 0 { return position + 1 }
            case UInt8(ascii: "\""):
                position = Self.stringEnd(text, position).end
                continue
            default: break
            }
            position += 1
        }
        guard let skips else { return text.count }
        let place = skips.elements.firstPlace { $0.start >= start }
        return place < skips.count ? Int(skips.pointer[place].end) : text.count
    }

    // MARK: Strings

    /// Returns the place behind the string whose opening quote is here, and the number of its bytes if it has escapes.
    @inline(__always)
    static func stringEnd(
        _ text: UnsafeBufferPointer<UInt8>, _ place: Int
    ) -> (end: Int, unescapedCount: Int?) {
        var position = place + 1
        var dropped = 0  // bytes of escapes that are not bytes of the string
        while true {
            position = JSONParser.plainEnd(text, position)
            guard position < text.count else { return (text.count, nil) }
            switch text[position] {
            case UInt8(ascii: "\\"):
                let escape = JSONEscape.length(text, position)
                dropped += escape.written - escape.meant
                position += escape.written
            case UInt8(ascii: "\""):
                let written = position - place - 1
                return (position + 1, dropped == 0 ? nil : written - dropped)
            default: position += 1  // a byte of a character beyond ASCII
            }
        }
    }

    /// Returns the string whose opening quote is here, and the place behind it.
    @inline(__always)
    func string(at place: Int) -> (string: JSONString, end: Int) {
        let (end, count) = Self.stringEnd(text, place)
        if let count, let unescaped {
            let bytes = UnsafeBufferPointer(start: unescaped.pointer + place, count: count)
            return (JSONString(bytes, owner: self), end)
        }
        let bytes = UnsafeBufferPointer(rebasing: text[min(place + 1, end)..<max(place + 1, end - 1)])
        return (JSONString(bytes, owner: self), end)
    }

    /// Returns the place of the value that stands for the member with the key at this place, which has its own value at
    /// `value`; nil if another member stands for it.
    func place(ofValue value: Int, key: Int) -> Int? {
        guard let replacements else { return value }
        let place = replacements.elements.firstPlace { $0.key >= key }
        guard place < replacements.count, replacements.pointer[place].key == key else { return value }
        let replacement = Int(replacements.pointer[place].value)
        return replacement == 0 ? nil : replacement
    }
}

extension UnsafeMutableBufferPointer {
    /// Returns the place of the first element that `isThere`, of which all that follow are there too.
    package func firstPlace(where isThere: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isThere(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
