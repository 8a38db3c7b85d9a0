// Log-probabilities of many rows of logits: the rows are divided over threads. What is done of one is in sampling.
#pragma once
#include <cstdint>

namespace nextword {

// Of each row of logits [rows, size], as log_probabilities of sampling.h has them: those of its `count` targets
// [rows, count] to out [rows, count], those of its k best, 0 <= k <= size, to values [rows, k] and their ids to
// ids [rows, k]. Throws std::invalid_argument for the first row in which a logit is NaN or +inf, or all are -inf, and what
// interrupts it (interrupt.h); what was to be written is undefined then.
void log_probabilities_of_rows(const char* op, const float* logits, int64_t rows, int64_t size, const int64_t* targets,
                               int64_t count, double* out, int64_t k, int64_t* ids, double* values);

// Multiply-adds that take as long as a logit's exponential does, about.
constexpr int64_t work_of_a_logit = 16;

}  // namespace nextword
