/// The typed values of a GGUF file's metadata. A value of another type is refused by its key.
struct GGUFFields {
    let file: GGUF
    /// What keys begin with, such as "llada2.".
    let prefix: String

    func value(_ key: String) -> GGUFValue? { file[prefix + key] }

    func error(_ key: String, expected: String, _ status: Status = .config) -> LLaDAError {
        LLaDAError(
            status, file: file.name, key: prefix + key, found: value(key).map { file.summary($0) } ?? "missing",
            expected: expected)
    }

    func integer(_ key: String) throws(LLaDAError) -> Int? {
        switch value(key) {
        case nil: return nil
        case .integer(let integer): return integer
        default: throw error(key, expected: "an integer below 2^63")
        }
    }

    func requiredInteger(_ key: String) throws(LLaDAError) -> Int {
        guard let integer = try integer(key) else { throw error(key, expected: "an integer") }
        return integer
    }

    /// Returns a finite number, as the shortest text that is read as the same float.
    func number(_ key: String) throws(LLaDAError) -> String? {
        switch value(key) {
        case nil: return nil
        case .integer(let integer): return "\(integer)"
        case .float(let float) where float.isFinite: return "\(float)"
        case .double(let double) where double.isFinite: return "\(double)"
        default: throw error(key, expected: "a finite number")
        }
    }

    func requiredNumber(_ key: String) throws(LLaDAError) -> String {
        guard let number = try number(key) else { throw error(key, expected: "a number") }
        return number
    }

    func bool(_ key: String) throws(LLaDAError) -> Bool? {
        switch value(key) {
        case nil: return nil
        case .bool(let bool): return bool
        default: throw error(key, expected: "true or false")
        }
    }

    func string(_ key: String) throws(LLaDAError) -> JSONString? {
        switch value(key) {
        case nil: return nil
        case .string(let place):
            return JSONString(file.shared(place).bytes.assumingMemoryBound(to: UInt8.self), owner: file.headerOwner)
        default: throw error(key, expected: "a string")
        }
    }

    /// Returns the count and place of an array of this type.
    func array(_ key: String, of type: GGUFValueType) throws(LLaDAError) -> (count: Int, place: Range<Int>)? {
        switch value(key) {
        case nil: return nil
        case .array(type, let count, let place): return (count, place)
        default: throw error(key, expected: "an array of \(type)")
        }
    }
}
