#pragma once

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "modules/venue/exchange.h"
#include "modules/venue/websocket_frames.h"

namespace virtufin::venue {

/// A WebSocket connection after the upgrade: one of the venue's markets, the streams that the
/// client asked for, and the requests with which it changes them (SUBSCRIBE, UNSUBSCRIBE,
/// LIST_SUBSCRIPTIONS).
///
/// Frames are gathered in one buffer while another is being written: many frames a system call.
/// What a client does not read is bounded by `queue_bytes`: it is disconnected, or playback waits
/// for it.
///
/// Life: made by HttpSession, start(), and held by its own operations and the Exchange's list until
/// the client, the venue or an error ends it. Threads: the venue's loop.
class WebSocketSession final : public Session,
                               public FrameSink,
                               public std::enable_shared_from_this<WebSocketSession> {
 public:
  struct Opening {
    std::string handshake;             ///< the 101 answer, sent first
    std::string leftover;              ///< what the client sent behind its request
    std::vector<std::string> streams;  ///< of the URL
    bool combined = true;      ///< frames as `{"stream":…,"data":…}`; else only the data
    Market* market = nullptr;  ///< null: that of the first subscription
  };

  WebSocketSession(Exchange& exchange, boost::asio::ip::tcp::socket socket, Opening opening);
  ~WebSocketSession() override;

  /// Once, after the Exchange has it on its list.
  void start();

  void close() override;
  void abort() override;

  void queue(std::string_view combined, std::string_view data) override;
  void flush() override;
  bool has_room() const override;

 private:
  enum class State { kOpen, kClosing, kEnded };

  void read();
  void take(std::string_view bytes);
  void on_message(Opcode opcode, std::string_view payload);
  void on_request(std::string_view text);
  void answer(std::string_view json);
  void answer(Opcode opcode, std::string_view payload);
  void end_slow();
  /// False: there are `max_streams` already.
  bool subscribe(const std::string& stream);
  void unsubscribe(const std::string& stream);
  void written(std::size_t bytes);
  void begin_close(const CloseReason& reason);
  void send_close_and_end(const CloseReason& reason);
  bool over_message_rate();
  void watch();
  void end();

  Exchange& exchange_;
  const VenueConfig& config_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer watch_timer_, close_timer_;
  Opening opening_;
  const std::shared_ptr<ConnectionCounters> counters_;
  const bool waits_;

  State state_ = State::kOpen;
  Market* market_ = nullptr;
  std::set<std::string, std::less<>> streams_;
  ClientFrameReader reader_;
  std::array<char, 4096> read_buffer_;

  std::string pending_, writing_;
  std::uint64_t pending_frames_ = 0, writing_frames_ = 0;
  bool write_in_flight_ = false;
  bool end_when_written_ = false;
  bool slow_ = false;
  std::chrono::steady_clock::time_point alive_, rate_window_;
  std::int64_t messages_in_window_ = 0;
};

}  // namespace virtufin::venue
