import LLaDA

/// A run that can be stepped, and what it shows: tokens, and the bits of confidences.
package struct Trace {
    package var values: [UInt64] = []

    package init() {}

    package mutating func step(_ decoder: Decoder) throws {
        try decoder.step()
        try note(decoder)
    }

    package mutating func note(_ decoder: Decoder) throws {
        if let predictions = try decoder.predictions {
            for (token, confidence) in zip(predictions.tokens, predictions.confidences) {
                values.append(UInt64(UInt32(bitPattern: token)) << 32 | UInt64(confidence.bitPattern))
            }
        }
        values += decoder.canvas.map { UInt64(UInt32(bitPattern: $0)) }
        values += decoder.states.map(UInt64.init)
        values += [decoder.forwards, decoder.edits, decoder.insertions, decoder.deletions, decoder.settledLength]
            .map { UInt64($0) }
    }

    package static func rest(of decoder: Decoder) throws -> [UInt64] {
        var trace = Trace()
        while !decoder.isFinished { try trace.step(decoder) }
        try trace.note(decoder)
        return trace.values
    }
}
