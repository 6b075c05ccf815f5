#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstddef>
#include <deque>
#include <string>
#include <vector>

namespace virtufin::bus::sidecar {

/// Lets operations on the same key go one after the other, in the order in which they were added,
/// and all others at once. An operation of several keys waits until it is first of each; because
/// it joins all lines at the same moment, two never wait for each other.
///
/// `Operation` has a member `std::size_t lines_ahead` that belongs to this class, and outlives its
/// time in here. Threads: one at a time.
template <class Operation>
class KeyOrder {
 public:
  /// `keys` are distinct. True: it may go at once.
  bool add(Operation* operation, const std::vector<std::string>& keys) {
    operation->lines_ahead = 0;
    for (const std::string& key : keys) {
      auto& line = lines_[key];
      if (!line.empty()) ++operation->lines_ahead;
      line.push_back(operation);
    }
    return operation->lines_ahead == 0;
  }

  /// It has ended. Adds to `ready` those that may go now. It must have been first everywhere.
  void remove(const std::vector<std::string>& keys, std::vector<Operation*>& ready) {
    for (const std::string& key : keys) {
      const auto found = lines_.find(key);
      found->second.pop_front();
      if (found->second.empty()) {
        lines_.erase(found);
      } else if (--found->second.front()->lines_ahead == 0) {
        ready.push_back(found->second.front());
      }
    }
  }

  std::size_t keys() const { return lines_.size(); }

 private:
  absl::flat_hash_map<std::string, std::deque<Operation*>> lines_;
};

}  // namespace virtufin::bus::sidecar
