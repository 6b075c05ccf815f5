#include "core/metrics.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <random>
#include <thread>

using virtufin::Histogram;
using virtufin::Metrics;

namespace {

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("counters and gauges are shown with their labels") {
  Metrics metrics;
  const auto in = metrics.counter("virtufin_test_events_total", "Events.", {{"topic", "act.*"}});
  const auto depth = metrics.gauge("virtufin_test_queue_depth", "Waiting.");
  in->add();
  in->add(41);
  depth->set(7);
  depth->add(-9);
  const std::string text = metrics.prometheus_text();
  CHECK(has_line(text, "# HELP virtufin_test_events_total Events."));
  CHECK(has_line(text, "# TYPE virtufin_test_events_total counter"));
  CHECK(has_line(text, "virtufin_test_events_total{topic=\"act.*\"} 42"));
  CHECK(has_line(text, "# TYPE virtufin_test_queue_depth gauge"));
  CHECK(has_line(text, "virtufin_test_queue_depth -2"));
}

TEST_CASE("label values are escaped") {
  Metrics metrics;
  const auto counter = metrics.counter("virtufin_test_total", "Help.", {{"a", "q\"b\\s\nn"}});
  CHECK(has_line(metrics.prometheus_text(), "virtufin_test_total{a=\"q\\\"b\\\\s\\nn\"} 0"));
}

TEST_CASE("the same name and labels are the same series while it lives") {
  Metrics metrics;
  auto first = metrics.counter("virtufin_test_total", "Help.", {{"a", "1"}});
  first->add(3);
  CHECK(metrics.counter("virtufin_test_total", "Help.", {{"a", "1"}}) == first);
  const auto other = metrics.counter("virtufin_test_total", "Help.", {{"a", "2"}});
  CHECK(other != first);
  CHECK(has_line(metrics.prometheus_text(), "virtufin_test_total{a=\"1\"} 3"));

  first.reset();
  const std::string text = metrics.prometheus_text();
  CHECK(text.find("a=\"1\"") == std::string::npos);
  CHECK(has_line(text, "virtufin_test_total{a=\"2\"} 0"));
  CHECK(metrics.counter("virtufin_test_total", "Help.", {{"a", "1"}})->value() == 0);
}

TEST_CASE("a family without a living series is not shown") {
  Metrics metrics;
  { const auto gone = metrics.gauge("virtufin_test_gone", "Help."); }
  CHECK(metrics.prometheus_text().empty());
}

TEST_CASE("series that come and go leave the living ones in place") {
  Metrics metrics;
  std::vector<std::shared_ptr<virtufin::Counter>> kept;
  for (int i = 0; i < 10'000; ++i) {
    auto counter = metrics.counter("virtufin_test_total", "Help.", {{"i", std::to_string(i)}});
    counter->add(static_cast<std::uint64_t>(i));
    if (i % 1000 == 0) kept.push_back(std::move(counter));
  }
  const std::string text = metrics.prometheus_text();
  CHECK(std::count(text.begin(), text.end(), '\n') == 2 + 10);
  CHECK(has_line(text, "virtufin_test_total{i=\"9000\"} 9000"));
}

TEST_CASE("a name that is taken by another kind counts but is not shown") {
  Metrics metrics;
  const auto counter = metrics.counter("virtufin_test_total", "Help.");
  const auto gauge = metrics.gauge("virtufin_test_total", "Help.");
  gauge->set(5);
  CHECK(gauge->value() == 5);
  CHECK(has_line(metrics.prometheus_text(), "virtufin_test_total 0"));
  const auto wrong = metrics.counter("not a name", "Help.");
  wrong->add();
  CHECK(metrics.prometheus_text().find("not a name") == std::string::npos);
}

TEST_CASE("histograms are shown in seconds, cumulative, with exact bounds") {
  Metrics metrics;
  const auto lag = metrics.histogram("virtufin_test_lag_seconds", "Lag.");
  lag->record_ns(256);
  lag->record_ns(257);
  lag->record_ns(1024);
  lag->record_ns(std::int64_t{1} << 38);
  lag->record_ns((std::int64_t{1} << 38) + 1'000'000'000);
  lag->record_ns(Histogram::kMaxNs * 4);
  const std::string text = metrics.prometheus_text();
  CHECK(has_line(text, "# TYPE virtufin_test_lag_seconds histogram"));
  CHECK(has_line(text, "virtufin_test_lag_seconds_count 6"));
  CHECK(text.find("le=\"2.56") != std::string::npos);
  CHECK(has_line(text, "virtufin_test_lag_seconds_bucket{le=\"+Inf\"} 6"));
  CHECK(lag->at_most_ns(255) == 0);
  CHECK(lag->at_most_ns(256) == 1);
  CHECK(lag->at_most_ns(1024) == 3);
  CHECK(lag->at_most_ns(std::int64_t{1} << 38) == 4);
  CHECK(lag->at_most_ns(Histogram::kMaxNs) == 5);
  CHECK(lag->at_most_ns(Histogram::kMaxNs * 8) == 5);
}

TEST_CASE("the quantile of one value is at most a sixteenth above it, never below") {
  std::mt19937_64 random(20240131);
  const auto check = [](std::int64_t value) {
    Histogram histogram;
    histogram.record_ns(value);
    const std::int64_t shown = histogram.quantile_ns(0.5);
    INFO(value << " shown as " << shown);
    REQUIRE(shown >= value);
    REQUIRE(static_cast<double>(shown) <= static_cast<double>(value) * 1.0625);
  };
  for (std::int64_t value = 1; value <= 5000; ++value) check(value);
  for (int power = 4; power <= 40; ++power) {
    const std::int64_t two = std::int64_t{1} << power;
    for (const std::int64_t off : {-1, 0, 1}) {
      if (two + off <= Histogram::kMaxNs) check(two + off);
    }
    Histogram exact;
    exact.record_ns(two);
    REQUIRE(exact.quantile_ns(1) == two);
  }
  for (int i = 0; i < 2000; ++i) {
    check(1 + static_cast<std::int64_t>(random() >> (24 + random() % 40)));
  }
}

TEST_CASE("what lies outside counts in the first and last bucket") {
  Histogram histogram;
  histogram.record_ns(-5);
  histogram.record_ns(0);
  CHECK(histogram.quantile_ns(1) == 1);
  CHECK(histogram.sum_ns() == 0);
  histogram.record_ns(std::numeric_limits<std::int64_t>::max());
  CHECK(histogram.quantile_ns(1) == Histogram::kMaxNs);
  CHECK(histogram.count() == 3);
}

TEST_CASE("quantiles of a known distribution") {
  Histogram histogram;
  CHECK(histogram.quantile_ns(0.5) == 0);
  for (int i = 1; i <= 1000; ++i) histogram.record_ns(i * 1000);
  CHECK(histogram.count() == 1000);
  CHECK(histogram.sum_ns() == 500'500'000);
  const auto near = [&](double share, double exact) {
    const auto shown = static_cast<double>(histogram.quantile_ns(share));
    CHECK(shown >= exact);
    CHECK(shown <= exact * 1.0625);
  };
  near(0.5, 500'000);
  near(0.99, 990'000);
  near(1.0, 1'000'000);
  near(0.0, 1'000);
}

TEST_CASE("merging adds what both saw") {
  Histogram a, b;
  a.record_ns(10);
  b.record_ns(1'000'000);
  b.record_ns(1'000'000);
  a.merge(b);
  CHECK(a.count() == 3);
  CHECK(a.sum_ns() == 2'000'010);
  CHECK(a.at_most_ns(16) == 1);
}

TEST_CASE("counting from several threads while scraping loses nothing") {
  Metrics metrics;
  const auto counter = metrics.counter("virtufin_test_total", "Help.");
  const auto histogram = metrics.histogram("virtufin_test_seconds", "Help.");
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        counter->add();
        histogram->record_ns(i);
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    const auto mine = metrics.counter("virtufin_test_other_total", "Help.");
    CHECK_FALSE(metrics.prometheus_text().empty());
  }
  for (auto& thread : threads) thread.join();
  CHECK(counter->value() == 60'000);
  CHECK(histogram->count() == 60'000);
}
