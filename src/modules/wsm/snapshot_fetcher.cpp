#include "modules/wsm/snapshot_fetcher.h"

#include <algorithm>
#include <utility>

#include "core/errors.h"
#include "core/log.h"

namespace virtufin::wsm {
namespace {

constexpr int kTooManyRequests = 429;
constexpr int kBanned = 418;  // Binance's: 429 was not heeded
constexpr std::chrono::seconds kBlockedByDefault{60};

}  // namespace

SnapshotFetcher::SnapshotFetcher(boost::asio::io_context& io, const AddressGuard& guard,
                                 TlsContexts& tls, Settings settings, Answer answer)
    : io_(io),
      guard_(guard),
      tls_(tls),
      settings_(std::move(settings)),
      answer_(std::move(answer)),
      random_(std::random_device{}()) {}

void SnapshotFetcher::fetch(std::size_t book, std::string url, int attempt) {
  Entry& entry = entries_[book];
  entry.timer = std::make_unique<boost::asio::steady_timer>(io_, start_time(attempt));
  entry.timer->async_wait([self = shared_from_this(), book,
                           url = std::move(url)](const boost::system::error_code& error) {
    if (!error) self->start(book, url);
  });
}

SnapshotFetcher::Instant SnapshotFetcher::start_time(int attempt) {
  const Instant now = std::chrono::steady_clock::now();
  Instant start = std::max(now, blocked_);
  if (attempt > 0) {
    std::chrono::milliseconds bound = std::max(settings_.retry_base, std::chrono::milliseconds(1));
    for (int i = 1; i < attempt && bound < settings_.retry_max; ++i) bound *= 2;
    bound = std::min(bound, std::max(settings_.retry_max, std::chrono::milliseconds(1)));
    std::uniform_int_distribution<std::int64_t> jitter(std::max<std::int64_t>(bound.count() / 2, 1),
                                                       bound.count());
    start = std::max(start, now + std::chrono::milliseconds(jitter(random_)));
  }
  // The mean rate, with `burst` at once: a request may come so much before its turn.
  start = std::max(start, next_ - settings_.interval * (settings_.burst - 1));
  next_ = std::max(next_, start) + settings_.interval;
  return start;
}

void SnapshotFetcher::start(std::size_t book, const std::string& url) {
  const auto entry = entries_.find(book);
  if (entry == entries_.end()) return;
  auto parsed = Url::parse(url);
  if (!parsed.ok()) return finish(book, parsed.status());
  RestRequest::Options options;
  options.url = *std::move(parsed);
  options.timeout = settings_.timeout;
  options.max_bytes = settings_.max_bytes;
  if (options.url.tls) {
    auto context = tls_.get(settings_.ca_file);
    if (!context.ok()) return finish(book, context.status());
    options.tls = *std::move(context);
  }
  entry->second.request =
      RestRequest::start(io_, std::move(options), guard_,
                         [self = shared_from_this(), book](absl::StatusOr<RestAnswer> answer) {
                           self->answered(book, std::move(answer));
                         });
}

void SnapshotFetcher::answered(std::size_t book, absl::StatusOr<RestAnswer> answer) {
  if (!answer.ok()) return finish(book, answer.status());
  if (answer->status == kTooManyRequests || answer->status == kBanned) {
    const auto wait = answer->retry_after.count() > 0 ? answer->retry_after : kBlockedByDefault;
    blocked_ = std::chrono::steady_clock::now() + wait;
  }
  if (answer->status != 200) {
    return finish(book, unavailable("HTTP {} {}: {}", answer->status, printable(answer->reason),
                                    printable(answer->body)));
  }
  finish(book, std::move(answer->body));
}

void SnapshotFetcher::finish(std::size_t book, absl::StatusOr<std::string> body) {
  const auto self = shared_from_this();
  entries_.erase(book);
  if (answer_) answer_(book, std::move(body));
}

void SnapshotFetcher::cancel() {
  answer_ = nullptr;
  for (auto& [book, entry] : std::exchange(entries_, {})) {
    entry.timer->cancel();
    if (entry.request) entry.request->cancel();
  }
}

}  // namespace virtufin::wsm
