#include "rpc/http_head.h"

#include <boost/beast/http/error.hpp>
#include <boost/beast/http/status.hpp>
#include <charconv>

#include "core/errors.h"

namespace virtufin::rpc {
namespace {

namespace http = boost::beast::http;

bool is_clean(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  }
  return true;
}

void append_number(std::string& out, std::size_t number) {
  char digits[24];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

}  // namespace

void append_head(std::string& out, const HttpResponse& response, std::size_t length,
                 const HeadOptions& options) {
  if (response.status == 200) {
    out += "HTTP/1.1 200 OK\r\n";
  } else {
    const auto reason =
        http::obsolete_reason(http::int_to_status(static_cast<unsigned>(response.status)));
    out += "HTTP/1.1 ";
    append_number(out, static_cast<std::size_t>(response.status));
    out += ' ';
    out.append(reason.data(), reason.size());
    out += "\r\n";
  }
  if (!response.content_type.empty() && is_clean(response.content_type)) {
    out += "Content-Type: ";
    out += response.content_type;
    out += "\r\n";
  }
  for (const auto& [name, value] : response.headers) {
    if (name.empty() || !is_clean(name) || !is_clean(value)) continue;
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
  if (!options.stream) {
    out += "Content-Length: ";
    append_number(out, length);
    out += "\r\n";
  } else if (options.chunked) {
    out += "Transfer-Encoding: chunked\r\n";
  }
  if (!options.keep_alive) out += "Connection: close\r\n";
  out += "\r\n";
}

std::pair<int, absl::Status> parse_error(const boost::system::error_code& error,
                                         const ServerLimits& limits) {
  if (error == http::error::header_limit) {
    return {431, resource_exhausted("the request's head is over {} bytes (server.max_header_bytes)",
                                    limits.max_header_bytes)};
  }
  if (error == http::error::body_limit) {
    return {413,
            resource_exhausted("the request's body is over {} bytes (server.max_message_bytes)",
                               limits.max_message_bytes)};
  }
  return {400, invalid_argument("this is no HTTP/1.1 request: {}", error.message())};
}

}  // namespace virtufin::rpc
