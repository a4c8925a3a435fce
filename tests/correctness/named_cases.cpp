// Every algorithm x every variant of its main stage x a table of named cases, in three kinds of guarded memory by turns; then
// strided views and unpacked filters with the variant that the library chooses.
#include <algorithm>
#include <cstring>
#include <functional>
#include <iterator>
#include <ostream>
#include <string>

#include <gtest/gtest.h>

#include "correctness/check.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

struct NamedCase {
    const char *name;
    const char *problem;
    Values values = Values::kUniform;
    void (*adjust)(Conv2dProblem &) = nullptr;  ///< what a test prefers to say in fields
};

/// GoogleTest prints a parameter by this name.
void PrintTo(const NamedCase &c, std::ostream *out) {
    *out << c.problem;
}

void clamp(Conv2dProblem &p) {
    p.post_op = PostOp::kClamp;
    p.clamp_lo = -0.5f;
    p.clamp_hi = 0.75f;
}
void residual(Conv2dProblem &p) {
    p.residual = true;
}
void residual_clamp(Conv2dProblem &p) {
    residual(p);
    clamp(p);
}
void full(Conv2dProblem &p) {
    p = p.full();
}
void same(Conv2dProblem &p) {
    p = p.same();
}

const NamedCase kCases[] = {
    // Sizes.
    {"one_by_one", "b2 ic3 i5x7 oc4 f1"},
    {"one_by_one_wide", "b1 ic70 i9x11 oc50 f1"},
    {"one_pixel", "b1 ic1 i1 oc1 f1"},
    {"one_pixel_many_channels", "b3 ic19 i1 oc23 f1"},
    {"one_pixel_padded", "b1 ic2 i1 oc3 f3 p1"},
    {"one_row", "b1 ic3 i1x37 oc5 f1x3 p0,0,1,1"},
    {"one_column", "b1 ic3 i37x1 oc5 f3x1 p1,1,0,0"},
    {"ragged", "b1 ic5 i11x13 oc6 f5x3 p2,2,1,1"},
    {"odd_channels", "b1 ic17 i13x11 oc19 f3 p1"},
    {"primes", "b3 ic7 i23x29 oc11 f5x7 p2,2,3,3"},
    {"large_primes", "b1 ic13 i53x47 oc29 f3 p1"},
    {"smaller_than_a_vector", "b1 ic2 i3x3 oc2 f2"},
    {"filter_equals_input", "b2 ic3 i7x6 oc4 f7x6"},
    {"filter_larger_than_input", "b1 ic2 i5 oc3 f9 p4"},
    {"filter_covers_only_padding", "b1 ic1 i2 oc2 f3 p5"},
    {"image_15x15", "b1 ic1 i64x48 oc1 f15"},
    {"image_even_filter", "b1 ic1 i40x50 oc1 f8"},
    {"image_many_tiles", "b2 ic1 i171x130 oc2 f9x7 conv"},
    {"row_filter", "b1 ic3 i12x40 oc5 f1x7 p0,0,3,3"},
    {"column_filter", "b1 ic3 i40x12 oc5 f7x1 p3,3,0,0"},
    {"long_row_filter", "b1 ic1 i4x60 oc2 f1x41"},
    {"one_in_many_out", "b1 ic1 i12 oc70 f3 p1"},
    {"many_in_one_out", "b1 ic70 i12 oc1 f3 p1"},
    {"network_layer", "b1 ic64 i14 oc64 f3 p1"},
    {"tall", "b1 ic4 i130x3 oc8 f3 p1"},
    {"batch", "b5 ic6 i10x9 oc7 f3 p1"},
    {"batch_of_pixels", "b33 ic5 i1 oc9 f1"},
    // Tiles of winograd: bands of tile rows, partial tiles, sums in blocks, register tiles not filled.
    {"tiles_many_rows", "b2 ic18 i45x22 oc34 f3 p1"},
    {"tiles_one_wide_row", "b1 ic5 i4x131 oc9 f3 p1"},
    {"tiles_partial_conv", "b1 ic33 i15x17 oc70 f3 p1 conv"},
    {"tiles_long_sum", "b1 ic1040 i6 oc20 f3 p1", Values::kPositive},
    {"tiles_groups_residual", "b2 ic12 i19x10 oc20 f3 p1 g2", Values::kUniform, residual_clamp},
    {"tiles_stride_and_dilation", "b1 ic6 i27x30 oc7 f3 s2 d2 p2"},
    {"tiles_phases", "b2 ic34 i27x30 oc21 f3 s2 p1"},
    {"tiles_phases_conv_view", "b1 ic5 i30x23 oc33 f3 s2 p0,1,1,0 conv reflect"},
    {"tiles_phases_nhwc", "b1 ic18 i29x32 oc20 f3x2 s2 p1 nhwc relu"},
    {"tiles_phases_3x3", "b1 ic7 i33x30 oc18 f5 s2 p2 conv"},
    {"tiles_phases_unequal", "b1 ic12 i21x40 oc16 f3x6 s1x2 p1,1,2,2 g2"},
    {"tiles_phases_long_sum", "b1 ic300 i12 oc9 f4 s2 p1", Values::kPositive},
    {"tiles_2x2", "b1 ic20 i18x21 oc17 f2 p1"},
    {"tiles_lattices_reflect", "b1 ic4 i26x25 oc18 f3 d3x2 p3,3,2,2 reflect"},
    // Output widths around multiples of the vectors.
    {"out_width_1", "b1 ic4 i6x3 oc9 f3"},
    {"out_width_7", "b1 ic4 i6x9 oc9 f3"},
    {"out_width_15", "b1 ic4 i6x17 oc9 f3"},
    {"out_width_16", "b1 ic4 i6x18 oc9 f3"},
    {"out_width_17", "b1 ic4 i6x19 oc9 f3"},
    {"out_width_31", "b1 ic4 i6x33 oc9 f3"},
    {"out_width_33", "b1 ic4 i6x35 oc9 f3"},
    {"out_width_47", "b1 ic4 i6x49 oc9 f3"},
    {"out_width_48", "b1 ic4 i6x50 oc9 f3"},
    {"out_width_49", "b1 ic4 i6x51 oc9 f3"},
    {"out_width_63", "b1 ic4 i6x65 oc9 f3"},
    {"out_width_65", "b1 ic4 i6x67 oc9 f3"},
    // Zero padding whose pixels are sorted by the taps that it leaves; several images, and a rest of them, in a task.
    {"borders", "b1 ic20 i7 oc40 f3 p1"},
    {"borders_images", "b7 ic5 i7 oc33 f3 p1"},
    {"borders_stride", "b3 ic9 i15 oc70 f3 s2 p1"},
    {"borders_dilated", "b1 ic6 i17x19 oc35 f3 p6 d6"},
    {"borders_without_taps", "b1 ic3 i5 oc17 f3x2 p9,2,4,7"},
    {"borders_groups_residual", "b2 ic12 i9x8 oc66 f3 p1 g2 relu", Values::kUniform, residual},
    {"borders_channels_in_parts", "b1 ic700 i9 oc40 f3 p1", Values::kPositive},
    {"borders_64_taps", "b1 ic3 i9 oc20 f8 p4"},
    {"borders_72_taps", "b1 ic3 i9 oc20 f8x9 p4"},
    {"strips_in_place", "b2 ic70 i61x30 oc40 f1 s2"},
    // Strides and dilation.
    {"stride_2", "b1 ic5 i21x18 oc8 f3 s2 p1"},
    {"stride_3", "b2 ic3 i20 oc6 f5 s3 p2"},
    {"stride_unequal", "b1 ic4 i19x23 oc5 f3 s1x3 p1"},
    {"stride_asymmetric_padding", "b2 ic4 i12x10 oc5 f3x4 s2x3 p1,0,2,1"},
    {"stride_larger_than_filter", "b1 ic3 i22x25 oc4 f2 s4x5"},
    {"stride_skips_rows_one_by_one", "b1 ic6 i17 oc7 f1 s2"},
    {"stride_larger_than_input", "b1 ic3 i5 oc4 f3 s9 p1"},
    {"stem", "b1 ic3 i40 oc16 f7 s2 p3"},
    {"dilation_2", "b1 ic4 i16 oc6 f3 p2 d2"},
    {"dilation_unequal", "b1 ic6 i17x15 oc4 f3 p2,2,4,4 d2x4"},
    {"dilation_large", "b1 ic2 i25 oc3 f3 d11"},
    {"dilation_and_stride", "b1 ic3 i20x19 oc4 f3x2 s2 p1 d3x2"},
    {"dilation_equals_stride", "b1 ic3 i24 oc4 f3 s2 p2 d2"},
    {"dilation_and_stride_share_a_factor", "b1 ic3 i30x26 oc4 f3 s4x6 p3 d6x4"},
    {"dilation_wide_rows", "b2 ic20 i33x40 oc18 f3 p6 d6"},
    {"dilation_beyond_the_output", "b1 ic17 i20 oc3 f2x3 p3 d16x9"},
    {"dilation_wide_strided_bias", "b1 ic16 i41x44 oc17 f3x2 s3x2 p4 d6x8 relu"},
    // NHWC.
    {"nhwc", "b2 ic20 i13x17 oc35 f3 p1 nhwc"},
    {"nhwc_exact_lanes", "b1 ic32 i14 oc16 f3 p1 nhwc relu"},
    // One channel: read as NCHW, and regions, whose columns lie apart, by another plan.
    {"nhwc_one_channel", "b2 ic1 i19 oc1 f5 nhwc"},
    {"nhwc_one_channel_tiles", "b2 ic1 i150x130 oc1 f9 p4 nhwc relu", Values::kUniform, residual},
    {"nhwc_one_channel_strided", "b2 ic1 i31x40 oc1 f3x5 s2x3 p1,2,0,2 nhwc conv"},
    {"nhwc_one_channel_reflect", "b1 ic1 i40x33 oc1 f7 p3 d2x1 reflect nhwc"},
    {"nhwc_one_channel_column", "b2 ic1 i40x1 oc1 f5x1 nhwc"},
    {"nhwc_strided", "b1 ic17 i15x20 oc18 f3 s2x3 p1 nhwc"},
    {"nhwc_dilated", "b1 ic5 i16 oc33 f3 p2 d2x3 nhwc"},
    {"nhwc_depthwise", "b1 ic21 i12 oc21 f3 p1 g21 nhwc"},
    {"nhwc_residual", "b2 ic3 i9x11 oc5 f3 p1 nhwc residual relu"},
    {"nhwc_groups", "b1 ic12 i9 oc18 f3 p1 g3 nhwc"},
    {"nhwc_pointwise", "b1 ic40 i7 oc50 f1 nhwc"},
    {"nhwc_reflect", "b1 ic6 i11 oc7 f5 p2 nhwc reflect"},
    {"nhwc_constant", "b1 ic18 i20 oc7 f3 p1,3,2,1 nhwc constant:0.5"},
    // Groups.
    {"groups", "b2 ic8 i10x9 oc12 f3 p1 g4"},
    {"groups_odd", "b1 ic15 i9 oc21 f3 p1 g3"},
    {"groups_large", "b1 ic64 i7 oc64 f3 p1 g2"},
    {"depthwise", "b2 ic9 i12x14 oc9 f3 p1 g9"},
    {"depthwise_multiplier_2", "b1 ic6 i14 oc12 f5 p2 g6"},
    {"depthwise_stride_2", "b1 ic16 i15 oc16 f3 s2 p1 g16"},
    {"depthwise_dilated", "b1 ic5 i15 oc5 f3 p3 d3 g5"},
    {"depthwise_large_filter", "b1 ic4 i20 oc4 f13 p6 g4"},
    // One input channel a group: kernels of their own.
    {"depthwise_17_channels", "b1 ic17 i19x23 oc17 f3 p1 g17"},
    {"depthwise_one_row", "b1 ic3 i1x40 oc3 f3 p1 g3"},
    {"depthwise_one_column", "b2 ic3 i40x1 oc3 f3 p1 g3"},
    {"depthwise_2x2", "b1 ic16 i2 oc16 f3 p1 g16"},
    {"depthwise_valid", "b2 ic5 i21x35 oc5 f3 g5"},
    {"depthwise_valid_5x5", "b2 ic5 i21x35 oc5 f5 g5"},
    {"depthwise_valid_7x7", "b1 ic3 i30x70 oc3 f7 g3"},
    {"depthwise_valid_narrow", "b2 ic7 i40x5 oc7 f4 g7"},
    {"depthwise_valid_multiplier_3", "b1 ic4 i17x18 oc12 f3 g4"},
    {"depthwise_7x7", "b1 ic5 i19x66 oc5 f7 p3 g5"},
    {"depthwise_7x7_stride_2", "b1 ic5 i31x37 oc5 f7 s2 p3 g5"},
    {"depthwise_5x5_stride_2", "b1 ic5 i31x38 oc5 f5 s2 p2 g5"},
    {"depthwise_stride_2_multiplier", "b2 ic4 i25x67 oc8 f3 s2 p0,1,0,1 g4 relu", Values::kUniform, residual},
    {"depthwise_stride_2_even_filter", "b1 ic4 i25x27 oc4 f6x4 s2 p2 g4"},
    {"depthwise_stride_3", "b1 ic4 i25x27 oc4 f5 s3 p2 g4"},
    {"depthwise_stride_2_ragged", "b2 ic5 i33x71 oc5 f3 s2 p1 g5"},
    {"depthwise_stride_2_two_tiles", "b1 ic3 i19x130 oc3 f3 s2 p0,1,0,1 g3"},
    {"depthwise_stride_2_smaller_than_a_vector", "b3 ic17 i4x5 oc17 f3 s2 p1 g17 conv"},
    {"depthwise_stride_2_one_row", "b1 ic3 i1x40 oc3 f3 s2 p1 g3"},
    {"depthwise_stride_2_one_column", "b2 ic3 i41x1 oc3 f3 s2 p1 g3"},
    {"depthwise_stride_2_mixed_parity", "b2 ic4 i18x21 oc4 f4x3 s2 p1,2,0,1 g4 conv"},
    {"depthwise_stride_2_other_parity", "b2 ic4 i17x22 oc4 f5x2 s2 p2,0,3,1 g4"},
    {"depthwise_stride_2_filter_larger_than_input", "b1 ic3 i6x5 oc3 f9x11 s2 p4,4,5,5 g3"},
    {"depthwise_stride_2_one_tap", "b1 ic4 i9x10 oc4 f1 s2 g4"},
    {"depthwise_stride_2_wide_padding", "b1 ic3 i7 oc3 f3 s2 p6,5,7,4 g3"},
    {"depthwise_stride_2_rest_of_the_input", "b1 ic4 i20x23 oc4 f2 s2 g4"},
    {"depthwise_stride_2_residual", "b2 ic6 i20x37 oc6 f5 s2 p2,2,1,2 g6 relu", Values::kUniform, residual},
    {"depthwise_stride_2_residual_3x3", "b2 ic6 i20x37 oc6 f3 s2 p1 g6", Values::kUniform, residual_clamp},
    {"depthwise_stride_2_constant", "b1 ic5 i14x15 oc5 f3 s2 p1 g5 constant:0.5"},
    {"depthwise_many_rows", "b2 ic3 i300x37 oc3 f3 p1 g3", Values::kPositive},
    {"depthwise_strips", "b1 ic2 i121x200 oc2 f7 p3 g2"},
    {"depthwise_strips_stride_2", "b1 ic2 i501x523 oc2 f3 s2 p1 g2"},
    {"depthwise_strips_reflect", "b1 ic2 i121x200 oc2 f7 p3 g2 reflect"},
    {"depthwise_asymmetric_padding", "b2 ic5 i9x33 oc5 f4x5 p3,0,1,2 g5 conv"},
    {"depthwise_filter_larger_than_input", "b2 ic5 i6x4 oc5 f11x9 p5,5,4,4 g5"},
    {"depthwise_13x13", "b1 ic3 i28 oc3 f13 p6 g3"},
    {"depthwise_13x13_small", "b2 ic17 i7 oc17 f13 p6 g17"},
    {"depthwise_9x9", "b1 ic3 i20x33 oc3 f9 p4 g3"},
    {"depthwise_row_filter", "b1 ic3 i20x33 oc3 f1x9 p0,0,4,4 g3"},
    {"depthwise_column_filter", "b1 ic3 i33x20 oc3 f9x1 p4,4,0,0 g3"},
    {"depthwise_small", "b2 ic33 i7 oc33 f3 p1 g33"},
    {"depthwise_small_8x8_residual", "b2 ic16 i8 oc16 f5 p2 g16 relu", Values::kUniform, residual},
    {"depthwise_small_wide_padding", "b1 ic18 i3x4 oc18 f6 p4,6,5,2 g18"},
    {"depthwise_small_tall_flipped", "b1 ic5 i40x6 oc5 f3x4 p0,3,2,1 g5 conv"},
    {"depthwise_small_filter_31", "b1 ic20 i7 oc20 f31 p15 g20"},
    {"depthwise_small_9_wide", "b1 ic20 i5x8 oc20 f3 p1,1,2,1 g20"},
    {"depthwise_asymmetric", "b1 ic3 i20x21 oc3 f5 p0,3,4,1 g3"},
    {"depthwise_pad_wide", "b1 ic3 i4x5 oc3 f3 p7,6,9,8 g3"},
    {"depthwise_pad_wide_any", "b1 ic3 i4x5 oc3 f6x5 p17,16,9,28 g3"},
    {"depthwise_dilated_any", "b1 ic3 i31x33 oc3 f6x5 p3 d2x3 g3"},
    {"depthwise_dilated_rows", "b1 ic3 i31x33 oc3 f3 p2,2,1,1 d2x1 g3"},
    {"depthwise_dilated_beyond", "b1 ic3 i3x33 oc3 f3 p8,8,1,1 d7x1 g3"},
    {"depthwise_dilated_valid", "b1 ic3 i31x33 oc3 f5 d3x2 g3"},
    {"depthwise_stride_and_dilation", "b1 ic3 i31x33 oc3 f3 s2 p1 d2 g3"},
    {"depthwise_flipped", "b1 ic3 i20x21 oc3 f5 p2 g3 conv"},
    {"depthwise_residual_clamp", "b2 ic5 i14x19 oc5 f3 p1 g5", Values::kUniform, residual_clamp},
    {"depthwise_reflect", "b2 ic5 i14x19 oc5 f3 p1 g5 reflect"},
    {"depthwise_symmetric_stride_2", "b1 ic5 i14x19 oc5 f5 s2 p2 g5 symmetric"},
    {"depthwise_replicate_dilated", "b1 ic3 i14x19 oc3 f3 p2 d2 g3 replicate"},
    {"depthwise_reflect_two_tiles", "b2 ic3 i37x130 oc6 f5 p2 g3 relu reflect", Values::kUniform, residual},
    {"depthwise_reflect_7x7_dilated", "b1 ic2 i25x40 oc2 f7 d2 p6,5,4,6 g2 conv reflect"},
    {"depthwise_symmetric_row", "b1 ic2 i6x150 oc2 f1x15 p0,0,7,7 g2 symmetric"},
    {"depthwise_circular_pitch", "b1 ic1 i9x1022 oc1 f3 p1 circular"},
    {"depthwise_replicate_wide", "b1 ic2 i7x9 oc2 f4x3 p9,0,0,11 g2 replicate"},
    {"depthwise_constant_any", "b1 ic3 i14x19 oc3 f8 p4 g3 constant:-0.7"},
    {"depthwise_nhwc_1x1", "b1 ic40 i1 oc40 f3 p1 g40 nhwc"},
    {"depthwise_nhwc_2_wide", "b2 ic48 i9x2 oc48 f3 p1 g48 nhwc"},
    {"depthwise_nhwc_7_wide", "b1 ic64 i7 oc64 f3 p1 g64 nhwc relu"},
    {"depthwise_nhwc_9_wide", "b1 ic16 i8x9 oc16 f3 p1 g16 nhwc"},
    {"depthwise_nhwc_20_wide", "b2 ic32 i5x20 oc32 f3 p1 g32 nhwc"},
    {"depthwise_nhwc_1_channel", "b2 ic1 i11x17 oc1 f3 p1 g1 nhwc"},
    {"depthwise_nhwc_3_channels", "b2 ic3 i11x17 oc3 f5 p2 g3 nhwc"},
    {"depthwise_nhwc_17_channels", "b1 ic17 i19x13 oc17 f3 p1 g17 nhwc conv"},
    {"depthwise_nhwc_valid", "b2 ic96 i13x12 oc96 f5 g96 nhwc"},
    {"depthwise_nhwc_stride_2", "b1 ic40 i15x18 oc40 f3 s2 p1 g40 nhwc"},
    {"depthwise_nhwc_stride_3", "b1 ic35 i16x21 oc35 f5 s3x2 p2 g35 nhwc"},
    {"depthwise_nhwc_dilated", "b1 ic51 i21x17 oc51 f3 p3 d3 g51 nhwc"},
    {"depthwise_nhwc_stride_and_dilation", "b1 ic19 i31x33 oc19 f3 s2x3 p2 d3x2 g19 nhwc"},
    {"depthwise_nhwc_7x7", "b2 ic48 i20 oc48 f7 p3 g48 nhwc"},
    {"depthwise_nhwc_13x13", "b1 ic160 i14 oc160 f13 p6 g160 nhwc"},
    {"depthwise_nhwc_13x13_small", "b2 ic49 i7 oc49 f13 p6 g49 nhwc"},
    {"depthwise_nhwc_row_filter", "b1 ic33 i9x23 oc33 f1x9 p0,0,4,4 g33 nhwc"},
    {"depthwise_nhwc_column_filter", "b1 ic33 i23x9 oc33 f9x1 p4,4,0,0 g33 nhwc"},
    {"depthwise_nhwc_asymmetric", "b1 ic20 i10x21 oc20 f4x5 p0,3,4,1 g20 nhwc"},
    {"depthwise_nhwc_pad_wide", "b1 ic18 i4x5 oc18 f3 p7,6,9,8 g18 nhwc"},
    {"depthwise_nhwc_residual", "b2 ic40 i14x19 oc40 f3 p1 g40 nhwc", Values::kUniform, residual_clamp},
    {"depthwise_nhwc_residual_copied", "b2 ic53 i14x19 oc53 f9 p4 g53 nhwc", Values::kUniform, residual},
    {"depthwise_nhwc_reflect", "b2 ic21 i14x19 oc21 f3 p1 g21 nhwc reflect"},
    {"depthwise_nhwc_symmetric_stride_2", "b1 ic16 i14x19 oc16 f5 s2 p2 g16 nhwc symmetric"},
    {"depthwise_nhwc_replicate_dilated", "b1 ic5 i14x19 oc5 f3 p2 d2 g5 nhwc replicate"},
    {"depthwise_nhwc_circular", "b1 ic33 i14x19 oc33 f5 p2 g33 nhwc circular"},
    {"depthwise_nhwc_constant", "b1 ic33 i14x19 oc33 f4 p4 g33 nhwc constant:-0.7"},
    {"depthwise_nhwc_long_sum", "b1 ic18 i30 oc18 f18 p9 g18 nhwc relu", Values::kPositive, residual},
    {"depthwise_nhwc_1089_taps", "b1 ic17 i40 oc17 f33 p16 g17 nhwc", Values::kPositive},
    {"depthwise_nhwc_multiplier", "b1 ic6 i14 oc12 f5 p2 g6 nhwc"},
    {"depthwise_long_sum", "b1 ic2 i40 oc2 f22 p11 g2", Values::kPositive},
    {"image_3x3", "b1 ic1 i70x90 oc1 f3"},
    {"image_5x5_relu", "b1 ic1 i41x75 oc1 f5 relu"},
    {"image_several_filters", "b2 ic1 i30x50 oc3 f9"},
    {"image_9x9_same", "b1 ic1 i37x65 oc1 f9", Values::kUniform, same},
    // Transforms without a sum over channels: tiles of images inside and at the edges, whole planes, blocks of channels.
    {"planes_valid", "b1 ic1 i200x170 oc1 f15"},
    {"planes_padded", "b2 ic1 i150x130 oc2 f9 p4"},
    {"planes_reflect", "b1 ic1 i120x140 oc1 f21x7 p10,10,3,3 reflect"},
    {"planes_batch", "b5 ic1 i60x33 oc1 f5 relu", Values::kUniform, residual},
    {"planes_two_channels", "b1 ic2 i90 oc4 f11 g2"},
    {"planes_wide_dilation", "b1 ic1 i100x90 oc1 f5 p8 d4"},
    {"depthwise_blocks", "b2 ic19 i30 oc19 f11 p5 g19"},
    {"depthwise_tiles", "b1 ic17 i130x40 oc34 f7 p3 g17", Values::kUniform, residual_clamp},
    {"depthwise_unequal_filter", "b1 ic16 i9x200 oc16 f3x31 p1,1,15,15 g16"},
    {"depthwise_filter_covers_plane", "b1 ic20 i14 oc20 f27 p13 g20"},
    {"depthwise_even_filter", "b1 ic16 i20x23 oc16 f8x6 p4,3,0,5 g16 conv"},
    {"depthwise_constant", "b1 ic18 i25 oc18 f7 p3 g18 constant:0.5"},
    // Padding.
    {"full_padding", "b1 ic2 i6x7 oc3 f4", Values::kUniform, full},
    {"same_padding", "b1 ic3 i13x10 oc4 f4x5 s2x3", Values::kUniform, same},
    {"asymmetric_padding", "b1 ic3 i9x8 oc4 f3 p0,3,2,1"},
    {"padding_before_only", "b1 ic3 i9x8 oc4 f3 p2,0,2,0"},
    {"padding_after_only", "b1 ic3 i9x8 oc4 f3 p0,2,0,2"},
    {"padding_wide", "b1 ic2 i4x5 oc3 f3 p7,6,9,8"},
    {"constant", "b1 ic3 i9x10 oc4 f5 p2 constant:0.3"},
    {"constant_negative_strided", "b1 ic3 i9x10 oc4 f3 s2 p2,1,0,3 constant:-1.25"},
    {"constant_depthwise", "b1 ic4 i8 oc4 f3 p1 g4 constant:0.5"},
    // Nothing reads the padding, or only the first rows do: its value must not reach the others through a transform.
    {"constant_unread", "b1 ic2 i33x50 oc3 f3 constant:1e6"},
    {"constant_unread_strided", "b1 ic2 i30x33 oc3 f3 s2 constant:1e6"},
    {"constant_dilated", "b1 ic2 i11 oc3 f3 p2 d2 constant:0.7"},
    {"reflect", "b1 ic2 i9x10 oc3 f5 p2 reflect"},
    {"reflect_largest", "b1 ic2 i5x6 oc3 f3 p4,4,5,5 reflect"},
    {"reflect_strided", "b1 ic3 i11x12 oc4 f3 s2 p1,2,3,0 reflect"},
    {"reflect_size_one", "b1 ic2 i1x6 oc3 f1x3 p0,0,2,1 reflect"},
    {"symmetric", "b1 ic2 i9x10 oc3 f5 p2 symmetric"},
    {"symmetric_largest", "b1 ic2 i4x5 oc3 f3 p4,4,5,5 symmetric"},
    {"symmetric_strided", "b1 ic3 i11x12 oc4 f3 s2 p1,2,3,0 symmetric"},
    {"symmetric_size_one", "b1 ic2 i1 oc3 f2 p1 symmetric"},
    {"replicate", "b1 ic2 i9x10 oc3 f5 p2 replicate"},
    {"replicate_wide", "b1 ic2 i3x4 oc3 f3 p8,7,9,6 replicate"},
    {"replicate_one_pixel", "b1 ic2 i1 oc3 f3 p2 replicate"},
    {"circular", "b1 ic2 i9x10 oc3 f5 p2 circular"},
    {"circular_largest", "b1 ic2 i4x5 oc3 f3 p4,4,5,5 circular"},
    {"circular_asymmetric", "b2 ic3 i8x9 oc4 f3x4 p0,2,3,0 circular"},
    {"circular_dilated", "b1 ic2 i12 oc3 f3 p3 d3 circular"},
    {"circular_strided", "b1 ic2 i12x13 oc3 f3 s2 p1 circular"},
    {"circular_depthwise", "b1 ic5 i8 oc5 f3 p1 g5 circular"},
    // Flipped filters and post-operations.
    {"flipped", "b1 ic3 i10x9 oc4 f3x4 p1 conv"},
    {"flipped_strided_dilated", "b1 ic3 i17x16 oc4 f3x2 s2x1 p2 d1x3 conv"},
    {"flipped_groups_reflect", "b1 ic6 i10 oc4 f3 p1 g2 reflect conv"},
    {"relu", "b1 ic3 i10x9 oc4 f3 p1 relu"},
    {"clamp", "b1 ic3 i10x9 oc4 f3 p1", Values::kUniform, clamp},
    {"residual", "b2 ic3 i10x9 oc4 f3 p1", Values::kUniform, residual},
    {"residual_relu", "b2 ic3 i10x9 oc4 f3 s2 p1 relu", Values::kUniform, residual},
    {"residual_clamp", "b1 ic4 i10x9 oc8 f3 p1 g2", Values::kUniform, residual_clamp},
    {"residual_one_by_one", "b2 ic20 i7 oc33 f1", Values::kUniform, residual},
    // Long sums of positive numbers: rounding must not grow with their length.
    {"long_sum_one_by_one", "b1 ic1300 i4x5 oc6 f1", Values::kPositive},
    {"long_sum_3x3", "b1 ic260 i6 oc5 f3 p1", Values::kPositive},
    {"long_sum_large_filter", "b1 ic8 i40 oc3 f25", Values::kPositive},
    {"long_sum_depthwise", "b1 ic2 i50 oc2 f41 g2", Values::kPositive},
    {"long_sum_one_channel", "b1 ic1 i48x60 oc1 f45x40", Values::kPositive},
    {"long_sum_very", "b1 ic4100 i3 oc2 f2", Values::kPositive},
    {"long_sum_groups", "b1 ic600 i4 oc4 f2 g2", Values::kPositive},
};

std::string case_name(const ::testing::TestParamInfo<NamedCase> &info) {
    return info.param.name;
}

class Cases : public ::testing::TestWithParam<NamedCase> {
protected:
    static Conv2dProblem problem() {
        Conv2dProblem p = parse_problem(GetParam().problem);
        if (GetParam().adjust != nullptr) {
            GetParam().adjust(p);
        }
        return p;
    }
};

/// Which kind of memory a variant meets in a problem: the same in every run, and each in about a third of the problems.
size_t place_of(const std::string &variant, const Conv2dProblem &p) {
    return std::hash<std::string>()(variant + p.to_string()) % std::size(kPlacements);
}

/// Every algorithm's chosen variant in each kind of memory, with as many threads as its number, and every other variant in one of them.
TEST_P(Cases, EveryVariant) {
    const Conv2dProblem p = problem();
    ASSERT_EQ(p.error(), nullptr);
    std::vector<Operands> operands;
    for (Placement placement : kPlacements) {
        operands.emplace_back(p, test_seed(), GetParam().values, placement);
    }
    const reference::Forward expected = operands[0].expected();
    const auto check_in = [&](size_t place, Algorithm algorithm, const std::string &variant) {
        PlanOptions options;
        options.algorithm = algorithm;
        options.variant = variant;
        options.threads = static_cast<int>(place + 1);
        RunOptions how;
        how.placement = operands[place].placement;
        check(options, operands[place], expected, how);
    };
    for (Algorithm algorithm : kAlgorithms) {
        for (size_t place = 0; place < operands.size(); place++) {
            check_in(place, algorithm, "");
        }
        for (const std::string &variant : runnable_variants(algorithm)) {
            check_in(place_of(variant, p), algorithm, variant);
        }
    }
}

/// Phases of at most 3x3 taps are not refused: each of F(m, 3)'s tile sizes takes those with 3, and the ones without a point at
/// infinity those of 2x2.
TEST(Winograd, TransformsPhases) {
    for (const char *text : {"b1 ic20 i30x27 oc18 f3 s2 p1", "b1 ic3 i20 oc9 f2", "b2 ic5 i33 oc40 f5 s2 p2", "b1 ic4 i40 oc4 f9 s3 p4 conv", "b1 ic6 i25x30 oc7 f3 s2 d3 p3"}) {
        Operands operands(parse_problem(text), test_seed(), Values::kUniform, Placement::kPageAfter);
        const reference::Forward expected = operands.expected();
        int planned = 0;
        for (const VariantInfo &variant : list_variants()) {
            if (!variant.runnable || variant.stage != "winograd_forward") {
                continue;
            }
            PlanOptions options;
            options.algorithm = Algorithm::kWinograd;
            options.variant = variant.name;
            const Result<Plan> plan = Plan::create(operands.problem, options);
            if (!plan.ok()) {
                EXPECT_EQ(plan.status().code(), StatusCode::kUnsupported) << text << ": " << plan.status().message();
                continue;
            }
            planned++;
            check(options, operands, expected);
        }
        EXPECT_GE(planned, 2) << text;
    }
    PlanOptions options;
    options.algorithm = Algorithm::kWinograd;
    for (const char *text : {"b1 ic4 i9 oc4 f1", "b1 ic4 i9 oc4 f1x3", "b1 ic4 i19 oc4 f7 s2", "b1 ic4 i19 oc4 f3 s3"}) {
        const Result<Plan> plan = Plan::create(parse_problem(text), options);
        ASSERT_FALSE(plan.ok()) << text;
        EXPECT_EQ(plan.status().code(), StatusCode::kUnsupported) << text;
        EXPECT_NE(plan.status().message().find("only 2x2 to 3x3 is transformed"), std::string::npos) << plan.status().message();
    }
}

/// Every variant of `direct` whose stage begins with `stage` and that can do the problem, dense and in regions of larger tensors, each in one kind
/// of memory.
void check_variants(const Conv2dProblem &p, Values values, const std::string &stage, bool unpacked_regions) {
    for (bool regions : {false, true}) {
        std::vector<Operands> operands;
        for (Placement placement : kPlacements) {
            operands.emplace_back(p, test_seed(), values, placement, regions);
        }
        const reference::Forward expected = operands[0].expected();
        for (const VariantInfo &variant : list_variants()) {
            PlanOptions options;
            options.algorithm = Algorithm::kDirect;
            options.variant = variant.name;
            // A kernel made for one filter size or stride refuses the others.
            if (variant.runnable && variant.stage.rfind(stage, 0) == 0 && Plan::create(p, options).ok()) {
                const size_t place = place_of(variant.name, p);
                options.threads = static_cast<int>(place + 1);
                RunOptions how;
                how.placement = operands[place].placement;
                how.unpacked = unpacked_regions && regions;
                check(options, operands[place], expected, how);
            }
        }
    }
}

TEST_P(Cases, EveryDepthwiseVariant) {
    if (problem().in_channels == problem().groups) {  // these kernels refuse others
        check_variants(problem(), GetParam().values, "conv_depthwise", false);
    }
}

/// Edges under masks and partial vectors: every number of columns up to two vectors of 16, and rows that meet no pixel.
TEST(MaskedDepthwise, EveryWidth) {
    for (const char *rest : {"f3 p1 g2", "f3 s2 p1 g2 residual", "f3 s2 p5,4,0,2 g2 clamp:-0.5,1", "f7 p3 g2 conv", "f7 p8,1,0,6 g2 residual"}) {
        for (int width = 1; width <= 33; width++) {
            const std::string size = std::to_string(6 + width % 5) + "x" + std::to_string(width);
            check_variants(parse_problem("b1 ic2 i" + size + " oc4 " + rest), Values::kUniform, "conv_depthwise_masked", false);
        }
    }
    // Nothing else is theirs.
    for (const char *text : {"b1 ic2 i20 oc2 f3 s3 p1 g2", "b1 ic2 i20 oc2 f3 d1x2 p1 g2", "b1 ic2 i20 oc2 f3 s2 d2 p1 g2", "b1 ic2 i20 oc2 f3x5 p1 g2", "b1 ic4 i20 oc4 f3 p1 g2"}) {
        for (const VariantInfo &variant : list_variants()) {
            PlanOptions options;
            options.algorithm = Algorithm::kDirect;
            options.variant = variant.name;
            EXPECT_FALSE(variant.stage == "conv_depthwise_masked" && Plan::create(parse_problem(text), options).ok()) << text << ": " << variant.name;
        }
    }
}

TEST_P(Cases, RegionsAndUnpackedFilters) {
    const Conv2dProblem p = problem();
    reference::Forward expected;
    for (bool regions : {false, true}) {
        for (Placement placement : kPlacements) {
            Operands operands(p, test_seed(), GetParam().values, placement, regions);
            if (expected.y.empty()) {
                expected = operands.expected();
            }
            for (Algorithm algorithm : kAlgorithms) {
                PlanOptions options;
                options.algorithm = algorithm;
                options.threads = 2;
                RunOptions how;
                how.placement = placement;
                if (regions) {
                    check(options, operands, expected, how);
                }
                how.unpacked = true;
                check(options, operands, expected, how);
            }
        }
    }
}

TEST_P(Cases, EveryFftBackend) {
    Operands operands(problem(), test_seed(), GetParam().values, Placement::kPageAfter);
    const reference::Forward expected = operands.expected();
    for (FftBackend backend : fft_backends()) {
        PlanOptions options;
        options.algorithm = Algorithm::kFft;
        options.fft_backend = backend;
        options.threads = 2;
        check(options, operands, expected);
    }
}

/// The gradients of the same problems: every algorithm's chosen variant in each kind of memory, and every other variant in one of them.
TEST_P(Cases, Gradients) {
    for (Operation operation : {Operation::kBackwardData, Operation::kBackwardFilters}) {
        const Conv2dProblem p = gradient_of(problem(), operation);
        ASSERT_EQ(p.error(), nullptr);
        reference::Forward expected;
        int run = 0;
        for (Placement placement : kPlacements) {
            for (bool regions : {false, true}) {
                Operands operands(p, test_seed(), GetParam().values, placement, regions);
                if (expected.y.empty()) {
                    expected = operands.expected();
                }
                run++;
                for (Algorithm algorithm : kAlgorithms) {
                    PlanOptions options;
                    options.algorithm = algorithm;
                    options.threads = run % 3 + 1;
                    RunOptions how;
                    how.placement = placement;
                    how.unpacked = run % 2 == 0;
                    check(options, operands, expected, how);
                    // Another kind of memory for the next variant, and for the same one in the next problem.
                    int64_t turn = p.in_height + p.filter_width;
                    for (const std::string &variant : runnable_variants(algorithm, operation)) {
                        options.variant = variant;
                        if (!regions && kPlacements[turn++ % 3] == placement) {
                            check(options, operands, expected, how);
                        }
                    }
                }
            }
        }
    }
}

TEST_P(Cases, EveryDepthwiseGradientVariant) {
    if (problem().in_channels == problem().groups) {
        check_variants(gradient_of(problem(), Operation::kBackwardData), GetParam().values, "conv_depthwise_strided_gradient", true);
        check_variants(gradient_of(problem(), Operation::kBackwardFilters), GetParam().values, "conv_depthwise_backward_filters", true);
    }
}

INSTANTIATE_TEST_SUITE_P(Named, Cases, ::testing::ValuesIn(kCases), case_name);

/// Lanes along output channels, where planes are copied to vectors of 16 channels: dense rows as one, rows that no tap reads left out,
/// rows too short for the transposition, ragged channels, padding that is not zero, groups, sums in parts, images in one task.
TEST(LanesAlongOutputs, CopyPlanesToVectorsOfChannels) {
    for (const char *text : {"b1 ic64 i7 oc112 f1", "b1 ic70 i61x30 oc128 f1 s2", "b2 ic40 i7x6 oc512 f1x2 p0,0,1,0", "b1 ic45 i20x23 oc96 f3 s2 p1,0,2,1 constant:0.4", "b1 ic64 i12x15 oc192 f1x2 d2 p1 g2 conv", "b3 ic300 i9 oc96 f1 relu", "b1 ic33 i13x20 oc96 f1x2 s3x2 p0,3,4,1", "b1 ic3100 i7 oc16 f1"}) {
        const Conv2dProblem p = parse_problem(text);
        int copied = 0;
        bool may_copy = false;
        for (bool regions : {false, true}) {
            for (Placement placement : kPlacements) {
                Operands operands(p, test_seed(), Values::kUniform, placement, regions);
                const reference::Forward expected = operands.expected();
                for (const VariantInfo &variant : list_variants()) {
                    if (!variant.runnable || variant.stage != "conv_direct_oc" || variant.isa == "avx512") {
                        continue;
                    }
                    may_copy = may_copy || variant.isa == "avx2";
                    PlanOptions options;
                    options.algorithm = Algorithm::kDirect;
                    options.variant = variant.name;
                    options.threads = 1 + static_cast<int>(placement);
                    const Result<Plan> plan = Plan::create(p, options);
                    ASSERT_TRUE(plan.ok()) << text << ": " << plan.status().message();
                    copied += plan->describe().find("copied to vectors of channels") != std::string::npos;
                    RunOptions how;
                    how.placement = placement;
                    check(options, operands, expected, how);
                }
            }
        }
        // The last is there for its channels, which are more than L2 holds at once, copied or not.
        EXPECT_TRUE(copied > 0 || !may_copy || p.in_channels > 3000) << text;
    }
}

/// fft_tiled tile by tile, with vectors along a tile's pixels: operands that are regions of larger arrays, residuals too.
TEST(TileByTile, ReadsAndWritesRegions) {
    for (const char *text : {"b2 ic1 i90x75 oc1 f9 p4 residual relu", "b1 ic3 i40x130 oc6 f7x5 p3,3,2,2 g3 reflect residual", "b1 ic1 i61x52 oc1 f11 conv"}) {
        const Conv2dProblem p = parse_problem(text);
        int planned = 0;
        for (Placement placement : kPlacements) {
            Operands operands(p, test_seed(), Values::kUniform, placement, true);
            const reference::Forward expected = operands.expected();
            for (const VariantInfo &variant : list_variants()) {
                if (!variant.runnable || variant.stage != "plane_rows" || variant.name.find("_product") == std::string::npos) {
                    continue;
                }
                PlanOptions options;
                options.algorithm = Algorithm::kFftTiled;
                options.variant = variant.name;
                options.threads = 1 + static_cast<int>(placement);
                RunOptions how;
                how.placement = placement;
                check(options, operands, expected, how);
                planned++;
            }
        }
        EXPECT_GT(planned, 0) << text;
    }
}

TEST(Views, SomeDenseSomeNot) {
    // Which operand is a region must not matter to the others.
    const Conv2dProblem p = parse_problem("b2 ic5 i12x19 oc7 f3 s1x2 p1,0,2,1");
    const reference::Forward expected = Operands(p, test_seed()).expected();
    for (Algorithm algorithm : kAlgorithms) {
        for (int mask = 0; mask < 8; mask++) {
            Operands operands(p, test_seed());
            Operands other(p, test_seed(), Values::kUniform, Placement::kPageBefore, true);
            if (mask & 1) {
                operands.input = std::move(other.input);
            }
            if (mask & 2) {
                operands.filters = std::move(other.filters);
            }
            if (mask & 4) {
                operands.output = std::move(other.output);
            }
            PlanOptions options;
            options.algorithm = algorithm;
            SCOPED_TRACE("mask " + std::to_string(mask));
            check(options, operands, expected);
        }
    }
}

TEST(Views, NoBias) {
    const Conv2dProblem p = parse_problem("b2 ic5 i12x19 oc7 f3 p1 relu");
    for (Algorithm algorithm : kAlgorithms) {
        PlanOptions options;
        options.algorithm = algorithm;
        const Result<Plan> plan = Plan::create(p, options);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        Operands operands(p, test_seed());
        const reference::Forward expected =
            reference::forward(p, operands.input.reference_view(), operands.filters.reference_view(), nullptr, {});
        Tensors tensors = operands.tensors();
        tensors.bias = nullptr;
        AlignedBuffer workspace(plan->workspace_bytes_unpacked());
        const Status status = plan->execute(tensors, workspace);
        ASSERT_TRUE(status.ok()) << status.message();
        EXPECT_TRUE(matches(operands, expected, error_limit(algorithm))) << to_string(algorithm);
    }
}

/// Packed blocks beyond the caches, whose points are gathered and stored in runs: whole channels, phases, groups, and a last task with fewer.
TEST(Packing, BeyondTheCaches) {
    for (const char *text : {"b1 ic130 i14 oc130 f5 p2", "b1 ic130 i13x17 oc97 f5 s2 p2", "b1 ic236 i12 oc236 f5 p2 g2 conv"}) {
        SCOPED_TRACE(text);
        const Conv2dProblem p = parse_problem(text);
        Operands operands(p, test_seed());
        const reference::Forward expected = operands.expected();
        for (Algorithm algorithm : {Algorithm::kFft, Algorithm::kFftTiled}) {
            bool stores_runs = false;
            // What is chosen, and tiles of 16, whose blocks are large enough on every rung.
            std::vector<std::string> variants = runnable_variants(algorithm);
            variants.erase(std::remove_if(variants.begin(), variants.end(), [](const std::string &v) { return v.find("tile_forward") == std::string::npos || v.find("_t16") == std::string::npos; }), variants.end());
            variants.emplace_back();
            for (const std::string &variant : variants) {
                PlanOptions options;
                options.algorithm = algorithm;
                options.variant = variant;
                SCOPED_TRACE(to_string(options));
                options.threads = 1;
                const Result<Plan> plan = Plan::create(p, options);
                ASSERT_TRUE(plan.ok()) << plan.status().message();
                EXPECT_TRUE(check(options, operands, expected));
                options.threads = 3;
                const Result<Plan> shared = Plan::create(p, options);
                ASSERT_TRUE(shared.ok()) << shared.status().message();
                ASSERT_EQ(plan->packed_filter_bytes(), shared->packed_filter_bytes());
                AlignedBuffer alone(plan->packed_filter_bytes()), together(shared->packed_filter_bytes()), workspace(std::max(plan->workspace_bytes_unpacked(), shared->workspace_bytes_unpacked()));
                std::memset(alone.data(), 0x55, alone.bytes());
                std::memset(together.data(), 0xaa, together.bytes());
                Profile profile;
                ExecutionContext context;
                context.profile = &profile;
                ASSERT_TRUE(plan->pack_filters(operands.filters.view(), alone, workspace, context).ok());
                ASSERT_TRUE(shared->pack_filters(operands.filters.view(), together, workspace).ok());
                EXPECT_EQ(std::memcmp(alone.data(), together.data(), alone.bytes()), 0);
                for (const Profile::Stage &stage : profile.stages()) {
                    stores_runs = stores_runs || std::strcmp(stage.name, "store_points") == 0;
                }
            }
            EXPECT_TRUE(stores_runs) << to_string(algorithm);
        }
    }
}

}  // namespace
}  // namespace fourfold::test
