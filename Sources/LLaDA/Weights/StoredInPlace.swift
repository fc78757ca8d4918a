/// The tensors of which the bytes are used as they are stored, and the files that are mapped for it.
struct StoredInPlace {
    /// Whether files are mapped; nil maps those of this machine.
    private let mapping: Bool?
    /// By file; nil if the file is not to be mapped.
    private var mapped: [ObjectIdentifier: FileMapping?] = [:]
    /// What was read. A tensor may be asked for twice, as the embedding and the head.
    private var read: [(places: [Tensor.Place], base: UnsafeRawPointer, owner: AnyObject)] = []

    init(mapping: Bool?) { self.mapping = mapping }

    /// Whether somebody has asked for maps.
    var isAskedFor: Bool { mapping == true }

    /// The files that are mapped.
    var mappedFiles: [InputFile] { mapped.values.compactMap { $0?.file } }

    /// Whether a tensor is used in a mapped file, as far as that can be told before.
    func isMapped(_ tensor: Tensor) -> Bool {
        tensor.places.count == 1 && (mapping ?? !tensor.places[0].file.isRemote)
    }

    /// Returns the address of a tensor and the owner of the memory; nil if the tensor has to be read.
    mutating func find(_ tensor: Tensor) throws(LLaDAError) -> (UnsafeRawPointer, AnyObject)? {
        if tensor.places.count == 1, let file = try map(tensor.places[0].file),
            let base = file.bytes.baseAddress
        {
            return (base + tensor.places[0].bytes.lowerBound, file)
        }
        return read.first { $0.places == tensor.places }.map { ($0.base, $0.owner) }
    }

    /// Notes a tensor that was read.
    mutating func note(_ tensor: Tensor, _ base: UnsafeRawPointer, _ owner: AnyObject) {
        read.append((tensor.places, base, owner))
    }

    private mutating func map(_ file: InputFile) throws(LLaDAError) -> FileMapping? {
        if let known = mapped[ObjectIdentifier(file)] { return known }
        let new: FileMapping? =
            switch mapping {
            case false: nil
            case true: try file.map()
            case nil: file.isRemote ? nil : try? file.map()
            }
        mapped[ObjectIdentifier(file)] = .some(new)
        return new
    }
}
