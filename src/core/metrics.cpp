#include "core/metrics.h"

#include <prometheus/check_names.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <sstream>

#include "core/log.h"

namespace virtufin {
namespace {

/// What Prometheus is shown of a histogram: powers of two in nanoseconds, every second one from
/// 256 ns to 275 s, because these are bounds of our own buckets and so exact.
constexpr int kFirstShownPower = 8;
constexpr int kLastShownPower = 38;

constexpr double kNsPerSecond = 1e9;

prometheus::ClientMetric with_labels(const Labels& labels) {
  prometheus::ClientMetric metric;
  for (const auto& [name, value] : labels) metric.label.push_back({name, value});
  return metric;
}

prometheus::ClientMetric show(const Counter& counter, const Labels& labels) {
  prometheus::ClientMetric metric = with_labels(labels);
  metric.counter.value = static_cast<double>(counter.value());
  return metric;
}

prometheus::ClientMetric show(const Gauge& gauge, const Labels& labels) {
  prometheus::ClientMetric metric = with_labels(labels);
  metric.gauge.value = static_cast<double>(gauge.value());
  return metric;
}

// Recording goes on meanwhile. Counts only grow and are read from short to long, the total last, so
// that the cumulative buckets never fall.
prometheus::ClientMetric show(const Histogram& histogram, const Labels& labels) {
  prometheus::ClientMetric metric = with_labels(labels);
  metric.histogram.sample_sum = static_cast<double>(histogram.sum_ns()) / kNsPerSecond;
  for (int power = kFirstShownPower; power <= kLastShownPower; power += 2) {
    const std::int64_t bound_ns = std::int64_t{1} << power;
    metric.histogram.bucket.push_back(
        {histogram.at_most_ns(bound_ns), static_cast<double>(bound_ns) / kNsPerSecond});
  }
  metric.histogram.sample_count = histogram.count();
  metric.histogram.bucket.push_back(
      {metric.histogram.sample_count, std::numeric_limits<double>::infinity()});
  return metric;
}

bool valid_names(const std::string& name, const Labels& labels) {
  return prometheus::CheckMetricName(name) &&
         std::all_of(labels.begin(), labels.end(),
                     [](const auto& label) { return prometheus::CheckLabelName(label.first); });
}

}  // namespace

int Histogram::bucket(std::int64_t nanoseconds) {
  if (nanoseconds <= 1) return 0;
  if (nanoseconds > kMaxNs) return kBuckets - 1;
  // One less, so that a bound belongs to the bucket that it ends.
  const auto value = static_cast<std::uint64_t>(nanoseconds - 1);
  if (value < kSub) return static_cast<int>(value);
  const int power = std::bit_width(value) - 1 - kSubBits;
  return (power + 1) * kSub + static_cast<int>((value >> power) - kSub);
}

std::int64_t Histogram::upper_ns(int bucket) {
  if (bucket >= kBuckets - 1) return kMaxNs;
  if (bucket < kSub) return bucket + 1;
  const int power = bucket / kSub - 1;
  return static_cast<std::int64_t>(kSub + bucket % kSub + 1) << power;
}

void Histogram::record_ns(std::int64_t nanoseconds) {
  nanoseconds = std::max<std::int64_t>(nanoseconds, 0);
  counts_[static_cast<std::size_t>(bucket(nanoseconds))].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(static_cast<std::uint64_t>(nanoseconds), std::memory_order_relaxed);
}

std::uint64_t Histogram::count() const {
  std::uint64_t total = 0;
  for (const auto& count : counts_) total += count.load(std::memory_order_relaxed);
  return total;
}

std::int64_t Histogram::quantile_ns(double share) const {
  std::array<std::uint64_t, kBuckets> counts;
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    counts[i] = counts_[i].load(std::memory_order_relaxed);
    total += counts[i];
  }
  if (total == 0) return 0;
  const double wanted = std::clamp(share, 0.0, 1.0) * static_cast<double>(total);
  std::uint64_t seen = 0;
  int last = 0;
  for (int i = 0; i < kBuckets; ++i) {
    const std::uint64_t here = counts[static_cast<std::size_t>(i)];
    if (here == 0) continue;
    seen += here;
    last = i;
    if (static_cast<double>(seen) >= wanted) break;
  }
  return upper_ns(last);
}

std::uint64_t Histogram::at_most_ns(std::int64_t nanoseconds) const {
  std::uint64_t total = 0;
  // The last bucket has no upper end of its own: it is in the count of everything only.
  for (int i = 0; i < kBuckets - 1 && upper_ns(i) <= nanoseconds; ++i) {
    total += counts_[static_cast<std::size_t>(i)].load(std::memory_order_relaxed);
  }
  return total;
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    const std::uint64_t count = other.counts_[i].load(std::memory_order_relaxed);
    if (count != 0) counts_[i].fetch_add(count, std::memory_order_relaxed);
  }
  sum_.fetch_add(other.sum_ns(), std::memory_order_relaxed);
}

template <class T>
std::shared_ptr<T> Metrics::add(Kind kind, std::string name, std::string help, Labels labels) {
  const char* refused = nullptr;
  if (!valid_names(name, labels))
    refused = "is not a name that Prometheus takes, or has such a label";
  std::unique_lock lock(mutex_);
  if (!refused) {
    Family& family = families_.try_emplace(name, Family{kind, std::move(help), {}}).first->second;
    if (family.kind == kind) {
      std::weak_ptr<void>& held = family.series[std::move(labels)];
      if (auto living = held.lock()) return std::static_pointer_cast<T>(living);
      auto made = std::make_shared<T>();
      held = made;
      // Swept when the number doubled since the last time: a constant cost a series, whatever comes
      // and goes between two scrapes.
      if (family.series.size() >= family.prune_at) {
        std::erase_if(family.series, [](const auto& series) { return series.second.expired(); });
        family.prune_at = std::max<std::size_t>(64, family.series.size() * 2);
      }
      return made;
    }
    refused = "exists already as another kind of metric";
  }
  lock.unlock();
  // A mistake in the program, not in its input: it counts, but nobody sees it.
  logger("core")->error("metric {} is not shown: it {}", printable(name), refused);
  return std::make_shared<T>();
}

std::shared_ptr<Counter> Metrics::counter(std::string name, std::string help, Labels labels) {
  return add<Counter>(Kind::kCounter, std::move(name), std::move(help), std::move(labels));
}

std::shared_ptr<Gauge> Metrics::gauge(std::string name, std::string help, Labels labels) {
  return add<Gauge>(Kind::kGauge, std::move(name), std::move(help), std::move(labels));
}

std::shared_ptr<Histogram> Metrics::histogram(std::string name, std::string help, Labels labels) {
  return add<Histogram>(Kind::kHistogram, std::move(name), std::move(help), std::move(labels));
}

std::string Metrics::prometheus_text() const {
  std::vector<prometheus::MetricFamily> shown;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [name, family] : families_) {
      prometheus::MetricFamily out;
      out.name = name;
      out.help = family.help;
      for (const auto& [labels, held] : family.series) {
        const std::shared_ptr<void> living = held.lock();
        if (!living) continue;
        switch (family.kind) {
          case Kind::kCounter:
            out.type = prometheus::MetricType::Counter;
            out.metric.push_back(show(*static_cast<const Counter*>(living.get()), labels));
            break;
          case Kind::kGauge:
            out.type = prometheus::MetricType::Gauge;
            out.metric.push_back(show(*static_cast<const Gauge*>(living.get()), labels));
            break;
          case Kind::kHistogram:
            out.type = prometheus::MetricType::Histogram;
            out.metric.push_back(show(*static_cast<const Histogram*>(living.get()), labels));
            break;
        }
      }
      if (!out.metric.empty()) shown.push_back(std::move(out));
    }
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, shown);
  return std::move(text).str();
}

}  // namespace virtufin
