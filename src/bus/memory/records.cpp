#include "bus/memory/records.h"

namespace virtufin::bus::memory {
namespace {

constexpr TimePoint kNever = TimePoint::max();

/// What a string keeps outside itself.
std::size_t outside(const std::string& text) {
  static const std::size_t kInside = std::string().capacity();
  return text.capacity() > kInside ? text.capacity() + 1 : 0;
}

}  // namespace

std::size_t Records::size_of(const Record& record, const Version& version) {
  // The two indexes hold a pointer each; hash tables and trees are about two thirds full.
  constexpr std::size_t kIndexes = 2 * sizeof(void*) * 3 / 2 + 2;
  return sizeof(Record) + sizeof(Version) + kIndexes + outside(record.key) + outside(version.value);
}

Records::Record* Records::record(std::string_view key) const {
  const auto found = by_hash_.find(key);
  return found == by_hash_.end() ? nullptr : found->get();
}

VersionPtr Records::find(std::string_view key, TimePoint now) const {
  const Record* const found = record(key);
  if (!found || !found->current || found->current->expiry <= now) return nullptr;
  return found->current;
}

void Records::put(Record& record, VersionPtr version) {
  if (record.current) {
    --count_;
    bytes_ -= size_of(record, *record.current);
    if (record.current->expiry != kNever) by_expiry_.erase({record.current->expiry, &record});
  }
  record.current = std::move(version);
  if (record.current) {
    ++count_;
    bytes_ += size_of(record, *record.current);
    if (record.current->expiry != kNever) by_expiry_.emplace(record.current->expiry, &record);
  }
}

void Records::remove_if_gone(Record& record) {
  if (record.current || record.waiting != 0) return;
  by_key_.erase(&record);
  by_hash_.erase(by_hash_.find(std::string_view(record.key)));
}

VersionPtr Records::replace(std::string_view key, VersionPtr version) {
  Record* known = record(key);
  if (!known) {
    if (!version) return nullptr;
    auto made = std::make_unique<Record>();
    made->key = std::string(key);
    known = made.get();
    by_hash_.insert(std::move(made));
    by_key_.insert(known);
  }
  VersionPtr before = known->current;
  put(*known, std::move(version));
  remove_if_gone(*known);
  return before;
}

void Records::expect_commit(std::string_view key, VersionPtr before) {
  Record* known = record(key);
  if (!known) {
    // Erased: it stays until the file has forgotten it too.
    auto made = std::make_unique<Record>();
    made->key = std::string(key);
    known = made.get();
    by_hash_.insert(std::move(made));
    by_key_.insert(known);
  }
  if (known->waiting++ == 0) known->in_file = std::move(before);
}

void Records::committed(std::string_view key, const VersionPtr& version) {
  Record* const known = record(key);
  if (--known->waiting == 0) {
    known->in_file = nullptr;
    remove_if_gone(*known);
  } else {
    known->in_file = version;
  }
}

void Records::roll_back(std::string_view key) {
  Record* const known = record(key);
  if (!known || known->waiting == 0) return;
  known->waiting = 0;
  put(*known, std::move(known->in_file));
  known->in_file = nullptr;
  remove_if_gone(*known);
}

std::vector<std::pair<std::string, VersionPtr>> Records::walk(std::string_view prefix,
                                                              std::string_view after, TimePoint now,
                                                              std::size_t count) const {
  std::vector<std::pair<std::string, VersionPtr>> found;
  auto at =
      !after.empty() && after >= prefix ? by_key_.upper_bound(after) : by_key_.lower_bound(prefix);
  for (; at != by_key_.end() && found.size() < count; ++at) {
    const Record& record = **at;
    if (!record.key.starts_with(prefix)) break;
    if (record.current && record.current->expiry > now) {
      found.emplace_back(record.key, record.current);
    }
  }
  return found;
}

std::vector<std::pair<std::string, VersionPtr>> Records::expired(TimePoint now,
                                                                 std::size_t count) const {
  std::vector<std::pair<std::string, VersionPtr>> found;
  for (auto at = by_expiry_.begin();
       at != by_expiry_.end() && at->first <= now && found.size() < count; ++at) {
    found.emplace_back(at->second->key, at->second->current);
  }
  return found;
}

}  // namespace virtufin::bus::memory
