/// A type of values in the metadata of GGUF files.
package enum GGUFValueType: UInt32, Sendable {
    case uint8 = 0, int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

    /// The bytes of a value; nil if values differ in size.
    var size: Int? {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16: 2
        case .uint32, .int32, .float32: 4
        case .uint64, .int64, .float64: 8
        case .string, .array: nil
        }
    }

    /// The least bytes that a value takes.
    var leastSize: Int {
        switch self {
        case .string: 8  // its length
        case .array: 12  // its type and count
        default: size ?? 1
        }
    }
}

/// A value in the metadata of a GGUF file. Strings and arrays stay where they are in the file.
package enum GGUFValue: Sendable {
    case integer(Int)
    /// An unsigned number beyond `Int.max`.
    case large(UInt64)
    case float(Float)
    case double(Double)
    case bool(Bool)
    /// The place of the bytes in the file.
    case string(Range<Int>)
    /// The type, count and place of the elements.
    case array(GGUFValueType, Int, Range<Int>)

    /// A description for messages. Strings are in the file; `GGUF.summary` has them.
    var summary: String {
        switch self {
        case .integer(let value): "\(value)"
        case .large(let value): "\(value)"
        case .float(let value): "\(value)"
        case .double(let value): "\(value)"
        case .bool(let value): value ? "true" : "false"
        case .string(let place): "a string of \(place.count) bytes"
        case .array(let type, let count, _): "an array of \(count) \(type)"
        }
    }
}
