// A vector that leaves new memory as it is.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace nextword {

// To be called before memory is asked for that may be large. glibc takes new pages for each large block and gives them
// back, until it has seen such a block come and go; from then on it keeps some. To get new pages takes as long as to
// encode what they hold: so it is shown a block, which is never written, at once.
inline void expect_again(size_t size) {
#if defined(__GLIBC__)
  constexpr size_t large = size_t{1} << 20, most = (size_t{32} << 20) - (size_t{64} << 10);  // it keeps twice that at most
  if (size < large) return;
  static const bool shown = [] {
    void* volatile never_written = std::malloc(most);
    std::free(never_written);
    return true;
  }();
  (void)shown;
#else
  (void)size;
#endif
}

template <class T>  // no constructors or destructors
class RawBuffer {
 public:
  RawBuffer() = default;
  ~RawBuffer() { std::free(data_); }
  RawBuffer(RawBuffer&& other) noexcept { *this = std::move(other); }
  RawBuffer& operator=(RawBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  RawBuffer(const RawBuffer&) = delete;

  const T* data() const { return data_; }
  T* data() { return data_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  void resize(size_t size) { size_ = size; }  // at most what reserve made room for
  void clear() { size_ = 0; }
  T* reserve(size_t more) {  // the end, with room for `more`
    if (size_ + more > capacity_) grow(size_ + more);
    return data_ + size_;
  }
  void push_back(T value) {
    *reserve(1) = value;
    ++size_;
  }

 private:
  void grow(size_t need) {
    const size_t capacity = need + capacity_ / 2;
    expect_again(capacity * sizeof(T));
    void* data = std::realloc(data_, capacity * sizeof(T));
    if (!data) throw std::bad_alloc();
    data_ = static_cast<T*>(data);
    capacity_ = capacity;
  }
  T* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

using IdBuffer = RawBuffer<uint32_t>;
using TextBuffer = RawBuffer<char>;

}  // namespace nextword
