/// The properties of Unicode scalars that the tokenizer needs, in one byte each. They are looked up for the Basic
/// Multilingual Plane, and asked of the standard library beyond it. Each tokenizer has its own table, so the library
/// keeps no global state.
///
/// The properties are those of **Unicode 16**, as in Oniguruma 6.9.10 (inside Hugging Face `tokenizers`). A scalar that
/// was first assigned in a later version counts as unassigned: otherwise a new letter would be cut differently here
/// than in the training of the model.
package struct ScalarTable: Sendable {
    /// The properties of a scalar. Bits 0–4: the general category; bit 5: White_Space; bit 6: word character.
    package struct Properties: Sendable, Equatable {
        package let byte: UInt8

        init(category: Category, isWhitespace: Bool, isWord: Bool) {
            byte = category.rawValue | (isWhitespace ? 32 : 0) | (isWord ? 64 : 0)
        }

        /// Makes the combination with this number; nil if no category has it.
        init?(index: UInt8) {
            guard Category(rawValue: index & 31) != nil, index < 128 else { return nil }
            byte = index
        }

        var category: Category { Category(rawValue: byte & 31) ?? .unassigned }
        var isWhitespace: Bool { byte & 32 != 0 }
        var isWord: Bool { byte & 64 != 0 }
    }

    package enum Category: UInt8, Sendable, CaseIterable {
        case uppercaseLetter, lowercaseLetter, titlecaseLetter, modifierLetter, otherLetter
        case nonspacingMark, spacingMark, enclosingMark
        case decimalNumber, letterNumber, otherNumber
        case connectorPunctuation, dashPunctuation, openPunctuation, closePunctuation
        case initialPunctuation, finalPunctuation, otherPunctuation
        case mathSymbol, currencySymbol, modifierSymbol, otherSymbol
        case spaceSeparator, lineSeparator, paragraphSeparator
        case control, format, surrogate, privateUse, unassigned

        /// The abbreviation of the category, such as "Lu".
        var abbreviation: String {
            let names = [
                "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf",
                "Po",
                "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn",
            ]
            return names[Int(rawValue)]
        }
    }

    private let plane: [UInt8]

    package init() {
        plane = [UInt8](unsafeUninitializedCapacity: 0x10000) { buffer, count in
            for value in 0..<0x10000 {
                let scalar = Unicode.Scalar(UInt32(value))
                let properties =
                    scalar.map(Self.computed) ?? Properties(category: .surrogate, isWhitespace: false, isWord: false)
                buffer.initializeElement(at: value, to: properties.byte)
            }
            count = 0x10000
        }
    }

    /// Returns the byte of a scalar. `value` must be a scalar's.
    @inline(__always)
    func byte(_ value: UInt32) -> UInt8 {
        if value < 0x10000 { return plane.withUnsafeBufferPointer { $0[Int(value)] } }
        guard let scalar = Unicode.Scalar(value) else { return 0 }
        return Self.computed(scalar).byte
    }

    func withPlane<R>(_ body: (UnsafeBufferPointer<UInt8>) -> R) -> R { plane.withUnsafeBufferPointer(body) }

    package static func computed(_ scalar: Unicode.Scalar) -> Properties {
        let properties = scalar.properties
        var category = Category(properties.generalCategory)
        if category != .unassigned, category != .privateUse, let age = properties.age, age.major > 16 {
            category = .unassigned
        }
        if scalar.value == 0x295 { category = .lowercaseLetter }  // ʕ is an "other letter" only since Unicode 17
        let word: Bool
        switch category {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter,
            .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .letterNumber, .connectorPunctuation:
            word = true
        case .otherSymbol: word = properties.isAlphabetic  // circled letters
        // Below U+0100, Oniguruma keeps the word characters of ISO 8859-1: ² ³ ¹ ¼ ½ ¾ are in, later fractions are not.
        case .otherNumber: word = scalar.value < 0x100
        default: word = false
        }
        return Properties(category: category, isWhitespace: properties.isWhitespace, isWord: word)
    }
}

extension ScalarTable.Category {
    init(_ category: Unicode.GeneralCategory) {
        self =
            switch category {
            case .uppercaseLetter: .uppercaseLetter
            case .lowercaseLetter: .lowercaseLetter
            case .titlecaseLetter: .titlecaseLetter
            case .modifierLetter: .modifierLetter
            case .otherLetter: .otherLetter
            case .nonspacingMark: .nonspacingMark
            case .spacingMark: .spacingMark
            case .enclosingMark: .enclosingMark
            case .decimalNumber: .decimalNumber
            case .letterNumber: .letterNumber
            case .otherNumber: .otherNumber
            case .connectorPunctuation: .connectorPunctuation
            case .dashPunctuation: .dashPunctuation
            case .openPunctuation: .openPunctuation
            case .closePunctuation: .closePunctuation
            case .initialPunctuation: .initialPunctuation
            case .finalPunctuation: .finalPunctuation
            case .otherPunctuation: .otherPunctuation
            case .mathSymbol: .mathSymbol
            case .currencySymbol: .currencySymbol
            case .modifierSymbol: .modifierSymbol
            case .otherSymbol: .otherSymbol
            case .spaceSeparator: .spaceSeparator
            case .lineSeparator: .lineSeparator
            case .paragraphSeparator: .paragraphSeparator
            case .control: .control
            case .format: .format
            case .surrogate: .surrogate
            case .privateUse: .privateUse
            case .unassigned: .unassigned
            @unknown default: .unassigned
            }
    }
}
