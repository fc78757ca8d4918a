/// The family of a LLaDA2 checkpoint. Its config does not name it: 2.0 and 2.1 have the same one. So this is a guess,
/// which says what it rests on.
public struct ModelFamily: Sendable, Equatable {
    /// "2.0", "2.0-CAP", "2.1" or "2.2"; nil if the files do not tell.
    public let name: String?
    /// What the answer rests on, or why there is none.
    public let evidence: String

    init(name: String?, evidence: String) {
        self.name = name
        self.evidence = evidence
    }

    /// Guesses from the keys of `config.json`, the title of the model's card, the Python file beside the weights and
    /// the name of the folder, in this order.  config: the document, whether or not it can be loaded
    package init(config: JSON?, card: String?, code: String?, folder: String) {
        if case .object(let object)? = config {
            for key: JSONString in ["split_token_id", "delete_token_id", "expert_capacity"] {
                if let value = object[key], case .integer = value {
                    self.init(name: "2.2", evidence: "\(ModelConfig.fileName) has \(key.string)")
                    return
                }
            }
        }
        if let title = card.flatMap(Self.title), let name = Self.name(in: title) {
            self.init(name: name, evidence: "README.md is titled \(JSONString(title).quoted)")
        } else if let code, Self.contains(code, "editing_threshold") {
            self.init(name: "2.1", evidence: "the Python file beside the weights has an editing_threshold")
        } else if let name = Self.name(in: folder) {
            self.init(name: name, evidence: "the name \(JSONString(folder).quoted)")
        } else {
            self.init(
                name: nil,
                evidence: "no file names it: 2.0 and 2.1 have the same config, and differ in how they were trained")
        }
    }

    /// Returns the first heading of a card in Markdown that names a model of LLaDA2.
    private static func title(_ card: String) -> String? {
        for line in card.utf8.split(whereSeparator: { $0 == UInt8(ascii: "\n") }) where line.first == UInt8(ascii: "#")
        {
            let title = Substring(line.drop { $0 == UInt8(ascii: "#") || $0 == UInt8(ascii: " ") })
            if name(in: String(title)) != nil { return String(title.prefix(80)) }
        }
        return nil
    }

    private static func name(in text: String) -> String? {
        let versions = ["2.0", "2.1", "2.2"].filter { contains(text, $0) }
        guard versions.count == 1, let version = versions.first else { return nil }
        let isCAP = version == "2.0" && (contains(text, "CAP") || contains(text, "-cap"))
        return isCAP ? "2.0-CAP" : version
    }

    private static func contains(_ text: String, _ part: String) -> Bool {
        let (text, part) = (Array(text.utf8), Array(part.utf8))
        guard text.count >= part.count else { return false }
        return (0...text.count - part.count).contains { text[$0..<$0 + part.count].elementsEqual(part) }
    }
}
