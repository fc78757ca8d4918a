/// The member `formats` of a saved model's metadata, "name=format,name=format": its names are found where they stand.
package struct StoredFormats: @unchecked Sendable {  // it never changes
    private let text: JSONString
    /// Where members begin, in the order of their names.
    private let places: Buffer<UInt32>
    private let count: Int
    /// A member that is not as it should be, or whose name another has too; nil if there is none.
    let wrong: JSONString?

    private static let comma = UInt8(ascii: ",")
    private static let equals = UInt8(ascii: "=")

    /// Throws `.outOfMemory`.
    init(_ text: JSONString) throws(LLaDAError) {
        self.text = text
        let places = try Buffer<UInt32>(count: text.withBytes { $0.count { $0 == Self.comma } } + 1)
        (count, wrong) = text.withBytes { bytes in
            var count = 0
            var wrong: JSONString?
            for start in bytes.indices
            where bytes[start] != Self.comma && (start == 0 || bytes[start - 1] == Self.comma) {
                places.pointer[count] = UInt32(start)
                count += 1
                let member = bytes[start...].prefix { $0 != Self.comma }
                if wrong == nil, member.count(where: { $0 == Self.equals }) != 1 { wrong = JSONString(member) }
            }
            let own = UnsafeMutableBufferPointer(start: places.pointer, count: count)
            own.sortInPlace { Self.name(bytes, $0).lexicographicallyPrecedes(Self.name(bytes, $1)) }
            for (before, after) in zip(own, own.dropFirst())
            where wrong == nil && Self.name(bytes, before).elementsEqual(Self.name(bytes, after)) {
                wrong = JSONString(bytes[Int(after)...].prefix { $0 != Self.comma })
            }
            return (count, wrong)
        }
        self.places = places
    }

    private static func name(
        _ bytes: UnsafeBufferPointer<UInt8>, _ start: UInt32
    ) -> Slice<UnsafeBufferPointer<UInt8>> {
        bytes[Int(start)...].prefix { $0 != equals && $0 != comma }
    }

    /// Returns the format of a name; nil if it has none here.
    package subscript(name: String) -> String? {
        text.withBytes { bytes in
            let own = UnsafeMutableBufferPointer(start: places.pointer, count: count)
            let place = own.firstPlace { !Self.name(bytes, $0).lexicographicallyPrecedes(name.utf8) }
            guard place < count, Self.name(bytes, own[place]).elementsEqual(name.utf8) else { return nil }
            let format = bytes[Int(own[place])...].dropFirst(name.utf8.count + 1).prefix { $0 != Self.comma }
            return String(decoding: format, as: UTF8.self)
        }
    }
}
