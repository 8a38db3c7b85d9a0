// Fills the table of one instruction set.
#pragma once
#include "kernels.h"
#include "activations.h"
#include "attention.h"
#include "convert.h"
#include "elementwise.h"
#include "linear.h"
#include "log_sum.h"
#include "norm.h"
#include "rates.h"
#include "rotate.h"
#include "select.h"

namespace {

template <class V>
constexpr Kernels make_kernels(const char* isa) {
  static_assert(V::lanes <= max_lanes && V::tile_rows <= max_tile_rows && panel_cols % (V::tile_vectors * V::lanes) == 0);
  return {isa,
          V::tile_rows,
          {&matmul<V, Float32>, &matmul<V, Bfloat16>, &matmul<V, Int8>, &matmul<V, Int4>},
          &round_rows<V>,
          &quantise_rows<V>,
          &attention<V>,
          &layer_norm<V>,
          &rms_norm<V>,
          {&rotate_halves<V>, &rotate_neighbours<V>},
          &softmax<V>,
          &exp_sum<V>,
          &exp_sum_double<V>,
          &maxima<V>,
          &weight_from<V>,
          &positions<V>,
          &activate<V>,
          &read_all<V, &V::prefetch>,
          &read_all<V, &V::prefetch_once>,
          {&multiply_adds<V, FloatProducts>, &multiply_adds<V, PairProducts>, &multiply_adds<V, ByteProducts>,
           &multiply_adds<V, NibbleProducts>}};
}

}  // namespace
