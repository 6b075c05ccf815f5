#include "modules/gateway/sinks.h"

#include <fmt/format.h>

#include <iterator>

#include "virtufin/pubsub.pb.h"

namespace virtufin::gateway {
namespace {

class MethodSink final : public StreamSink {
 public:
  explicit MethodSink(std::shared_ptr<rpc::ServerStream> stream) : stream_(std::move(stream)) {}

  void prepare(FanoutEvent& event) const override { event.make_proto(); }
  std::size_t max_events_per_write() const override { return 1; }

  void start(std::string_view subscription_id) override {
    subscription_id_ = subscription_id;
    stream_->start({{kSubscriptionIdHeader, subscription_id_}});
  }

  void write(std::span<const FanoutEventPtr> events, bool first, std::uint64_t missed,
             Written written) override {
    const rpc::BytesPtr& shared = events.front()->proto();
    if (!first && missed == 0) {
      stream_->write(shared, std::move(written));
      return;
    }
    // Serialised messages merge by concatenation: what this stream alone is told follows what all
    // are told.
    SubscribeResponse own;
    if (first) {
      own.set_subscription_id(subscription_id_);
    }
    own.set_missed(missed);
    std::string bytes(rpc::view(*shared));
    own.AppendToString(&bytes);
    stream_->write(rpc::make_bytes(std::move(bytes)), std::move(written));
  }

  bool wants_comments() const override { return false; }
  void write_comment(Written written) override { written(absl::OkStatus()); }
  void finish(absl::Status status) override { stream_->finish(std::move(status)); }

 private:
  const std::shared_ptr<rpc::ServerStream> stream_;
  std::string subscription_id_;
};

class SseSink final : public StreamSink {
 public:
  explicit SseSink(std::shared_ptr<rpc::HttpExchange> exchange) : exchange_(std::move(exchange)) {}

  void prepare(FanoutEvent& event) const override { event.make_sse(); }
  /// A slow reader's queue goes out in larger chunks.
  std::size_t max_events_per_write() const override { return 64; }

  void start(std::string_view subscription_id) override {
    rpc::HttpResponse head;
    head.content_type = "text/event-stream";
    head.headers = {{"cache-control", "no-store"},
                    {kSubscriptionIdHeader, std::string(subscription_id)}};
    stream_ = exchange_->stream(std::move(head));
  }

  void write(std::span<const FanoutEventPtr> events, bool /*first*/, std::uint64_t missed,
             Written written) override {
    std::size_t size = 32;
    for (const FanoutEventPtr& event : events) {
      size += event->sse().size() + 3;
    }
    std::string chunk;
    chunk.reserve(size);
    for (const FanoutEventPtr& event : events) {
      chunk += event->sse();
      if (missed > 0) {
        fmt::format_to(std::back_inserter(chunk), ",\"missed\":{}", std::exchange(missed, 0));
      }
      chunk += "}\n\n";
    }
    stream_->write(std::move(chunk), std::move(written));
  }

  bool wants_comments() const override { return true; }
  void write_comment(Written written) override { stream_->write(":\n\n", std::move(written)); }

  void finish(absl::Status status) override {
    if (stream_) {
      stream_->finish();
    } else {
      exchange_->reply(rpc::error_response(
          status.ok() ? absl::CancelledError("unsubscribed before it began") : status));
    }
  }

 private:
  const std::shared_ptr<rpc::HttpExchange> exchange_;
  std::shared_ptr<rpc::HttpStream> stream_;
};

}  // namespace

std::unique_ptr<StreamSink> make_method_sink(std::shared_ptr<rpc::ServerStream> stream) {
  return std::make_unique<MethodSink>(std::move(stream));
}

std::unique_ptr<StreamSink> make_sse_sink(std::shared_ptr<rpc::HttpExchange> exchange) {
  return std::make_unique<SseSink>(std::move(exchange));
}

}  // namespace virtufin::gateway
