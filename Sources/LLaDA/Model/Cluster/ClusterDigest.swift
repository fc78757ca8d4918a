/// Checksums by which the ranks of a cluster see whether they opened the same checkpoint.
struct ClusterDigest {
    /// Of the config, of all names and shapes, and of the beginnings of norms and routers, as stored.
    let common: UInt64
    private let measured: Weights
    private let vocabSize: Int

    /// How many bytes are read of a tensor that all ranks look at, and of an expert.
    private static let commonBytes = 4096
    private static let expertBytes = 256

    init(_ measured: Weights, _ config: ModelConfig) throws(LLaDAError) {
        self.measured = measured
        vocabSize = config.vocabSize
        var sum = Checksum()
        func note(_ value: Int) {
            withUnsafeBytes(of: UInt64(bitPattern: Int64(value)).littleEndian) { sum.update($0) }
        }
        // The shapes tell the other sizes.
        note(config.numExpertsPerTok)
        for tensor in measured.tensors {
            Array(tensor.name.utf8).withUnsafeBytes { sum.update($0) }
            Array(tensor.type.rawValue.utf8).withUnsafeBytes { sum.update($0) }
            tensor.shape.forEach { note($0) }
        }
        for tensor in measured.tensors where tensor.expert == nil {
            guard let stored = tensor.stored, tensor.name.hasSuffix(".gate.weight") || tensor.shape.count == 1 else {
                continue
            }
            try Self.add(stored, 0, Self.commonBytes, to: &sum)
        }
        common = sum.value
    }

    /// Returns the checksum of some bytes, as stored, of what a rank has of the experts and the head.
    func parts(of rank: Int, _ placement: ExpertPlacement, _ head: HeadPlacement) throws(LLaDAError) -> UInt64 {
        var sum = Checksum()
        for tensor in measured.tensors {
            guard let stored = tensor.stored, let first = tensor.expert,
                tensor.name.hasSuffix("gate_proj.weight") || tensor.name.hasSuffix("gate_proj")
            else {
                continue
            }
            let size = stored.byteCount / tensor.pieces.count
            let experts = placement.experts(of: rank, layer: first.layer)
            for number in tensor.pieces.indices where experts.contains(first.index + number) {
                // Not the beginning alone: a matrix in blocks may begin with zeros.
                try Self.add(stored, number * size + size / 2, min(Self.expertBytes, size - size / 2), to: &sum)
            }
        }
        let vocabulary = head.vocabulary(of: rank)
        // A tied head is the embedding.
        if !vocabulary.isEmpty,
            let stored = measured.tensors.first(where: { $0.name == Weights.headName })?.stored
                ?? measured.tensors.first?.stored
        {
            for token in [vocabulary.lowerBound, vocabulary.lowerBound + vocabulary.count / 2] {
                try Self.add(stored, stored.byteCount / vocabSize * token, Self.expertBytes, to: &sum)
            }
        }
        return sum.value
    }

    private static func add(_ stored: Tensor, _ start: Int, _ most: Int, to sum: inout Checksum) throws(LLaDAError) {
        let count = min(most, stored.byteCount - start)
        if count <= 0 { return }
        let bytes = try Buffer<UInt8>(count: count)
        try stored.read(start, into: UnsafeMutableRawBufferPointer(start: bytes.pointer, count: count))
        sum.update(UnsafeRawBufferPointer(start: bytes.pointer, count: count))
    }
}

extension Compute {
    /// A checksum of rows that the kernels of this machine prepare for experts and for the head: those of equal ones
    /// can be exchanged.
    func preparedDigest(_ weights: Weights) throws(LLaDAError) -> UInt64 {
        var sum = Checksum()
        try add(weights.head, to: &sum)
        for layer in weights.layers {
            guard case .mixture(let mixture) = layer.feedForward else { continue }
            try add(mixture.experts[0].gate, to: &sum)
            break
        }
        return sum.value
    }

    private func add(_ matrix: Matrix, to sum: inout Checksum) throws(LLaDAError) {
        let x = try Buffer<Float>(count: matrix.inputs)
        for index in 0..<matrix.inputs { x.pointer[index] = Float(index * 37 % 251 - 125) / 64 + Float(index) / 4096 }
        let out = try Buffer<UInt8>(count: stride(for: matrix))
        let operand = operand(x.pointer, rows: 1, for: matrix, into: out.pointer)
        sum.update(UnsafeRawBufferPointer(start: operand.base, count: operand.stride))
        withExtendedLifetime((x, out)) {}
    }
}
