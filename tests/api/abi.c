/* The layout of fourfold_c.h's structs, which programs compiled against an older header rely on: members may be added at the end of those with
 * struct_size, and nothing else may change within one FOURFOLD_ABI_VERSION. Compiled, as C11, into test_api: a changed offset does not compile.
 * A new member gets a line, and its struct a new size: it begins at or beyond the old one, never in the padding at its end, which older programs
 * leave unset. A new struct gets all of them. */
#include <stddef.h>
#include <stdint.h>

#include "fourfold/fourfold_c.h"

#define AT(type, member, offset) _Static_assert(offsetof(type, member) == (offset), #type "." #member " has moved")
#define SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " has another size")

/* Where pointers and size_t have 64 bits, which is everywhere that the library is built. */
_Static_assert(sizeof(void *) == 8 && sizeof(size_t) == 8, "the offsets below are those of 64-bit machines");

AT(fourfold_problem, struct_size, 0);
AT(fourfold_problem, operation, 8);
AT(fourfold_problem, padding_mode, 12);
AT(fourfold_problem, filter_mode, 16);
AT(fourfold_problem, layout, 20);
AT(fourfold_problem, post_op, 24);
AT(fourfold_problem, residual, 28);
AT(fourfold_problem, batch, 32);
AT(fourfold_problem, in_channels, 40);
AT(fourfold_problem, in_height, 48);
AT(fourfold_problem, in_width, 56);
AT(fourfold_problem, out_channels, 64);
AT(fourfold_problem, filter_height, 72);
AT(fourfold_problem, filter_width, 80);
AT(fourfold_problem, stride_h, 88);
AT(fourfold_problem, stride_w, 96);
AT(fourfold_problem, pad_top, 104);
AT(fourfold_problem, pad_bottom, 112);
AT(fourfold_problem, pad_left, 120);
AT(fourfold_problem, pad_right, 128);
AT(fourfold_problem, dilation_h, 136);
AT(fourfold_problem, dilation_w, 144);
AT(fourfold_problem, groups, 152);
AT(fourfold_problem, padding_value, 160);
AT(fourfold_problem, clamp_lo, 164);
AT(fourfold_problem, clamp_hi, 168);
SIZE(fourfold_problem, 176);

AT(fourfold_transposed, struct_size, 0);
AT(fourfold_transposed, batch, 8);
AT(fourfold_transposed, in_channels, 16);
AT(fourfold_transposed, in_height, 24);
AT(fourfold_transposed, in_width, 32);
AT(fourfold_transposed, out_channels, 40);
AT(fourfold_transposed, filter_height, 48);
AT(fourfold_transposed, filter_width, 56);
AT(fourfold_transposed, stride_h, 64);
AT(fourfold_transposed, stride_w, 72);
AT(fourfold_transposed, padding_h, 80);
AT(fourfold_transposed, padding_w, 88);
AT(fourfold_transposed, output_padding_h, 96);
AT(fourfold_transposed, output_padding_w, 104);
AT(fourfold_transposed, dilation_h, 112);
AT(fourfold_transposed, dilation_w, 120);
AT(fourfold_transposed, groups, 128);
SIZE(fourfold_transposed, 136);

AT(fourfold_plan_options, struct_size, 0);
AT(fourfold_plan_options, algorithm, 8);
AT(fourfold_plan_options, device, 12);
AT(fourfold_plan_options, threads, 16);
AT(fourfold_plan_options, accuracy, 20);
AT(fourfold_plan_options, fft_backend, 24);
AT(fourfold_plan_options, fft_rigor, 28);
AT(fourfold_plan_options, workspace_limit, 32);
AT(fourfold_plan_options, packed_filter_limit, 40);
AT(fourfold_plan_options, variant, 48);
AT(fourfold_plan_options, choice, 56);
AT(fourfold_plan_options, effort, 64);
AT(fourfold_plan_options, cache, 68);
AT(fourfold_plan_options, choose_for_threads, 72);
AT(fourfold_plan_options, packs_each_time, 76);
AT(fourfold_plan_options, blocked, 80);
AT(fourfold_plan_options, blocked_count, 88);
AT(fourfold_plan_options, device_ordinal, 96);
SIZE(fourfold_plan_options, 104);

AT(fourfold_plan_info, struct_size, 0);
AT(fourfold_plan_info, variant, 8);
AT(fourfold_plan_info, algorithm, 16);
AT(fourfold_plan_info, threads, 20);
AT(fourfold_plan_info, workspace_bytes, 24);
AT(fourfold_plan_info, workspace_bytes_unpacked, 32);
AT(fourfold_plan_info, packed_filter_bytes, 40);
AT(fourfold_plan_info, predicted_seconds, 48);
AT(fourfold_plan_info, choice, 56);
AT(fourfold_plan_info, decided_by, 64);
AT(fourfold_plan_info, tier, 72);
AT(fourfold_plan_info, device, 76);
AT(fourfold_plan_info, device_ordinal, 80);
SIZE(fourfold_plan_info, 88);

AT(fourfold_const_view, data, 0);
AT(fourfold_const_view, strides, 8);
AT(fourfold_const_view, strided, 40);
SIZE(fourfold_const_view, 48);

AT(fourfold_view, data, 0);
AT(fourfold_view, strides, 8);
AT(fourfold_view, strided, 40);
SIZE(fourfold_view, 48);

AT(fourfold_tensors, struct_size, 0);
AT(fourfold_tensors, input, 8);
AT(fourfold_tensors, filters, 56);
AT(fourfold_tensors, packed_filters, 104);
AT(fourfold_tensors, packed_filter_bytes, 112);
AT(fourfold_tensors, bias, 120);
AT(fourfold_tensors, residual, 128);
AT(fourfold_tensors, output, 176);
AT(fourfold_tensors, grad_output, 224);
AT(fourfold_tensors, grad_input, 272);
AT(fourfold_tensors, grad_filters, 320);
AT(fourfold_tensors, grad_bias, 368);
SIZE(fourfold_tensors, 376);

AT(fourfold_context, struct_size, 0);
AT(fourfold_context, executor, 8);
AT(fourfold_context, executor_data, 16);
AT(fourfold_context, profile, 24);
AT(fourfold_context, stream, 32);
SIZE(fourfold_context, 40);

AT(fourfold_layer_info, struct_size, 0);
AT(fourfold_layer_info, workspace_bytes, 8);
AT(fourfold_layer_info, packed_filter_bytes, 16);
AT(fourfold_layer_info, predicted_seconds, 24);
AT(fourfold_layer_info, separable, 32);
SIZE(fourfold_layer_info, 40);

AT(fourfold_spectral_problem, struct_size, 0);
AT(fourfold_spectral_problem, operation, 8);
AT(fourfold_spectral_problem, order, 12);
AT(fourfold_spectral_problem, batch, 16);
AT(fourfold_spectral_problem, in_channels, 24);
AT(fourfold_spectral_problem, height, 32);
AT(fourfold_spectral_problem, half_width, 40);
AT(fourfold_spectral_problem, out_channels, 48);
SIZE(fourfold_spectral_problem, 56);

AT(fourfold_spectral_options, struct_size, 0);
AT(fourfold_spectral_options, threads, 8);
AT(fourfold_spectral_options, variant, 16);
SIZE(fourfold_spectral_options, 24);

AT(fourfold_spectral_info, struct_size, 0);
AT(fourfold_spectral_info, variant, 8);
AT(fourfold_spectral_info, threads, 16);
AT(fourfold_spectral_info, workspace_bytes, 24);
AT(fourfold_spectral_info, workspace_bytes_unpacked, 32);
AT(fourfold_spectral_info, packed_filter_bytes, 40);
SIZE(fourfold_spectral_info, 48);

AT(fourfold_const_spectrum, data, 0);
AT(fourfold_const_spectrum, strides, 8);
AT(fourfold_const_spectrum, strided, 40);
SIZE(fourfold_const_spectrum, 48);

AT(fourfold_spectrum, data, 0);
AT(fourfold_spectrum, strides, 8);
AT(fourfold_spectrum, strided, 40);
SIZE(fourfold_spectrum, 48);

AT(fourfold_spectral_tensors, struct_size, 0);
AT(fourfold_spectral_tensors, input, 8);
AT(fourfold_spectral_tensors, filters, 56);
AT(fourfold_spectral_tensors, packed_filters, 104);
AT(fourfold_spectral_tensors, packed_filter_bytes, 112);
AT(fourfold_spectral_tensors, output, 120);
AT(fourfold_spectral_tensors, grad_output, 168);
AT(fourfold_spectral_tensors, grad_input, 216);
AT(fourfold_spectral_tensors, grad_filters, 264);
AT(fourfold_spectral_tensors, accumulate, 312);
SIZE(fourfold_spectral_tensors, 320);

AT(fourfold_spectral_transform_options, struct_size, 0);
AT(fourfold_spectral_transform_options, threads, 8);
AT(fourfold_spectral_transform_options, fft_backend, 12);
AT(fourfold_spectral_transform_options, fft_rigor, 16);
SIZE(fourfold_spectral_transform_options, 24);

AT(fourfold_training_options, struct_size, 0);
AT(fourfold_training_options, threads, 8);
AT(fourfold_training_options, fft_backend, 12);
AT(fourfold_training_options, fft_rigor, 16);
AT(fourfold_training_options, workspace_limit, 24);
SIZE(fourfold_training_options, 32);

AT(fourfold_training_info, struct_size, 0);
AT(fourfold_training_info, threads, 8);
AT(fourfold_training_info, fft_backend, 12);
AT(fourfold_training_info, input_spectra_bytes, 16);
AT(fourfold_training_info, filter_spectra_bytes, 24);
AT(fourfold_training_info, gradient_spectra_bytes, 32);
AT(fourfold_training_info, workspace_bytes, 40);
SIZE(fourfold_training_info, 48);

AT(fourfold_device_info, struct_size, 0);
AT(fourfold_device_info, device, 8);
AT(fourfold_device_info, ordinal, 12);
AT(fourfold_device_info, name, 16);
AT(fourfold_device_info, driver, 24);
AT(fourfold_device_info, memory_bytes, 32);
AT(fourfold_device_info, compute_units, 40);
AT(fourfold_device_info, capability, 44);
SIZE(fourfold_device_info, 48);

AT(fourfold_stage, name, 0);
AT(fourfold_stage, calls, 8);
AT(fourfold_stage, seconds, 16);
SIZE(fourfold_stage, 24);

AT(fourfold_candidate, struct_size, 0);
AT(fourfold_candidate, algorithm, 8);
AT(fourfold_candidate, supported, 12);
AT(fourfold_candidate, chosen, 16);
AT(fourfold_candidate, reason, 24);
AT(fourfold_candidate, variant, 32);
AT(fourfold_candidate, predicted_seconds, 40);
AT(fourfold_candidate, workspace_bytes, 48);
AT(fourfold_candidate, packed_filter_bytes, 56);
AT(fourfold_candidate, choice, 64);
AT(fourfold_candidate, corrected_seconds, 72);
SIZE(fourfold_candidate, 80);

AT(fourfold_variant, struct_size, 0);
AT(fourfold_variant, name, 8);
AT(fourfold_variant, stage, 16);
AT(fourfold_variant, isa, 24);
AT(fourfold_variant, parameters, 32);
AT(fourfold_variant, runnable, 40);
AT(fourfold_variant, hash, 48);
SIZE(fourfold_variant, 56);

AT(fourfold_machine, struct_size, 0);
AT(fourfold_machine, cpu, 8);
AT(fourfold_machine, microarchitecture, 16);
AT(fourfold_machine, isa, 24);
AT(fourfold_machine, hardware_threads, 32);
AT(fourfold_machine, l1_bytes, 40);
AT(fourfold_machine, l2_bytes, 48);
AT(fourfold_machine, l3_bytes, 56);
SIZE(fourfold_machine, 64);

AT(fourfold_table_info, struct_size, 0);
AT(fourfold_table_info, name, 8);
AT(fourfold_table_info, shipped, 16);
AT(fourfold_table_info, records, 20);
AT(fourfold_table_info, stale, 24);
AT(fourfold_table_info, foreign, 28);
AT(fourfold_table_info, unreadable, 32);
AT(fourfold_table_info, torn, 36);
SIZE(fourfold_table_info, 40);
