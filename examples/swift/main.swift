// A prompt in words, an answer in words, and every step in between.
//
//     swift run -c release llada-example examples/models/<model> "What is 17 plus 25?"
import LLaDA

guard CommandLine.arguments.count == 3 else {
    print("usage: llada-example MODEL QUESTION")
    throw LLaDAError(.invalidArgument, "expected a model folder and a question")
}
let model = try Model(path: CommandLine.arguments[1])
guard let chat = model.chatTemplate, let tokenizer = model.tokenizer else {
    throw LLaDAError(.tokenizer, "the model has no tokenizer")
}

var options = Decoder.Options()
options.policy = .speedy
let prompt = try chat.encode([ChatMessage(role: .user, content: CommandLine.arguments[2])])
let decoder = try model.decoder(prompt: prompt, options: options)

while let events = try decoder.next() {
    let changes = try events.map { event in
        let token = try tokenizer.decode([event.newToken])
        return event.kind == .replace
            ? "\(event.position): \(try tokenizer.decode([event.oldToken])) -> \(token)" : token
    }
    print("step \(decoder.forwards): \(changes.joined(separator: " | "))")
}
print(try tokenizer.decode(decoder.output, skipSpecialTokens: true))
let tpf = Double(decoder.output.count) / Double(decoder.forwards)
print("\(decoder.output.count) tokens in \(decoder.forwards) forwards (\(tpf) a forward), \(decoder.edits) edits")
