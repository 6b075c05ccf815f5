#pragma once

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

#include <chrono>
#include <string>
#include <string_view>

namespace virtufin::rpc::test {

/// A client that sends bytes as they are and reads answers; every wait ends after ten seconds.
class HttpClient {
 public:
  struct Answer {
    int status = 0;  ///< 0: the connection ended instead
    std::string body;
    boost::beast::http::response<boost::beast::http::string_body> whole;
    std::string header(const char* name) const { return std::string(whole[name]); }
  };

  explicit HttpClient(int port) : stream_(io_) {
    stream_.connect(boost::asio::ip::tcp::endpoint(boost::asio::ip::make_address("127.0.0.1"),
                                                   static_cast<std::uint16_t>(port)));
    timeval limit{10, 0};
    setsockopt(stream_.socket().native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(stream_.socket().native_handle(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }

  bool send(std::string_view bytes) {
    boost::system::error_code error;
    boost::asio::write(stream_.socket(), boost::asio::buffer(bytes.data(), bytes.size()), error);
    return !error;
  }
  Answer read(bool no_body = false) {
    boost::beast::http::response_parser<boost::beast::http::string_body> parser;
    parser.body_limit(boost::none);
    parser.skip(no_body);
    boost::system::error_code error;
    boost::beast::http::read(stream_.socket(), buffer_, parser, error);
    Answer answer;
    if (error) return answer;
    answer.whole = parser.release();
    answer.status = static_cast<int>(answer.whole.result_int());
    answer.body = answer.whole.body();
    return answer;
  }
  /// What comes next, as it is; empty at the end.
  std::string read_some() {
    std::string bytes(64 << 10, '\0');
    boost::system::error_code error;
    bytes.resize(stream_.socket().read_some(boost::asio::buffer(bytes), error));
    return bytes;
  }
  /// Reads until `text` has come.
  std::string read_until(std::string_view text) {
    std::string all;
    while (all.find(text) == std::string::npos) {
      const std::string some = read_some();
      if (some.empty()) return all;
      all += some;
    }
    return all;
  }
  Answer get(const std::string& target) {
    send("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
    return read();
  }
  Answer request(const std::string& verb, const std::string& target, const std::string& body,
                 const std::string& headers = "") {
    send(verb + " " + target + " HTTP/1.1\r\nHost: x\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body);
    return read();
  }
  void end_sending() { stream_.socket().shutdown(boost::asio::ip::tcp::socket::shutdown_send); }
  void close() { stream_.close(); }

 private:
  boost::asio::io_context io_;
  boost::beast::tcp_stream stream_;
  boost::beast::flat_buffer buffer_;
};

}  // namespace virtufin::rpc::test
