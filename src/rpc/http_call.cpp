#include <boost/asio/post.hpp>

#include "core/errors.h"
#include "rpc/http_connection.h"
#include "rpc/uri.h"

namespace virtufin::rpc {
namespace {

std::string_view from_beast(boost::beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

HttpCall::HttpCall(std::shared_ptr<HttpConnection> connection, RawRequest request, SteadyTime began,
                   SteadyTime deadline)
    : connection_(std::move(connection)),
      request_(std::move(request)),
      began_(began),
      deadline_(deadline) {}

std::string_view HttpCall::metadata(std::string_view key) const {
  const auto found = request_.find(boost::beast::string_view(key.data(), key.size()));
  return found == request_.end() ? std::string_view() : from_beast(found->value());
}

std::string_view HttpCall::verb() const { return from_beast(request_.method_string()); }

std::string_view HttpCall::target() const { return from_beast(request_.target()); }

std::string_view HttpCall::path() const { return target().substr(0, target().find('?')); }

std::string_view HttpCall::query() const {
  const std::size_t mark = target().find('?');
  return mark == std::string_view::npos ? std::string_view() : target().substr(mark + 1);
}

const HttpRequest& HttpCall::request() {
  if (made_ == nullptr) {
    made_ = std::make_unique<HttpRequest>();
    made_->verb = verb();
    made_->path = path();
    made_->query = parse_query(query()).value_or(decltype(made_->query)());
    for (const auto& field : request_) {
      made_->headers.emplace_back(from_beast(field.name_string()), from_beast(field.value()));
    }
    made_->captures = std::move(captures_);
    made_->body = request_.body();
  }
  return *made_;
}

template <class Function>
void HttpCall::on_loop(Function function) {
  boost::asio::io_context& io = connection_->shard_->loop.io();
  if (io.get_executor().running_in_this_thread()) {
    function();
  } else {
    boost::asio::post(io, std::move(function));
  }
}

void HttpCall::record(absl::StatusCode code) {
  if (stats_ != nullptr) stats_->record(code, std::chrono::steady_clock::now() - began_);
}

void HttpCall::answer(HttpResponse response, absl::StatusCode code) {
  on_loop([self = shared_from_this(), response = std::move(response), code] {
    if (self->connection_->complete(*self, response)) self->record(code);
  });
}

void HttpCall::begin_stream(HttpResponse head) {
  on_loop([self = shared_from_this(), head = std::move(head)] {
    self->connection_->begin_stream(*self, head);
  });
}

void HttpCall::write(std::string chunk, absl::AnyInvocable<void(absl::Status)> written) {
  on_loop([self = shared_from_this(), chunk = std::move(chunk),
           written = std::move(written)]() mutable {
    if (self->connection_->stream_write(*self, chunk, written)) return;
    if (written) {
      written(self->connection_->state_ == HttpConnection::State::kStreaming
                  ? failed_precondition("one message at a time")
                  : virtufin::cancelled("the peer is gone"));
    }
  });
}

void HttpCall::end_stream(bool whole, absl::StatusCode code) {
  on_loop([self = shared_from_this(), whole, code] {
    // Recorded first: ending may close the connection, which would call it cancelled.
    const auto stats = self->stats_;
    self->stats_ = nullptr;
    if (self->connection_->end_stream(*self, whole) && stats != nullptr) {
      stats->record(code, std::chrono::steady_clock::now() - self->began_);
    }
  });
}

}  // namespace virtufin::rpc
