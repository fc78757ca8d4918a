import CLLaDA
import LLaDA

@_cdecl("llada_score_options_init") @implementation
public func llada_score_options_init(
    _ options: UnsafeMutablePointer<llada_score_options>?, _ size: Int, _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    var defaults = llada_score_options()
    defaults.block_length = 32
    return answer(error) { () throws(LLaDAError) in
        try CallerStruct.initialize(options, size, "llada_score_options", to: defaults)
    }
}

@_cdecl("llada_model_score") @implementation
public func llada_model_score(
    _ model: OpaquePointer?, _ sequences: UnsafePointer<llada_noised_sequence>?, _ sequence_count: Int,
    _ options: UnsafePointer<llada_score_options>?, _ log_probs: UnsafeMutablePointer<Float>?,
    _ predictions: UnsafeMutablePointer<Int32>?, _ confidences: UnsafeMutablePointer<Float>?,
    _ entropies: UnsafeMutablePointer<Float>?, _ capacity: Int, _ count: UnsafeMutablePointer<Int>?,
    _ error: UnsafeMutablePointer<llada_error>?
) -> llada_status {
    answer(error) { () throws(LLaDAError) in
        let model = try CAPI.model(model)
        guard let count else { throw .null("count") }
        var noised: [NoisedSequence] = []
        var needed = 0
        for (index, sequence) in try elements(sequences, sequence_count, "sequences", "sequence_count").enumerated() {
            try noised.makeRoom()
            noised.append(try noisedSequence(sequence, "sequences[\(index)]"))
            needed += noised[index].noisy.count
        }
        var blockLength = 32
        var everywhere = false
        var progress: Progress?
        if let options {
            let fields = try CallerStruct(options, "llada_score_options")
            blockLength = fields[\.block_length].map { Int($0) } ?? blockLength
            everywhere = fields[flag: \.everywhere] ?? everywhere
            progress = CAPI.progress(fields[\.progress] ?? nil, fields[\.progress_user] ?? nil, of: "scoring")
        }
        // A `size_t` arrives as `Int`; a capacity above `Int.max` is a large capacity.
        let room = Int(clamping: UInt(bitPattern: capacity))
        if needed > room {
            count.pointee = needed
            throw LLaDAError(.bufferTooSmall, "each array has room for \(room); \(needed) are needed")
        }
        var buffers = ScoreBuffers()
        buffers.logProbabilities = log_probs.map { UnsafeMutableBufferPointer(start: $0, count: room) }
        buffers.predictions = predictions.map { UnsafeMutableBufferPointer(start: $0, count: room) }
        buffers.confidences = confidences.map { UnsafeMutableBufferPointer(start: $0, count: room) }
        buffers.entropies = entropies.map { UnsafeMutableBufferPointer(start: $0, count: room) }
        try model.score(noised, blockLength: blockLength, everywhere: everywhere, into: buffers, progress: progress)
        count.pointee = needed
    }
}

private func noisedSequence(_ sequence: llada_noised_sequence, _ name: String) throws(LLaDAError) -> NoisedSequence {
    let tokens = try elements(sequence.tokens, sequence.count, "\(name).tokens", "\(name).count")
    guard 0...Int(Int32.max) ~= sequence.versions else {
        throw .argument(
            "\(name).versions", found: UInt(bitPattern: sequence.versions), expected: "at most \(Int32.max)")
    }
    guard 0...sequence.count ~= Int(sequence.prompt_length) else {
        throw .argument(
            "\(name).prompt_length", found: sequence.prompt_length, expected: "0 to \(sequence.count)")
    }
    // Neither factor is above Int32.max.
    let noisy = try elements(
        sequence.noisy, sequence.count * sequence.versions, "\(name).noisy", "\(name).count * versions")
    return NoisedSequence(
        tokens: tokens, noisy: noisy, versions: sequence.versions, promptLength: Int(sequence.prompt_length))
}
