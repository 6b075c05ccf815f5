#include "rpc/http_connection.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "core/errors.h"
#include "rpc/http_head.h"

namespace virtufin::rpc {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;

constexpr std::size_t kReadHead = 4 << 10;
constexpr std::size_t kReadBody = 64 << 10;
/// What a peer may send ahead while its request is answered; more is left in the socket.
constexpr std::size_t kReadAhead = 64 << 10;
/// Answers to pipelined requests are gathered up to this.
constexpr std::size_t kGather = 64 << 10;
constexpr std::chrono::seconds kLinger{2};
/// A peer that does not acknowledge what was sent is gone within a minute.
constexpr unsigned kUnacknowledgedMs = 45'000;

SteadyTime now() { return std::chrono::steady_clock::now(); }

}  // namespace

HttpConnection::HttpConnection(std::shared_ptr<HttpShard> shard, asio::ip::tcp::socket socket,
                               bool refused)
    : shard_(std::move(shard)), socket_(std::move(socket)), refused_(refused) {}

void HttpConnection::start() {
  self_ = shard_->connections.insert(shard_->connections.end(), shared_from_this());
  boost::system::error_code error;
  socket_.set_option(asio::ip::tcp::no_delay(true), error);
  socket_.non_blocking(true, error);
  setsockopt(socket_.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMs,
             sizeof kUnacknowledgedMs);
  deadline_ = now() + shard_->limits.header_timeout;
  if (shard_->draining) return close();
  read();
}

void HttpConnection::read() {
  if (is_reading_ || state_ == State::kClosed) return;
  if (peer_ended_) {
    if (state_ == State::kReading || state_ == State::kLingering) close();
    return;
  }
  if (state_ != State::kReading && in_.size() >= kReadAhead) return;
  is_reading_ = true;
  socket_.async_read_some(
      in_.prepare(head_done_ ? kReadBody : kReadHead),
      [self = shared_from_this()](boost::system::error_code error, std::size_t count) {
        self->on_read(error, count);
      });
}

void HttpConnection::on_read(boost::system::error_code error, std::size_t count) {
  is_reading_ = false;
  if (state_ == State::kClosed) return;
  if (error == asio::error::eof) {
    peer_ended_ = true;
    if (state_ == State::kStreaming) return close();
    // Whoever only ended its sending side is still answered.
    if (call_ != nullptr) {
      const auto call = call_;
      call->cancellation_.cancel();
    }
    return process();
  }
  if (error) return close();
  in_.commit(count);
  if (state_ == State::kLingering) in_.clear();
  process();
}

void HttpConnection::process() {
  if (processing_) return;
  const auto self = shared_from_this();
  processing_ = true;
  for (bool more = true; more;) {
    more = parse_some();
    if (state_ == State::kClosed || !flush()) break;
    if (state_ == State::kClosing) linger();
    more = more && state_ == State::kReading;
  }
  processing_ = false;
  if (!is_writing_ || state_ == State::kStreaming || state_ == State::kHandling) read();
}

/// True if it stopped only to let answers go out.
bool HttpConnection::parse_some() {
  while (state_ == State::kReading && in_.size() > 0 && !is_writing_) {
    if (out_.size() >= kGather) return true;
    if (!parser_) {
      parser_.emplace();
      parser_->header_limit(static_cast<std::uint32_t>(shard_->limits.max_header_bytes));
      parser_->body_limit(static_cast<std::uint64_t>(shard_->limits.max_message_bytes));
      parser_->eager(true);
      deadline_ = now() + shard_->limits.header_timeout;
    }
    boost::system::error_code error;
    const std::size_t used = parser_->put(in_.data(), error);
    in_.consume(used);
    if (error && error != http::error::need_more) {
      const auto refusal = parse_error(error, shard_->limits);
      refuse(refusal.first, refusal.second);
      return false;
    }
    if (!head_done_ && parser_->is_header_done()) {
      head_done_ = true;
      if (!parser_->is_done()) {
        deadline_ = now() + shard_->limits.body_timeout;
        if (parser_->get()[http::field::expect] == "100-continue") {
          out_ += "HTTP/1.1 100 Continue\r\n\r\n";
        }
      }
    }
    if (parser_->is_done()) {
      handle();
    } else if (error || used == 0) {
      return false;
    }
  }
  return false;
}

void HttpConnection::handle() {
  RawRequest request = parser_->release();
  parser_.reset();
  head_done_ = false;
  if (refused_) {
    return refuse(503, unavailable("this server has all the {} connections that it takes "
                                   "(server.max_connections); try again later",
                                   shard_->limits.max_connections));
  }
  keep_alive_ = request.keep_alive() && !shard_->draining;
  chunked_ = request.version() >= 11;
  head_only_ = request.method() == http::verb::head;
  const SteadyTime began = now();
  const auto call = std::make_shared<HttpCall>(shared_from_this(), std::move(request), began,
                                               began + shard_->limits.call_timeout);
  call_ = call;
  state_ = State::kHandling;
  shard_->dispatch(call);
  if (call_ == call) deadline_ = call->deadline_;
}

void HttpConnection::refuse(int status, const absl::Status& why) {
  HttpResponse response = error_response(why);
  response.status = status;
  parser_.reset();
  head_done_ = false;
  in_.clear();
  append_head(out_, response, response.body.size(), {.keep_alive = false});
  out_ += response.body;
  state_ = State::kClosing;
}

/// True if all is written; else a write is under way, or the socket is gone.
bool HttpConnection::flush() {
  if (is_writing_) return false;
  if (out_.empty()) return true;
  if (state_ != State::kStreaming) {
    // Most answers fit into the socket at once, and then no completion is waited for.
    boost::system::error_code error;
    const std::size_t count = socket_.write_some(asio::buffer(out_), error);
    if (error && error != asio::error::would_block) {
      close();
      return false;
    }
    if (count == out_.size()) {
      out_.clear();
      return true;
    }
    out_.erase(0, count);
  }
  write_async();
  return false;
}

void HttpConnection::write_async() {
  writing_.swap(out_);
  out_.clear();
  is_writing_ = true;
  write_deadline_ = now() + shard_->limits.idle_timeout;
  asio::async_write(socket_, asio::buffer(writing_),
                    [self = shared_from_this()](boost::system::error_code error, std::size_t) {
                      self->on_written(error);
                    });
}

void HttpConnection::on_written(boost::system::error_code error) {
  is_writing_ = false;
  if (state_ == State::kClosed) return;
  if (error) return close();
  writing_.clear();
  if (writing_.capacity() > kReadAhead) writing_.shrink_to_fit();
  if (out_.empty() && written_) {
    auto written = std::move(written_);
    written_ = nullptr;
    written(absl::OkStatus());
    if (state_ == State::kClosed) return;
  }
  process();
}

void HttpConnection::linger() {
  boost::system::error_code ignored;  // the peer may be gone already; reading will tell
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  in_.clear();
  deadline_ = now() + kLinger;
  state_ = State::kLingering;
}

void HttpConnection::close() {
  if (state_ == State::kClosed) return;
  const auto self = shared_from_this();
  state_ = State::kClosed;
  boost::system::error_code ignored;
  socket_.close(ignored);
  shard_->connections.erase(self_);
  const auto call = std::move(call_);
  call_ = nullptr;
  if (call != nullptr) {
    call->record(absl::StatusCode::kCancelled);
    call->cancellation_.cancel();
    call->cancellation_.end();
  }
  if (written_) {
    auto written = std::move(written_);
    written_ = nullptr;
    written(cancelled("the peer is gone"));
  }
  shard_->ended();
}

void HttpConnection::drain() {
  keep_alive_ = false;
  if (state_ == State::kReading && !parser_ && in_.size() == 0 && !is_writing_) close();
}

void HttpConnection::check_time(SteadyTime at) {
  if (is_writing_ && at > write_deadline_) return close();
  if (at <= deadline_) return;
  switch (state_) {
    case State::kReading:
      if (is_writing_) return;
      if (!parser_) return close();
      refuse(408, deadline_exceeded("the request did not come in time"));
      return process();
    case State::kHandling: {
      const auto call = call_;
      call->cancellation_.cancel();
      return call->answer(
          deadline_exceeded("{} did not answer within {} ms (server.call_timeout_ms)", call->path(),
                            shard_->limits.call_timeout.count()));
    }
    case State::kLingering: return close();
    case State::kStreaming:
    case State::kClosing:  // bounded by write_deadline_
    case State::kClosed: return;
  }
}

bool HttpConnection::complete(const HttpCall& call, const HttpResponse& response) {
  if (call_.get() != &call || state_ != State::kHandling) return false;
  keep_alive_ = keep_alive_ && !shard_->draining;
  append_head(out_, response, response.body.size(), {.keep_alive = keep_alive_});
  if (!head_only_) out_ += response.body;
  answered();
  return true;
}

void HttpConnection::answered() {
  const auto call = std::move(call_);
  call_ = nullptr;
  call->cancellation_.end();
  keep_alive_ = keep_alive_ && !shard_->draining;  // a stream may end long after its head
  state_ = keep_alive_ ? State::kReading : State::kClosing;
  deadline_ = now() + shard_->limits.idle_timeout;
  process();
}

bool HttpConnection::begin_stream(const HttpCall& call, const HttpResponse& head) {
  if (call_.get() != &call || state_ != State::kHandling) return false;
  if (!chunked_) keep_alive_ = false;
  state_ = State::kStreaming;
  deadline_ = SteadyTime::max();
  append_head(out_, head, 0, {.keep_alive = keep_alive_, .stream = true, .chunked = chunked_});
  append_chunk(head.body);
  process();
  return true;
}

void HttpConnection::append_chunk(std::string_view chunk) {
  if (chunk.empty() || head_only_) return;  // an empty chunk would be the end
  if (chunked_) fmt::format_to(std::back_inserter(out_), "{:x}\r\n", chunk.size());
  out_ += chunk;
  if (chunked_) out_ += "\r\n";
}

bool HttpConnection::stream_write(const HttpCall& call, std::string_view chunk,
                                  absl::AnyInvocable<void(absl::Status)>& written) {
  if (call_.get() != &call || state_ != State::kStreaming || written_) return false;
  written_ = std::move(written);
  append_chunk(chunk);
  if (!is_writing_) write_async();
  return true;
}

bool HttpConnection::end_stream(const HttpCall& call, bool whole) {
  if (call_.get() != &call || state_ != State::kStreaming) return false;
  if (!whole) {
    close();
    return true;
  }
  if (chunked_ && !head_only_) out_ += "0\r\n\r\n";
  answered();
  return true;
}

}  // namespace virtufin::rpc
