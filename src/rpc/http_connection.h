#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <chrono>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "core/executor.h"
#include "rpc/call_metrics.h"
#include "rpc/http_route.h"
#include "rpc/local_call.h"
#include "rpc/server.h"

namespace virtufin::rpc {

class HttpConnection;
using RawRequest = boost::beast::http::request<boost::beast::http::string_body>;
using SteadyTime = std::chrono::steady_clock::time_point;

/// One HTTP request and its answer; what a handler sees of it as a Call.
///
/// Threads: the connection's loop; as a Call, and through answer() and the stream functions, any.
class HttpCall final : public Call, public std::enable_shared_from_this<HttpCall> {
 public:
  HttpCall(std::shared_ptr<HttpConnection> connection, RawRequest request, SteadyTime began,
           SteadyTime deadline);

  SteadyTime deadline() const override { return deadline_; }
  std::string_view metadata(std::string_view key) const override;
  bool cancelled() const override { return cancellation_.cancelled(); }
  void on_cancel(absl::AnyInvocable<void()> callback) override {
    cancellation_.on_cancel(std::move(callback));
  }

  std::string_view verb() const;
  std::string_view target() const;
  std::string_view path() const;
  std::string_view query() const;
  const std::string& body() const { return request_.body(); }
  /// The request as custom routes see it; made when first asked for.
  const HttpRequest& request();
  void set_captures(std::vector<std::pair<std::string, std::string>> captures) {
    captures_ = std::move(captures);
  }
  void measure(std::shared_ptr<MethodStats> stats) { stats_ = std::move(stats); }
  void no_deadline() { deadline_ = SteadyTime::max(); }

  /// The whole answer; the first one counts. `code`: what the metrics say.
  void answer(HttpResponse response, absl::StatusCode code);
  void answer(const absl::Status& status) { answer(error_response(status), status.code()); }
  /// An answer that goes on.
  void begin_stream(HttpResponse head);
  void write(std::string chunk, absl::AnyInvocable<void(absl::Status)> written);
  /// `whole` false: the answer was not brought to its end, which the peer must see.
  void end_stream(bool whole, absl::StatusCode code);

 private:
  friend class HttpConnection;
  /// On the connection's loop: at once if this is it.
  template <class Function>
  void on_loop(Function function);
  void record(absl::StatusCode code);

  const std::shared_ptr<HttpConnection> connection_;
  const RawRequest request_;
  const SteadyTime began_;
  SteadyTime deadline_;
  std::unique_ptr<HttpRequest> made_;
  std::vector<std::pair<std::string, std::string>> captures_;
  std::shared_ptr<MethodStats> stats_;
  Cancellation cancellation_;
};

/// What the connections of one loop share.
struct HttpShard {
  HttpShard(Loop& shard_loop, const ServerLimits& bounds) : loop(shard_loop), limits(bounds) {}

  Loop& loop;
  const ServerLimits limits;
  std::list<std::shared_ptr<HttpConnection>> connections;
  bool draining = false;
  /// Answers a request, on the loop.
  std::function<void(const std::shared_ptr<HttpCall>&)> dispatch;
  /// A connection ended.
  std::function<void()> ended;
};

/// One HTTP/1.1 connection: reads requests one after the other, each answered before the next is
/// begun, whatever the peer sends ahead.
///
/// Life: in its shard's list until the socket is closed; calls keep it for their answers, which
/// then go nowhere. Timeouts are checked by the shard, ten times a second. Threads: its loop's.
class HttpConnection final : public std::enable_shared_from_this<HttpConnection> {
 public:
  /// `refused`: one too many, whose first request is answered 503.
  HttpConnection(std::shared_ptr<HttpShard> shard, boost::asio::ip::tcp::socket socket,
                 bool refused);

  void start();
  /// Closes what is too late; called by the shard.
  void check_time(SteadyTime now);
  /// Ends when idle, or after the answer under way.
  void drain();
  void close();
  bool refused() const { return refused_; }

 private:
  friend class HttpCall;
  enum class State {
    kReading,
    kHandling,
    kStreaming,
    kClosing,    ///< the answer goes out, then no more
    kLingering,  ///< all is sent; what the peer still sends is thrown away until it ends
    kClosed
  };
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  void process();
  bool parse_some();
  void handle();
  void refuse(int status, const absl::Status& why);
  bool flush();
  void read();
  void on_read(boost::system::error_code error, std::size_t count);
  void write_async();
  void on_written(boost::system::error_code error);
  void linger();

  // The answering side; each false if the call is not the one under way any more.
  bool complete(const HttpCall& call, const HttpResponse& response);
  bool begin_stream(const HttpCall& call, const HttpResponse& head);
  bool stream_write(const HttpCall& call, std::string_view chunk,
                    absl::AnyInvocable<void(absl::Status)>& written);
  bool end_stream(const HttpCall& call, bool whole);
  void append_chunk(std::string_view chunk);
  void answered();

  const std::shared_ptr<HttpShard> shard_;
  boost::asio::ip::tcp::socket socket_;
  const bool refused_;
  std::list<std::shared_ptr<HttpConnection>>::iterator self_;

  State state_ = State::kReading;
  boost::beast::flat_buffer in_;
  std::optional<Parser> parser_;
  bool head_done_ = false;
  std::string out_;      ///< to be written
  std::string writing_;  ///< being written
  bool is_writing_ = false;
  bool is_reading_ = false;
  bool processing_ = false;
  bool peer_ended_ = false;
  SteadyTime deadline_;        ///< of what is awaited from the peer
  SteadyTime write_deadline_;  ///< while is_writing_

  std::shared_ptr<HttpCall> call_;
  bool keep_alive_ = true;
  bool head_only_ = false;
  bool chunked_ = false;
  absl::AnyInvocable<void(absl::Status)> written_;
};

}  // namespace virtufin::rpc
