#pragma once

#include <absl/functional/any_invocable.h>
#include <absl/status/status.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rpc/method.h"

/// HTTP routes that are not a method's transcoding: health, metrics, server-sent events, forms of a
/// body that JSON transcoding does not know.
namespace virtufin::rpc {

struct HttpRequest {
  std::string verb;                                           ///< GET, POST, …
  std::string path;                                           ///< as sent, without the query
  std::vector<std::pair<std::string, std::string>> query;     ///< decoded, in order
  std::vector<std::pair<std::string, std::string>> headers;   ///< as sent
  std::vector<std::pair<std::string, std::string>> captures;  ///< of the path template, decoded
  std::string body;

  /// First value of that name (headers in any case), nothing if absent.
  std::optional<std::string_view> header(std::string_view name) const;
  std::optional<std::string_view> query_value(std::string_view name) const;
  std::string_view capture(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

/// `{"code": …, "message": …, "details": []}` with the status' HTTP code.
HttpResponse error_response(const absl::Status& status);

/// The body of an answer that goes on: chunked, one write at a time.
class HttpStream {
 public:
  virtual ~HttpStream() = default;
  /// `written`: when the next may come, or why the peer is gone. Any thread.
  virtual void write(std::string chunk, absl::AnyInvocable<void(absl::Status)> written) = 0;
  virtual void finish() = 0;
};

/// One request and the duty to answer it once, from any thread. One that dies unanswered answers
/// 500.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual const HttpRequest& request() const = 0;
  /// Deadline, metadata (the headers) and cancellation (the peer went away).
  virtual CallPtr call() const = 0;
  virtual void reply(HttpResponse response) = 0;
  /// Sends the head and goes on; `head.body` is sent first.
  virtual std::shared_ptr<HttpStream> stream(HttpResponse head) = 0;
};

/// Must not block, must not throw. Runs on the connection's loop.
using HttpHandler = absl::AnyInvocable<void(std::shared_ptr<HttpExchange>) const>;

}  // namespace virtufin::rpc
