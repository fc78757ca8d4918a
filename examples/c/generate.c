/*
 * generate.c - words in, words out, and the canvas in between, redrawn in the terminal while it is denoised.
 *
 *     generate [-m model] [-s | -q | -b | -2] [-n gen_length] [--delay ms] [--trace] ["question"]
 *
 * Without a question, every line of stdin is one. In a pipe the answer alone goes to stdout and the numbers to stderr;
 * --trace writes one line per step there, too.
 */
#define _POSIX_C_SOURCE 200809L
#include <llada.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#ifndef EXAMPLE_MODEL
#define EXAMPLE_MODEL "."
#endif

static const struct {
    char option;
    llada_preset preset;
    const char *name;
} modes[] = {
    {'s', LLADA_PRESET_SPEEDY, "S mode"},
    {'q', LLADA_PRESET_QUALITY, "Q mode"},
    {'b', LLADA_PRESET_QUALITY_MBE, "Q mode, multi-block editing"},
    {'2', LLADA_PRESET_LOW_CONFIDENCE, "LLaDA2.0, low confidence"},
};

/* How a position looks: the colour that says it, and, where position states cannot tell, what happened to it. */
enum look { SETTLED, DRAFT, FRESH, EDITED, JUST_EDITED, MASKED, FAINT };
static const char *const colour[] = {"", "36", "1;92", "33", "30;103", "2", "2"};

typedef struct {
    const llada_model *model;
    llada_text_stream *words; /* makes characters of tokens, which may share one */
    const char *mode;
    int32_t eos;
    bool live;        /* redraw in place */
    bool trace;       /* one line per step */
    long delay_ms;    /* after each step, to let one see it */
    int lines;        /* what the last frame took */
    int32_t first;    /* generated positions: first ... */
    int32_t end;      /* ... end - 1 */
    uint8_t *history; /* per position: DRAFT, FRESH, EDITED or JUST_EDITED */
} view;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number) {
    (void)number;
    interrupted = 1;
}

static int complain(const char *message) {
    fprintf(stderr, "generate: %s\n", message);
    return 1;
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) exit(complain("out of memory"));
    return memory;
}

/* ---- Drawing ---------------------------------------------------------------------------------------------------- */

typedef struct {
    FILE *out;
    bool coloured;
    int columns; /* wrap here; 0: one endless line */
    int column;
    int lines;
} page;

static int width_of(uint32_t c) {
    if ((c >= 0x300 && c <= 0x36F) || (c >= 0x200B && c <= 0x200F) || (c >= 0xFE00 && c <= 0xFE0F)) return 0;
    return (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3) ||
                   (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
                   (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x20000 && c <= 0x3FFFD)
               ? 2
               : 1;
}

static void break_line(page *p) {
    fputs("\n  ", p->out);
    p->column = 2;
    p->lines++;
}

/* Text in a colour, wrapped at the edge. It comes from a model: what a terminal would obey is shown, not sent. */
static void put(page *p, enum look look, const char *text, size_t length) {
    if (p->coloured) fprintf(p->out, "\x1b[%sm", colour[look]);
    for (size_t i = 0; i < length;) {
        unsigned char lead = (unsigned char)text[i];
        size_t bytes = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        if (bytes > length - i) break;
        uint32_t c = bytes == 1 ? lead : lead & (0x7Fu >> bytes);
        for (size_t k = 1; k < bytes; k++) c = c << 6 | ((unsigned char)text[i + k] & 0x3Fu);
        const char *shown = text + i;
        size_t shown_bytes = bytes;
        if (c == '\n' && !p->columns)
            shown = "↵", shown_bytes = strlen(shown);
        else if (c != '\n' && (c < 0x20 || (c >= 0x7F && c < 0xA0)))
            shown = "·", shown_bytes = strlen(shown);
        int width = width_of(c);
        if (p->columns && (c == '\n' || p->column + width > p->columns)) break_line(p);
        if (c != '\n' || !p->columns) fwrite(shown, 1, shown_bytes, p->out), p->column += width;
        i += bytes;
    }
    if (p->coloured) fputs("\x1b[m", p->out);
}

/* A token alone: what is only a part of a character shows as U+FFFD. */
static void put_token(const view *v, page *p, int32_t token) {
    llada_text text = LLADA_TEXT_INIT;
    if (llada_text_stream_push(v->words, &token, 1, &text, NULL) == LLADA_OK)
        put(p, EDITED, text.settled, text.settled_count);
    if (llada_text_stream_finish(v->words, &text, NULL) == LLADA_OK) put(p, EDITED, text.settled, text.settled_count);
}

static void draw_canvas(const view *v, const llada_decoder *decoder, const llada_decoder_state *state, page *p) {
    const int32_t *tokens = NULL;
    const llada_position_state *states = NULL;
    if (llada_decoder_canvas(decoder, &tokens, &states, NULL, NULL) != LLADA_OK) return;
    int32_t active_end = state->active_first + state->active_count;
    bool ended = false;
    for (int32_t i = v->first; i < v->end;) {
        if (states[i] == LLADA_POSITION_MASKED) {
            const char *cell = i < active_end ? "▒" : "·";
            put(p, MASKED, cell, strlen(cell));
            i++;
            continue;
        }
        if (tokens[i] == v->eos) {
            put(p, v->history[i] >= FRESH ? v->history[i] : FAINT, "∎", strlen("∎"));
            ended = true;
            i++;
            continue;
        }
        /* Text in the colour of the latest of its tokens. */
        const enum look plain = ended ? FAINT : SETTLED;
        enum look look = plain;
        llada_text text = LLADA_TEXT_INIT;
        for (; i < v->end && states[i] != LLADA_POSITION_MASKED && tokens[i] != v->eos; i++) {
            if (states[i] == LLADA_POSITION_DRAFT && v->history[i] > look) look = v->history[i];
            if (llada_text_stream_push(v->words, tokens + i, 1, &text, NULL) != LLADA_OK) continue;
            put(p, look, text.settled, text.settled_count);
            if (text.settled_count) look = plain;
        }
        if (llada_text_stream_finish(v->words, &text, NULL) == LLADA_OK) put(p, look, text.settled, text.settled_count);
    }
}

static void describe(const view *v, const llada_decoder_state *state, int64_t written, char *line, size_t capacity) {
    int32_t block = state->active_first / state->block_length - v->first / state->block_length + 1;
    int32_t blocks = state->canvas_length / state->block_length - v->first / state->block_length;
    int used = state->phase == LLADA_PHASE_FINISHED
                   ? snprintf(line, capacity, "%s", v->mode)
                   : snprintf(line, capacity, "%s · block %d of %d", v->mode, (int)block, (int)blocks);
    double tpf = state->forwards ? (double)written / (double)state->forwards : 0;
    if (used >= 0 && (size_t)used < capacity)
        snprintf(line + used, capacity - (size_t)used, " · %lld forward%s · %.2f tokens per forward · %lld edit%s",
                 (long long)state->forwards, state->forwards == 1 ? "" : "s", tpf, (long long)state->edits,
                 state->edits == 1 ? "" : "s");
}

/* One frame over the last one. `answer` is what is left at the end; until then the canvas is drawn. */
static void redraw(view *v, const llada_decoder *decoder, const llada_decoder_state *state, int64_t written,
                   const char *answer, size_t answer_length) {
    char *frame = NULL;
    size_t size = 0;
    struct winsize window = {0};
    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &window);
    int columns = window.ws_col ? window.ws_col : 80, rows = window.ws_row ? window.ws_row : 24;
    page p = {open_memstream(&frame, &size), true, columns, 2, 1};
    if (!p.out) return;
    if (answer)
        put(&p, SETTLED, answer, answer_length);
    else
        draw_canvas(v, decoder, state, &p);
    char line[256];
    describe(v, state, written, line, sizeof line);
    break_line(&p);
    put(&p, FAINT, line, strlen(line));
    if (fclose(p.out) != 0) {
        free(frame);
        return;
    }

    /* A canvas taller than the terminal shows its end. */
    const char *shown = frame;
    for (int skip = p.lines - (rows - 1); skip > 0 && !answer; skip--, p.lines--) shown = strchr(shown, '\n') + 1;
    if (v->lines > 1) printf("\x1b[%dA", v->lines - 1);
    printf("\r\x1b[J%s%s", shown == frame ? "  " : "", shown);
    fflush(stdout);
    v->lines = p.lines;
    free(frame);
}

/* ---- Watching --------------------------------------------------------------------------------------------------- */

static int after_step(const llada_decoder *decoder, void *user) {
    view *v = user;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;
    const llada_event *events = NULL;
    const llada_position_state *states = NULL;
    size_t event_count = 0;
    if (llada_decoder_get_state(decoder, &state, NULL) != LLADA_OK ||
        llada_decoder_events(decoder, &events, &event_count, NULL) != LLADA_OK ||
        llada_decoder_canvas(decoder, NULL, &states, NULL, NULL) != LLADA_OK)
        return 1;

    int64_t written = 0;
    for (int32_t i = v->first; i < v->end; i++) {
        written += states[i] != LLADA_POSITION_MASKED;
        v->history[i] = v->history[i] == JUST_EDITED || v->history[i] == EDITED ? EDITED : DRAFT;
    }
    for (size_t e = 0; e < event_count; e++)
        v->history[events[e].position] = events[e].kind == LLADA_EVENT_REPLACE ? JUST_EDITED : FRESH;

    if (v->live) redraw(v, decoder, &state, written, NULL, 0);
    if (v->trace) {
        page p = {stderr, false, 0, 0, 0};
        fprintf(stderr, "  %3lld  ", (long long)state.forwards);
        draw_canvas(v, decoder, &state, &p);
        for (size_t e = 0; e < event_count; e++) {
            if (events[e].kind != LLADA_EVENT_REPLACE) continue;
            fputs("   '", stderr);
            put_token(v, &p, events[e].old_token);
            fputs("' → '", stderr);
            put_token(v, &p, events[e].new_token);
            fputc('\'', stderr);
        }
        fputc('\n', stderr);
    }
    if (v->delay_ms > 0) {
        struct timespec pause = {v->delay_ms / 1000, v->delay_ms % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
    return interrupted;
}

static int loading(double fraction, void *user) {
    (void)user;
    fprintf(stderr, "\rloading %3.0f %%%s", fraction * 100, fraction < 1 ? "" : "\r\x1b[K");
    return interrupted;
}

/* ---- Asking ----------------------------------------------------------------------------------------------------- */

static llada_status tokenize(const llada_model *model, bool chat, const char *question, int32_t *tokens,
                             size_t capacity, size_t *count, llada_error *error) {
    llada_chat_message message = {"user", question};
    return chat ? llada_chat_tokenize(model, &message, 1, NULL, tokens, capacity, count, error)
                : llada_tokenize(model, question, strlen(question), 0, tokens, capacity, count, error);
}

static int ask(view *v, bool chat, const llada_decoder_options *options, const char *question) {
    llada_error error = LLADA_ERROR_INIT;
    size_t prompt_count = 0, output_count = 0, length = 0;
    llada_status status = tokenize(v->model, chat, question, NULL, 0, &prompt_count, &error);
    if (status != LLADA_OK && status != LLADA_ERROR_BUFFER_TOO_SMALL) return complain(error.message);
    int32_t *prompt = allocate(prompt_count, sizeof *prompt);
    int32_t *output = allocate((size_t)options->gen_length, sizeof *output);
    char *answer = NULL;
    llada_decoder *decoder = NULL;
    llada_decoder_state state = LLADA_DECODER_STATE_INIT;

    status = tokenize(v->model, chat, question, prompt, prompt_count, &prompt_count, &error);
    if (status == LLADA_OK) status = llada_decoder_create(v->model, prompt, prompt_count, options, &decoder, &error);
    if (status == LLADA_OK) status = llada_decoder_get_state(decoder, &state, &error);
    if (status == LLADA_OK) {
        v->first = state.prompt_length;
        v->end = state.prompt_length + state.gen_length;
        v->history = allocate((size_t)state.canvas_length, 1);
        v->lines = 0;
        if (v->live) redraw(v, decoder, &state, 0, NULL, 0);
        status = llada_decoder_run(decoder, after_step, v, &error);
    }
    if (status == LLADA_OK)
        status = llada_decoder_output(decoder, output, (size_t)options->gen_length, &output_count, &error);
    if (status == LLADA_OK) {
        llada_detokenize(v->model, output, output_count, LLADA_TEXT_SKIP_CONTROL, NULL, 0, &length, NULL);
        answer = allocate(length + 1, 1);
        status =
            llada_detokenize(v->model, output, output_count, LLADA_TEXT_SKIP_CONTROL, answer, length, &length, &error);
    }
    if (status == LLADA_OK) status = llada_decoder_get_state(decoder, &state, &error);
    if (status == LLADA_OK) {
        if (v->live) {
            redraw(v, decoder, &state, (int64_t)output_count, answer, length);
            printf("\n\n");
        } else {
            char line[256];
            describe(v, &state, (int64_t)output_count, line, sizeof line);
            printf("%s\n", answer);
            fflush(stdout);
            fprintf(stderr, "  %s\n", line);
        }
    } else {
        if (v->live) putchar('\n');
        complain(status == LLADA_ERROR_STOPPED ? "stopped" : error.message);
    }
    llada_decoder_free(decoder);
    free(v->history);
    free(answer);
    free(output);
    free(prompt);
    return status != LLADA_OK;
}

static bool number(const char *text, long low, long high, long *value) {
    char *end = NULL;
    errno = 0;
    *value = text ? strtol(text, &end, 10) : 0;
    return text && end != text && !*end && !errno && *value >= low && *value <= high;
}

int main(int argc, char **argv) {
    const char *path = getenv("LLADA_MODEL") ? getenv("LLADA_MODEL") : EXAMPLE_MODEL, *question = NULL;
    const char *terminal = getenv("TERM");
    size_t mode = 0;
    long gen_length = 64, delay = -1;
    view v = {0};
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        bool good = true;
        if (!strcmp(a, "-m"))
            good = (path = argv[++i]) != NULL;
        else if (!strcmp(a, "-n"))
            good = number(argv[++i], 1, 1 << 20, &gen_length);
        else if (!strcmp(a, "--delay"))
            good = number(argv[++i], 0, 60000, &delay);
        else if (!strcmp(a, "--trace"))
            v.trace = true;
        else if (*a != '-')
            question = a;
        else {
            size_t m = 0;
            while (m < 4 && (a[1] != modes[m].option || a[2])) m++;
            if ((good = m < 4)) mode = m;
        }
        if (!good)
            return complain("usage: generate [-m model] [-s | -q | -b | -2] [-n gen_length] [--delay ms] [--trace] "
                            "[\"question\"]");
    }
    v.live = !v.trace && isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && !(terminal && !strcmp(terminal, "dumb"));
    v.delay_ms = delay >= 0 ? delay : v.live ? 80 : 0;
    v.mode = modes[mode].name;

    llada_error error = LLADA_ERROR_INIT;
    llada_model *model = NULL;
    llada_model_options model_options;
    if (llada_model_options_init(&model_options, sizeof model_options, &error) != LLADA_OK)
        return complain(error.message);
    if (isatty(STDERR_FILENO)) model_options.progress = loading;
    if (llada_model_open(path, &model_options, &model, &error) != LLADA_OK) return complain(error.message);
    v.model = model;

    llada_model_info info = LLADA_MODEL_INFO_INIT;
    llada_policy policy;
    llada_decoder_options options;
    int failed = llada_text_stream_create(model, 0, NULL, &v.words, &error) != LLADA_OK ||
                 llada_model_get_info(model, &info, &error) != LLADA_OK ||
                 llada_policy_init(&policy, sizeof policy, modes[mode].preset, &error) != LLADA_OK ||
                 llada_decoder_options_init(&options, sizeof options, &error) != LLADA_OK;
    if (failed) complain(error.message);
    options.gen_length = (int32_t)gen_length;
    options.policy = &policy;
    v.eos = info.eos_token_id;

    struct sigaction action = {0};
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, NULL);
    /* No cursor, and no wrapping but ours: the frame above must be as tall as we think it is. */
    if (v.live) printf("\x1b[?25l\x1b[?7l");

    bool asking = isatty(STDIN_FILENO);
    char *line = NULL;
    size_t capacity = 0;
    if (question && !failed) {
        if (v.live) printf("\x1b[1m%s\x1b[m\n", question);
        failed = ask(&v, info.has_chat_template, &options, question);
    }
    while (!question && !failed && !interrupted) {
        if (asking && v.live) printf("\x1b[?25h\x1b[1m› ");
        fflush(stdout);
        ssize_t length = getline(&line, &capacity, stdin);
        if (asking && v.live) printf("\x1b[m\x1b[?25l");
        if (length < 0) break;
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) line[--length] = 0;
        if (length == 0) continue;
        if (!asking && v.live) printf("\x1b[1m%s\x1b[m\n", line);
        failed = ask(&v, info.has_chat_template, &options, line);
    }
    if (v.live) printf("\x1b[?25h\x1b[?7h");
    free(line);
    llada_text_stream_free(v.words);
    llada_model_free(model);
    return failed || interrupted || ferror(stdout) || fflush(stdout) != 0;
}
