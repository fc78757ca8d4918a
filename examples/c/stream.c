/*
 * stream.c - an answer while it comes: settled text as usual, and behind it, dim, the draft that may still change.
 *
 *     stream [-m model] [-n gen_length] ["question"]
 *
 * Without a question, every line of stdin is one. Where stdout is no terminal, it gets the settled text alone.
 */
#define _POSIX_C_SOURCE 200809L
#include <llada.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef EXAMPLE_MODEL
#define EXAMPLE_MODEL "."
#endif

typedef struct {
    llada_text_stream *stream;
    bool terminal;
    int columns, rows; /* of the terminal */
    int column;        /* where settled text ends */
    bool wrapped;      /* the cursor has just gone to a new line by itself */
    llada_error error;
} screen;

static int complain(const char *message) {
    fprintf(stderr, "stream: %s\n", message);
    return 1;
}

static int width_of(uint32_t c) {
    if ((c >= 0x300 && c <= 0x36F) || (c >= 0x200B && c <= 0x200F) || (c >= 0xFE00 && c <= 0xFE0F)) return 0;
    return (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3) ||
                   (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
                   (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x20000 && c <= 0x3FFFD)
               ? 2
               : 1;
}

/* Text, with line breaks of ours where the terminal's edge is, so that we know where the cursor is. Returns the number
 * of lines gone down, at most `most`; text that goes on is left out. What a terminal would obey is shown, not sent. */
static int put(screen *s, const char *text, size_t length, int most) {
    int lines = 0;
    for (size_t i = 0; i < length;) {
        unsigned char lead = (unsigned char)text[i];
        size_t bytes = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4; /* it is always valid UTF-8 */
        uint32_t c = bytes == 1 ? lead : lead & (0x7Fu >> bytes);
        for (size_t k = 1; k < bytes; k++) c = c << 6 | ((unsigned char)text[i + k] & 0x3Fu);
        bool obeyed = c < 0x20 || (c >= 0x7F && c < 0xA0);
        int width = obeyed ? 1 : width_of(c);
        bool breaks = c == '\n' ? !s->wrapped : s->column + width > s->columns;
        if (breaks && lines == most) break;
        if (breaks) putchar('\n'), lines++, s->column = 0;
        s->wrapped = false;
        if (c != '\n') {
            if (obeyed)
                fputs("·", stdout);
            else
                fwrite(text + i, 1, bytes, stdout);
            s->column += width;
        }
        if (s->column == s->columns && lines < most) putchar('\n'), lines++, s->column = 0, s->wrapped = true;
        i += bytes;
    }
    return lines;
}

/* After each step. The cursor stays where settled text ends; all behind it is the draft of the step before. */
static int show(const llada_decoder *decoder, void *user) {
    screen *s = user;
    llada_text text = LLADA_TEXT_INIT;
    if (llada_text_stream_update(s->stream, decoder, &text, &s->error) != LLADA_OK) return 1;
    if (!s->terminal) {
        fwrite(text.settled, 1, text.settled_count, stdout);
        return fflush(stdout);
    }
    fputs("\x1b[J", stdout);
    put(s, text.settled, text.settled_count, INT32_MAX);
    int column = s->column;
    bool wrapped = s->wrapped;
    fputs("\x1b[2m", stdout);
    int lines = put(s, text.draft, text.draft_count, s->rows - 2);
    fputs("\x1b[m", stdout);
    if (lines) printf("\x1b[%dA", lines);
    printf("\x1b[%dG", column + 1);
    s->column = column;
    s->wrapped = wrapped;
    return fflush(stdout);
}

static int answer(screen *s, const llada_model *model, int32_t gen_length, const char *question) {
    llada_error *error = &s->error;
    llada_chat_message message = {"user", question};
    int32_t prompt[4096];
    size_t count = 0;
    llada_decoder_options options;
    llada_decoder *decoder = NULL;
    struct winsize window = {0};
    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
    s->columns = window.ws_col ? window.ws_col : 80;
    s->rows = window.ws_row > 2 ? window.ws_row : 24;
    s->column = 0;
    s->wrapped = false;
    bool good = llada_decoder_options_init(&options, sizeof options, error) == LLADA_OK &&
                llada_chat_tokenize(model, &message, 1, NULL, prompt, 4096, &count, error) == LLADA_OK;
    if (good) {
        options.gen_length = gen_length;
        good = llada_decoder_create(model, prompt, count, &options, &decoder, error) == LLADA_OK &&
               llada_text_stream_create(model, LLADA_TEXT_SKIP_CONTROL, "░", &s->stream, error) == LLADA_OK &&
               llada_decoder_run(decoder, show, s, error) == LLADA_OK;
    }
    putchar('\n');
    llada_text_stream_free(s->stream);
    s->stream = NULL;
    llada_decoder_free(decoder);
    return good ? 0 : complain(error->message);
}

int main(int argc, char **argv) {
    const char *path = getenv("LLADA_MODEL") ? getenv("LLADA_MODEL") : EXAMPLE_MODEL, *question = NULL;
    const char *terminal = getenv("TERM");
    long gen_length = 128;
    for (int i = 1; i < argc; i++) {
        char *end = "";
        if (!strcmp(argv[i], "-m") && i + 1 < argc)
            path = argv[++i];
        else if (!strcmp(argv[i], "-n") && i + 1 < argc)
            gen_length = strtol(argv[++i], &end, 10);
        else if (*argv[i] != '-' && !question)
            question = argv[i];
        else
            gen_length = 0;
        if (gen_length < 1 || gen_length > 1 << 20 || *end)
            return complain("usage: stream [-m model] [-n gen_length] [\"question\"]");
    }
    llada_model *model = NULL;
    screen s = {0};
    s.error = (llada_error)LLADA_ERROR_INIT;
    s.terminal = isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && !(terminal && !strcmp(terminal, "dumb"));
    if (llada_model_open(path, NULL, &model, &s.error) != LLADA_OK) return complain(s.error.message);
    int failed = question ? answer(&s, model, (int32_t)gen_length, question) : 0;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length = 0;
    while (!question && !failed) {
        if (isatty(STDIN_FILENO)) fputs("> ", stdout), fflush(stdout);
        if ((length = getline(&line, &capacity, stdin)) < 0) break;
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) line[--length] = 0;
        if (length) failed = answer(&s, model, (int32_t)gen_length, line);
    }
    free(line);
    llada_model_free(model);
    return failed || ferror(stdout) || fflush(stdout) != 0;
}
