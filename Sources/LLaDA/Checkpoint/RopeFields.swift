/// The keys of the rotary position embedding. transformers 5 moved them into `rope_parameters` and reads `rope_scaling`
/// as the old name. Existing files have the keys in any of the three places; keys in several places must agree.
struct RopeFields {
    let theta, partialFactor: Double
    /// Whether a place of the file has `rope_theta`.
    let isThetaGiven: Bool
    let yarn: YaRN?

    private static let places: [JSONString] = ["rope_parameters", "rope_scaling"]

    /// Reads and checks the keys. `positions` is the file's `max_position_embeddings`.
    init(_ fields: ConfigFields, positions: Int) throws(LLaDAError) {
        var theta = try fields.positive("rope_theta")
        var partial = try fields.positive("partial_rotary_factor")
        var scaled: [ConfigFields] = []
        var plain: ConfigFields?
        for place in Self.places {
            guard let nested = try fields.nested(place) else { continue }
            let type = try Self.type(nested)
            if type == "yarn" { scaled.append(nested) }
            if type == "default" { plain = nested }
            var known: Set<JSONString> = ["rope_type", "type", "rope_theta", "partial_rotary_factor"]
            if type == "yarn" { known.formUnion(YaRN.keys) }
            // An unknown key may be one set of parameters for each kind of layer: taken for the default, it would
            // change every logit.
            for (key, value) in nested.object.members where !known.contains(key) {
                throw nested.error(
                    key, found: value.summary, expected: "no such key: it is not implemented", .unsupported)
            }
            try Self.agree("rope_theta", nested, &theta)
            try Self.agree("partial_rotary_factor", nested, &partial)
        }
        if let partial, partial > 1 {
            throw fields.error("partial_rotary_factor", found: "\(partial)", expected: "at most 1")
        }
        isThetaGiven = theta != nil
        let base = theta ?? 10_000
        self.theta = base
        partialFactor = partial ?? 0.5

        if let yarn = scaled.first, let plain {
            throw yarn.error("rope_type", found: "\"yarn\"", expected: "\"default\", which it is in \(plain.prefix)")
        }
        var first: YaRN?
        for place in scaled {
            let here = try YaRN(place, top: fields, stated: positions, theta: base)
            if let first, first != here {
                throw place.error(
                    "rope_type", found: "\"yarn\" of other numbers", expected: "those of \(scaled[0].prefix)")
            }
            first = here
        }
        yarn = first
    }

    /// Returns the kind of embedding; nil if the object does not name it. `type` is the old name of `rope_type`.
    private static func type(_ nested: ConfigFields) throws(LLaDAError) -> JSONString? {
        try nested.require("rope_type", oneOf: ["default", "yarn"])
        try nested.require("type", oneOf: ["default", "yarn"])
        let type = try nested.string("rope_type")
        let old = try nested.string("type")
        if let type, let old, type != old {
            throw nested.error("type", found: old.quoted, expected: "\(type.quoted), which rope_type is")
        }
        return type ?? old
    }

    private static func agree(_ key: JSONString, _ nested: ConfigFields, _ value: inout Double?) throws(LLaDAError) {
        guard let here = try nested.positive(key) else { return }
        if let value, value != here {
            throw nested.error(
                key, found: "\(here)", expected: "\(value), which \(key.string) is elsewhere in the file")
        }
        value = here
    }
}
