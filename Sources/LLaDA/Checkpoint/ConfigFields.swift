/// The typed members of one object of a configuration file. null is absent, and 64.0 is 64, as some tools write it.
/// Otherwise types are taken literally: "64" is no number, and 1 is no boolean.
struct ConfigFields {
    let file: String
    let object: JSONObject
    /// The full path of this object, such as "rope_parameters."; messages put it before each key.
    var prefix = ""

    init(_ json: JSON, file: String) throws(LLaDAError) {
        guard case .object(let object) = json else {
            throw LLaDAError(.config, "\(file): is \(json.summary); expected an object")
        }
        self.file = file
        self.object = object
    }

    func error(_ key: JSONString, found: String, expected: String, _ status: Status = .config) -> LLaDAError {
        LLaDAError(status, file: file, key: prefix + key.string, found: found, expected: expected)
    }

    /// Returns the value; nil if it is absent or null. Python writes None for "not set".
    func value(_ key: JSONString) -> JSON? {
        if case .null? = object[key] { return nil }
        return object[key]
    }

    // MARK: Integers

    private static let mostIntegers = 4096

    func integer(_ key: JSONString, in range: ClosedRange<Int>) throws(LLaDAError) -> Int? {
        guard let value = value(key) else { return nil }
        return try integer(key, value, in: range)
    }

    func requiredInteger(_ key: JSONString, in range: ClosedRange<Int>) throws(LLaDAError) -> Int {
        guard let value = object[key] else {
            throw error(key, found: "missing", expected: Self.expectation(range))
        }
        return try integer(key, value, in: range)
    }

    /// Returns the integers of a list, or one integer as a list.
    func integers(_ key: JSONString, in range: ClosedRange<Int>) throws(LLaDAError) -> [Int]? {
        guard let value = value(key) else { return nil }
        guard case .array(let values) = value else { return [try integer(key, value, in: range)] }
        var integers: [Int] = []
        for element in values {
            if integers.count == Self.mostIntegers {
                throw error(key, found: value.summary, expected: "at most \(Self.mostIntegers) integers")
            }
            integers.append(try integer(key, element, in: range))
        }
        if integers.isEmpty { throw error(key, found: "an empty array", expected: "integers, or null for none") }
        return integers
    }

    private func integer(_ key: JSONString, _ value: JSON, in range: ClosedRange<Int>) throws(LLaDAError) -> Int {
        guard let number = Self.whole(value), range.contains(number) else {
            throw error(key, found: value.summary, expected: Self.expectation(range))
        }
        return number
    }

    private static func whole(_ value: JSON) -> Int? {
        switch value {
        case .integer(let integer): integer
        case .double(let double): Int(exactly: double)
        default: nil
        }
    }

    private static func expectation(_ range: ClosedRange<Int>) -> String {
        "an integer from \(range.lowerBound) to \(range.upperBound)"
    }

    // MARK: Other types

    /// Returns a positive number that stays positive and finite in f32, the precision of the engine.
    func positive(_ key: JSONString) throws(LLaDAError) -> Double? {
        guard let value = value(key) else { return nil }
        guard let number = Self.number(value), Float(number) > 0, Float(number).isFinite else {
            throw error(key, found: value.summary, expected: "a positive number within the range of a float")
        }
        return number
    }

    func number(_ key: JSONString, in range: ClosedRange<Double>) throws(LLaDAError) -> Double? {
        guard let value = value(key) else { return nil }
        guard let number = Self.number(value), range.contains(number) else {
            throw error(key, found: value.summary, expected: Self.expectation(range))
        }
        return number
    }

    private static func number(_ value: JSON) -> Double? {
        switch value {
        case .integer(let integer): Double(integer)
        case .double(let double): double
        default: nil
        }
    }

    static func expectation(_ range: ClosedRange<Double>) -> String {
        "a number from \(range.lowerBound) to \(range.upperBound)"
    }

    func bool(_ key: JSONString) throws(LLaDAError) -> Bool? {
        guard let value = value(key) else { return nil }
        guard case .bool(let flag) = value else { throw error(key, found: value.summary, expected: "true or false") }
        return flag
    }

    func string(_ key: JSONString) throws(LLaDAError) -> JSONString? {
        guard let value = value(key) else { return nil }
        guard case .string(let text) = value else { throw error(key, found: value.summary, expected: "a string") }
        return text
    }

    /// Returns the object under `key`. Messages about its keys carry this key's name.
    func nested(_ key: JSONString) throws(LLaDAError) -> ConfigFields? {
        guard let value = value(key) else { return nil }
        return try nested(key, value)
    }

    /// Returns the object that is the value of `key`; nil for null.
    func nested(_ key: JSONString, _ value: JSON) throws(LLaDAError) -> ConfigFields? {
        if case .null = value { return nil }
        guard case .object = value else { throw error(key, found: value.summary, expected: "an object or null") }
        var fields = try ConfigFields(value, file: file)
        fields.prefix = prefix + key.string + "."
        return fields
    }

    // MARK: What is not implemented

    /// Refuses a flag whose value is not implemented (`.unsupported`). An absent flag means `only`, the implemented
    /// value.
    func require(_ key: JSONString, _ only: Bool) throws(LLaDAError) {
        guard let flag = try bool(key), flag != only else { return }
        throw error(key, found: "\(flag)", expected: "\(only), all that is implemented", .unsupported)
    }

    func require(_ key: JSONString, oneOf known: [JSONString]) throws(LLaDAError) {
        guard let text = try string(key), !known.contains(text) else { return }
        let names = known.map(\.quoted).joined(separator: " or ")
        throw error(key, found: text.quoted, expected: "\(names), all that is implemented", .unsupported)
    }
}
