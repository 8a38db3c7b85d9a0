// What this CPU and operating system can run, and which table of kernels is in use.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "kernels/kernels.h"

namespace nextword {

const Kernels& kernels();             // the table in use; the best one until set_isa
std::vector<std::string> variants();  // names that this machine runs, best first
std::vector<std::string> compiled();  // names in this build, best first
void set_isa(const std::string& name);  // throws std::invalid_argument and lists the valid names
std::vector<std::pair<std::string, bool>> features();  // what the CPU and the operating system offer
int64_t last_level_cache();  // bytes; a common size where the system does not tell
void set_last_level_cache(int64_t bytes);  // what it returns from now on; 0: what the system tells

}  // namespace nextword
