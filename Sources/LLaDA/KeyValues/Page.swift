import Kernels

/// The keys and values of one block of one sequence, for all layers. Those of a finished block depend only on the
/// tokens up to its end. So a page is valid as long as these tokens stay, and all sequences that begin with them may
/// share it.
///
/// The holder of the only reference may write to a page. A shared page never changes.
package final class Page: @unchecked Sendable {
    package let blockLength: Int
    /// The format of keys and values: f32, bf16 or int8.
    package let dtype: NumberFormat
    private let storage: Buffer<UInt8>  // [layers, kvHeads, 2 (keys, values)] of keySize and valueSize bytes
    private let headDim: Int
    private let kvHeads: Int
    private let keySize: Int
    private let valueSize: Int
    private let budget: MemoryBudget?

    /// Makes a page, whose memory counts towards `model`. The caller has charged `budget`, of a prefix cache, with
    /// `byteCount`; the page gives that back when it goes.
    package init(
        blockLength: Int, config: ModelConfig, dtype: NumberFormat, budget: MemoryBudget? = nil,
        model: MemoryBudget? = nil
    ) throws(LLaDAError) {
        self.blockLength = blockLength
        self.dtype = dtype
        headDim = config.headDim
        kvHeads = config.numKeyValueHeads
        (keySize, valueSize) = Self.sizes(blockLength, headDim, dtype)
        storage = try Buffer(
            count: Self.byteCount(blockLength: blockLength, config: config, dtype: dtype), in: model)
        self.budget = budget
        // Unwritten bytes must not bring other memory into a snapshot.
        if dtype == .bf16 && blockLength % 2 + headDim % 2 > 0 || dtype == .int8 && blockLength % 4 + headDim % 4 > 0 {
            storage.pointer.initialize(repeating: 0, count: storage.count)
        }
    }

    deinit { budget?.giveBack(storage.byteCount) }

    /// Whether this is the only reference to the page, so that its holder may write to it.
    package static func isUnshared(_ page: inout Page) -> Bool {
        guard isKnownUniquelyReferenced(&page) else { return false }
        llk_is_alone_with(page.storage.pointer)
        return true
    }

    /// Lends all bytes of the page to `take`, whoever else holds the page and may soon be its only holder.
    package func read(_ take: (UnsafeRawBufferPointer) throws(LLaDAError) -> Void) throws(LLaDAError) {
        defer { llk_has_read(storage.pointer) }
        try take(UnsafeRawBufferPointer(bytes))
    }

    package static func byteCount(blockLength: Int, config: ModelConfig, dtype: NumberFormat) -> Int {
        let (keys, values) = sizes(blockLength, config.headDim, dtype)
        return config.numHiddenLayers * config.numKeyValueHeads * (keys + values)
    }

    /// All bytes of the page, to be saved and restored on any machine.
    package var bytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: storage.pointer, count: storage.byteCount)
    }

    /// Returns the bytes of the keys and of the values of one head.
    private static func sizes(_ blockLength: Int, _ headDim: Int, _ dtype: NumberFormat) -> (keys: Int, values: Int) {
        if dtype == .bf16 {
            return ((headDim + 1) / 2 * blockLength * pairSize, (blockLength + 1) / 2 * headDim * pairSize)
        }
        if dtype == .int8 {
            let scales = blockLength * MemoryLayout<Float>.size
            return (
                (headDim + 3) / 4 * 4 * blockLength + scales, (blockLength + 3) / 4 * 4 * headDim + 2 * scales
            )
        }
        let size = blockLength * headDim * MemoryLayout<Float>.size
        return (size, size)
    }

    private static let pairSize = 2 * MemoryLayout<UInt16>.size

    private func head(_ layer: Int, _ head: Int) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(storage.pointer) + (layer * kvHeads + head) * (keySize + valueSize)
    }

    /// The bytes of the keys and values of one head: the values lie behind the keys.
    package var bytesOfHead: Int { keySize + valueSize }

    /// Returns the keys of a page in f32: [headDim, blockLength]. In this layout the scores of a query are sums of
    /// rows, as its result is a sum of values.
    package func keys(layer: Int, head: Int) -> UnsafeMutablePointer<Float> {
        self.head(layer, head).assumingMemoryBound(to: Float.self)
    }

    /// Returns the values of a page in f32: [blockLength, headDim].
    package func values(layer: Int, head: Int) -> UnsafeMutablePointer<Float> {
        (self.head(layer, head) + keySize).assumingMemoryBound(to: Float.self)
    }

    /// Returns the keys of a page in bf16: [ceil(headDim / 2), blockLength, 2]. The second half of an odd last pair is
    /// unused.
    package func halfKeys(layer: Int, head: Int) -> UnsafeMutablePointer<UInt16> {
        self.head(layer, head).assumingMemoryBound(to: UInt16.self)
    }

    /// Returns the values of a page in bf16: [ceil(blockLength / 2), headDim, 2]. The second half of an odd last pair
    /// is unused.
    package func halfValues(layer: Int, head: Int) -> UnsafeMutablePointer<UInt16> {
        (self.head(layer, head) + keySize).assumingMemoryBound(to: UInt16.self)
    }

    /// The keys and values of one head in int8, as the kernels take them, and the inverses of the scales of the values,
    /// [blockLength]. The rest of last quads is unused.
    package struct Bytes {
        let keys: UnsafeMutablePointer<UInt8>  // [ceil(headDim / 4), blockLength, 4]
        let keyScales: UnsafeMutablePointer<Float>  // [blockLength]
        let values: UnsafeMutablePointer<Int8>  // [ceil(blockLength / 4), headDim, 4]
        let exponents: UnsafeMutablePointer<Float>  // [blockLength]
        package let inverses: UnsafeMutablePointer<Float>  // [blockLength]

        package var piece: llk_byte_piece {
            llk_byte_piece(keys: keys, key_scales: keyScales, values: values, exponents: exponents)
        }
    }

    package func bytes(layer: Int, head: Int) -> Bytes {
        let start = self.head(layer, head)
        let scales = blockLength * MemoryLayout<Float>.size
        let end = start + keySize + valueSize
        return Bytes(
            keys: start.assumingMemoryBound(to: UInt8.self),
            keyScales: (start + keySize - scales).assumingMemoryBound(to: Float.self),
            values: (start + keySize).assumingMemoryBound(to: Int8.self),
            exponents: (end - 2 * scales).assumingMemoryBound(to: Float.self),
            inverses: (end - scales).assumingMemoryBound(to: Float.self))
    }

    private func writeBytes(
        _ key: UnsafePointer<Float>, _ value: UnsafePointer<Float>, layer: Int, head: Int, slot: Int
    ) {
        let page = bytes(layer: layer, head: head)
        withUnsafeTemporaryAllocation(of: Int8.self, capacity: headDim) { numbers in
            guard let base = numbers.baseAddress else { return }
            var sum: Int32 = 0
            page.keyScales[slot] = llk_to_bytes(key, headDim, base, &sum)
            for index in 0..<headDim {
                page.keys[4 * (index / 4 * blockLength + slot) + index % 4] = UInt8(bitPattern: base[index]) ^ 128
            }
            let scale = llk_values_to_bytes(value, headDim, base)
            (page.exponents[slot], page.inverses[slot]) = (scale.exponent, scale.inverse)
            for index in 0..<headDim { page.values[4 * (slot / 4 * headDim + index) + slot % 4] = base[index] }
        }
    }

    /// Writes the key and the value of the block's position `slot`.  key, value: [headDim]
    package func write(_ key: UnsafePointer<Float>, _ value: UnsafePointer<Float>, layer: Int, head: Int, slot: Int) {
        if dtype == .bf16 {
            let column = halfKeys(layer: layer, head: head) + 2 * slot
            let row = halfValues(layer: layer, head: head) + slot / 2 * 2 * headDim + slot % 2
            withUnsafeTemporaryAllocation(of: UInt16.self, capacity: headDim) { halves in
                guard let base = halves.baseAddress else { return }
                llk_f32_to_bf16(key, headDim, base)
                var place = column
                for first in stride(from: 0, to: headDim - 1, by: 2) {
                    (place[0], place[1]) = (base[first], base[first + 1])
                    place += 2 * blockLength
                }
                if headDim % 2 == 1 { place[0] = base[headDim - 1] }
                llk_f32_to_bf16(value, headDim, base)
                for index in 0..<headDim { row[2 * index] = base[index] }
            }
        } else if dtype == .int8 {
            writeBytes(key, value, layer: layer, head: head, slot: slot)
        } else {
            let column = keys(layer: layer, head: head) + slot
            for index in 0..<headDim { column[index * blockLength] = key[index] }
            (values(layer: layer, head: head) + slot * headDim).update(from: value, count: headDim)
        }
    }
}
