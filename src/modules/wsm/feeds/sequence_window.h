#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace virtufin::wsm {

/// The last sequence numbers of one stream, to drop what comes twice (after a reconnect, over two
/// overlapping connections). A stream's event ids are a function of its numbers, so this is a
/// window over (source, id) without keeping the ids.
///
/// A number above all before, the normal case, costs one comparison; only what comes late or again
/// is looked for. Threads: one.
class SequenceWindow {
 public:
  explicit SequenceWindow(std::size_t size) : size_(std::max<std::size_t>(size, 1)) {}

  /// True if the number was not in the window; it is now.
  bool insert(std::uint64_t number) {
    if (!numbers_.empty() && number <= highest_ &&
        std::find(numbers_.begin(), numbers_.end(), number) != numbers_.end()) {
      return false;
    }
    highest_ = std::max(highest_, number);
    if (numbers_.size() < size_) {
      numbers_.push_back(number);
    } else {
      numbers_[next_] = number;
      next_ = next_ + 1 == size_ ? 0 : next_ + 1;
    }
    return true;
  }

 private:
  std::size_t size_;
  std::size_t next_ = 0;
  std::uint64_t highest_ = 0;
  std::vector<std::uint64_t> numbers_;
};

}  // namespace virtufin::wsm
