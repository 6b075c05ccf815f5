#pragma once

#include <absl/status/status.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "modules/wsm/net/address_guard.h"
#include "modules/wsm/net/dial.h"
#include "modules/wsm/net/tls.h"
#include "modules/wsm/net/url.h"

namespace virtufin::wsm {

/// One WebSocket to one peer, from resolving its name to the end: ws:// and wss://, pings answered.
/// Made anew for every attempt, so that nothing of a dead connection reaches its successor.
///
/// Life: create(), open() once, close() or on_closed(), whichever comes first; then it says nothing
/// more. Threads: all on the loop whose io_context it was given.
class WebSocketClient {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_open() = 0;
    /// One message, with kReadPadding readable bytes behind it. Valid during the call.
    virtual void on_message(std::string_view bytes, bool text) = 0;
    /// The attempt failed or the connection ended.
    virtual void on_closed(NetFailure failure) = 0;
  };

  struct Options {
    Url url;
    std::vector<std::pair<std::string, std::string>> headers;  ///< never logged
    std::vector<std::string> subprotocols;
    TlsContextPtr tls;        ///< of a wss:// URL
    std::string server_name;  ///< checked against the certificate; empty: the host
    std::chrono::milliseconds connect_timeout{10'000};  ///< until the upgrade is done
    std::chrono::milliseconds close_timeout{2'000};
    std::size_t max_frame_bytes = 16U << 20;
  };

  static std::shared_ptr<WebSocketClient> create(boost::asio::io_context& io, Options options,
                                                 const AddressGuard& guard);
  virtual ~WebSocketClient() = default;

  /// Keeps the listener until the end.
  virtual void open(std::shared_ptr<Listener> listener) = 0;
  /// No message is read until resume(); the peer meets a full socket.
  virtual void pause() = 0;
  virtual void resume() = 0;
  /// Closes politely and says nothing more; on a closed one it does nothing.
  virtual void close() = 0;
};

}  // namespace virtufin::wsm
