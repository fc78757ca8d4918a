/* The layout of every struct, which programs compiled today rely on for ever, and what the _init functions write. */
#include "decoders.h"

/* On every LP64 platform. A line here changes only with the SONAME. */
#define AT(type, field, offset) _Static_assert(offsetof(type, field) == (offset), #type "." #field)
#define SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
_Static_assert(sizeof(void *) == 8 && sizeof(long) == 8 && sizeof(bool) == 1, "LP64");

SIZE(llada_error, 1024);
AT(llada_error, struct_size, 0);
AT(llada_error, status, 4);
AT(llada_error, message, 8);

SIZE(llada_model_options, 104);
AT(llada_model_options, struct_size, 0);
AT(llada_model_options, dtype, 4);
AT(llada_model_options, kv_dtype, 8);
AT(llada_model_options, blas, 12);
AT(llada_model_options, threads, 16);
AT(llada_model_options, expert_capacity, 20);
AT(llada_model_options, mask_token_id, 24);
AT(llada_model_options, use_mmap, 28);
AT(llada_model_options, eos_token_ids, 32);
AT(llada_model_options, eos_token_id_count, 40);
AT(llada_model_options, progress, 48);
AT(llada_model_options, progress_user, 56);
AT(llada_model_options, delete_token_id, 64);
AT(llada_model_options, split_token_id, 68);
AT(llada_model_options, memory_limit, 72);
AT(llada_model_options, cluster, 80);
AT(llada_model_options, expert_usage, 88);
AT(llada_model_options, expert_usage_count, 96);

SIZE(llada_cluster_options, 48);
AT(llada_cluster_options, struct_size, 0);
AT(llada_cluster_options, timeout_ms, 4);
AT(llada_cluster_options, initialise, 8);
AT(llada_cluster_options, communicator, 16);
AT(llada_cluster_options, library, 24);
AT(llada_cluster_options, shares, 32);
AT(llada_cluster_options, share_count, 40);

SIZE(llada_cluster_info, 48);
AT(llada_cluster_info, struct_size, 0);
AT(llada_cluster_info, rank, 4);
AT(llada_cluster_info, size, 8);
AT(llada_cluster_info, bytes_sent, 16);
AT(llada_cluster_info, bytes_received, 24);
AT(llada_cluster_info, messages_sent, 32);
AT(llada_cluster_info, messages_received, 40);

SIZE(llada_model_info, 112);
AT(llada_model_info, struct_size, 0);
AT(llada_model_info, vocab_size, 4);
AT(llada_model_info, hidden_size, 8);
AT(llada_model_info, num_hidden_layers, 12);
AT(llada_model_info, first_k_dense_replace, 16);
AT(llada_model_info, num_attention_heads, 20);
AT(llada_model_info, num_key_value_heads, 24);
AT(llada_model_info, head_dim, 28);
AT(llada_model_info, intermediate_size, 32);
AT(llada_model_info, moe_intermediate_size, 36);
AT(llada_model_info, num_experts, 40);
AT(llada_model_info, num_experts_per_tok, 44);
AT(llada_model_info, max_position_embeddings, 48);
AT(llada_model_info, mask_token_id, 52);
AT(llada_model_info, eos_token_id, 56);
AT(llada_model_info, dtype, 60);
AT(llada_model_info, kv_dtype, 64);
AT(llada_model_info, threads, 68);
AT(llada_model_info, has_tokenizer, 72);
AT(llada_model_info, has_chat_template, 73);
AT(llada_model_info, knows_chat_layout, 74);
AT(llada_model_info, num_parameters, 80);
AT(llada_model_info, weight_bytes, 88);
AT(llada_model_info, delete_token_id, 96);
AT(llada_model_info, split_token_id, 100);
AT(llada_model_info, memory_used, 104);

SIZE(llada_noised_sequence, 40);
AT(llada_noised_sequence, tokens, 0);
AT(llada_noised_sequence, count, 8);
AT(llada_noised_sequence, noisy, 16);
AT(llada_noised_sequence, versions, 24);
AT(llada_noised_sequence, prompt_length, 32);

SIZE(llada_score_options, 32);
AT(llada_score_options, struct_size, 0);
AT(llada_score_options, block_length, 4);
AT(llada_score_options, everywhere, 8);
AT(llada_score_options, progress, 16);
AT(llada_score_options, progress_user, 24);

SIZE(llada_text_part, 24);
AT(llada_text_part, text, 0);
AT(llada_text_part, byte_count, 8);
AT(llada_text_part, is_markup, 16);

SIZE(llada_chat_options, 24);
AT(llada_chat_options, struct_size, 0);
AT(llada_chat_options, add_generation_prompt, 4);
AT(llada_chat_options, thinking, 5);
AT(llada_chat_options, layout, 8);
AT(llada_chat_options, tools, 16);

SIZE(llada_chat_message, 16);
AT(llada_chat_message, role, 0);
AT(llada_chat_message, content, 8);

SIZE(llada_policy, 88);
AT(llada_policy, struct_size, 0);
AT(llada_policy, kind, 4);
AT(llada_policy, threshold, 8);
AT(llada_policy, steps, 12);
AT(llada_policy, minimal_topk, 16);
AT(llada_policy, editing_threshold, 20);
AT(llada_policy, max_post_steps, 24);
AT(llada_policy, num_to_transfer, 28);
AT(llada_policy, penalty_lambda, 32);
AT(llada_policy, mbe_window, 36);
AT(llada_policy, mbe_rounds, 40);
AT(llada_policy, temperature, 44);
AT(llada_policy, top_k, 48);
AT(llada_policy, top_p, 52);
AT(llada_policy, seed, 56);
AT(llada_policy, max_steps_per_block, 64);
AT(llada_policy, variant, 68);
AT(llada_policy, refresh_changed, 72);
AT(llada_policy, refresh_below, 76);
AT(llada_policy, refresh_every, 80);
AT(llada_policy, refresh_exact, 84);

SIZE(llada_decoder_options, 32);
AT(llada_decoder_options, struct_size, 0);
AT(llada_decoder_options, block_length, 4);
AT(llada_decoder_options, gen_length, 8);
AT(llada_decoder_options, eos_early_stop, 12);
AT(llada_decoder_options, infill, 13);
AT(llada_decoder_options, use_cache, 14);
AT(llada_decoder_options, policy, 16);
AT(llada_decoder_options, prefix_cache, 24);

SIZE(llada_prefix_cache_info, 72);
AT(llada_prefix_cache_info, struct_size, 0);
AT(llada_prefix_cache_info, max_bytes, 8);
AT(llada_prefix_cache_info, bytes, 16);
AT(llada_prefix_cache_info, blocks, 24);
AT(llada_prefix_cache_info, pinned_blocks, 32);
AT(llada_prefix_cache_info, lookups, 40);
AT(llada_prefix_cache_info, hits, 48);
AT(llada_prefix_cache_info, reused_tokens, 56);
AT(llada_prefix_cache_info, evicted_blocks, 64);

SIZE(llada_decoder_state, 128);
AT(llada_decoder_state, struct_size, 0);
AT(llada_decoder_state, phase, 4);
AT(llada_decoder_state, finish_reason, 8);
AT(llada_decoder_state, block_length, 12);
AT(llada_decoder_state, prompt_length, 16);
AT(llada_decoder_state, gen_length, 20);
AT(llada_decoder_state, canvas_length, 24);
AT(llada_decoder_state, settled_length, 28);
AT(llada_decoder_state, active_first, 32);
AT(llada_decoder_state, active_count, 36);
AT(llada_decoder_state, block_step, 40);
AT(llada_decoder_state, editing_blocks, 44);
AT(llada_decoder_state, forwards, 48);
AT(llada_decoder_state, commits, 56);
AT(llada_decoder_state, prefills, 64);
AT(llada_decoder_state, edits, 72);
AT(llada_decoder_state, computed_positions, 80);
AT(llada_decoder_state, reused_positions, 88);
AT(llada_decoder_state, insertions, 96);
AT(llada_decoder_state, deletions, 104);
AT(llada_decoder_state, computed_forwards, 112);
AT(llada_decoder_state, judged_positions, 120);

SIZE(llada_active, 72);
AT(llada_active, struct_size, 0);
AT(llada_active, first, 4);
AT(llada_active, count, 8);
AT(llada_active, block_step, 12);
AT(llada_active, editing_blocks, 16);
AT(llada_active, tokens, 24);
AT(llada_active, states, 32);
AT(llada_active, locked, 40);
AT(llada_active, predictions, 48);
AT(llada_active, confidences, 56);
AT(llada_active, computed, 64);

SIZE(llada_candidate, 12);
AT(llada_candidate, token, 0);
AT(llada_candidate, logit, 4);
AT(llada_candidate, probability, 8);

SIZE(llada_edit, 20);
AT(llada_edit, position, 0);
AT(llada_edit, token, 4);
AT(llada_edit, confidence, 8);
AT(llada_edit, reason, 12);
AT(llada_edit, kind, 16);

SIZE(llada_event, 28);
AT(llada_event, position, 0);
AT(llada_event, kind, 4);
AT(llada_event, old_token, 8);
AT(llada_event, new_token, 12);
AT(llada_event, confidence, 16);
AT(llada_event, reason, 20);
AT(llada_event, last, 24);

_Static_assert(LLADA_ERROR_NUMERIC == -18 && LLADA_ERROR_SNAPSHOT == -17 && LLADA_ERROR_SPECIAL_TOKEN == -16 &&
                   LLADA_ERROR_BUFFER_TOO_SMALL == -15 && LLADA_ERROR_STATE == -11 &&
                   LLADA_ERROR_INVALID_ARGUMENT == -1 && LLADA_OK == 0,
               "codes never change");

static void init_gives_the_defaults(void) {
    llada_error error = LLADA_ERROR_INIT;
    llada_model_options m;
    memset(&m, 0xA5, sizeof m);
    CHECK_OK(llada_model_options_init(&m, sizeof m, &error));
    CHECK(m.struct_size == sizeof m && m.dtype == LLADA_DTYPE_AUTO && m.threads == 0 && m.mask_token_id == -1 &&
          !m.eos_token_ids && !m.eos_token_id_count && m.blas == LLADA_BLAS_AUTO && m.use_mmap == LLADA_MMAP_AUTO &&
          !m.expert_capacity && !m.progress && !m.progress_user && m.kv_dtype == LLADA_DTYPE_AUTO && !m.memory_limit);
    llada_decoder_options d;
    memset(&d, 0xA5, sizeof d);
    CHECK_OK(llada_decoder_options_init(&d, sizeof d, &error));
    CHECK(d.struct_size == sizeof d && d.block_length == 32 && d.gen_length == 256 && d.eos_early_stop && !d.infill &&
          d.use_cache && !d.policy);
    llada_policy p;
    memset(&p, 0xA5, sizeof p);
    CHECK_OK(llada_policy_init(&p, sizeof p, LLADA_PRESET_LOW_CONFIDENCE, &error));
    CHECK(p.struct_size == sizeof p && p.kind == LLADA_POLICY_LOW_CONFIDENCE && p.threshold == 0.95f && p.steps == 32 &&
          p.minimal_topk == 1 && p.temperature == 0 && p.mbe_window == 1);
    CHECK_OK(llada_policy_init(&p, sizeof p, LLADA_PRESET_SPEEDY, &error));
    CHECK(p.kind == LLADA_POLICY_JOINT_THRESHOLD && p.threshold == 0.5f && p.editing_threshold == 0.0f &&
          p.max_post_steps == 16 && p.num_to_transfer == 1 && p.penalty_lambda == 0 && p.mbe_window == 1);
    CHECK_OK(llada_policy_init(&p, sizeof p, LLADA_PRESET_QUALITY, &error));
    CHECK(p.threshold == 0.7f && p.editing_threshold == 0.5f && p.mbe_window == 1 && p.top_k == 0 && p.top_p == 1);
    CHECK_OK(llada_policy_init(&p, sizeof p, LLADA_PRESET_QUALITY_MBE, &error));
    CHECK(p.threshold == 0.7f && p.editing_threshold == 0.5f && p.mbe_window == 2 && p.mbe_rounds >= 1);
}

/* An _init writes as much as the caller knows and not a byte more: to an older program, to one of our age (whose size
 * is 0 below), and to a newer one, whose news are zero. */
static void init_stays_inside(void) {
    llada_error error = LLADA_ERROR_INIT;
    static const size_t sizes[] = {4, 8, 0, 200};
    for (int which = 0; which < 3; which++) {
        size_t own = which == 0   ? sizeof(llada_model_options)
                     : which == 1 ? sizeof(llada_decoder_options)
                                  : sizeof(llada_policy);
        for (size_t i = 0; i < 4; i++) {
            union {
                llada_model_options m;
                llada_decoder_options d;
                llada_policy p;
                uint32_t size;
                unsigned char bytes[256];
            } u;
            size_t size = sizes[i] ? sizes[i] : own;
            memset(&u, 0xA5, sizeof u);
            CHECK_OK(which == 0   ? llada_model_options_init(&u.m, size, &error)
                     : which == 1 ? llada_decoder_options_init(&u.d, size, &error)
                                  : llada_policy_init(&u.p, size, LLADA_PRESET_SPEEDY, &error));
            CHECK_EQUAL(u.size, size);
            for (size_t b = own; b < size; b++) CHECK(u.bytes[b] == 0);
            for (size_t b = size; b < sizeof u; b++) CHECK(u.bytes[b] == 0xA5);
        }
    }
    llada_policy p;
    static const size_t senseless[] = {0, 3, SIZE_MAX, SIZE_MAX - 63, (size_t)UINT32_MAX + 1 + sizeof p};
    for (size_t i = 0; i < sizeof senseless / sizeof *senseless; i++) {
        memset(&p, 0xA5, sizeof p);
        CHECK_REFUSED(llada_policy_init(&p, senseless[i], LLADA_PRESET_SPEEDY, &error), LLADA_ERROR_INVALID_ARGUMENT);
        CHECK_EQUAL(p.struct_size, 0xA5A5A5A5);
    }
}

int main(void) {
    static const test tests[] = {
        {"init gives the defaults", init_gives_the_defaults},
        {"init stays inside its struct", init_stays_inside},
    };
    return run_tests(tests, sizeof tests / sizeof *tests);
}
