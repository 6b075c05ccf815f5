#include "rpc/http_exchange.h"

#include "core/errors.h"
#include "rpc/error_json.h"

namespace virtufin::rpc {
namespace {

/// What the metrics say of an answer that a route made itself.
absl::StatusCode code_of(int http_status) {
  switch (http_status) {
    case 400: return absl::StatusCode::kInvalidArgument;
    case 401: return absl::StatusCode::kUnauthenticated;
    case 403: return absl::StatusCode::kPermissionDenied;
    case 404: return absl::StatusCode::kNotFound;
    case 409: return absl::StatusCode::kAborted;
    case 429: return absl::StatusCode::kResourceExhausted;
    case 501: return absl::StatusCode::kUnimplemented;
    case 503: return absl::StatusCode::kUnavailable;
    case 504: return absl::StatusCode::kDeadlineExceeded;
    default: return http_status < 400 ? absl::StatusCode::kOk : absl::StatusCode::kUnknown;
  }
}

}  // namespace

OpenExchange::~OpenExchange() {
  if (!answered_.exchange(true)) {
    call_->answer(internal_error("{} ended without an answer", call_->path()));
  }
}

void OpenExchange::reply(HttpResponse response) {
  if (answered_.exchange(true)) return;
  const absl::StatusCode code = code_of(response.status);
  call_->answer(std::move(response), code);
}

std::shared_ptr<HttpStream> OpenExchange::stream(HttpResponse head) {
  auto stream = std::make_shared<OpenStream>(call_);
  if (!answered_.exchange(true)) call_->begin_stream(std::move(head));
  return stream;
}

OpenStream::~OpenStream() {
  if (!finished_.exchange(true)) call_->end_stream(false, absl::StatusCode::kInternal);
}

void OpenStream::write(std::string chunk, absl::AnyInvocable<void(absl::Status)> written) {
  call_->write(std::move(chunk), std::move(written));
}

void OpenStream::finish() {
  if (!finished_.exchange(true)) call_->end_stream(true, absl::StatusCode::kOk);
}

HttpReplies::~HttpReplies() {
  finish(internal_error("{} ended without an answer", transcoding_.method().full_name()));
}

void HttpReplies::start(std::vector<std::pair<std::string, std::string>> metadata) {
  if (begun_ || finished_) return;
  begun_ = true;
  HttpResponse head;
  head.content_type = events_ ? "text/event-stream" : "application/x-ndjson";
  head.headers = std::move(metadata);
  head.headers.emplace_back("Cache-Control", "no-cache");
  call_->begin_stream(std::move(head));
}

void HttpReplies::write(BytesPtr message, absl::AnyInvocable<void(absl::Status)> written) {
  start({});
  std::string chunk = events_ ? "data: " : "";
  if (auto status = transcoding_.reply(view(*message), chunk); !status.ok()) {
    return written(std::move(status));
  }
  chunk += events_ ? "\n\n" : "\n";
  call_->write(std::move(chunk), std::move(written));
}

void HttpReplies::finish(absl::Status status) {
  if (finished_) return;
  if (!begun_ && status.ok()) start({});
  finished_ = true;
  if (!begun_) return call_->answer(status);
  if (status.ok()) return call_->end_stream(true, absl::StatusCode::kOk);
  std::string last = events_ ? "event: error\ndata: " : "{\"error\":";
  last += error_json(status);
  last += events_ ? "\n\n" : "}\n";
  call_->write(std::move(last), {});
  call_->end_stream(true, status.code());
}

}  // namespace virtufin::rpc
