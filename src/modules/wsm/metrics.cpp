#include "modules/wsm/metrics.h"

namespace virtufin::wsm {

WsmMetrics::WsmMetrics(Metrics& metrics) : metrics_(metrics) {
  const auto frames = [&](const char* kind, std::uint64_t Totals::*member) {
    series_.push_back(
        {metrics.counter("virtufin_wsm_frames_total", "Frames from venues, by what became of them",
                         {{"kind", kind}}),
         member});
  };
  frames("market", &Totals::market_frames);
  frames("control", &Totals::control_frames);
  frames("duplicate", &Totals::duplicates);
  frames("not_published", &Totals::not_published);
  frames("undecodable", &Totals::undecodable);
  const auto events = [&](const char* kind, std::uint64_t Totals::*member) {
    series_.push_back({metrics.counter("virtufin_wsm_events_total",
                                       "Events published: one a market frame; snapshots, gaps and "
                                       "lifecycle",
                                       {{"kind", kind}}),
                       member});
  };
  events("frame", &Totals::frame_events);
  events("other", &Totals::other_events);
  series_.push_back(
      {metrics.counter("virtufin_wsm_publish_failed_total", "Events that the bus did not take"),
       &Totals::publish_failed});
  series_.push_back(
      {metrics.counter("virtufin_wsm_reconnects_total", "Connections that came back after a loss"),
       &Totals::reconnects});
  connected_ = metrics.gauge("virtufin_wsm_connections", "Connections that stand");
}

void WsmMetrics::add(const Totals& before, const Totals& now) {
  for (const Series& series : series_) {
    if (const std::uint64_t more = now.*series.member - before.*series.member; more > 0) {
      series.counter->add(more);
    }
  }
}

std::shared_ptr<Histogram> WsmMetrics::lag(const std::string& venue) {
  const std::lock_guard lock(mutex_);
  auto& histogram = lags_[venue];
  if (!histogram) {
    histogram = metrics_.histogram("virtufin_wsm_exchange_lag_seconds",
                                   "From the venue's own timestamp to the frame's receipt",
                                   {{"venue", venue}});
  }
  return histogram;
}

}  // namespace virtufin::wsm
