#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/statusor.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "modules/wsm/net/address_guard.h"
#include "modules/wsm/net/rest_client.h"
#include "modules/wsm/net/tls.h"

namespace virtufin::wsm {

/// Fetches book snapshots over REST for one connection: each book at most once at a time, all
/// together within a rate, later the more tries were in vain, and not before a venue that
/// complained allows.
///
/// Threads: the loop's. After cancel() it says nothing more.
class SnapshotFetcher : public std::enable_shared_from_this<SnapshotFetcher> {
 public:
  struct Settings {
    std::chrono::milliseconds timeout, interval, retry_base, retry_max;
    std::uint32_t burst;
    std::size_t max_bytes;
    std::string ca_file;
  };
  using Answer = absl::AnyInvocable<void(std::size_t book, absl::StatusOr<std::string> body)>;

  /// `guard` and `tls` must outlive it.
  SnapshotFetcher(boost::asio::io_context& io, const AddressGuard& guard, TlsContexts& tls,
                  Settings settings, Answer answer);

  /// `attempt` counts the tries in a row that brought nothing useful, from 0.
  void fetch(std::size_t book, std::string url, int attempt);
  void cancel();

 private:
  using Instant = std::chrono::steady_clock::time_point;
  struct Entry {
    std::unique_ptr<boost::asio::steady_timer> timer;
    std::shared_ptr<RestRequest> request;
  };

  Instant start_time(int attempt);
  void start(std::size_t book, const std::string& url);
  void answered(std::size_t book, absl::StatusOr<RestAnswer> answer);
  void finish(std::size_t book, absl::StatusOr<std::string> body);

  boost::asio::io_context& io_;
  const AddressGuard& guard_;
  TlsContexts& tls_;
  const Settings settings_;
  Answer answer_;
  std::minstd_rand random_;
  Instant next_{};     ///< when the mean rate would allow one more
  Instant blocked_{};  ///< the venue asked us to wait until then
  std::map<std::size_t, Entry> entries_;
};

}  // namespace virtufin::wsm
