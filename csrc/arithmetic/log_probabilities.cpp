#include "log_probabilities.h"

#include <exception>
#include <mutex>

#include "machine/parallel.h"
#include "sampling.h"

namespace nextword {

void log_probabilities_of_rows(const char* op, const float* logits, int64_t rows, int64_t size, const int64_t* targets,
                               int64_t count, double* out, int64_t k, int64_t* ids, double* values) {
  std::mutex turn;
  int64_t failed = rows;  // the first row that has thrown, and what
  std::exception_ptr error;
  const auto row = [&](int64_t i, int) {
    try {
      log_probabilities(op, logits + i * size, size, targets + i * count, count, out + i * count, k, ids + i * k, values + i * k);
    } catch (...) {  // must not leave a thread
      const std::lock_guard<std::mutex> lock(turn);
      if (i < failed) failed = i, error = std::current_exception();
    }
  };
  const int threads = rows > 1 ? threads_for(rows * size * work_of_a_logit, worth_a_thread) : 1;
  parallel_items(rows, static_cast<int>(std::min<int64_t>(threads, rows)), row);
  if (error) std::rethrow_exception(error);
}

}  // namespace nextword
