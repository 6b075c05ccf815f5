#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "modules/wsm/feeds/feed.h"

namespace virtufin::wsm {

/// One `[[wsm.feeds]]`: a connection that is made at start and kept.
struct FeedConfig {
  std::string venue;     ///< binance | binance-futures
  std::string url;       ///< ws:// or wss://
  std::string rest_url;  ///< empty: the venue's own
  std::vector<std::string> symbols;
  std::vector<std::string> channels;  ///< empty: the venue's default ones
  std::string topic = "act";          ///< head before `exchange.`: `act`, or `hyp.<selector>`
  bool append_symbol = false;
  std::string ca_file;  ///< PEM; empty: the system's roots
};

/// Config section `wsm`. The ports are bound by the app.
struct WsmConfig {
  std::string host = "127.0.0.1";
  std::uint16_t http_port = 15001;
  std::uint16_t grpc_port = 15002;

  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds close_timeout{2'000};
  std::chrono::milliseconds backoff_base{1'000};
  std::chrono::milliseconds backoff_max{30'000};
  std::uint32_t backoff_attempts = 0;
  std::chrono::milliseconds stable{60'000};
  std::chrono::milliseconds idle_timeout{30'000};
  std::uint32_t max_connections = 1'000;
  std::uint32_t max_frame_bytes = 16U << 20;
  std::uint32_t max_outstanding_publishes = 1'024;
  std::uint32_t dedup_window = 1'024;
  std::vector<std::string> allow_private_hosts = {"localhost", "127.0.0.0/8", "::1"};

  std::chrono::milliseconds snapshot_interval{5'000};
  std::uint32_t max_book_levels = 20'000;
  std::uint32_t max_pending_updates = 4'096;
  std::chrono::milliseconds rest_timeout{10'000};
  std::chrono::milliseconds rest_interval{200};
  std::uint32_t rest_burst = 10;
  std::uint32_t max_rest_bytes = 16U << 20;

  std::vector<FeedConfig> feeds;

  void read(ConfigSection section);
};

}  // namespace virtufin::wsm
