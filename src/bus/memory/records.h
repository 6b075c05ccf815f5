#pragma once

#include <absl/container/btree_set.h>
#include <absl/container/flat_hash_set.h>

#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/time.h"

namespace virtufin::bus::memory {

/// What a key held at one time. Immutable, so that readers, the file's writer and a way back share
/// it.
struct Version : boost::intrusive_ref_counter<Version> {
  Version(std::string v, std::uint64_t e, TimePoint x) : value(std::move(v)), etag(e), expiry(x) {}
  const std::string value;
  const std::uint64_t etag;
  const TimePoint expiry;  ///< TimePoint::max(): never
};
using VersionPtr = boost::intrusive_ptr<const Version>;

/// The records: found by hash, walked in the order of their keys, and by when they expire. Each
/// remembers what of it is in the file while newer versions are on their way there.
///
/// Not for several threads at once.
class Records {
 public:
  /// Null if there is none or it has expired.
  VersionPtr find(std::string_view key, TimePoint now) const;

  /// Puts a version (null: none) in place and returns the one before, expired or not.
  VersionPtr replace(std::string_view key, VersionPtr version);

  /// Names the version before the first one that waits for the file; to be called with every
  /// replaced version, in order.
  void expect_commit(std::string_view key, VersionPtr before);
  /// `version` is in the file.
  void committed(std::string_view key, const VersionPtr& version);
  /// Nothing that waits gets into the file: back to what is there.
  void roll_back(std::string_view key);

  /// In the order of keys: those that begin with `prefix` and come after `after` (empty: from the
  /// first), at most `count`.
  std::vector<std::pair<std::string, VersionPtr>> walk(std::string_view prefix,
                                                       std::string_view after, TimePoint now,
                                                       std::size_t count) const;

  /// Keys of expired records with the version that has expired, at most `count`.
  std::vector<std::pair<std::string, VersionPtr>> expired(TimePoint now, std::size_t count) const;
  bool any_expiry() const { return !by_expiry_.empty(); }

  std::size_t count() const { return count_; }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Record {
    std::string key;
    VersionPtr current;  // null: erased, the file does not know yet
    VersionPtr in_file;  // while waiting
    std::uint32_t waiting = 0;
  };
  using RecordPtr = std::unique_ptr<Record>;
  static std::string_view key_of(std::string_view key) { return key; }
  static std::string_view key_of(const RecordPtr& record) { return record->key; }
  static std::string_view key_of(const Record* record) { return record->key; }
  struct Hash {
    using is_transparent = void;
    template <class T>
    std::size_t operator()(const T& value) const {
      return std::hash<std::string_view>{}(key_of(value));
    }
  };
  struct Equal {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return key_of(a) == key_of(b);
    }
  };
  struct Less {
    using is_transparent = void;
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      return key_of(a) < key_of(b);
    }
  };

  static std::size_t size_of(const Record& record, const Version& version);
  Record* record(std::string_view key) const;
  void put(Record& record, VersionPtr version);
  void remove_if_gone(Record& record);

  absl::flat_hash_set<RecordPtr, Hash, Equal> by_hash_;
  absl::btree_set<Record*, Less> by_key_;
  absl::btree_set<std::pair<TimePoint, Record*>> by_expiry_;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace virtufin::bus::memory
