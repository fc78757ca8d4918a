import Kernels

/// The file of a saved model: safetensors in which a matrix [outputs, inputs] is packed, a tensor of bytes
/// [tiles of outputs, blocks of inputs, bytes of a block] under its usual name (packed.h). What is small is as in any
/// checkpoint. `__metadata__` says so. The layout is the same on all CPUs; should it ever change, so does the version.
package struct PackedFile {
    let precision: llk_format
    /// Of the whole model: shapes in tiles do not tell whether a config of other sizes came in between.
    let parameters: Int

    private static let format = "llada-packed"
    private static let version = "1"
    private static let precisions: [(name: String, format: llk_format)] = [
        ("bf16", LLK_PACKED_BF16), ("int8", LLK_PACKED_INT8), ("int4", LLK_PACKED_INT4),
    ]

    static func name(of precision: llk_format) -> String {
        precisions.first { $0.format == precision }?.name ?? "\(precision)"
    }

    static func metadata(_ precision: llk_format, parameters: Int) -> [(key: String, value: String)] {
        [("format", format), ("version", version), ("dtype", name(of: precision)), ("parameters", "\(parameters)")]
    }

    /// Nil if this is the metadata of an ordinary file.
    init?(_ metadata: [(key: JSONString, value: JSONString)], file: String) throws(LLaDAError) {
        func value(_ key: JSONString) -> JSONString? { metadata.first { $0.key == key }?.value }
        func error(_ key: String, _ found: JSONString?, expected: String) -> LLaDAError {
            LLaDAError(
                .unsupported, file: file, key: "__metadata__: \(key)", found: found?.quoted ?? "missing",
                expected: expected)
        }
        guard value("format") == JSONString(Self.format) else { return nil }
        guard value("version") == JSONString(Self.version) else {
            throw error(
                "version", value("version"), expected: "\"\(Self.version)\": save the model again with this library")
        }
        guard let precision = Self.precisions.first(where: { value("dtype") == JSONString($0.name) }) else {
            throw error(
                "dtype", value("dtype"), expected: Self.precisions.map { "\"\($0.name)\"" }.joined(separator: ", "))
        }
        guard let parameters = value("parameters").flatMap({ Int($0.string) }) else {
            throw error("parameters", value("parameters"), expected: "a number")
        }
        let known: Set<JSONString> = ["format", "version", "dtype", "parameters"]
        if let (key, value) = metadata.first(where: { !known.contains($0.key) }) {
            throw error(key.quoted, value, expected: "no such key in version \(Self.version)")
        }
        self.precision = precision.format
        self.parameters = parameters
    }

    func check(_ weights: Weights, file: String) throws(LLaDAError) {
        if weights.parameters != parameters {
            throw LLaDAError(
                .tensor, file: file, key: "__metadata__: parameters", found: "\(parameters)",
                expected: "\(weights.parameters), as \(ModelConfig.fileName) has it")
        }
    }

    /// Of the bytes of a matrix.
    static func shape(_ precision: llk_format, outputs: Int, inputs: Int) -> [Int] {
        let tile = Int(LLK_TILE)
        let block = llk_packed_size(precision, tile, 1)
        return [(outputs + tile - 1) / tile, llk_packed_size(precision, tile, inputs) / block, block]
    }
}
