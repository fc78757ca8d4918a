/// Templates that are known to write the layout of `ChatLayout`, by the fingerprint of their text (`JinjaText`).
enum KnownTemplates {
    /// What template it is, in words.
    static let origins: [UInt64: String] = [
        // As logs of the loader of Ling-1T's GGUF print it in full, three of them alike. LLaDA2.1-flash's is the same
        // as far as it is published in documents: to the loop over the messages.
        0x1F2A_7A60_16C0_994D: "that of Ling 2.0",
        // bindings/python/llada/chat_template.jinja
        0x040F_8176_C716_8710: "that of this project's own models",
    ]
}
