/// A model in several GGUF files: `NAME-00001-of-00003.gguf` and so on. The first one has the metadata; each says how
/// many there are, and which it is.
enum GGUFSplit {
    /// Opens a file, and all others if it is one of several. The first one comes first.
    static func open(
        _ path: String, _ budget: MemoryBudget?, _ progress: Progress?
    ) throws(LLaDAError) -> [GGUF] {
        let name = Path(path)
        guard name.count > 1 else {
            let file = try open(path, name.fileName(0), budget)
            try check(file, index: 0, count: 1)
            return [file]
        }
        var files: [GGUF] = []
        for index in 0..<name.count {
            let path = name.path(index)
            if !InputFile.exists(path) {
                throw LLaDAError(.io, "\(path) is missing; it is a part of \(name.path(0))")
            }
            let file = try open(path, name.fileName(index), budget)
            try progress?(Double(index + 1) / Double(name.count))
            try check(file, index: index, count: name.count)
            files.append(file)
        }
        let fields = GGUFFields(file: files[0], prefix: "split.")
        let total = files.reduce(0) { $0 + $1.entries.count }
        if let stated = try fields.integer("tensors.count"), stated != total {
            throw fields.error("tensors.count", expected: "\(total), the tensors of all files", .gguf)
        }
        return files
    }

    private static func open(
        _ path: String, _ name: String, _ budget: MemoryBudget?
    ) throws(LLaDAError) -> GGUF {
        try GGUF(try InputFile(path), name: name, budget: budget)
    }

    /// Throws `.gguf` if the file says that it is another part.
    private static func check(_ file: GGUF, index: Int, count: Int) throws(LLaDAError) {
        let fields = GGUFFields(file: file, prefix: "split.")
        let stated = try fields.integer("count") ?? 0
        if max(stated, 1) != count {
            throw fields.error(
                "count", expected: "\(count), as the file's name says: NAME-00001-of-00003.gguf is one of 3", .gguf)
        }
        if stated > 0, try fields.integer("no") != index {
            throw fields.error("no", expected: "\(index), as the file's name says", .gguf)
        }
    }

    /// The path of a part, taken apart.
    struct Path {
        private let stem: String
        /// The number of parts; 1 for any other file.
        let count: Int
        private let path: String

        private static let suffix = ".gguf"

        init(_ path: String) {
            self.path = path
            // "-00001-of-00003.gguf" has 20 characters.
            let tail = Array(path.utf8.suffix(20))
            let isPart =
                tail.count == 20 && tail[0] == UInt8(ascii: "-") && tail[6...9].elementsEqual("-of-".utf8)
                && tail[15...].elementsEqual(Self.suffix.utf8)
            let number = isPart ? Self.number(tail[1...5]) : nil
            let count = isPart ? Self.number(tail[10...14]) : nil
            if let number, let count, 1...max(count, 1) ~= number {
                self.count = max(count, 1)
                stem = String(decoding: path.utf8.dropLast(20), as: UTF8.self)
            } else {
                self.count = 1
                stem = path
            }
        }

        private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
            digits.allSatisfy { 0x30...0x39 ~= $0 } ? Int(String(decoding: digits, as: UTF8.self)) : nil
        }

        /// Returns the path of a part, counted from 0.
        func path(_ index: Int) -> String {
            if count == 1 { return path }
            func padded(_ number: Int) -> String {
                let digits = "\(number)"
                return String(repeating: "0", count: 5 - digits.count) + digits
            }
            return "\(stem)-\(padded(index + 1))-of-\(padded(count))\(Self.suffix)"
        }

        func fileName(_ index: Int) -> String {
            let path = path(index)
            return path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
        }
    }
}
