#pragma once

#include <absl/functional/any_invocable.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

/// Numbers that a process shows about itself, in Prometheus' text form. Names are
/// `virtufin_<room>_<what>_<unit>`, counters end in `_total`. A label's values are bounded by what
/// is configured or subscribed, never by what is published.
namespace virtufin {

/// Only grows. Threads: any; adding is one relaxed atomic addition.
class alignas(64) Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class alignas(64) Gauge {
 public:
  void set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void add(std::int64_t n) { value_.fetch_add(n, std::memory_order_relaxed); }
  std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

/// Counts of durations in buckets a sixteenth of a power of two wide, from 1 ns to 2^40 ns (18
/// minutes). A bucket holds (lower, upper], so powers of two are exact bounds; a quantile is at
/// most 6.25 % above the true value, never below. Shorter counts as 1 ns, longer as more than 2^40.
///
/// Threads: any; recording is two relaxed atomic additions.
class Histogram {
 public:
  static constexpr std::int64_t kMaxNs = std::int64_t{1} << 40;

  void record_ns(std::int64_t nanoseconds);
  std::uint64_t count() const;
  std::uint64_t sum_ns() const { return sum_.load(std::memory_order_relaxed); }
  /// The upper end of the bucket that holds the given share (0 to 1) of the records, kMaxNs for the
  /// last; 0 if none.
  std::int64_t quantile_ns(double share) const;
  /// How many were at most this long, for Prometheus' cumulative buckets; exact for powers of two,
  /// else the bucket that holds the bound is left out.
  std::uint64_t at_most_ns(std::int64_t nanoseconds) const;
  void merge(const Histogram& other);

 private:
  static constexpr int kSub = 16;
  static constexpr int kSubBits = 4;
  /// Sixteen exact ones up to 16 ns, sixteen for each of the 36 powers of two up to 2^40, and one
  /// for what is longer.
  static constexpr int kBuckets = 37 * kSub + 1;
  static int bucket(std::int64_t nanoseconds);
  static std::int64_t upper_ns(int bucket);
  std::array<std::atomic<std::uint64_t>, kBuckets> counts_{};
  std::atomic<std::uint64_t> sum_{0};
};

using Labels = std::map<std::string, std::string>;

/// All of a process's metrics. A series lives as long as the pointer that its owner holds, so that
/// a subscription or worker that ends takes its own away.
///
/// Threads: any; creating and scraping lock, counting does not.
class Metrics {
 public:
  std::shared_ptr<Counter> counter(std::string name, std::string help, Labels labels = {});
  std::shared_ptr<Gauge> gauge(std::string name, std::string help, Labels labels = {});
  /// Shown in seconds, as Prometheus wants; the name ends in `_seconds`.
  std::shared_ptr<Histogram> histogram(std::string name, std::string help, Labels labels = {});

  std::string prometheus_text() const;

 private:
  enum class Kind { kCounter, kGauge, kHistogram };
  struct Family {
    Kind kind;
    std::string help;
    std::map<Labels, std::weak_ptr<void>> series;
    std::size_t prune_at = 64;  ///< ended series are swept when this many are held
  };
  template <class T>
  std::shared_ptr<T> add(Kind kind, std::string name, std::string help, Labels labels);

  mutable std::mutex mutex_;
  std::map<std::string, Family> families_;
};

}  // namespace virtufin
