#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/metrics.h"
#include "modules/wsm/counters.h"

namespace virtufin::wsm {

/// The module's series. Connections count for themselves and hand over the differences a few times
/// a second, so that a frame costs no shared counter.
///
/// Threads: any.
class WsmMetrics {
 public:
  explicit WsmMetrics(Metrics& metrics);

  void add(const Totals& before, const Totals& now);
  void connection_opened() { connected_->add(1); }
  void connection_closed() { connected_->add(-1); }
  /// Exchange to receive; by venue, which are few.
  std::shared_ptr<Histogram> lag(const std::string& venue);

 private:
  struct Series {
    std::shared_ptr<Counter> counter;
    std::uint64_t Totals::*member;
  };

  Metrics& metrics_;
  std::vector<Series> series_;
  std::shared_ptr<Gauge> connected_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Histogram>> lags_;
};

}  // namespace virtufin::wsm
