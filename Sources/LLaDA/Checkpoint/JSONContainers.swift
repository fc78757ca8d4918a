/// An array of a JSON document. Its values are made as they are asked for, in order; `count` reads them all.
package struct JSONArray: Sequence, Sendable {
    private let document: JSONDocument
    private let start: Int  // behind the bracket

    init(_ document: JSONDocument, start: Int) {
        self.document = document
        self.start = start
    }

    static let empty = JSONArray(JSONDocument.empty, start: 0)

    package struct Iterator: IteratorProtocol {
        fileprivate let document: JSONDocument
        fileprivate var position: Int

        /// Returns the place of the next value, and moves behind it.
        fileprivate mutating func nextPlace() -> Int? {
            position = document.skipSpace(position)
            if document.byte(position) == UInt8(ascii: ",") { position = document.skipSpace(position + 1) }
            if position >= document.text.count || document.byte(position) == UInt8(ascii: "]") { return nil }
            defer { position = document.end(of: position) }
            return position
        }

        package mutating func next() -> JSON? { nextPlace().map { document.value(at: $0) } }
    }

    package func makeIterator() -> Iterator { Iterator(document: document, position: start) }

    package var count: Int {
        var iterator = makeIterator()
        var count = 0
        while iterator.nextPlace() != nil { count += 1 }
        return count
    }

    package var isEmpty: Bool {
        var iterator = makeIterator()
        return iterator.nextPlace() == nil
    }
}

/// An object of a JSON document, each key once.
package struct JSONObject: Sendable {
    /// The members, in the order of the file.
    package let members: Members

    init(_ document: JSONDocument, start: Int) { members = Members(document: document, start: start) }

    /// Makes an object without members.
    package init() { self = Self.empty }

    private static let empty = JSONObject(JSONDocument.empty, start: 0)

    /// Looks for a member, from the first one on.
    package subscript(key: JSONString) -> JSON? {
        var iterator = members.makeIterator()
        while let place = iterator.nextPlaces() {
            if place.key == key { return iterator.document.value(at: place.value) }
        }
        return nil
    }

    package struct Members: Sequence, Sendable {
        fileprivate let document: JSONDocument
        fileprivate let start: Int  // behind the brace

        package func makeIterator() -> Iterator { Iterator(document: document, position: start) }

        package var count: Int {
            var iterator = makeIterator()
            var count = 0
            while iterator.nextPlaces() != nil { count += 1 }
            return count
        }

        package var isEmpty: Bool {
            var iterator = makeIterator()
            return iterator.nextPlaces() == nil
        }

        /// Returns the key at this place, which an iterator has told.
        func key(at place: UInt32) -> JSONString { document.string(at: Int(place)).string }

        /// Returns the member whose key is at this place, which an iterator has told.
        func member(at place: UInt32) -> (key: JSONString, value: JSON)? {
            var iterator = JSONObject.Iterator(document: document, position: Int(place))
            return iterator.next()
        }
    }

    package struct Iterator: IteratorProtocol {
        fileprivate let document: JSONDocument
        fileprivate var position: Int
        /// The place of the key of the last member.
        private(set) var keyPlace: UInt32 = 0

        fileprivate init(document: JSONDocument, position: Int) {
            self.document = document
            self.position = position
        }

        /// Returns the key of the next member and the place of its value, and moves behind it.
        fileprivate mutating func nextPlaces() -> (key: JSONString, value: Int)? {
            while true {
                position = document.skipSpace(position)
                if document.byte(position) == UInt8(ascii: ",") { position = document.skipSpace(position + 1) }
                guard document.byte(position) == UInt8(ascii: "\"") else { return nil }
                keyPlace = UInt32(truncatingIfNeeded: position)
                let place = position
                let (key, end) = document.string(at: place)
                let value = document.skipSpace(document.skipSpace(end) + 1)
                position = document.end(of: value)
                if let value = document.place(ofValue: value, key: place) { return (key, value) }
            }
        }

        package mutating func next() -> (key: JSONString, value: JSON)? {
            nextPlaces().map { ($0.key, document.value(at: $0.value)) }
        }
    }
}
