// Memory on huge pages where the operating system grants them: what is read from front to back every token would cost a
// miss in the address translation for each page of 4 KiB.
#pragma once
#include <cstdint>
#include <memory>

namespace nextword {

// Memory aligned to a cache line, contents undefined. Throws std::bad_alloc.
std::shared_ptr<float> aligned_floats(int64_t count);

// The same for many pieces, most of which are shorter than a huge page: they share them with the pieces asked for before and
// after. A chunk of pages is given back when the last of its pieces goes.
std::shared_ptr<char> shared_pages(int64_t bytes);

// Writes to each page of [memory, memory + count), front to back, and changes nothing. The operating system clears a page
// when it is first written; work that would write to all of them at once could not be interrupted meanwhile.
void touch_pages(float* memory, int64_t count);

}  // namespace nextword
