#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rpc/http_connection.h"
#include "rpc/rest_table.h"

namespace virtufin::rpc {

/// A custom route's request as its handler holds it.
class OpenExchange final : public HttpExchange {
 public:
  explicit OpenExchange(std::shared_ptr<HttpCall> call) : call_(std::move(call)) {
    call_->request();
  }
  ~OpenExchange() override;
  const HttpRequest& request() const override { return call_->request(); }
  CallPtr call() const override { return call_; }
  void reply(HttpResponse response) override;
  std::shared_ptr<HttpStream> stream(HttpResponse head) override;

 private:
  const std::shared_ptr<HttpCall> call_;
  std::atomic<bool> answered_{false};
};

/// The body of an answer that goes on. One that is let go unfinished is cut off, so that the peer
/// knows.
class OpenStream final : public HttpStream {
 public:
  explicit OpenStream(std::shared_ptr<HttpCall> call) : call_(std::move(call)) {}
  ~OpenStream() override;
  void write(std::string chunk, absl::AnyInvocable<void(absl::Status)> written) override;
  void finish() override;

 private:
  const std::shared_ptr<HttpCall> call_;
  std::atomic<bool> finished_{false};
};

/// A server-streaming method's answer over REST: server-sent events, or JSON a line. The initial
/// metadata become headers. An error after the head is an event `error`, or a line `{"error": …}`.
class HttpReplies final : public ServerStream {
 public:
  HttpReplies(std::shared_ptr<const RestTable> table, const Transcoding& transcoding,
              std::shared_ptr<HttpCall> call, bool events)
      : table_(std::move(table)),
        transcoding_(transcoding),
        call_(std::move(call)),
        events_(events) {}
  ~HttpReplies() override;
  void start(std::vector<std::pair<std::string, std::string>> metadata) override;
  void write(BytesPtr message, absl::AnyInvocable<void(absl::Status)> written) override;
  void finish(absl::Status status) override;

 private:
  const std::shared_ptr<const RestTable> table_;  ///< owns the transcoding
  const Transcoding& transcoding_;
  const std::shared_ptr<HttpCall> call_;
  const bool events_;
  bool begun_ = false;
  bool finished_ = false;
};

}  // namespace virtufin::rpc
