extension ModelConfig {
    /// Reads `config.json`, and the special ids of `generation_config.json`.
    package init(_ files: SideFiles) throws(LLaDAError) {
        guard let json = try files.json(.config) else {
            throw LLaDAError(.io, "there is no \(Self.fileName)")
        }
        self = try ModelConfig(json, file: files.label(.config))
        if let generation = try files.json(.generationConfig) {
            try apply(generation: generation, file: files.label(.generationConfig))
        }
    }
}
