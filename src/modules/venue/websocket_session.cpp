#include "modules/venue/websocket_session.h"

#include <simdjson.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "core/errors.h"

namespace virtufin::venue {
namespace {

using std::chrono::steady_clock;

/// A market that waits for its readers fills a connection's buffer up to here between two writes.
constexpr std::size_t kWaitingBufferBytes = 128 << 10;

std::string remote_of(const boost::asio::ip::tcp::socket& socket) {
  boost::system::error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error) return "unknown";
  return fmt::format("{}:{}", endpoint.address().to_string(), endpoint.port());
}

/// A client's request, as far as it could be read.
struct Request {
  std::string id = "null";  ///< as JSON, echoed
  std::string method;
  std::vector<std::string> streams;
  std::string error;  ///< not empty: what is wrong with it
};

Request parse_request(std::string_view text) {
  Request request;
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  const simdjson::padded_string padded(text);
  if (parser.parse(padded).get_object().get(object) != simdjson::SUCCESS) {
    request.error = "Invalid JSON";
    return request;
  }
  simdjson::dom::element id;
  if (object["id"].get(id) == simdjson::SUCCESS) {
    if (id.is_uint64() || id.is_int64() || id.is_string()) {
      request.id = simdjson::minify(id);
    } else if (!id.is_null()) {
      request.error = "Invalid request: id must be an integer, a string or null";
      return request;
    }
  }
  std::string_view method;
  if (object["method"].get(method) != simdjson::SUCCESS) {
    request.error = "Invalid request: missing field method";
    return request;
  }
  request.method = method;
  simdjson::dom::array params;
  if (object["params"].get(params) == simdjson::SUCCESS) {
    for (const auto param : params) {
      std::string_view stream;
      if (param.get(stream) != simdjson::SUCCESS) {
        request.error = "Invalid request: params must be strings";
        return request;
      }
      request.streams.emplace_back(stream);
    }
  }
  return request;
}

/// What to answer to a client's close frame: its own code, if it may be sent.
CloseCode close_code_of(std::string_view payload) {
  if (payload.empty()) return CloseCode::kNormal;
  const int code =
      static_cast<std::uint8_t>(payload[0]) << 8 | static_cast<std::uint8_t>(payload[1]);
  const bool defined = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
  const bool valid = defined || (code >= 3000 && code <= 4999);
  return valid ? static_cast<CloseCode>(code) : CloseCode::kProtocolError;
}

constexpr int kInvalidRequest = 2, kTooManyStreams = 4;

std::string error_answer(const std::string& id, int code, std::string_view text) {
  return fmt::format(R"({{"error":{{"code":{},"msg":"{}"}},"id":{}}})", code, text, id);
}

}  // namespace

WebSocketSession::WebSocketSession(Exchange& exchange, boost::asio::ip::tcp::socket socket,
                                   Opening opening)
    : exchange_(exchange),
      config_(exchange.config()),
      socket_(std::move(socket)),
      watch_timer_(socket_.get_executor()),
      close_timer_(socket_.get_executor()),
      opening_(std::move(opening)),
      counters_(exchange.add_counters(remote_of(socket_))),
      waits_(config_.waits_for_readers()),
      market_(opening_.market),
      reader_(static_cast<std::size_t>(config_.max_message_bytes)) {}

WebSocketSession::~WebSocketSession() { exchange_.remove_counters(counters_->id); }

void WebSocketSession::start() {
  alive_ = steady_clock::now();
  counters_->market.store(market_, std::memory_order_relaxed);
  pending_ = std::move(opening_.handshake);
  exchange_.log()->info("connection {} from {}: {} streams{}", counters_->id, counters_->remote,
                        opening_.streams.size(),
                        market_ == nullptr ? "" : fmt::format(" of {}", market_->name()));
  for (const std::string& stream : opening_.streams) {
    if (!subscribe(stream)) {
      begin_close({CloseCode::kPolicy, "too many streams"});
      break;
    }
  }
  flush();
  watch();
  const std::string leftover = std::move(opening_.leftover);
  take(leftover);
  read();
}

void WebSocketSession::read() {
  if (state_ == State::kEnded) return;
  socket_.async_read_some(
      boost::asio::buffer(read_buffer_),
      [self = shared_from_this()](boost::system::error_code error, std::size_t bytes) {
        if (error) return self->end();
        self->alive_ = steady_clock::now();
        self->take({self->read_buffer_.data(), bytes});
        self->read();
      });
}

void WebSocketSession::take(std::string_view bytes) {
  // After our close frame only the client's is of interest, and that is what ends the reading too.
  if (state_ == State::kEnded || end_when_written_) return;
  const auto broken = reader_.read(
      bytes, [this](Opcode opcode, std::string_view payload) { on_message(opcode, payload); });
  if (broken) send_close_and_end(*broken);
}

void WebSocketSession::on_message(Opcode opcode, std::string_view payload) {
  if (state_ == State::kEnded || end_when_written_) return;
  if (opcode == Opcode::kClose) {
    if (state_ == State::kClosing) {
      end_when_written_ = true;
      if (!write_in_flight_ && pending_.empty()) end();
      return;
    }
    send_close_and_end({close_code_of(payload), {}});
    return;
  }
  if (opcode == Opcode::kPong) return;  // a sign of life, which read() noted
  if (over_message_rate()) {
    begin_close({CloseCode::kPolicy, "too many messages per second"});
    return;
  }
  if (state_ != State::kOpen) return;
  switch (opcode) {
    case Opcode::kPing: answer(Opcode::kPong, payload); break;
    case Opcode::kText: on_request(payload); break;
    case Opcode::kBinary: begin_close({CloseCode::kPolicy, "requests are text messages"}); break;
    default: break;  // the reader gives no others
  }
}

bool WebSocketSession::over_message_rate() {
  if (config_.max_messages_per_second == 0) return false;
  const auto now = steady_clock::now();
  if (now - rate_window_ >= std::chrono::seconds(1)) {
    rate_window_ = now;
    messages_in_window_ = 0;
  }
  return ++messages_in_window_ > config_.max_messages_per_second;
}

void WebSocketSession::on_request(std::string_view text) {
  const Request request = parse_request(text);
  if (!request.error.empty()) {
    return answer(error_answer(request.id, kInvalidRequest, request.error));
  }
  if (request.method == "LIST_SUBSCRIPTIONS") {
    std::string list;
    for (const std::string& stream : streams_) {
      list += fmt::format("{}\"{}\"", list.empty() ? "" : ",", stream);
    }
    return answer(fmt::format(R"({{"result":[{}],"id":{}}})", list, request.id));
  }
  const bool subscribing = request.method == "SUBSCRIBE";
  if (!subscribing && request.method != "UNSUBSCRIBE") {
    return answer(error_answer(
        request.id, kInvalidRequest,
        "Invalid request: method is none of SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS"));
  }
  for (const std::string& stream : request.streams) {
    // A stream's name is echoed within JSON.
    if (stream.empty() || stream.find_first_of("\"\\") != std::string::npos) {
      return answer(error_answer(request.id, kInvalidRequest, "Invalid request: stream name"));
    }
  }
  if (subscribing && market_ == nullptr) {
    market_ = exchange_.find_for(request.streams);
    counters_->market.store(market_, std::memory_order_relaxed);
  }
  // The acknowledgement comes before the first frame: a market plays on later.
  bool fits = true;
  for (const std::string& stream : request.streams) {
    if (subscribing) {
      fits = fits && subscribe(stream);
    } else {
      unsubscribe(stream);
    }
  }
  answer(fits ? fmt::format(R"({{"result":null,"id":{}}})", request.id)
              : error_answer(request.id, kTooManyStreams, "Too many streams"));
}

void WebSocketSession::answer(std::string_view json) { answer(Opcode::kText, json); }

void WebSocketSession::answer(Opcode opcode, std::string_view payload) {
  if (slow_) return;
  append_frame(opcode, payload, pending_);
  flush();
  if (pending_.size() > static_cast<std::size_t>(config_.queue_bytes)) end_slow();
}

bool WebSocketSession::subscribe(const std::string& stream) {
  if (streams_.contains(stream)) return true;
  if (static_cast<std::int64_t>(streams_.size()) >= config_.max_streams) return false;
  streams_.insert(stream);
  counters_->streams.store(streams_.size(), std::memory_order_relaxed);
  const auto index = market_ == nullptr ? std::nullopt : market_->find_stream(stream);
  if (index) {
    market_->subscribe(*this, *index);
  } else {
    // As at the exchange: accepted, and nothing ever comes.
    exchange_.log()->warn("connection {}: nobody plays stream '{}'", counters_->id,
                          printable(stream));
  }
  return true;
}

void WebSocketSession::unsubscribe(const std::string& stream) {
  if (streams_.erase(stream) == 0) return;
  counters_->streams.store(streams_.size(), std::memory_order_relaxed);
  const auto index = market_ == nullptr ? std::nullopt : market_->find_stream(stream);
  if (index) market_->unsubscribe(*this, *index);
}

bool WebSocketSession::has_room() const { return pending_.size() < kWaitingBufferBytes; }

void WebSocketSession::queue(std::string_view combined, std::string_view data) {
  if (state_ != State::kOpen || slow_) return;
  append_frame(Opcode::kText, opening_.combined ? combined : data, pending_);
  ++pending_frames_;
  if (pending_.size() > static_cast<std::size_t>(config_.queue_bytes)) end_slow();
}

/// Later: a market may be in the middle of its list of sinks.
void WebSocketSession::end_slow() {
  slow_ = true;
  exchange_.count_slow_client();
  exchange_.log()->warn(
      "connection {} from {} does not read: {} bytes wait (venue.queue_bytes); disconnecting",
      counters_->id, counters_->remote, pending_.size());
  boost::asio::post(socket_.get_executor(), [self = shared_from_this()] { self->end(); });
}

void WebSocketSession::flush() {
  counters_->queued_bytes.store(pending_.size() + writing_.size(), std::memory_order_relaxed);
  if (write_in_flight_ || pending_.empty() || state_ == State::kEnded) return;
  write_in_flight_ = true;
  writing_.swap(pending_);
  writing_frames_ = std::exchange(pending_frames_, 0);
  boost::asio::async_write(
      socket_, boost::asio::buffer(writing_),
      [self = shared_from_this()](boost::system::error_code error, std::size_t bytes) {
        if (error) return self->end();
        self->written(bytes);
      });
}

void WebSocketSession::written(std::size_t bytes) {
  write_in_flight_ = false;
  if (state_ == State::kEnded) return;
  writing_.clear();
  counters_->bytes_sent.fetch_add(bytes, std::memory_order_relaxed);
  counters_->frames_sent.fetch_add(writing_frames_, std::memory_order_relaxed);
  if (market_ != nullptr) market_->count_sent(writing_frames_);
  writing_frames_ = 0;
  flush();
  if (end_when_written_ && !write_in_flight_) return end();
  if (market_ != nullptr && waits_) market_->resume();
}

void WebSocketSession::begin_close(const CloseReason& reason) {
  if (state_ != State::kOpen) return;
  state_ = State::kClosing;
  append_close(reason, pending_);
  flush();
  close_timer_.expires_after(config_.close_timeout);
  close_timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (!error) self->end();
  });
}

void WebSocketSession::send_close_and_end(const CloseReason& reason) {
  end_when_written_ = true;
  begin_close(reason);
}

void WebSocketSession::close() { begin_close({CloseCode::kGoingAway, "the venue is closing"}); }

void WebSocketSession::abort() { end(); }

void WebSocketSession::watch() {
  watch_timer_.expires_after(config_.ping_interval);
  watch_timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error || self->state_ != State::kOpen) return;
    if (steady_clock::now() - self->alive_ >= self->config_.pong_timeout) {
      self->exchange_.log()->warn("connection {}: no sign of life; disconnecting",
                                  self->counters_->id);
      return self->end();
    }
    self->answer(Opcode::kPing, "");
    self->watch();
  });
}

void WebSocketSession::end() {
  if (state_ == State::kEnded) return;
  state_ = State::kEnded;
  if (market_ != nullptr) {
    market_->remove(*this);
    market_->count_dropped(pending_frames_ + writing_frames_);
  }
  boost::system::error_code ignored;  // the socket goes away whatever it says
  socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
  watch_timer_.cancel();
  close_timer_.cancel();
  exchange_.remove_counters(counters_->id);
  exchange_.log()->info("connection {} ended after {} frames", counters_->id,
                        counters_->frames_sent.load(std::memory_order_relaxed));
  exchange_.remove(this);
}

}  // namespace virtufin::venue
