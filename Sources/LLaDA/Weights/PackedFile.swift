import Kernels

/// The file of a saved model. It is a safetensors file in which a packed matrix [outputs, inputs] is a tensor of bytes
/// [tiles of outputs, blocks of inputs, bytes of a block] under its usual name (packed.h). Small tensors are as in any
/// checkpoint. `__metadata__` names the format. The layout is the same on all CPUs, and a change of it would change the
/// version.
package struct PackedFile {
    package let dtype: NumberFormat
    /// The number of parameters of the whole model. Shapes in tiles do not show whether the config was replaced by one
    /// of other sizes; this number does.
    let parameters: Int
    /// The formats of matrices, and the types of tables in blocks, that `dtype` does not tell: those of a model that is
    /// held as a GGUF file has it.
    let formats: StoredFormats

    /// The file's name, for messages.
    private let file: String

    private static let format = "llada-packed"
    private static let version = "1"
    private static let formats = NumberFormat.allCases.filter { $0.packed != nil }

    static func metadata(_ dtype: NumberFormat, _ weights: Weights) -> [(key: String, value: String)] {
        let formats = weights.tensors.compactMap { tensor in tensor.format.map { "\(tensor.name)=\($0)" } }
        return [
            ("format", format), ("version", version), ("dtype", dtype.name), ("parameters", "\(weights.parameters)"),
        ] + (formats.isEmpty ? [] : [("formats", formats.joined(separator: ","))])
    }

    /// Reads the metadata; nil if it belongs to an ordinary file. Throws `.unsupported`.
    package init?(_ metadata: [(key: JSONString, value: JSONString)], file: String) throws(LLaDAError) {
        func value(_ key: JSONString) -> JSONString? { metadata.first { $0.key == key }?.value }
        func error(_ key: String, _ found: JSONString?, expected: String) -> LLaDAError {
            Self.error(key, found, file: file, expected: expected)
        }
        guard value("format") == JSONString(Self.format) else { return nil }
        guard value("version") == JSONString(Self.version) else {
            throw error(
                "version", value("version"), expected: "\"\(Self.version)\": save the model again with this library")
        }
        guard let dtype = Self.formats.first(where: { value("dtype") == JSONString($0.name) }) else {
            throw error(
                "dtype", value("dtype"), expected: Self.formats.map { "\"\($0.name)\"" }.joined(separator: ", "))
        }
        guard let parameters = value("parameters").flatMap({ Int($0.string) }) else {
            throw error("parameters", value("parameters"), expected: "a number")
        }
        let known: Set<JSONString> = ["format", "version", "dtype", "parameters", "formats"]
        if let (key, value) = metadata.first(where: { !known.contains($0.key) }) {
            throw error(key.quoted, value, expected: "no such key in version \(Self.version)")
        }
        let formats = try StoredFormats(value("formats") ?? "")
        if let wrong = formats.wrong { throw error("formats", wrong, expected: "name=format, each name once") }
        self.dtype = dtype
        self.parameters = parameters
        self.formats = formats
        self.file = file
    }

    private static func error(_ key: String, _ found: JSONString?, file: String, expected: String) -> LLaDAError {
        LLaDAError(
            .unsupported, file: file, key: "__metadata__: \(key)", found: found?.quoted ?? "missing",
            expected: expected)
    }

    func error(_ key: String, _ found: String, expected: String) -> LLaDAError {
        Self.error(key, JSONString(found), file: file, expected: expected)
    }

    /// Returns the layout that the file names for a matrix; nil if `dtype` tells it.
    func layout(of name: String) throws(LLaDAError) -> Matrix.Layout? {
        guard let found = formats[name] else { return nil }
        let all = NumberFormat.allCases
        let known =
            all.compactMap { $0.packed.map(Matrix.Layout.packed) } + all.compactMap { $0.rows.map(Matrix.Layout.rows) }
        guard let layout = known.first(where: { $0.name == found }) else {
            throw error("formats", "\(name)=\(found)", expected: known.map(\.name).joined(separator: ", "))
        }
        return layout
    }

    /// Returns the layout of a matrix of this format; of one without a packed format, rows.
    func layout(_ dtype: NumberFormat?) -> Matrix.Layout { Matrix.Layout(dtype, stored: LLK_F32) }

    func check(_ weights: Weights, file: String) throws(LLaDAError) {
        if weights.parameters != parameters {
            throw LLaDAError(
                .tensor, file: file, key: "__metadata__: parameters", found: "\(parameters)",
                expected: "\(weights.parameters), as \(ModelConfig.fileName) has it")
        }
    }

    /// Returns the shape of a matrix's tensor of bytes.
    package static func shape(_ format: llk_format, outputs: Int, inputs: Int) -> [Int] {
        let tile = Int(LLK_TILE)
        let block = llk_packed_size(format, tile, 1)
        return [(outputs + tile - 1) / tile, llk_packed_size(format, tile, inputs) / block, block]
    }
}
