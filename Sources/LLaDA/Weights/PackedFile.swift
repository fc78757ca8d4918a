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

    private static let format = "llada-packed"
    private static let version = "1"
    private static let formats = NumberFormat.allCases.filter { $0.packed != nil }

    static func metadata(_ dtype: NumberFormat, parameters: Int) -> [(key: String, value: String)] {
        [("format", format), ("version", version), ("dtype", dtype.name), ("parameters", "\(parameters)")]
    }

    /// Reads the metadata; nil if it belongs to an ordinary file. Throws `.unsupported`.
    package init?(_ metadata: [(key: JSONString, value: JSONString)], file: String) throws(LLaDAError) {
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
        guard let dtype = Self.formats.first(where: { value("dtype") == JSONString($0.name) }) else {
            throw error(
                "dtype", value("dtype"), expected: Self.formats.map { "\"\($0.name)\"" }.joined(separator: ", "))
        }
        guard let parameters = value("parameters").flatMap({ Int($0.string) }) else {
            throw error("parameters", value("parameters"), expected: "a number")
        }
        let known: Set<JSONString> = ["format", "version", "dtype", "parameters"]
        if let (key, value) = metadata.first(where: { !known.contains($0.key) }) {
            throw error(key.quoted, value, expected: "no such key in version \(Self.version)")
        }
        self.dtype = dtype
        self.parameters = parameters
    }

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
