#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace virtufin::bus::memory {

/// A queue in one block of memory that grows by doubling as far as it is filled, so that a bound of
/// 65,536 costs nothing until it is needed. Not for several threads at once.
template <class T>
class Ring {
 public:
  bool empty() const { return count_ == 0; }
  std::size_t size() const { return count_; }
  T& front() { return cells_[head_]; }
  const T& front() const { return cells_[head_]; }
  T& operator[](std::size_t index) { return cells_[(head_ + index) & (capacity_ - 1)]; }

  void push_back(T&& value) {
    if (count_ == capacity_) resize(capacity_ == 0 ? kFirst : capacity_ * 2);
    cells_[(head_ + count_) & (capacity_ - 1)] = std::move(value);
    ++count_;
  }

  T pop_front() {
    T value = std::move(cells_[head_]);
    head_ = (head_ + 1) & (capacity_ - 1);
    --count_;
    return value;
  }

  /// Gives back what a burst needed. Only when empty.
  void shrink() {
    if (capacity_ > kKept) {
      cells_.reset();
      capacity_ = 0;
      head_ = 0;
    }
  }

 private:
  static constexpr std::size_t kFirst = 16;
  static constexpr std::size_t kKept = 4096;

  void resize(std::size_t capacity) {
    auto cells = std::make_unique<T[]>(capacity);
    for (std::size_t i = 0; i < count_; ++i) cells[i] = std::move((*this)[i]);
    cells_ = std::move(cells);
    capacity_ = capacity;
    head_ = 0;
  }

  std::unique_ptr<T[]> cells_;
  std::size_t capacity_ = 0;  // a power of two, or 0
  std::size_t head_ = 0;
  std::size_t count_ = 0;
};

}  // namespace virtufin::bus::memory
