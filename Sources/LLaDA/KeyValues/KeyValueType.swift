/// How keys and values are held, and multiplied: by attention in f32, or in bf16 with sums in f32.
package enum KeyValueType: Sendable {
    case f32
    case bf16
}
